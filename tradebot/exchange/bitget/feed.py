"""From raw frames to listener calls: decoding, book integrity, what is live and what is history."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tradebot.errors import DataError
from tradebot.events import FeedCause, FeedStatus
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.keeper import BookKeeper, Kind
from tradebot.exchange.bitget.listener import PRIVATE, PUBLIC, Listener
from tradebot.exchange.bitget.messages import PONG, BooksRow, Push, TradeRow, decode_push, is_reply, source_of
from tradebot.exchange.bitget.naming import INTERVAL, MARGIN_COIN

log = logging.getLogger(__name__)

BOOK = "book"
"""The trouble that a sound book ends; others are ended by whoever found them."""
TELLING: tuple[FeedCause, ...] = ("line", "silence", "book", "behind")
"""Of several causes the first of these is told: the one of which most is missing."""
SAY_EVERY_MS = 60_000
PRIVATE_CHANNELS = frozenset({"orders", "fill", "positions", "account", "orders-algo"})


class Trouble(NamedTuple):
    """Why a symbol's data are not to be trusted, in words, and when what is missing was last heard (ms, 0: never)."""

    cause: FeedCause
    reason: str
    since_ms: int


def _unwatched(channel: str, symbol: str, sent_ms: int, now_ms: int, snapshot: bool) -> None:
    return


def _timeless() -> int:
    return 0


