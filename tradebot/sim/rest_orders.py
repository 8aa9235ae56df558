"""Private REST endpoints of orders and fills (protocol section 8).

A request is validated and answered at once; it *acts* when its latency has passed (:meth:`Exchange.schedule`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tradebot.market.instrument import Side
from tradebot.matching.orders import MarginMode, Order, OrderRefused, OrderRequest, OrderType, SelfTrade, TimeInForce
from tradebot.sim import rows
from tradebot.sim.exchange import Exchange
from tradebot.sim.paging import listed, paged
from tradebot.sim.params import Params
from tradebot.sim.rest_account import require_product, traded
from tradebot.sim.routes import Routes
from tradebot.sim.wire import Refusal

routes = Routes()
ORDER = "/api/v2/mix/order/"
MOST_PER_BATCH = 50


@routes.post(ORDER + "place-order")
def place_order(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    return _ids(_place(exchange, order_request(symbol, params, params)))


@routes.post(ORDER + "batch-place-order")
def batch_place_order(exchange: Exchange, params: Params) -> Any:
    """The envelope is a success even when every order is refused."""
    symbol = traded(exchange, params)
    wanted = _batch(params, "orderList")
    if wanted is None:
        raise Refusal("40019", "Parameter orderList cannot be empty")
    return _each(wanted, lambda item: _place(exchange, order_request(symbol, item, params)))


@routes.post(ORDER + "cancel-order")
def cancel_order(exchange: Exchange, params: Params) -> Any:
    """Accepted is not cancelled: a fill may win the race."""
    require_product(params)
    return _ids(_cancel(exchange, params))


@routes.post(ORDER + "batch-cancel-orders")
def batch_cancel_orders(exchange: Exchange, params: Params) -> Any:
    """Without a list: every open order of the symbol, without a symbol of the product type."""
    require_product(params)
    wanted = _batch(params, "orderIdList")
    if wanted is not None:
        return _each(wanted, lambda item: _cancel(exchange, item))
    symbol = params.text("symbol")
    return _cancel_all(exchange, exchange.market(symbol).symbol if symbol else None)


@routes.post(ORDER + "cancel-all-orders")
def cancel_all_orders(exchange: Exchange, params: Params) -> Any:
    require_product(params)
    return _cancel_all(exchange, None)


@routes.post(ORDER + "modify-order")
def modify_order(exchange: Exchange, params: Params) -> Any:
    """Cancel and re-create under a new client id; the new order's own id is learned from its push."""
    require_product(params)
    old = exchange.venue.order(order_id=params.text("orderId"), client_oid=params.text("clientOid"))
    size, price = params.number("newSize"), params.number("newPrice")
    new_oid = params.text("newClientOid")
    if size is None or price is None:
        raise Refusal("40925", "Price and size must be passed in together")
    if not new_oid:
        raise Refusal("22003", "newClientOid cannot be empty")
    if old.order_type != "limit" or old.status != "live":
        raise Refusal("40922", "Only live orders can be modified")
    request = OrderRequest(
        symbol=old.symbol,
        side=old.side,
        order_type="limit",
        qty=size,
        price=price,
        tif=old.tif,
        client_oid=new_oid,
        reduce_only=old.reduce_only,
        margin_mode=old.margin_mode,
        stop_loss=old.stop_loss,
        take_profit=old.take_profit,
        stp=old.stp,
    )
    _refuse_known(exchange, new_oid)
    exchange.schedule(new_oid, lambda now_ms: _replace(exchange, old.order_id, request, now_ms))
    return {"orderId": old.order_id, "clientOid": new_oid}


@routes.get(ORDER + "detail", private=True)
def detail(exchange: Exchange, params: Params) -> Any:
    traded(exchange, params)
    order = exchange.venue.order(order_id=params.text("orderId"), client_oid=params.text("clientOid"))
    return rows.order_row(order, "state")


