"""The bot's clock on a real exchange: the exchange's time, measured."""

from __future__ import annotations

import time

DRIFT = 200e-6
"""How much two clocks of computers may drift apart: ms a ms."""


class WallClock:
    """The exchange's time: bounded by what it says, carried on in between by a clock that nobody sets.

    The exchange wrote its time between our question and its answer. That bounds the difference between its clock and
    our steady one from both sides; the bounds of many answers are intersected, and widen with time as far as two
    quartz clocks may drift apart. An answer that fits no bound means that one of the clocks was set: it counts alone.
    """

    def __init__(self) -> None:
        # until it is measured, the exchange's time is this machine's
        self._low_ms = self._high_ms = time.time_ns() / 1e6 - time.monotonic_ns() / 1e6
        self._as_of_ms = time.monotonic_ns() / 1e6
        self._measured = False
        self._first: tuple[float, float] | None = None
        """When the first answer since the last step came, and the difference then (ms)."""
        self.steps = 0
        """How often an answer fitted no bound."""

    def measured(self, sent_ns: int, received_ns: int, exchange_ms: int) -> None:
        """The exchange said ``exchange_ms`` (a whole number of ms) between two moments of ``time.monotonic_ns``."""
        low, high = exchange_ms - received_ns / 1e6, exchange_ms + 1.0 - sent_ns / 1e6
        at_ms = received_ns / 1e6
        slack = max(0.0, at_ms - self._as_of_ms) * DRIFT
        if self._measured:
            narrowed = max(low, self._low_ms - slack), min(high, self._high_ms + slack)
            if narrowed[0] <= narrowed[1]:
                low, high = narrowed
            else:
                self.steps += 1
                self._first = None
        self._measured = True
        self._low_ms, self._high_ms, self._as_of_ms = low, high, at_ms
        if self._first is None:
            self._first = at_ms, (low + high) / 2

    def now_ms(self) -> int:
        return int(time.monotonic_ns() / 1e6 + (self._low_ms + self._high_ms) / 2)

    @property
    def offset_ms(self) -> int:
        """Exchange time minus what the machine's wall clock says now, ms: it shows at once when someone sets that."""
        return self.now_ms() - time.time_ns() // 1_000_000

    @property
    def error_ms(self) -> float:
        """How far off ``now_ms`` may be, ms."""
        return (self._high_ms - self._low_ms) / 2 + (time.monotonic_ns() / 1e6 - self._as_of_ms) * DRIFT

    @property
    def drift_ppm(self) -> float:
        """How much faster than ours the exchange's clock runs, millionths; 0 before a minute was measured."""
        if self._first is None or self._as_of_ms - self._first[0] < 60_000:
            return 0.0
        return ((self._low_ms + self._high_ms) / 2 - self._first[1]) / (self._as_of_ms - self._first[0]) * 1e6
