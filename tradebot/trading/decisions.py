"""From a forecast to a recorded decision: the strategy is asked, risk checks, orders go out.

Every candle ends in exactly one Decision per symbol, whether or not anything was done.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from tradebot.events import (
    Alert,
    CandleClosed,
    Decision,
    ForecastFailed,
    ForecastReady,
    PlaceOrder,
    RequestForecast,
    RiskCheck,
    SetTimer,
    TradabilityChanged,
)
from tradebot.features.candles import row_hash
from tradebot.market.candle import INTERVAL_MS
from tradebot.market.instrument import ZERO, Side, exact
from tradebot.trading.exposure import exposure_of
from tradebot.trading.risk import assess_entry
from tradebot.trading.strategy import HOLD, Account, Action, Holding, Intent, Market, Strategy, View
from tradebot.trading.symbol import SymbolState

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

ACTIONS = frozenset({"enter_long", "enter_short", "exit", "hold"})


class Decisions:
    """Asks for forecasts, asks the strategy what to make of them, and acts on that as far as risk allows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.strategy: Strategy | None = None

    def on_candle(self, event: CandleClosed) -> None:
        symbol = self._engine.symbols[event.symbol]
        row = symbol.on_candle(event.candle)
        close_ms = event.candle.open_time_ms + INTERVAL_MS[event.interval]
        if event.symbol not in self._engine.config.symbols:
            return
        if symbol.pending is not None:
            self.without_forecast(symbol, "forecast late")
        if symbol.model is None:
            self.without_forecast(symbol, "no model serves this symbol")
        elif row is None:
            self.without_forecast(symbol, "features warming up")
        elif not symbol.feed_ok:
            self.without_forecast(symbol, f"market data not trusted: {symbol.feed_reason or 'not started'}")
        else:
            deadline = self._engine.now_ms + self._engine.config.forecast_deadline_ms
            symbol.pending = self._engine.new_id()
            symbol.pending_row = row_hash(row)
            self._engine.emit(
                RequestForecast(
                    request_id=symbol.pending,
                    symbol=symbol.name,
                    as_of_ms=close_ms,
                    deadline_ms=deadline,
                    row=row.tobytes(),
                    row_hash=symbol.pending_row,
                )
            )
            self._engine.emit(SetTimer(name=f"forecast:{symbol.name}", due_ms=deadline))

    def on_forecast(self, event: ForecastReady) -> None:
        symbol = self._engine.symbols[event.symbol]
        if event.request_id != symbol.pending:
            return  # late: its decision was recorded when the deadline passed
        symbol.pending = None
        self._engine.emit(SetTimer(name=f"forecast:{symbol.name}", due_ms=0))
        if event.row_hash != symbol.pending_row:
            self.without_forecast(symbol, "forecast was computed from other features")
            return
        view = self._view(symbol)
        if view is None:
            self.without_forecast(symbol, "no book yet")
            return
        numbers = (event.expected_bp, event.p_up, event.p_down)
        if all(math.isfinite(x) for x in numbers):
            self._act(symbol, view, self._ask_strategy(view, event), event)
            return
        check = RiskCheck("forecast_finite", str(numbers), "finite", "block")
        intent = Intent("hold", "forecast is not finite: blocked")
        self._record(symbol, view, intent, "block", (check,), ZERO, "", self._engine.new_id(), event)

    def on_forecast_failed(self, event: ForecastFailed) -> None:
        symbol = self._engine.symbols[event.symbol]
        if event.request_id == symbol.pending:
            self.without_forecast(symbol, f"forecast failed: {event.reason}")

    def without_forecast(self, symbol: SymbolState, reason: str) -> None:
        if symbol.pending is not None:
            symbol.pending = None
            self._engine.emit(SetTimer(name=f"forecast:{symbol.name}", due_ms=0))
        view = self._view(symbol)
        intent = self._ask_strategy(view, None) if view is not None else Intent("hold", reason)
        if intent.action in ("enter_long", "enter_short"):
            intent = Intent("hold", f"no entry without a forecast ({intent.reason})")
        reason = reason if intent.action == "hold" else f"{intent.reason} ({reason})"
        self._act(symbol, view, Intent(intent.action, reason), None)

    def _ask_strategy(self, view: View, forecast: ForecastReady | None) -> Intent:
        if self.strategy is None:
            return Intent("hold", "strategy disabled")
        try:
            if forecast is None:
                return _validated(self.strategy.on_candle(view) or HOLD)
            return _validated(self.strategy.on_forecast(view, forecast))
        except Exception as error:  # user code: the strategy is disabled, the engine keeps the positions' stops
            self.strategy = None
            why = f"strategy {self._engine.config.strategy} raised {type(error).__name__}: {error}"
            self._engine.emit(TradabilityChanged(state="paused", reason=why))
            self._engine.emit(
                Alert(severity="critical", code="strategy_failed", message=why, symbol=view.market.symbol)
            )
            return Intent("hold", why)

    def _view(self, symbol: SymbolState) -> View | None:
        top = symbol.top
        if top is None:
            return None
        position = self._engine.state.portfolio.position(symbol.name)
        instrument, bar = symbol.instrument, symbol.interval_ms
        market = Market(symbol.name, top.bid, top.ask, symbol.mark_price(), self._engine.now_ms - symbol.top_ms)
        equity = self._engine.equity if self._engine.equity is not None else ZERO
        return View(
            now_ms=self._engine.now_ms,
            market=market,
            interval_ms=bar,
            holding=Holding(
                position.qty,
                position.entry_price,
                self._engine.now_ms - position.opened_ms if position.qty else 0,
                self._engine.now_ms // bar - position.opened_ms // bar if position.qty else 0,
            ),
            account=Account(equity=equity),
            models={symbol.model.name: symbol.model} if symbol.model is not None else {},
            taker_cost_bp=2e4 * (float(instrument.taker_fee) if instrument else 0.0) + market.spread_bp,
        )

    # --- acting -----------------------------------------------------------------------------------------------------

    def _act(self, symbol: SymbolState, view: View | None, intent: Intent, forecast: ForecastReady | None) -> None:
        decision_id = self._engine.new_id()
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
        provisional = bool(forecast and forecast.provisional)
        exposure = exposure_of(self._engine, symbol, price, side, provisional=provisional)
        assessment = assess_entry(self._engine.config, instrument, intent.size, exposure)
        oid = ""
        if assessment.verdict != "block":
            oid = self._engine.oid("e")
            self._engine.emit(
                PlaceOrder(
                    client_oid=oid,
                    symbol=symbol.name,
                    side=side,
                    order_type="market",
                    qty=assessment.qty,
                    purpose="entry",
                    decision_id=decision_id,
                    preset_stop=self._engine.protection.stop_price(instrument, price, side),
                )
            )
        self._record(
            symbol, view, intent, assessment.verdict, assessment.checks, assessment.qty, oid, decision_id, forecast
        )

    def _exit(
        self, symbol: SymbolState, view: View, intent: Intent, decision_id: str, forecast: ForecastReady | None
    ) -> None:
        position = self._engine.state.portfolio.position(symbol.name)
        working = any(o.reduce_only for o in self._engine.state.orders.open(symbol.name))
        gone = self._engine.discrepancies.nothing_there(symbol.name)
        there = bool(position.qty) and not gone
        seen = "0 on the exchange" if gone else str(position.qty)
        checks = (
            RiskCheck("position_open", seen, "not 0", "pass" if there else "block"),
            RiskCheck("exit_working", str(working), "False", "block" if working else "pass"),
        )
        blocked = any(c.verdict == "block" for c in checks)
        qty, oid = (ZERO, "") if blocked else (abs(position.qty), self._engine.oid("x"))
        if not blocked:
            self._engine.close_position(symbol.name, "exit", oid, decision_id)
        self._record(symbol, view, intent, "block" if blocked else "pass", checks, qty, oid, decision_id, forecast)

    def _record(
        self, symbol: SymbolState, view: View | None, intent: Intent, verdict: Literal["pass", "shrink", "block"],
        checks: tuple[RiskCheck, ...], qty: Decimal, oid: str, decision_id: str, forecast: ForecastReady | None,
    ) -> None:  # fmt: skip
        model = symbol.model
        action: Action = intent.action
        self._engine.emit(
            Decision(
                decision_id=decision_id,
                ts_ms=self._engine.now_ms,
                symbol=symbol.name,
                mode=self._engine.config.mode,
                strategy=self._engine.config.strategy,
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
                position_qty=self._engine.state.portfolio.position(symbol.name).qty,
                qty=qty,
                client_oid=oid,
            )
        )


def _validated(intent: object) -> Intent:
    """The strategy's answer, or an error that says what is wrong with it."""
    if not isinstance(intent, Intent):
        raise TypeError(f"returned {intent!r}, not an Intent")
    if intent.action not in ACTIONS:
        raise ValueError(f"unknown action {intent.action!r}")
    if not (math.isfinite(intent.size) and 0 < intent.size <= 1):
        raise ValueError(f"size must lie in (0, 1], got {intent.size}")
    return intent
