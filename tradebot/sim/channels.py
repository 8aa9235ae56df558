"""Public WebSocket channels: what each says on subscription and at every step (protocol sections 10.4 and 11).

A channel exists while someone subscribes to it. It encodes a push once; all its subscribers get the same bytes.
"""

from __future__ import annotations

import zlib
from typing import Any, Final, Literal, Protocol

import msgspec

from tradebot.market.candle import Candle
from tradebot.sim.connection import Connection
from tradebot.sim.granularity import GRANULARITIES, Granularity
from tradebot.sim.symbol import SymbolMarket, TextLevels
from tradebot.sim.wire import PRODUCT_TYPE, encode, float_text, text_frame

TICKER_EVERY_MS = 300
CHECKSUM_LEVELS = 25
SNAPSHOT_TRADES = 100
SNAPSHOT_CANDLES = 500

BookFrames = Literal["both", "checksum", "sequence"]
"""What book pushes carry to prove that nothing is missing (section 11).

``checksum``: the documented form, without ``seq`` and ``pseq``, snapshots with a checksum of 0. ``sequence``: as sent
since May 2026, without ``checksum``. ``both``: sequence numbers everywhere, a checksum on updates of ``books``.
"""

_DEPTHS: Final = {"books1": 1, "books5": 5, "books15": 15, "books50": 50}


class View(Protocol):
    """One channel's content: the pushes it makes of a market."""

    def snapshot(self, market: SymbolMarket, now_ms: int) -> tuple[str, Any]:
        """Action and data of the first push."""

    def update(self, market: SymbolMarket, now_ms: int, book_changed: bool) -> tuple[str, Any] | None:
        """Action and data after a step, or None when there is nothing to say."""


class PublicChannel:
    """A channel of one symbol with its subscribers."""

    def __init__(self, name: str, symbol: str, view: View) -> None:
        self.subscribers: dict[Connection, None] = {}
        self._view = view
        self._arg = msgspec.Raw(encode({"instType": PRODUCT_TYPE, "channel": name, "instId": symbol}))

    def greet(self, connection: Connection, market: SymbolMarket, now_ms: int) -> None:
        """Send the first push to one new subscriber."""
        self.subscribers[connection] = None
        action, data = self._view.snapshot(market, now_ms)
        connection.send(self._push(action, data, now_ms))

    def publish(self, market: SymbolMarket, now_ms: int, book_changed: bool) -> None:
        """Send what a step changed to everyone."""
        push = self._view.update(market, now_ms, book_changed)
        if push is None:
            return
        frame = text_frame(self._push(push[0], push[1], now_ms))
        for connection in self.subscribers:
            connection.queue(frame)

    def _push(self, action: str, data: Any, now_ms: int) -> bytes:
        return encode({"action": action, "arg": self._arg, "data": data, "ts": now_ms})


def is_channel(name: str) -> bool:
    """Whether there is a public channel of this name. ``books50`` is not documented, but clients ask for it."""
    return name in ("books", "trade", "ticker") or name in _DEPTHS or _candles_of(name) is not None


def told_order(name: str) -> int:
    """Place of a channel among those of its symbol: what a step changed is told as book, trades, ticker, candles.

    >>> sorted(["candle5m", "ticker", "books1", "trade", "books"], key=told_order)
    ['books1', 'books', 'trade', 'ticker', 'candle5m']
    """
    return next((place for place, kind in enumerate(("books", "trade", "ticker")) if name.startswith(kind)), 3)


def open_view(name: str, frames: BookFrames) -> View | None:
    """The view behind a channel name, or None when there is no such channel."""
    if name == "books":
        return _Books(frames)
    if name in _DEPTHS:
        return _Depth(_DEPTHS[name], frames)
    if name == "trade":
        return _Trades()
    if name == "ticker":
        return _Ticker()
    granularity = _candles_of(name)
    return None if granularity is None else _Candles(granularity)


def _candles_of(name: str) -> Granularity | None:
    return GRANULARITIES.get(name[6:]) if name.startswith("candle") else None


def book_checksum(bids: TextLevels, asks: TextLevels) -> int:
    """Signed CRC32 of the best 25 levels of both sides, interleaved (protocol section 11).

    >>> book_checksum([("43231.1", "4"), ("43231", "6")], [("43232.8", "9"), ("43232.9", "8")])
    -1504501796
    """
    paired = min(len(bids), len(asks), CHECKSUM_LEVELS)
    parts: list[str] = []
    for bid, ask in zip(bids[:paired], asks[:paired], strict=True):
        parts += bid
        parts += ask
    for level in (bids if len(bids) > paired else asks)[paired:CHECKSUM_LEVELS]:
        parts += level
    value = zlib.crc32(":".join(parts).encode())
    return value - (1 << 32) if value & 0x80000000 else value


def side_delta(before: TextLevels, after: TextLevels) -> TextLevels:
    """Levels of ``after`` that are new or changed, then those of ``before`` that are gone, with size "0"."""
    if before is after:
        return []
    gone = dict(before)
    changed = [level for level in after if gone.pop(level[0], None) != level[1]]
    if gone:
        changed += [(price, "0") for price in gone]
    return changed


