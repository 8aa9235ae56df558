"""Figures with intervals: a statistic on all rows, and on stationary resamples of them by blocks of a day."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tradebot.evaluation.bootstrap import Ints, percentile_interval, stationary_rows
from tradebot.forecasters.base import Floats
from tradebot.market.candle import DAY_MS
from tradebot.registry import Metric

LEVEL = 0.95
DRAWS = 200
"""Resamples of figures that are not means (areas under curves, ratios); each costs a sort of the test rows."""

Statistic = Callable[[Ints], float | None]
"""A figure of some rows, by their numbers; None where it is not defined."""


class Resampled:
    """Some test rows, and resamples of them. ``block`` in rows: a day, at least two labels, at most a quarter."""

    def __init__(self, rows: int, *, bar_ms: int, label_rows: int, seed: int) -> None:
        self.rows = np.arange(rows)
        self.block = max(1.0, min(max(DAY_MS / bar_ms, 2.0 * label_rows), rows / 4))
        self.blocks = rows / self.block
        self._picks: npt.NDArray[np.int64] | None = None
        self._seed = seed

    def metric(self, of: Statistic, baseline: float | None = None, name: str = "", unit: str = "") -> Metric:
        """``of`` all rows with its interval, beside what baseline ``name`` reaches."""
        if self._picks is None:
            self._picks = stationary_rows(len(self.rows), block=self.block, draws=DRAWS, seed=self._seed)
        value = of(self.rows)
        draws = [drawn for rows in self._picks if (drawn := of(rows)) is not None]
        low = high = None
        if value is not None and len(draws) >= DRAWS // 2:
            low, high = percentile_interval(draws, value, blocks=self.blocks, level=LEVEL)
        return Metric(
            value=value,
            low=low,
            high=high,
            level=LEVEL,
            baseline=baseline,
            baseline_name=name,
            unit=unit,
            blocks=self.blocks,
        )

    def value(self, of: Statistic) -> float | None:
        """``of`` all rows, without an interval."""
        return of(self.rows)


def ratio(top: Floats, bottom: Floats, change: Callable[[float], float] = lambda share: share) -> Statistic:
    """Sum of ``top`` over sum of ``bottom``, perhaps changed; not defined where the latter is zero."""

    def of(rows: Ints) -> float | None:
        count = float(bottom[rows].sum())
        return change(float(top[rows].sum()) / count) if count else None

    return of
