"""Private REST endpoints of trigger and TP/SL orders (protocol section 9)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from tradebot.market.instrument import Side
from tradebot.matching.orders import MarginMode, OrderRefused, PlanOrder, PlanRequest, PlanType, TriggerType
from tradebot.sim import rows
from tradebot.sim.exchange import Exchange
from tradebot.sim.paging import listed, paged
from tradebot.sim.params import Params
from tradebot.sim.rest_account import require_product, traded
from tradebot.sim.routes import Routes
from tradebot.sim.wire import Refusal

routes = Routes()
ORDER = "/api/v2/mix/order/"

PROTECTIONS = ("pos_profit", "pos_loss", "profit_plan", "loss_plan")
_TRIGGERS = ("mark_price", "fill_price")
_HOLD_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell", "long": "buy", "short": "sell"}


@routes.post(ORDER + "place-tpsl-order")
def place_tpsl_order(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    plan = params.choice("planType", (*PROTECTIONS, "moving_plan"))
    if plan == "moving_plan":
        raise Refusal("40919", "This function is not open yet")
    whole = plan.startswith("pos_")
    return _ids(
        _place(
            exchange,
            PlanRequest(
                symbol=symbol,
                plan=cast(PlanType, plan),
                trigger_price=params.required_number("triggerPrice"),
                trigger_type=_trigger_type(params, "triggerType"),
                hold_side=_hold_side(params),
                qty=None if whole else params.required_number("size"),
                execute_price=params.positive_or_none("executePrice"),
                client_oid=params.text("clientOid"),
            ),
        )
    )


@routes.post(ORDER + "place-pos-tpsl")
def place_pos_tpsl(exchange: Exchange, params: Params) -> Any:
    """A take-profit, a stop-loss or both; with a size they are partial, without one they follow the position."""
    symbol = traded(exchange, params)
    placed: list[dict[str, str]] = []
    ids = {name: params.text(name) for name in ("stopSurplusClientOid", "stopLossClientOid")}
    for prefix, whole, part in (("stopSurplus", "pos_profit", "profit_plan"), ("stopLoss", "pos_loss", "loss_plan")):
        trigger = params.positive_or_none(prefix + "TriggerPrice")
        if trigger is None:
            continue
        size = params.positive_or_none(prefix + "Size")
        plan = _place(
            exchange,
            PlanRequest(
                symbol=symbol,
                plan=cast(PlanType, whole if size is None else part),
                trigger_price=trigger,
                trigger_type=_trigger_type(params, prefix + "TriggerType"),
                hold_side=_hold_side(params),
                qty=size,
                execute_price=params.positive_or_none(prefix + "ExecutePrice"),
                client_oid=ids[prefix + "ClientOid"],
            ),
        )
        ids[prefix + "ClientOid"] = plan.client_oid
        placed.append({"orderId": plan.order_id})
    if not placed:
        raise Refusal("40019", "Parameter stopSurplusTriggerPrice cannot be empty")
    return [{**row, **ids} for row in placed]


@routes.post(ORDER + "place-plan-order")
def place_plan_order(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    if params.choice("planType", ("normal_plan", "track_plan")) == "track_plan":
        raise Refusal("40919", "This function is not open yet")
    limit: Decimal | None = None
    if params.choice("orderType", ("limit", "market")) == "limit":
        limit = params.positive_or_none("price") or params.required_number("executePrice")
    return _ids(
        _place(
            exchange,
            PlanRequest(
                symbol=symbol,
                plan="normal_plan",
                trigger_price=params.required_number("triggerPrice"),
                trigger_type=_trigger_type(params, "triggerType"),
                side=cast(Side, params.choice("side", ("buy", "sell"))),
                qty=params.required_number("size"),
                execute_price=limit,
                reduce_only=params.choice("reduceOnly", ("yes", "no"), "no") == "yes",
                client_oid=params.text("clientOid"),
                margin_mode=cast(MarginMode, params.choice("marginMode", ("crossed", "isolated"))),
                stop_loss=params.positive_or_none("stopLossTriggerPrice"),
                take_profit=params.positive_or_none("stopSurplusTriggerPrice"),
            ),
        )
    )


@routes.post(ORDER + "cancel-plan-order")
def cancel_plan_order(exchange: Exchange, params: Params) -> Any:
    """By id whatever the kind; without a list every live one of the kind (``normal_plan`` unless told)."""
    require_product(params)
    wanted = params.rows("orderIdList")
    if not wanted:
        symbol = params.text("symbol")
        kind = params.choice("planType", ("normal_plan", *PROTECTIONS, "moving_plan"), "normal_plan")
        live = exchange.venue.live_plans(exchange.market(symbol).symbol if symbol else None)
        wanted = [Params({"orderId": plan.order_id}) for plan in live if plan.plan == kind]
    done: list[dict[str, str]] = []
    failed: list[dict[str, str]] = []
    for item in wanted:
        try:
            done.append(_ids(_cancel(exchange, item)))
        except OrderRefused as refusal:
            ids = {"orderId": item.text("orderId"), "clientOid": item.text("clientOid")}
            failed.append({**ids, "errorMsg": str(refusal), "errorCode": refusal.code})
    return {"successList": done, "failureList": failed}


@routes.get(ORDER + "orders-plan-pending", private=True)
def orders_plan_pending(exchange: Exchange, params: Params) -> Any:
    page = _plans(exchange, params, ended=False)
    listing = [rows.plan_row(plan, exchange.venue.plan_qty(plan)) for plan in page]
    return listed("entrustedList", listing, page[-1].order_id if page else "")


@routes.get(ORDER + "orders-plan-history", private=True)
def orders_plan_history(exchange: Exchange, params: Params) -> Any:
    page = _plans(exchange, params, ended=True)
    listing = []
    for plan in page:
        sent = exchange.venue.order(order_id=plan.executed_order_id) if plan.executed_order_id else None
        qty = exchange.venue.plan_qty(plan) if sent is None or plan.qty is not None else sent.qty
        listing.append(rows.plan_history_row(plan, qty, sent))
    return listed("entrustedList", listing, page[-1].order_id if page else "")


def _plans(exchange: Exchange, params: Params, *, ended: bool) -> list[PlanOrder]:
    if not params.product_is_ours():
        return []
    kind = params.choice("planType", ("normal_plan", "track_plan", "profit_loss", *PROTECTIONS))
    symbol = params.text("symbol")
    symbol = exchange.market(symbol).symbol if symbol else ""
    order_id, client_oid = params.text("orderId"), params.text("clientOid")
    source = exchange.venue.past_plans if ended else exchange.venue.live_plans
    chosen = [
        plan
        for plan in source(symbol or None)
        if (plan.protects if kind == "profit_loss" else plan.plan == kind)
        and order_id in ("", plan.order_id)
        and client_oid in ("", plan.client_oid)
    ]
    return paged(chosen, params, lambda plan: plan.order_id, lambda plan: plan.created_ms)


def _place(exchange: Exchange, request: PlanRequest) -> PlanOrder:
    plan = exchange.venue.check_plan(request, exchange.now_ms)

    def act(now_ms: int) -> None:
        exchange.venue.act_plan(plan.order_id, now_ms)

    exchange.schedule(plan.client_oid, act)
    return plan


def _cancel(exchange: Exchange, params: Params) -> PlanOrder:
    plan = exchange.venue.check_cancel_plan(order_id=params.text("orderId"), client_oid=params.text("clientOid"))

    def act(now_ms: int) -> None:
        exchange.venue.act_cancel_plan(plan.order_id, now_ms)

    exchange.schedule(plan.client_oid, act)
    return plan


def _trigger_type(params: Params, name: str) -> TriggerType:
    return cast(TriggerType, params.choice(name, _TRIGGERS, "mark_price"))


def _hold_side(params: Params) -> Side:
    """One-way: ``buy`` protects a long, ``sell`` a short; the hedge spelling is accepted as well."""
    return _HOLD_SIDES[params.choice("holdSide", tuple(_HOLD_SIDES))]


def _ids(plan: PlanOrder) -> dict[str, str]:
    return {"orderId": plan.order_id, "clientOid": plan.client_oid}
