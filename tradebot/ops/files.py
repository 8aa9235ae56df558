"""Files that are either the old version or the new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tradebot.errors import BusyError, DataError, TradebotError

_NO_ROOM = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "disk quota exceeded",
    errno.EFBIG: "file size limit reached",
}


def disk_error(action: str, path: Path, error: OSError) -> TradebotError:
    """The error that says in one line what a failed file operation means and what to do.

    A full disk is a BusyError (try again when there is room), everything else a DataError.

    >>> str(disk_error("write", Path("x.json"), OSError(errno.ENOSPC, "No space left on device")))
    'cannot write x.json: no space left on the device; free some space and start again'
    """
    reason = _NO_ROOM.get(error.errno or 0)
    if reason is not None:
        return BusyError(f"cannot {action} {path}: {reason}; free some space and start again")
    return DataError(f"cannot {action} {path}: {error.strerror or error}")


def make_private(directory: Path) -> None:
    """Make ``directory`` and what is missing above it, for this user alone (mode 0700). Raises BusyError, DataError."""
    try:
        for folder in reversed([directory, *directory.parents]):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise disk_error("make", directory, error) from error


def fsync_directory(directory: Path) -> None:
    """Make renames and new names in ``directory`` durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` once the block is over: temporary file in the same directory, fsync,
    rename, fsync of the directory.

    A reader sees the old bytes or the new ones, also after a power cut. The process umask is applied to ``mode``.
    Raises BusyError when the disk is full, DataError when the file cannot be written for another reason; then, and
    when the block raises, the old file is untouched and nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(fd, "wb") as file:
                yield file
                file.flush()
                os.fsync(fd)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        fsync_directory(path.parent)
    except OSError as error:
        raise disk_error("write", path, error) from error


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` as :func:`replacing` does."""
    with replacing(path, mode=mode) as file:
        file.write(data)
