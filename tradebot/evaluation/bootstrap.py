"""Uncertainty of a mean over rows that depend on their neighbours: the stationary bootstrap.

Politis & Romano, *The Stationary Bootstrap*, JASA 89 (1994): a resample is made of blocks that start anywhere with
equal chance, last a geometric number of rows with mean ``block`` and wrap around at the end. For labels that overlap
and volatility that clusters, ``block`` should be at least twice the label span and at least a day.

The resamples of few blocks spread too little: the effective sample is ``rows / block`` blocks. What is said from them
is therefore widened by ``sqrt(blocks / (blocks - 1))``, what resampling loses of a variance, and as Student's t with
``blocks - 1`` degrees of freedom is wider than the normal distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from tradebot.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, its central ``level`` interval, and how probable a mean above zero is.

    Both come from the resamples' percentiles, widened for the number of blocks. All but ``p_positive``, ``level`` and
    the counts are in the unit of the values; ``blocks`` is the effective number of independent observations.
    """

    mean: float
    low: float
    high: float
    p_positive: float
    level: float
    rows: int
    draws: int
    block: float

    @property
    def blocks(self) -> float:
        return self.rows / self.block


def mean_interval(
    values: ArrayLike, *, block: float, draws: int = 2_000, seed: int = 0, level: float = 0.95
) -> Interval:
    """How sure the mean of ``values`` (oldest first) is. Equal arguments give equal results.

    >>> mean_interval([1.0, 1.0, 1.0, 1.0], block=2)
    Interval(mean=1.0, low=1.0, high=1.0, p_positive=1.0, level=0.95, rows=4, draws=2000, block=2)
    """
    x = finite_vector(values, "values")
    means = resampled_means(x, block=block, draws=draws, seed=seed)
    mean, blocks = float(x.mean()), len(x) / block
    low, high = percentile_interval(means, mean, blocks=blocks, level=level)
    return Interval(
        mean=mean,
        low=low,
        high=high,
        p_positive=float(stdtr(_freedom(blocks), ndtri((means > 0).mean()) / _lost(blocks))),
        level=level,
        rows=len(x),
        draws=draws,
        block=block,
    )


def paired_difference(
    a: ArrayLike, b: ArrayLike, *, block: float, draws: int = 2_000, seed: int = 0, level: float = 0.95
) -> Interval:
    """``mean_interval`` of ``a - b``, two series on the same rows; ``p_positive`` is P(mean a > mean b)."""
    x, y = finite_vector(a, "a"), finite_vector(b, "b")
    if len(x) != len(y):
        raise DataError(f"a paired difference needs the same rows on both sides, got {len(x)} and {len(y)}")
    return mean_interval(x - y, block=block, draws=draws, seed=seed, level=level)


def percentile_interval(resampled: ArrayLike, value: float, *, blocks: float, level: float) -> tuple[float, float]:
    """Central percentiles of a statistic's resamples, moved away from ``value`` as far as few blocks demand.

    >>> low, high = percentile_interval(np.linspace(-1.0, 1.0, 101), 0.0, blocks=10, level=0.95)
    >>> round(low, 2), round(high, 2)
    (-1.16, 1.16)
    """
    below, above = np.quantile(np.asarray(resampled, dtype=np.float64), [(1 - level) / 2, (1 + level) / 2])
    wider = _lost(blocks) * float(stdtrit(_freedom(blocks), (1 + level) / 2) / ndtri((1 + level) / 2))
    return value - wider * (value - float(below)), value + wider * (float(above) - value)


def _freedom(blocks: float) -> float:
    return max(1.0, blocks - 1.0)


def _lost(blocks: float) -> float:
    return float(np.sqrt((_freedom(blocks) + 1.0) / _freedom(blocks)))


def resampled_means(values: ArrayLike, *, block: float, draws: int, seed: int) -> Floats:
    """Means (draws,) of stationary resamples of ``values``."""
    x = finite_vector(values, "values")
    centre = x.mean()
    means: Floats = centre + resampled_sums((x - centre)[:, None], block=block, draws=draws, seed=seed)[:, 0] / len(x)
    return means


def resampled_sums(columns: Floats, *, block: float, draws: int, seed: int) -> Floats:
    """Column sums (draws, K) of stationary resamples of the rows of ``columns`` (N, K).

    A statistic made of sums over rows, such as the profit factor, is resampled by them without picking a row.
    """
    return block_sums(columns, *stationary_blocks(len(columns), block=block, draws=draws, seed=seed))


def block_sums(columns: Floats, starts: Ints, lengths: Ints) -> Floats:
    """Column sums (draws, K) of the rows of ``columns`` (N, K) in blocks as ``stationary_blocks`` tells them."""
    sums = np.empty((len(starts), columns.shape[1]))
    for k in range(columns.shape[1]):
        upto = np.concatenate(([0.0], np.cumsum(np.concatenate((columns[:, k], columns[:, k])))))
        sums[:, k] = (upto[starts + lengths] - upto[starts]).sum(axis=1)
    return sums


def stationary_blocks(rows: int, *, block: float, draws: int, seed: int) -> tuple[Ints, Ints]:
    """First row and length of every block of every resample, both (draws, m).

    The lengths of one resample add up to ``rows``; unused blocks have length 0. A block may run past the last row,
    meaning the first ones again.
    """
    if rows < 1 or draws < 1 or block < 1:
        raise DataError(f"a bootstrap needs rows, draws and a block of at least 1, got {rows}, {draws}, {block}")
    rng = np.random.default_rng(seed)
    lengths = np.empty((draws, 0), dtype=np.int64)
    batch = int(rows / block + 6 * np.sqrt(rows / block) + 8)
    while not len(lengths.T) or lengths.sum(axis=1).min() < rows:
        more = np.minimum(rng.geometric(1.0 / block, size=(draws, batch)), rows)
        lengths = np.concatenate((lengths, more), axis=1)
    before = np.cumsum(lengths, axis=1) - lengths
    lengths = np.clip(rows - before, 0, lengths)
    used = int((lengths > 0).sum(axis=1).max())
    return rng.integers(0, rows, size=(draws, used)), lengths[:, :used]


def stationary_rows(rows: int, *, block: float, draws: int, seed: int) -> Ints:
    """The resamples as row numbers (draws, rows), for statistics that are not means."""
    starts, lengths = stationary_blocks(rows, block=block, draws=draws, seed=seed)
    picked = np.empty((draws, rows), dtype=np.int64)
    for draw in range(draws):
        n = lengths[draw]
        picked[draw] = np.repeat(starts[draw] - (np.cumsum(n) - n), n) + np.arange(rows)
    return picked % rows


def finite_vector(values: ArrayLike, name: str) -> Floats:
    """``values`` as a non-empty float64 vector; DataError for another shape or a value that is not finite."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise DataError(f"{name} must be a non-empty vector, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise DataError(
            f"{name} holds {int((~np.isfinite(x)).sum())} values that are not finite; drop those rows first"
        )
    return x
