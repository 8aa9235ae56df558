"""How good probabilities of a yes/no outcome are. ``p`` in [0, 1], ``happened`` 0/1 or bool, one per row.

What cannot be computed (only one class, no rows of it) is None, never a made-up number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, finite_vector

Flags = NDArray[np.bool_]


def auc(p: ArrayLike, happened: ArrayLike) -> float | None:
    """Chance that a row where it happened got a higher ``p`` than one where it did not; ties count half (Mann-Whitney).

    >>> auc([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1])
    0.875
    """
    score = finite_vector(p, "p")
    yes = _flags(happened, len(score))
    positives, negatives = int(yes.sum()), int((~yes).sum())
    if not positives or not negatives:
        return None
    _, where, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2.0
    rank_sum = float(mean_rank[where][yes].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def log_loss(p: ArrayLike, happened: ArrayLike, *, clip: float = 1e-7) -> float:
    """Mean negative log likelihood in nats; ``p`` is kept ``clip`` away from 0 and 1. Always 0.5 scores ln 2.

    >>> round(log_loss([0.5, 0.5], [1, 0]), 6)
    0.693147
    """
    x, yes = _checked(p, happened)
    x = np.clip(x, clip, 1 - clip)
    return float(-np.where(yes, np.log(x), np.log1p(-x)).mean())


def accuracy(p: ArrayLike, happened: ArrayLike) -> float:
    """Share of rows on the right side of 0.5; exactly 0.5 counts half.

    >>> accuracy([0.9, 0.2, 0.5, 0.6], [1, 0, 1, 0])
    0.625
    """
    x, yes = _checked(p, happened)
    return float(np.where(x == 0.5, 0.5, (x > 0.5) == yes).mean())


def calibration_error(p: ArrayLike, happened: ArrayLike, *, bins: int = 10) -> float:
    """Expected calibration error: mean over rows of |mean p - frequency| of the row's bin, in probability.

    Bins hold about equally many rows (edges are quantiles of ``p``, equal ``p`` stay together), because short-horizon
    probabilities crowd around one value and bins of equal width would put them all into one.

    >>> round(calibration_error([0.2, 0.2, 0.8, 0.8], [0, 0, 1, 1], bins=2), 9)
    0.2
    """
    x, yes = _checked(p, happened)
    edges = np.unique(np.quantile(x, np.arange(1, bins) / bins, method="higher"))
    where = np.searchsorted(edges, x, side="right")
    gap = np.abs(np.bincount(where, weights=x) - np.bincount(where, weights=yes))
    return float(gap.sum() / len(x))


def _checked(p: ArrayLike, happened: ArrayLike) -> tuple[Floats, Flags]:
    x = finite_vector(p, "p")
    if x.min() < 0 or x.max() > 1:
        raise DataError(f"probabilities lie in [0, 1], got {x.min()} to {x.max()}")
    return x, _flags(happened, len(x))


def _flags(happened: ArrayLike, rows: int) -> Flags:
    y = np.asarray(happened)
    if y.shape != (rows,):
        raise DataError(f"outcomes must be one per row: {rows} forecasts, outcomes of shape {y.shape}")
    if not np.isin(y, (0, 1)).all():
        raise DataError("outcomes must be 0 or 1")
    return y.astype(np.bool_)
