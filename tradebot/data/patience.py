"""Asking a venue that may be busy or away: again and again, with pauses, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tradebot.errors import RateLimited, Unavailable

PATIENCE_S = 600.0
"""A question that keeps being refused for this long is given up."""
LONGEST_PAUSE_S = 60.0

Answer = TypeVar("Answer")


class GaveUp(Unavailable):
    """One question stayed unanswered while others were answered: what it was for is left out, the rest goes on."""


class Patience:
    """Asks with at most ``workers`` questions in flight, waiting 1, 2, 4 … 60 s after a refusal.

    ``waiting`` is told of every pause. ``asked`` and ``answered`` count. Raises ``GaveUp`` for a question given up
    while others were answered, and what it was refused with when nothing was.
    """

    def __init__(
        self,
        workers: int,
        *,
        waiting: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.asked = self.answered = 0
        self._slots = asyncio.Semaphore(workers)
        self._waiting, self._sleep = waiting, sleep

    async def __call__(self, ask: Callable[..., Awaitable[Answer]], *arguments: object) -> Answer:
        """The answer to ``ask(*arguments)``."""
        pause, waited, before = 1.0, 0.0, self.answered
        while True:
            async with self._slots:
                self.asked += 1
                try:
                    answer = await ask(*arguments)
                except (RateLimited, Unavailable) as error:
                    if waited >= PATIENCE_S:
                        if self.answered > before:
                            raise GaveUp(f"{error}; given up after {waited / 60:.0f} minutes") from error
                        raise
                    self._waiting(f"{error}; going on in {pause:.0f} s")
                else:
                    self.answered += 1
                    return answer
            await self._sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_PAUSE_S)
