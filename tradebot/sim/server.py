"""The exchange on a socket: one aiohttp application for REST, WebSocket and the paced clock, on loopback only."""

from __future__ import annotations

import errno
import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

import msgspec
from aiohttp import web

from tradebot.errors import BusyError, ConfigError, TradebotError
from tradebot.matching.orders import OrderRefused
from tradebot.matching.venue import Venue
from tradebot.sim import rest_account, rest_orders, rest_plans, rest_public
from tradebot.sim.auth import Credentials, check_request
from tradebot.sim.exchange import Exchange
from tradebot.sim.params import Params
from tradebot.sim.routes import Routes
from tradebot.sim.sockets import clock_socket, market_socket
from tradebot.sim.source import MarketSource
from tradebot.sim.wire import Refusal, decode, encode, failure, success

MAX_BODY_BYTES = 1 << 20

ROUTES = Routes(rest_public.routes, rest_account.routes, rest_orders.routes, rest_plans.routes)


class EmbeddedExchange:
    """A Bitget-compatible exchange with one account, trading the markets of ``sources``.

    ``cash`` is USDT; ``speed`` is exchange seconds per wall second, None for as fast as possible; with ``hold`` time
    moves only while a paced client is attached. ``rest_url`` and ``ws_url`` are known once started::

        async with EmbeddedExchange(sources) as exchange:
            print(exchange.rest_url, exchange.ws_url)
    """

    def __init__(
        self,
        sources: Sequence[MarketSource],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        cash: Decimal = Decimal(10_000),
        speed: float | None = None,
        hold: bool = False,
        credentials: Credentials | None = None,
    ) -> None:
        require_loopback(host)
        self._host = host
        self._port = port
        self._sources = sources
        self._cash = cash
        self._speed = speed
        self._hold = hold
        self._credentials = credentials
        self._runner: web.AppRunner | None = None
        self._exchange: Exchange | None = None
        self.rest_url = ""
        self.ws_url = ""

    @property
    def exchange(self) -> Exchange:
        """The exchange behind the socket. Only after :meth:`start`."""
        if self._exchange is None:
            raise RuntimeError("the exchange has not been started")
        return self._exchange

    async def start(self) -> tuple[str, str]:
        """Listen and let time begin; returns the REST and WebSocket addresses.

        Raises BusyError when the port is taken, ConfigError when the address cannot be used.
        """
        venue = Venue([source.instrument for source in self._sources], self._cash)
        exchange = Exchange(self._sources, venue, credentials=self._credentials, speed=self._speed, hold=self._hold)
        runner = web.AppRunner(_application(exchange), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                message = f"port {self._port} on {self._host} is in use: choose another one, or 0 for any free one"
                raise BusyError(message) from None
            raise ConfigError(f"cannot listen on {self._host}:{self._port}: {error.strerror or error}") from None
        port = runner.addresses[0][1]
        name = f"[{self._host}]" if ":" in self._host else self._host
        self.rest_url, self.ws_url = f"http://{name}:{port}", f"ws://{name}:{port}"
        self._runner, self._exchange = runner, exchange
        exchange.clock.start()
        return self.rest_url, self.ws_url

    async def stop(self) -> None:
        """Close every connection and the port. Does nothing when not started."""
        if self._runner is None or self._exchange is None:
            return
        self._exchange.clock.stop()
        self._exchange.hub.abort_all()
        await self._runner.cleanup()
        self._runner = None

    async def failed(self) -> None:
        """Return never while all is well; raise what broke the market (a source with unusable data, for one)."""
        clock = self.exchange.clock
        await clock.failed.wait()
        error = clock.failure
        raise error if error is not None else RuntimeError("the exchange clock stopped")

    async def __aenter__(self) -> EmbeddedExchange:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


def require_loopback(host: str) -> None:
    """Raises ConfigError for an address that other machines can reach."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(f"the embedded exchange listens on loopback only: use host 127.0.0.1, not {host}")


def _application(exchange: Exchange) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES)

    async def public(request: web.Request) -> web.StreamResponse:
        return await market_socket(request, exchange, private=False)

    async def private(request: web.Request) -> web.StreamResponse:
        return await market_socket(request, exchange, private=True)

    async def clock(request: web.Request) -> web.StreamResponse:
        return await clock_socket(request, exchange)

    async def market(request: web.Request) -> web.StreamResponse:
        return web.Response(body=encode(exchange.window()), content_type="application/json")

    app.router.add_get("/v2/ws/public", public)
    app.router.add_get("/v2/ws/private", private)
    app.router.add_get("/sim/clock", clock)
    app.router.add_get("/sim/market", market)
    app.router.add_route("*", "/{path:.*}", _rest(exchange))
    return app


def _rest(exchange: Exchange) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
            status, payload = 200, success(_data(exchange, request, body), exchange.now_ms)
            if request.method == "POST":
                exchange.answered()
        except Refusal as refusal:
            status, payload = refusal.http, failure(refusal.code, refusal.message, exchange.now_ms)
        except OrderRefused as refused:
            status, payload = 400, failure(refused.code, str(refused), exchange.now_ms)
        except TradebotError as error:
            # a source that cannot answer is the exchange's own trouble
            status, payload = 500, failure("40725", f"service returned an error: {error}", exchange.now_ms)
        return web.Response(body=payload, status=status, content_type="application/json")

    return answer


def _data(exchange: Exchange, request: web.Request, body: bytes) -> object:
    route = ROUTES.table.get((request.method, request.path))
    if route is None:
        raise Refusal("40404", "Request URL NOT FOUND", http=404)
    if route.private:
        clocks = (exchange.now_ms, int(time.time() * 1000))
        check_request(exchange.credentials, request.headers, request.method, request.raw_path, body, clocks)
    if request.method == "GET":
        return route.endpoint(exchange, Params(request.query))
    try:
        values = decode(body) if body else {}
    except msgspec.DecodeError:
        values = None
    if not isinstance(values, dict):
        raise Refusal("40020", "Parameter body error")
    return route.endpoint(exchange, Params(values))
