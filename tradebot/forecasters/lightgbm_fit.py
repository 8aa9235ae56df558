"""Fitting LightGBM's boosters: the one that is searched, those around it, and their calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from tradebot.forecasters.base import (
    Exported,
    Floats,
    Inputs,
    OnRound,
    Params,
    Round,
    Rows,
    Sample,
    as_served,
    class_returns_bp,
)
from tradebot.forecasters.calibration import Calibration, Sigmoid, fit_sigmoid, keep_if_better
from tradebot.forecasters.lightgbm_export import to_onnx
from tradebot.forecasters.lightgbm_head import CLASSES, DIRECTION, LEVELS, LINE, MOVE, QUANTILES, SIZE, Head
from tradebot.forecasters.lightgbm_line import Line, fit_line
from tradebot.forecasters.lightgbm_options import LightGbmOptions
from tradebot.forecasters.lightgbm_trees import QUIET, Grown, Trees, grow, merged, patience

MAX_BIN = 127
"""Fixed rather than searched: rows are binned once for all trials."""
BLANK_SHARE = 0.15
"""Share of training rows in which a group of side features is blanked: where BTC or funding is not known when serving,
the rest has learnt to do without."""
SIDE_GROUPS = (("btc_ret_1", "btc_ret_12", "beta_96", "resid_12"), ("funding",), ("basis",), ("oi_chg_12",))
DIRECTION_PARAMS: Params = {
    "learning_rate": 0.03,
    "num_leaves": 15,
    "max_depth": 5,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l1": 0.1,
    "lambda_l2": 1.0,
    "path_smooth": 5.0,
}
"""Of the direction's booster: fixed, because a search over so little signal would choose by chance."""
QUANTILE_PARAMS: Params = {**DIRECTION_PARAMS, "learning_rate": 0.05}

_LEAST_RANGE_BP = 0.5
"""A range of nothing counts as this much before its logarithm is taken."""


def blanked(rows: Rows, features: Sequence[str], seed: int) -> Rows:
    """A copy of training rows in which every group of side features is missing from a share of the rows."""
    copy, rng = np.array(rows, dtype=np.float32), np.random.default_rng(seed)
    for group in SIDE_GROUPS:
        columns = [features.index(name) for name in group if name in features]
        without = rng.random(len(copy)) < BLANK_SHARE
        for column in columns:
            copy[without, column] = np.nan
    return copy


@dataclass(slots=True, eq=False)
class Prepared:
    """Rows that every fit on them shares, binned once for each booster; ``main`` is the booster that is searched."""

    train: Sample
    validation: Sample
    rows: Rows
    validation_rows: Rows
    features: tuple[str, ...]
    seed: int
    threads: int
    main: str = CLASSES
    _sets: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    direction: tuple[Trees, Floats, tuple[Round, ...]] | None = None
    """The booster of direction, what it says on the validation rows, and its fit; its parameters are never searched."""
    line: Line | None = None
    line_said: tuple[Floats, Floats] = (np.zeros(0), np.zeros(0))
    """What the line says on the training and on the validation rows."""
    scale: tuple[float, float] = (0.0, 1.0)
    """Mean and deviation of the logarithm of the range of the training rows."""

    def target(self, booster: str, sample: Sample) -> Floats:
        """What a booster learns (N,)."""
        if booster in (CLASSES, MOVE, DIRECTION):
            found = {CLASSES: sample.classes, MOVE: sample.classes != 1, DIRECTION: sample.classes == 2}[booster]
            return np.asarray(found, dtype=np.float64)
        if booster in QUANTILES:
            return sample.realised_bp
        mean, deviation = self.scale
        return (_log_range(sample) - mean) / deviation - self.line_said[0 if sample is self.train else 1]

    def start(self) -> None:
        """Fit what the booster of size starts from."""
        size = _log_range(self.train)
        self.scale = float(size.mean()), max(float(size.std()), 1e-6)
        target = (size - self.scale[0]) / self.scale[1]
        self.line = fit_line(self.rows, target, self.train.weight, self.features)
        self.line_said = self.line(self.rows), self.line(self.validation_rows)

    def used(self, booster: str, sample: Sample) -> npt.NDArray[np.bool_]:
        """Rows that a booster learns from: of direction those that moved."""
        return sample.classes != 1 if booster == DIRECTION else np.ones(len(sample), dtype=np.bool_)

    def sets(self, booster: str) -> tuple[Any, Any]:
        if booster not in self._sets:
            binning = {
                **QUIET,
                "max_bin": MAX_BIN,
                "feature_pre_filter": False,
                "data_random_seed": self.seed,
                "num_threads": self.threads,
                "deterministic": True,
                "force_row_wise": True,
            }
            own, later = self.used(booster, self.train), self.used(booster, self.validation)
            fitting = lightgbm.Dataset(
                self.rows[own],
                label=self.target(booster, self.train)[own],
                weight=self.train.weight[own],
                feature_name=list(self.features),
                params=binning,
                free_raw_data=False,
            )
            held_out = lightgbm.Dataset(
                self.validation_rows[later],
                label=self.target(booster, self.validation)[later],
                weight=self.validation.weight[later],
                reference=fitting,
                params=binning,
                free_raw_data=False,
            )
            self._sets[booster] = fitting.construct(), held_out.construct()
        return self._sets[booster]


