"""Sums, ranges and ratios over the last few candles, recomputed for every row so that nothing drifts.

A window of ``length`` candles is added up from sums over four, which keeps the error at a few units in the last place
(a running sum would carry the rounding of every crash in it) at an eighth of the additions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tradebot.features.compiled import part
from tradebot.features.layout import BARS, HIGH, HIGH4, LOW, LOW4

Floats = NDArray[np.float64]

EPS = 1e-12
NAN = math.nan
RING = BARS - 1


@part
def window_sum(bars: Floats, fours: Floats, n: int, column: int, length: int) -> float:
    """Sum of a summed column over ``length`` ≤ 48 candles ending with bar ``n``."""
    total = 0.0
    full = length - length % 4
    for back in range(0, full, 4):
        total += fours[(n - back) & RING, column]
    for back in range(full, length):
        total += bars[(n - back) & RING, column]
    return total


@part
def highest(bars: Floats, n: int, length: int) -> float:
    """Highest high of ``length`` candles ending with bar ``n``."""
    top = float(bars[n & RING, HIGH])
    full = length - length % 4
    for back in range(0, full, 4):
        top = max(top, bars[(n - back) & RING, HIGH4])
    for back in range(full, length):
        top = max(top, bars[(n - back) & RING, HIGH])
    return top


@part
def lowest(bars: Floats, n: int, length: int) -> float:
    """Lowest low of ``length`` candles ending with bar ``n``."""
    bottom = float(bars[n & RING, LOW])
    full = length - length % 4
    for back in range(0, full, 4):
        bottom = min(bottom, bars[(n - back) & RING, LOW4])
    for back in range(full, length):
        bottom = min(bottom, bars[(n - back) & RING, LOW])
    return bottom


@part
def ratio(above: float, below: float, floor: float) -> float:
    """``above / below``, or NaN where the denominator does not exceed ``floor``: undefined, not zero or infinite."""
    return above / below if below > floor else NAN


@part
def root(square: float) -> float:
    """Square root of a mean of squares; rounding below zero counts as zero."""
    return math.sqrt(max(square, 0.0))


@part
def correlation(length: int, x: float, y: float, xx: float, yy: float, xy: float) -> float:
    """Pearson correlation from sums over ``length`` pairs; NaN where a side does not vary beyond rounding."""
    var_x = xx - x * x / length
    var_y = yy - y * y / length
    if var_x <= EPS * xx or var_y <= EPS * yy:
        return NAN
    return max(-1.0, min(1.0, (xy - x * y / length) / math.sqrt(var_x * var_y)))
