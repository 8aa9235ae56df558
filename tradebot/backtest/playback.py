"""One back-test as it happens: exchange, feed, engine and desk in one process, step by step.

At each moment T: the exchange makes its step, markets are heard before the account, commands are carried out, the
account is looked at where that was asked for; then the engine's timers, candles that the clock must seal, and retrains,
each followed by what it caused. That is the order in which a daemon in step with a paced exchange does it, so the same
market gives the same decisions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from tradebot.backtest.desk import Desk
from tradebot.backtest.exchange import QuietExchange
from tradebot.backtest.keeper import Keeper
from tradebot.backtest.reference import Reference
from tradebot.backtest.requests import URL, DirectHttp
from tradebot.backtest.run import ModelUsed
from tradebot.events import (
    AccountHeard,
    Booted,
    CandleClosed,
    ClockMeasured,
    Command,
    Decision,
    DurableState,
    EngineConfig,
    Event,
    InstrumentUpdated,
    Leaving,
    ModelSwapped,
    Record,
    Restored,
    TradeBooked,
)
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.execution.exchange import ExchangeBroker
from tradebot.market.candle import INTERVAL_MS
from tradebot.matching.venue import Venue
from tradebot.serving import Serving
from tradebot.shell.alarms import Alarms
from tradebot.shell.clock import PacedClock
from tradebot.shell.course import Chore, Course, take_step
from tradebot.shell.dispatch import dispatch
from tradebot.shell.feed import MarketFeed
from tradebot.shell.history import History
from tradebot.shell.sequencer import Log, Sequencer, Unkept
from tradebot.shell.tally import Tally
from tradebot.sim.source import MarketSource
from tradebot.trading.engine import Engine
from tradebot.trading.strategy import Hook, Strategy, hooks_of

WATCHFUL: frozenset[Hook] = frozenset({"on_book", "on_timer"})
"""Hooks that look at the market between candles: a strategy that has one is shown every row."""

EPOCH = 1
"""The number of a back-test's run: names of orders and decisions begin with it."""


class Retraining(Chore, Protocol):
    """Training while the run goes on; it may take wall time, and is closed when the run has ended."""

    async def close(self) -> None: ...


class Hashes(msgspec.Struct, frozen=True, kw_only=True):
    """What every decision of a run names."""

    settings: str
    engine: str
    strategy: str


