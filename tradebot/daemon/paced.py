"""Time as the embedded exchange hands it out, step by step: everything a step causes is done before the next one."""

from __future__ import annotations

import asyncio

from tradebot.daemon.drive import Timekeeping
from tradebot.daemon.pacer import Pacer
from tradebot.daemon.tasks import end, patiently
from tradebot.exchange.bitget.gate import PacedGate
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.shell.clock import PacedClock
from tradebot.shell.course import Course, take_step

LAST_STEP_S = 5.0


class PacedDrive:
    """A drive in lockstep with the exchange whose clock is at ``url``; ``rest`` says what time it wants signed."""

    lockstep = True
    reconcile_every_ms: int | None = None
    row_grace_ms: int | None = None

    def __init__(self, url: str, rest: BitgetRest) -> None:
        self.clock = PacedClock()
        self._rest = rest
        self._skew_ms = 0
        self.gate = PacedGate()
        self._pacer = Pacer(url)

    @property
    def time(self) -> Timekeeping:
        """The exchange's own, exactly."""
        return Timekeeping()

    def signing_ms(self) -> int:
        return self.clock.now_ms() + self._skew_ms

    async def attach(self, stopping: asyncio.Event, *, returning: bool) -> None:
        self.clock.advance(await self._pacer.attach())

    async def synchronise(self) -> int:
        return 0

    async def remeasure(self) -> None:
        """Steps are the exchange's own time, but what checks signatures there may go by another clock."""
        self._skew_ms = await self._rest.server_time() - self.clock.now_ms()

    async def run(self, course: Course, streaming: asyncio.Task[None]) -> None:
        async def step(ts_ms: int, counts: dict[str, int]) -> int | None:
            return await self._step(course, ts_ms, counts)

        pacer = self._pacer
        steps = asyncio.create_task(pacer.run(step, course.over), name="pacer")
        stop = asyncio.create_task(course.stopping.wait(), name="stop")
        await asyncio.wait({steps, stop, streaming}, return_when=asyncio.FIRST_COMPLETED)
        if not (steps.done() or streaming.done() or pacer.waiting):
            await asyncio.wait({steps}, timeout=LAST_STEP_S)  # the step in hand: nothing is left half done
        await end(stop, steps)
        if streaming.done():
            streaming.result()

    async def close(self) -> None:
        await self._pacer.close()

    async def _step(self, course: Course, ts_ms: int, counts: dict[str, int]) -> int | None:
        self.clock.advance(ts_ms)
        await self.gate.reach(counts, ts_ms)
        await take_step(course, ts_ms, patiently)
        return course.next_due_ms()
