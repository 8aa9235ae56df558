"""An equity curve cut into days, and what drawing those days in another order would have looked like.

Days are those of UTC. A part of a day at either end of the curve counts as a day of its own when it is at least half a
day long, and belongs to the day beside it otherwise: all that was earned is in some day, and no day is a sliver.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, Ints, finite_vector
from tradebot.market.candle import DAY_MS


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """A curve's days, oldest first; day ``d`` is what happened after ``edge[d]`` and up to ``edge[d + 1]`` (ms).

    All are multiples of the equity at the day's start: ``growth`` at its end, ``low`` and ``high`` the extremes of the
    way (the start included), ``drawdown`` the largest fall from a peak of the same day (as a fraction of that peak).
    """

    edge_ms: Ints
    growth: Floats
    low: Floats
    high: Floats
    drawdown: Floats

    def __len__(self) -> int:
        return len(self.growth)

    @property
    def returns(self) -> Floats:
        """Simple return of each day."""
        found: Floats = self.growth - 1.0
        return found

    def day_of(self, ts_ms: ArrayLike) -> NDArray[np.intp]:
        """In which day each moment lies; what lies outside the curve belongs to the day at that end."""
        where = np.searchsorted(self.edge_ms, np.asarray(ts_ms, dtype=np.int64), side="left") - 1
        return np.clip(where, 0, len(self) - 1)


def days_of(ts_ms: ArrayLike, curve: ArrayLike, *, period_ms: int = DAY_MS) -> Days:
    """Cut a curve (equity at ``ts_ms``, ascending) into days, or other periods of ``period_ms`` counted from the epoch.

    Raises DataError for a curve of fewer than two points, one that does not ascend in time or starts without equity.

    >>> hours = np.arange(0, 49, 6) * 3_600_000
    >>> days = days_of(hours, [100.0, 90.0, 120.0, 110.0, 110.0, 121.0, 99.0, 99.0, 132.0])
    >>> days.returns.round(9).tolist(), days.drawdown.round(9).tolist()
    ([0.1, 0.2], [0.1, 0.181818182])
    """
    moments, points = np.asarray(ts_ms, dtype=np.int64), np.maximum(finite_vector(curve, "equity"), 0.0)
    if moments.shape != points.shape or len(points) < 2:
        raise DataError(f"a curve needs two points or more with a time each, got {len(points)} and {len(moments)}")
    if not (np.diff(moments) > 0).all():
        raise DataError("a curve's times must ascend")
    if points[0] <= 0:
        raise DataError("a curve starts with equity; this one starts with nothing")
    edge = _edges(int(moments[0]), int(moments[-1]), period_ms)
    last = np.searchsorted(moments, edge, side="right") - 1  # the newest point of every edge
    found = np.array([_shape(points[a : b + 1]) for a, b in pairwise(last.tolist())])
    return Days(edge, found[:, 0], found[:, 1], found[:, 2], found[:, 3])


def _edges(first: int, last: int, period_ms: int) -> Ints:
    inner = np.arange(first // period_ms + 1, -(-last // period_ms), dtype=np.int64) * period_ms
    if len(inner) and 2 * (inner[0] - first) < period_ms:
        inner = inner[1:]
    if len(inner) and 2 * (last - inner[-1]) < period_ms:
        inner = inner[:-1]
    return np.concatenate(([first], inner, [last])).astype(np.int64)


def _shape(points: Floats) -> tuple[float, float, float, float]:
    """Growth, low, high and drawdown of the way through these points; of one without equity: nothing moves."""
    if points[0] <= 0:
        return 1.0, 1.0, 1.0, 0.0
    way = points / points[0]
    return float(way[-1]), float(way.min()), float(way.max()), float((1.0 - way / np.maximum.accumulate(way)).max())


def drawdown_of(days: Days, rows: Ints) -> Floats:
    """The largest drawdown (draws,) of every order ``rows`` (draws, N) of days, falls within a day included.

    Exact: a fall either lies within one day, or goes from the highest point before a day to that day's low.

    >>> days = days_of([0, DAY_MS // 2, DAY_MS, 2 * DAY_MS], [100.0, 80.0, 120.0, 90.0])
    >>> drawdown_of(days, np.array([[0, 1], [1, 0]])).round(9).tolist()
    [0.25, 0.4]
    """
    equity, peak, worst = (np.full(len(rows), start) for start in (1.0, 1.0, 0.0))
    for day in rows.T:
        worst = np.maximum(worst, np.maximum(days.drawdown[day], 1.0 - equity * days.low[day] / peak))
        peak = np.maximum(peak, equity * days.high[day])
        equity = equity * days.growth[day]
    return worst