class Playback:
    """One run over ``sources`` until ``stop_at_ms``; ``keeper`` remembers it, ``log`` keeps its records. ``references``
    are heard beside them.

    ``config.symbols`` are the sources' own. ``ticked`` is told the exchange's time now and then and says whether to go
    on.
    """

    def __init__(
        self,
        sources: Sequence[MarketSource],
        config: EngineConfig,
        strategy: type[Strategy],
        serving: Serving,
        hashes: Hashes,
        keeper: Keeper,
        *,
        cash: Decimal,
        stop_at_ms: int,
        ticked: Callable[[int], bool],
        every_row: bool = False,
        log: Log | None = None,
        references: Sequence[Reference] = (),
    ) -> None:
        self.config = config
        self._references = references
        self.engine = Engine(strategy)
        self.clock = PacedClock()
        self.serving = serving
        self.keeper = keeper
        self._hashes = hashes
        self._ticked = ticked
        self._every_row = every_row or bool(hooks_of(strategy) & WATCHFUL)
        self.exchange = QuietExchange(sources, Venue([source.instrument for source in sources], cash))
        self.rest = BitgetRest(URL, http=DirectHttp(self.exchange))
        self.sequencer = Sequencer(self.engine, log or Unkept(), self.clock, serving, self._dispatch)
        self.tally = Tally()
        self.served: list[ModelUsed] = []
        self._closed: list[str] = []
        """Symbols of which a candle closed in this step."""
        self.sequencer.observe(self.tally)
        self.sequencer.observe(self._note)
        put = self.sequencer.put
        self.alarms = Alarms(self.clock, put)
        self.history = History(self.rest, config.interval, put)
        self.feed = MarketFeed(
            config.symbols, config.interval, self.clock, put, self.history.candles, row_grace_ms=None
        )
        self.desk = Desk(
            ExchangeBroker(self.rest, config, self.clock.now_ms, self.engine.discrepancies.unsettled),
            self.clock.now_ms,
            put,
            lambda: list(self.engine.state.orders),
            self.exchange.attend,
        )
        self.chores: list[Retraining] = []
        self._course = Course(
            timed=(self.alarms, self.feed),
            chores=self.chores,
            settle=self._settle,
            check=self._check,
            clock=self.clock,
            stop_at_ms=stop_at_ms,
        )
        self.loaded: Callable[[], Awaitable[None]] | None = None
        """Called when the history is known, before the account is looked at: models begin to serve here."""
        self.start_equity: Decimal | None = None
        self.interrupted = False

    def put(self, event: Event) -> None:
        """Sequence one event."""
        self.sequencer.put(event)

    async def run(self) -> None:
        """From the first step to the last. Raises TradebotError."""
        await self._start()
        self._keep()
        while not self.over():
            due_ms = self._next_ms()
            if due_ms is None or not self._ticked(self.clock.now_ms()):
                self.interrupted = due_ms is not None
                break
            await self._step(due_ms)
        self.keeper.sample(self.clock.now_ms(), self.engine)
        self.put(Leaving())
        await self.desk.settle()

    def taker_fee(self, symbol: str) -> Decimal | None:
        """Fraction of notional, None while the contract is not known."""
        instrument = self.engine.symbols[symbol].instrument
        return instrument.taker_fee if instrument is not None else None

    def over(self) -> bool:
        """Whether the window has ended."""
        return self._course.over()

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """What a daemon tells its engine before it hears the market (protocol section 14.1).

        The daemon's own start is another one: between the same events it takes up a state, makes it durable, opens
        connections and sockets, and waits for them.
        """
        now_ms = self.exchange.clock.now_ms
        self.clock.advance(now_ms)
        config, put = self.config, self.put
        put(
            Booted(
                epoch=EPOCH,
                config=config,
                settings_hash=self._hashes.settings,
                engine_hash=self._hashes.engine,
                strategy_hash=self._hashes.strategy,
            )
        )
        put(Restored(state=DurableState()))
        put(ClockMeasured(offset_ms=0))
        found = {instrument.symbol: instrument for instrument in await self.rest.contracts()}
        for symbol in config.symbols:
            put(InstrumentUpdated(instrument=found[symbol]))
        for reference in self._references:
            reference.start(now_ms, put)
        for symbol in config.symbols:
            self.feed.start_after(symbol, await self.history.load(symbol, now_ms))
            await self.history.load_funding(symbol, now_ms)
        if self.loaded is not None:
            await self.loaded()
        for event in await self.desk.prepare(config):
            put(event)
        put(AccountHeard(up=False))
        put(AccountHeard(up=True))
        self.exchange.listen(self.feed, config.interval, put)
        self.desk.start(now_ms)
        await self.desk.reconcile()
        self.start_equity = self.engine.live_equity()

    async def _step(self, now_ms: int) -> None:
        self.clock.advance(now_ms)
        for reference in self._references:
            reference.step(now_ms, self.put)
        self.exchange.step(now_ms)
        await take_step(self._course, now_ms)
        self._keep()
        if self._closed:
            self._rest(now_ms)

    def _rest(self, now_ms: int) -> None:
        """Markets of which a candle has just been decided on, and in which nothing of ours is, are not looked at before
        their next candle ends."""
        closed, self._closed = self._closed, []
        if self._every_row:
            return
        quiet = [symbol for symbol in closed if self._quiet(symbol)]
        if quiet:
            bar_ms = INTERVAL_MS[self.config.interval]
            self.exchange.rest(quiet, now_ms // bar_ms * bar_ms + bar_ms)

    def _quiet(self, symbol: str) -> bool:
        """Whether nothing that happens in a market before its next candle ends can make a difference."""
        state = self.engine.state
        ours = state.portfolio.position(symbol).qty or state.orders.open(symbol) or symbol in state.stops
        market = self.engine.symbols[symbol]
        return not (ours or market.asked.waiting or market.held) and self.exchange.untouched(symbol)

    async def _settle(self) -> None:
        await self.feed.settled()
        await self.desk.settle()

    def _check(self) -> None:
        if self.sequencer.failure is not None:
            raise self.sequencer.failure

    def _next_ms(self) -> int | None:
        """The next moment at which anything happens; None at the end of the market."""
        due_ms = self.exchange.next_ms()
        if due_ms is None:
            return None
        now_ms = self.clock.now_ms()
        return min(due_ms, *(wake for wake in self._course.moments() if wake > now_ms))

    def _keep(self) -> None:
        now_ms = self.clock.now_ms()
        if now_ms >= self.keeper.next_ms:
            self.keeper.sample(now_ms, self.engine)

    def _dispatch(self, command: Command) -> None:
        dispatch(command, self.desk.submit, self.alarms, self.desk.ask)

    def _note(self, seq: int, ts_ms: int, record: Record) -> None:
        """An observer of the sequencer: what is told of the run at its end, and where a candle closed."""
        if isinstance(record, CandleClosed):
            if not self.engine.follows(record.symbol):
                self._closed.append(record.symbol)
        elif isinstance(record, Decision):
            self.keeper.decided(record)
        elif isinstance(record, TradeBooked):
            self.keeper.booked(record)
        elif isinstance(record, ModelSwapped):
            ref = record.ref
            used = ModelUsed(symbol=ref.symbol, name=ref.name, version=ref.version, sha256=ref.sha256, since_ms=ts_ms)
            self.served.append(used)
