"""Writing files that are either wholly there or not there at all, also after a power cut.

Temporary file → fsync → rename → fsync of the directory (POSIX ``rename(2)`` is atomic within a file system; the name
itself is only durable once its directory is synced).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tradebot.errors import BusyError, ConfigError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn foreseeable disk failures into one line: full disk → BusyError, missing permission → ConfigError."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise BusyError(f"{where}: no space left on the disk; free some and try again") from error
        if error.errno in _NO_PERMISSION:
            raise ConfigError(f"{where}: not writable ({error.strerror}); check owner and permissions") from error
        raise


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and sync its content. The name is durable after ``sync_directory`` of its folder."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Create or replace ``path`` atomically and durably. Raises BusyError when the disk is full."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with disk_errors(path):
        try:
            write_synced(temporary, content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


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
