"""How alike two symbols move: the correlation of the returns of their closed candles."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from math import fsum, log, sqrt
from operator import mul

MOST_CANDLES = 2_016
"""The longest window there is (7 days of 5-minute candles)."""
FEWEST = 30
"""Common returns below which nothing is known."""


class Window:
    """Returns by close time (ms), oldest first; their deviations from the mean, and the root of the sum of squares."""

    def __init__(self, times: list[int], values: list[float]) -> None:
        self.times = times
        self.values = values

    @cached_property
    def deviations(self) -> list[float]:
        mean = fsum(self.values) / len(self.values)
        return [value - mean for value in self.values]

    @cached_property
    def norm(self) -> float:
        return sqrt(fsum(map(mul, self.deviations, self.deviations)))


class Returns:
    """Log returns of one symbol's closed candles by close time (ms), the newest ``MOST_CANDLES`` of them.

    >>> a, b = Returns(), Returns()
    >>> for k in range(40):
    ...     a.append(k, 100.0 + k % 3)
    ...     b.append(k, 50.0 + k % 3 / 2)
    >>> round(correlation(a, b, 30), 6)
    1.0
    """

    def __init__(self) -> None:
        self._last_close = 0.0
        self._times: deque[int] = deque(maxlen=MOST_CANDLES)
        self._values: deque[float] = deque(maxlen=MOST_CANDLES)
        self._window: tuple[int, Window] | None = None

    def append(self, close_ms: int, close: float) -> None:
        """Take a closed candle; the first one, and one without a price, has no return."""
        if self._last_close > 0 and close > 0:
            self._times.append(close_ms)
            self._values.append(log(close / self._last_close))
            self._window = None
        self._last_close = close

    def newest(self, count: int) -> Window:
        """The newest ``count`` returns."""
        if self._window is None or self._window[0] != count:
            self._window = (count, Window(list(self._times)[-count:], list(self._values)[-count:]))
        return self._window[1]


def correlation(a: Returns, b: Returns, count: int) -> float | None:
    """Pearson correlation of the newest ``count`` returns that both have, in [-1, 1].

    None where fewer than 30 are common, or one of them does not move. Sums are exact, so that every machine finds the
    same number.
    """
    x, y = a.newest(count), b.newest(count)
    if x.times != y.times:
        ours, theirs = dict(zip(x.times, x.values, strict=True)), dict(zip(y.times, y.values, strict=True))
        common = [t for t in x.times if t in theirs]
        x, y = Window(common, [ours[t] for t in common]), Window(common, [theirs[t] for t in common])
    if len(x.times) < FEWEST:
        return None
    spread = x.norm * y.norm
    if not spread > 0:
        return None
    return max(-1.0, min(1.0, fsum(map(mul, x.deviations, y.deviations)) / spread))
