"""The engine: events in, commands out. Synchronous and deterministic.

The same object runs live, paper, back-test and replay; only the shell that feeds it and the broker that takes its
orders differ. It reads no clock: time is that of the event's envelope. Every candle ends in exactly one Decision per
symbol, whether or not anything was done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Literal

from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    Alert,
    BookSampled,
    BookTop,
    Booted,
    CancelOrder,
    CandleClosed,
    CandleHistory,
    ClockMeasured,
    Command,
    CommandOutcome,
    Decision,
    EngineConfig,
    Event,
    FeedStatus,
    Filled,
    ForecastFailed,
    ForecastReady,
    InstrumentUpdated,
    Leaving,
    ModelSwapped,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PositionsReported,
    Reconciled,
    RequestForecast,
    RequestReconcile,
    Restored,
    RiskCheck,
    SetTimer,
    StopUpdated,
    TickerUpdated,
    TimerFired,
    TradabilityChanged,
)
from tradebot.features.candles import row_hash
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.market.instrument import ARITHMETIC, ZERO, Side, exact
from tradebot.trading.discrepancies import Discrepancies
from tradebot.trading.orders import client_oid
from tradebot.trading.portfolio import Position
from tradebot.trading.protection import Protection
from tradebot.trading.risk import Exposure, assess_entry
from tradebot.trading.state import EVERYTHING, TradingState
from tradebot.trading.strategy import Action, Holding, Intent, Market, Strategy, View, configure
from tradebot.trading.symbol import SymbolState

RETRY_CLOSE_MS = 5_000
"""How soon a close that someone asked for is tried again while the position is still open."""

NOTHING_TO_CLOSE = "22002"
"""The exchange's code when a stop was faster than our exit: what we wanted has happened."""

ACTIONS = frozenset({"enter_long", "enter_short", "exit", "hold"})