class _Books:
    """``books``: a snapshot, then deltas with sequence chain, checksum or both."""

    def __init__(self, frames: BookFrames) -> None:
        self._frames = frames

    def snapshot(self, market: SymbolMarket, now_ms: int) -> tuple[str, Any]:
        return "snapshot", [_whole_book(market, None, self._frames)]

    def update(self, market: SymbolMarket, now_ms: int, book_changed: bool) -> tuple[str, Any] | None:
        if not book_changed:
            return None
        bids, asks = market.texts()
        old_bids, old_asks = market.previous_texts()
        row: dict[str, Any] = {"asks": side_delta(old_asks, asks), "bids": side_delta(old_bids, bids)}
        if self._frames != "sequence":
            row["checksum"] = book_checksum(bids, asks)
        if self._frames != "checksum":
            row["seq"] = market.seq
            row["pseq"] = market.seq - 1
        row["ts"] = str(market.book_ms)
        return "update", [row]


class _Depth:
    """``books1`` … ``books50``: the best levels whole, whenever one of them changed."""

    def __init__(self, levels: int, frames: BookFrames) -> None:
        self._levels = levels
        self._frames = frames

    def snapshot(self, market: SymbolMarket, now_ms: int) -> tuple[str, Any]:
        return "snapshot", [_whole_book(market, self._levels, self._frames)]

    def update(self, market: SymbolMarket, now_ms: int, book_changed: bool) -> tuple[str, Any] | None:
        n = self._levels
        if not book_changed:
            return None
        if market.bids[:n] == market.previous_bids[:n] and market.asks[:n] == market.previous_asks[:n]:
            return None
        return self.snapshot(market, now_ms)


class _Trades:
    """``trade``: recent trades, then those of each step, newest first."""

    def snapshot(self, market: SymbolMarket, now_ms: int) -> tuple[str, Any]:
        newest = min(SNAPSHOT_TRADES, len(market.trades))
        return "snapshot", [market.trades[i] for i in range(newest)]

    def update(self, market: SymbolMarket, now_ms: int, book_changed: bool) -> tuple[str, Any] | None:
        return ("update", market.fresh_trades[::-1]) if market.fresh_trades else None


class _Ticker:
    """``ticker``: a whole row on change, at most every 300 ms of exchange time."""

    def __init__(self) -> None:
        self._sent_ms = 0
        self._sent: dict[str, Any] = {}

    def snapshot(self, market: SymbolMarket, now_ms: int) -> tuple[str, Any]:
        return "snapshot", [_ticker_row(market, now_ms)]

    def update(self, market: SymbolMarket, now_ms: int, book_changed: bool) -> tuple[str, Any] | None:
        if now_ms - self._sent_ms < TICKER_EVERY_MS:
            return None
        row = _ticker_row(market, now_ms)
        stamp = row.pop("ts")
        if row == self._sent:
            return None
        self._sent_ms = now_ms
        self._sent = row
        return "snapshot", [{**row, "ts": stamp}]


class _Candles:
    """``candle*``: past rows, then every row that changed, oldest first."""

    def __init__(self, granularity: Granularity) -> None:
        self._granularity = granularity
        self._sent: dict[int, Candle] = {}
        self._follows = -1

    def snapshot(self, market: SymbolMarket, now_ms: int) -> tuple[str, Any]:
        length = self._granularity.length_ms or 31 * 86_400_000
        first = self._granularity.start(now_ms) - SNAPSHOT_CANDLES * length
        rows = self._granularity.rows(market.source, first, now_ms, now_ms)
        if not self._sent and rows:
            self._sent = {row.open_time_ms: row for row in rows[-1:]}
        return "snapshot", [_candle_row(row) for row in rows]

    def update(self, market: SymbolMarket, now_ms: int, book_changed: bool) -> tuple[str, Any] | None:
        running = market.running
        if running is None:
            return None
        start = self._granularity.start(now_ms)
        if self._follows == start == running.open_time_ms:
            # this candle and the source's own one began together, so they are the same so far: no need to ask
            changed = [running] if self._sent.get(start) != running else []
            self._sent = {start: running}
        else:
            first = min(self._sent, default=start)
            rows = self._granularity.rows(market.source, first, now_ms, now_ms)
            changed = [row for row in rows if self._sent.get(row.open_time_ms) != row]
            if rows:
                self._sent = {rows[-1].open_time_ms: rows[-1]}
                self._follows = start if rows[-1] == running else -1
        return ("update", [_candle_row(row) for row in changed]) if changed else None


def _whole_book(market: SymbolMarket, levels: int | None, frames: BookFrames) -> dict[str, Any]:
    bids, asks = market.texts()
    row: dict[str, Any] = {"asks": asks[:levels], "bids": bids[:levels]}
    if frames == "checksum":
        row["checksum"] = 0
    else:
        row["seq"] = market.seq
        row["pseq"] = 0
    row["ts"] = str(market.book_ms)
    return row


def _ticker_row(market: SymbolMarket, now_ms: int) -> dict[str, Any]:
    row = market.ticker(now_ms)
    del row["usdtVolume"], row["changeUtc24h"]
    return {
        "instId": market.symbol,
        **row,
        "nextFundingTime": str(market.next_funding_ms(now_ms)),
        "symbolType": "1",
    }


def _candle_row(row: Candle) -> tuple[str, ...]:
    quote = float_text(row.quote_volume)
    return (
        str(row.open_time_ms),
        float_text(row.open),
        float_text(row.high),
        float_text(row.low),
        float_text(row.close),
        float_text(row.volume),
        quote,
        quote,
    )
