"""What the raw files hold: one small record for each thing seen, and how records lie in a file.

A raw file is ``MAGIC`` followed by frames of the journal's format (:mod:`tradebot.journal.frames`), all marked as
inputs. ``seq`` counts a file's records from 1, so that lost ones show; ``ts_ms`` is when the bot saw the record, by its
own clock (corrected to the exchange's). A frame whose checksum fails is passed over and the next intact one is looked
for: a torn tail costs the record that was torn, damage elsewhere what it hit. A file whose beginning was not yet on the
disk when the power went is empty there, or zeros: it holds what intact frames follow, if any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple
from zlib import crc32

import msgspec

from tradebot.journal.frames import MARKS, SIZE_AND_CRC, STAMP, RawFrame, parse_frame

MAGIC = b"TBRAW1\r\n"
NOT_RECORDING = "not recording"
"""Reason of the stretch before a recorder started and after it ended."""

_MARK = MARKS["input"]
_MARK_AT = SIZE_AND_CRC.size + STAMP.size - len(_MARK)


class BookRecord(msgspec.Struct, frozen=True, array_like=True, tag="b", gc=False):
    """A sealed row of the grid: the state just before ``boundary_ms``, ``age_ms`` old there; best level first.

    ``stale``: the state is old; of another venue also: its feed was broken, and the state is the last one before that.
    """

    boundary_ms: int
    age_ms: int
    stale: bool
    bid_px: tuple[float, ...]
    bid_sz: tuple[float, ...]
    ask_px: tuple[float, ...]
    ask_sz: tuple[float, ...]


class TradeRecord(msgspec.Struct, frozen=True, array_like=True, tag="t", gc=False):
    """One public trade; ``trade_ms`` is the exchange's time of it."""

    trade_ms: int
    price: float
    size: float
    buyer_is_maker: bool
    trade_id: str


class CandleRecord(msgspec.Struct, frozen=True, array_like=True, tag="c", gc=False):
    """A sealed candle with the values it was sealed with."""

    interval: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float


class TickerRecord(msgspec.Struct, frozen=True, array_like=True, tag="m", gc=False):
    """Mark, index and last price, the running funding rate (a fraction for one period) and open interest (base)."""

    last_px: float
    mark_px: float
    index_px: float
    funding_rate: float
    open_interest: float


class Edge(msgspec.Struct, frozen=True, array_like=True, tag="e", gc=False):
    """From ``at_ms`` on the symbol's data is (``up``) or is not heard, and why not.

    ``whole``: nothing was heard at all; otherwise only the book is not trusted and trades go on. ``at_ms`` of data that
    are not heard is when they last were, which may be a while before that was noticed.
    """

    at_ms: int
    up: bool
    whole: bool
    reason: str


Holed = Literal["trade", "ticker"]


class Hole(msgspec.Struct, frozen=True, array_like=True, tag="h", gc=False):
    """What one channel told from ``start_ms`` to ``end_ms`` is not whole."""

    channel: Holed
    start_ms: int
    end_ms: int
    reason: str


Recorded = BookRecord | TradeRecord | CandleRecord | TickerRecord | Edge | Hole


class Seen(NamedTuple):
    """One record of a raw file, when it was seen, and how many records are missing before it."""

    ts_ms: int
    record: Recorded
    lost: int


encode = msgspec.msgpack.Encoder().encode
"""The payload of a record's frame."""
_decoder: msgspec.msgpack.Decoder[Recorded] = msgspec.msgpack.Decoder(Recorded)


def frame(seq: int, ts_ms: int, payload: bytes) -> bytes:
    """The bytes of one record in a raw file."""
    body = STAMP.pack(seq, ts_ms, _MARK) + payload
    return SIZE_AND_CRC.pack(len(payload), crc32(body)) + body


def read_records(data: bytes) -> Iterator[Seen]:
    """Every intact record of a raw file's bytes, oldest first.

    Records that damage took show as ``lost`` of the next intact one; a torn tail ends the file. Raises ValueError when
    the bytes do not begin as a raw file does, nor as one whose beginning was lost, and when a record is none of these.
    """
    if not MAGIC.startswith(data[: len(MAGIC)].rstrip(b"\0")):
        raise ValueError("this is not a raw recording")
    at, expected = len(MAGIC), 1
    while at < len(data):
        found = _intact(data, at)
        if found is None:
            return
        at = found.end
        try:
            record = _decoder.decode(found.payload)
        except msgspec.MsgspecError as error:
            raise ValueError(f"record {found.seq} is of no kind that is known here ({error})") from error
        yield Seen(found.ts_ms, record, max(found.seq - expected, 0))
        expected = found.seq + 1


def _intact(data: bytes, offset: int) -> RawFrame | None:
    """The first intact frame at or after ``offset``."""
    begin = offset
    while begin >= 0:
        try:
            parsed = parse_frame(data, begin)
            if isinstance(parsed, RawFrame):
                return parsed
        except ValueError:
            pass
        mark = data.find(_MARK, max(begin + 1, offset) + _MARK_AT)
        begin = mark - _MARK_AT if mark >= 0 else -1
    return None
