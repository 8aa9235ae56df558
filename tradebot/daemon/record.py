"""``tradebot record``: the market data side of the bot alone. No strategy, no account, no key."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from tradebot.daemon.market import MarketSide
from tradebot.daemon.recording import Recording
from tradebot.daemon.tasks import end
from tradebot.data.recorder.raw import RawLog
from tradebot.events import Event
from tradebot.market.candle import INTERVAL_MS
from tradebot.ops.loop import run_loop
from tradebot.settings import Settings
from tradebot.shell.clock import Clock
from tradebot.shell.course import Course

log = structlog.get_logger(__name__)

SHOW_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Shown:
    """How far a recording is. ``left_ms`` is None when it has no end of its own."""

    records: int
    lost: int
    failure: str
    left_ms: int | None


def run_record(settings: Settings, *, for_ms: int | None, show: Callable[[Shown], None]) -> RawLog:
    """Record ``settings.symbols`` until Ctrl-C, SIGTERM or ``for_ms`` of the exchange's time; ``show`` is told of it.

    Returns the raw files, closed. Raises BusyError when something else records there, ConfigError for a symbol the
    exchange does not have, ExchangeError when it is not reachable at the start.
    """
    return run_loop(_until_told(settings, for_ms, show))


async def _until_told(settings: Settings, for_ms: int | None, show: Callable[[Shown], None]) -> RawLog:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    return await record(settings, stopping, for_ms=for_ms, show=show)


async def record(
    settings: Settings, stopping: asyncio.Event, *, for_ms: int | None, show: Callable[[Shown], None]
) -> RawLog:
    """As :func:`run_record`, until ``stopping`` is set."""

    def put(event: Event) -> None:
        recording.recorder(0, clock.now_ms(), event)

    market = MarketSide(settings, put)
    clock, drive, feed = market.clock, market.drive, market.feed
    recording = Recording(settings, settings.symbols, clock)
    stream = market.connect([feed, *recording.listeners])

    def check() -> None:
        if feed.failure is not None:
            raise feed.failure

    async with AsyncExitStack() as parts:  # last in, first closed
        parts.push_async_callback(market.rest.close)
        parts.push_async_callback(drive.close)
        parts.push_async_callback(recording.close)
        await drive.attach(stopping, returning=False)
        await drive.synchronise()
        await market.contracts.load()
        recording.start()
        for venue in market.venues:
            venue.start()
            parts.push_async_callback(venue.close)
        now = clock.now_ms()
        bar = INTERVAL_MS[settings.trading.interval]
        last = now // bar * bar - bar
        for symbol in settings.symbols:
            for candle in await market.history.candles(symbol, last, last):
                feed.start_after(symbol, candle)
        parts.push_async_callback(feed.close)
        parts.push_async_callback(market.leave)
        streaming = await market.start()
        stop_at_ms = None if for_ms is None else now + for_ms
        showing = asyncio.create_task(_show(recording.log, clock, stop_at_ms, show), name="progress")
        parts.push_async_callback(end, showing)
        course = Course(
            timed=[stream, feed, *market.venues],
            chores=[*recording.chores, market.contracts],
            settle=feed.settled,
            check=check,
            sync=lambda: None,
            clock=clock,
            stopping=stopping,
            stop_at_ms=stop_at_ms,
        )
        await drive.run(course, streaming)
    return recording.log


async def _show(kept: RawLog, clock: Clock, stop_at_ms: int | None, show: Callable[[Shown], None]) -> None:
    while True:
        await asyncio.sleep(SHOW_EVERY_S)
        left_ms = None if stop_at_ms is None else max(stop_at_ms - clock.now_ms(), 0)
        show(Shown(kept.records, kept.lost, kept.failure, left_ms))
