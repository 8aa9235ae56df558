"""How alike two symbols move: the correlation of the returns of their closed candles."""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import fsum, log, sqrt

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
        self._returns: deque[tuple[int, float]] = deque(maxlen=MOST_CANDLES)

    def append(self, close_ms: int, close: float) -> None:
        """Take a closed candle; the first one, and one without a price, has no return."""
        if self._last_close > 0 and close > 0:
            self._returns.append((close_ms, log(close / self._last_close)))
        self._last_close = close

    def newest(self, count: int) -> dict[int, float]:
        """The newest ``count`` returns by close time."""
        return dict(islice(self._returns, max(0, len(self._returns) - count), None))


def correlation(a: Returns, b: Returns, count: int) -> float | None:
    """Pearson correlation of the newest ``count`` returns that both have, in [-1, 1].

    None where fewer than 30 are common, or one of them does not move. Sums are exact, so that every machine finds the
    same number.
    """
    ours, theirs = a.newest(count), b.newest(count)
    common = [t for t in ours if t in theirs]
    if len(common) < FEWEST:
        return None
    x, y = [ours[t] for t in common], [theirs[t] for t in common]
    mean_x, mean_y = fsum(x) / len(x), fsum(y) / len(y)
    dx, dy = [v - mean_x for v in x], [v - mean_y for v in y]
    spread = sqrt(fsum(v * v for v in dx)) * sqrt(fsum(v * v for v in dy))
    if not spread > 0:
        return None
    return max(-1.0, min(1.0, fsum(p * q for p, q in zip(dx, dy, strict=True)) / spread))
