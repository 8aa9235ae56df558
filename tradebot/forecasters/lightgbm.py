"""LightGBM on closed 5-minute candles, two candles ahead (models.md section 4).

Looks at the candle catalogue (float32). Label: ``c_{t+2}/c_t − 1`` beyond ±0.2 %, three classes. Weighted by label
uniqueness and age. The graph gives ``probabilities`` [down, neutral, up] and ``expected_bp``, the probabilities times
each class's mean return on the training rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightgbm
import msgspec
import numpy as np
import numpy.typing as npt

import tradebot.features.candles as catalogue
from tradebot.errors import ConfigError, DataError
from tradebot.forecasters import labels
from tradebot.forecasters.base import (
    CandleColumns,
    Exported,
    Floats,
    Inputs,
    Labels,
    OnRound,
    Options,
    Params,
    Round,
    Rows,
    Sample,
    Times,
    Trial,
    as_served,
    class_returns_bp,
)
from tradebot.forecasters.lightgbm_export import exact_float32, to_onnx
from tradebot.forecasters.options import options_of
from tradebot.market.candle import INTERVAL_MS

HORIZON_BARS = 2
THRESHOLD = 0.002
HALF_LIFE_DAYS = 45.0
MAX_BIN = 127
"""Fixed rather than searched: rows are binned once for all trials."""
BASELINE_FEATURES = (
    "rv_12",
    "rv_48",
    "atr_pct",
    "parkinson_24",
    "vol_ratio",
    "ret_1",
    "ret_3",
    "ret_12",
    "hour_sin",
    "hour_cos",
)
"""Ten features a person would start with: how much it moves, how it moved, and the time of day."""

_QUIET = {"verbosity": -1}


class LightGbmOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person sets."""


@dataclass(frozen=True, slots=True)
class LightGbm:
    """The family ``lightgbm``."""

    name: str = "lightgbm"
    interval: str = "5m"
    horizon_bars: int = HORIZON_BARS
    device: Literal["cpu", "any"] = "cpu"
    """ONNX Runtime has no GPU kernel for tree ensembles."""
    view: str = "candles-5m"
    steps: int = 1
    counts: Literal["rounds"] = "rounds"

    @classmethod
    def of(cls, options: Options, interval: str) -> LightGbm:
        options_of(LightGbmOptions, "lightgbm", options)
        if interval not in ("", "5m"):
            raise ConfigError(f"lightgbm reads 5m candles, not {interval}")
        return cls()

    @property
    def options(self) -> Params:
        return {}

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(catalogue.NAMES)

    @property
    def schema_hash(self) -> str:
        return catalogue.SCHEMA_HASH

    @property
    def baseline_features(self) -> tuple[str, ...]:
        return BASELINE_FEATURES

    @property
    def fixed(self) -> Params:
        return {"max_bin": MAX_BIN, "half_life_days": HALF_LIFE_DAYS, "move_threshold": THRESHOLD}

    def rows(self, candles: CandleColumns) -> tuple[Rows, npt.NDArray[np.bool_]]:
        return catalogue.batch(candles.open_ms, candles.open, candles.high, candles.low, candles.close, candles.volume)

    def label(self, candles: CandleColumns) -> Labels:
        return labels.three_class(candles.close, HORIZON_BARS, THRESHOLD)

    def weight(self, at_ms: Times, label_end_ms: Times, newest_ms: int) -> Floats:
        unique = labels.uniqueness(at_ms, label_end_ms, INTERVAL_MS[self.interval])
        return unique * labels.time_decay(at_ms, newest_ms, HALF_LIFE_DAYS)

    def suggest(self, trial: Trial, rounds: int) -> Params:
        """The space of models.md section 4.3. Rates too small to arrive within ``rounds`` are left out."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", _slowest(rounds), 0.15, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 15, 127, log=True),
            "max_depth": trial.suggest_int("max_depth", 3, 10),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 50, 1000, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.4, 1.0),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
            "bagging_freq": trial.suggest_int("bagging_freq", 1, 7),
            "lambda_l1": trial.suggest_float("lambda_l1", 1e-8, 10.0, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 1e-8, 10.0, log=True),
            "min_gain_to_split": trial.suggest_float("min_gain_to_split", 0.0, 0.5),
            "path_smooth": trial.suggest_float("path_smooth", 0.0, 20.0),
        }

    def defaults(self, rounds: int) -> Params:
        return {
            "learning_rate": max(0.05, _slowest(rounds)),
            "num_leaves": 15,
            "max_depth": 5,
            "min_data_in_leaf": 200,
            "feature_fraction": 0.6,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l1": 0.1,
            "lambda_l2": 1.0,
            "min_gain_to_split": 0.0,
            "path_smooth": 5.0,
        }

    def prepare(self, train: Sample, validation: Sample, *, seed: int, threads: int) -> Prepared:
        present = np.bincount(train.classes, minlength=3)
        if np.count_nonzero(present) < 3:
            raise DataError(
                f"training rows hold {present[0]} down, {present[1]} neutral and {present[2]} up labels; all three are "
                f"needed (a move is ±{THRESHOLD:.1%} in {HORIZON_BARS} candles): use more days or a livelier symbol"
            )
        binning = _QUIET | {
            "max_bin": MAX_BIN,
            "feature_pre_filter": False,
            "data_random_seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "force_row_wise": True,
        }
        fitting = lightgbm.Dataset(
            as_served(train.rows),
            label=train.classes,
            weight=train.weight,
            feature_name=list(self.features),
            params=binning,
            free_raw_data=False,
        )
        held_out = lightgbm.Dataset(
            as_served(validation.rows),
            label=validation.classes,
            weight=validation.weight,
            reference=fitting,
            params=binning,
        )
        fitting.construct()
        held_out.construct()
        return Prepared(fitting, held_out, class_returns_bp(train), seed, threads)

    def fit(
        self,
        prepared: Prepared,
        params: Params,
        *,
        rounds: int,
        on_round: OnRound | None = None,
        work: Path | None = None,
    ) -> FittedBooster:
        fixed = _QUIET | {
            "objective": "multiclass",
            "num_class": 3,
            "metric": "multi_logloss",
            "max_bin": MAX_BIN,
            "feature_pre_filter": False,
            "seed": prepared.seed,
            "data_random_seed": prepared.seed,
            "bagging_seed": prepared.seed + 1,
            "feature_fraction_seed": prepared.seed + 2,
            "num_threads": prepared.threads,
            "deterministic": True,
            "force_row_wise": True,
        }
        stopping = _Stopping(patience(float(params["learning_rate"])), on_round)
        booster = lightgbm.train(
            fixed | params,
            prepared.train,
            num_boost_round=rounds,
            valid_sets=[prepared.validation],
            valid_names=["validation"],
            callbacks=[stopping],
        )
        text = booster.model_to_string(num_iteration=stopping.best_round)
        return FittedBooster(
            text, stopping.best_round, stopping.best_loss, prepared.class_bp, self.features, stopping.history
        )


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Binned rows that every fit on them shares, and the mean return of each class among them (bp)."""

    train: Any
    validation: Any
    class_bp: Floats
    seed: int
    threads: int


