"""How alike two symbols move: the correlation of the returns of their closed candles."""

from __future__ import annotations

from collections import deque
from math import fsum, log, sqrt
from operator import mul

MOST_CANDLES = 2_016
"""The longest window there is (7 days of 5-minute candles)."""
FEWEST = 30
"""Common returns below which nothing is known."""


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

    def append(self, close_ms: int, close: float) -> None:
        """Take a closed candle; the first one, and one without a price, has no return."""
        if self._last_close > 0 and close > 0:
            self._times.append(close_ms)
            self._values.append(log(close / self._last_close))
        self._last_close = close

    def newest(self, count: int) -> tuple[list[int], list[float]]:
        """Close times and values of the newest ``count`` returns, oldest first."""
        return list(self._times)[-count:], list(self._values)[-count:]


def correlation(a: Returns, b: Returns, count: int) -> float | None:
    """Pearson correlation of the newest ``count`` returns that both have, in [-1, 1].

    None where fewer than 30 are common, or one of them does not move. Sums are exact, so that every machine finds the
    same number.
    """
    (times, x), (other_times, y) = a.newest(count), b.newest(count)
    if times != other_times:
        ours, theirs = dict(zip(times, x, strict=True)), dict(zip(other_times, y, strict=True))
        common = [t for t in times if t in theirs]
        x, y = [ours[t] for t in common], [theirs[t] for t in common]
    if len(x) < FEWEST:
        return None
    mean_x, mean_y = fsum(x) / len(x), fsum(y) / len(y)
    dx, dy = [v - mean_x for v in x], [v - mean_y for v in y]
    spread = sqrt(fsum(map(mul, dx, dx))) * sqrt(fsum(map(mul, dy, dy)))
    if not spread > 0:
        return None
    return max(-1.0, min(1.0, fsum(map(mul, dx, dy)) / spread))
