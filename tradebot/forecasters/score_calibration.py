"""From a score that means little by itself (votes of neighbours, the logit of a net) to three probabilities.

A multinomial logistic regression of the outcome on the scores, fitted on rows the scores were not made from, with a
ridge that pulls what is not there towards the base rates: scores without any skill give the base rates. Those are of
all rows before, not of the few that the scores are calibrated on: a quiet fortnight is no law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tradebot.errors import DataError
from tradebot.forecasters.base import Classes, Floats, Sample
from tradebot.forecasters.logistic import class_probabilities, newton

PENALTY: Final = 0.01
"""Of the ridge, per unit of weight, where labels abound."""
LEAST_ROWS: Final = 30
LEAST_PURGED: Final = 10
"""Rows that must be left of the older half where nothing but a loss is read off its calibration: the ridge pulls so few
to the base rates."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """``probabilities = softmax([s·a₀ + b₀, 0, s·a₁ + b₁])`` over [down, neutral, up] of scores s (N, K).

    ``slopes`` (K, 2), ``intercepts`` (2,).
    """

    slopes: Floats
    intercepts: Floats

    def __call__(self, scores: Floats) -> Floats:
        """Probabilities (N, 3) of scores (N, K)."""
        s = np.asarray(scores, dtype=np.float64)
        ones = np.ones((len(s), 1))
        return class_probabilities(np.concatenate([s, ones], axis=1), np.vstack([self.slopes, self.intercepts]))

    @property
    def weights(self) -> Floats:
        """Slopes (K, 3) with a column of zeros for neutral, as a graph multiplies by them."""
        return np.insert(self.slopes, 1, 0.0, axis=1)

    @property
    def biases(self) -> Floats:
        """Intercepts (3,), 0 for neutral."""
        return np.insert(self.intercepts, 1, 0.0)


def calibrate(
    scores: Floats, classes: Classes, weight: Floats, *, independent: float, before: Floats | None = None
) -> Calibration:
    """Fit on scores (N, K) of rows with known ``classes`` (0 down, 1 neutral, 2 up).

    ``independent``: how many labels of the rows do not overlap; the fewer, the more is pulled to the base rates. Scores
    are standardised for the fit, so that the penalty means the same whatever their unit. ``before``: weight (3,) of the
    classes in earlier rows, which count at the mean score; each class gets a row more, since one that never came is
    rare, not impossible. Raises DataError for fewer than 30 rows.
    """
    if len(scores) < LEAST_ROWS:
        raise DataError(f"{len(scores)} rows are too few to calibrate on, {LEAST_ROWS} are the least; use more days")
    return _fit(scores, classes, weight, independent, before)


def _fit(scores: Floats, classes: Classes, weight: Floats, independent: float, before: Floats | None) -> Calibration:
    s = np.asarray(scores, dtype=np.float64)
    mean, deviation = s.mean(axis=0), s.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    x = np.concatenate([(s - mean) / deviation, np.ones((len(s), 1))], axis=1)
    prior = np.zeros((3, x.shape[1]))
    prior[:, -1] = 1.0
    happened = np.concatenate([np.eye(3)[classes], np.eye(3)])
    total = np.concatenate([weight, 1.0 + (np.zeros(3) if before is None else before)])
    penalty = max(PENALTY, 1.0 / max(independent, 1.0)) * float(weight.sum() / total.sum())
    beta = newton(np.concatenate([x, prior]), happened, total, penalty=penalty)
    slopes = beta[:-1] / deviation[:, None]
    return Calibration(slopes=slopes, intercepts=beta[-1] - mean @ slopes)


def calibrate_on(scores: Floats, sample: Sample, before: Floats) -> Calibration:
    """Fit on the scores of a sample's rows; ``before`` as in ``calibrate``."""
    independent = independent_labels(sample)
    return calibrate(scores, sample.classes, sample.weight, independent=independent, before=before)


def class_weights(sample: Sample) -> Floats:
    """Weight (3,) of each class among a sample's rows."""
    weights: Floats = np.bincount(sample.classes, weights=sample.weight, minlength=3).astype(np.float64)
    return weights


def halves_loss(scores: Floats, sample: Sample, before: Floats) -> float:
    """Weighted log-loss (nats) of scores calibrated on one half of the rows (oldest first) and read off the other.

    Rows of the older half whose label is known only in the newer one are in neither. Raises DataError where a half has
    fewer than 30 rows, or fewer than 10 are left of it.
    """
    middle = len(scores) // 2
    if middle < LEAST_ROWS:
        raise DataError(
            f"{len(scores)} rows are too few to calibrate on one half and judge on the other, {2 * LEAST_ROWS} are the "
            "least; use more days"
        )
    newer = np.arange(len(scores)) >= middle
    older = ~newer & (sample.label_end_ms <= sample.at_ms[middle])
    if older.sum() < LEAST_PURGED:
        raise DataError(
            f"{int(older.sum())} of {middle} rows to calibrate on have a label that ends among them, {LEAST_PURGED} "
            "are the least; use more days or shorter labels"
        )
    losses, weights = [], []
    for fitting, judged in ((older, newer), (newer, older)):
        own = sample.where(fitting)
        calibration = _fit(scores[fitting], own.classes, own.weight, independent_labels(own), before)
        losses.append(log_losses(calibration(scores[judged]), sample.classes[judged]))
        weights.append(sample.weight[judged])
    return float(np.average(np.concatenate(losses), weights=np.concatenate(weights)))


def independent_labels(sample: Sample) -> float:
    """How many labels, one after the other, the sample's time span holds."""
    span = float(sample.label_end_ms[-1] - sample.at_ms[0])
    return max(1.0, span / float(np.mean(sample.label_end_ms - sample.at_ms)))


def log_losses(probabilities: Floats, classes: Classes) -> Floats:
    """Negative log-likelihood of what came, nats per row (N,)."""
    said = probabilities[np.arange(len(classes)), classes]
    losses: Floats = -np.log(np.clip(said, 1e-7, 1.0))
    return losses
