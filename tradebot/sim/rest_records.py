"""Private REST endpoints that tell of orders and fills (protocol sections 8.6 to 8.10)."""

from __future__ import annotations

from typing import Any

from tradebot.matching.orders import Order
from tradebot.sim.exchange import Exchange
from tradebot.sim.paging import QUARTER, WEEK, Window, check_window, listed, paged
from tradebot.sim.params import Params
from tradebot.sim.rest_account import asked_symbol, traded
from tradebot.sim.routes import Routes
from tradebot.sim.rows_orders import fill_row, history_row, order_row

routes = Routes()
ORDER = "/api/v2/mix/order/"


@routes.get(ORDER + "detail", private=True)
def detail(exchange: Exchange, params: Params) -> Any:
    traded(exchange, params)
    order = exchange.venue.order(order_id=params.text("orderId"), client_oid=params.text("clientOid"))
    return order_row(order, "state")


@routes.get(ORDER + "orders-pending", private=True)
def orders_pending(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return listed("entrustedList", [], "")
    check_window(params, exchange.now_ms)
    page = _orders(exchange.venue.open_orders(asked_symbol(exchange, params)), params)
    return listed("entrustedList", [order_row(order) for order in page], page[-1].order_id if page else "")


@routes.get(ORDER + "orders-history", private=True)
def orders_history(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return listed("entrustedList", [], "")
    check_window(params, exchange.now_ms, QUARTER)
    source = params.lower("orderSource")
    past = exchange.venue.past_orders(asked_symbol(exchange, params))
    page = _orders([order for order in past if source in ("", order.source)], params)
    return listed("entrustedList", [history_row(order) for order in page], page[-1].order_id if page else "")


@routes.get(ORDER + "fills", private=True)
def fills(exchange: Exchange, params: Params) -> Any:
    return _fills(exchange, params, QUARTER)


@routes.get(ORDER + "fill-history", private=True)
def fill_history(exchange: Exchange, params: Params) -> Any:
    return _fills(exchange, params, WEEK)


def _fills(exchange: Exchange, params: Params, window: Window) -> Any:
    if not params.product_is_ours():
        return listed("fillList", [], "")
    check_window(params, exchange.now_ms, window)
    order_id = params.text("orderId")
    symbol = asked_symbol(exchange, params)
    executions = [e for e in exchange.venue.executions(symbol) if order_id in ("", e.order_id)]
    page = paged(executions, params, lambda e: e.trade_id, lambda e: e.ts_ms)
    return listed("fillList", [fill_row(e) for e in page], page[-1].trade_id if page else "")


def _orders(orders: list[Order], params: Params) -> list[Order]:
    order_id, client_oid, status = params.text("orderId"), params.text("clientOid"), params.lower("status")
    chosen = [
        order
        for order in orders
        if order_id in ("", order.order_id) and client_oid in ("", order.client_oid) and status in ("", order.status)
    ]
    return paged(chosen, params, lambda order: order.order_id, lambda order: order.created_ms)
