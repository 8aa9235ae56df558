"""Whether the rows learnt from look like the recent ones: a classifier is asked to tell them apart.

It is asked block by block about rows it did not see, since neighbours in time always look alike. Where it can
(AUC > 0.7), the features that give the past away are dropped, and old rows that look recent count more, by the odds
p / (1 − p) that they are (covariate shift: Sugiyama, Krauledat & Müller 2007).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import lightgbm
import numpy as np

from tradebot.errors import DataError
from tradebot.evaluation.classification import auc
from tradebot.forecasters.base import Floats, Rows, Sample, newest_rows

TELLS_APART = 0.7
MOST_DROPPED = 5
BLOCKS = 4
LEAST_ROWS = 150
LIGHTEST, HEAVIEST = 0.1, 10.0
_PARAMS = {
    "objective": "binary",
    "num_leaves": 7,
    "max_bin": 63,
    "min_data_in_leaf": 50,
    "learning_rate": 0.1,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}
_ROUNDS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """``auc`` of telling old from recent rows with every feature, ``auc_left`` without those in ``dropped`` (the
    strongest first); ``weight`` (N,) of the old rows, mean 1 (all 1 where nothing tells them apart)."""

    auc: float
    auc_left: float
    dropped: tuple[str, ...]
    weight: Floats

    @property
    def drifted(self) -> bool:
        return self.auc > TELLS_APART


def adversarial(old: Sample, recent: Sample, features: tuple[str, ...], *, seed: int = 7, threads: int = 1) -> Drift:
    """Tell the rows apart. Raises DataError for fewer than 150 rows of either."""
    if min(len(old), len(recent)) < LEAST_ROWS:
        raise DataError(
            f"{len(old)} old and {len(recent)} recent rows: {LEAST_ROWS} of each are the least; use more days"
        )
    rows = np.concatenate([newest_rows(old.rows), newest_rows(recent.rows)])
    is_recent = np.concatenate([np.zeros(len(old)), np.ones(len(recent))])
    fold = np.concatenate([_blocks(len(old)), _blocks(len(recent))])
    columns = list(range(len(features)))
    dropped: list[str] = []
    p, gain = _told(rows, is_recent, fold, seed, threads)
    first = left = auc(p, is_recent) or 0.5
    while left > TELLS_APART and len(dropped) < MOST_DROPPED and len(columns) > 1:
        strongest = int(np.argmax(gain))
        dropped.append(features[columns.pop(strongest)])
        p, gain = _told(rows[:, columns], is_recent, fold, seed, threads)
        left = auc(p, is_recent) or 0.5
    weight = np.ones(len(old))
    if first > TELLS_APART:
        own = np.clip(p[: len(old)], 1e-3, 1 - 1e-3)
        weight = np.clip(own / (1 - own) * len(old) / len(recent), LIGHTEST, HEAVIEST)
    return Drift(auc=first, auc_left=left, dropped=tuple(dropped), weight=weight / float(weight.mean()))


def reweighed(old: Sample, drift: Drift) -> Sample:
    """The old rows with their weights times the odds of looking recent, scaled to a mean of 1."""
    weight = old.weight * drift.weight
    return replace(old, weight=weight / float(weight.mean()))


def _told(rows: Rows, is_recent: Floats, fold: np.ndarray, seed: int, threads: int) -> tuple[Floats, Floats]:
    """How likely each row is recent, said by a classifier that saw neither it nor its block; and each column's gain."""
    said, gain = np.empty(len(rows)), np.zeros(rows.shape[1])
    for held in range(BLOCKS):
        seen = fold != held
        data = lightgbm.Dataset(rows[seen], label=is_recent[seen], free_raw_data=False)
        booster = lightgbm.train({**_PARAMS, "seed": seed, "num_threads": threads}, data, num_boost_round=_ROUNDS)
        said[~seen] = np.asarray(booster.predict(rows[~seen], num_threads=threads))
        gain += booster.feature_importance("gain")
    return said, gain


def _blocks(count: int) -> np.ndarray:
    return np.arange(count) * BLOCKS // count
