"""The engine: events in, commands out. Synchronous and deterministic.

The same object runs live, paper, back-test and replay; only the shell that feeds it and the broker that takes its
orders differ. It reads no clock: time is that of the event's envelope.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Literal

from tradebot.events import (
    AccountHeard,
    AccountUpdated,
    AccountVerified,
    Alert,
    BookSampled,
    BookTop,
    Booted,
    CancelOrder,
    CandleClosed,
    CandleHistory,
    Cause,
    ClockMeasured,
    ClosePosition,
    Command,
    CommandOutcome,
    EngineConfig,
    Event,
    FeedStatus,
    Filled,
    ForecastFailed,
    ForecastReady,
    FundingHistory,
    InstrumentUpdated,
    Leaving,
    ModelSwapped,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PositionsReported,
    QuestionRefused,
    Reconciled,
    RequestReconcile,
    Restored,
    SetTimer,
    StopUpdated,
    StrategyStalled,
    TickerUpdated,
    TimerFired,
    Tradability,
    TradabilityChanged,
    TradeBooked,
    UniverseChanged,
)
from tradebot.market.candle import DAY_MS, Candle
from tradebot.market.instrument import ARITHMETIC, ZERO, Side
from tradebot.trading.beside import Leaders
from tradebot.trading.breakers import Breakers
from tradebot.trading.decisions import Decisions
from tradebot.trading.differences import Differences
from tradebot.trading.discrepancies import Discrepancies
from tradebot.trading.hearing import Hearing
from tradebot.trading.makers import Makers
from tradebot.trading.orders import client_oid
from tradebot.trading.protection import Protection
from tradebot.trading.state import EVERYTHING, TradingState
from tradebot.trading.strategy import Strategy
from tradebot.trading.symbol import SymbolState
from tradebot.trading.trades import with_excursion

RETRY_CLOSE_MS = 5_000
"""How soon a close that someone asked for is tried again while the position is still open."""

NOTHING_TO_CLOSE = "22002"
"""The exchange's code when nothing is held: a stop was faster than our exit, or somebody else was."""


