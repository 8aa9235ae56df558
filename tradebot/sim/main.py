"""The embedded exchange as a process: what ``tradebot sim`` runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from tradebot.ops.loop import new_event_loop
from tradebot.sim.auth import Credentials
from tradebot.sim.channels import BookFrames
from tradebot.sim.faults import Schedule
from tradebot.sim.limits import WireLimits
from tradebot.sim.market import open_market
from tradebot.sim.server import AccountKind, EmbeddedExchange, require_loopback
from tradebot.sim.wire import encode


@dataclass(frozen=True, slots=True)
class SimConfig:
    """What to simulate, and where to listen.

    ``market`` are files as :func:`tradebot.sim.market.open_market` takes them (none: a generated market), over
    ``for_ms`` from ``start_ms`` with ``history_days`` before it; ``book_interval_ms`` renews generated books that
    often, and ``break_days`` before the start they have their structural break (None: never). ``speed`` is exchange
    seconds per wall second, None for as fast as possible. ``cash`` is USDT. With ``hold`` time moves only while a paced
    client is attached. The last six are those of :class:`~tradebot.sim.server.EmbeddedExchange`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    market: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    speed: float | None = 1.0
    seed: int = 1
    cash: Decimal = Decimal(10_000)
    hold: bool = False
    start_ms: int | None = None
    for_ms: int | None = None
    history_days: int = 200
    book_interval_ms: int | None = None
    break_days: int | None = None
    credentials: Credentials = field(default_factory=Credentials)
    limits: WireLimits = field(default_factory=WireLimits)
    rate_limits: bool | None = None
    account: AccountKind = "classic"
    book_frames: BookFrames = "both"
    faults: Schedule | None = None


def open_exchange(config: SimConfig) -> EmbeddedExchange:
    """The exchange of a configuration, not started yet.

    Raises ConfigError for a host that is not loopback or a symbol without a market, DataError for unusable files.
    """
    require_loopback(config.host)
    sources = open_market(
        config.market,
        config.symbols,
        config.seed,
        for_ms=config.for_ms,
        history_days=config.history_days,
        start_ms=config.start_ms,
        book_interval_ms=config.book_interval_ms,
        break_days=config.break_days,
    )
    return EmbeddedExchange(
        sources,
        host=config.host,
        port=config.port,
        cash=config.cash,
        speed=config.speed,
        hold=config.hold,
        credentials=config.credentials,
        limits=config.limits,
        rate_limits=config.rate_limits,
        account=config.account,
        book_frames=config.book_frames,
        faults=config.faults,
    )


def run_sim(
    config: SimConfig, announce: Callable[[str], None] = print, conclude: Callable[[str], None] = lambda line: None
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code 0.

    When ready, ``announce`` gets exactly one line: ``{"rest":"http://127.0.0.1:PORT","ws":"ws://127.0.0.1:PORT"}``.
    When there were faults, ``conclude`` gets at the end how often each kind hit, and a line for each rule that did not.
    Raises ConfigError, DataError, or BusyError when the port is taken.
    """
    exchange = open_exchange(config)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(exchange, announce))
    faults = exchange.exchange.faults
    if counts := faults.injected():
        conclude("faults: " + ", ".join(f"{kind} of {scope} {n}" for (kind, scope), n in sorted(counts.items())))
    for why in faults.idle():
        conclude(f"warning: {why}")
    return 0


async def serve(exchange: EmbeddedExchange, announce: Callable[[str], None] = print) -> None:
    """Start, announce, serve until SIGTERM or SIGINT, stop. Raises what broke the market, if something did."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    rest, ws = await exchange.start()
    try:
        announce(encode({"rest": rest, "ws": ws}).decode())
        waiting = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(exchange.failed())]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for task in done:
            task.result()
    finally:
        await exchange.stop()
