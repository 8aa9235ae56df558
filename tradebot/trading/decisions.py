"""From forecasts to a recorded decision: the strategy is asked, risk checks, orders go out.

Every candle ends in exactly one Decision per symbol, whether or not anything was done. What the strategy wants in
between (at a book row, a fill, a timer, a disconnection) is one more, unless it wants nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from tradebot.events import (
    Alert,
    Decision,
    ForecastFailed,
    ForecastReady,
    ModelAnswer,
    PlaceOrder,
    RequestForecast,
    RiskCheck,
    SetTimer,
    Verdict,
    split_model,
)
from tradebot.features.views import row_hash
from tradebot.market.candle import Candle
from tradebot.market.instrument import ZERO, Instrument, Side, exact
from tradebot.trading.exposure import exposure_of
from tradebot.trading.hooks import Hooks
from tradebot.trading.makers import maker_price
from tradebot.trading.risk import assess_entry
from tradebot.trading.strategy import HOLD, Hook, Intent, Strategy, View
from tradebot.trading.symbol import Asked, SymbolState
from tradebot.trading.views import view_of

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

ENTRIES = frozenset({"enter_long", "enter_short"})
AT_CLOSE = frozenset({"on_forecast", "on_candle"})
"""Hooks that are asked about a candle that has just closed: what they want must be sent soon after it."""
REFERENCE_WAIT_MS = 2_000
"""How long a closed candle waits for those of the references that close with it."""
FALLBACK = "fallback"
"""In ``Decision.hook``: the strategy was not asked again, its maker order falls back."""


class Decisions:
    """Asks for forecasts, asks the strategy what to make of them, and acts on that as far as risk allows."""

    def __init__(self, engine: Engine, strategy: type[Strategy]) -> None:
        self._engine = engine
        self.hooks = Hooks(engine, strategy)

    @property
    def strategy(self) -> Strategy | None:
        """The instance that is asked; None when it was disabled."""
        return self.hooks.strategy

    # --- a candle's forecasts ---------------------------------------------------------------------------------------

    def on_candle(self, name: str, candle: Candle) -> None:
        """A candle of ``name`` has closed; it is looked at when those of the references beside it have, too."""
        symbol = self._engine.symbols[name]
        symbol.held.append(candle)
        self._engine.leaders.need(name, candle.open_time_ms, self._engine.now_ms + REFERENCE_WAIT_MS)
        self.on_reference(symbol)

    def on_reference(self, symbol: SymbolState) -> None:
        """Look at the candles whose references are there; wait for the others, but not for long."""
        waited = False
        while symbol.held:
            open_ms = symbol.held[0].open_time_ms
            if open_ms > symbol.passed_ms and self._engine.leaders.awaited(symbol.name, open_ms):
                if not symbol.waits:
                    symbol.waits = True
                    due_ms = self._engine.now_ms + REFERENCE_WAIT_MS
                    self._engine.emit(SetTimer(name=f"reference:{symbol.name}", due_ms=due_ms))
                return
            self._engine.leaders.miss(self._engine.leaders.lacking(symbol.name, open_ms))
            waited, symbol.waits = waited or symbol.waits, False
            self._on_closed(symbol, symbol.held.popleft())
        if waited:
            self._engine.emit(SetTimer(name=f"reference:{symbol.name}", due_ms=0))

    def on_reference_late(self, symbol: SymbolState) -> None:
        """What has closed by now is looked at without the references that have not."""
        if not symbol.held:
            return
        symbol.passed_ms, symbol.waits = symbol.held[-1].open_time_ms, False
        if late := self._engine.leaders.awaited(symbol.name, symbol.passed_ms):
            self._engine.leaders.fall_silent(late)
            why = f"no candle of {', '.join(late)} {REFERENCE_WAIT_MS} ms after others closed: models do without"
            self._engine.emit(Alert(severity="warning", code="reference_late", message=why, symbol=symbol.name))
        self.on_reference(symbol)

    def _on_closed(self, symbol: SymbolState, candle: Candle) -> None:
        new = symbol.on_candle(candle, self._engine.leaders)
        if not self._engine.watches(symbol.name):
            symbol.asked, symbol.forecasts = Asked(), MappingProxyType({})  # it may be traded again before the next
            return
        if symbol.asked.waiting:
            self.on_deadline(symbol)
        symbol.asked, symbol.forecasts = Asked(), MappingProxyType(symbol.holding_forecasts())
        due = [ref for ref in symbol.models.values() if symbol.is_due(ref.interval)]
        rows = {ref.name: row for ref in due if new and (row := symbol.rows_of(ref)) is not None}
        if not self.hooks.asks_models:
            self._without_forecast(symbol, "")
        elif not symbol.models:
            self._without_forecast(symbol, "no model serves this symbol")
        elif not due:
            self._without_forecast(symbol, "" if symbol.forecasts else "no model's candle has closed")
        elif not rows:
            self._without_forecast(symbol, "features warming up")
        elif not symbol.feed_ok:
            self._without_forecast(symbol, f"market data not trusted: {symbol.feed_reason or 'not started'}")
        else:
            symbol.asked.missing |= {ref.name: "features warming up" for ref in due if ref.name not in rows}
            self._ask_models(symbol, rows)

    def _ask_models(self, symbol: SymbolState, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Ask each model of ``rows`` about its row or window after the last close."""
        deadline = self._engine.now_ms + self._engine.config.forecast_deadline_ms
        base = self._engine.config.interval
        unserved = [name for name in symbol.unserved if symbol.is_due(split_model(name, base)[1])]
        symbol.asked.missing |= dict.fromkeys(unserved, "does not serve")
        hashes: dict[bytes, str] = {}
        for model, row in rows.items():
            request_id = self._engine.new_id()
            content = row.tobytes()
            if content not in hashes:
                hashes[content] = row_hash(row)
            symbol.asked.waiting[request_id] = model
            symbol.asked.row_hashes[model] = hashes[content]
            self._engine.emit(
                RequestForecast(
                    request_id=request_id,
                    symbol=symbol.name,
                    model=model,
                    as_of_ms=symbol.last_close_ms,
                    deadline_ms=deadline,
                    row=content,
                    row_hash=hashes[content],
                )
            )
        self._engine.emit(SetTimer(name=f"forecast:{symbol.name}", due_ms=deadline))

    def on_forecast(self, event: ForecastReady) -> None:
        symbol = self._engine.symbols[event.symbol]
        model = symbol.asked.waiting.pop(event.request_id, None)
        if model is None:
            return  # late: its decision was recorded when the deadline passed
        if event.row_hash == symbol.asked.row_hashes[model]:
            symbol.asked.came[model] = event
        else:
            symbol.asked.missing[model] = "forecast was computed from other features"
        if not symbol.asked.waiting:
            self._settle(symbol)

    def on_forecast_failed(self, event: ForecastFailed) -> None:
        symbol = self._engine.symbols[event.symbol]
        model = symbol.asked.waiting.pop(event.request_id, None)
        if model is not None:
            symbol.asked.missing[model] = f"forecast failed: {event.reason}"
            if not symbol.asked.waiting:
                self._settle(symbol)

    def on_deadline(self, symbol: SymbolState) -> None:
        """What has not come by now is late."""
        if symbol.asked.waiting:
            symbol.asked.give_up("forecast late")
            self._settle(symbol)

    def _settle(self, symbol: SymbolState) -> None:
        """All answers are in, or will not come: the strategy is asked once."""
        self._engine.emit(SetTimer(name=f"forecast:{symbol.name}", due_ms=0))
        came, missing = symbol.asked.came, symbol.asked.missing
        known = {**symbol.forecasts, **came}
        symbol.forecasts = MappingProxyType({name: known[name] for name in symbol.models if name in known})
        if not came:
            reasons = list(dict.fromkeys(missing.values()))
            alike = len(missing) == 1 or len(reasons) == 1
            why = reasons[0] if alike else "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            self._without_forecast(symbol, why)
            return
        view = view_of(self._engine, symbol)
        if view is None:
            self._without_forecast(symbol, "no book yet")
            return
        wrong = [f for f in came.values() if not _is_finite(f)]
        if wrong:
            seen = "; ".join(str((f.expected_bp, f.p_up, f.p_down)) for f in wrong)
            check = RiskCheck("forecast_finite", seen, "finite", "block")
            intent = Intent("hold", "forecast is not finite: blocked")
            self._record(symbol, view, intent, "block", (check,), hook="")
            symbol.forecasts = MappingProxyType({})
            return
        first = next(f for name, f in symbol.forecasts.items() if name in came)
        intent = self.hooks.ask("on_forecast", view, first) or HOLD
        without = "".join(f", without {name} ({reason})" for name, reason in missing.items())
        self._act(symbol, view, _because(intent, intent.reason + without), "on_forecast")

    def _without_forecast(self, symbol: SymbolState, reason: str) -> None:
        view = view_of(self._engine, symbol)
        asked = view is not None and (self.hooks.strategy is None or self.hooks.defines("on_candle"))
        intent = (self.hooks.ask("on_candle", view) if view is not None and asked else None) or HOLD
        intent = self._with_forecast(intent, view)
        if reason:
            intent = _because(intent, reason if intent.action == "hold" else f"{intent.reason} ({reason})")
        self._act(symbol, view, intent, "on_candle" if asked else "")

    # --- everything else a strategy may hear ------------------------------------------------------------------------

    def hear(self, hook: Hook, name: str, *about: object) -> None:
        """Ask ``hook`` about symbol ``name`` if the strategy defines it, and act on what it wants."""
        if not self.hooks.defines(hook) or not self._engine.watches(name):
            return
        symbol = self._engine.symbols[name]
        view = view_of(self._engine, symbol)
        intent = self.hooks.ask(hook, view, *about) if view is not None else None
        if intent is not None:
            self._act(symbol, view, self._with_forecast(intent, view), hook)

    def fall_back(self, name: str, intent: Intent, share: float) -> None:
        """A maker order of ``intent`` ended with ``share`` (0, 1] of it left: that goes at market."""
        symbol = self._engine.symbols[name]
        view = view_of(self._engine, symbol)
        now = msgspec.structs.replace(
            intent, order="market", size=intent.size * share, timer=None, reason=f"resting order left: {intent.reason}"
        )
        self._act(symbol, view, now, FALLBACK)

    def _with_forecast(self, intent: Intent, view: View | None) -> Intent:
        """A strategy that acts on forecasts enters on a forecast only."""
        if intent.action in ENTRIES and self.hooks.asks_models and (view is None or not view.forecasts):
            return Intent("hold", f"no entry without a forecast ({intent.reason})", timer=intent.timer)
        return intent

    # --- acting -----------------------------------------------------------------------------------------------------

    def _act(self, symbol: SymbolState, view: View | None, intent: Intent, hook: str) -> None:
        if intent.timer is not None:
            name, in_ms = intent.timer
            self._engine.emit(SetTimer(name=f"strategy:{symbol.name}:{name}", due_ms=self._engine.now_ms + in_ms))
        if intent.action in ENTRIES and view is not None:
            self._enter(symbol, view, intent, hook)
        elif intent.action == "exit" and view is not None:
            self._exit(symbol, view, intent, hook)
        else:
            self._record(symbol, view, intent, "pass", hook=hook)

    def _enter(self, symbol: SymbolState, view: View, intent: Intent, hook: str) -> None:
        engine, instrument = self._engine, symbol.instrument
        decision_id = engine.new_id()
        if instrument is None:
            blocked = (RiskCheck("instrument", "unknown", "known", "block"),)
            self._record(symbol, view, intent, "block", blocked, hook=hook, decision_id=decision_id)
            return
        side: Side = "buy" if intent.action == "enter_long" else "sell"
        resting = intent.order == "maker"
        price = exact(view.market.ask if side == "buy" else view.market.bid)
        if resting:
            price = maker_price(instrument, view.market.bid, view.market.ask, side, intent.offset_ticks)
        provisional = any(f.provisional for f in view.forecasts.values()) if view.forecasts else None
        exposure = exposure_of(engine, symbol, price, side, provisional=provisional)
        if hook not in AT_CLOSE:  # between two closes a candle is as old as the next one is overdue
            exposure = replace(exposure, candle_age_ms=max(0, exposure.candle_age_ms - symbol.interval_ms))
        assessment = assess_entry(engine.config, instrument, intent.size, exposure)
        oid = ""
        if assessment.verdict != "block":
            oid = engine.oid("e")
            closer = None if intent.stop_bp is None else exact(intent.stop_bp) / 10_000
            gain = None if intent.take_profit_bp is None else exact(intent.take_profit_bp) / 10_000
            protection = engine.protection
            engine.emit(
                PlaceOrder(
                    client_oid=oid,
                    symbol=symbol.name,
                    side=side,
                    order_type="limit" if resting else "market",
                    qty=assessment.qty,
                    purpose="entry",
                    decision_id=decision_id,
                    price=price if resting else None,
                    tif="post_only" if resting else "gtc",
                    preset_stop=protection.stop_price(instrument, price, side, closer),
                    preset_take_profit=None if gain is None else protection.profit_price(instrument, price, side, gain),
                    stop_distance=closer,
                )
            )
            if resting:
                engine.makers.on_placed(oid, symbol.name, intent, entry=True)
        self._record(
            symbol, view, intent, assessment.verdict, assessment.checks, assessment.qty, oid,
            hook=hook, decision_id=decision_id,
        )  # fmt: skip

    def _exit(self, symbol: SymbolState, view: View, intent: Intent, hook: str) -> None:
        engine = self._engine
        decision_id = engine.new_id()
        position = engine.state.portfolio.position(symbol.name)
        withdrawn = engine.makers.withdraw(symbol.name, entry=True)
        gone = engine.discrepancies.nothing_there(symbol.name)
        there = bool(position.qty) and not gone
        seen = "0 on the exchange" if gone else str(position.qty)
        hurried = intent.order == "market" and engine.makers.rests(symbol.name, entry=False)
        if hurried:
            engine.makers.hurry(symbol.name, intent)
        working = any(o.reduce_only for o in engine.state.orders.open(symbol.name))
        checks = (
            RiskCheck("position_open", seen, "not 0", "pass" if there or withdrawn else "block"),
            RiskCheck("exit_working", str(working), "False", "block" if working and not hurried else "pass"),
        )
        blocked = any(c.verdict == "block" for c in checks)
        qty, oid = ZERO, ""
        if there and not working and not blocked:
            qty, oid = abs(position.qty), engine.oid("x")
            if intent.order == "maker" and symbol.instrument is not None and not engine.is_dust(symbol.name):
                self._rest_exit(symbol.instrument, view, intent, oid, decision_id, position.qty)
            else:
                engine.close_position(symbol.name, "exit", oid, decision_id)
        self._record(
            symbol, view, intent, "block" if blocked else "pass", checks, qty, oid, hook=hook, decision_id=decision_id
        )

    def _rest_exit(
        self, instrument: Instrument, view: View, intent: Intent, oid: str, decision_id: str, held: Decimal
    ) -> None:
        """Offer the whole position (or as much of it as one order may have) at the touch, reduce-only."""
        side: Side = "sell" if held > 0 else "buy"
        most = instrument.max_qty
        self._engine.emit(
            PlaceOrder(
                client_oid=oid,
                symbol=instrument.symbol,
                side=side,
                order_type="limit",
                qty=abs(held) if most is None else min(abs(held), most),
                purpose="exit",
                decision_id=decision_id,
                price=maker_price(instrument, view.market.bid, view.market.ask, side, intent.offset_ticks),
                tif="post_only",
                reduce_only=True,
            )
        )
        self._engine.makers.on_placed(oid, instrument.symbol, intent, entry=False)

    def _record(
        self, symbol: SymbolState, view: View | None, intent: Intent, verdict: Verdict,
        checks: tuple[RiskCheck, ...] = (), qty: Decimal = ZERO, oid: str = "", *,
        hook: str, decision_id: str = "",
    ) -> None:  # fmt: skip
        forecast = symbol.leading
        model, version, sha256 = self._model(symbol)
        answers = _answers(symbol) if self.hooks.asks_models else ()
        self._engine.emit(
            Decision(
                decision_id=decision_id or self._engine.new_id(),
                ts_ms=self._engine.now_ms,
                symbol=symbol.name,
                mode=self._engine.config.mode,
                strategy=self._engine.config.strategy,
                action=intent.action,
                reason=intent.reason,
                verdict=verdict,
                checks=checks,
                model=model,
                version=version,
                model_sha256=sha256,
                row_hash=forecast.row_hash if forecast else "",
                expected_bp=forecast.expected_bp if forecast else None,
                p_up=forecast.p_up if forecast else None,
                p_down=forecast.p_down if forecast else None,
                provisional=any(answer.provisional for answer in answers),
                bid=view.market.bid if view else 0.0,
                ask=view.market.ask if view else 0.0,
                position_qty=self._engine.state.portfolio.position(symbol.name).qty,
                qty=qty,
                client_oid=oid,
                hook=hook,
                models=answers,
            )
        )

    def _model(self, symbol: SymbolState) -> tuple[str, str, str]:
        """Name, version and SHA-256 of the model that a decision is put down to: the first that answered, else the
        first that serves; nothing for a strategy that asks none."""
        forecast = symbol.leading
        if forecast is not None:
            return forecast.model, forecast.version, forecast.model_sha256
        if symbol.model is None or not self.hooks.asks_models:
            return "", "", ""
        return symbol.model.name, symbol.model.version, symbol.model.sha256


