"""A plain multinomial logistic regression on a handful of features: what a booster or a net has to beat.

Fitted by Newton's method on the same training rows and weights, with the same three classes and the same way from
probabilities to an expected return, so that what a larger model adds is its form alone (models.md section 7, item 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tradebot.forecasters.base import Floats, Inputs, Rows, Sample, class_returns_bp, newest_rows

RIDGE: Final = 1e-4
"""Penalty per unit of weight; keeps the fit finite where a feature separates the classes."""
FARTHEST: Final = 5.0
"""Standard deviations beyond which a feature counts as no farther: linear scores must not explode on an outlier."""
STEPS: Final = 50
CLASSES: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Logistic:
    """A fitted regression. ``columns`` index the rows' features; ``coefficients`` (K + 1, 2) are of down and up against
    neutral, the last row the intercepts."""

    columns: tuple[int, ...]
    logged: tuple[bool, ...]
    mean: Floats
    deviation: Floats
    coefficients: Floats
    class_bp: Floats

    def predict(self, rows: Inputs) -> tuple[Floats, Floats]:
        """Probabilities (N, 3) in [down, neutral, up] and expected return in bp (N,)."""
        p = class_probabilities(self._inputs(newest_rows(rows)), self.coefficients)
        expected: Floats = p @ self.class_bp
        return p, expected

    def _inputs(self, rows: Rows) -> Floats:
        x = (_raw(rows, self.columns, self.logged) - self.mean) / self.deviation
        return _with_intercept(np.clip(np.nan_to_num(x), -FARTHEST, FARTHEST))


def fit_logistic(train: Sample, features: Sequence[str], chosen: Sequence[str]) -> Logistic:
    """Fit on the ``chosen`` ones of ``features`` (the names of the sample's columns).

    Features are standardised on the training rows, as logarithms where they are positive throughout; a missing value
    counts as the mean. Raises ValueError for a name that is no feature.
    """
    columns = tuple(list(features).index(name) for name in chosen)
    rows = newest_rows(train.rows)
    own = rows[:, columns]
    with np.errstate(invalid="ignore"):
        logged = tuple(bool((column[np.isfinite(column)] > 0).all()) for column in own.T)
    raw = _raw(rows, columns, logged)
    known = np.isfinite(raw)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, raw, 0.0).sum(axis=0) / count
    deviation = np.sqrt(np.where(known, (raw - mean) ** 2, 0.0).sum(axis=0) / count)
    start = Logistic(
        columns=columns,
        logged=logged,
        mean=mean,
        deviation=np.where(deviation > 0, deviation, 1.0),
        coefficients=np.zeros((len(columns) + 1, CLASSES - 1)),
        class_bp=class_returns_bp(train),
    )
    x = start._inputs(rows)
    return Logistic(
        columns=columns,
        logged=logged,
        mean=start.mean,
        deviation=start.deviation,
        coefficients=newton(x, np.eye(CLASSES)[train.classes], train.weight),
        class_bp=start.class_bp,
    )


def newton(x: Floats, happened: Floats, weight: Floats, *, penalty: float = RIDGE) -> Floats:
    """Coefficients (K, 2), of down and up against neutral, that maximise the weighted likelihood of ``happened`` (N, 3)
    given ``x`` (N, K), less a ridge of ``penalty`` per unit of weight. The last column of ``x`` is the intercept's, 1
    throughout, and not penalised."""
    size = x.shape[1]
    ridge = penalty * float(weight.sum()) * np.append(np.ones(size - 1), 0.0)
    moved = happened[:, [0, 2]]
    beta = np.zeros((size, CLASSES - 1))
    for _ in range(STEPS):
        p = class_probabilities(x, beta)[:, [0, 2]]
        gradient = x.T @ (weight[:, None] * (moved - p)) - ridge[:, None] * beta
        hessian = np.empty((2 * size, 2 * size))
        for a in range(2):
            for b in range(2):
                curve = weight * p[:, a] * ((1.0 if a == b else 0.0) - p[:, b])
                hessian[a * size : (a + 1) * size, b * size : (b + 1) * size] = x.T @ (curve[:, None] * x)
        hessian[np.diag_indices(2 * size)] += np.tile(ridge, 2) + 1e-9
        step = np.linalg.solve(hessian, gradient.T.ravel()).reshape(2, size).T
        beta = beta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-8:
            break
    return beta


def class_probabilities(x: Floats, beta: Floats) -> Floats:
    """Probabilities (N, 3) in [down, neutral, up] of inputs (N, K) with the coefficients (K, 2) of ``newton``."""
    score = x @ beta
    scores = np.stack([score[:, 0], np.zeros(len(x)), score[:, 1]], axis=1)
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    p: Floats = grown / grown.sum(axis=1, keepdims=True)
    return p


def _raw(rows: Rows, columns: tuple[int, ...], logged: tuple[bool, ...]) -> Floats:
    x = rows[:, columns].astype(np.float64)
    for j in np.flatnonzero(logged):
        x[:, j] = np.log(np.maximum(x[:, j], 1e-12))
    return x


def _with_intercept(x: Floats) -> Floats:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)
