"""Appending to the journal."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from zlib import crc32

import msgspec

from tradebot.errors import BusyError, DataError, JournalError, TradebotError
from tradebot.events import Command
from tradebot.journal.frames import (
    FRAME_OVERHEAD,
    HEADER_SIZE,
    MARKS,
    SIZE_AND_CRC,
    STAMP,
    JournalRecord,
    Kind,
    SegmentHeader,
    encode_header,
    encode_sync,
)
from tradebot.ops.files import disk_error, fsync_directory, write_atomic

SEGMENT_BYTES = 64 << 20
CHUNK_BYTES = 64 << 10


def segment_path(directory: Path, epoch: int, number: int) -> Path:
    """Where segment ``number`` of ``epoch`` lies. Names sort in the order of writing."""
    return directory / f"{epoch:08d}-{number:06d}.seg"


class Journal:
    """The open journal of one epoch: numbers every record, keeps it, and makes it durable on demand.

    A record goes through three stages: *appended* (in memory), *written* (with the operating system: survives the
    death of the process) and *synced* (on the disk: survives a power cut). Whole frames are written in chunks;
    ``flush`` writes what is pending, ``sync`` writes and makes it durable. An order is sent only after ``sync``. The
    first write after a sync begins with a frame that says how far the file is durable.

    After a full disk (BusyError) nothing is lost and no partial frame is left in the file: pending records stay in
    memory and the next ``flush`` or ``sync`` tries again. After a failed fsync nothing is known about the disk any
    more, so every later call raises JournalError.

    One thread appends; ``written_seq`` and ``synced_seq`` may be read from any.
    """

    def __init__(
        self, directory: Path, epoch: int, *, segment_bytes: int = SEGMENT_BYTES, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        """``directory`` exists; ``epoch`` has no segment there yet. A segment is closed at ``segment_bytes``.

        Raises BusyError when the disk is full, JournalError when the directory cannot be written.
        """
        self.directory = directory
        self.epoch = epoch
        self.next_seq = 1
        self.written_seq = 0
        self.synced_seq = 0
        self.appended_bytes = 0
        """Of all records of this epoch so far."""
        self._segment_bytes = segment_bytes
        self._chunk_bytes = chunk_bytes
        self._encode = msgspec.msgpack.Encoder().encode
        self._buffer = bytearray()
        self._failure = ""
        self._number = 0
        self._fd = -1
        self._offset = self._durable = self._marked = 0
        """Bytes of the segment that are written, that are durable, and that the last sync frame says are."""
        self._open_segment()

    def append(self, kind: Kind, ts_ms: int, record: JournalRecord | Command) -> int:
        """Keep a record and return its sequence number. An output directly follows the input that caused it.

        Raises BusyError or JournalError when a chunk was due and could not be written; the record is kept in memory.
        """
        payload = self._encode(record)
        seq = self.next_seq
        stamp = STAMP.pack(seq, ts_ms, MARKS[kind])
        buffer = self._buffer
        buffer += SIZE_AND_CRC.pack(len(payload), crc32(payload, crc32(stamp)))
        buffer += stamp
        buffer += payload
        self.appended_bytes += FRAME_OVERHEAD + len(payload)
        self.next_seq = seq + 1
        if len(buffer) >= self._chunk_bytes:
            self.flush()
        return seq

    def flush(self) -> None:
        """Hand every record to the operating system. Raises BusyError (disk full) or JournalError."""
        if self._failure:
            raise JournalError(self._failure)
        if not self._buffer:
            return
        if self._offset >= self._segment_bytes:
            self._fsync()
            self._open_segment()
        if self._durable > self._marked:
            self._buffer[:0] = encode_sync(self._header, self._durable)
            self._marked = self._durable
        view = memoryview(self._buffer)
        try:
            done = 0
            while done < len(view):
                done += os.write(self._fd, view[done:])
        except BaseException as error:
            self._cut_partial_write()
            if isinstance(error, OSError):
                raise self._disk_error(error) from error
            raise
        finally:
            view.release()
        self._offset += done
        self._buffer.clear()
        self.written_seq = self.next_seq - 1

    def sync(self) -> None:
        """Make every appended record durable; what follows may rely on it. Raises BusyError or JournalError."""
        self.flush()
        if self.synced_seq != self.written_seq:
            self._fsync()

    def begin_segment(self) -> int:
        """Begin a new segment with the next record, unless the last one is still empty. Returns its number.

        To be called between two events: an output must not be parted from its input. Raises BusyError or JournalError.
        """
        self.sync()
        if self._offset > HEADER_SIZE:
            self._open_segment()
        return self._number

    def close(self) -> None:
        """Sync and close. Closing again does nothing. Raises as ``sync`` does, and closes the file all the same."""
        if self._fd < 0:
            return
        try:
            if not self._failure:
                self.sync()
                self._mark_end()
        finally:
            os.close(self._fd)
            self._fd = -1
            self._failure = "the journal is closed"

    def _fsync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # the kernel may have dropped the pages: a second fsync would succeed and prove nothing
            self._failure = f"cannot make the journal durable: {self._path}: {error.strerror}; check the disk"
            raise JournalError(self._failure) from error
        self.synced_seq = self.written_seq
        self._durable = self._offset

    def _mark_end(self) -> None:
        """Say that all is durable. That it is does not depend on this being so, too: it need not be synced."""
        if self._durable == self._marked:
            return
        mark = encode_sync(self._header, self._durable)
        try:
            whole = os.write(self._fd, mark) == len(mark)
        except OSError:
            whole = False
        if not whole:
            self._cut_partial_write()

    def _cut_partial_write(self) -> None:
        try:
            os.ftruncate(self._fd, self._offset)
        except OSError as error:
            self._failure = f"cannot undo a partial write to {self._path}: {error.strerror}; check the disk"

    def _open_segment(self) -> None:
        """Continue in a new segment that begins with the first record not yet written."""
        number = self._number + 1
        path = segment_path(self.directory, self.epoch, number)
        if path.exists():
            raise JournalError(f"{path} exists already: epoch {self.epoch} was used before; restore the file epoch")
        header = SegmentHeader(self.epoch, number, self.written_seq + 1)
        # renamed into place whole, so that a segment never has half a header
        try:
            write_atomic(path, encode_header(header), mode=0o600)
        except DataError as error:
            raise JournalError(str(error)) from error
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise self._disk_error(error, path) from error
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd, self._path, self._number, self._header = fd, path, number, header
        self._offset = self._durable = self._marked = HEADER_SIZE

    def _disk_error(self, error: OSError, path: Path | None = None) -> TradebotError:
        result = disk_error("write", path or self._path, error)
        return result if isinstance(result, BusyError) else JournalError(str(result))


def cut_tail(path: Path, offset: int) -> None:
    """Durably end ``path`` at ``offset``. Raises JournalError when the file cannot be changed."""
    try:
        with open(path, "r+b") as file:
            file.truncate(offset)
            os.fsync(file.fileno())
        fsync_directory(path.parent)
    except OSError as error:
        raise JournalError(f"cannot repair {path}: {error.strerror}") from error
