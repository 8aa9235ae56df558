"""How time passes for the bot: what a drive is asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from tradebot.exchange.bitget.gate import Gate
from tradebot.shell.clock import Clock
from tradebot.shell.course import Course


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
