"""Figures of a return series or an equity curve. Undefined figures are None, never infinite.

Returns are simple returns per period as fractions of equity (0.01 = 1 %), oldest first, zero where nothing was held.
A curve is equity at one moment after another, oldest first, what is open counted at its price of that moment.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tradebot.errors import DataError
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


def returns_of(curve: ArrayLike) -> Floats:
    """Simple returns between neighbours of a curve, one fewer than it has points; 0 once nothing is left.

    >>> returns_of([100.0, 110.0, 0.0, 0.0]).round(9).tolist()
    [0.1, -1.0, 0.0]
    """
    points = np.maximum(finite_vector(curve, "equity"), 0.0)
    before, after = points[:-1], points[1:]
    found: Floats = np.divide(after, before, out=np.ones_like(after), where=before > 0) - 1.0
    return found


def drawdowns(curve: ArrayLike) -> Floats:
    """How far each point of a curve lies below the highest before it, as a fraction of that.

    Raises DataError for a curve that starts with nothing.

    >>> drawdowns([100.0, 125.0, 100.0, 150.0]).round(9).tolist()
    [0.0, 0.0, 0.2, 0.0]
    """
    points = np.maximum(finite_vector(curve, "equity"), 0.0)
    if points[0] <= 0:
        raise DataError("a curve starts with equity; this one starts with nothing")
    found: Floats = 1.0 - points / np.maximum.accumulate(points)
    return found


def max_drawdown(returns: ArrayLike) -> float:
    """Largest fall from a peak as a fraction of that peak, the start included, in [0, 1].

    >>> round(max_drawdown([0.25, -0.2, -0.5, 3.0]), 9)
    0.6
    """
    return float(drawdowns(np.concatenate(([1.0], equity(returns)))).max())


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


def sortino(returns: ArrayLike, *, periods_per_year: float = 1.0) -> float | None:
    """Mean over the downside deviation, times sqrt(periods per year); None where no period lost.

    The deviation is ``sqrt(mean(min(R, 0)^2))`` over *all* periods: leaving out those that gained would make a strategy
    that seldom loses look riskier than one that often does.

    >>> round(sortino([0.03, -0.01, 0.02, 0.0]), 6)
    2.0
    """
    x = finite_vector(returns, "returns")
    downside = math.sqrt(float(np.square(np.minimum(x, 0.0)).mean()))
    return float(x.mean()) / downside * math.sqrt(periods_per_year) if downside > 0 else None


def cagr(growth: float, days: float) -> float | None:
    """The yearly growth at which equity grows by the factor ``growth`` in ``days``, as a fraction; a year has 365 days.

    None where that is beyond numbers: half a day's luck to the power of 730.

    >>> round(cagr(1.21, 730), 9)
    0.1
    """
    if days <= 0 or growth < 0:
        return None
    try:
        return float(growth ** (365.0 / days)) - 1.0
    except OverflowError:
        return None


def ratio(value: float | None, by: float | None) -> float | None:
    """``value / by``; None where either is unknown or ``by`` is 0.

    >>> ratio(0.5, 0.25), ratio(0.5, 0.0), ratio(None, 1.0)
    (2.0, None, None)
    """
    return None if value is None or by is None or by == 0 else value / by
