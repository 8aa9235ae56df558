"""LightGBM on closed 5-minute candles, one to three candles ahead (models.md section 4).

Looks at the candle catalogue (float32). Label: ``c_{t+2}/c_t − 1`` beyond ±0.2 %, three classes, or triple barriers.
Weighted by label uniqueness and age. The graph gives ``probabilities`` [down, neutral, up] and ``expected_bp``, the
probabilities times each class's mean return on the training rows; with ``quantiles`` those of the return, too.

The default, ``two-stage``, is P(move) × P(up | move). Whether it moves is learnt from the *range* of the candles to
come, ln(highest / lowest), which shows their volatility far better than the return between two closes does; which way,
from the rows that moved. ``three-class`` is one softmax booster, ``binary`` the direction alone, as in the original
system, with the training rows' share of moves as P(move).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from tradebot.errors import ConfigError, DataError
from tradebot.events.models import FAMILY_INTERVALS
from tradebot.features.views import view
from tradebot.forecasters import labels
from tradebot.forecasters.base import (
    CandleColumns,
    Floats,
    Labels,
    OnRound,
    Options,
    Params,
    Rows,
    Sample,
    Times,
    Trial,
    as_served,
)
from tradebot.forecasters.lightgbm_fit import BLANK_SHARE, MAX_BIN, FittedBoosters, Fitting, Prepared, blanked, slowest
from tradebot.forecasters.lightgbm_head import CLASSES, DIRECTION, MOVE, SIZE
from tradebot.forecasters.lightgbm_options import LightGbmOptions
from tradebot.forecasters.options import options_of
from tradebot.market.candle import INTERVAL_MS

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


@dataclass(frozen=True, slots=True)
class LightGbm:
    """The family ``lightgbm``."""

    chosen: LightGbmOptions = field(default_factory=LightGbmOptions)
    name: str = "lightgbm"
    interval: str = FAMILY_INTERVALS["lightgbm"]
    device: Literal["cpu", "any"] = "cpu"
    """ONNX Runtime has no GPU kernel for tree ensembles."""
    view: str = "candles-5m"
    steps: int = 1
    counts: Literal["rounds"] = "rounds"
    loss: str = "log-loss, nats"

    @classmethod
    def of(cls, options: Options, interval: str) -> LightGbm:
        chosen = options_of(LightGbmOptions, "lightgbm", options)
        if interval not in ("", "5m"):
            raise ConfigError(f"lightgbm reads 5m candles, not {interval}")
        return cls(chosen)

    @property
    def horizon_bars(self) -> int:
        return self.chosen.horizon

    @property
    def options(self) -> Params:
        return dict(msgspec.structs.asdict(self.chosen))

    @property
    def features(self) -> tuple[str, ...]:
        return view(self.view).names

    @property
    def schema_hash(self) -> str:
        return view(self.view).schema_hash

    @property
    def baseline_features(self) -> tuple[str, ...]:
        return BASELINE_FEATURES

    @property
    def research_only(self) -> str:
        """Why no version may serve; empty when one may."""
        return "the original recipe (compat) is for comparison only" if self.chosen.compat else ""

    @property
    def fixed(self) -> Params:
        return {
            "max_bin": MAX_BIN,
            "half_life_days": self.chosen.half_life_days,
            "move_threshold": self.chosen.min_price_change,
            "blank_share": BLANK_SHARE,
        }

    def rows(self, candles: CandleColumns) -> tuple[Rows, npt.NDArray[np.bool_]]:
        c = candles
        return view(self.view).batch(c.open_ms, c.open, c.high, c.low, c.close, c.volume, c.side)

    def label(self, candles: CandleColumns) -> Labels:
        c, horizon = candles, self.chosen.horizon
        if self.chosen.labels == "threshold":
            return labels.with_range(
                labels.three_class(c.close, horizon, self.chosen.min_price_change), c.high, c.low, horizon
            )
        width = labels.volatility_width(c.close, horizon, self.chosen.barrier_width)
        return labels.triple_barrier(c.open, c.high, c.low, c.close, horizon, width)

    def weight(self, at_ms: Times, label_end_ms: Times, newest_ms: int) -> Floats:
        unique = labels.uniqueness(at_ms, label_end_ms, INTERVAL_MS[self.interval])
        return unique * labels.time_decay(at_ms, newest_ms, self.chosen.half_life_days)

    def suggest(self, trial: Trial, rounds: int) -> Params:
        """The space of models.md section 4.3. Rates too small to arrive within ``rounds`` are left out."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", slowest(rounds), 0.15, log=True),
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
            "learning_rate": max(0.05, slowest(rounds)),
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
                f"needed (a move is ±{self.chosen.min_price_change:.1%} in {self.chosen.horizon} candles): use more "
                "days or a livelier symbol"
            )
        if not np.any(validation.classes != 1):
            raise DataError(
                f"none of {len(validation)} validation rows moves ±{self.chosen.min_price_change:.1%} in "
                f"{self.chosen.horizon} candles: use other days"
            )
        self._enough_features(train)
        rows = blanked(as_served(train.rows), self.features, seed)
        prepared = Prepared(train, validation, rows, as_served(validation.rows), self.features, seed, threads)
        by_class = self.chosen.kind == "three-class"
        prepared.main = CLASSES if by_class else DIRECTION if self.chosen.kind == "binary" else MOVE
        if prepared.main == MOVE and train.range_bp is not None and validation.range_bp is not None:
            prepared.main = SIZE
            prepared.start()
        prepared.sets(prepared.main)
        return prepared

    def _enough_features(self, train: Sample) -> None:
        there: npt.NDArray[np.bool_] = np.atleast_1d(np.isfinite(as_served(train.rows)).any(axis=0))
        if there.mean() < self.chosen.min_feature_share:
            missing = [name for name, seen in zip(self.features, there, strict=True) if not seen]
            raise DataError(
                f"{len(missing)} of {len(there)} features have no value in any training row "
                f"({', '.join(missing[:4])}), at least {self.chosen.min_feature_share:.0%} must have one "
                "(min_feature_share); check the candles"
            )

    def fit(
        self,
        prepared: Prepared,
        params: Params,
        *,
        rounds: int,
        on_round: OnRound | None = None,
        work: Path | None = None,
    ) -> FittedBoosters:
        fitting = Fitting(self.chosen, prepared, rounds)
        grown = fitting.main(params, on_round)
        return fitting.finished(grown)
