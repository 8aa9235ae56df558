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


class Window:
    """At most ``capacity`` requests within any ``period`` seconds; ``reserve`` of them only for urgent ones."""

    def __init__(self, capacity: int, period: float, reserve: int) -> None:
        self._capacity = capacity
        self._period = period
        self._reserve = reserve
        self._taken: deque[float] = deque()
        self.rests_until = 0.0

    def wait(self, now: float, *, urgent: bool) -> float:
        """Seconds until a request may go; 0 counts it."""
        if now < self.rests_until:
            return self.rests_until - now
        taken = self._taken
        while taken and taken[0] <= now - self._period:
            taken.popleft()
        allowed = self._capacity - (0 if urgent else self._reserve)
        if len(taken) < allowed:
            taken.append(now)
            return 0.0
        return taken[len(taken) - allowed] + self._period - now


def window(per_second: float, *, reserve: float) -> Window:
    """The window for a published limit: a whole number of requests, at most ``SHARE`` of the limit on average."""
    used = per_second * SHARE
    capacity = max(1, int(used))
    return Window(capacity, capacity / used, int(reserve * capacity))


class RateBudget:
    """Makes requests wait so that no limit is reached, and longer after the exchange complained.

    After a 429 the endpoint rests 1 s, then 2, 4 … 30 s; three within 10 s rest it for 60 s.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, Window] = {}
        whole = int(PER_MINUTE * SHARE)
        self._all = Window(whole, 60.0, int(whole * RESERVE))
        self._trips: dict[str, deque[float]] = {}
        self._pauses: dict[str, float] = {}

    def wait(self, path: str, *, private: bool, urgent: bool = False) -> float:
        """Seconds until a request to ``path`` may go; 0 takes its place in the budget."""
        now = self._clock()
        own = self._windows.get(path)
        if own is None:
            own = self._windows[path] = window(PER_SECOND.get(path, 10.0), reserve=RESERVE if private else 0.0)
        return own.wait(now, urgent=urgent) or self._all.wait(now, urgent=urgent)

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
        if path in self._windows:
            self._windows[path].rests_until = now + pause
        return pause

    def succeeded(self, path: str) -> None:
        """The endpoint answered: its next pause starts small again."""
        self._pauses.pop(path, None)
