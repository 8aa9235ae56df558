"""How long things took, in a fixed number of buckets."""

from __future__ import annotations

from bisect import bisect_left

EDGES_MS = tuple(round(0.05 * 2 ** (n / 2), 4) for n in range(44))
"""Upper edges of the buckets: 0.05 ms to 2 min, each about 1.41 times the one before."""


class Latency:
    """A histogram of durations (ms): constant memory, and quantiles to within a bucket.

    >>> waited = Latency()
    >>> for ms in (0.2, 0.2, 0.2, 40.0): waited.add(ms)
    >>> waited.quantile(0.5), waited.highest
    (0.2, 40.0)
    """

    __slots__ = ("buckets", "count", "highest", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(EDGES_MS) + 1)
        self.count = 0
        self.total = 0.0
        self.highest = 0.0

    def add(self, ms: float) -> None:
        """Take one more in; a negative one (two clocks disagree) counts as nothing."""
        self.buckets[bisect_left(EDGES_MS, ms)] += 1
        self.count += 1
        if ms > 0.0:
            self.total += ms
            if ms > self.highest:
                self.highest = ms

    def quantile(self, q: float) -> float:
        """Upper edge of the bucket in which the ``q``-th part lies (never above the highest); 0 when empty."""
        wanted = q * self.count
        seen = 0
        for count, edge in zip(self.buckets, EDGES_MS, strict=False):
            seen += count
            if count and seen >= wanted:
                return min(edge, self.highest)
        return self.highest
