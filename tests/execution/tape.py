"""One tape and one stream of commands, through the paper broker and through the embedded exchange.

The exchange is asked by the real REST broker, endpoint by endpoint; the paper broker is shown what a client of the
exchange sees of the market: trades, book, mark, in this order.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from tradebot.backtest.requests import URL, DirectHttp
from tradebot.events import CancelOrder, CommandOutcome, EngineConfig, Event, Filled, PlaceOrder, PlaceStop
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.execution import paper_events
from tradebot.execution.broker import OrderCommand
from tradebot.execution.exchange import ExchangeBroker
from tradebot.execution.latency import Latency
from tradebot.execution.paper import PaperBroker
from tradebot.market.instrument import Instrument, Side
from tradebot.matching.venue import Venue
from tradebot.sim.exchange import Exchange, latency_ms
from tradebot.sim.source import Levels, MarketSource
from tradebot.sim.symbol import SymbolMarket, TradeRow

CASH = Decimal(10_000_000)
LEVERAGE = 5

Commands = Sequence[tuple[int, OrderCommand]]
"""When each is given (ms), in order of time."""


class Seen(NamedTuple):
    """A step of one market as its client sees it."""

    symbol: str
    ts_ms: int
    trades: tuple[TradeRow, ...]
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]
    mark: float
    funding_rate: float


@dataclass(slots=True)
class Told:
    """What one side said: answers and executions, in order."""

    outcomes: list[CommandOutcome] = field(default_factory=list)
    fills: list[Filled] = field(default_factory=list)
    cash: Decimal = CASH

    def hear(self, events: Iterable[Event | None]) -> None:
        for event in events:
            if isinstance(event, CommandOutcome):
                self.outcomes.append(event)
            elif isinstance(event, Filled):
                self.fills.append(event)


class Watched(Exchange):
    """An exchange whose clock is turned by hand; ``seen`` are the steps that its markets made."""

    def __init__(self, sources: Sequence[MarketSource]) -> None:
        self.seen: list[Seen] = []
        self.told = Told()
        contracts = [source.instrument for source in sources]
        super().__init__(sources, Venue(contracts, CASH, leverage=LEVERAGE, margin_mode="isolated"), hold=True)

    def move(self, market: SymbolMarket) -> None:
        known = len(market.fresh_trades)
        super().move(market)
        terms = market.instrument
        self.seen.append(
            Seen(
                market.symbol,
                market.ts_ms,
                tuple(market.fresh_trades[known:]),
                _in_floats(market.source_bids, terms),
                _in_floats(market.source_asks, terms),
                float(market.mark),
                float(market.funding_rate),
            )
        )

    def tell_account(self) -> None:
        self.told.hear(paper_events.event(seen) for seen in self.venue.drain())

    def step(self, now_ms: int) -> list[Seen]:
        self.clock.now_ms = now_ms
        self.advance(now_ms)
        seen, self.seen = self.seen, []
        return seen


def _in_floats(levels: Levels, terms: Instrument) -> tuple[tuple[float, float], ...]:
    return tuple((float(ticks * terms.tick), float(lots * terms.lot)) for ticks, lots in levels)


def exchange_latency(name: str) -> int:
    """The embedded exchange's own latency, for the paper broker."""
    return latency_ms(name.partition(":")[2])


@dataclass(frozen=True, slots=True)
class View:
    """How the paper broker's view of the market differs from the exchange's: levels of a side, delay (ms), and every
    how-manieth book it is shown."""

    levels: int = 1_000
    delay_ms: int = 0
    every: int = 1


async def play(
    sources: Sequence[MarketSource], commands: Commands, latency: Latency = exchange_latency, view: View | None = None
) -> tuple[Told, Told]:
    """Both sides' words: the paper broker's, the exchange's. It ends a second after the last command."""
    view = view or View()
    exchange = Watched(sources)
    now_ms = exchange.clock.now_ms
    contracts = [source.instrument for source in sources]
    paper = PaperBroker(contracts, CASH, LEVERAGE, "isolated", latency, lambda: now_ms)
    config = EngineConfig(
        mode="demo", symbols=tuple(c.symbol for c in contracts), strategy="", leverage=LEVERAGE, margin_mode="isolated"
    )
    broker = ExchangeBroker(BitgetRest(URL, http=DirectHttp(exchange)), config, lambda: now_ms, tuple)
    told = Told()
    waiting: list[Seen] = list(exchange.seen)
    exchange.seen.clear()
    shown = dict.fromkeys(config.symbols, 0)
    left = list(reversed(commands))
    end_ms = commands[-1][0] + 1_000
    while now_ms < end_ms:
        moments = (
            exchange.next_ms(),
            left[-1][0] if left else end_ms,
            paper.next_due_ms(),
            waiting[0].ts_ms + view.delay_ms if waiting else None,
        )
        now_ms = max(now_ms, min(moment for moment in moments if moment is not None))
        waiting += exchange.step(now_ms)
        while waiting and waiting[0].ts_ms + view.delay_ms <= now_ms:
            show(paper, waiting.pop(0), now_ms, view, shown)
        paper.on_time(now_ms)
        while left and left[-1][0] <= now_ms:
            command = left.pop()[1]
            told.hear([paper.execute(command)])
            exchange.told.hear([event async for event in _sent(broker, command)])
        told.hear(paper.drain())
        exchange.tell_account()
    told.cash, exchange.told.cash = paper.venue.summary().cash, exchange.venue.summary().cash
    return told, exchange.told


