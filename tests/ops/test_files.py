"""A file is the old one or the new one."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest

from tradebot.errors import BusyError, DataError
from tradebot.ops.files import replacing, write_atomic


def test_the_new_bytes_replace_the_old_with_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "pointer.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "pointer.json"
    write_atomic(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(BusyError, match=r"cannot write .*pointer.json: file size limit reached; free some space"):
            write_atomic(path, b"x" * 2_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_before_the_rename_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pointer.json"
    write_atomic(path, b"old")
    synced: list[bool] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        synced.append(True)

    def dies(_source: object, _target: object) -> None:
        assert synced  # what is renamed into place is on the disk already
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory") as caught:
        write_atomic(tmp_path / "no" / "file", b"")
    assert "\n" not in str(caught.value)


def test_a_block_that_raises_leaves_the_old_file_and_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as file:
        file.write(b"ne")
        file.write(b"w")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
