"""Labels and sample weights shared by families that read candles."""

from __future__ import annotations

import numpy as np

from tradebot.forecasters.base import Classes, Floats, Labels, Times
from tradebot.market.candle import DAY_MS


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
