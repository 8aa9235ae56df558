"""Time as it passes by itself: an exchange that waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic_ns
from typing import Any

import structlog

from tradebot.daemon.clock import WallClock
from tradebot.daemon.drive import Timekeeping
from tradebot.daemon.tasks import end, patiently
from tradebot.errors import RateLimited, Unavailable
from tradebot.events import ClockMeasured, Event
from tradebot.exchange.bitget.intake import Intake
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.shell.course import Course
from tradebot.shell.rows import ROW_GRACE_MS

log = structlog.get_logger(__name__)

TICK_S = 0.02
HOUSEKEEPING_S = 0.5
LONGEST_WAIT_S = 60.0
SAMPLES = 5
"""How often the exchange is asked for its time when nothing, or nothing right, is known of it."""
SAMPLE_EVERY_NS = 10_000_000_000
STEPPED = (
    "the exchange's time is not where it should be so long after the last question: its clock was set, or it does not "
    "run at real speed (an embedded exchange needs --speed 1); its new time is used"
)
TELL_FROM_MS = 20
"""Smaller changes of the clock's offset are of no interest to the engine."""


class WallDrive:
    """A drive by the exchange's real time, measured over ``rest`` every 10 s. ``put`` hears of the machine's clock."""

    lockstep = False
    reconcile_every_ms: int | None = 60_000
    row_grace_ms: int | None = ROW_GRACE_MS

    def __init__(self, rest: BitgetRest, put: Callable[[Event], None]) -> None:
        self.clock = WallClock()
        self.gate = Intake()
        self._rest = rest
        self._put = put
        self._next_sample_ns = 0
        self._told_ms = 0
        self._measuring: asyncio.Task[None] | None = None

    @property
    def time(self) -> Timekeeping:
        clock = self.clock
        return Timekeeping(clock.offset_ms, clock.error_ms, clock.drift_ppm, clock.steps)

    def signing_ms(self) -> int:
        return self.clock.now_ms()

    async def attach(self, stopping: asyncio.Event, *, returning: bool) -> None:
        """A bot that has traded before may hold a position: it waits for the exchange as long as it takes.

        (A first start with a wrong address ends at once, with the address in its message.)
        """
        pause_s = 1.0
        while returning and not stopping.is_set():
            try:
                await self._rest.server_time()
                return
            except (Unavailable, RateLimited) as error:
                log.warning("exchange_away", reason=str(error), again_in_s=pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause_s)
            pause_s = min(LONGEST_WAIT_S, 2 * pause_s)

    async def synchronise(self) -> int:
        await self.remeasure()
        self._told_ms = self.clock.offset_ms
        return self._told_ms

    async def remeasure(self) -> None:
        """Whoever asks while it is being done waits for the same answer."""
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure(SAMPLES), name="clock")
        await asyncio.shield(self._measuring)

    async def run(self, course: Course, streaming: asyncio.Task[None]) -> None:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._tick(course), name="timers"),
            asyncio.create_task(self._keep_durable(course), name="journal"),
            # each for itself: an endpoint that does not answer holds up nobody but who asked it
            asyncio.create_task(self._keep_up(self._keep_time), name="time"),
            *(asyncio.create_task(self._keep_up(chore.tick), name=type(chore).__name__) for chore in course.chores),
            asyncio.create_task(course.stopping.wait(), name="stop"),
        ]
        await asyncio.wait({*tasks, streaming}, return_when=asyncio.FIRST_COMPLETED)
        await end(*tasks)
        if streaming.done():
            streaming.result()

    async def close(self) -> None:
        return

    async def _tick(self, course: Course) -> None:
        while not course.over():
            now = self.clock.now_ms()
            for part in course.timed:
                due = part.next_due_ms()
                if due is not None and due <= now:
                    part.on_time()
            course.check()
            await asyncio.sleep(TICK_S)

    async def _keep_durable(self, course: Course) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            course.sync()

    async def _keep_up(self, tick: Callable[[], Awaitable[None]]) -> None:
        """What is not urgent: one thing, again and again."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            await patiently(tick)

    async def _keep_time(self) -> None:
        """Ask the exchange for its time now and then, and tell when the difference to the machine's clock changed."""
        try:
            if monotonic_ns() >= self._next_sample_ns:
                await self._measure(1)
        finally:
            offset = self.clock.offset_ms
            if abs(offset - self._told_ms) >= TELL_FROM_MS:
                self._told_ms = offset
                self._put(ClockMeasured(offset_ms=offset))

    async def _measure(self, samples: int) -> None:
        steps = self.clock.steps
        await measure(self.clock, self._rest, samples)
        self._next_sample_ns = monotonic_ns() + SAMPLE_EVERY_NS
        if self.clock.steps > steps:
            off, error = self.clock.offset_ms, round(self.clock.error_ms, 1)
            log.warning("clock_stepped", reason=STEPPED, offset_ms=off, error_ms=error)


async def measure(clock: WallClock, rest: BitgetRest, samples: int = SAMPLES) -> None:
    """Set ``clock`` by the exchange's, asked so often. Raises ExchangeError."""
    for _ in range(samples):
        sent_ns = monotonic_ns()
        exchange_ms = await rest.server_time()
        clock.measured(sent_ns, monotonic_ns(), exchange_ms)
