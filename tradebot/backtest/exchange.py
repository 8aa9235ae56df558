"""The embedded exchange in this process: what its channels say reaches the bot's own listeners, without a wire.

What is said is what the wire would carry: rows of the channels' own views, read back as a client reads them. Only books
are taken as they are, for a client ends up with the same levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tradebot.events import Event, FeedStatus, TickerUpdated
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.messages import AccountRow, FillRow, OrderRow, PlanRow, PositionRow, TickerRow
from tradebot.exchange.bitget.naming import granularity
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.grid import BOOK_GRID
from tradebot.market.trade import Trade
from tradebot.matching.reports import VenueEvent
from tradebot.matching.venue import Venue
from tradebot.shell.feed import MarketFeed
from tradebot.shell.rows import Row
from tradebot.sim.channels import View, open_view
from tradebot.sim.exchange import Exchange
from tradebot.sim.private import rows_of
from tradebot.sim.rows_money import account_push
from tradebot.sim.rows_positions import position_push
from tradebot.sim.source import MarketSource, MarketStep, SparseSource
from tradebot.sim.symbol import SymbolMarket

Put = Callable[[Event], None]

_TICKER = TickerRow.__struct_fields__
_PRIVATE: dict[str, type[msgspec.Struct]] = {
    "orders": OrderRow,
    "fill": FillRow,
    "positions": PositionRow,
    "account": AccountRow,
    "orders-algo": PlanRow,
}


class _Views(NamedTuple):
    """What a client subscribed to of one symbol, besides its book, and what it was told first."""

    ticker: View
    candles: View
    greeting: Callable[[], None]


def _ticker_view() -> View:
    view = open_view("ticker", "both")
    assert view is not None
    return view


def _candle_view(interval: str) -> View:
    view = open_view(f"candle{granularity(interval)}", "both")
    assert view is not None
    return view


class QuietExchange(Exchange):
    """An exchange whose clock somebody turns by :meth:`step`, and whose one client lives in this process.

    ``feed`` hears of the markets, ``put`` of the account.
    """

    def __init__(self, sources: Sequence[MarketSource], venue: Venue) -> None:
        self._views: dict[str, _Views] = {}
        self._feed: MarketFeed | None = None
        self._put: Put | None = None
        self._interval, self._interval_ms = "", 0
        self._greeted = False
        self._rested: set[str] = set()
        """Symbols of which steps were left out just before the next one."""
        self._quiet: set[str] = set()
        """Symbols in which nothing of ours is: no more is told of them than the engine can see."""
        self._steps: dict[str, MarketStep] = {}
        """The step in hand, by symbol."""
        self._sparse = {
            source.instrument.symbol: (index, source)
            for index, source in enumerate(sources)
            if isinstance(source, SparseSource)
        }
        super().__init__(sources, venue, hold=True)

    def listen(self, feed: MarketFeed, interval: str, put: Put) -> None:
        """From the next step on, ``feed`` and ``put`` are told everything, beginning with how things stand now."""
        self._feed, self._put = feed, put
        self._interval, self._interval_ms = interval, INTERVAL_MS[interval]
        for symbol, market in self.markets.items():
            self._views[symbol] = self._subscribe(market, feed)

    def step(self, now_ms: int) -> None:
        """Move to ``now_ms`` and let everything due happen. The first step begins with what new subscriptions are told:
        how things stood when they were made."""
        self.clock.now_ms = max(self.clock.now_ms, now_ms)
        if not self._greeted:
            for views in self._views.values():
                views.greeting()
        self.advance(now_ms)

    def rest(self, symbols: Sequence[str], close_ms: int) -> None:
        """Leave out the steps of these markets that nobody needs who looks at them when a candle ends at ``close_ms``
        and not before. Nothing of ours may rest in them. The last candle, which never ends, is shown whole."""
        left: list[int] = []
        self._quiet.update(symbols)
        for symbol in symbols:
            if symbol in self._sparse:
                index, source = self._sparse[symbol]
                if close_ms <= source.end_ms and source.skip(
                    source.needed_from(close_ms, *self.venue.consumed(symbol))
                ):
                    left.append(index)
                    self._rested.add(symbol)
        self.reschedule(left)

    def attend(self, symbol: str) -> None:
        """Something of ours is about to be in a market: from now on everything is told of it."""
        if symbol in self._quiet:
            self._quiet.discard(symbol)
            # what the views were told last lies far back; the ticker was told at the market's last step
            ticker, market = _ticker_view(), self.markets[symbol]
            ticker.update(market, market.ts_ms, True)
            self._views[symbol] = self._views[symbol]._replace(ticker=ticker, candles=_candle_view(self._interval))

    def untouched(self, symbol: str) -> bool:
        """Whether nothing of ours is in a market or on its way there (an order that was accepted is open)."""
        venue = self.venue
        return not (venue.holds(symbol) or venue.open_orders(symbol) or venue.live_plans(symbol))

    def move(self, market: SymbolMarket) -> None:
        step = self._steps[market.symbol] = market.source.step()
        if market.symbol in self._quiet:
            market.look(step)
        else:
            market.take(step)
        self.trade(market, step)

    def publish(self, market: SymbolMarket, now_ms: int) -> None:
        symbol = market.symbol
        step, quiet = self._steps.pop(symbol, None), symbol in self._quiet
        if quiet and step is None:
            return  # something of ours happened in another market
        changed = market.publish_book(*self.venue.depth(symbol), now_ms)
        if self._feed is not None:
            if step is not None and symbol in self._rested:
                self._rested.discard(symbol)
                self._feed.resume(symbol)
                changed = True  # the book before this one was left out
            if changed:
                self._feed.book(symbol, _row(market), market.book_ms)
            if step is not None and step.trades:
                self._feed.on_trades(symbol, _trades(market, step))
            (self._tell_little if quiet else self._tell_all)(self._feed, market, step, now_ms, changed)
        market.settle()

    def tell_account(self) -> None:
        events = self.venue.drain()
        if self._put is not None:
            if not self._greeted:
                self._greeted = True
                positions = [position_push(report) for report in self.venue.positions()]
                for told in (
                    *_private("positions", positions),
                    *_private("account", [account_push(self.venue.summary())]),
                ):
                    self._put(told)
            for event in events:
                for told in _told(event):
                    self._put(told)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _tell_all(
        self, feed: MarketFeed, market: SymbolMarket, step: MarketStep | None, now_ms: int, changed: bool
    ) -> None:
        """Ticker and candles as their channels have them."""
        views = self._views[market.symbol]
        push = views.ticker.update(market, now_ms, changed)
        if push is not None:
            feed.on_ticker(_ticker(push[1][0]))
        self._tell_candles(feed, market, now_ms, changed)

    def _tell_little(
        self, feed: MarketFeed, market: SymbolMarket, step: MarketStep | None, now_ms: int, changed: bool
    ) -> None:
        """What the engine can see of ticker and candles."""
        feed.on_ticker(_marks(market, now_ms))
        if market.source.interval_ms != self._interval_ms:
            self._tell_candles(feed, market, now_ms, changed)
        elif step is not None and step.candles:
            feed.on_candles(market.symbol, self._interval, step.candles)

    def _tell_candles(self, feed: MarketFeed, market: SymbolMarket, now_ms: int, changed: bool) -> None:
        push = self._views[market.symbol].candles.update(market, now_ms, changed)
        if push is not None:
            feed.on_candles(market.symbol, self._interval, [translate.candle(row) for row in push[1]])

    def _subscribe(self, market: SymbolMarket, feed: MarketFeed) -> _Views:
        """Open the channels of a symbol. What they say first is read now and told later."""
        now_ms, symbol = self.clock.now_ms, market.symbol
        ticker, candles = _ticker_view(), _candle_view(self._interval)
        row, at_ms = _row(market), market.book_ms
        first = _ticker(ticker.snapshot(market, now_ms)[1][0])
        history: list[Candle] = [translate.candle(said) for said in candles.snapshot(market, now_ms)[1]]

        def greeting() -> None:
            feed.on_feed(FeedStatus(symbol=symbol, ok=True))
            feed.book(symbol, row, at_ms)
            feed.on_ticker(first)
            feed.on_candles(symbol, self._interval, history)

        return _Views(ticker, candles, greeting)


def _row(market: SymbolMarket) -> Row:
    """The best levels as floats: those that reading the exchange's texts gives."""
    bids, asks = market.bids[: BOOK_GRID.levels], market.asks[: BOOK_GRID.levels]
    price, size = market.price_text.numbers, market.size_text.numbers
    return (
        price([ticks for ticks, _ in bids]),
        size([lots for _, lots in bids]),
        price([ticks for ticks, _ in asks]),
        size([lots for _, lots in asks]),
    )