async def _sent(broker: ExchangeBroker, command: OrderCommand) -> AsyncIterator[Event]:
    async for event in broker.execute(command):
        yield event


def show(paper: PaperBroker, seen: Seen, now_ms: int, view: View, shown: dict[str, int]) -> None:
    for trade in seen.trades:
        side: Side = "buy" if trade.side.lower() == "buy" else "sell"
        paper.on_trade(seen.symbol, trade.price, trade.size, side, now_ms)
    shown[seen.symbol] += 1
    if shown[seen.symbol] % view.every == 1 or view.every == 1:
        paper.on_book(seen.symbol, seen.bids[: view.levels], seen.asks[: view.levels], now_ms)
    paper.on_mark(seen.symbol, seen.mark, now_ms, seen.funding_rate)


def orders(
    sources: Sequence[MarketSource], books: Callable[[str, int], Seen], first_ms: int, count: int, seed: int = 11
) -> list[tuple[int, OrderCommand]]:
    """A stream of commands of every kind: market and limit orders near the touch that ``books`` shows for a symbol at a
    time, makers and takers, cancellations, exits and stops."""
    rng = random.Random(seed)
    found: list[tuple[int, OrderCommand]] = []
    resting: list[PlaceOrder] = []
    now_ms = first_ms
    for number in range(count):
        now_ms += rng.randint(200, 2_500)
        source = rng.choice(sources)
        terms, symbol = source.instrument, source.instrument.symbol
        seen = books(symbol, now_ms)
        side: Side = rng.choice(("buy", "sell"))
        bid, ask = Decimal(repr(seen.bids[0][0])), Decimal(repr(seen.asks[0][0]))
        lots = rng.randint(1, 60) * max(1, int(Decimal(200) / (bid * terms.lot)))
        kind = rng.random()
        if kind < 0.1 and resting:
            gone = resting.pop(rng.randrange(len(resting)))
            found.append((now_ms, CancelOrder(client_oid=gone.client_oid, symbol=gone.symbol)))
            continue
        if kind < 0.15:
            long = rng.random() < 0.5
            away = bid * (Decimal("0.999") if long else Decimal("1.001"))
            found.append(
                (
                    now_ms,
                    PlaceStop(
                        client_oid=f"stop-{number}",
                        symbol=symbol,
                        position_side="long" if long else "short",
                        trigger_price=(away // terms.tick) * terms.tick,
                    ),
                )
            )
            continue
        limit = kind > 0.5
        touch = rng.choice((bid, ask)) + rng.randint(-2, 2) * terms.tick
        order = PlaceOrder(
            client_oid=f"order-{number}",
            symbol=symbol,
            side=side,
            order_type="limit" if limit else "market",
            qty=lots * terms.lot,
            price=touch if limit else None,
            tif=rng.choice(("gtc", "gtc", "post_only", "ioc")) if limit else "gtc",
            purpose="entry",
            decision_id="",
            reduce_only=not limit and rng.random() < 0.3,
        )
        if limit:
            resting.append(order)
        found.append((now_ms, order))
    return found


def watch(sources: Sequence[MarketSource], until_ms: int) -> Callable[[str, int], Seen]:
    """What the markets show up to ``until_ms``: the newest step of a symbol before a time."""
    exchange = Watched(sources)
    seen = list(exchange.seen)
    exchange.seen.clear()
    while (due := exchange.next_ms()) is not None and due <= until_ms:
        seen += exchange.step(due)

    def newest(symbol: str, now_ms: int) -> Seen:
        return next(s for s in reversed(seen) if s.symbol == symbol and s.ts_ms <= now_ms)

    return newest
