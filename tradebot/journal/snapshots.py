"""The engine as it was where a segment begins: from there its decisions can be computed again, so that what came
before need not be kept.

A snapshot lies beside its segment, ``EPOCH-NUMBER.snap``, and expires with it::

    magic 8 | crc32 u32 | msgpack of a Snapshot

It holds the engine twice. ``engine`` is the whole of it (``graph``), for a replay by the very code that wrote it.
``durable`` is what a restart continues from, which every later release can read.
"""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from tradebot.errors import JournalError
from tradebot.events import Booted, DurableState
from tradebot.ops.files import write_atomic

_MAGIC = b"TBSNAP\r\n"
_CRC = struct.Struct("<I")
_NAME = re.compile(r"(\d{8,10})-(\d{6})\.snap")
_COMPRESSION = 1
"""Most of a snapshot are numbers that compress little, and it is written beside the trading loop."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """``first_seq`` is the first record that is not in it, the first of segment ``number``; ``ts_ms`` when it was
    taken (engine's time). ``booted`` is the first event of the run. ``engine`` is compressed."""

    epoch: int
    number: int
    first_seq: int
    ts_ms: int
    booted: Booted
    durable: DurableState
    engine: bytes

    def graph(self) -> bytes:
        """The engine as ``graph.capture`` wrote it. Raises JournalError."""
        try:
            return zlib.decompress(self.engine)
        except zlib.error as error:
            raise JournalError(f"the engine in the snapshot of epoch {self.epoch} is damaged ({error})") from error


class SnapshotFile(NamedTuple):
    """Where a snapshot lies and which segment it opens."""

    path: Path
    epoch: int
    number: int


def snapshot_path(directory: Path, epoch: int, number: int) -> Path:
    """Where the snapshot of segment ``number`` of ``epoch`` lies."""
    return directory / f"{epoch:08d}-{number:06d}.snap"


def compressed(graph: bytes) -> bytes:
    """The engine as a snapshot holds it."""
    return zlib.compress(graph, _COMPRESSION)


def write_snapshot(directory: Path, snapshot: Snapshot) -> None:
    """Durably write it beside its segment. Raises BusyError (disk full) or DataError."""
    body = msgspec.msgpack.encode(snapshot)
    path = snapshot_path(directory, snapshot.epoch, snapshot.number)
    write_atomic(path, _MAGIC + _CRC.pack(zlib.crc32(body)) + body, mode=0o600)


def read_snapshot(path: Path) -> Snapshot:
    """Raises JournalError that names the file when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    head = len(_MAGIC) + _CRC.size
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : head] != _CRC.pack(zlib.crc32(data[head:])):
        raise JournalError(f"{path} is damaged; remove it (a replay then begins at another one)")
    try:
        return msgspec.msgpack.decode(data[head:], type=Snapshot)
    except msgspec.DecodeError as error:
        raise JournalError(f"{path}: this version of tradebot cannot read it ({error})") from error


def snapshot_files(directory: Path) -> list[SnapshotFile]:
    """The snapshots of a journal, oldest first."""
    names = ((path, _NAME.fullmatch(path.name)) for path in directory.glob("*.snap"))
    found = [SnapshotFile(path, int(match[1]), int(match[2])) for path, match in names if match is not None]
    return sorted(found, key=lambda file: (file.epoch, file.number))
