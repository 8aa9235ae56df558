"""Locks between processes, and disk failures as one line. Single files are written with ``ops.files``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tradebot.errors import BusyError
from tradebot.ops.files import disk_error


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn failures of the disk inside the block into one line about ``where``: BusyError when full, else DataError."""
    try:
        yield
    except OSError as error:
        raise disk_error("write", where, error) from error


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and sync its content. The name is durable after the sync of its folder. Raises OSError."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float, what: str) -> Iterator[None]:
    """Hold an exclusive lock on file ``path``; the kernel frees it when the process dies.

    Raises BusyError when another process still holds it after ``wait_s`` seconds.
    """
    fd = acquire(path, wait_s=wait_s)
    if fd is None:
        raise BusyError(f"{what} is in use by another process; try again")
    try:
        yield
    finally:
        os.close(fd)


def acquire(path: Path, *, wait_s: float = 0.0) -> int | None:
    """Descriptor that holds an exclusive lock on ``path`` (close it to release), or None when it is taken."""
    with disk_errors(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(fd)
                return None
            time.sleep(0.02)
        except BaseException:
            os.close(fd)
            raise
        else:
            return fd
