"""Figures of a return series. Undefined figures are None, never infinite.

Returns are simple returns per period as fractions of equity (0.01 = 1 %), oldest first, zero where nothing was held.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tradebot.evaluation.bootstrap import Floats, finite_vector

PERIODS_PER_YEAR = {"5m": 105_120, "15m": 35_040, "1h": 8_760, "1d": 365}
"""Markets never close: 365 days."""


def equity(returns: ArrayLike) -> Floats:
    """Equity after every period, compounded from 1; a loss of everything stays at 0.

    >>> equity([0.1, -0.5]).tolist()
    [1.1, 0.55]
    """
    growth: Floats = np.multiply.accumulate(np.maximum(1.0 + finite_vector(returns, "returns"), 0.0))
    return growth


def max_drawdown(returns: ArrayLike) -> float:
    """Largest fall from a peak as a fraction of that peak, the start included, in [0, 1].

    >>> round(max_drawdown([0.25, -0.2, -0.5, 3.0]), 9)
    0.6
    """
    curve = np.concatenate(([1.0], equity(returns)))
    return float((1.0 - curve / np.maximum.accumulate(curve)).max())


def sharpe(returns: ArrayLike, *, periods_per_year: float = 1.0) -> float | None:
    """Mean over standard deviation (of the sample) times sqrt(periods per year); None without variation.

    Per period with the default. The risk-free rate is taken as zero.

    >>> round(sharpe([0.01, 0.03]), 6)
    1.414214
    >>> sharpe([0.01, 0.01]) is None
    True
    """
    x = finite_vector(returns, "returns")
    if len(x) < 2:
        return None
    deviation = float(x.std(ddof=1))
    if deviation <= 1e-12 * float(np.abs(x).max()):
        return None
    return float(x.mean()) / deviation * math.sqrt(periods_per_year)