class Feed:
    """Decodes frames and calls the listener.

    ``resync`` asks for a fresh snapshot of one channel of a symbol; ``heard`` is told of every data frame that was of
    use: by channel, symbol, for books the exchange's time when it was sent (0 for anything else), the time by
    ``now_ms``, the bot's clock, and whether it is a book's snapshot. A symbol's feed is good while no trouble is known:
    see ``blame`` and ``clear``.

    While ``merging`` the listener hears of a book once for several updates: each is applied and checked, the newest
    state is told by ``catch_up``, or before anything else of that symbol. Nothing else is ever merged.
    """

    def __init__(
        self,
        listener: Listener,
        symbols: Iterable[str],
        resync: Callable[[str, str], None],
        heard: Callable[[str, str, int, int, bool], None] = _unwatched,
        now_ms: Callable[[], int] = _timeless,
    ) -> None:
        self._listener = listener
        self._resync = resync
        self._heard = heard
        self._now_ms = now_ms
        self._keepers = {symbol: BookKeeper() for symbol in symbols}
        self._followed: set[str] = set()
        """Symbols of which candles alone are heard."""
        self._troubles: dict[str, dict[str, Trouble]] = {symbol: {} for symbol in self._keepers}
        self._told: dict[str, tuple[bool, FeedCause, str]] = {}
        self._heard_ms: dict[str, dict[str, int]] = {symbol: {} for symbol in self._keepers}
        """When each channel of a symbol last said something that could be read."""
        self._said_ms: dict[str, int] = {}
        self._last_trade: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        """Exchange time of the newest state not told yet, by symbol."""
        self.merging = False
        self.frames = 0
        self.unreadable_by_channel: Counter[str] = Counter()
        """Frames that could not be read; under an empty name those of which not even the channel is known."""
        self.resyncs_by_kind: Counter[Kind] = Counter()
        self.strays: Counter[str] = Counter()
        """What came of instruments that were not subscribed, by channel: it is passed over."""
        self.duplicates = 0
        """Updates and trades that were not new."""
        self.merged = 0
        """Book updates that were applied and told with a later one."""

    def process(self, frame: bytes, rank: int = PUBLIC) -> None:
        """Handle one text frame. Acks and pongs are not for here and are passed over.

        A frame that cannot be read is counted and logged. One of a book breaks that book; of another public channel it
        is told as missed, and the channel is subscribed again; a private one is told as lost. It never raises.
        """
        if frame == PONG or is_reply(frame):
            return
        self.frames += 1
        try:
            push = decode_push(frame)
            if push is not None:
                self._dispatch(push)
        except (DataError, ValueError, IndexError) as error:
            channel, symbol = source_of(frame)
            self._count_unreadable(channel, symbol, str(error))
            if rank == PRIVATE:
                self._listener.on_lost(str(error))
            elif symbol in self._keepers or symbol in self._followed:
                self._miss(channel, symbol)

    def follow(self, symbols: Iterable[str]) -> None:
        """Candles of these symbols are of use, too; nothing else of them comes."""
        self._followed.update(symbols)

    def catch_up(self) -> None:
        """Tell the newest state of every book whose updates were merged."""
        waiting, self._waiting = self._waiting, {}
        for symbol, ts_ms in waiting.items():
            self._listener.on_book(symbol, self._keepers[symbol].book, ts_ms)

    def acknowledged(self, channel: str, symbol: str) -> None:
        """From now on this channel of the symbol is listened to. That is no data: what was heard before stands."""
        if symbol in self._heard_ms:
            self._heard_ms[symbol].setdefault(channel, self._now_ms())

    def disconnected(self, symbols: Iterable[str]) -> None:
        """The connection that carried these symbols is gone; what it said last it said about any of them."""
        carried = tuple(symbols)
        since_ms = max((self.last_heard_ms(symbol) for symbol in carried), default=0)
        for symbol in carried:
            self._lose(symbol, Trouble("line", "disconnected", since_ms))

    def refused(self, symbol: str, reason: str) -> None:
        """The exchange will not serve this symbol's book."""
        if symbol in self._keepers:
            self._lose(symbol, Trouble("book", reason, self._now_ms()))

    def last_heard_ms(self, symbol: str, channels: str = "") -> int:
        """When anything was last heard of a symbol on the channels whose name begins so; 0: never."""
        heard = self._heard_ms[symbol].items()
        return max((at for channel, at in heard if channel.startswith(channels)), default=0)

    @property
    def unreadable(self) -> int:
        """Frames that could not be read."""
        return self.unreadable_by_channel.total()

    @property
    def resyncs(self) -> int:
        """How often a fresh snapshot was asked for."""
        return self.resyncs_by_kind.total()

    def sound(self, symbol: str) -> bool:
        """Whether the symbol's book can be trusted now."""
        return self._keepers[symbol].sound

    # --- what is wrong with a symbol --------------------------------------------------------------------------------

    def blame(self, symbol: str, name: str, trouble: Trouble) -> None:
        """The symbol's data are not to be trusted until the trouble of this name is cleared."""
        self._troubles[symbol][name] = trouble
        self._tell(symbol)

    def clear(self, symbol: str, name: str) -> None:
        """The trouble of this name is over."""
        if symbol in self._troubles and self._troubles[symbol].pop(name, None) is not None:
            self._tell(symbol)

    def _tell(self, symbol: str) -> None:
        troubles = self._troubles[symbol]
        told = min(troubles.values(), key=lambda one: TELLING.index(one.cause), default=Trouble("", "", 0))
        ok = not troubles and self._keepers[symbol].sound
        if (ok or troubles) and self._told.get(symbol) != (ok, told.cause, told.reason):
            self._told[symbol] = (ok, told.cause, told.reason)
            self._listener.on_feed(
                FeedStatus(symbol=symbol, ok=ok, reason=told.reason, cause=told.cause, since_ms=told.since_ms)
            )

    def _lose(self, symbol: str, trouble: Trouble) -> None:
        self._keepers[symbol].lose()
        self._waiting.pop(symbol, None)
        self.blame(symbol, BOOK, trouble)

    # --- frames -----------------------------------------------------------------------------------------------------

    def _dispatch(self, push: Push[Any]) -> None:
        channel, symbol = push.arg.channel, push.arg.instId
        if channel in PRIVATE_CHANNELS:
            self._on_private(channel, push.data)
        elif symbol not in self._keepers and not (symbol in self._followed and channel.startswith("candle")):
            self._pass_over(channel, symbol)
            return
        elif channel.startswith("books"):
            self._on_books(channel, symbol, push.action, push.data, translate.milliseconds(push.ts))
            return
        else:
            self._tell_waiting(symbol)
            self._on_public(channel, symbol, push)
        self._note(channel, symbol, 0)

    def _on_public(self, channel: str, symbol: str, push: Push[Any]) -> None:
        listener = self._listener
        if channel == "trade":
            self._on_trades(symbol, push.action, push.data)
        elif channel == "ticker":
            for row in push.data:
                if row.instId == symbol:
                    listener.on_ticker(translate.ticker(row))
                else:
                    self._pass_over(channel, row.instId)
        elif channel.startswith("candle"):
            interval = INTERVAL.get(channel[6:])
            if interval is not None and push.data:
                listener.on_candles(symbol, interval, [translate.candle(row) for row in push.data])

    def _on_private(self, channel: str, rows: list[Any]) -> None:
        listener = self._listener
        if channel == "orders":
            for row in rows:
                listener.on_private(translate.order(row))
        elif channel == "fill":
            for row in rows:
                listener.on_private(translate.fill(row))
        elif channel == "positions":
            listener.on_private(translate.positions(rows))
        elif channel == "account":
            for row in rows:
                if row.marginCoin.upper() == MARGIN_COIN:
                    listener.on_private(translate.account(row))
        else:
            for row in rows:
                listener.on_private(translate.stop(row))

    def _pass_over(self, channel: str, symbol: str) -> None:
        self.strays[channel] += 1
        if self._may_say(f"stray:{channel}"):
            log.error("stream: %s of %s, which is not subscribed (%d so far)", channel, symbol, self.strays[channel])

    def _note(self, channel: str, symbol: str, sent_ms: int, *, snapshot: bool = False) -> None:
        now_ms = self._now_ms()
        if symbol in self._heard_ms:
            self._heard_ms[symbol][channel] = now_ms
        self._heard(channel, symbol, sent_ms, now_ms, snapshot)

    def _tell_waiting(self, symbol: str) -> None:
        if symbol in self._waiting:
            self._listener.on_book(symbol, self._keepers[symbol].book, self._waiting.pop(symbol))

    def _on_books(self, channel: str, symbol: str, action: str, rows: list[BooksRow], ts_ms: int) -> None:
        keeper = self._keepers[symbol]
        for row in rows:
            if action == "snapshot":
                reason: str | None = keeper.snapshot(row)
            elif keeper.sound:
                reason = keeper.update(row)
            else:
                if keeper.missed():
                    self._ask_again(channel, symbol, "missed", "the snapshot was missed")
                continue
            if reason is None:
                self.duplicates += 1
                continue
            if reason:
                self._waiting.pop(symbol, None)
                self._ask_again(channel, symbol, keeper.kind, reason)
                continue
            at_ms = translate.milliseconds(row.ts) or ts_ms
            if action == "snapshot":
                self._troubles[symbol].pop(BOOK, None)
                self._note(channel, symbol, ts_ms, snapshot=True)
                self._tell(symbol)
            else:
                self._note(channel, symbol, ts_ms)
            if self.merging:
                self.merged += symbol in self._waiting
                self._waiting[symbol] = at_ms
            else:
                self._listener.on_book(symbol, keeper.book, at_ms)

    def _on_trades(self, symbol: str, action: str, rows: list[TradeRow]) -> None:
        """A snapshot is history, newest first: after a reconnect only what is newer than the last trade seen counts."""
        ordered = sorted(rows, key=lambda row: int(row.tradeId)) if len(rows) > 1 else rows
        last = self._last_trade.get(symbol)
        history = last is None and action == "snapshot"
        new = [] if history else [row for row in ordered if last is None or int(row.tradeId) > last]
        fresh = [translate.trade(row) for row in new]
        if ordered:
            self._last_trade[symbol] = max(int(ordered[-1].tradeId), last or 0)
        if history:
            return
        if action != "snapshot":
            self.duplicates += len(ordered) - len(fresh)
        if fresh:
            self._listener.on_trades(symbol, fresh)

    def _count_unreadable(self, channel: str, symbol: str, error: str) -> None:
        self.unreadable_by_channel[channel] += 1
        if self._may_say(channel):
            count, named = self.unreadable_by_channel[channel], channel or "unknown channel"
            log.error("stream: unreadable frame of %s %s (%d so far): %s", named, symbol, count, error)

    def _may_say(self, what: str) -> bool:
        """Whether it was not said for a while."""
        now_ms, said_ms = self._now_ms(), self._said_ms.get(what)
        due = said_ms is None or now_ms - said_ms >= SAY_EVERY_MS
        if due:
            self._said_ms[what] = now_ms
        return due

    def _miss(self, channel: str, symbol: str) -> None:
        """A frame of this channel was lost on us: what it said is asked for again."""
        if not channel.startswith("books"):
            self._tell_waiting(symbol)
            self._listener.on_missed(channel, symbol, self._heard_ms.get(symbol, {}).get(channel, 0))
            self._resync(channel, symbol)
        elif symbol in self._keepers and (keeper := self._keepers[symbol]).sound:
            keeper.lose()
            self._waiting.pop(symbol, None)
            self._ask_again(channel, symbol, "unreadable", "unreadable message")

    def _ask_again(self, channel: str, symbol: str, kind: Kind, reason: str) -> None:
        self.resyncs_by_kind[kind] += 1
        self.blame(symbol, BOOK, Trouble("book", reason, self._heard_ms[symbol].get(channel, 0)))
        self._resync(channel, symbol)
