"""The audit is whole lines, all of them, in order, also across rotations."""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.journal.records import decision
from tradebot.errors import BusyError, DataError
from tradebot.ops.audit import AuditWriter, follow_audit, full_files, read_audit


def row(i: int) -> dict[str, Any]:
    return {"i": i, "text": "x" * 50}


def test_rows_are_whole_json_lines_and_full_files_are_kept_in_order(tmp_path: Path) -> None:
    path = tmp_path / "audit" / "signals.jsonl"
    writer = AuditWriter(path, max_bytes=1_000)
    for i in range(100):
        writer.write(row(i))
    writer.close()
    assert len(full_files(path)) == 6
    assert [r["i"] for r in read_audit(path)] == list(range(100))
    for file in (*full_files(path), path):
        assert all(json.loads(line)["text"] for line in file.read_text().splitlines())


def test_a_decision_is_written_with_exact_money(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    writer = AuditWriter(path)
    writer.write(decision("d1"))
    writer.close()
    (found,) = read_audit(path)
    assert (found["decision_id"], found["qty"], found["checks"][0][1]) == ("d1", "0.010", "2500.00")


def test_only_as_many_full_files_stay_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    writer = AuditWriter(path, max_bytes=200, keep=2)
    for i in range(40):
        writer.write(row(i))
    writer.close()
    assert len(full_files(path)) == 2
    kept = [r["i"] for r in read_audit(path)]
    assert kept == list(range(kept[0], 40))


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_cut_at_the_next_start(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "signals.jsonl"
    writer = AuditWriter(path)
    for i in range(3):
        writer.write({"i": i})
    writer.close()
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    assert [r["i"] for r in read_audit(path)] == ([0, 1] if cut <= 8 else [0])
    writer = AuditWriter(path)
    writer.write({"i": 9})
    writer.close()
    assert [r["i"] for r in read_audit(path)] == ([0, 1, 9] if cut <= 8 else [0, 9])


def test_following_sees_every_row_once_while_files_rotate(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    count, seen = 3_000, []
    writer = AuditWriter(path, max_bytes=2_000)
    writer.write(row(0))

    def write() -> None:
        for i in range(1, count):
            writer.write(row(i))
        writer.close()

    thread = threading.Thread(target=write)
    deadline = time.monotonic() + 60
    for record in follow_audit(path, last=1, poll_s=0.001, stop=lambda: time.monotonic() > deadline):
        if not seen:
            thread.start()
        seen.append(record["i"])
        if len(seen) == count:
            break
    thread.join()
    assert seen == list(range(count))
    assert len(full_files(path)) > 50


def test_following_starts_with_the_newest_rows_across_files(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    writer = AuditWriter(path, max_bytes=200)
    for i in range(20):
        writer.write(row(i))
    writer.close()
    assert [r["i"] for r in follow_audit(path, last=9, stop=lambda: True)] == list(range(11, 20))
    assert list(follow_audit(path, last=0, stop=lambda: True)) == []
    assert len(list(follow_audit(path, last=99, stop=lambda: True))) == 20


def test_following_waits_for_a_file_and_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    steps = iter([b'{"i"', b": 1}", b'\n{"i": 2}\n', b""])

    def stop() -> bool:
        step = next(steps, None)
        if step is None:
            return True
        with open(path, "ab") as file:
            file.write(step)
        return False

    assert [r["i"] for r in follow_audit(path, poll_s=0, stop=stop)] == [1, 2]


def test_a_line_cut_by_a_restart_is_not_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b'{"i": 0}\n{"i": 1')

    def restart() -> None:
        writer = AuditWriter(path)
        writer.write({"i": 2})
        writer.close()

    steps = iter([lambda: None, restart, lambda: None])

    def stop() -> bool:
        step = next(steps, None)
        if step is not None:
            step()
        return step is None

    assert [r["i"] for r in follow_audit(path, last=5, poll_s=0, stop=stop)] == [0, 2]


def test_a_row_that_did_not_fit_is_written_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    writer = AuditWriter(path)
    writer.write(row(0))
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(BusyError, match="file size limit reached"):
            writer.write(row(1))
        assert path.stat().st_size == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    writer.write(row(2))
    writer.close()
    assert [r["i"] for r in read_audit(path)] == [0, 1, 2]


def test_a_rotation_that_failed_half_way_is_finished_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "signals.jsonl"
    writer = AuditWriter(path, max_bytes=100)
    writer.write(row(0))
    writer.write(row(1))
    real = os.open

    def full(name: Any, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return real(name, flags, *rest)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(BusyError, match="no space left"):
        writer.write(row(2))
    monkeypatch.undo()
    writer.write(row(3))
    writer.close()
    assert [r["i"] for r in read_audit(path)] == [0, 1, 2, 3]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b'{"i": 0}\nnot json\n')
    with pytest.raises(DataError, match=r"signals\.jsonl:2: not a JSON object"):
        list(read_audit(path))
