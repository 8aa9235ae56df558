"""Today's append-only files: ``DIRECTORY/YYYY-MM-DD/EXCHANGE/SYMBOL-NNNN.rec``, one for each symbol, day and run.

Appending encodes a record into memory and never waits for a disk. A thread writes what has gathered every 0.25 s and
makes it durable every 10 s: the death of the process costs at most the last quarter of a second, a power cut at most
the last ten. When the disk is full (or fails) one line says so, recording stops, and it is tried again every minute;
what came meanwhile is lost, counted, and shows as a gap. When the disk is too slow, the same happens beyond 64 MiB in
memory. Nothing of this ever reaches the caller.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from tradebot.data.recorder.records import MAGIC, Recorded, encode, frame
from tradebot.errors import TradebotError
from tradebot.market.candle import DAY_MS
from tradebot.ops.files import disk_error, fsync_directory, make_private

log = logging.getLogger(__name__)

SUFFIX = ".rec"
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class RawTiming:
    """Seconds of wall time between writes, between syncs, and until a failed disk is tried again."""

    write: float = 0.25
    sync: float = 10.0
    retry: float = 60.0


@dataclass(slots=True)
class _Part:
    """One file: what is not yet written of it (``records`` in ``buffer``), and how much of it is."""

    day: str
    buffer: bytearray = field(default_factory=bytearray)
    records: int = 0
    path: Path | None = None
    fd: int = -1
    offset: int = 0
    synced: int = 0


class RawStream:
    """The files of one symbol of one exchange. Made by :meth:`RawLog.stream`."""

    __slots__ = ("_day_end_ms", "_log", "_seq", "exchange", "parts", "symbol")

    def __init__(self, owner: RawLog, exchange: str, symbol: str) -> None:
        self._log = owner
        self._seq = 0
        self._day_end_ms = 0
        self.exchange = exchange
        self.symbol = symbol
        self.parts: list[_Part] = []

    def append(self, ts_ms: int, record: Recorded) -> None:
        """Keep a record seen at ``ts_ms``; the first one of a UTC day begins a new file."""
        payload = encode(record)
        owner = self._log
        with owner.lock:
            if ts_ms >= self._day_end_ms:
                self._day_end_ms = (ts_ms // DAY_MS + 1) * DAY_MS
                self._seq = 0
                self.parts.append(_Part(day_of(ts_ms)))
            self._seq += 1
            owner.keep(self.parts[-1], frame(self._seq, ts_ms, payload))


class RawLog:
    """All raw files below ``directory``, with the thread that writes them.

    ``records`` and ``lost`` count since the start; ``failure`` is why nothing is written now, or "".
    Raises BusyError or DataError when the directory cannot be made.
    """

    def __init__(self, directory: Path, timing: RawTiming | None = None, *, most_bytes: int = MOST_BYTES) -> None:
        make_private(directory)
        self.directory = directory
        self.lock = threading.Lock()
        self.records = 0
        self.lost = 0
        self.failure = ""
        self._timing = timing or RawTiming()
        self._most_bytes = most_bytes
        self._pending = 0
        self._streams: dict[tuple[str, str], RawStream] = {}
        self._retry_at = 0.0
        self._full = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def stream(self, exchange: str, symbol: str) -> RawStream:
        """Where records of a symbol are appended; always the same object for the same symbol."""
        key = (exchange, symbol)
        with self.lock:
            if key not in self._streams:
                self._streams[key] = RawStream(self, exchange, symbol)
            return self._streams[key]

    def keep(self, part: _Part, encoded: bytes) -> None:
        """Take one frame (the lock is held); beyond the bound it is lost."""
        if self._pending > self._most_bytes:
            self.lost += 1
            self._full = True
            return
        part.buffer += encoded
        part.records += 1
        self._pending += len(encoded)
        self.records += 1

    def flush(self) -> None:
        """Write and sync everything now, in the calling thread."""
        self._write()
        self._sync()

    def close(self) -> None:
        """Write, sync and close everything. Closing again does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join()
        self._retry_at = 0.0  # one last attempt, whatever the disk was like
        self.flush()
        for stream in self._streams.values():
            for part in stream.parts:
                _close(part)

    # --- the writing thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        sync_at = monotonic() + self._timing.sync
        while not self._stopping.wait(self._timing.write):
            self._write()
            if monotonic() >= sync_at:
                self._sync()
                sync_at = monotonic() + self._timing.sync

    def _write(self) -> None:
        if self._full:
            self._full = False
            log.error("the recorder's disk is too slow: %d records lost so far; they show as a gap", self.lost)
        with self.lock:
            streams = list(self._streams.values())
        for stream in streams:
            for part in list(stream.parts):
                self._write_part(stream, part)

    def _write_part(self, stream: RawStream, part: _Part) -> None:
        with self.lock:
            data, part.buffer = part.buffer, bytearray()
            count, part.records = part.records, 0
            self._pending -= len(data)
            finished = part is not stream.parts[-1]
        if data:
            kept = monotonic() >= self._retry_at
            if kept:
                try:
                    self._append(stream, part, data)
                except (OSError, TradebotError) as error:
                    kept = False
                    self._fail(part.path or self.directory, error)
            if not kept:
                with self.lock:
                    self.lost += count
        if finished:
            self._sync_part(part)
            _close(part)
            with self.lock:
                stream.parts.remove(part)

    def _append(self, stream: RawStream, part: _Part, data: bytearray) -> None:
        if part.fd < 0:
            self._open(stream, part)
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                done += os.write(part.fd, view[done:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(part.fd, part.offset)
            raise
        part.offset += done
        if self.failure:
            self.failure = ""
            log.warning("recording goes on; %d records were lost", self.lost)

    def _open(self, stream: RawStream, part: _Part) -> None:
        folder = self.directory / part.day / stream.exchange
        make_private(folder)
        number = 1
        while True:
            path = folder / f"{stream.symbol}-{number:04d}{SUFFIX}"
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:
                number += 1
        try:
            if os.write(fd, MAGIC) != len(MAGIC):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fdatasync(fd)
            fsync_directory(folder)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        part.path, part.fd, part.offset = path, fd, len(MAGIC)

    def _sync(self) -> None:
        for stream in list(self._streams.values()):
            for part in list(stream.parts):
                self._sync_part(part)

    def _sync_part(self, part: _Part) -> None:
        if part.fd < 0 or part.synced == part.offset:
            return
        try:
            os.fdatasync(part.fd)
            part.synced = part.offset
        except OSError as error:
            self._fail(part.path or self.directory, error)

    def _fail(self, path: Path, error: OSError | TradebotError) -> None:
        self._retry_at = monotonic() + self._timing.retry
        problem = error if isinstance(error, TradebotError) else disk_error("record to", path, error)
        if not self.failure:
            log.error("recording stopped, trading goes on: %s", problem)
        self.failure = str(problem)


def day_of(ts_ms: int) -> str:
    """The UTC day of a time.

    >>> day_of(1767653640000)
    '2026-01-05'
    """
    return datetime.fromtimestamp(ts_ms // 1000, UTC).date().isoformat()


def _close(part: _Part) -> None:
    if part.fd >= 0:
        os.close(part.fd)
        part.fd = -1
