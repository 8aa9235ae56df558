"""The exchange on a socket: one aiohttp application for REST, WebSocket and the paced clock, on loopback only."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from aiohttp import web

from tradebot.errors import BusyError, ConfigError
from tradebot.matching.venue import Venue
from tradebot.sim.auth import Credentials
from tradebot.sim.channels import BookFrames
from tradebot.sim.exchange import Exchange
from tradebot.sim.faults import Schedule
from tradebot.sim.faults.control import fault_control
from tradebot.sim.front import RestFront
from tradebot.sim.limits import WireLimits
from tradebot.sim.sockets import clock_socket, market_socket
from tradebot.sim.source import MarketSource
from tradebot.sim.throttle import Cancellations, Door, RestThrottle
from tradebot.sim.wire import encode

MAX_BODY_BYTES = 1 << 20

AccountKind = Literal["classic", "unified"]
"""Which interface serves the account: V2 (classic) or V3 (unified), protocol section 15."""


class EmbeddedExchange:
    """A Bitget-compatible exchange with one account, trading the markets of ``sources``.

    ``cash`` is USDT; ``speed`` is exchange seconds per wall second, None for as fast as possible; with ``hold`` time
    moves only while a paced client is attached. ``rest_url`` and ``ws_url`` are known once started.

    ``limits`` are the numbers of sections 4 and 10.1. Those of WebSocket connections always hold; REST requests are
    counted when ``rate_limits`` is true, by default where exchange time runs at the wall clock's pace (speed 1, not
    held): a client of a faster exchange asks more often by the wall clock than its market time lets it know. An
    ``account`` of kind unified is refused by the classic endpoints, so that a client can be seen to notice;
    ``book_frames`` chooses what book pushes carry against gaps.
    ``faults`` is what goes wrong, and when (:mod:`tradebot.sim.faults`)::

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
        limits: WireLimits | None = None,
        rate_limits: bool | None = None,
        account: AccountKind = "classic",
        book_frames: BookFrames = "both",
        faults: Schedule | None = None,
    ) -> None:
        require_loopback(host)
        self._limits = limits or WireLimits()
        self._rate_limits = rate_limits if rate_limits is not None else speed == 1.0 and not hold
        self._unified = account == "unified"
        self._book_frames = book_frames
        self._faults = faults
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
        exchange = Exchange(
            self._sources,
            venue,
            credentials=self._credentials,
            speed=self._speed,
            hold=self._hold,
            unified=self._unified,
            book_frames=self._book_frames,
            faults=self._faults,
            cancellations=Cancellations() if self._rate_limits else None,
        )
        application = _application(exchange, self._limits, rate_limits=self._rate_limits)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
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


def _application(exchange: Exchange, limits: WireLimits, *, rate_limits: bool) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    front = RestFront(exchange, RestThrottle(limits) if rate_limits else None)
    door = Door(limits)

    async def public(request: web.Request) -> web.StreamResponse:
        return await market_socket(request, exchange, door, limits, private=False)

    async def private(request: web.Request) -> web.StreamResponse:
        return await market_socket(request, exchange, door, limits, private=True)

    async def clock(request: web.Request) -> web.StreamResponse:
        return await clock_socket(request, exchange)

    async def market(request: web.Request) -> web.StreamResponse:
        return web.Response(body=encode(exchange.window()), content_type="application/json")

    app.router.add_get("/v2/ws/public", public)
    app.router.add_get("/v2/ws/private", private)
    app.router.add_get("/sim/clock", clock)
    app.router.add_get("/sim/market", market)
    app.router.add_get("/sim/faults", fault_control(exchange.faults))
    app.router.add_post("/sim/faults", fault_control(exchange.faults))
    app.router.add_route("*", "/{path:.*}", front.answer)
    return app