_OBJECTIVES: Mapping[str, Mapping[str, object]] = {
    CLASSES: {"objective": "multiclass", "num_class": 3},
    SIZE: {"objective": "regression"},
    MOVE: {"objective": "binary"},
    DIRECTION: {"objective": "binary"},
    QUANTILES[0]: {"objective": "quantile", "alpha": LEVELS[0]},
    QUANTILES[1]: {"objective": "quantile", "alpha": LEVELS[1]},
}


class Fitting:
    """One fit: the searched booster with its losses in terms of the three classes, then the others around it."""

    def __init__(self, options: LightGbmOptions, prepared: Prepared, rounds: int) -> None:
        self._options, self._prepared, self._rounds = options, prepared, rounds
        own = prepared.validation
        self._moved, self._weight = own.classes != 1, own.weight
        self._up = own.classes == 2
        self._rate = float(np.average(prepared.train.classes != 1, weights=prepared.train.weight))
        self._sigmoid: Sigmoid | None = None
        self._rest = 0.0
        """Part of the log-loss that the searched booster does not decide."""

    def main(self, params: Params, on_round: OnRound | None) -> list[Grown]:
        """The members of the searched booster."""
        main = self._prepared.main
        if main in (SIZE, MOVE):
            _, said, _ = self._direction()
            self._rest = self._mean(np.where(self._moved, _surprise(said, self._up), 0.0))
        elif main == DIRECTION:
            self._rest = self._mean(_surprise(np.full(len(self._moved), self._rate), self._moved))
        members = [self._grow(main, params, self._rounds, self._prepared.seed, on_round)]
        stopped = on_round is not None and len(members[0].history) < self._rounds and _stopped(members[0], params)
        while len(members) < self._options.members and not stopped:
            members.append(self._grow(main, params, self._rounds, self._prepared.seed + 101 * len(members), None))
        return members

    def finished(self, members: list[Grown]) -> FittedBoosters:
        prepared, options = self._prepared, self._options
        boosters = {prepared.main: Trees.of(merged([member.text for member in members]))}
        if prepared.main in (SIZE, MOVE):
            boosters[DIRECTION] = self._direction()[0]
        said = {name: trees.predict(prepared.validation_rows) for name, trees in boosters.items()}
        sigmoid = None
        if SIZE in said:
            said[LINE] = prepared.line_said[1]
            sigmoid = fit_sigmoid(said[LINE] + said[SIZE], self._moved, self._weight)
        head = Head(class_returns_bp(prepared.train), prepared.line, sigmoid, self._rate)
        if options.calibrate:
            q, u = head.pair(said)
            every, moved = np.ones(len(q), dtype=np.bool_), self._moved
            head = replace(
                head,
                move=None if prepared.main == DIRECTION else self._calibrated(q, moved, every),
                direction=self._calibrated(u, self._up, moved),
            )
        if options.quantiles:
            for name in QUANTILES:
                grown = self._grow(name, QUANTILE_PARAMS, self._rounds, prepared.seed, None)
                boosters[name] = Trees.of(grown.text)
        p, _ = head(said)
        loss = self._mean(-np.log(np.clip(p[np.arange(len(p)), prepared.validation.classes], 1e-7, 1.0)))
        return FittedBoosters(boosters, head, members[0].rounds, loss, prepared.features, members[0].history)

    def _calibrated(
        self, p: Floats, happened: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]
    ) -> Calibration | None:
        """Of what is said of the validation rows ``among`` which it can be judged; None where it helps no other row."""
        own = self._prepared.validation
        return keep_if_better(
            p[among],
            happened[among],
            self._weight[among],
            self._options.horizon,
            at_ms=own.at_ms[among],
            label_end_ms=own.label_end_ms[among],
        )[0]

    def _direction(self) -> tuple[Trees, Floats, tuple[Round, ...]]:
        prepared = self._prepared
        if prepared.direction is None:
            params = {**DIRECTION_PARAMS, "learning_rate": max(0.03, slowest(self._rounds))}
            grown = self._grow(DIRECTION, params, self._rounds, prepared.seed, None)
            trees = Trees.of(grown.text)
            prepared.direction = trees, trees.predict(prepared.validation_rows), grown.history
        return prepared.direction

    def _grow(self, booster: str, params: Params, rounds: int, seed: int, on_round: OnRound | None) -> Grown:
        fitting, held_out = self._prepared.sets(booster)
        fixed = {
            **_OBJECTIVES[booster],
            "max_bin": MAX_BIN,
            "feature_pre_filter": False,
            "data_random_seed": self._prepared.seed,
            "num_threads": self._prepared.threads,
        }
        return grow(fitting, held_out, fixed, params, self._loss(booster), rounds=rounds, seed=seed, on_round=on_round)

    def _loss(self, booster: str) -> Any:
        """Loss of what a booster says on its validation rows, in nats of the three classes where it is searched."""
        sample, moved = self._prepared.validation, self._moved
        if booster == CLASSES:
            rows = np.arange(len(sample))
            return lambda p: self._mean(-np.log(np.clip(p[rows, sample.classes], 1e-7, 1.0)))
        if booster == SIZE:
            return self._size_loss
        if booster == MOVE:
            return lambda q: self._rest + self._mean(_surprise(q, moved))
        if booster == DIRECTION:
            share = float(self._weight[moved].sum() / self._weight.sum())
            up, weight = self._up[moved], self._weight[moved]
            return lambda u: self._rest + share * float(np.average(_surprise(u, up), weights=weight))
        level, realised = dict(zip(QUANTILES, LEVELS, strict=True))[booster], sample.realised_bp
        return lambda value: self._mean(np.maximum(level * (realised - value), (level - 1.0) * (realised - value)))

    def _size_loss(self, said: Floats) -> float:
        size = self._prepared.line_said[1] + said
        self._sigmoid = fit_sigmoid(size, self._moved, self._weight, self._sigmoid, steps=4)
        return self._rest + self._mean(_surprise(self._sigmoid(size), self._moved))

    def _mean(self, values: Floats) -> float:
        return float(np.average(values, weights=self._weight))


