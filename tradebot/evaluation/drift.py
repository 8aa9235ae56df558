"""Has what the model sees, or says, moved away from what it was trained on?"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from tradebot.errors import DataError

WARN: Final = 0.1
RETRAIN: Final = 0.25
"""Usual limits of the population stability index."""


def population_stability_index(training: ArrayLike, recent: ArrayLike, *, bins: int = 10, floor: float = 1e-4) -> float:
    """``sum((p - q) ln(p / q))`` over ``bins`` quantile bins of the training values; 0 for equal distributions.

    ``p`` is the share of recent and ``q`` of training values in a bin, at least ``floor`` each. Values that are not
    finite make up one more bin. Limits: ``WARN``, ``RETRAIN``.

    >>> population_stability_index(range(1000), range(1000))
    0.0
    >>> population_stability_index(range(1000), range(500, 1000)) > RETRAIN
    True
    """
    then, now = np.asarray(training, dtype=np.float64).ravel(), np.asarray(recent, dtype=np.float64).ravel()
    known = then[np.isfinite(then)]
    if not len(known) or not len(now):
        raise DataError("a stability index needs finite training values and at least one recent value")
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins))

    def shares(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        where = np.where(np.isfinite(x), np.searchsorted(edges, x, side="right"), len(edges) + 1)
        return np.maximum(np.bincount(where, minlength=len(edges) + 2) / len(x), floor)

    p, q = shares(now), shares(then)
    return float(((p - q) * np.log(p / q)).sum())
