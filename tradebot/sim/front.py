"""The REST side of the socket: limits, authentication, parameters, envelope (protocol sections 2 to 5)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from tradebot.errors import TradebotError
from tradebot.matching.orders import OrderRefused
from tradebot.sim import (
    rest_account,
    rest_candles,
    rest_funding,
    rest_orders,
    rest_plans,
    rest_public,
    rest_records,
    rest_unified,
)
from tradebot.sim.auth import check_request
from tradebot.sim.params import Params
from tradebot.sim.routes import Routes
from tradebot.sim.throttle import RestThrottle, TooManyRequests
from tradebot.sim.wire import Refusal, decode, failure, success

if TYPE_CHECKING:
    from tradebot.sim.exchange import Exchange

ROUTES = Routes(
    rest_public.routes,
    rest_candles.routes,
    rest_funding.routes,
    rest_account.routes,
    rest_orders.routes,
    rest_records.routes,
    rest_plans.routes,
    rest_unified.routes,
)

CLASSIC = "/api/v2/"


class RestFront:
    """Answers every HTTP request that is no WebSocket handshake.

    ``throttle`` counts requests, None for no limits.
    """

    def __init__(self, exchange: Exchange, throttle: RestThrottle | None) -> None:
        self._exchange = exchange
        self._throttle = throttle

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The envelope for a request, or what a fault makes of it."""
        body = await request.read()
        return await self._exchange.faults.requests.answer(request, body, lambda: self._carry_out(request, body))

    def _carry_out(self, request: web.Request, body: bytes) -> web.Response:
        """Never raises for anything a client can send."""
        exchange = self._exchange
        headers = {"X-BG-REQUEST-ACCEPT-TIME": str(exchange.now_ms)}
        status, payload = 200, b""
        try:
            payload = success(self._data(request, body, headers), exchange.now_ms)
            if request.method == "POST":
                exchange.answered()
        except TooManyRequests as refusal:
            status = 429
            payload = b"" if refusal.silent else failure("429", "Too Many Requests", exchange.now_ms)
        except Refusal as refusal:
            status, payload = refusal.http, failure(refusal.code, refusal.message, exchange.now_ms)
        except OrderRefused as refused:
            status, payload = 400, failure(refused.code, str(refused), exchange.now_ms)
        except TradebotError as error:
            # a source that cannot answer is the exchange's own trouble
            status, payload = 500, failure("40725", f"service returned an error: {error}", exchange.now_ms)
        headers["X-BG-RESPONSE-COMPLETE-TIME"] = str(exchange.now_ms)
        kind = "application/json" if payload else None
        return web.Response(body=payload, status=status, content_type=kind, headers=headers)

    def _data(self, request: web.Request, body: bytes, headers: dict[str, str]) -> object:
        exchange = self._exchange
        address = request.remote or ""
        if self._throttle is not None:
            self._throttle.arrive(address, time.monotonic())
        route = ROUTES.table.get((request.method, request.path))
        if route is None:
            raise Refusal("40404", "Request URL NOT FOUND", http=404)
        if route.private:
            clocks = exchange.stamps_ms("rest")
            keys = exchange.credentials
            check_request(keys, request.headers, request.method, request.raw_path, body, clocks, address)
            if exchange.unified and request.path.startswith(CLASSIC):
                raise Refusal(
                    "40085",
                    "You are in Unified Account mode, and the Classic Account API is not supported at this time",
                )
        if self._throttle is not None:
            who = exchange.credentials.key if route.private else address
            left = self._throttle.admit(request.path, who, time.monotonic())
            headers["x-mbx-used-remain-limit"] = str(left)
        params = _params(request, body)
        exchange.faults.acts.check_prices(params)
        return route.endpoint(exchange, params)


def _params(request: web.Request, body: bytes) -> Params:
    if request.method == "GET":
        return Params(request.query)
    if body and request.content_type != "application/json":
        raise Refusal("40007", "Invalid Content_Type")
    try:
        values = decode(body) if body else {}
    except msgspec.DecodeError:
        values = None
    if not isinstance(values, dict):
        raise Refusal("40020", "Parameter body error")
    return Params(values)