@routes.get(ORDER + "orders-pending", private=True)
def orders_pending(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return listed("entrustedList", [], "")
    page = _orders(exchange.venue.open_orders(_symbol(exchange, params)), params)
    return listed("entrustedList", [rows.order_row(order) for order in page], page[-1].order_id if page else "")


@routes.get(ORDER + "orders-history", private=True)
def orders_history(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return listed("entrustedList", [], "")
    page = _orders(exchange.venue.past_orders(_symbol(exchange, params)), params)
    return listed("entrustedList", [rows.history_row(order) for order in page], page[-1].order_id if page else "")


@routes.get(ORDER + "fills", private=True)
@routes.get(ORDER + "fill-history", private=True)
def fills(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return listed("fillList", [], "")
    order_id = params.text("orderId")
    executions = [e for e in exchange.venue.executions(_symbol(exchange, params)) if order_id in ("", e.order_id)]
    page = paged(executions, params, lambda e: e.trade_id, lambda e: e.ts_ms)
    return listed("fillList", [rows.fill_row(e) for e in page], page[-1].trade_id if page else "")


@routes.post(ORDER + "close-positions")
def close_positions(exchange: Exchange, params: Params) -> Any:
    """Flash close of one symbol or of everything."""
    require_product(params)
    symbol = params.text("symbol")
    if symbol:
        symbols = [exchange.market(symbol).symbol]
    else:
        symbols = [report.position.symbol for report in exchange.venue.positions()]
    closed = []
    for name in symbols:
        order = exchange.venue.check_close(name, exchange.now_ms)
        _act_later(exchange, order)
        closed.append({**_ids(order), "symbol": name})
    return {"successList": closed, "failureList": []}


def order_request(symbol: str, item: Params, common: Params) -> OrderRequest:
    """An order as asked for (section 8.1); ``common`` holds what a batch says once for all."""
    order_type = item.choice("orderType", ("limit", "market"))
    price = item.required_number("price") if order_type == "limit" else None
    mode = (item if item.text("marginMode") else common).choice("marginMode", ("crossed", "isolated"))
    return OrderRequest(
        symbol=symbol,
        side=cast(Side, item.choice("side", ("buy", "sell"))),
        order_type=cast(OrderType, order_type),
        qty=item.required_number("size"),
        price=price,
        tif=cast(TimeInForce, item.choice("force", ("gtc", "ioc", "fok", "post_only"), "gtc")),
        client_oid=item.text("clientOid"),
        reduce_only=item.choice("reduceOnly", ("yes", "no"), "no") == "yes",
        margin_mode=cast(MarginMode, mode),
        stop_loss=item.positive_or_none("presetStopLossPrice"),
        take_profit=item.positive_or_none("presetStopSurplusPrice"),
        stp=cast(SelfTrade, item.choice("stpMode", ("none", "cancel_taker", "cancel_maker", "cancel_both"), "none")),
        trade_side=item.lower("tradeSide"),
    )


def _place(exchange: Exchange, request: OrderRequest) -> Order:
    order = exchange.venue.check(request, exchange.now_ms)
    _act_later(exchange, order)
    return order


def _act_later(exchange: Exchange, order: Order) -> None:
    def act(now_ms: int) -> None:
        exchange.venue.act(order.order_id, now_ms)

    exchange.schedule(order.client_oid, act)


def _cancel(exchange: Exchange, params: Params) -> Order:
    """A cancel takes as long as its order did, so it never overtakes it."""
    order = exchange.venue.check_cancel(order_id=params.text("orderId"), client_oid=params.text("clientOid"))

    def act(now_ms: int) -> None:
        exchange.venue.act_cancel(order.order_id, now_ms)

    exchange.schedule(order.client_oid, act)
    return order


def _cancel_all(exchange: Exchange, symbol: str | None) -> Any:
    wanted = [Params({"orderId": order.order_id}) for order in exchange.venue.open_orders(symbol)]
    return _each(wanted, lambda item: _cancel(exchange, item))


def _replace(exchange: Exchange, order_id: str, request: OrderRequest, now_ms: int) -> None:
    """The second half of modify-order: a fill that came first makes it void, a refusal leaves nothing."""
    if exchange.venue.order(order_id=order_id).status != "live":
        return
    exchange.venue.act_cancel(order_id, now_ms)
    try:
        exchange.venue.place(request, now_ms)
    except OrderRefused:
        return


def _refuse_known(exchange: Exchange, client_oid: str) -> None:
    try:
        exchange.venue.order(client_oid=client_oid)
    except OrderRefused:
        return
    raise Refusal("40786", f"Duplicate clientOid {client_oid}")


def _symbol(exchange: Exchange, params: Params) -> str | None:
    symbol = params.text("symbol")
    return exchange.market(symbol).symbol if symbol else None


def _orders(orders: list[Order], params: Params) -> list[Order]:
    order_id, client_oid, status = params.text("orderId"), params.text("clientOid"), params.lower("status")
    chosen = [
        order
        for order in orders
        if order_id in ("", order.order_id) and client_oid in ("", order.client_oid) and status in ("", order.status)
    ]
    return paged(chosen, params, lambda order: order.order_id, lambda order: order.created_ms)


def _batch(params: Params, name: str) -> list[Params] | None:
    items = params.rows(name)
    if items is not None and len(items) > MOST_PER_BATCH:
        raise Refusal("40912", f"Batch processing of {name} is limited to {MOST_PER_BATCH}")
    return items or None


def _each(items: list[Params], act: Callable[[Params], Order]) -> dict[str, list[dict[str, str]]]:
    """Try every item; refusals are listed, not raised."""
    done: list[dict[str, str]] = []
    failed: list[dict[str, str]] = []
    for item in items:
        try:
            done.append(_ids(act(item)))
        except (Refusal, OrderRefused) as refusal:
            failed.append(
                {
                    "orderId": item.text("orderId"),
                    "clientOid": item.text("clientOid"),
                    "errorMsg": refusal.message if isinstance(refusal, Refusal) else str(refusal),
                    "errorCode": refusal.code,
                }
            )
    return {"successList": done, "failureList": failed}


def _ids(order: Order) -> dict[str, str]:
    return {"orderId": order.order_id, "clientOid": order.client_oid}
