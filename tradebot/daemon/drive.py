"""How time passes for the bot: what any drive keeps going, and what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tradebot.exchange.bitget.gate import Gate
from tradebot.shell.clock import Clock


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
    """What a drive keeps going until the run is over.

    ``settle`` returns when all commands are answered and nothing is left to ask. ``check`` raises what failed in a
    part that nobody waits for. ``sync`` makes the journal durable.
    """

    timed: Sequence[Timed]
    chores: Sequence[Chore]
    settle: Callable[[], Awaitable[None]]
    check: Callable[[], None]
    sync: Callable[[], None]
    clock: Clock
    stopping: asyncio.Event
    stop_at_ms: int | None

    def over(self) -> bool:
        """Whether the run was asked to end, or its time is up."""
        return self.stopping.is_set() or (self.stop_at_ms is not None and self.clock.now_ms() >= self.stop_at_ms)

    def next_due_ms(self) -> int | None:
        """The earliest moment at which any part has something to do, or the run ends."""
        parts: list[Timed | Chore] = [*self.timed, *self.chores]
        moments = [self.stop_at_ms, *(part.next_due_ms() for part in parts)]
        return min((m for m in moments if m is not None), default=None)


@dataclass(frozen=True, slots=True)
class Timekeeping:
    """``offset_ms``: the exchange's clock minus this machine's. ``error_ms``: how far off the bot's time may be.
    ``drift_ppm``: how much faster the exchange's clock runs. ``steps``: how often one of the clocks was set."""

    offset_ms: int = 0
    error_ms: float = 0.0
    drift_ppm: float = 0.0
    steps: int = 0


class Drive(Protocol):
    """Chosen once, by the composition root. ``clock`` is the bot's clock.

    ``lockstep``: the exchange waits for the bot, so everything must happen in an order that no machine's speed can
    change. ``reconcile_every_ms``: how often the account is looked at as a whole;
    None: when there is a reason only. ``row_grace_ms``: how long after its boundary the clock seals a row of the grid;
    None: an exchange that waits must not be woken up for that.
    """

    lockstep: bool
    reconcile_every_ms: int | None
    row_grace_ms: int | None

    @property
    def clock(self) -> Clock: ...

    @property
    def time(self) -> Timekeeping:
        """How well the exchange's time is known."""

    @property
    def gate(self) -> Gate:
        """When frames of the exchange are handled."""

    def signing_ms(self) -> int:
        """The exchange's time, for what is signed."""

    async def attach(self, stopping: asyncio.Event, *, returning: bool) -> None:
        """Reach the exchange; ``returning``: this bot has traded before. Raises Unavailable."""

    async def synchronise(self) -> int:
        """Set the clock by the exchange. Returns its offset from this machine's clock, ms. Raises ExchangeError."""

    async def remeasure(self) -> None:
        """The exchange refused the time that something was signed with: look again what it is. Raises ExchangeError."""

    async def run(self, course: Course, streaming: asyncio.Task[None]) -> None:
        """Keep ``course`` going until it is over, or ``streaming`` failed. Raises what ended it."""

    async def close(self) -> None: ...