class FittedBooster:
    """A booster whose thresholds are float32 values, so that the ONNX graph can hold them exactly."""

    def __init__(
        self,
        text: str,
        rounds: int,
        loss: float,
        class_bp: Floats,
        features: tuple[str, ...],
        history: tuple[Round, ...] = (),
    ) -> None:
        self.rounds = rounds
        self.validation_loss = loss
        self.class_bp = class_bp
        self._fitted_text = text
        self._features = features
        self._text = exact_float32(text)
        self._booster = lightgbm.Booster(model_str=self._text)
        self.history = history

    @property
    def importance(self) -> Mapping[str, float]:
        """Share of the loss that splits on a feature took away."""
        gain = np.asarray(self._booster.feature_importance("gain"), dtype=np.float64)
        shares = gain / max(float(gain.sum()), 1e-12)
        return dict(zip(self._features, shares.tolist(), strict=True))

    def predict(self, rows: Inputs) -> tuple[Floats, Floats]:
        probabilities = np.asarray(self._booster.predict(as_served(rows), num_threads=1), dtype=np.float64)
        return probabilities, probabilities @ self.class_bp

    def export(self, check: Inputs) -> Exported:
        onnx = to_onnx(
            fitted=lightgbm.Booster(model_str=self._fitted_text),
            exact=self._booster,
            class_bp=self.class_bp,
            features=len(self._features),
            check=as_served(check),
        )
        return Exported(onnx=onnx, files={"model.txt": self._text.encode()}, input_name="row")


def patience(learning_rate: float) -> int:
    """Rounds without improvement before stopping: slower learners wait longer.

    >>> patience(0.1), patience(0.02)
    (20, 100)
    """
    return max(10, min(100, math.ceil(2.0 / learning_rate)))


def _slowest(rounds: int) -> float:
    """A learning rate at which ``rounds`` make about five full steps; never below the space's 0.01."""
    return min(0.1, max(0.01, 5.0 / rounds))


class _Stopping:
    """Early stopping that also lets the tuning loop prune."""

    order = 30
    before_iteration = False

    def __init__(self, rounds_without_gain: int, on_round: OnRound | None) -> None:
        self.best_round = 1
        self.best_loss = math.inf
        self._rounds: list[Round] = []
        self._patience = rounds_without_gain
        self._on_round = on_round

    @property
    def history(self) -> tuple[Round, ...]:
        return tuple(self._rounds)

    def __call__(self, env: Any) -> None:
        loss = float(env.evaluation_result_list[0][2])
        done = env.iteration + 1
        if loss < self.best_loss:
            self.best_loss, self.best_round = loss, done
        self._rounds.append(Round(done, math.nan, loss))
        stop = self._on_round is not None and self._on_round(done, loss)
        if stop or done - self.best_round >= self._patience:
            raise lightgbm.callback.EarlyStopException(self.best_round - 1, env.evaluation_result_list)
