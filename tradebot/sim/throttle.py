"""Counting requests and connections against :class:`~tradebot.sim.limits.WireLimits` (protocol sections 4 and 10.1).

All counts are over a sliding window, the strictest reading of "per second": a client that keeps to it keeps to any
other. A refused request is not counted against its endpoint. All times are monotonic wall seconds.
"""

from __future__ import annotations

from collections import deque

from tradebot.sim.limits import WireLimits

MINUTE_S, HOUR_S = 60.0, 3_600.0


class Window:
    """At most ``most`` events within any ``period_s``.

    >>> window = Window(2, 1.0)
    >>> window.take(0.0), window.take(0.5), window.take(0.9), window.take(1.0)
    (True, True, False, True)
    """

    __slots__ = ("_most", "_period_s", "_taken")

    def __init__(self, most: int, period_s: float) -> None:
        self._most = most
        self._period_s = period_s
        self._taken: deque[float] = deque()

    def take(self, now_s: float) -> bool:
        """Count an event; False, and nothing counted, when there are too many."""
        if self.left(now_s) == 0:
            return False
        self._taken.append(now_s)
        return True

    def left(self, now_s: float) -> int:
        """How many more events there may be now."""
        taken = self._taken
        while taken and taken[0] <= now_s - self._period_s:
            taken.popleft()
        return max(0, self._most - len(taken))


class TooManyRequests(Exception):
    """HTTP 429. ``silent``: without a body, as gateways in front of the exchange answer."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__("too many requests")
        self.silent = silent


class RestThrottle:
    """Requests per endpoint and second, and per address and minute.

    An endpoint's limit is answered with the JSON body of section 4, the address's with none: both occur live, and a
    client must know both.
    """

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._endpoints: dict[tuple[str, str], Window] = {}
        self._addresses: dict[str, Window] = {}
        self._barred_until: dict[str, float] = {}

    def arrive(self, address: str, now_s: float) -> None:
        """Count a request of an address. Raises TooManyRequests while it recovers from too many."""
        if now_s < self._barred_until.get(address, 0.0):
            raise TooManyRequests(silent=True)
        window = self._addresses.get(address)
        if window is None:
            window = self._addresses[address] = Window(self._limits.per_minute, MINUTE_S)
        if not window.take(now_s):
            self._barred_until[address] = now_s + self._limits.recovery_s
            raise TooManyRequests(silent=True)

    def admit(self, path: str, who: str, now_s: float) -> int:
        """Count a request for an endpoint by ``who`` (an address or an account).

        Returns how many more may follow within this second. Raises TooManyRequests.
        """
        window = self._endpoints.get((path, who))
        if window is None:
            most = self._limits.per_second.get(path, self._limits.other_per_second)
            window = self._endpoints[(path, who)] = Window(most, 1.0)
        if not window.take(now_s):
            raise TooManyRequests(silent=False)
        return window.left(now_s)


class Cancellations:
    """One cancel of the same order within ``period_s`` (section 5.1, 45129).

    >>> cancellations = Cancellations(1.0)
    >>> cancellations.take("7", 0.0), cancellations.take("7", 0.9), cancellations.take("7", 1.0)
    (True, False, True)
    """

    def __init__(self, period_s: float = 1.0) -> None:
        self._period_s = period_s
        self._taken: dict[str, float] = {}

    def take(self, order_id: str, now_s: float) -> bool:
        """Count a cancel; False, and nothing counted, when it comes too soon after the one before."""
        oldest = next(iter(self._taken), None)
        while oldest is not None and self._taken[oldest] <= now_s - self._period_s:
            del self._taken[oldest]
            oldest = next(iter(self._taken), None)
        if order_id in self._taken:
            return False
        self._taken[order_id] = now_s
        return True


class Door:
    """Who may open a WebSocket connection: attempts, open connections and floods of messages per address."""

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._attempts: dict[str, Window] = {}
        self._floods: dict[str, Window] = {}
        self._banned_until: dict[str, float] = {}
        self._open: dict[str, int] = {}

    def enter(self, address: str, now_s: float) -> bool:
        """Count an attempt; False when it must be refused. Each entry needs one :meth:`leave`."""
        window = self._attempts.get(address)
        if window is None:
            window = Window(self._limits.connect_attempts, self._limits.connect_window_s)
            self._attempts[address] = window
        if now_s < self._banned_until.get(address, 0.0):
            return False
        if not window.take(now_s) or self._open.get(address, 0) >= self._limits.connections:
            return False
        self._open[address] = self._open.get(address, 0) + 1
        return True

    def flooded(self, address: str, now_s: float) -> None:
        """A connection of the address was closed for too many messages; an address that keeps doing it is banned."""
        window = self._floods.get(address)
        if window is None:
            window = self._floods[address] = Window(self._limits.floods, self._limits.connect_window_s)
        window.take(now_s)
        if window.left(now_s) == 0:
            self._banned_until[address] = now_s + self._limits.ban_s

    def leave(self, address: str) -> None:
        """A connection that entered is gone."""
        self._open[address] -= 1
