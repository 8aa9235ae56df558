"""How much of a result is owed to having tried many things: the deflated Sharpe ratio and the probability of
back-test overfitting.

The best of many useless strategies looks good: the best annualised Sharpe of 21 weekly windows of pure noise is 13.8 on
average. Both figures say how far a result is above that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, finite_vector
from tradebot.evaluation.performance import sharpe

EULER_GAMMA = float(np.euler_gamma)


def luck_of(trials: int) -> float:
    """The best of ``trials`` independent standard normal values, on average (Bailey & López de Prado 2014).

    >>> [round(luck_of(n), 2) for n in (1, 21, 50, 100)]
    [0.0, 1.92, 2.28, 2.53]
    """
    if trials < 1:
        raise DataError(f"a result comes from one trial at least, not {trials}")
    if trials == 1:
        return 0.0
    first, second = float(ndtri(1 - 1 / trials)), float(ndtri(1 - 1 / (trials * math.e)))
    return (1 - EULER_GAMMA) * first + EULER_GAMMA * second


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """``probability`` that the true Sharpe is above what luck alone gives the best of ``trials``.

    ``sharpe`` and ``luck`` (that bar) per period; ``deviation`` is the spread of the trials' Sharpe ratios that was
    used, ``assumed`` whether it had to be taken from theory. More than 0.95 is asked for.
    """

    probability: float
    sharpe: float
    luck: float
    trials: int
    deviation: float
    assumed: bool


def deflated_sharpe(
    returns: ArrayLike, *, trials: int, trial_sharpes: ArrayLike | None = None
) -> DeflatedSharpe | None:
    """Bailey & López de Prado, *The Deflated Sharpe Ratio* (2014), of the returns per period of the chosen trial.

    ``DSR = Phi((SR - SR0) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) SR^2 / 4))``, ``SR0 = std(SR) * luck_of(trials)``,
    skewness g3 and kurtosis g4 (3 for a normal distribution). ``trial_sharpes``: per-period Sharpe of the trials; when
    fewer than two are known their spread is taken to be that of useless trials, ``1 / sqrt(T - 1)``. With one trial it
    is the probabilistic Sharpe ratio against 0. None where the returns have no Sharpe.
    """
    x = finite_vector(returns, "returns")
    ratio = sharpe(x)
    if ratio is None:
        return None
    known = np.zeros(0) if trial_sharpes is None else np.asarray(trial_sharpes, dtype=np.float64)
    known = known[np.isfinite(known)]
    assumed = len(known) < 2
    deviation = 1 / math.sqrt(len(x) - 1) if assumed else float(known.std(ddof=1))
    luck = deviation * luck_of(trials)
    z = (x - x.mean()) / x.std()
    skew, kurtosis = float((z**3).mean()), float((z**4).mean())
    probability = probability_above(luck, ratio, periods=len(x), skew=skew, kurtosis=kurtosis)
    return None if probability is None else DeflatedSharpe(probability, ratio, luck, trials, deviation, assumed)


def probability_above(bar: float, sharpe: float, *, periods: int, skew: float, kurtosis: float) -> float | None:
    """How probable it is that the true Sharpe per period is above ``bar`` where ``sharpe`` was measured.

    None where the moments leave the estimate no spread (two values only).

    >>> round(probability_above(0.1132, 2.5 / 250**0.5, periods=1250, skew=-3, kurtosis=10), 2)  # the paper's example
    0.9
    """
    spread = 1 - skew * sharpe + (kurtosis - 1) * sharpe**2 / 4
    return float(ndtr((sharpe - bar) * math.sqrt((periods - 1) / spread))) if spread > 0 else None


@dataclass(frozen=True, slots=True)
class Overfitting:
    """``probability``: how often what was best on one half of the time is below the middle on the other half.

    About a half when choosing is worth nothing. ``loss_probability``: how often the chosen one lost on the other half.
    """

    probability: float
    loss_probability: float
    configurations: int
    splits: int


def overfitting(returns: ArrayLike, *, blocks: int = 16) -> Overfitting:
    """Probability of back-test overfitting by combinatorially symmetric cross-validation (Bailey et al. 2015).

    ``returns`` (T, N): a column for each configuration tried, the same periods in all. The rows are cut into ``blocks``
    (even) stretches; of every way to take half of them, the configuration with the best Sharpe there is ranked among
    all by its Sharpe on the other half. Raises DataError for fewer than two configurations or two rows a block.
    """
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < 2 or not np.isfinite(x).all():
        raise DataError(f"overfitting is told from two configurations or more without gaps, got shape {x.shape}")
    if blocks < 2 or blocks % 2 or len(x) < 2 * blocks:
        raise DataError(f"{len(x)} periods cannot be cut into {blocks} blocks (an even number, two periods each)")
    pieces = np.array_split(x, blocks)
    sums, squares = (np.stack([(p**power).sum(axis=0) for p in pieces]) for power in (1, 2))
    counts = np.array([len(p) for p in pieces], dtype=np.float64)
    halves = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, taken in enumerate(combinations(range(blocks), blocks // 2)):
        halves[row, list(taken)] = 1.0
    inside = _sharpes(halves @ sums, halves @ squares, halves @ counts)
    others = 1.0 - halves
    outside = _sharpes(others @ sums, others @ squares, others @ counts)
    at = np.arange(len(halves))
    best = inside.argmax(axis=1)
    own = outside[at, best][:, None]
    rank = 1.0 + (outside < own).sum(axis=1) + 0.5 * ((outside == own).sum(axis=1) - 1)
    share = rank / (x.shape[1] + 1)
    return Overfitting(
        probability=float((share <= 0.5).mean()),
        loss_probability=float(((others @ sums)[at, best] < 0).mean()),
        configurations=x.shape[1],
        splits=len(halves),
    )


def _sharpes(sums: Floats, squares: Floats, counts: Floats) -> Floats:
    """Sharpe per period from sums; 0 without variation."""
    n = counts[:, None]
    mean = sums / n
    variance = np.maximum(squares / n - mean**2, 0.0)
    flat = variance <= 1e-24 + 1e-12 * mean**2
    found: Floats = np.where(flat, 0.0, mean / np.sqrt(np.where(flat, 1.0, variance)))
    return found
