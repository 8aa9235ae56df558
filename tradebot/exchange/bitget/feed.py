"""From raw frames to listener calls: decoding, book integrity, what is live and what is history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tradebot.errors import DataError
from tradebot.events import FeedStatus
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.keeper import BookKeeper, Kind
from tradebot.exchange.bitget.listener import PRIVATE, PUBLIC, Listener
from tradebot.exchange.bitget.messages import PONG, BooksRow, Push, TradeRow, decode_push, is_reply
from tradebot.exchange.bitget.naming import INTERVAL, MARGIN_COIN

BOOK = "book"
"""The cause of trouble that a sound book ends; others are ended by whoever found them."""


def _unwatched(channel: str, symbol: str, sent_ms: int) -> None:
    return


class Feed:
    """Decodes frames and calls the listener.

    ``resync`` asks for a fresh snapshot of one symbol's book; ``heard`` is told of every data frame that was of use: by
    channel, symbol and, for updates of books, the exchange's time when it was sent (0 for anything else). A symbol's
    feed is good while no cause of trouble is known: see ``blame`` and ``clear``.

    While ``merging`` the listener hears of a book once for several updates: each is applied and checked, the newest
    state is told by ``catch_up``, or before anything else of that symbol. Nothing else is ever merged.
    """

    def __init__(
        self,
        listener: Listener,
        symbols: Iterable[str],
        resync: Callable[[str], None],
        heard: Callable[[str, str, int], None] = _unwatched,
    ) -> None:
        self._listener = listener
        self._resync = resync
        self._heard = heard
        self._keepers = {symbol: BookKeeper() for symbol in symbols}
        self._troubles: dict[str, dict[str, str]] = {symbol: {} for symbol in self._keepers}
        self._told: dict[str, tuple[bool, str]] = {}
        self._last_trade: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        """Exchange time of the newest state not told yet, by symbol."""
        self.merging = False
        self.frames = 0
        self.unreadable = 0
        self.last_unreadable = ""
        self.resyncs_by_kind: Counter[Kind] = Counter()
        self.duplicates = 0
        """Updates and trades that were not new."""
        self.merged = 0
        """Book updates that were applied and told with a later one."""

    def process(self, frame: bytes, rank: int = PUBLIC) -> None:
        """Handle one text frame. Acks and pongs are not for here and are passed over.

        A frame that cannot be read is counted, breaks the book that it was of, and is told as lost when it was a
        private one; it never raises.
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
            if rank == PRIVATE:
                self._listener.on_lost(str(error))
            else:
                self._break_unreadable(frame)

    def catch_up(self) -> None:
        """Tell the newest state of every book whose updates were merged."""
        waiting, self._waiting = self._waiting, {}
        for symbol, ts_ms in waiting.items():
            self._listener.on_book(symbol, self._keepers[symbol].book, ts_ms)

    def disconnected(self, symbols: Iterable[str]) -> None:
        """The connection that carried these symbols' books is gone."""
        for symbol in symbols:
            self._lose(symbol, "disconnected")

    def refused(self, symbol: str, reason: str) -> None:
        """The exchange will not serve this symbol's book."""
        if symbol in self._keepers:
            self._lose(symbol, reason)

    @property
    def resyncs(self) -> int:
        """How often a fresh snapshot was asked for."""
        return self.resyncs_by_kind.total()

    def sound(self, symbol: str) -> bool:
        """Whether the symbol's book can be trusted now."""
        return self._keepers[symbol].sound

    # --- what is wrong with a symbol --------------------------------------------------------------------------------

    def blame(self, symbol: str, cause: str, reason: str) -> None:
        """The symbol's data are not to be trusted, because of ``cause``; ``reason`` in words."""
        troubles = self._troubles[symbol]
        if cause == BOOK:  # the first reason is the one that is told, and this one tells most
            self._troubles[symbol] = {BOOK: reason} | {name: why for name, why in troubles.items() if name != BOOK}
        else:
            troubles[cause] = reason
        self._tell(symbol)

    def clear(self, symbol: str, cause: str) -> None:
        """``cause`` is over."""
        if self._troubles[symbol].pop(cause, None) is not None:
            self._tell(symbol)

    def _tell(self, symbol: str) -> None:
        troubles = self._troubles[symbol]
        reason = next(iter(troubles.values()), "")
        ok = not troubles and self._keepers[symbol].sound
        if (ok or troubles) and self._told.get(symbol) != (ok, reason):
            self._told[symbol] = (ok, reason)
            self._listener.on_feed(FeedStatus(symbol=symbol, ok=ok, reason=reason))

    def _lose(self, symbol: str, reason: str) -> None:
        self._keepers[symbol].lose()
        self._waiting.pop(symbol, None)
        self.blame(symbol, BOOK, reason)

    # --- frames -----------------------------------------------------------------------------------------------------

    def _dispatch(self, push: Push[Any]) -> None:
        channel, symbol = push.arg.channel, push.arg.instId
        listener = self._listener
        if channel.startswith("books"):
            self._on_books(channel, symbol, push.action, push.data, translate.milliseconds(push.ts))
            return
        if symbol in self._waiting:
            listener.on_book(symbol, self._keepers[symbol].book, self._waiting.pop(symbol))
        if channel == "trade":
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
        self._heard(channel, symbol, 0)

    def _on_books(self, channel: str, symbol: str, action: str, rows: list[BooksRow], ts_ms: int) -> None:
        keeper = self._keepers.get(symbol)
        if keeper is None:
            return
        for row in rows:
            if action == "snapshot":
                reason: str | None = keeper.snapshot(row)
            elif keeper.sound:
                reason = keeper.update(row)
            else:
                if keeper.missed():
                    self._ask_again(symbol, "missed", "the snapshot was missed")
                continue
            if reason is None:
                self.duplicates += 1
                continue
            if reason:
                self._waiting.pop(symbol, None)
                self._ask_again(symbol, keeper.kind, reason)
                continue
            at_ms = translate.milliseconds(row.ts) or ts_ms
            if action == "snapshot":
                self._troubles[symbol].pop(BOOK, None)
                self._tell(symbol)
                self._heard(channel, symbol, 0)
            else:
                self._heard(channel, symbol, ts_ms)
            if self.merging:
                self.merged += symbol in self._waiting
                self._waiting[symbol] = at_ms
            else:
                self._listener.on_book(symbol, keeper.book, at_ms)

    def _on_trades(self, symbol: str, action: str, rows: list[TradeRow]) -> None:
        """A snapshot is history, newest first: after a reconnect only what is newer than the last trade seen counts."""
        ordered = sorted(rows, key=lambda row: int(row.tradeId)) if len(rows) > 1 else rows
        last = self._last_trade.get(symbol)
        if ordered:
            self._last_trade[symbol] = max(int(ordered[-1].tradeId), last or 0)
        if last is None and action == "snapshot":
            return
        fresh = [translate.trade(row) for row in ordered if last is None or int(row.tradeId) > last]
        if action != "snapshot":
            self.duplicates += len(ordered) - len(fresh)
        if fresh:
            self._listener.on_trades(symbol, fresh)

    def _break_unreadable(self, frame: bytes) -> None:
        for symbol, keeper in self._keepers.items():
            if keeper.sound and b'"channel":"books' in frame and f'"instId":"{symbol}"'.encode() in frame:
                keeper.lose()
                self._waiting.pop(symbol, None)
                self._ask_again(symbol, "unreadable", "unreadable message")

    def _ask_again(self, symbol: str, kind: Kind, reason: str) -> None:
        self.resyncs_by_kind[kind] += 1
        self.blame(symbol, BOOK, reason)
        self._resync(symbol)
