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

LEAST_GAIN: Final = 0.01
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

    Gain and share are those of the least mean absolute error of the return. The gain is then pulled to zero by how
    likely the improvement over no change is chance, ``1 − (se / improvement)²`` with the standard error of a stationary
    bootstrap over blocks of ``rows`` rows; see ``LEAST_GAIN``. The spread is that of the least log-loss of the classes.
    """
    best, chosen = math.inf, (0.0, 1.0)
    for share in SHARES if linear is not None else (1.0,):
        said = level * (share * nets + (1.0 - share) * (0.0 if linear is None else linear))
        for gain in GAINS:
            error = float(np.abs(log_return - gain * said).mean())
            if error < best:
                best, chosen = error, (float(gain), share)
    gain, share = chosen
    said = level * (share * nets + (1.0 - share) * (0.0 if linear is None else linear))
    if gain > 0:
        better = np.abs(log_return) - np.abs(log_return - gain * said)
        seen = mean_interval(better, block=float(rows), draws=500, seed=0, level=0.6827)
        error = (seen.high - seen.low) / 2
        gain *= max(0.0, 1.0 - (error / seen.mean) ** 2) if seen.mean > 0 else 0.0
    gain = max(gain, LEAST_GAIN)
    return Blend(gain, share, spread(gain * said, level, classes, threshold))


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
