"""The state directory: one daemon owns it, and every start of a daemon is a new epoch."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradebot.errors import BusyError, JournalError
from tradebot.journal.reader import JournalReader
from tradebot.journal.writer import CHUNK_BYTES, SEGMENT_BYTES, Journal
from tradebot.ops.files import disk_error, write_atomic

_EPOCH_MAX = 2**32 - 1


def journal_directory(state: Path) -> Path:
    """Where the journal of a state directory lies."""
    return state / "journal"


@dataclass(frozen=True, slots=True)
class OpenState:
    """A state directory that this process owns, with the journal of the epoch that just began.

    ``previous_epoch`` is the last one that left records (None on a first start); ``warnings`` are lines for the log.
    """

    epoch: int
    previous_epoch: int | None
    journal: Journal
    reader: JournalReader
    warnings: tuple[str, ...]


@contextlib.contextmanager
def open_state(
    state: Path, *, first_epoch: int = 1, segment_bytes: int = SEGMENT_BYTES, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[OpenState]:
    """Own ``state`` (made when missing): lock it, repair the journal's tail, begin an epoch, open the journal.

    A directory that counts no epochs yet begins with ``first_epoch``. Client order ids are made from the epoch and must
    never come again on an account: where the directory may be lost, something that grows from one to the next (seconds
    since 1970) keeps the new one's ids apart from the old one's.

    On leaving, the journal is synced and closed and the lock is given back. Raises BusyError (exit 75) when another
    process owns the directory or the disk is full, JournalError when the journal is damaged or cannot be written.
    """
    with state_lock(state):
        reader = JournalReader(journal_directory(state))
        try:
            reader.directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise disk_error("make", reader.directory, error) from error
        warnings = reader.repair()
        epochs = reader.epochs()
        epoch = next_epoch(state, first=first_epoch, at_least=epochs[-1] + 1 if epochs else 1)
        journal = Journal(reader.directory, epoch, segment_bytes=segment_bytes, chunk_bytes=chunk_bytes)
        try:
            yield OpenState(epoch, epochs[-1] if epochs else None, journal, reader, warnings)
        finally:
            journal.close()


@contextlib.contextmanager
def state_lock(state: Path) -> Iterator[None]:
    """Hold the exclusive lock of a state directory, which is made when missing.

    The kernel drops the lock with the process, however it dies. Raises BusyError (exit 75) when it is taken.
    """
    path = state / "lock"
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise disk_error("use", path, error) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            by = f"process {owner}" if owner.isdigit() else "another process"
            raise BusyError(f"{state} is in use by {by}; stop it or choose another state directory") from error
        with contextlib.suppress(OSError):  # the number only makes the message above better
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def next_epoch(state: Path, *, first: int = 1, at_least: int = 1) -> int:
    """Durably count a new epoch and return its number: the last one plus 1 (``first`` where none was counted), or
    ``at_least`` if that is more.

    To be called by the owner of the lock. Raises JournalError when the counter is not readable: guessing it could give
    an order the id of an older one.
    """
    path = state / "epoch"
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        text = str(first - 1)
    except (OSError, UnicodeDecodeError) as error:
        raise JournalError(f"cannot read {path}: {error}") from error
    if not re.fullmatch(r"[0-9]{1,10}\n?", text):
        raise JournalError(
            f"{path} holds {text[:20]!r}, not a number; write one into it that is higher than every epoch used so far"
        )
    epoch = max(int(text) + 1, at_least)
    if epoch > _EPOCH_MAX:
        raise JournalError(f"{path}: the epoch counter has reached its end; use a new state directory")
    write_atomic(path, f"{epoch}\n".encode(), mode=0o600)
    return epoch
