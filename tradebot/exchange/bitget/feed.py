"""From raw frames to listener calls: decoding, book integrity, what is live and what is history."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tradebot.errors import DataError
from tradebot.events import FeedStatus
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.listener import Listener
from tradebot.exchange.bitget.messages import PONG, BooksRow, Push, TradeRow, decode_push, is_reply
from tradebot.exchange.bitget.naming import INTERVAL, MARGIN_COIN
from tradebot.market.book import OrderBook


class BookKeeper:
    """Keeps one symbol's book and refuses one that cannot be right (protocol section 11).

    1. *empty* – no snapshot yet; updates are ignored.
    2. *sound* – every update continues the sequence chain (``pseq`` equals the last ``seq``) and has the checksum that
       was sent with it. Either proof may be absent: the exchange replaced the one by the other in 2026.
    3. *broken* – a gap, a wrong checksum, a numbering reset or a crossed book. Updates are ignored until a snapshot.
    """

    __slots__ = ("_after_snapshot", "_seq", "book", "sound")

    def __init__(self) -> None:
        self.book = OrderBook()
        self.sound = False
        self._seq = 0
        self._after_snapshot = False

    def snapshot(self, row: BooksRow) -> str:
        """Replace the book. Returns why it is not sound, or an empty text."""
        self.sound = False
        self.book.snapshot(row.bids, row.asks)
        if self.book.crossed:
            return "crossed book in the snapshot"
        self._seq = row.seq
        self._after_snapshot = True
        self.sound = True
        return ""

    def update(self, row: BooksRow) -> str | None:
        """Apply a delta to a sound book. Returns why it broke, an empty text if it did not, None if it was stale."""
        seq, pseq = row.seq, row.pseq
        if seq:
            if pseq == 0:
                return self._break("sequence numbering was reset")
            if self._after_snapshot:
                if seq <= self._seq:
                    return None
                if pseq > self._seq and self._seq:
                    return self._break(f"gap after the snapshot: sequence {self._seq}, then {pseq}")
            elif pseq != self._seq or seq <= pseq:
                return self._break(f"gap: sequence {self._seq}, then {pseq}")
            self._seq = seq
        self._after_snapshot = False
        book = self.book
        book.apply(row.bids, row.asks)
        if row.checksum and not book.matches(row.checksum):
            return self._break("checksum mismatch")
        if book.crossed:
            return self._break("crossed book")
        return ""

    def lose(self) -> None:
        """The connection is gone: nothing is known until the next snapshot."""
        self.sound = False

    def _break(self, reason: str) -> str:
        self.sound = False
        return reason


class Feed:
    """Decodes frames and calls the listener. ``resync`` asks for a fresh snapshot of one symbol's book."""

    def __init__(self, listener: Listener, symbols: Iterable[str], resync: Callable[[str], None]) -> None:
        self._listener = listener
        self._resync = resync
        self._keepers = {symbol: BookKeeper() for symbol in symbols}
        self._told: dict[str, tuple[bool, str]] = {}
        self._last_trade: dict[str, int] = {}
        self.frames = 0
        self.unreadable = 0
        self.resyncs = 0
        self.last_unreadable = ""

    def process(self, frame: bytes) -> None:
        """Handle one text frame. Acks and pongs are not for here and are passed over.

        A frame that cannot be read is counted and, when it is a book's, breaks that book; it never raises.
        """
        if frame == PONG or is_reply(frame):
            return
        self.frames += 1
        try:
            push = decode_push(frame)
            if push is not None:
                self._dispatch(push)
        except (DataError, ValueError, IndexError) as error:
            self.unreadable += 1
            self.last_unreadable = str(error)
            self._break_unreadable(frame)

    def disconnected(self, symbols: Iterable[str]) -> None:
        """The connection that carried these symbols' books is gone."""
        for symbol in symbols:
            self._keepers[symbol].lose()
            self._tell(symbol, False, "disconnected")

    def refused(self, symbol: str, reason: str) -> None:
        """The exchange will not serve this symbol's book."""
        if symbol in self._keepers:
            self._keepers[symbol].lose()
            self._tell(symbol, False, reason)

    def sound(self, symbol: str) -> bool:
        """Whether the symbol's book can be trusted now."""
        return self._keepers[symbol].sound

    def _dispatch(self, push: Push[Any]) -> None:
        channel, symbol = push.arg.channel, push.arg.instId
        listener = self._listener
        if channel.startswith("books"):
            self._on_books(symbol, push.action, push.data, translate.milliseconds(push.ts))
        elif channel == "trade":
            self._on_trades(symbol, push.action, push.data)
        elif channel == "ticker":
            for row in push.data:
                listener.on_ticker(translate.ticker(row))
        elif channel.startswith("candle"):
            interval = INTERVAL.get(channel[6:])
            if interval is not None and push.data:
                listener.on_candles(symbol, interval, [translate.candle(row) for row in push.data])
        elif channel == "orders":
            for row in push.data:
                listener.on_private(translate.order(row))
        elif channel == "fill":
            for row in push.data:
                listener.on_private(translate.fill(row))
        elif channel == "positions":
            listener.on_private(translate.positions(push.data))
        elif channel == "account":
            for row in push.data:
                if row.marginCoin.upper() == MARGIN_COIN:
                    listener.on_private(translate.account(row))
        elif channel == "orders-algo":
            for row in push.data:
                listener.on_private(translate.stop(row))

    def _on_books(self, symbol: str, action: str, rows: list[BooksRow], ts_ms: int) -> None:
        keeper = self._keepers.get(symbol)
        if keeper is None:
            return
        for row in rows:
            if action == "snapshot":
                reason: str | None = keeper.snapshot(row)
            elif keeper.sound:
                reason = keeper.update(row)
            else:
                continue
            if reason is None:
                continue
            if reason:
                self._tell(symbol, False, reason)
                self.resyncs += 1
                self._resync(symbol)
            else:
                if action == "snapshot":
                    self._tell(symbol, True, "")
                self._listener.on_book(symbol, keeper.book, translate.milliseconds(row.ts) or ts_ms)

    def _on_trades(self, symbol: str, action: str, rows: list[TradeRow]) -> None:
        """A snapshot is history, newest first: after a reconnect only what is newer than the last trade seen counts."""
        ordered = sorted(rows, key=lambda row: int(row.tradeId)) if len(rows) > 1 else rows
        last = self._last_trade.get(symbol)
        if ordered:
            self._last_trade[symbol] = max(int(ordered[-1].tradeId), last or 0)
        if last is None and action == "snapshot":
            return
        fresh = [translate.trade(row) for row in ordered if last is None or int(row.tradeId) > last]
        if fresh:
            self._listener.on_trades(symbol, fresh)

    def _tell(self, symbol: str, ok: bool, reason: str) -> None:
        if self._told.get(symbol) != (ok, reason):
            self._told[symbol] = (ok, reason)
            self._listener.on_feed(FeedStatus(symbol=symbol, ok=ok, reason=reason))

    def _break_unreadable(self, frame: bytes) -> None:
        for symbol, keeper in self._keepers.items():
            if keeper.sound and b'"channel":"books' in frame and f'"instId":"{symbol}"'.encode() in frame:
                keeper.lose()
                self._tell(symbol, False, "unreadable message")
                self.resyncs += 1
                self._resync(symbol)
