"""Labels and sample weights shared by families that read candles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tradebot.forecasters.base import Classes, Floats, Labels, Times
from tradebot.market.candle import DAY_MS

VOLATILITY_SPAN = 288
"""Candles over which the volatility that scales barriers is averaged: a day of 5m candles."""


def three_class(close: Floats, horizon_bars: int, threshold: float) -> Labels:
    """Class of ``ρ = c_{t+h}/c_t − 1``: up when ρ ≥ threshold, down when ρ ≤ −threshold, else neutral.

    Neutral rows stay: they exist when serving, and about three quarters of 5-minute rows are neutral
    (models.md section 4.2).

    >>> three_class(np.array([100.0, 100.1, 100.3, 100.0, 99.9]), 2, 0.002).classes.tolist()
    [2, 1, 0, -1, -1]
    """
    realised = np.full(len(close), np.nan)
    if len(close) > horizon_bars:
        realised[:-horizon_bars] = close[horizon_bars:] / close[:-horizon_bars] - 1.0
    classes: Classes = np.full(len(close), -1, dtype=np.int8)
    known = np.isfinite(realised)
    classes[known] = 1
    classes[known & (realised >= threshold)] = 2
    classes[known & (realised <= -threshold)] = 0
    return Labels(classes=classes, realised=realised)


def with_range(found: Labels, high: Floats, low: Floats, horizon_bars: int) -> Labels:
    """Labels with ln(highest / lowest) of the candles after each one up to the horizon, in bp; NaN where unknown.

    The range tells the volatility of those candles with a fifth of the variance of the squared return between two
    closes (Parkinson 1980).

    >>> high, low = np.array([1.0, 102.0, 101.0, 1.0]), np.array([1.0, 101.0, 100.0, 1.0])
    >>> with_range(three_class(np.full(4, 100.0), 2, 0.002), high, low, 2).range_bp.round(1).tolist()[:2]
    [198.0, 46151.2]
    """
    spread = np.full(len(high), np.nan)
    count = len(high) - horizon_bars
    if count > 0:
        highest = np.max([high[k : k + count] for k in range(1, horizon_bars + 1)], axis=0)
        lowest = np.min([low[k : k + count] for k in range(1, horizon_bars + 1)], axis=0)
        spread[:count] = np.log(highest / lowest) * 1e4
    return replace(found, range_bp=spread)


def triple_barrier(open_: Floats, high: Floats, low: Floats, close: Floats, horizon_bars: int, width: Floats) -> Labels:
    """Class of the barrier ``c_t (1 ± width_t)`` that is touched first within the horizon; neutral where none is.

    (López de Prado 2018, section 3.4.) A candle that opens beyond a barrier touches that one first; one that touches
    both without that leaves unknown which came first, and counts as neutral. ``width`` (N,) is a fraction, known at the
    close; where it is NaN there is no label (−1). ``realised`` is the return to the horizon, whatever was touched on
    the way.

    >>> up = np.array([100.0, 100.0, 100.5, 100.5]), np.array([100.0, 100.6, 100.6, 100.6])
    >>> down = np.array([100.0, 99.9, 100.3, 100.4]), np.array([100.0, 100.5, 100.5, 100.5])
    >>> triple_barrier(up[0], up[1], down[0], down[1], 2, np.full(4, 0.005)).classes.tolist()
    [2, 1, -1, -1]
    """
    realised = three_class(close, horizon_bars, 0.0).realised
    classes: Classes = np.full(len(close), -1, dtype=np.int8)
    known = np.isfinite(realised) & np.isfinite(width) & (width > 0.0)
    classes[known] = 1
    upper, lower = close * (1.0 + width), close * (1.0 - width)
    open_end = known.copy()
    for step in range(1, horizon_bars + 1):
        at = np.flatnonzero(open_end)
        then = at + step
        over, under = high[then] >= upper[at], low[then] <= lower[at]
        over_first, under_first = open_[then] >= upper[at], open_[then] <= lower[at]
        classes[at[over_first | (over & ~under)]] = 2
        classes[at[under_first | (under & ~over)]] = 0
        open_end[at[over | under]] = False
    return Labels(classes=classes, realised=realised)


def volatility_width(close: Floats, horizon_bars: int, multiple: float) -> Floats:
    """Width of barriers (N,): ``multiple`` times the volatility of the last day scaled to the horizon, as a fraction.

    Exponentially weighted root mean square of log returns with a span of 288 candles; NaN for the first 288.

    >>> width = volatility_width(100.0 * np.exp(0.001 * np.cumsum(np.tile([1.0, -1.0], 300))), 1, 2.0)
    >>> bool(np.isnan(width[287])), round(float(width[-1]), 6)
    (True, 0.002)
    """
    keep = 1.0 - 2.0 / (VOLATILITY_SPAN + 1.0)
    squared = np.diff(np.log(close)) ** 2
    mean = np.empty(len(close))
    mean[:1] = np.nan
    total = norm = 0.0
    for i, value in enumerate(squared.tolist(), start=1):
        total, norm = keep * total + value, keep * norm + 1.0
        mean[i] = total / norm
    mean[:VOLATILITY_SPAN] = np.nan
    return multiple * np.sqrt(mean * horizon_bars)


def uniqueness(at_ms: Times, label_end_ms: Times, bar_ms: int) -> Floats:
    """Average uniqueness of each label: the mean over its bars of 1 / (labels alive in that bar).

    (López de Prado, *Advances in Financial Machine Learning*, 2018, section 4.4.) Label i lives in (at, label_end].

    >>> at = np.array([0, 1, 2, 10])
    >>> uniqueness(at, at + 2, 1).round(3).tolist()
    [0.75, 0.5, 0.75, 1.0]
    """
    if len(at_ms) == 0:
        return np.zeros(0)
    origin = int(at_ms[0])
    start = (at_ms - origin) // bar_ms
    end = (label_end_ms - origin) // bar_ms
    steps = np.zeros(int(end.max()) + 1, dtype=np.int64)
    np.add.at(steps, start, 1)
    np.add.at(steps, end, -1)
    alive = np.cumsum(steps)
    shares = np.concatenate([[0.0], np.cumsum(1.0 / np.maximum(alive, 1))])
    result: Floats = (shares[end] - shares[start]) / (end - start)
    return result


def time_decay(at_ms: Times, newest_ms: int, half_life_days: float) -> Floats:
    """Weight that halves with every ``half_life_days`` of age.

    >>> time_decay(np.array([0, 45 * DAY_MS]), 45 * DAY_MS, 45.0).tolist()
    [0.5, 1.0]
    """
    age_days = (newest_ms - at_ms) / DAY_MS
    result: Floats = 0.5 ** (age_days / half_life_days)
    return result
