"""Trigger orders watch prices and fire (protocol section 9)."""

from __future__ import annotations

from msgspec.structs import replace

from tradebot.matching.admission import Admission
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.orders import Intent, Order, OrderRefused, OrderRequest, TradeSide, TriggerType, named_side
from tradebot.matching.plans import PlanOrder


class Triggers:
    """Shows prices to the live plans of an engine and sends the orders of those that fire."""

    def __init__(self, engine: MatchingEngine, admission: Admission) -> None:
        self._engine = engine
        self._admission = admission

    def look(self, symbol: str, trigger_type: TriggerType, ts_ms: int) -> None:
        """Fire the acting plans that the current price has reached, oldest first."""
        engine = self._engine
        if not engine.archive.live_plans:
            return
        price = engine.account.marks.get(symbol) if trigger_type == "mark_price" else engine.lasts.get(symbol)
        if price is None:
            return
        due: list[str] = []
        for plan in engine.archive.plans_in(symbol):
            if plan.acting and plan.trigger_type == trigger_type:
                seen, fires = plan.follow(price)
                if seen.extreme != plan.extreme:
                    engine.archive.put_plan(seen)
                if fires:
                    due.append(plan.order_id)
        for order_id in due:
            plan = engine.archive.plans[order_id]
            if plan.status == "live":  # one that fired before it may have ended this one
                self._fire(plan, ts_ms)

    def _fire(self, plan: PlanOrder, ts_ms: int) -> None:
        engine = self._engine
        plan = replace(plan, status="executing", updated_ms=ts_ms)
        engine.put_plan(plan)
        order = self._order_of(plan, ts_ms)
        if order is not None:
            self._admission.take_mode(order)
            engine.put(order)
            order = engine.enter(order, ts_ms)
        went = order is not None and (order.open or order.filled_qty > 0)
        done = replace(
            plan,
            status="executed" if went else "fail_execute",
            executed_order_id=order.order_id if order else "",
            updated_ms=ts_ms,
        )
        engine.settle(ts_ms)
        engine.put_plan(done)

    def _order_of(self, plan: PlanOrder, ts_ms: int) -> Order | None:
        """The order that a fired plan sends, or None when the venue would refuse it."""
        trade_side: TradeSide = "" if plan.pos_side == "net" else "close" if plan.reduce_only else "open"
        request = OrderRequest(
            symbol=plan.symbol,
            side=named_side(plan.side, plan.pos_side),
            order_type="market" if plan.execute_price is None else "limit",
            qty=self._engine.plan_qty(plan),
            price=plan.execute_price,
            reduce_only=plan.reduce_only,
            margin_mode=plan.margin_mode,
            presets=plan.presets,
            trade_side=trade_side,
        )
        if not plan.protects:
            try:
                return replace(self._admission.order(request, ts_ms), source=plan.source)
            except OrderRefused:
                return None
        account = self._engine.account
        held = account.held(plan.symbol, plan.pos_side)
        closable = account.closable(plan.symbol, plan.pos_side, plan.side)
        if held is None or not closable:
            return None
        return self._engine.maker.new_order(
            replace(request, qty=min(request.qty, closable)),
            Intent(plan.pos_side, plan.side, True),
            (held.margin_mode, held.leverage, account.mark(plan.symbol)),
            ts_ms,
            source=plan.source,
        )
