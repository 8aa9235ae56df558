"""Growing boosters: early stopping on a loss of the caller's, several seeds made one booster, float32 thresholds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightgbm
import numpy as np

from tradebot.errors import ConfigError
from tradebot.forecasters.base import Floats, OnRound, Params, Round, Rows
from tradebot.forecasters.lightgbm_export import exact_float32

QUIET = {"verbosity": -1}
_TREES = re.compile(r"(?m)^(?=Tree=\d+$)")
_END = re.compile(r"(?m)^end of trees$")

Loss = Callable[[Floats], float]
"""Of what a booster says on the validation rows (values, or probabilities where its objective has them)."""


class Grown(NamedTuple):
    """A booster's text up to the round kept, that round's number and loss, and the fit as it went."""

    text: str
    rounds: int
    loss: float
    history: tuple[Round, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """A fitted booster and the same with thresholds that are float32 values, so that ONNX can hold them exactly."""

    fitted_text: str
    text: str
    booster: Any

    @classmethod
    def of(cls, text: str) -> Trees:
        exact = exact_float32(text)
        return cls(text, exact, lightgbm.Booster(model_str=exact))

    @property
    def fitted(self) -> Any:
        return lightgbm.Booster(model_str=self.fitted_text)

    def predict(self, rows: Rows) -> Floats:
        return np.asarray(self.booster.predict(rows, num_threads=1), dtype=np.float64)

    def importance(self, features: Sequence[str]) -> Mapping[str, float]:
        """Share of the loss that splits on a feature took away."""
        gain = np.asarray(self.booster.feature_importance("gain"), dtype=np.float64)
        shares = gain / max(float(gain.sum()), 1e-12)
        return dict(zip(features, shares.tolist(), strict=True))


def grow(
    train: Any,
    validation: Any,
    fixed: Mapping[str, object],
    params: Params,
    loss: Loss,
    *,
    rounds: int,
    seed: int,
    on_round: OnRound | None = None,
) -> Grown:
    """Boost until the loss on the validation rows has not fallen for ``patience`` rounds; the best round is kept.

    Raises ConfigError for parameters that LightGBM does not take.
    """
    seeds = {"seed": seed, "bagging_seed": seed + 1, "feature_fraction_seed": seed + 2}
    if not float(params["learning_rate"]) > 0.0:
        raise ConfigError(f"LightGBM learns at a positive learning_rate, not {params['learning_rate']}")
    stopping = _Stopping(patience(float(params["learning_rate"])), on_round)
    try:
        booster = lightgbm.train(
            {**QUIET, "deterministic": True, "force_row_wise": True, "metric": "None", **fixed, **params, **seeds},
            train,
            num_boost_round=rounds,
            valid_sets=[validation],
            valid_names=["validation"],
            feval=lambda said, _: ("loss", loss(np.asarray(said, dtype=np.float64)), False),
            callbacks=[stopping],
        )
    except lightgbm.basic.LightGBMError as error:
        why = str(error).partition(" at /")[0].strip()
        raise ConfigError(f"LightGBM does not take these parameters: {why}") from error
    text = booster.model_to_string(num_iteration=stopping.best_round)
    return Grown(text, stopping.best_round, stopping.best_loss, stopping.history)


def merged(texts: Sequence[str]) -> str:
    """One booster whose raw score is the mean of the boosters' raw scores: all their trees, leaves divided by count."""
    if len(texts) == 1:
        return texts[0]
    head, trees = "", []
    tail = ""
    for text in texts:
        first, *own = _TREES.split(text)
        own[-1], tail = _END.split(own[-1])
        head = head or first
        trees += [re.sub(r"(?m)^leaf_value=(.*)$", lambda line: _divided(line[1], len(texts)), tree) for tree in own]
    numbered = [re.sub(r"^Tree=\d+", f"Tree={i}", tree) for i, tree in enumerate(trees)]
    return re.sub(r"(?m)^tree_sizes=.*\n", "", head) + "".join(numbered) + "end of trees" + tail


def patience(learning_rate: float) -> int:
    """Rounds without improvement before stopping: slower learners wait longer.

    >>> patience(0.1), patience(0.02)
    (20, 100)
    """
    return max(10, min(100, math.ceil(2.0 / learning_rate)))


def _divided(values: str, count: int) -> str:
    return "leaf_value=" + " ".join(repr(float(value) / count) for value in values.split())


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
