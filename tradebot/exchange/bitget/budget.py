"""Staying below the exchange's request limits (protocol section 4)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import ceil, inf
from time import monotonic

from tradebot.errors import RateLimited
from tradebot.exchange.bitget.naming import ACCOUNT, MARKET, ORDER, POSITION

SHARE = 0.8
"""Part of each published limit that is used."""

RESERVE = 0.3
"""Part of each budget of the account, and of all requests, kept for cancelling, stopping and closing."""

PER_MINUTE = 6_000
"""Requests per address over all endpoints."""


def _limits(per_second: int, base: str, names: str) -> dict[str, int]:
    return {base + name: per_second for name in names.split()}


PER_SECOND: dict[str, int] = {
    **_limits(20, "/api/v2/public/", "time"),
    **_limits(20, MARKET, "contracts ticker tickers merge-depth candles history-candles fills current-fund-rate"),
    **_limits(20, MARKET, "history-fund-rate funding-time open-interest symbol-price"),
    **_limits(20, MARKET, "history-mark-candles history-index-candles"),
    **_limits(10, MARKET, "fills-history query-position-lever"),
    **_limits(10, ORDER, "place-order modify-order cancel-order batch-cancel-orders cancel-all-orders detail"),
    **_limits(10, ORDER, "orders-pending orders-history fills fill-history click-backhand"),
    **_limits(10, ORDER, "place-tpsl-order place-pos-tpsl place-plan-order modify-tpsl-order modify-plan-order"),
    **_limits(10, ORDER, "cancel-plan-order orders-plan-pending orders-plan-history"),
    **_limits(10, ACCOUNT, "account accounts bill"),
    **_limits(10, POSITION, "single-position"),
    **_limits(10, "/api/v2/common/", "trade-rate"),
    **_limits(20, POSITION, "history-position"),
    **_limits(20, ACCOUNT, "max-open"),
    **_limits(5, POSITION, "all-position"),
    **_limits(5, ORDER, "batch-place-order"),
    **_limits(5, ACCOUNT, "set-leverage set-margin-mode set-position-mode set-margin"),
    **_limits(2, ACCOUNT, "set-asset-mode"),
    **_limits(1, ORDER, "close-positions"),
}
"""Published limits, requests a second."""

UNLISTED_PER_SECOND = 10
"""For endpoints without a published limit."""

TRIPS = 3
TRIP_WINDOW_S = 10.0
TRIP_PAUSE_S = 60.0
LONGEST_PAUSE_S = 30.0
LONGEST_URGENT_PAUSE_S = 2.0


BURST_PART = 8
"""One in so many requests of a budget may go together with the one before it."""

TINY_S = 1e-9
"""Less than this to wait is rounding."""


class Window:
    """At most ``capacity`` requests within any ``period`` seconds; ``reserve`` of them only for urgent ones.

    Of requests that could go at once no more than ``burst`` do, the others follow one by one, spread over the period:
    a whole period's worth, delayed on its way, would meet the next one's at the exchange.
    """

    def __init__(self, capacity: int, period: float, reserve: int, burst: int) -> None:
        self._capacity = capacity
        self._period = period
        self._reserve = reserve
        self._spacing = period / capacity
        self._ahead = (burst - 1) * self._spacing
        self._due = float("-inf")
        self._taken: deque[float] = deque()
        self._rests_until = 0.0
        self._rests_the_urgent_until = 0.0

    def rest(self, now: float, pause: float) -> None:
        """Let nothing go for ``pause`` seconds from ``now``; what is urgent waits 2 s at most."""
        self._rests_until = now + pause
        self._rests_the_urgent_until = now + min(pause, LONGEST_URGENT_PAUSE_S)

    def rest_left(self, now: float, *, urgent: bool) -> float:
        """Seconds for which nothing goes yet."""
        return (self._rests_the_urgent_until if urgent else self._rests_until) - now

    def wait(self, now: float, *, urgent: bool) -> float:
        """Seconds until a request may go."""
        taken = self._taken
        while taken and taken[0] <= now - self._period:
            taken.popleft()
        allowed = self._capacity - (0 if urgent else self._reserve)
        room = taken[len(taken) - allowed] + self._period if len(taken) >= allowed else now
        wait = max(room - now, self.rest_left(now, urgent=urgent), self._due - self._ahead - now)
        return wait if wait > TINY_S else 0.0

    def take(self, now: float) -> None:
        """Count a request that goes now."""
        self._taken.append(now)
        self._due = max(self._due, now) + self._spacing


def window(per_second: float, *, reserve: float) -> Window:
    """The window for a published limit: a whole number of requests, at most ``SHARE`` of the limit on average. What is
    not reserved is at least one request."""
    used = per_second * SHARE
    capacity = max(1, int(used))
    burst = max(1, capacity // BURST_PART)
    return Window(capacity, capacity / used, min(capacity - 1, ceil(reserve * capacity)), burst)


class RateBudget:
    """Makes requests wait so that no limit is reached, and longer after the exchange complained.

    After a 429 the endpoint rests 1 s, then 2, 4 … 30 s; three complaints within 10 s rest all endpoints of the class
    (public ones count per address, private ones per account) for 60 s. Urgent requests wait for their own endpoint
    only, and 2 s at most: a position without a stop is worse than another 429. Complaints about requests that were on
    their way when the rest began are no new ones.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, Window] = {}
        whole = int(PER_MINUTE * SHARE)
        self._all = Window(whole, 60.0, ceil(whole * RESERVE), whole)
        self._trips: dict[bool, deque[float]] = {}
        self._pauses: dict[str, float] = {}
        self._complained: dict[str, float] = {}
        """When each endpoint's present rest began."""
        self._class_rests_until: dict[bool, float] = {}

    def wait(self, path: str, *, private: bool, urgent: bool = False) -> float:
        """Seconds until a request to ``path`` may go; 0 takes its place in the budget."""
        now = self._clock()
        rest = self._class_rests_until.get(private, 0.0) - now
        if rest > 0 and not urgent:
            return rest
        wait = max(self._all.wait(now, urgent=urgent), self._own(path, private).wait(now, urgent=urgent))
        if wait == 0:
            self._all.take(now)
            self._own(path, private).take(now)
        return wait

    def rest(self, path: str, *, private: bool, urgent: bool = False) -> float:
        """Seconds for which complaints still keep requests to ``path`` from going; 0 when none do."""
        now = self._clock()
        whole = 0.0 if urgent else self._class_rests_until.get(private, 0.0) - now
        return max(0.0, whole, self._own(path, private).rest_left(now, urgent=urgent))

    async def acquire(self, path: str, *, private: bool, urgent: bool = False, within_s: float = inf) -> float:
        """Return when a request to ``path`` may go: that moment, by the budget's clock.

        Raises RateLimited when that is not within ``within_s`` seconds; then nothing is to be sent.
        """
        latest = self._clock() + within_s
        while (wait := self.wait(path, private=private, urgent=urgent)) > 0:
            if self._clock() + wait > latest:
                raise RateLimited(f"not sent: the request limits leave no room for {wait:.1f} s")
            await asyncio.sleep(wait)
        return self._clock()

    def refused(self, path: str, *, private: bool, sent: float) -> None:
        """The exchange answered 429 to a request that went at ``sent``: rest the endpoint, or all of its class."""
        now = self._clock()
        if sent > self._complained.get(path, -inf):
            self._complained[path] = now
            self._pauses[path] = pause = min(LONGEST_PAUSE_S, 2 * self._pauses.get(path, 0.5))
            self._own(path, private).rest(now, pause)
        trips = self._trips.setdefault(private, deque(maxlen=TRIPS))
        if not trips or sent > trips[-1]:
            trips.append(now)
            if len(trips) == TRIPS and now - trips[0] <= TRIP_WINDOW_S:
                self._class_rests_until[private] = now + TRIP_PAUSE_S

    def succeeded(self, path: str) -> None:
        """The endpoint answered: its next pause starts small again."""
        self._pauses.pop(path, None)

    def _own(self, path: str, private: bool) -> Window:
        if path not in self._windows:
            per_second = PER_SECOND.get(path, UNLISTED_PER_SECOND)
            self._windows[path] = window(per_second, reserve=RESERVE if private else 0.0)
        return self._windows[path]
