"""Trigger orders as REST and the ``orders-algo`` channel write them (protocol sections 9 and 10.5)."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from tradebot.matching.arithmetic import money
from tradebot.matching.orders import Order, Presets, named_side
from tradebot.matching.plans import PlanOrder, PlanType
from tradebot.sim.rows_orders import position_mode
from tradebot.sim.wire import MARGIN_COIN, Row, optional, plain

PLAN_SHORT: Final[dict[PlanType, str]] = {
    "loss_plan": "sl",
    "profit_plan": "tp",
    "pos_loss": "psl",
    "pos_profit": "ptp",
    "moving_plan": "mtpsl",
    "normal_plan": "pl",
    "track_plan": "track",
}


def plan_row(plan: PlanOrder, qty: Decimal) -> Row:
    """A row of ``orders-plan-pending``; ``qty`` is the plan's size now."""
    presets = _protection(plan)
    return {
        **_plan(plan, qty),
        "planType": plan.plan,
        "symbol": plan.symbol,
        "callbackRatio": optional(plan.callback),
        "planStatus": plan.status,
        "marginMode": plan.margin_mode or "",
        "enterPointSource": "API",
        "orderSource": plan.source,
        "stopSurplusExecutePrice": optional(presets.take_profit_limit),
        "stopLossExecutePrice": optional(presets.stop_loss_limit),
    }


def plan_history_row(plan: PlanOrder, qty: Decimal, executed: Order | None) -> Row:
    """A row of ``orders-plan-history``; ``executed`` is the order it sent."""
    average = executed.average_price if executed is not None else None
    return {
        **plan_row(plan, qty),
        "executeOrderId": plan.executed_order_id,
        "priceAvg": "" if average is None else plain(money(average)),
        "baseVolume": plain(executed.filled_qty) if executed is not None else "0",
    }


def plan_push(plan: PlanOrder, qty: Decimal) -> Row:
    """A row of the ``orders-algo`` channel, where plan types are abbreviated."""
    presets = _protection(plan)
    return {
        **_plan(plan, qty),
        "instId": plan.symbol,
        "triggerTime": str(plan.updated_ms) if plan.status in ("executing", "executed", "fail_execute") else "",
        "planType": PLAN_SHORT[plan.plan],
        "actualSize": plain(qty) if plan.status == "executed" else "0",
        "status": plan.status,
        "enterPointSource": "api",
        "stopSurplusPrice": optional(presets.take_profit_limit),
        "stopLossPrice": optional(presets.stop_loss_limit),
        "stpMode": "none",
    }


def _plan(plan: PlanOrder, qty: Decimal) -> Row:
    """What REST and the ``orders-algo`` channel spell alike."""
    limit = plan.execute_price
    presets = _protection(plan)
    return {
        "orderId": plan.order_id,
        "clientOid": plan.client_oid,
        "size": plain(qty),
        "price": optional(limit),
        "executePrice": "0" if limit is None else plain(limit),
        "triggerPrice": plain(plan.trigger_price),
        "triggerType": plan.trigger_type,
        "side": named_side(plan.side, plan.pos_side),
        "posSide": plan.pos_side,
        "posMode": position_mode(plan.pos_side),
        "tradeSide": plan.trade_side,
        "marginCoin": MARGIN_COIN,
        "orderType": "market" if limit is None else "limit",
        "stopSurplusTriggerPrice": optional(presets.take_profit),
        "stopSurplusTriggerType": "" if presets.take_profit is None else presets.take_profit_type,
        "stopLossTriggerPrice": optional(presets.stop_loss),
        "stopLossTriggerType": "" if presets.stop_loss is None else presets.stop_loss_type,
        "cTime": str(plan.created_ms),
        "uTime": str(plan.updated_ms),
    }


def _protection(plan: PlanOrder) -> Presets:
    """The stopSurplus/stopLoss members: a TP/SL names itself, a conditional order its presets."""
    if plan.plan in ("pos_loss", "loss_plan"):
        return Presets(
            stop_loss=plan.trigger_price, stop_loss_limit=plan.execute_price, stop_loss_type=plan.trigger_type
        )
    if plan.plan in ("pos_profit", "profit_plan"):
        return Presets(
            take_profit=plan.trigger_price, take_profit_limit=plan.execute_price, take_profit_type=plan.trigger_type
        )
    return plan.presets
