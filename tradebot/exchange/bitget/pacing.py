"""When a connection may try again: back-off, and what the exchange allows one address (protocol section 10.1)."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of monotonic time; none of it follows the exchange's clock.

    ``refused``: how long a refused public channel is let be. ``messages_per_second``: the exchange disconnects above
    10, pings included. ``subscribes_per_hour``: it allows a connection 240 subscribe requests; one that has used ours
    up is replaced by a fresh one.
    """

    ping: float = 30.0
    pong: float = 15.0
    ack: float = 10.0
    open: float = 10.0
    refused: float = 60.0
    stable: float = 60.0
    first_wait: float = 1.0
    longest_wait: float = 30.0
    messages_per_second: int = 8
    subscribes_per_hour: int = 200


class Backoff:
    """Waits between attempts: none, then doubling from ``first`` to ``longest``, each cut by up to half at random."""

    def __init__(self, rng: random.Random, first: float = 1.0, longest: float = 30.0) -> None:
        self._rng = rng
        self._first = first
        self._longest = longest
        self.attempts = 0

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        attempt, self.attempts = self.attempts, self.attempts + 1
        if attempt == 0:
            return 0.0
        return float(min(self._longest, self._first * 2 ** min(attempt - 1, 16)) * self._rng.uniform(0.5, 1.0))

    def reset(self) -> None:
        self.attempts = 0


class Allowance:
    """At most ``count`` deeds in any ``window_s`` seconds."""

    def __init__(self, count: int, window_s: float, now: Callable[[], float] = monotonic) -> None:
        self._window_s = window_s
        self._now = now
        self._done: deque[float] = deque(maxlen=count)

    def wait_s(self) -> float:
        """How long until one more is allowed; 0 when it is."""
        if len(self._done) < (self._done.maxlen or 0):
            return 0.0
        return max(0.0, self._done[0] + self._window_s - self._now())

    def take(self) -> None:
        """Count one."""
        self._done.append(self._now())


class Attempts:
    """Connection attempts of this address: one after the other, ``spacing_s`` apart, within an allowance."""

    def __init__(self, allowance: Allowance, spacing_s: float) -> None:
        self._allowance = allowance
        self._spacing_s = spacing_s
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until one more attempt may be made."""
        async with self._turn:
            if (wait := self._allowance.wait_s()) > 0:
                await asyncio.sleep(wait)
            self._allowance.take()
            await asyncio.sleep(self._spacing_s)