def _answers(symbol: SymbolState) -> tuple[ModelAnswer, ...]:
    """What became of each model at the last close."""
    return tuple(_answer(symbol, name) for name in [*symbol.models, *symbol.unserved])


def _answer(symbol: SymbolState, name: str) -> ModelAnswer:
    ref = symbol.models.get(name)
    forecast = symbol.asked.came.get(name) or symbol.forecasts.get(name)
    if forecast is not None:
        return ModelAnswer(
            model=name,
            version=forecast.version,
            sha256=forecast.model_sha256,
            expected_bp=forecast.expected_bp,
            p_up=forecast.p_up,
            p_down=forecast.p_down,
            provisional=forecast.provisional,
            as_of_ms=forecast.as_of_ms if forecast.as_of_ms != symbol.last_close_ms else 0,
        )
    why = symbol.asked.missing.get(name, "not asked")
    if ref is None:
        return ModelAnswer(model=name, missing=why)
    return ModelAnswer(model=name, version=ref.version, sha256=ref.sha256, provisional=ref.provisional, missing=why)


def _is_finite(forecast: ForecastReady) -> bool:
    quantiles = (value for _, value in forecast.quantiles_bp)
    return all(math.isfinite(x) for x in (forecast.expected_bp, forecast.p_up, forecast.p_down, *quantiles))


def _because(intent: Intent, reason: str) -> Intent:
    return msgspec.structs.replace(intent, reason=reason)
