"""Who is told what the streams say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from tradebot.events import (
    AccountUpdated,
    FeedStatus,
    Filled,
    OrderUpdated,
    PositionsReported,
    StopUpdated,
    TickerUpdated,
)
from tradebot.market.book import OrderBook
from tradebot.market.candle import Candle
from tradebot.market.trade import Trade

PUBLIC, PRIVATE = 0, 1
"""The two sides of the exchange's streams."""

PrivateEvent = OrderUpdated | Filled | PositionsReported | AccountUpdated | StopUpdated


class Listener(Protocol):
    """Called synchronously, in the order of the frames. What a subclass does not override it does not care for."""

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        """The book changed and is sound. It is the live object: read it now, do not keep it."""
        return

    def on_trades(self, symbol: str, rows: Sequence[Trade]) -> None:
        """New public trades, oldest first."""
        return

    def on_candles(self, symbol: str, interval: str, rows: Sequence[Candle]) -> None:
        """Candles as pushed, ascending; the last one is usually still open and comes again."""
        return

    def on_ticker(self, event: TickerUpdated) -> None:
        """Last, mark and index price, funding rate."""
        return

    def on_private(self, event: PrivateEvent) -> None:
        """Something happened to our account."""
        return

    def on_feed(self, event: FeedStatus) -> None:
        """A symbol's market data became trustworthy or stopped being so: book, line, silence, lateness."""
        return

    def on_missed(self, channel: str, symbol: str, since_ms: int) -> None:
        """A message of this channel could not be read: what it told between ``since_ms`` (bot's clock, when the channel
        was last heard; 0: never) and now is missing. Books are not told here: a broken book is a feed that is bad."""
        return

    def on_lost(self, reason: str) -> None:
        """A private message came that could not be read: something happened to our account, and what is not known."""
        return

    def on_refused(self, channel: str, reason: str) -> None:
        """The exchange will not serve this channel of the private side: its session is left and tried again."""
        return

    def on_connection(self, rank: int, up: bool) -> None:
        """The public (0) or private (1) side is fully subscribed, or lost a connection."""
        return


Method = TypeVar("Method", bound=Callable[..., None])


class FanOut(Listener):
    """Tells several listeners, each in its turn, of what it overrides."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        known = tuple(listeners)
        self._book = _overridden(known, "on_book", Listener.on_book)
        self._trades = _overridden(known, "on_trades", Listener.on_trades)
        self._candles = _overridden(known, "on_candles", Listener.on_candles)
        self._ticker = _overridden(known, "on_ticker", Listener.on_ticker)
        self._private = _overridden(known, "on_private", Listener.on_private)
        self._lost = _overridden(known, "on_lost", Listener.on_lost)
        self._feed = _overridden(known, "on_feed", Listener.on_feed)
        self._missed = _overridden(known, "on_missed", Listener.on_missed)
        self._refused = _overridden(known, "on_refused", Listener.on_refused)
        self._connection = _overridden(known, "on_connection", Listener.on_connection)

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        for tell in self._book:
            tell(symbol, book, ts_exchange_ms)

    def on_trades(self, symbol: str, rows: Sequence[Trade]) -> None:
        for tell in self._trades:
            tell(symbol, rows)

    def on_candles(self, symbol: str, interval: str, rows: Sequence[Candle]) -> None:
        for tell in self._candles:
            tell(symbol, interval, rows)

    def on_ticker(self, event: TickerUpdated) -> None:
        for tell in self._ticker:
            tell(event)

    def on_private(self, event: PrivateEvent) -> None:
        for tell in self._private:
            tell(event)

    def on_feed(self, event: FeedStatus) -> None:
        for tell in self._feed:
            tell(event)

    def on_missed(self, channel: str, symbol: str, since_ms: int) -> None:
        for tell in self._missed:
            tell(channel, symbol, since_ms)

    def on_lost(self, reason: str) -> None:
        for tell in self._lost:
            tell(reason)

    def on_refused(self, channel: str, reason: str) -> None:
        for tell in self._refused:
            tell(channel, reason)

    def on_connection(self, rank: int, up: bool) -> None:
        for tell in self._connection:
            tell(rank, up)


def _overridden(listeners: Sequence[Listener], name: str, default: Method) -> tuple[Callable[..., None], ...]:
    """The bound methods of those who do something with the call."""
    return tuple(getattr(one, name) for one in listeners if getattr(type(one), name, None) is not default)
