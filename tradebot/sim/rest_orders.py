"""Private REST endpoints that place, change and end orders (protocol section 8).

A request is validated and answered at once; it *acts* when its latency has passed (:meth:`Exchange.schedule`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tradebot.market.instrument import Side
from tradebot.matching.orders import (
    MarginMode,
    Order,
    OrderRefused,
    OrderRequest,
    OrderType,
    PosSide,
    Presets,
    SelfTrade,
    TimeInForce,
    TradeSide,
)
from tradebot.matching.position import Position
from tradebot.sim.exchange import Exchange
from tradebot.sim.params import Params
from tradebot.sim.rest_account import HOLD_SIDES, require_product, traded
from tradebot.sim.routes import Routes
from tradebot.sim.wire import Refusal, Row

routes = Routes()
ORDER = "/api/v2/mix/order/"
MOST_PER_BATCH = 50


@routes.post(ORDER + "place-order")
def place_order(exchange: Exchange, params: Params) -> Any:
    """In one-way mode an order that made older reduce-only ones give way is answered without its id (section 8.1)."""
    symbol = traded(exchange, params)
    return _place(exchange, order_request(symbol, params, params))


@routes.post(ORDER + "batch-place-order")
def batch_place_order(exchange: Exchange, params: Params) -> Any:
    """The envelope is a success even when every order is refused."""
    symbol = traded(exchange, params)
    wanted = batch(params, "orderList")
    if wanted is None:
        raise Refusal("40019", "Parameter orderList cannot be empty")
    return each(wanted, lambda item: _place(exchange, order_request(symbol, item, params)))


@routes.post(ORDER + "cancel-order")
def cancel_order(exchange: Exchange, params: Params) -> Any:
    """Accepted is not cancelled: a fill may win the race."""
    traded(exchange, params)
    return _cancel(exchange, params)


@routes.post(ORDER + "batch-cancel-orders")
def batch_cancel_orders(exchange: Exchange, params: Params) -> Any:
    """Without a list: every open order of the symbol, without a symbol of the product type."""
    require_product(params)
    wanted = batch(params, "orderIdList")
    if wanted is not None:
        return each(wanted, lambda item: _cancel(exchange, item))
    symbol = params.text("symbol")
    return _cancel_all(exchange, exchange.market(symbol).symbol if symbol else None)


@routes.post(ORDER + "cancel-all-orders")
def cancel_all_orders(exchange: Exchange, params: Params) -> Any:
    """Every open order of the product type; trigger orders stay. A request that waited too long is not carried out."""
    require_product(params)
    asked_ms, window_ms = params.integer("requestTime"), params.integer("receiveWindow")
    if asked_ms is not None and window_ms is not None and exchange.now_ms - asked_ms > window_ms:
        raise Refusal("40008", "Request timestamp expired")
    return _cancel_all(exchange, None)


@routes.post(ORDER + "modify-order")
def modify_order(exchange: Exchange, params: Params) -> Any:
    """Price and size: cancel and re-create under a new client id; the new order's own id is learned from its push.

    Presets alone are changed in place: a price of 0, or one given without the other, takes the missing one away.
    """
    traded(exchange, params)
    venue = exchange.venue
    old = venue.check_cancel(order_id=params.text("orderId"), client_oid=params.text("clientOid"))
    size, price = params.number("newSize"), params.number("newPrice")
    target, stop = params.number("newPresetStopSurplusPrice"), params.number("newPresetStopLossPrice")
    presets = old.presets
    if target is not None or stop is not None:
        presets = Presets(stop_loss=stop or None, take_profit=target or None)
    if size is None and price is None:
        venue.check_presets(old, presets)

        def change(now_ms: int) -> None:
            venue.act_presets(old.order_id, presets, now_ms)

        exchange.schedule(old.client_oid, change)
        return _ids(old)
    if size is None or price is None:
        raise Refusal("40925", "Price and size must be passed in together")
    new_oid = params.text("newClientOid")
    request = venue.check_modify(old, size, price, new_oid, presets, exchange.now_ms)

    def replace(now_ms: int) -> None:
        venue.act_modify(old.order_id, request, now_ms)

    exchange.schedule(new_oid, replace)
    return {"orderId": old.order_id, "clientOid": new_oid}


@routes.post(ORDER + "close-positions")
def close_positions(exchange: Exchange, params: Params) -> Any:
    """Flash close of one symbol or of everything, in hedge mode of one side or of both."""
    require_product(params)
    symbol = params.text("symbol")
    name = exchange.market(symbol).symbol if symbol else None
    held = _held(exchange, name, params)
    if symbol and not held:
        raise Refusal("22002", "No position to close")

    def close(item: Params) -> Row:
        slot = cast(PosSide, item.text("posSide"))
        order = exchange.venue.check_close(item.text("symbol"), exchange.now_ms, pos_side=slot)
        _act_later(exchange, order)
        return {**_ids(order), "symbol": order.symbol}

    return each([Params({"symbol": p.symbol, "posSide": p.pos_side}) for p in held], close)


@routes.post(ORDER + "click-backhand")
def click_backhand(exchange: Exchange, params: Params) -> Any:
    """Close a position and open one of ``size`` (its own unless told) the other way."""
    symbol = traded(exchange, params)
    held = _held(exchange, symbol, params, "side")
    if not held:
        raise Refusal("22002", "No position to close")
    if len(held) > 1:
        raise Refusal("40019", "Parameter side cannot be empty")
    orders = exchange.venue.check_reverse(
        symbol,
        exchange.now_ms,
        qty=params.positive_or_none("size"),
        client_oid=params.text("clientOid"),
        pos_side=held[0].pos_side,
    )
    for order in orders:
        _act_later(exchange, order, named=orders[-1].client_oid)
    return _ids(orders[-1])


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
        presets=Presets(
            stop_loss=item.positive_or_none("presetStopLossPrice"),
            take_profit=item.positive_or_none("presetStopSurplusPrice"),
            stop_loss_limit=item.positive_or_none("presetStopLossExecutePrice"),
            take_profit_limit=item.positive_or_none("presetStopSurplusExecutePrice"),
        ),
        stp=cast(SelfTrade, item.choice("stpMode", ("none", "cancel_taker", "cancel_maker", "cancel_both"), "none")),
        trade_side=trade_side(item),
    )


def trade_side(params: Params) -> TradeSide:
    """``open``, ``close`` or absent."""
    return cast(TradeSide, params.choice("tradeSide", ("", "open", "close"), ""))


def each(items: list[Params], act: Callable[[Params], Row]) -> dict[str, list[Row]]:
    """Try every item; refusals are listed, not raised."""
    done: list[Row] = []
    failed: list[Row] = []
    for item in items:
        try:
            done.append(act(item))
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


def _place(exchange: Exchange, request: OrderRequest) -> Row:
    venue = exchange.venue
    older = [o.order_id for o in venue.open_orders(request.symbol) if o.reduce_only]
    order = venue.check(request, exchange.now_ms)
    _act_later(exchange, order)
    evicted = order.pos_side == "net" and not all(venue.order(order_id=order_id).open for order_id in older)
    return {**_ids(order), "orderId": None} if evicted else _ids(order)


def _act_later(exchange: Exchange, order: Order, *, named: str = "") -> None:
    def act(now_ms: int) -> None:
        exchange.venue.act(order.order_id, now_ms)

    exchange.schedule(named or order.client_oid, act)


def _cancel(exchange: Exchange, params: Params) -> Row:
    """Cancel the order that is named: an open one, and once a second (section 5.1)."""
    order = exchange.venue.check_cancel(order_id=params.text("orderId"), client_oid=params.text("clientOid"))
    if not exchange.may_cancel(order.order_id):
        raise Refusal("45129", "The same order may be canceled only once per second")
    return _cancel_later(exchange, order)


def _cancel_later(exchange: Exchange, order: Order) -> Row:
    """A cancel takes as long as its order did, so it never overtakes it."""

    def act(now_ms: int) -> None:
        exchange.venue.act_cancel(order.order_id, now_ms)

    exchange.schedule(order.client_oid, act)
    return _ids(order)


def _cancel_all(exchange: Exchange, symbol: str | None) -> Any:
    return {
        "successList": [_cancel_later(exchange, order) for order in exchange.venue.open_orders(symbol)],
        "failureList": [],
    }


def _held(exchange: Exchange, symbol: str | None, params: Params, name: str = "holdSide") -> list[Position]:
    """Open positions that a request means: all of the symbol, or of everything, of the side it names."""
    side = HOLD_SIDES.get(params.choice(name, ("", *HOLD_SIDES), ""))
    positions = [report.position for report in exchange.venue.positions()]
    return [p for p in positions if symbol in (None, p.symbol) and side in (None, p.side)]


def batch(params: Params, name: str) -> list[Params] | None:
    """The items of a list, None when there is no such member.

    An empty list is refused (40019). What the exchange makes of one is not known: were it "all orders", a client that
    has nothing to cancel would lose every order, and here it learns of its mistake instead.
    """
    items = params.rows(name)
    if items is not None and len(items) > MOST_PER_BATCH:
        raise Refusal("40912", f"Batch processing of {name} is limited to {MOST_PER_BATCH}")
    if items is not None and not items:
        raise Refusal("40019", f"Parameter {name} cannot be empty")
    return items


def _ids(order: Order) -> Row:
    return {"orderId": order.order_id, "clientOid": order.client_oid}
