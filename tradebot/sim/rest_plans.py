"""Private REST endpoints of trigger and TP/SL orders (protocol section 9)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

from tradebot.market.instrument import Side
from tradebot.matching.orders import MarginMode, Presets, TriggerType, named_side
from tradebot.matching.plans import CONDITIONAL, PROTECTIONS, WHOLE, PlanOrder, PlanRequest, PlanType
from tradebot.sim.exchange import Exchange
from tradebot.sim.paging import QUARTER, check_window, listed, paged
from tradebot.sim.params import Params
from tradebot.sim.rest_account import HOLD_SIDES, asked_symbol, require_product, traded
from tradebot.sim.rest_orders import batch, each, trade_side
from tradebot.sim.routes import Routes
from tradebot.sim.rows_plans import plan_history_row, plan_row
from tradebot.sim.wire import Refusal, Row

routes = Routes()
ORDER = "/api/v2/mix/order/"

TRIGGERS = ("mark_price", "fill_price")
GROUP = "profit_loss"
"""What lists call all TP/SL kinds together."""


@routes.post(ORDER + "place-tpsl-order")
def place_tpsl_order(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    plan = cast(PlanType, params.choice("planType", PROTECTIONS))
    request = PlanRequest(
        symbol=symbol,
        plan=plan,
        trigger_price=params.required_number("triggerPrice"),
        trigger_type=_trigger_type(params, "triggerType"),
        hold_side=_hold_side(exchange, params),
        qty=None if plan in WHOLE else params.required_number("size"),
        execute_price=params.positive_or_none("executePrice"),
        callback=params.positive_or_none("rangeRate") if plan == "moving_plan" else None,
        client_oid=params.text("clientOid"),
    )
    return _ids(_place(exchange, request))


@routes.post(ORDER + "place-pos-tpsl")
def place_pos_tpsl(exchange: Exchange, params: Params) -> Any:
    """A take-profit, a stop-loss or both; with a size they are partial, without one they follow the position.

    Both or none: a refusal of the second takes the first away again.
    """
    symbol = traded(exchange, params)
    requests = [
        PlanRequest(
            symbol=symbol,
            plan=cast(PlanType, whole if params.positive_or_none(prefix + "Size") is None else part),
            trigger_price=params.required_number(prefix + "TriggerPrice"),
            trigger_type=_trigger_type(params, prefix + "TriggerType"),
            hold_side=_hold_side(exchange, params),
            qty=params.positive_or_none(prefix + "Size"),
            execute_price=params.positive_or_none(prefix + "ExecutePrice"),
            client_oid=params.text(prefix + "ClientOid"),
        )
        for prefix, whole, part in (
            ("stopSurplus", "pos_profit", "profit_plan"),
            ("stopLoss", "pos_loss", "loss_plan"),
        )
        if params.positive_or_none(prefix + "TriggerPrice") is not None
    ]
    if not requests:
        raise Refusal("40019", "Parameter stopSurplusTriggerPrice cannot be empty")
    plans = exchange.venue.check_plans(requests, exchange.now_ms)
    for plan in plans:
        _act_later(exchange, plan)
    ids = {name: params.text(name) for name in ("stopSurplusClientOid", "stopLossClientOid")}
    for plan in plans:
        ids["stopSurplusClientOid" if "profit" in plan.plan else "stopLossClientOid"] = plan.client_oid
    return [{"orderId": plan.order_id, **ids} for plan in plans]


@routes.post(ORDER + "place-plan-order")
def place_plan_order(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    kind = cast(PlanType, params.choice("planType", CONDITIONAL))
    limit: Decimal | None = None
    if params.choice("orderType", ("limit", "market")) == "limit":
        limit = params.positive_or_none("price") or params.required_number("executePrice")
    request = PlanRequest(
        symbol=symbol,
        plan=kind,
        trigger_price=params.required_number("triggerPrice"),
        trigger_type=_trigger_type(params, "triggerType"),
        side=cast(Side, params.choice("side", ("buy", "sell"))),
        trade_side=trade_side(params),
        qty=params.required_number("size"),
        execute_price=limit,
        callback=params.positive_or_none("callbackRatio") if kind == "track_plan" else None,
        reduce_only=params.choice("reduceOnly", ("yes", "no"), "no") == "yes",
        client_oid=params.text("clientOid"),
        margin_mode=cast(MarginMode, params.choice("marginMode", ("crossed", "isolated"))),
        presets=_presets(params, "stopLoss", "stopSurplus", Presets()),
    )
    return _ids(_place(exchange, request))


@routes.post(ORDER + "modify-tpsl-order")
def modify_tpsl_order(exchange: Exchange, params: Params) -> Any:
    """Change trigger, limit, size or range of a TP/SL order; it keeps its ids. What is not given stays."""
    traded(exchange, params)
    old = _live(exchange, params)
    if not old.protects:
        raise Refusal("43025", "The plan order does not exist")
    size, rate = params.positive_or_none("size"), params.positive_or_none("rangeRate")
    request = PlanRequest(
        symbol=old.symbol,
        plan=old.plan,
        trigger_price=_or(params.number("triggerPrice"), old.trigger_price),
        trigger_type=_trigger_type(params, "triggerType", old.trigger_type),
        hold_side="sell" if old.side == "buy" else "buy",
        qty=None if old.plan in WHOLE else size or old.qty,
        execute_price=_limit(params, "executePrice", old.execute_price),
        callback=rate or old.callback if old.plan == "moving_plan" else None,
        margin_mode=old.margin_mode,
    )
    return _modify(exchange, old, request)


@routes.post(ORDER + "modify-plan-order")
def modify_plan_order(exchange: Exchange, params: Params) -> Any:
    """Change a conditional order; it keeps its ids. What is not given stays, a preset of 0 is taken away."""
    traded(exchange, params)
    old = _live(exchange, params)
    if old.protects:
        raise Refusal("43025", "The plan order does not exist")
    rate = params.positive_or_none("newCallbackRatio")
    request = PlanRequest(
        symbol=old.symbol,
        plan=old.plan,
        trigger_price=_or(params.number("newTriggerPrice"), old.trigger_price),
        trigger_type=_trigger_type(params, "newTriggerType", old.trigger_type),
        side=named_side(old.side, old.pos_side),
        trade_side="" if old.pos_side == "net" else "close" if old.reduce_only else "open",
        qty=old.qty if (size := params.number("newSize")) is None else size,
        execute_price=None if old.execute_price is None else _limit(params, "newPrice", old.execute_price),
        callback=rate or old.callback if old.plan == "track_plan" else None,
        reduce_only=old.reduce_only,
        margin_mode=old.margin_mode,
        presets=_presets(params, "newStopLoss", "newStopSurplus", old.presets),
    )
    return _modify(exchange, old, request)


@routes.post(ORDER + "cancel-plan-order")
def cancel_plan_order(exchange: Exchange, params: Params) -> Any:
    """By id whatever the kind; without a list every live one of the kind (``normal_plan`` unless told)."""
    require_product(params)
    kind = params.choice("planType", (*CONDITIONAL, *PROTECTIONS, GROUP), "normal_plan")
    wanted = batch(params, "orderIdList")
    if wanted is None and (params.text("orderId") or params.text("clientOid")):
        wanted = [params]
    if wanted is None:
        live = exchange.venue.live_plans(asked_symbol(exchange, params))
        wanted = [Params({"orderId": plan.order_id}) for plan in live if _is(plan, kind)]
    return each(wanted, lambda item: _cancel(exchange, item))


@routes.get(ORDER + "orders-plan-pending", private=True)
def orders_plan_pending(exchange: Exchange, params: Params) -> Any:
    check_window(params, exchange.now_ms)
    page = _plans(exchange, params, exchange.venue.live_plans)
    listing = [plan_row(plan, exchange.venue.plan_qty(plan)) for plan in page]
    return listed("entrustedList", listing, page[-1].order_id if page else "")


@routes.get(ORDER + "orders-plan-history", private=True)
def orders_plan_history(exchange: Exchange, params: Params) -> Any:
    check_window(params, exchange.now_ms, QUARTER)
    page = _plans(exchange, params, exchange.venue.past_plans)
    listing = []
    for plan in page:
        sent = exchange.venue.known_order(plan.executed_order_id)
        qty = exchange.venue.plan_qty(plan) if sent is None or plan.qty is not None else sent.qty
        listing.append(plan_history_row(plan, qty, sent))
    return listed("entrustedList", listing, page[-1].order_id if page else "")


def _plans(exchange: Exchange, params: Params, source: Callable[[str | None], list[PlanOrder]]) -> list[PlanOrder]:
    if not params.product_is_ours():
        return []
    kind = params.choice("planType", (*CONDITIONAL, GROUP, *PROTECTIONS))
    order_id, client_oid, status = params.text("orderId"), params.text("clientOid"), params.lower("planStatus")
    chosen = [
        plan
        for plan in source(asked_symbol(exchange, params))
        if _is(plan, kind)
        and order_id in ("", plan.order_id)
        and client_oid in ("", plan.client_oid)
        and status in ("", plan.status)
    ]
    return paged(chosen, params, lambda plan: plan.order_id, lambda plan: plan.created_ms)


def _is(plan: PlanOrder, kind: str) -> bool:
    return plan.protects if kind == GROUP else plan.plan == kind


def _place(exchange: Exchange, request: PlanRequest) -> PlanOrder:
    plan = exchange.venue.check_plan(request, exchange.now_ms)
    _act_later(exchange, plan)
    return plan


def _act_later(exchange: Exchange, plan: PlanOrder) -> None:
    def act(now_ms: int) -> None:
        exchange.venue.act_plan(plan.order_id, now_ms)

    exchange.schedule(plan.client_oid, act)


def _modify(exchange: Exchange, old: PlanOrder, request: PlanRequest) -> Row:
    new = exchange.venue.check_modify_plan(old, request, exchange.now_ms)

    def act(now_ms: int) -> None:
        exchange.venue.act_modify_plan(new, now_ms)

    exchange.schedule(old.client_oid, act)
    return _ids(new)


def _cancel(exchange: Exchange, params: Params) -> Row:
    plan = _live(exchange, params)

    def act(now_ms: int) -> None:
        exchange.venue.act_cancel_plan(plan.order_id, now_ms)

    exchange.schedule(plan.client_oid, act)
    return _ids(plan)


def _live(exchange: Exchange, params: Params) -> PlanOrder:
    return exchange.venue.check_cancel_plan(order_id=params.text("orderId"), client_oid=params.text("clientOid"))


def _trigger_type(params: Params, name: str, default: TriggerType = "mark_price") -> TriggerType:
    return cast(TriggerType, params.choice(name, TRIGGERS, default))


def _hold_side(exchange: Exchange, params: Params) -> Side:
    """The side of the position: ``buy`` or ``sell`` in one-way mode, ``long`` or ``short`` in hedge mode."""
    hedge = exchange.venue.position_mode == "hedge_mode"
    said = params.choice("holdSide", tuple(HOLD_SIDES))
    if (said in ("long", "short")) != hedge:
        raise Refusal("43011", f"The parameter holdSide {said} does not meet the position mode")
    return HOLD_SIDES[said]


def _presets(params: Params, stop: str, target: str, old: Presets) -> Presets:
    """Presets of a conditional order; what is not given stays, 0 takes away."""
    return Presets(
        stop_loss=_limit(params, stop + "TriggerPrice", old.stop_loss),
        stop_loss_limit=_limit(params, stop + "ExecutePrice", old.stop_loss_limit),
        stop_loss_type=_trigger_type(params, stop + "TriggerType", old.stop_loss_type),
        take_profit=_limit(params, target + "TriggerPrice", old.take_profit),
        take_profit_limit=_limit(params, target + "ExecutePrice", old.take_profit_limit),
        take_profit_type=_trigger_type(params, target + "TriggerType", old.take_profit_type),
    )


def _limit(params: Params, name: str, old: Decimal | None) -> Decimal | None:
    """A price that 0 takes away; the old one when it is absent."""
    given = params.number(name)
    return old if given is None else given if given > 0 else None


def _or(given: Decimal | None, old: Decimal) -> Decimal:
    return old if given is None else given


def _ids(plan: PlanOrder) -> Row:
    return {"orderId": plan.order_id, "clientOid": plan.client_oid}
