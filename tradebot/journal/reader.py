"""Reading the journal back, and repairing the end that a crash left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from tradebot.errors import JournalError
from tradebot.journal.expiry import Place
from tradebot.journal.frames import (
    HEADER_SIZE,
    JournalRecord,
    Kind,
    RawFrame,
    SegmentHeader,
    SyncFrame,
    decode_header,
    decode_record,
    parse_frame,
    was_durable,
)
from tradebot.journal.snapshots import snapshot_files
from tradebot.journal.writer import cut_tail

_PREFIX_BYTES = 4 << 20
"""Enough for the largest record that a segment can begin with."""
_NAME = re.compile(r"(\d{8,10})-(\d{6})\.seg")


class Frame(NamedTuple):
    """One record of the journal and where it stands. ``ts_ms`` is the engine's time (ms, UTC)."""

    epoch: int
    seq: int
    ts_ms: int
    kind: Kind
    record: JournalRecord


class _Segment(NamedTuple):
    path: Path
    epoch: int
    number: int


class JournalReader:
    """Iterates a journal directory, also while a daemon appends to it.

    What does not add up in an epoch's last segment, behind everything that is known to have been durable (a crash, or a
    write that is just happening), ends the iteration of that epoch. Damage anywhere else raises JournalError with the
    file and the offset.
    """

    def __init__(self, directory: Path) -> None:
        """``directory`` is ``STATE/journal``; it need not exist."""
        self.directory = directory

    def epochs(self) -> tuple[int, ...]:
        """The epochs that have segments, oldest first. Raises JournalError when the directory cannot be read."""
        return tuple(sorted({segment.epoch for segment in self._segments()}))

    def last_seq(self, epoch: int) -> int:
        """The highest sequence number of ``epoch`` that can be read; 0 when it has none."""
        segments = [segment for segment in self._segments() if segment.epoch == epoch]
        if not segments:
            return 0
        header = read_header(segments[-1].path)
        last = header.first_seq - 1
        for raw in _segment_frames(segments[-1].path, header, may_be_torn=True):
            last = raw.seq
        return last

    def span_ms(self, epoch: int) -> tuple[int, int] | None:
        """Engine times (ms, UTC) of the first and the last record of ``epoch`` that can be read; None: it has none.

        Only the first and the last segment are read. Raises JournalError.
        """
        first_ms = next((raw.ts_ms for raw in self.raw_frames(epoch)), None)
        if first_ms is None:
            return None
        last_ms = first_ms
        for segment in reversed([segment for segment in self._segments() if segment.epoch == epoch]):
            for raw in _segment_frames(segment.path, read_header(segment.path), may_be_torn=True):
                last_ms = raw.ts_ms
            if last_ms != first_ms:
                break
        return first_ms, last_ms

    def size(self, epoch: int) -> int:
        """Bytes that the segments of ``epoch`` take on the disk."""
        return sum(segment.path.stat().st_size for segment in self._segments() if segment.epoch == epoch)

    def frames(self, epoch: int | None = None, *, after: int = 0) -> Iterator[Frame]:
        """Frames in order: of one epoch, those with ``seq > after``; or of all epochs, oldest first.

        Raises JournalError naming file and offset when a segment is missing or damaged before its end.
        """
        for number in self.epochs() if epoch is None else (epoch,):
            for raw, path in self._raw(number, after):
                yield Frame(number, raw.seq, raw.ts_ms, raw.kind, _record(raw, path))

    def raw_frames(self, epoch: int, *, after: int = 0) -> Iterator[RawFrame]:
        """Frames of one epoch, those with ``seq > after``, with their payload as the bytes that were written.

        Raises JournalError.
        """
        for raw, _ in self._raw(epoch, after):
            yield raw

    def is_whole(self, epoch: int) -> bool:
        """Whether the beginning of ``epoch`` is still there."""
        return any((segment.epoch, segment.number) == (epoch, 1) for segment in self._segments())

    def snapshots(self, epoch: int) -> list[tuple[int, Path]]:
        """The snapshots of ``epoch`` whose segment is there, oldest first: the first record that is not in each, and
        its file. Raises JournalError."""
        there = {segment.number: segment.path for segment in self._segments() if segment.epoch == epoch}
        files = [file for file in snapshot_files(self.directory) if file.epoch == epoch and file.number in there]
        return [(read_header(there[file.number]).first_seq, file.path) for file in files]

    def places(self) -> tuple[list[Place], int]:
        """Where the journal can begin, oldest first, and how many bytes all of it takes. Raises JournalError."""
        snapshots = {(file.epoch, file.number): file.path for file in snapshot_files(self.directory)}
        found: list[Place] = []
        total = 0
        for segment in self._segments():
            key = (segment.epoch, segment.number)
            first_ms = _first_ms(segment.path) if segment.number == 1 or key in snapshots else None
            if first_ms is not None:
                first_seq = read_header(segment.path).first_seq
                found.append(Place(segment.epoch, segment.number, first_seq, first_ms, total))
            total += sum(path.stat().st_size for path in (segment.path, snapshots.get(key)) if path is not None)
        return found, total

    def files_before(self, place: Place) -> list[Path]:
        """Segments and snapshots before ``place``, oldest first."""
        every = [(s.epoch, s.number, s.path) for s in self._segments()]
        every += [(s.epoch, s.number, s.path) for s in snapshot_files(self.directory)]
        return [path for epoch, number, path in sorted(every) if (epoch, number) < (place.epoch, place.number)]

    def _raw(self, epoch: int, after: int) -> Iterator[tuple[RawFrame, Path]]:
        segments = [segment for segment in self._segments() if segment.epoch == epoch]
        headers = [read_header(segment.path) for segment in segments]
        expected: int | None = None
        for i, (segment, header) in enumerate(zip(segments, headers, strict=True)):
            if (header.epoch, header.number) != (segment.epoch, segment.number):
                raise _damage(segment.path, 0, "the header belongs to another segment")
            last = i + 1 == len(segments)
            if not last and segments[i + 1].number != segment.number + 1:
                missing = f"{segment.number + 1} to {segments[i + 1].number - 1}"
                raise JournalError(f"{segment.path}: the segments after it are missing (numbers {missing}); {_REMEDY}")
            if not last and headers[i + 1].first_seq <= after + 1:
                continue
            if expected is not None and header.first_seq != expected:
                raise _damage(segment.path, 0, f"it begins with record {header.first_seq}, expected {expected}")
            expected = header.first_seq
            for raw in _segment_frames(segment.path, header, may_be_torn=last):
                expected = raw.seq + 1
                if raw.seq > after:
                    yield raw, segment.path

    def _segments(self) -> list[_Segment]:
        try:
            names = [path for path in self.directory.iterdir() if path.suffix == ".seg"]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(f"cannot read {self.directory}: {error.strerror}") from error
        found = []
        for path in names:
            match = _NAME.fullmatch(path.name)
            if match is None:
                raise JournalError(f"{path}: not a segment's name; move the file away")
            found.append(_Segment(path, int(match[1]), int(match[2])))
        return sorted(found, key=lambda segment: (segment.epoch, segment.number))

    def repair(self) -> tuple[str, ...]:
        """Cut the torn tail that a crash left, and say so. To be called by the owner of the state before it writes.

        Only the last segment of the last epoch can have one: a segment is synced before its successor begins. Whole
        records behind the first broken one go too: they had not been made durable, so nothing was sent because of them.
        Returns one warning for a cut tail. Raises JournalError when what is damaged had been durable.
        """
        for leftover in self.directory.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        segments = self._segments()
        if not segments:
            return ()
        path = segments[-1].path
        header = read_header(path)
        end = HEADER_SIZE
        for frame in _all_frames(path, header, may_be_torn=True):
            end = frame.end
        size = path.stat().st_size
        if size == end:
            return ()
        cut_tail(path, end)
        return (f"{path}: cut {size - end} bytes at byte {end} that the last run left and had not made durable",)


