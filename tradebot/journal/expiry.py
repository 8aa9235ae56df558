"""Letting old parts of the journal go.

A journal can begin where an epoch begins, and where a snapshot of the engine lies. Everything before such a place can
be let go as a whole; nothing else ever is. What was let go is written down first, and then the files are removed
oldest first: whenever that is interrupted, what is left is a journal without its oldest part.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tradebot.errors import JournalError
from tradebot.ops.files import fsync_directory, write_atomic

_FILE = "expired.json"


class Place(NamedTuple):
    """Where a journal can begin. ``seq`` is the first record there, ``ts_ms`` its time; ``bytes_before`` is what all
    files before it take on the disk."""

    epoch: int
    number: int
    seq: int
    ts_ms: int
    bytes_before: int


class Expired(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone: every epoch before ``epoch``, of that one the records before ``seq``; all of it is older than
    ``before_ms``."""

    epoch: int
    seq: int
    before_ms: int

    def covers(self, epoch: int) -> bool:
        """Whether something of ``epoch`` is gone."""
        return epoch < self.epoch or (epoch == self.epoch and self.seq > 1)


def choose(
    places: Sequence[Place], total_bytes: int, *, now_ms: int, keep_ms: int | None, max_bytes: int | None
) -> Place | None:
    """The place where the journal is to begin, of those where it can (oldest first), or None to leave it as it is.

    What is older than ``keep_ms`` goes. While more than ``max_bytes`` are left the oldest goes, whatever its age.

    >>> places = [Place(1, 1, 1, 0, 0), Place(2, 1, 1, 50, 700), Place(3, 1, 1, 90, 900)]
    >>> choose(places, 1_000, now_ms=100, keep_ms=60, max_bytes=None)
    >>> choose(places, 1_000, now_ms=110, keep_ms=60, max_bytes=None).epoch
    2
    >>> choose(places, 1_000, now_ms=100, keep_ms=None, max_bytes=200).epoch
    3
    """
    chosen: Place | None = None
    for place in places:
        old = keep_ms is not None and place.ts_ms <= now_ms - keep_ms
        left = total_bytes - (chosen.bytes_before if chosen is not None else 0)
        large = max_bytes is not None and left > max_bytes
        if old or large:
            chosen = place
    return chosen if chosen is not None and chosen.bytes_before else None


def read_expired(directory: Path) -> Expired | None:
    """What is gone of a journal, None: nothing. Raises JournalError."""
    path = directory / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Expired)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise JournalError(f"{path}: cannot be read ({error}); remove it") from error


def expire(directory: Path, place: Place, files: Sequence[Path]) -> None:
    """Let go what comes before ``place``: ``files``, oldest first. Raises JournalError, BusyError, DataError."""
    gone = Expired(epoch=place.epoch, seq=place.seq, before_ms=place.ts_ms)
    write_atomic(directory / _FILE, msgspec.json.encode(gone), mode=0o600)
    try:
        for path in files:
            path.unlink(missing_ok=True)
        fsync_directory(directory)
    except OSError as error:
        raise JournalError(f"cannot remove {error.filename}: {error.strerror}") from error
