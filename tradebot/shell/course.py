"""What a run keeps going, and one step of it where the exchange waits for the bot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tradebot.shell.clock import Clock

Work = Callable[[], Awaitable[None]]


class Timed(Protocol):
    """A part that acts at moments of the bot's clock, at once."""

    def next_due_ms(self) -> int | None:
        """The next moment at which ``on_time`` has something to do; None: nothing is planned."""

    def on_time(self) -> None:
        """Do what is due."""


class Chore(Protocol):
    """A part that asks the exchange or another process now and then, and waits for the answer."""

    def next_due_ms(self) -> int | None:
        """The next moment at which ``tick`` has something to do; None: nothing is planned."""

    async def tick(self) -> None:
        """Do what is due, if anything is. Raises ExchangeError while the exchange is away."""


@dataclass(frozen=True, slots=True)
class Course:
    """What is kept going until the run is over.

    ``settle`` returns when all commands are answered and nothing is left to ask. ``check`` raises what failed in a
    part that nobody waits for. ``sync`` makes the log durable, where it is kept. ``clock``: the bot's. ``stopping``:
    the run was asked to end; ``stop_at_ms``: it ends by itself.
    """

    timed: Sequence[Timed]
    chores: Sequence[Chore]
    settle: Callable[[], Awaitable[None]]
    check: Callable[[], None]
    clock: Clock
    stop_at_ms: int | None
    sync: Callable[[], None] = lambda: None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def over(self) -> bool:
        """Whether the run was asked to end, or its time is up."""
        return self.stopping.is_set() or (self.stop_at_ms is not None and self.clock.now_ms() >= self.stop_at_ms)

    def next_due_ms(self) -> int | None:
        """The earliest moment at which any part has something to do, or the run ends."""
        return min(self.moments(), default=None)

    def moments(self) -> Iterator[int]:
        """When each part has something to do, and the end of the run; they may lie in the past."""
        parts: list[Timed | Chore] = [*self.timed, *self.chores]
        if self.stop_at_ms is not None:
            yield self.stop_at_ms
        for part in parts:
            due_ms = part.next_due_ms()
            if due_ms is not None:
                yield due_ms


async def at_once(work: Work) -> None:
    """Do it; whatever it raises ends the run."""
    await work()


async def take_step(course: Course, now_ms: int, do: Callable[[Work], Awaitable[None]] = at_once) -> None:
    """Everything that is to be done at ``now_ms``, when the bot's clock stands there and what the exchange sent is in:
    what that asks for, then each timed part, then each chore, each followed by what it caused.

    ``do`` does what talks to the exchange, and decides what may end the run. Raises what ``course.check`` does. An
    exchange that waits for nobody is never at a step: there (``daemon/wall.py``) every part runs for itself.
    """
    await do(course.settle)
    for part in course.timed:
        if _due(part.next_due_ms(), now_ms):
            part.on_time()
            await do(course.settle)
    course.check()
    for chore in course.chores:
        if _due(chore.next_due_ms(), now_ms) and not course.over():
            await do(chore.tick)
            await do(course.settle)


def _due(moment: int | None, now_ms: int) -> bool:
    return moment is not None and moment <= now_ms
