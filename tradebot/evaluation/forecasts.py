"""How good forecasts of a return are beside no change at all (persistence), row by row.

``expected`` and ``realised`` are returns over the same horizon in the same unit. Price-level figures (R², error in per
cent of the price) flatter any forecast that stays near the last price; these do not, or say what persistence reaches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtr

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, finite_vector


@dataclass(frozen=True, slots=True)
class Share:
    """A share of ``count`` independent observations, with its Wilson interval."""

    value: float
    low: float
    high: float
    count: float


def wilson(share: float, count: float, *, level: float = 0.95) -> Share:
    """The interval of a binomial share (Wilson 1927). ``count`` may be an effective number.

    >>> found = wilson(0.5, 100)
    >>> round(found.low, 3), round(found.high, 3)
    (0.404, 0.596)
    """
    if not 0 <= share <= 1 or count <= 0:
        raise DataError(f"a share lies in [0, 1] and needs observations, got {share} of {count}")
    z = float(ndtri((1 + level) / 2))
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))) / (1 + z * z / count)
    return Share(share, max(0.0, centre - half), min(1.0, centre + half), count)


def diebold_mariano(expected: ArrayLike, realised: ArrayLike, *, horizon: int) -> float | None:
    """P-value (two-sided) of equal squared errors of the forecasts and of persistence (Diebold & Mariano 1995, with
    the small-sample correction of Harvey, Leybourne & Newbold 1997). ``horizon`` in rows; labels that overlap make
    errors correlate that far. None where the forecasts are persistence, or too few.

    >>> rng = np.random.default_rng(1)
    >>> r = rng.normal(size=400)
    >>> diebold_mariano(0.5 * r, r, horizon=1) < 0.01
    True
    """
    forecast, outcome = finite_vector(expected, "expected"), finite_vector(realised, "realised")
    if len(forecast) != len(outcome):
        raise DataError(f"{len(forecast)} forecasts, {len(outcome)} outcomes; they must be of the same rows")
    difference = outcome**2 - (outcome - forecast) ** 2
    n = len(difference)
    if n < 10 * horizon or not difference.any():
        return None
    centred = difference - difference.mean()
    variance = float(centred @ centred) / n
    for lag in range(1, horizon):
        weight = 1.0 - lag / horizon
        variance += 2.0 * weight * float(centred[lag:] @ centred[:-lag]) / n
    if variance <= 0:
        return None
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    score = float(difference.mean()) / np.sqrt(variance / n) * np.sqrt(max(correction, 1e-12))
    return float(2.0 * stdtr(n - 1, -abs(score)))


def rank(values: ArrayLike) -> Floats:
    """Ranks from 1, ties sharing their mean rank.

    >>> rank([10.0, 30.0, 30.0]).tolist()
    [1.0, 2.5, 2.5]
    """
    x = finite_vector(values, "values")
    _, where, counts = np.unique(x, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2.0)[where]
    return ranks


def correlation(a: Floats, b: Floats) -> float | None:
    """Pearson's, None where one side is constant."""
    x, y = a - a.mean(), b - b.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else None
