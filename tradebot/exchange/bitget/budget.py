"""Staying below the exchange's request limits (protocol section 4)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

SHARE = 0.8
"""Part of each published limit that is used."""

RESERVE = 0.3
"""Part of each private budget kept for cancelling, stopping and closing."""

PER_MINUTE = 6_000
"""Requests per address over all endpoints."""

PER_SECOND: dict[str, float] = {
    "/api/v2/public/time": 20,
    "/api/v2/mix/market/contracts": 20,
    "/api/v2/mix/market/ticker": 20,
    "/api/v2/mix/market/candles": 20,
    "/api/v2/mix/market/history-candles": 20,
    "/api/v2/mix/position/all-position": 5,
    "/api/v2/mix/account/set-leverage": 5,
    "/api/v2/mix/account/set-margin-mode": 5,
    "/api/v2/mix/account/set-position-mode": 5,
    "/api/v2/mix/order/close-positions": 1,
}
"""Published limits; endpoints not listed have 10 requests a second."""

TRIP_WINDOW_S = 10.0
TRIP_PAUSE_S = 60.0
LONGEST_PAUSE_S = 30.0


class Bucket:
    """A token bucket that holds one second's worth. ``reserve`` tokens are left to urgent requests."""

    def __init__(self, per_second: float, *, reserve: float, now: float) -> None:
        self.rate = per_second * SHARE
        self.size = max(1.0, self.rate)
        self.reserve = float(int(reserve * self.size))
        self._tokens = self.size
        self._at = now
        self.blocked_until = 0.0

    def wait(self, now: float, *, urgent: bool) -> float:
        """Seconds until a request may go; 0 takes the token."""
        if now < self.blocked_until:
            return self.blocked_until - now
        self._tokens = min(self.size, self._tokens + (now - self._at) * self.rate)
        self._at = now
        needed = 1.0 if urgent else 1.0 + self.reserve
        # the refill is a floating-point sum: without the tolerance a waiter may sleep for nothing again and again
        if self._tokens >= needed - 1e-9:
            self._tokens -= 1.0
            return 0.0
        return (needed - self._tokens) / self.rate


class RateBudget:
    """Makes requests wait so that no limit is reached, and longer after the exchange complained.

    After a 429 the endpoint rests 1 s, then 2, 4 … 30 s; three within 10 s rest it for 60 s.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._all = Bucket(PER_MINUTE / 60, reserve=RESERVE, now=clock())
        self._trips: dict[str, deque[float]] = {}
        self._pauses: dict[str, float] = {}

    def wait(self, path: str, *, private: bool, urgent: bool = False) -> float:
        """Seconds until a request to ``path`` may go; 0 takes its place in the budget."""
        now = self._clock()
        bucket = self._buckets.get(path)
        if bucket is None:
            reserve = RESERVE if private else 0.0
            bucket = self._buckets[path] = Bucket(PER_SECOND.get(path, 10.0), reserve=reserve, now=now)
        return bucket.wait(now, urgent=urgent) or self._all.wait(now, urgent=urgent)

    async def acquire(self, path: str, *, private: bool, urgent: bool = False) -> None:
        """Return when a request to ``path`` may go."""
        wait = self.wait(path, private=private, urgent=urgent)
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self.wait(path, private=private, urgent=urgent)

    def refused(self, path: str) -> float:
        """The exchange answered 429: rest the endpoint. Returns the seconds."""
        now = self._clock()
        trips = self._trips.setdefault(path, deque(maxlen=3))
        trips.append(now)
        if len(trips) == 3 and now - trips[0] <= TRIP_WINDOW_S:
            pause = TRIP_PAUSE_S
        else:
            pause = min(LONGEST_PAUSE_S, 2 * self._pauses.get(path, 0.5))
        self._pauses[path] = pause
        if path in self._buckets:
            self._buckets[path].blocked_until = now + pause
        return pause

    def succeeded(self, path: str) -> None:
        """The endpoint answered: its next pause starts small again."""
        self._pauses.pop(path, None)
