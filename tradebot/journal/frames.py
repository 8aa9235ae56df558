"""How records lie in a segment file.

A segment is a header followed by frames, all integers little endian::

    header   magic 8 | version u16 | epoch u32 | number u32 | first seq u64 | crc32 u32
    frame    length u32 | crc32 u32 | seq u64 | ts_ms i64 | mark 4 | payload (msgpack, ``length`` bytes)

The header's CRC covers what precedes it, a frame's covers everything after it (and, through the extent of the payload,
``length``). ``mark`` says input, output or sync. ``seq`` grows by exactly one from record to record within an epoch,
through all of its segments, so a lost record cannot go unnoticed.

A *sync* frame is no record. The first frame written after the file was made durable is one: it says up to which byte.
What follows the last sync may have reached the disk in any order, or not at all; damage there is what a crash leaves.
Damage before the byte that an intact sync frame names is damage to something that was safe. Its payload::

    durable u64 | epoch u32 | number u32

(``epoch`` and ``number`` of the segment, because the disk may show old blocks where new ones were lost.)
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple
from zlib import crc32

import msgspec

from tradebot.events import (
    RECORDED_OUTPUTS,
    Alert,
    CancelOrder,
    CancelStop,
    ClosePosition,
    Command,
    Decision,
    Difference,
    Event,
    PlaceOrder,
    PlaceStop,
    TradabilityChanged,
    TradeBooked,
)

Kind = Literal["input", "output"]
RecordedOutput = (
    PlaceOrder
    | CancelOrder
    | PlaceStop
    | CancelStop
    | ClosePosition
    | TradabilityChanged
    | Decision
    | Alert
    | Difference
    | TradeBooked
)
"""``events.RECORDED_OUTPUTS`` as a type."""
JournalRecord = Event | RecordedOutput

VERSION = 2
MARKS: dict[Kind, bytes] = {"input": b"\xf7>i\xf7", "output": b"\xf7<o\xf7"}

_MAGIC = b"TBJRNL\r\n"
_HEADER = struct.Struct("<8sHIIQ")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + _CRC.size

SIZE_AND_CRC = struct.Struct("<II")
STAMP = struct.Struct("<Qq4s")
FRAME_OVERHEAD = SIZE_AND_CRC.size + STAMP.size
_FRAME = struct.Struct("<IIQq4s")
_MARK_AT = _FRAME.size - 4
_SYNC_MARK = b"\xf7=s\xf7"
_SYNC = struct.Struct("<QII")
_KINDS: dict[bytes, Kind] = {mark: kind for kind, mark in MARKS.items()}

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[JournalRecord] = msgspec.msgpack.Decoder(JournalRecord)


class SegmentHeader(NamedTuple):
    """Which part of which epoch a segment holds. ``number`` counts from 1 within the epoch."""

    epoch: int
    number: int
    first_seq: int


class RawFrame(NamedTuple):
    """One intact frame; ``end`` is the offset of the byte after it."""

    seq: int
    ts_ms: int
    kind: Kind
    payload: bytes
    end: int


class SyncFrame(NamedTuple):
    """Says that the first ``durable`` bytes of a segment were on the disk when this was written."""

    durable: int
    epoch: int
    number: int
    end: int


def is_recorded(command: Command) -> bool:
    """Whether the journal keeps this output. Forecast requests and timers are not kept: their effects are inputs."""
    return isinstance(command, RECORDED_OUTPUTS)


def encode_record(record: JournalRecord | Command) -> bytes:
    """The bytes of a record in the journal; equal records have equal bytes."""
    return _encoder.encode(record)


def decode_record(payload: bytes) -> JournalRecord:
    """The record of a frame. Raises msgspec.DecodeError when the bytes are no known record."""
    return _decoder.decode(payload)


def encode_header(header: SegmentHeader) -> bytes:
    body = _HEADER.pack(_MAGIC, VERSION, header.epoch, header.number, header.first_seq)
    return body + _CRC.pack(crc32(body))


def decode_header(data: bytes) -> SegmentHeader:
    """The header of a segment that begins with ``data``. Raises ValueError with what is wrong with it."""
    if len(data) < HEADER_SIZE:
        raise ValueError("the header is incomplete")
    magic, version, epoch, number, first_seq = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("this is not a journal segment")
    if version != VERSION:
        raise ValueError(f"it has format version {version}, this tradebot reads version {VERSION}")
    if _CRC.unpack_from(data, _HEADER.size)[0] != crc32(data[: _HEADER.size]):
        raise ValueError("the header's checksum does not match")
    return SegmentHeader(epoch, number, first_seq)


def encode_sync(header: SegmentHeader, durable: int) -> bytes:
    """The frame that says that the first ``durable`` bytes of the segment with ``header`` are on the disk."""
    payload = _SYNC.pack(durable, header.epoch, header.number)
    stamp = STAMP.pack(0, 0, _SYNC_MARK)
    return SIZE_AND_CRC.pack(len(payload), crc32(payload, crc32(stamp))) + stamp + payload


def parse_frame(data: bytes, offset: int) -> RawFrame | SyncFrame:
    """The frame at ``offset``. Raises ValueError with what is wrong with it."""
    if offset + _FRAME.size > len(data):
        raise ValueError("an incomplete frame")
    length, crc, seq, ts_ms, mark = _FRAME.unpack_from(data, offset)
    start, end = offset + _FRAME.size, offset + _FRAME.size + length
    kind = _KINDS.get(mark)
    if kind is None and mark != _SYNC_MARK:
        raise ValueError("no frame begins here")
    if end > len(data):
        raise ValueError("an incomplete frame")
    payload = data[start:end]
    if crc32(payload, crc32(data[offset + SIZE_AND_CRC.size : start])) != crc:
        raise ValueError("a frame whose checksum does not match")
    if kind is not None:
        return RawFrame(seq, ts_ms, kind, payload, end)
    if length != _SYNC.size:
        raise ValueError("a sync frame of another size")
    durable, epoch, number = _SYNC.unpack(payload)
    return SyncFrame(durable, epoch, number, end)


def was_durable(data: bytes, offset: int, header: SegmentHeader) -> bool:
    """Whether the byte at ``offset`` of a segment had been made durable, as an intact sync frame behind it says."""
    at = data.find(_SYNC_MARK, offset + 1)
    while at >= 0:
        try:
            frame = parse_frame(data, at - _MARK_AT)
        except ValueError:
            frame = None
        if isinstance(frame, SyncFrame) and frame.durable > offset and frame[1:3] == header[:2]:
            return True
        at = data.find(_SYNC_MARK, at + 1)
    return False
