"""Columns of closed candles as columns of longer ones: what ``series.Aggregator`` does one by one, for whole files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradebot.market.candle import MONDAY_MS, WEEK_MS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Resampled(NamedTuple):
    """Longer candles, oldest first: start of interval (ms), prices (USDT), volume (base coin).

    ``last`` is the place of the last part of each among the parts: what was known beside it at its close is what was
    known beside the longer candle at its close.
    """

    open_ms: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    last: Ints


def resampled(
    open_ms: Ints, o: Floats, h: Floats, low: Floats, c: Floats, v: Floats, *, part_ms: int, whole_ms: int
) -> Resampled:
    """The candles of ``whole_ms`` whose parts (ascending closed candles of ``part_ms``) are all there.

    Equal to ``series.aggregate`` bit for bit: volumes are added oldest first. Equal lengths give the candles
    themselves. Raises ValueError when ``whole_ms`` is no multiple of ``part_ms``.

    >>> at = np.arange(7) * 300_000 + 600_000
    >>> ones = np.ones(7)
    >>> found = resampled(at, ones, ones, ones, np.arange(7.0), ones, part_ms=300_000, whole_ms=900_000)
    >>> found.open_ms.tolist(), found.close.tolist(), found.volume.tolist(), found.last.tolist()
    ([900000, 1800000], [3.0, 6.0], [3.0, 3.0], [3, 6])
    """
    if whole_ms % part_ms:
        raise ValueError(f"{whole_ms} ms is not a multiple of {part_ms} ms")
    parts = whole_ms // part_ms
    times = np.ascontiguousarray(open_ms, dtype=np.int64)
    origin = MONDAY_MS if whole_ms % WEEK_MS == 0 else 0
    last = np.arange(parts - 1, len(times))
    first = last - (parts - 1)
    whole = ((times[first] - origin) % whole_ms == 0) & (times[last] - times[first] == whole_ms - part_ms)
    first, last = first[whole], last[whole]
    members = first[:, None] + np.arange(parts)
    volume = np.zeros(len(first))
    for part in range(parts):
        volume += v[members[:, part]]
    return Resampled(
        times[first], o[first], h[members].max(axis=1), low[members].min(axis=1), c[last], volume, last
    )  # fmt: skip
