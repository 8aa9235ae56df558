"""How much of a price forecast to believe: chosen on validation rows, pulled towards no change.

Candle returns are nearly unpredictable, and a forecast that is too bold is worse than none. The bolder of two forecasts
with the same ranking loses; hence the gain.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tradebot.evaluation.bootstrap import mean_interval
from tradebot.forecasters.base import Classes, Floats
from tradebot.forecasters.bilstm_net import Blend

LEAST_GAIN: Final = 0.001
"""Where validation shows nothing the forecast still leans to a side, too little to matter in any error."""
GAINS: Final = np.concatenate([[0.0], np.geomspace(0.05, 4.0, 25)])
SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
SPREADS: Final = np.geomspace(0.4, 2.5, 38)


def ridge(x: Floats, y: Floats, weight: Floats, penalty: float) -> tuple[Floats, float]:
    """Weights and intercept that minimise the weighted squared error plus ``penalty`` per unit of weight; the intercept
    is not penalised."""
    share = weight / weight.sum()
    mean, level = share @ x, float(share @ y)
    centred = x - mean
    curve = centred.T @ (share[:, None] * centred) + penalty * np.eye(x.shape[1])
    beta: Floats = np.linalg.solve(curve, centred.T @ (share * (y - level)))
    return beta, level - float(mean @ beta)


def blend(
    nets: Floats,
    linear: Floats | None,
    level: Floats,
    log_return: Floats,
    classes: Classes,
    threshold: float,
    rows: int,
) -> Blend:
    """The blend for forecasts (in units of ``level``) of validation rows, oldest first.

    Gain and share are those of the least mean absolute error of the return. The linear forecast is kept alone unless
    a share of the nets is better by more than a standard error. The gain is then pulled to zero by how likely the
    improvement over no change is chance, ``1 − (se / improvement)²``; see ``LEAST_GAIN``. Standard errors are those of
    a stationary bootstrap over blocks of ``rows`` rows. The spread is that of the least log-loss of the classes.
    """

    def said(share: float) -> Floats:
        return level * (share * nets + (1.0 - share) * (0.0 if linear is None else linear))

    def errors(gain: float, share: float) -> Floats:
        wrong: Floats = np.abs(log_return - gain * said(share))
        return wrong

    def best_gain(share: float) -> float:
        return float(min(GAINS, key=lambda gain: errors(float(gain), share).mean()))

    def better_by(gain: float, share: float, than: Floats) -> tuple[float, float]:
        """Mean improvement and its standard error."""
        seen = mean_interval(than - errors(gain, share), block=float(rows), draws=500, seed=0, level=0.6827)
        return seen.mean, (seen.high - seen.low) / 2

    tried = [(best_gain(share), share) for share in (SHARES if linear is not None else (1.0,))]
    gain, share = min(tried, key=lambda one: errors(*one).mean())
    if share > 0 and linear is not None:
        improvement, error = better_by(gain, share, errors(*tried[0]))
        if improvement <= error:
            gain, share = tried[0]
    if gain > 0:
        improvement, error = better_by(gain, share, np.abs(log_return))
        gain *= max(0.0, 1.0 - (error / improvement) ** 2) if improvement > 0 else 0.0
    gain = max(gain, LEAST_GAIN)
    return Blend(gain, share, spread(gain * said(share), level, classes, threshold))


def spread(expected: Floats, level: Floats, classes: Classes, threshold: float) -> float:
    """The deviation, in units of ``level``, at which a normal distribution around the expected log returns gives the
    classes the least log-loss."""
    losses = []
    for wide in SPREADS:
        p = normal_classes(expected, wide * level, threshold)
        losses.append(float(-np.log(np.clip(p[np.arange(len(p)), classes], 1e-7, 1.0)).mean()))
    return float(SPREADS[int(np.argmin(losses))])


def normal_classes(expected: Floats, deviation: Floats, threshold: float) -> Floats:
    """Probabilities (N, 3) of [down, neutral, up] of normal log returns.

    >>> normal_classes(np.array([0.0]), np.array([0.002]), 0.002).round(3).tolist()
    [[0.158, 0.683, 0.159]]
    """
    up = _cdf((expected - math.log1p(threshold)) / deviation)
    down = _cdf((math.log1p(-threshold) - expected) / deviation)
    return np.stack([down, np.maximum(1.0 - up - down, 0.0), up], axis=1)


def _cdf(z: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(z), dtype=np.float64)