class FittedBoosters:
    """Boosters whose thresholds are float32 values, so that the ONNX graph can hold them exactly, and their head."""

    def __init__(
        self,
        boosters: Mapping[str, Trees],
        head: Head,
        rounds: int,
        loss: float,
        features: tuple[str, ...],
        history: tuple[Round, ...] = (),
    ) -> None:
        self.rounds = rounds
        self.validation_loss = loss
        self.head = head
        self.history = history
        self._boosters = dict(boosters)
        self._features = features

    @property
    def importance(self) -> Mapping[str, float]:
        """Share of the loss that splits on a feature took away, in the booster that is searched."""
        return next(iter(self._boosters.values())).importance(self._features)

    def predict(self, rows: Inputs) -> tuple[Floats, Floats]:
        return self.head(self._said(rows))

    def quantiles(self, rows: Inputs) -> Floats | None:
        """The 10 % and 90 % quantile of the return (N, 2) in bp; None where no booster tells them."""
        return self.head.quantiles(self._said(rows)) if QUANTILES[0] in self._boosters else None

    def export(self, check: Inputs) -> Exported:
        onnx = to_onnx(
            boosters={name: (trees.fitted, trees.booster) for name, trees in self._boosters.items()},
            head=self.head,
            features=len(self._features),
            check=as_served(check),
        )
        main, *others = self._boosters
        files = {"model.txt": self._boosters[main].text.encode()}
        files |= {f"{name}.txt": self._boosters[name].text.encode() for name in others}
        levels = LEVELS if QUANTILES[0] in self._boosters else ()
        return Exported(onnx=onnx, files=files, input_name="row", quantiles=levels)

    def _said(self, rows: Inputs) -> dict[str, Floats]:
        served = as_served(rows)
        said = {name: trees.predict(served) for name, trees in self._boosters.items()}
        return said if self.head.line is None else {**said, LINE: self.head.line(served)}


def _log_range(sample: Sample) -> Floats:
    size = np.zeros(len(sample)) if sample.range_bp is None else sample.range_bp
    found: Floats = np.log(np.maximum(size, _LEAST_RANGE_BP))
    return found


def _surprise(p: Floats, happened: npt.NDArray[np.bool_]) -> Floats:
    """Log-loss of each row in nats."""
    found: Floats = -np.log(np.clip(np.where(happened, p, 1.0 - p), 1e-7, 1.0))
    return found


def _stopped(member: Grown, params: Params) -> bool:
    """Whether a caller ended the fit: it went on for less than its patience after the best round."""
    return len(member.history) - member.rounds < patience(float(params["learning_rate"]))


def slowest(rounds: int) -> float:
    """A learning rate at which ``rounds`` make about five full steps; never below the space's 0.01."""
    return min(0.1, max(0.01, 5.0 / rounds))
