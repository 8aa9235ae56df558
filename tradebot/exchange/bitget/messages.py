"""Stream messages as they are on the wire (protocol section 10), decoded once from bytes.

A frame is decoded by the decoder of its channel, which is read off the frame's first bytes; where it is not found
there, the frame's envelope is decoded first. Numbers stay texts until a value is needed; an empty text means none.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from tradebot.errors import DataError
from tradebot.market.book import Level

PONG = b"pong"
CHANNEL = b'"channel":"'
INSTRUMENT = b'"instId":"'
PEEK_BYTES = 200

Row = TypeVar("Row")
Text = str | int | float | None
"""A number the exchange writes as a text in some places and as a JSON number in others."""


class Arg(msgspec.Struct, gc=False):
    """What a push or an ack belongs to."""

    channel: str = ""
    instId: str = ""
    instType: str = ""
    coin: str = ""


class Push(msgspec.Struct, Generic[Row], gc=False):
    """One data frame: ``action`` is ``snapshot`` or ``update``, ``ts`` the exchange's time (ms)."""

    arg: Arg
    data: list[Row]
    action: str = "snapshot"
    ts: int | str = 0


class Reply(msgspec.Struct, gc=False):
    """An event: login, subscribe, unsubscribe or error. ``code`` is a number live, a text in the documentation."""

    event: str
    arg: Arg | None = None
    code: int | str = ""
    msg: str = ""
    op: str = ""
    connId: str = ""


class Envelope(msgspec.Struct, gc=False):
    """Enough of any frame to tell what it is."""

    event: str = ""
    arg: Arg | None = None


class BooksRow(msgspec.Struct, gc=False):
    asks: list[Level]
    bids: list[Level]
    ts: Text = ""
    seq: int = 0
    pseq: int = 0
    checksum: int = 0


class TradeRow(msgspec.Struct, gc=False):
    ts: str
    price: str
    size: str
    side: str
    tradeId: str = ""


class TickerRow(msgspec.Struct, gc=False):
    instId: str
    lastPr: str = ""
    markPrice: str = ""
    indexPrice: str = ""
    fundingRate: str = ""
    nextFundingTime: str = ""
    holdingAmount: str = ""
    ts: Text = ""


CandleRow = tuple[str, ...]
"""Start, open, high, low, close, base volume, quote volume, USDT volume."""


class Fee(msgspec.Struct, gc=False):
    feeCoin: str = ""
    fee: str = ""
    totalFee: str = ""
    deduction: str = ""


class OrderRow(msgspec.Struct, gc=False):
    """A row of the ``orders`` channel. Cumulative values only; executions come from ``fill``."""

    instId: str
    orderId: str
    side: str
    size: str
    status: str
    clientOid: str | None = ""
    accBaseVolume: str = ""
    priceAvg: str = ""
    reduceOnly: str = ""
    cancelReason: str | None = ""
    enterPointSource: str | None = ""
    tradeSide: str | None = ""
    uTime: Text = ""
    cTime: Text = ""


class FillRow(msgspec.Struct, gc=False):
    """An execution, from the ``fill`` channel or from REST ``fills`` (which names no clientOid)."""

    orderId: str
    tradeId: str
    symbol: str
    side: str
    price: str
    baseVolume: str
    profit: str | None = ""
    tradeScope: str = ""
    feeDetail: list[Fee] | None = None
    cTime: Text = ""
    clientOid: str | None = ""


class PositionRow(msgspec.Struct, gc=False):
    """An open position; REST spells its symbol ``symbol``, the stream ``instId``."""

    holdSide: str
    total: str
    openPriceAvg: str = ""
    symbol: str = ""
    instId: str = ""
    liquidationPrice: str | None = ""
    cTime: Text = ""


class AccountRow(msgspec.Struct, gc=False):
    marginCoin: str
    equity: str
    maxOpenPosAvailable: str = ""
    available: str = ""
    unrealizedPL: str | None = ""