_REMEDY = (
    "restore it from a backup, or move the journal directory away and start with an empty one "
    "(positions and orders are then taken from the exchange)"
)


def read_header(path: Path) -> SegmentHeader:
    """The header of a segment. Raises JournalError."""
    try:
        with open(path, "rb") as file:
            return decode_header(file.read(HEADER_SIZE))
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise _damage(path, 0, str(error)) from error


def _first_ms(path: Path) -> int | None:
    """Engine time of a segment's first record, None: there is none yet. Little of the file is read."""
    try:
        with open(path, "rb") as file:
            data = file.read(_PREFIX_BYTES)
        offset = HEADER_SIZE
        while True:
            frame = parse_frame(data, offset)
            if isinstance(frame, RawFrame):
                return frame.ts_ms
            offset = frame.end
    except (OSError, ValueError):
        return None


def _segment_frames(path: Path, header: SegmentHeader, *, may_be_torn: bool) -> Iterator[RawFrame]:
    for frame in _all_frames(path, header, may_be_torn=may_be_torn):
        if isinstance(frame, RawFrame):
            yield frame


def _all_frames(path: Path, header: SegmentHeader, *, may_be_torn: bool) -> Iterator[RawFrame | SyncFrame]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    offset, expected = HEADER_SIZE, header.first_seq
    while offset < len(data):
        try:
            frame = parse_frame(data, offset)
        except ValueError as error:
            if may_be_torn and not was_durable(data, offset, header):
                return
            raise _damage(path, offset, str(error)) from error
        if isinstance(frame, RawFrame):
            if frame.seq != expected:
                raise _damage(path, offset, f"record {frame.seq} where record {expected} should be")
            expected += 1
        yield frame
        offset = frame.end


def _record(raw: RawFrame, path: Path) -> JournalRecord:
    try:
        return decode_record(raw.payload)
    except msgspec.DecodeError as error:
        raise JournalError(
            f"{path}: record {raw.seq} is unknown to this version of tradebot ({error}); read it with the version that "
            "wrote it"
        ) from error


def _damage(path: Path, offset: int, what: str) -> JournalError:
    return JournalError(f"{path} is damaged at byte {offset}: {what}; {_REMEDY}")