class Engine:
    """Turns events into commands. ``strategy`` is the class; its parameters arrive with the Booted event."""

    def __init__(self, strategy: type[Strategy]) -> None:
        self._strategy_class = strategy
        self._strategy: Strategy | None = None
        self.config = EngineConfig(mode="paper", symbols=(), strategy="")
        self.state = TradingState()
        self.symbols: dict[str, SymbolState] = {}
        self.equity: Decimal | None = None
        self._balance: Decimal | None = None
        self._available: Decimal | None = None
        self._clock_offset_ms: int | None = None
        self._epoch = 0
        self._seq = 0
        self._now = 0
        self._out: list[Command] = []
        self.protection = Protection(self)
        self.discrepancies = Discrepancies(self)

    # --- the one entry point ----------------------------------------------------------------------------------------

    def handle(self, seq: int, ts_ms: int, event: Event) -> Sequence[Command]:
        """Consume one event and return what it makes the bot do, in order."""
        with localcontext(ARITHMETIC):
            return self._handle(seq, ts_ms, event)

    def _handle(self, seq: int, ts_ms: int, event: Event) -> Sequence[Command]:
        self._seq, self._now, self._out = seq, ts_ms, []
        realised = self.state.apply(ts_ms, event)
        match event:
            case BookTop():
                self.symbols[event.symbol].on_top(event, ts_ms)
            case BookSampled():
                self.symbols[event.symbol].buffer.append_book(event)
            case TickerUpdated():
                if self.symbols[event.symbol].on_ticker(event):
                    self.emit(RequestReconcile(reason=f"funding of {event.symbol} settled"))
            case CandleClosed():
                self._on_candle(event)
            case ForecastReady():
                self._on_forecast(event)
            case ForecastFailed():
                self._on_forecast_failed(event)
            case Filled():
                self._on_fill(event, realised)
            case OrderUpdated():
                self._on_order(event)
            case PositionsReported():
                self.discrepancies.on_positions()
            case StopUpdated():
                self.protection.on_stop(event)
            case AccountUpdated():
                self._balance, self._available, self.equity = event.balance, event.available, event.equity
            case CommandOutcome():
                self._on_outcome(event)
            case TimerFired():
                self._on_timer(event)
            case CandleHistory():
                self._on_history(event)
            case InstrumentUpdated():
                self._symbol(event.instrument.symbol).instrument = event.instrument
            case AccountVerified():
                self._symbol(event.symbol).account = event
            case FeedStatus():
                symbol = self._symbol(event.symbol)
                symbol.feed_ok, symbol.feed_reason = event.ok, event.reason
            case ClockMeasured():
                self._clock_offset_ms = event.offset_ms
            case ModelSwapped():
                self._symbol(event.ref.symbol).model = event.ref
            case OperatorActed():
                self._on_operator(event)
            case Leaving():
                self._cancel_entries()
            case Reconciled():
                self._on_reconciled()
            case Booted():
                self._on_boot(event)
            case Restored():
                self.state = self.state.restored(event.state)
            case _:
                pass
        return self._out

    def emit(self, command: Command) -> None:
        """Add a command to this event's output, and to the state where it has a durable effect."""
        self.state.apply(self._now, command)
        self._out.append(command)

    def oid(self, leg: str) -> str:
        """Client order id for the event being handled; ``leg`` keeps several of one event apart."""
        return client_oid(self.config.shard, self._epoch, self._seq, leg)

    @property
    def now_ms(self) -> int:
        return self._now

    # --- market and forecasts ---------------------------------------------------------------------------------------

    def _on_boot(self, event: Booted) -> None:
        self.config = event.config
        self._epoch = event.epoch
        self.state.cooldown_ms = event.config.risk.cooldown_ms
        self._strategy = configure(self._strategy_class, event.config)
        self.symbols = {s: SymbolState(s, event.config.interval) for s in event.config.symbols}
        self._schedule_day()

    def _symbol(self, name: str) -> SymbolState:
        if name not in self.symbols:
            self.symbols[name] = SymbolState(name, self.config.interval)
        return self.symbols[name]

    def _on_history(self, event: CandleHistory) -> None:
        symbol = self._symbol(event.symbol)
        for candle in event.candles:
            symbol.on_candle(candle)

    def _on_candle(self, event: CandleClosed) -> None:
        symbol = self.symbols[event.symbol]
        row = symbol.on_candle(event.candle)
        close_ms = event.candle.open_time_ms + INTERVAL_MS[event.interval]
        if event.symbol not in self.config.symbols:
            return
        if symbol.pending is not None:
            self._decide_without_forecast(symbol, "forecast late")
        if symbol.model is None:
            self._decide_without_forecast(symbol, "no model serves this symbol")
        elif row is None:
            self._decide_without_forecast(symbol, "features warming up")
        elif not symbol.feed_ok:
            self._decide_without_forecast(symbol, f"market data not trusted: {symbol.feed_reason or 'not started'}")
        else:
            deadline = self._now + self.config.forecast_deadline_ms
            symbol.pending = f"{self._epoch}-{self._seq}"
            symbol.pending_row = row_hash(row)
            self.emit(
                RequestForecast(
                    request_id=symbol.pending,
                    symbol=symbol.name,
                    as_of_ms=close_ms,
                    deadline_ms=deadline,
                    row=row.tobytes(),
                    row_hash=symbol.pending_row,
                )
            )
            self.emit(SetTimer(name=f"forecast:{symbol.name}", due_ms=deadline))

    def _on_forecast(self, event: ForecastReady) -> None:
        symbol = self.symbols[event.symbol]
        if event.request_id != symbol.pending:
            return  # late: its decision was recorded when the deadline passed
        symbol.pending = None
        self.emit(SetTimer(name=f"forecast:{symbol.name}", due_ms=0))
        if event.row_hash != symbol.pending_row:
            self._decide_without_forecast(symbol, "forecast was computed from other features")
            return
        view = self._view(symbol)
        if view is None:
            self._decide_without_forecast(symbol, "no book yet")
            return
        numbers = (event.expected_bp, event.p_up, event.p_down)
        if all(math.isfinite(x) for x in numbers):
            self._act(symbol, view, self._ask_strategy(view, event), event)
            return
        check = RiskCheck("forecast_finite", str(numbers), "finite", "block")
        intent = Intent("hold", "forecast is not finite: blocked")
        self._record(symbol, view, intent, "block", (check,), ZERO, "", f"{self._epoch}-{self._seq}", event)

    def _on_forecast_failed(self, event: ForecastFailed) -> None:
        symbol = self.symbols[event.symbol]
        if event.request_id == symbol.pending:
            self._decide_without_forecast(symbol, f"forecast failed: {event.reason}")

    def _decide_without_forecast(self, symbol: SymbolState, reason: str) -> None:
        if symbol.pending is not None:
            symbol.pending = None
            self.emit(SetTimer(name=f"forecast:{symbol.name}", due_ms=0))
        view = self._view(symbol)
        intent = self._ask_strategy(view, None) if view is not None else Intent("hold", reason)
        if intent.action in ("enter_long", "enter_short"):
            intent = Intent("hold", f"no entry without a forecast ({intent.reason})")
        reason = reason if intent.action == "hold" else f"{intent.reason} ({reason})"
        self._act(symbol, view, Intent(intent.action, reason), None)

    def _ask_strategy(self, view: View, forecast: ForecastReady | None) -> Intent:
        if self._strategy is None:
            return Intent("hold", "strategy disabled")
        try:
            intent = self._strategy.on_candle(view) if forecast is None else self._strategy.on_forecast(view, forecast)
            return _validated(intent)
        except Exception as error:  # user code: the strategy is disabled, the engine keeps the positions' stops
            self._strategy = None
            why = f"strategy {self.config.strategy} raised {type(error).__name__}: {error}"
            self.emit(TradabilityChanged(state="paused", reason=why))
            self.emit(Alert(severity="critical", code="strategy_failed", message=why, symbol=view.market.symbol))
            return Intent("hold", why)

    def _view(self, symbol: SymbolState) -> View | None:
        top = symbol.top
        if top is None:
            return None
        position = self.state.portfolio.position(symbol.name)
        market = Market(symbol.name, top.bid, top.ask, symbol.mark_price(), self._now - symbol.top_ms)
        taker = float(symbol.instrument.taker_fee) if symbol.instrument else 0.0
        bar = symbol.interval_ms
        return View(
            now_ms=self._now,
            market=market,
            interval_ms=bar,
            holding=Holding(
                position.qty,
                position.entry_price,
                self._now - position.opened_ms if position.qty else 0,
                self._now // bar - position.opened_ms // bar if position.qty else 0,
            ),
            equity=self.equity if self.equity is not None else ZERO,
            model=symbol.model,
            taker_cost_bp=2e4 * taker + market.spread_bp,
        )

    # --- acting -----------------------------------------------------------------------------------------------------

    def _act(self, symbol: SymbolState, view: View | None, intent: Intent, forecast: ForecastReady | None) -> None:
        decision_id = f"{self._epoch}-{self._seq}"
        if intent.action in ("enter_long", "enter_short") and view is not None:
            side: Side = "buy" if intent.action == "enter_long" else "sell"
            self._enter(symbol, view, intent, side, decision_id, forecast)
        elif intent.action == "exit" and view is not None:
            self._exit(symbol, view, intent, decision_id, forecast)
        else:
            self._record(symbol, view, intent, "pass", (), ZERO, "", decision_id, forecast)

    def _enter(
        self, symbol: SymbolState, view: View, intent: Intent, side: Side, decision_id: str,
        forecast: ForecastReady | None,
    ) -> None:  # fmt: skip
        instrument = symbol.instrument
        if instrument is None:
            blocked = (RiskCheck("instrument", "unknown", "known", "block"),)
            self._record(symbol, view, intent, "block", blocked, ZERO, "", decision_id, forecast)
            return
        price = exact(view.market.ask if side == "buy" else view.market.bid)
        assessment = assess_entry(
            self.config, instrument, intent.size, self._exposure(symbol, view, price, side, forecast)
        )
        oid = ""
        if assessment.verdict != "block":
            oid = self.oid("e")
            self.emit(
                PlaceOrder(
                    client_oid=oid,
                    symbol=symbol.name,
                    side=side,
                    order_type="market",
                    qty=assessment.qty,
                    purpose="entry",
                    decision_id=decision_id,
                    preset_stop=self.protection.stop_price(instrument, price, side),
                )
            )
        self._record(
            symbol, view, intent, assessment.verdict, assessment.checks, assessment.qty, oid, decision_id, forecast
        )

    def _exit(
        self, symbol: SymbolState, view: View, intent: Intent, decision_id: str, forecast: ForecastReady | None
    ) -> None:
        position = self.state.portfolio.position(symbol.name)
        working = any(o.reduce_only for o in self.state.orders.open(symbol.name))
        checks = (
            RiskCheck("position_open", str(position.qty), "not 0", "pass" if position.qty else "block"),
            RiskCheck("exit_working", str(working), "False", "block" if working else "pass"),
        )
        blocked = any(c.verdict == "block" for c in checks)
        qty, oid = (ZERO, "") if blocked else (abs(position.qty), self.oid("x"))
        if not blocked:
            self.close_position(symbol.name, "exit", oid, decision_id)
        self._record(symbol, view, intent, "block" if blocked else "pass", checks, qty, oid, decision_id, forecast)

    def close_position(self, name: str, purpose: Literal["exit", "close"], oid: str, decision_id: str) -> None:
        """Send reduce-only market orders for the whole position of ``name``: more than one where the exchange limits
        the size of one. ``oid`` is the first one's id, the others' end in p1, p2, …"""
        position = self.state.portfolio.position(name)
        side: Side = "sell" if position.qty > 0 else "buy"
        instrument = self.symbols[name].instrument if name in self.symbols else None
        most = instrument.max_market_qty if instrument is not None else None
        left, part = abs(position.qty), 0
        while left:
            qty = left if most is None else min(left, most)
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

    def _exposure(
        self, symbol: SymbolState, view: View, price: Decimal, side: Side, forecast: ForecastReady | None
    ) -> Exposure:
        gross = sum((abs(p.qty) * self._mark(p.symbol, p.entry_price) for p in self._positions()), ZERO)
        working = [o for o in self.state.orders.open() if o.purpose == "entry"]
        gross += sum(((o.qty - o.filled_qty) * (o.price or self._mark(o.symbol, price)) for o in working), ZERO)
        own = abs(self.state.portfolio.position(symbol.name).qty) * price
        account = symbol.account
        return Exposure(
            now_ms=self._now,
            price=price,
            equity=self.live_equity(),
            available=self._available,
            gross_notional=gross,
            symbol_notional=own,
            day_start_equity=self.state.day_start_equity,
            tradability=self.state.tradability,
            paused=symbol.name in self.state.paused or symbol.name in self.state.ignored,
            foreign=self.discrepancies.describe(),
            feed_ok=symbol.feed_ok,
            feed_reason=symbol.feed_reason,
            book_age_ms=view.market.book_age_ms,
            candle_age_ms=self._now - symbol.last_close_ms,
            clock_offset_ms=self._clock_offset_ms,
            position_mode=account.position_mode if account else "",
            margin_mode=account.margin_mode if account else "",
            leverage=account.leverage if account else None,
            opposite=self.state.portfolio.position(symbol.name).qty * (1 if side == "buy" else -1) < 0,
            cooldown_until_ms=self.state.cooldown_until.get(symbol.name, 0),
            entry_working=any(o.symbol == symbol.name for o in working),
            provisional=bool(forecast and forecast.provisional),
        )

    def live_equity(self) -> Decimal | None:
        """Balance plus unrealised profit at mark (USDT), or None before the account is known."""
        if self._balance is None:
            return None
        return self._balance + sum((p.unrealised(self._mark(p.symbol, p.entry_price)) for p in self._positions()), ZERO)

    def _positions(self) -> list[Position]:
        return self.state.portfolio.open_positions()

    def _mark(self, name: str, default: Decimal) -> Decimal:
        symbol = self.symbols.get(name)
        price = symbol.mark_price() if symbol is not None and symbol.top is not None else 0.0
        return exact(price) if price > 0 else default

    def _record(
        self, symbol: SymbolState, view: View | None, intent: Intent, verdict: Literal["pass", "shrink", "block"],
        checks: tuple[RiskCheck, ...], qty: Decimal, oid: str, decision_id: str, forecast: ForecastReady | None,
    ) -> None:  # fmt: skip
        model = symbol.model
        action: Action = intent.action
        self.emit(
            Decision(
                decision_id=decision_id,
                ts_ms=self._now,
                symbol=symbol.name,
                mode=self.config.mode,
                strategy=self.config.strategy,
                action=action,
                reason=intent.reason,
                verdict=verdict,
                checks=checks,
                model=model.name if model else "",
                version=forecast.version if forecast else model.version if model else "",
                model_sha256=forecast.model_sha256 if forecast else model.sha256 if model else "",
                row_hash=forecast.row_hash if forecast else "",
                expected_bp=forecast.expected_bp if forecast else None,
                p_up=forecast.p_up if forecast else None,
                p_down=forecast.p_down if forecast else None,
                provisional=forecast.provisional if forecast else bool(model and model.provisional),
                bid=view.market.bid if view else 0.0,
                ask=view.market.ask if view else 0.0,
                position_qty=self.state.portfolio.position(symbol.name).qty,
                qty=qty,
                client_oid=oid,
            )
        )

    # --- orders, executions, positions ------------------------------------------------------------------------------

    def _on_fill(self, event: Filled, realised: Decimal | None) -> None:
        self.discrepancies.on_fill(event.symbol, booked=realised is not None)
        if realised is None:
            return
        self.protection.on_position(event.symbol)
        self._keep_closing(event.symbol)

    def _on_order(self, event: OrderUpdated) -> None:
        if event.forced:
            why = f"the exchange itself closed in {event.symbol} (liquidation or deleveraging), order {event.order_id}"
            self.emit(TradabilityChanged(state="halted", reason=why, symbol=event.symbol))
            self.emit(Alert(severity="critical", code="forced_close", message=why, symbol=event.symbol))

    def _on_outcome(self, event: CommandOutcome) -> None:
        if event.outcome == "unknown":
            self.emit(RequestReconcile(reason=f"outcome of {event.command} {event.client_oid} unknown"))
        elif event.outcome == "rejected":
            if event.code != NOTHING_TO_CLOSE:
                why = f"{event.command} {event.client_oid} refused: {event.code} {event.message}"
                self.emit(Alert(severity="warning", code="order_rejected", message=why, symbol=event.symbol))
            self.protection.on_rejected(event)

    def _on_reconciled(self) -> None:
        self.discrepancies.on_reconciled()
        for position in self._positions():
            self.protection.on_position(position.symbol)
            self.protection.cancel_presets(position.symbol)
            self._keep_closing(position.symbol)

    # --- timers and operators ---------------------------------------------------------------------------------------

    def _on_timer(self, event: TimerFired) -> None:
        kind, _, name = event.name.partition(":")
        if kind == "forecast":
            symbol = self.symbols[name]
            if symbol.pending is not None:
                self._decide_without_forecast(symbol, "forecast late")
        elif kind in ("positions", "claim"):
            self.discrepancies.on_timer(kind, name)
        elif kind == "flat":
            self._keep_closing(name)
        elif kind == "day":
            self._schedule_day()
            self.emit(RequestReconcile(reason="day start"))
        else:
            self.protection.on_timer(kind, name)

    def _schedule_day(self) -> None:
        self.emit(SetTimer(name="day", due_ms=(self._now // DAY_MS + 1) * DAY_MS))

    def _on_operator(self, event: OperatorActed) -> None:
        if event.action in ("halt", "flatten"):
            self._cancel_entries()
        if event.action in ("flatten", "close"):
            for position in self._positions():
                self._keep_closing(position.symbol)
        if event.action in ("adopt", "ignore"):
            self.discrepancies.on_settled(event.symbol)
        if event.action == "adopt":
            self.protection.on_position(event.symbol)

    def _keep_closing(self, name: str) -> None:
        """Close ``name`` if someone asked for that, again and again until it is flat."""
        state = self.state
        asked = name in state.closing or EVERYTHING in state.closing
        if not asked or name not in self.symbols or not state.portfolio.position(name).qty:
            return
        self.emit(SetTimer(name=f"flat:{name}", due_ms=self._now + RETRY_CLOSE_MS))
        if not any(o.reduce_only for o in state.orders.open(name)):
            self.close_position(name, "close", self.oid(f"c{list(self.symbols).index(name)}"), "")

    def _cancel_entries(self) -> None:
        for order in self.state.orders.open():
            if order.purpose == "entry":
                self.emit(CancelOrder(client_oid=order.client_oid, symbol=order.symbol))


def _validated(intent: object) -> Intent:
    """The strategy's answer, or an error that says what is wrong with it."""
    if not isinstance(intent, Intent):
        raise TypeError(f"returned {intent!r}, not an Intent")
    if intent.action not in ACTIONS:
        raise ValueError(f"unknown action {intent.action!r}")
    if not (math.isfinite(intent.size) and 0 < intent.size <= 1):
        raise ValueError(f"size must lie in (0, 1], got {intent.size}")
    return intent