class PlanRow(msgspec.Struct, gc=False):
    """A trigger order, from ``orders-algo`` (``instId``, ``status``) or REST (``symbol``, ``planStatus``)."""

    orderId: str
    planType: str
    triggerPrice: Text = ""
    clientOid: str | None = ""
    symbol: str = ""
    instId: str = ""
    status: str = ""
    planStatus: str = ""


_DECODERS: dict[bytes, msgspec.json.Decoder[Any]] = {
    b"books": msgspec.json.Decoder(Push[BooksRow]),
    b"books1": msgspec.json.Decoder(Push[BooksRow]),
    b"books5": msgspec.json.Decoder(Push[BooksRow]),
    b"books15": msgspec.json.Decoder(Push[BooksRow]),
    b"trade": msgspec.json.Decoder(Push[TradeRow]),
    b"ticker": msgspec.json.Decoder(Push[TickerRow]),
    b"candle": msgspec.json.Decoder(Push[CandleRow]),
    b"orders": msgspec.json.Decoder(Push[OrderRow]),
    b"fill": msgspec.json.Decoder(Push[FillRow]),
    b"positions": msgspec.json.Decoder(Push[PositionRow]),
    b"account": msgspec.json.Decoder(Push[AccountRow]),
    b"orders-algo": msgspec.json.Decoder(Push[PlanRow]),
}
_REPLY = msgspec.json.Decoder(Reply)
_ENVELOPE = msgspec.json.Decoder(Envelope)


def is_reply(frame: bytes) -> bool:
    """Whether a frame is an event (ack, login, error) rather than data.

    >>> is_reply(b'{"event":"subscribe","arg":{}}'), is_reply(b'{"action":"update","arg":{},"data":[]}')
    (True, False)
    """
    if frame.startswith(b'{"event"'):
        return True
    if frame.startswith(b'{"action"') or b'"event"' not in frame:
        return False
    try:
        return bool(_ENVELOPE.decode(frame).event)
    except msgspec.MsgspecError:
        return False


def decode_reply(frame: bytes) -> Reply:
    """An event frame. Raises DataError when it is no such thing."""
    try:
        return _REPLY.decode(frame)
    except msgspec.MsgspecError as error:
        raise DataError(f"unreadable stream reply ({error}): {_shown(frame)}") from error


def decode_push(frame: bytes) -> Push[Any] | None:
    """A data frame with rows of its channel's type, or None for a channel this client does not read.

    Raises DataError when the frame is not what its channel should carry.
    """
    at = frame.find(CHANNEL, 0, PEEK_BYTES)
    try:
        if at >= 0:
            at += len(CHANNEL)
            channel = frame[at : frame.index(b'"', at)]
        else:
            arg = _ENVELOPE.decode(frame).arg
            channel = arg.channel.encode() if arg is not None else b""
        decoder = _DECODERS.get(channel)
        if decoder is None:
            if not channel.startswith(b"candle"):
                return None
            decoder = _DECODERS[b"candle"]
        push: Push[Any] = decoder.decode(frame)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DataError(f"unreadable stream message ({error}): {_shown(frame)}") from error
    return push


def source_of(frame: bytes) -> tuple[str, str]:
    """Channel and instrument of a frame that cannot be read, as far as they are to be found in it; otherwise empty.

    >>> source_of(b'{"action":"update","arg":{"channel":"trade","instId":"SOLUSDT"},"data":[{')
    ('trade', 'SOLUSDT')
    """
    return _text_after(CHANNEL, frame), _text_after(INSTRUMENT, frame)


def _text_after(name: bytes, frame: bytes) -> str:
    _, found, rest = frame.partition(name)
    text, closed, _ = rest.partition(b'"')
    return text.decode("utf-8", "replace") if found and closed else ""


def _shown(frame: bytes) -> str:
    return frame[:120].decode("utf-8", "replace")