def _trades(market: SymbolMarket, step: MarketStep) -> list[Trade]:
    prices = market.price_text.numbers([trade.price_ticks for trade in step.trades])
    sizes = market.size_text.numbers([trade.qty_lots for trade in step.trades])
    return [
        Trade(trade.ts_ms, price, size, trade.side, "")
        for trade, price, size in zip(step.trades, prices, sizes, strict=True)
    ]


def _marks(market: SymbolMarket, now_ms: int) -> TickerUpdated:
    """What the engine reads of a ticker: neither the last price nor the figures of the last day."""
    return TickerUpdated(
        symbol=market.symbol,
        ts_exchange_ms=market.ts_ms,
        last=float(market.mark),
        mark=float(market.mark),
        index=float(market.index),
        funding_rate=float(market.funding_rate),
        next_funding_ms=market.next_funding_ms(now_ms),
        open_interest=float(market.open_interest(now_ms)),
    )


def _ticker(row: Mapping[str, Any]) -> TickerUpdated:
    return translate.ticker(TickerRow(**{name: row[name] for name in _TICKER if name in row}))


def _told(event: VenueEvent) -> list[Event]:
    """The events that a client makes of what its channels say of a venue event; none where no channel tells of it."""
    said = rows_of(event)
    return [] if said is None or said[0] not in _PRIVATE else _private(said[0], said[2])


def _private(channel: str, rows: list[dict[str, Any]]) -> list[Event]:
    read: list[Any] = [msgspec.convert(row, _PRIVATE[channel]) for row in rows]
    match channel:
        case "orders":
            return [translate.order(row) for row in read]
        case "fill":
            return [translate.fill(row) for row in read]
        case "positions":
            return [translate.positions(read)]
        case "account":
            return [translate.account(row) for row in read]
        case _:
            return [translate.stop(row) for row in read]
