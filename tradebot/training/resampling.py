"""Figures with intervals: a statistic on all rows, and on stationary resamples of them by blocks of a day."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from tradebot.evaluation.auc_resampled import resampled_auc
from tradebot.evaluation.bootstrap import Ints, block_sums, percentile_interval, stationary_blocks
from tradebot.forecasters.base import Floats
from tradebot.market.candle import DAY_MS
from tradebot.registry import Metric

LEVEL = 0.95
DRAWS = 2_000
"""Resamples of every figure."""

ROUNDING = 1e-9
"""Variance of a resample, as a part of that of all rows, below which it is what sums over all rows are rounded by."""

SHARE: Final = (0.0, 1.0)
"""What a share, a probability or an area under a curve lies within."""

Flags = npt.NDArray[np.bool_]
Statistic = Callable[[Ints, Ints], Floats]
"""A figure (draws,) of resamples of the rows, by the first rows and lengths of their blocks, both (draws, m); NaN where
it is not defined."""


class Resampled:
    """Some test rows, and resamples of them. ``block`` in rows: a day, at least two labels, at most a quarter."""

    def __init__(self, rows: int, *, bar_ms: int, label_rows: int, seed: int) -> None:
        self.rows = np.arange(rows)
        self.block = max(1.0, min(apart_rows(bar_ms, label_rows), rows / 4))
        self.blocks = rows / self.block
        self._drawn: tuple[Ints, Ints] | None = None
        self._seed = seed

    def metric(
        self,
        of: Statistic,
        baseline: float | None = None,
        name: str = "",
        unit: str = "",
        within: tuple[float, float] = (-np.inf, np.inf),
    ) -> Metric:
        """``of`` all rows with its interval, beside what baseline ``name`` reaches. ``within``: what the figure cannot
        leave, nor its interval where few blocks widen it."""
        if self._drawn is None:
            self._drawn = stationary_blocks(len(self.rows), block=self.block, draws=DRAWS, seed=self._seed)
        value, drawn = self.value(of), of(*self._drawn)
        known = drawn[np.isfinite(drawn)]
        low = high = None
        if value is not None and len(known) >= DRAWS // 2:
            low, high = percentile_interval(known, value, blocks=self.blocks, level=LEVEL)
            low, high = max(low, within[0]), min(high, within[1])
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
        found = float(of(np.zeros((1, 1), dtype=np.int64), np.full((1, 1), len(self.rows)))[0])
        return found if np.isfinite(found) else None


def apart_rows(bar_ms: int, label_rows: int) -> float:
    """Rows after which what comes may count as independent: a day, or two labels where that is longer."""
    return max(DAY_MS / bar_ms, 2.0 * label_rows)


def ratio(top: Floats, bottom: Floats, change: Callable[[Floats], Floats] = lambda share: share) -> Statistic:
    """Sum of ``top`` over sum of ``bottom``, perhaps changed; not defined where the latter is zero."""
    columns = np.stack([top, bottom], axis=1)

    def of(starts: Ints, lengths: Ints) -> Floats:
        above, below = block_sums(columns, starts, lengths).T
        return change(np.divide(above, below, out=np.full(len(below), np.nan), where=below != 0))

    return of


def area(score: Floats, happened: Flags, among: Flags | None = None) -> Statistic:
    """Area under the ROC curve of ``score`` for ``happened``, perhaps ``among`` some rows only."""

    def of(starts: Ints, lengths: Ints) -> Floats:
        return resampled_auc(score, happened, starts, lengths, among)

    return of


def correlation(a: Floats, b: Floats) -> Statistic:
    """Pearson's; not defined where one side is constant."""
    x, y = _standardised(a), _standardised(b)
    columns = np.stack([x, y, x * x, y * y, x * y], axis=1)

    def of(starts: Ints, lengths: Ints) -> Floats:
        mean_x, mean_y, xx, yy, xy = (block_sums(columns, starts, lengths) / len(columns)).T
        var_x, var_y = xx - mean_x**2, yy - mean_y**2
        varies = (var_x > ROUNDING) & (var_y > ROUNDING)
        found = np.full(len(xy), np.nan)
        found[varies] = (xy - mean_x * mean_y)[varies] / np.sqrt(var_x[varies] * var_y[varies])
        return found

    return of


def _standardised(values: Floats) -> Floats:
    centred = values - values.mean()
    size = float(np.sqrt((centred**2).mean()))
    return np.asarray(centred / size if size > 0 else centred, dtype=np.float64)