class Engine:
    """Turns events into commands. ``strategy`` is the class; its parameters arrive with the Booted event."""

    def __init__(self, strategy: type[Strategy]) -> None:
        self.config = EngineConfig(mode="paper", symbols=(), strategy="")
        self.state = TradingState()
        self.symbols: dict[str, SymbolState] = {}
        self.equity: Decimal | None = None
        self.available: Decimal | None = None
        self.clock_offset_ms: int | None = None
        self.universe: frozenset[str] = frozenset()
        """The symbols in which entries are made. One that left it is watched until nothing is held in it."""
        self.leaders = Leaders(())
        """Closes of the symbols that lead others."""
        self._epoch = 0
        self._now = 0
        self._out: list[Command] = []
        self._unrealised: Decimal | None = None
        self._told_unrealised: Decimal | None = None
        """The profit of open positions that the account told last."""
        self._named = 0
        self._close_again_ms: dict[str, int] = {}
        """Until when a symbol is not closed again because the exchange said that there is nothing to close."""
        self.decisions = Decisions(self, strategy)
        self.makers = Makers(self)
        self.protection = Protection(self)
        self.discrepancies = Discrepancies(self)
        self.differences = Differences(self)
        self.hearing = Hearing(self)
        self.breakers = Breakers(self)

    # --- the one entry point ----------------------------------------------------------------------------------------

    def handle(self, ts_ms: int, event: Event) -> Sequence[Command]:
        """Consume one event and return what it makes the bot do, in order."""
        with localcontext(ARITHMETIC):
            return self._handle(ts_ms, event)

    def _handle(self, ts_ms: int, event: Event) -> Sequence[Command]:
        self._now, self._out, self._unrealised = ts_ms, [], None
        if type(event) is OrderUpdated or type(event) is CommandOutcome or type(event) is Reconciled:
            self.differences.remember(event)
        realised = self.state.apply(ts_ms, event)
        match event:
            case BookTop():
                self.symbols[event.symbol].on_top(event, ts_ms)
            case BookSampled():
                self.symbols[event.symbol].on_book(event)
                self.decisions.hear("on_book", event.symbol)
            case TickerUpdated():
                self._on_ticker(event)
                self.breakers.on_mark(event.symbol)
            case CandleClosed():
                self._on_candle(event)
            case ForecastReady():
                self.decisions.on_forecast(event)
            case ForecastFailed():
                self.decisions.on_forecast_failed(event)
            case Filled():
                self._on_fill(event, realised)
            case OrderUpdated():
                self._on_order(event)
            case PositionsReported():
                self.discrepancies.on_positions()
            case StopUpdated():
                self.differences.on_stop(event.symbol)
                self.protection.on_stop(event)
            case AccountUpdated():
                self.available, self.equity = event.available, event.equity
                self._told_unrealised = event.equity - event.balance
                self.breakers.on_money()
            case CommandOutcome():
                self._on_outcome(event)
            case TimerFired():
                self._on_timer(event)
            case CandleHistory():
                self._on_history(event)
            case FundingHistory():
                self._symbol(event.symbol).beside.on_settlements(event.settlements)
            case InstrumentUpdated():
                self._on_instrument(event)
            case AccountVerified():
                symbol = self._symbol(event.symbol)
                self.differences.on_account(event, symbol.account)
                symbol.account = event
                self.hearing.on_verified(event.symbol)
            case AccountHeard():
                self._on_stream(event)
            case QuestionRefused():
                self.hearing.on_refused(event)
            case FeedStatus():
                self._on_feed(event)
            case ClockMeasured():
                self.clock_offset_ms = event.offset_ms
            case ModelSwapped():
                self._symbol(event.ref.symbol).on_model(event.ref)
            case StrategyStalled():
                self.decisions.hooks.on_stalled(event)
            case OperatorActed():
                self._on_operator(event)
            case UniverseChanged():
                self.universe = frozenset(event.symbols)
                for name in self.config.symbols:
                    if name not in self.universe:
                        self._cancel_entries(name)
            case Leaving():
                self._cancel_entries()
            case Reconciled():
                self._on_reconciled(event)
            case Booted():
                self._on_boot(event)
            case Restored():
                self.state = self.state.restored(event.state)
            case _:
                pass
        while self.state.trades.untold:
            self.emit(self._watched(self.state.trades.untold[0]))
        return self._out

    def emit(self, command: Command) -> None:
        """Add a command to this event's output, and to the state where it has a durable effect."""
        self.state.apply(self._now, command)
        self._out.append(command)

    def oid(self, leg: str) -> str:
        """A new client order id; ``leg`` is a letter that tells what it is for."""
        return client_oid(self.config.shard, self._epoch, self._next_number(), leg)

    def new_id(self) -> str:
        """A new name for a decision or a forecast request."""
        return f"{self._epoch}-{self._next_number()}"

    def _next_number(self) -> int:
        """Counts what was named in this run. How many events there were says nothing about what was decided, so a run
        that is shown fewer books gives the same names (and an order's latency in the matching is made of its name)."""
        self._named += 1
        return self._named

    @property
    def now_ms(self) -> int:
        return self._now

    def watches(self, name: str) -> bool:
        """Whether decisions are made in ``name``: it is traded, or it left and something is still held or open."""
        if name in self.universe:
            return True
        held = self.state.portfolio.position(name).qty or self.state.orders.open(name)
        return name in self.config.symbols and bool(held)

    # --- the run ----------------------------------------------------------------------------------------------------

    def _on_boot(self, event: Booted) -> None:
        self.config = event.config
        self._epoch = event.epoch
        self.state.cooldown_ms = event.config.risk.cooldown_ms
        lookback = self.decisions.hooks.begin()
        self.leaders = Leaders(event.config.references)
        asked = event.config.models if self.decisions.hooks.asks_models else ()
        self.universe = frozenset(event.config.symbols)
        self.symbols = {
            s: SymbolState(s, event.config.interval, lookback=lookback, order=asked) for s in event.config.symbols
        }
        self._schedule_day()

    def _symbol(self, name: str) -> SymbolState:
        if name not in self.symbols:
            self.symbols[name] = SymbolState(name, self.config.interval)
        return self.symbols[name]

    def _on_instrument(self, event: InstrumentUpdated) -> None:
        symbol = self._symbol(event.instrument.symbol)
        before, symbol.instrument = symbol.instrument, event.instrument
        self.differences.on_contract(event, before)
        self.breakers.on_contract(event.instrument)

    def _on_history(self, event: CandleHistory) -> None:
        for candle in event.candles:
            self.leaders.see(event.symbol, candle, self._now)
        if self.follows(event.symbol):
            return
        symbol = self._symbol(event.symbol)
        for candle in event.candles:
            symbol.on_history(candle)
            self._see_candle(event.symbol, candle)

    # --- the market -------------------------------------------------------------------------------------------------

    def _on_ticker(self, event: TickerUpdated) -> None:
        symbol, position = self.symbols[event.symbol], self.state.portfolio.position(event.symbol)
        if symbol.on_ticker(event, self._now):
            self.emit(RequestReconcile(reason=f"funding of {event.symbol} settled"))
        if position.qty:
            symbol.excursion.see(position.opened_ms, symbol.mark_price(), symbol.mark_price())

    def _on_candle(self, event: CandleClosed) -> None:
        self.leaders.see(event.symbol, event.candle, self._now)
        if not self.follows(event.symbol):
            self._see_candle(event.symbol, event.candle)
            self.decisions.on_candle(event.symbol, event.candle)
        if event.symbol in self.leaders.names:
            for symbol in self.symbols.values():
                self.decisions.on_reference(symbol)

    def follows(self, name: str) -> bool:
        """Whether ``name`` is heard for its closes alone."""
        return name in self.leaders.names and name not in self.config.symbols

    def _see_candle(self, name: str, candle: Candle) -> None:
        symbol, position = self._symbol(name), self.state.portfolio.position(name)
        if position.qty:
            symbol.excursion.see_candle(position.opened_ms, candle, candle.open_time_ms + symbol.interval_ms)

    def _on_feed(self, event: FeedStatus) -> None:
        symbol = self._symbol(event.symbol)
        was_ok, symbol.feed_ok, symbol.feed_reason = symbol.feed_ok, event.ok, event.reason
        if event.ok:
            symbol.catch_up(self.leaders)  # now, not when the first candle closes and all are in a hurry
        if was_ok and not event.ok:
            self.makers.withdraw(event.symbol, entry=True)
            self.decisions.hear("on_disconnect", event.symbol, event.reason)

    def _on_stream(self, event: AccountHeard) -> None:
        was_up = self.hearing.stream != "down"
        self.hearing.on_stream(event)
        if was_up and not event.up:
            self.makers.withdraw(entry=True)
            for name in self.config.symbols:
                self.decisions.hear("on_disconnect", name, "private stream lost")

    def _watched(self, booked: TradeBooked) -> TradeBooked:
        """The booking with how far the mark went while its trade was open, if that was watched."""
        symbol = self.symbols.get(booked.trade.symbol)
        if symbol is None or symbol.excursion.opened_ms != booked.trade.since_ms:
            return booked
        return with_excursion(booked, symbol.excursion.low, symbol.excursion.high)

    # --- positions and money ----------------------------------------------------------------------------------------

    def close_position(self, name: str, purpose: Literal["exit", "close"], oid: str, decision_id: str) -> None:
        """Send reduce-only market orders for the whole position of ``name``: more than one where the exchange limits
        the size of one. ``oid`` is the first one's id, the others' end in p1, p2, … What is too small for an order, or
        lies between two lots, is flash-closed."""
        position = self.state.portfolio.position(name)
        side: Side = "sell" if position.qty > 0 else "buy"
        instrument = self.symbols[name].instrument if name in self.symbols else None
        if self.is_dust(name):
            why = "too small for an order, or between two lots"
            self.emit(ClosePosition(client_oid=oid, symbol=name, reason=why, decision_id=decision_id))
            return
        most = instrument.max_market_qty if instrument is not None else None
        left, part = abs(position.qty), 0
        while left:
            qty = left if most is None else min(left, most)
            if instrument is not None and 0 < left - qty < instrument.min_qty:
                # what is left then must be an order, too
                qty = max(instrument.qty_down(left - instrument.min_qty), min(qty, instrument.min_qty))
            self.emit(
                PlaceOrder(
                    client_oid=f"{oid}p{part}" if part else oid,
                    symbol=name,
                    side=side,
                    order_type="market",
                    qty=qty,
                    purpose=purpose,
                    decision_id=decision_id,
                    reduce_only=True,
                )
            )
            left, part = left - qty, part + 1

    def is_dust(self, name: str) -> bool:
        """Whether the position of ``name`` can be closed by no order: only the flash close takes it. It counts as
        exposure like any other."""
        position, symbol = self.state.portfolio.position(name), self.symbols.get(name)
        if symbol is None or symbol.instrument is None or not position.qty:
            return False
        return not symbol.instrument.orderable(abs(position.qty), self.mark(name, position.entry_price))

    def live_equity(self) -> Decimal | None:
        """Balance plus unrealised profit at mark (USDT), or None before the account is known."""
        return None if self.state.balance is None else self.state.balance + self.unrealised()

    def unrealised(self) -> Decimal:
        """Profit of open positions at mark, before fees (USDT).

        What is held since before this run has no mark until its market is heard: until then it is what the account
        told, or a restart would take an open profit for lost.
        """
        if self._unrealised is None:  # it is asked for many times an event, and no event moves it twice
            held = self.state.portfolio.open_positions()
            told = self._told_unrealised
            if told is not None and any(not self.mark(p.symbol, ZERO) for p in held):
                self._unrealised = told
            else:
                self._unrealised = sum((p.unrealised(self.mark(p.symbol, p.entry_price)) for p in held), ZERO)
        return self._unrealised

    def mark(self, name: str, default: Decimal) -> Decimal:
        symbol = self.symbols.get(name)
        price = symbol.mark_exactly() if symbol is not None and symbol.top is not None else ZERO
        return price if price > 0 else default

    # --- orders, executions, positions ------------------------------------------------------------------------------

    def _on_fill(self, event: Filled, realised: Decimal | None) -> None:
        self.differences.on_fill(event, booked=realised is not None)
        self.discrepancies.on_fill(event.symbol, booked=realised is not None)
        if realised is None:
            return
        self.protection.on_position(event.symbol)
        self._keep_closing(event.symbol)
        self.breakers.on_money()
        self.makers.on_order(event.client_oid, event.order_id)
        self.decisions.hear("on_fill", event.symbol, event)

    def _on_order(self, event: OrderUpdated) -> None:
        self.differences.on_order(event)
        self.makers.on_order(event.client_oid, event.order_id)
        if event.forced:
            why = f"the exchange itself closed in {event.symbol} (liquidation or deleveraging), order {event.order_id}"
            self.restrict("halted", why, code="forced_close", symbol=event.symbol)

    def _on_outcome(self, event: CommandOutcome) -> None:
        self.differences.on_order(event)
        if event.outcome == "unknown":
            self.emit(RequestReconcile(reason=f"outcome of {event.command} {event.client_oid} unknown"))
        elif event.outcome == "rejected":
            if event.code == NOTHING_TO_CLOSE:
                # the exchange may show the position all the same: then once in a while, not at every look
                self._close_again_ms[event.symbol] = self._now + RETRY_CLOSE_MS
                self.discrepancies.on_refused(event.symbol)
            else:
                why = f"{event.command} {event.client_oid} refused: {event.code} {event.message}"
                self.emit(Alert(severity="warning", code="order_rejected", message=why, symbol=event.symbol))
            self.differences.on_outcome(event)
            self.protection.on_rejected(event)
        self.makers.on_order(event.client_oid, event.order_id)

    def _on_reconciled(self, event: Reconciled) -> None:
        self.discrepancies.on_reconciled(event.asked_ms)
        self.hearing.on_reconciled(event)
        self.differences.on_reconciled(event)
        self.makers.on_reconciled()
        for position in self.state.portfolio.open_positions():
            self.protection.on_position(position.symbol)
            self.protection.cancel_presets(position.symbol)
            self._keep_closing(position.symbol)

    # --- timers and operators ---------------------------------------------------------------------------------------

    def _on_timer(self, event: TimerFired) -> None:
        kind, _, name = event.name.partition(":")
        if kind == "forecast":
            self.decisions.on_deadline(self.symbols[name])
        elif kind == "reference":
            self.decisions.on_reference_late(self.symbols[name])
        elif kind == "strategy":
            symbol, _, asked = name.partition(":")
            self.decisions.hear("on_timer", symbol, asked)
        elif kind == "maker":
            self.makers.on_timer(name)
        elif kind in ("positions", "claim"):
            self.discrepancies.on_timer(kind, name)
        elif kind == "flat":
            self._keep_closing(name)
        elif kind == "day":
            self._schedule_day()
            self.emit(RequestReconcile(reason="day start"))
        elif kind == "delisting":
            self.breakers.on_delisting(name)
        else:
            self.protection.on_timer(kind, name)

    def _schedule_day(self) -> None:
        self.emit(SetTimer(name="day", due_ms=(self._now // DAY_MS + 1) * DAY_MS))

    def _on_operator(self, event: OperatorActed) -> None:
        if event.action in ("halt", "flatten", "pause", "close"):
            self._cancel_entries(event.symbol)
        if event.action in ("flatten", "close"):
            for position in self.state.portfolio.open_positions():
                self._keep_closing(position.symbol)
        if event.action in ("adopt", "ignore"):
            self.discrepancies.on_settled(event.symbol)
        if event.action == "adopt":
            self.protection.on_position(event.symbol)
        if event.action == "resume" and not event.symbol:
            self.decisions.hooks.on_resume()

    def _keep_closing(self, name: str) -> None:
        """Close ``name`` if someone asked for that, again and again until it is flat."""
        state = self.state
        asked = name in state.closing or EVERYTHING in state.closing
        if not asked or name not in self.symbols or not state.portfolio.position(name).qty:
            return
        if self.discrepancies.nothing_there(name):
            return
        if self._now < self._close_again_ms.get(name, 0):
            self.emit(SetTimer(name=f"flat:{name}", due_ms=self._close_again_ms[name]))
            return
        self.emit(SetTimer(name=f"flat:{name}", due_ms=self._now + RETRY_CLOSE_MS))
        self.makers.withdraw(name, entry=False)
        if not any(o.reduce_only for o in state.orders.open(name)):
            self.close_position(name, "close", self.oid("c"), "")

    def restrict(
        self, state: Tradability, why: str, *, symbol: str = "", cause: Cause = "", code: str = "",
        close: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Stop entries in ``symbol``, or in all, cancel those that work, close what ``close`` names, tell a person.

        ``code`` is the alert's; that of a limit is its ``cause``.
        """
        self.emit(TradabilityChanged(state=state, reason=why, symbol=symbol, cause=cause, close=close))
        self.emit(Alert(severity="critical", code=code or cause, message=why, symbol=symbol))
        self._cancel_entries(symbol)
        for name in close:
            self._keep_closing(name)

    def lift(self, cause: Cause, why: str) -> None:
        """The limit ``cause`` lets entries in again, unless something else does not."""
        self.emit(TradabilityChanged(state="active", reason=why, cause=cause))

    def _cancel_entries(self, symbol: str = "") -> None:
        withdrawn = self.makers.withdraw(symbol or None, entry=True)
        for order in self.state.orders.open(symbol or None):
            if order.purpose == "entry" and order.client_oid not in withdrawn:
                self.emit(CancelOrder(client_oid=order.client_oid, symbol=order.symbol))
