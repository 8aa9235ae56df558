"""The original LightGBM recipe beside its honest twin: what a shuffled split makes of nothing.

The original (models.md section 4.1): 58 indicators, price levels among them; rows that moved less than the threshold
dropped; a shuffled stratified 80/20 split; early stopping, search and score all on the same 20 %; each trial scored
0.7 accuracy + 0.15 precision + 0.15 recall. Labels of neighbouring candles overlap and price levels tell when a row
was, so a shuffled row is recognised by its neighbours: on random walks that scores about 60 %. The twin is the same
but for its split: oldest rows to fit on, later ones to stop and choose by, the newest, untouched, to score; rows whose
labels overlap a border are left out.

Nothing here is ever stored or served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import lightgbm
import numpy as np
import numpy.typing as npt
import optuna

from tradebot.errors import DataError
from tradebot.evaluation.classification import auc
from tradebot.forecasters import lightgbm_compat_features as indicators
from tradebot.forecasters.base import CandleColumns, Floats
from tradebot.forecasters.labels import three_class

TEST_SHARE: Final = 0.2
EARLY_STOPPING: Final = 100
WARM_UP: Final = 200
"""Candles until the longest average is one."""
MIN_DECIDED: Final = 300

Flags = npt.NDArray[np.bool_]
OnTrial = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scores:
    """On rows that moved beyond the threshold: shares of 1, area under the curve. ``trial`` is the original's score."""

    rows: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    auc: float | None

    @property
    def trial(self) -> float:
        return 0.7 * self.accuracy + 0.15 * self.precision + 0.15 * self.recall


@dataclass(frozen=True, slots=True)
class Comparison:
    """``shuffled`` as the original tells it, ``chronological`` on the newest rows, which decided nothing."""

    shuffled: Scores
    chronological: Scores

    def line(self) -> str:
        """One line for a person."""
        a, b = self.shuffled, self.chronological
        return (
            f"the original recipe is right on {a.accuracy:.1%} of {a.rows} shuffled decided rows (F1 {a.f1:.2f}) "
            f"and on {b.accuracy:.1%} of the newest {b.rows} (F1 {b.f1:.2f}): the difference is the split, not skill; "
            "nothing is stored"
        )


def compare(
    candles: CandleColumns,
    *,
    horizon: int,
    threshold: float,
    trials: int,
    rounds: int,
    seed: int,
    threads: int,
    on_trial: OnTrial = lambda done, total: None,
) -> Comparison:
    """Run both on the same candles. Raises DataError where too few rows moved."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = indicators.table(candles)
    found = three_class(candles.close, horizon, threshold)
    keep = np.isfinite(table).all(axis=1) & (found.classes != 1) & (found.classes >= 0)
    keep[:WARM_UP] = False
    x, up, at = table[keep], found.classes[keep] == 2, np.flatnonzero(keep)
    if len(x) < MIN_DECIDED or up.all() or not up.any():
        raise DataError(f"{len(x)} rows moved by {threshold:.1%}, at least {MIN_DECIDED} both ways are needed")
    fitting, test = _shuffled(up, seed)
    one = _recipe(x, up, fitting, test, test, trials, rounds, seed, threads, lambda n: on_trial(n, 2 * trials))
    early, late, newest = _chronological(at, horizon)
    other = _recipe(
        x, up, early, late, newest, trials, rounds, seed, threads, lambda n: on_trial(trials + n, 2 * trials)
    )
    return Comparison(one, other)


def _shuffled(up: Flags, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows to fit on and to score, drawn at random within each class."""
    rng = np.random.default_rng(seed)
    fitting, test = [], []
    for side in (False, True):
        own = rng.permutation(np.flatnonzero(up == side))
        cut = round(len(own) * TEST_SHARE)
        test.append(own[:cut])
        fitting.append(own[cut:])
    return np.concatenate(fitting), np.concatenate(test)


def _chronological(at: npt.NDArray[np.int64], horizon: int) -> tuple[Any, Any, Any]:
    """Rows to fit on, to stop and choose by, and to score, in time, without overlapping labels at the borders."""
    test_from = at[round(len(at) * (1 - TEST_SHARE))]
    late_from = at[round(len(at) * (1 - TEST_SHARE) ** 2)]
    early = np.flatnonzero(at + horizon < late_from)
    late = np.flatnonzero((at >= late_from) & (at + horizon < test_from))
    return early, late, np.flatnonzero(at >= test_from)


def _recipe(
    x: Floats,
    up: Flags,
    fitting: npt.NDArray[np.int64],
    stopping: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    trials: int,
    rounds: int,
    seed: int,
    threads: int,
    on_trial: Callable[[int], None],
) -> Scores:
    """Search on ``stopping``, the winner's scores on ``test``."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    binning = {"verbosity": -1, "feature_pre_filter": False, "num_threads": threads}
    train = lightgbm.Dataset(x[fitting], up[fitting].astype(float), params=binning, free_raw_data=False)
    held_out = lightgbm.Dataset(x[stopping], up[stopping].astype(float), reference=train, params=binning)
    boosters = {}
    for done in range(trials):
        trial = study.ask()
        params = {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 31, 512, log=True),
            "max_depth": trial.suggest_int("max_depth", 5, 20),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 100),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.5, 1.0),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
            "bagging_freq": 1,
            "lambda_l1": trial.suggest_float("lambda_l1", 1e-8, 10.0, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 1e-8, 10.0, log=True),
        }
        fixed = {"objective": "binary", "metric": "binary_logloss", "seed": seed, "deterministic": True}
        boosters[trial.number] = lightgbm.train(
            {**binning, **fixed, **params},
            train,
            num_boost_round=rounds,
            valid_sets=[held_out],
            callbacks=[lightgbm.early_stopping(EARLY_STOPPING, verbose=False)],
        )
        study.tell(trial, _scores(boosters[trial.number].predict(x[stopping]), up[stopping]).trial)
        on_trial(done + 1)
    best = boosters[study.best_trial.number]
    return _scores(best.predict(x[test]), up[test])


def _scores(p: Any, up: Flags) -> Scores:
    """Scores of saying up from one half on."""
    said = np.asarray(p) >= 0.5
    hit = float((said & up).sum())
    precision, recall = hit / max(float(said.sum()), 1.0), hit / max(float(up.sum()), 1.0)
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    return Scores(len(up), float((said == up).mean()), precision, recall, f1, auc(p, up))
