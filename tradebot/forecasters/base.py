"""What a model family is.

A family is one module that says what it looks at, its label, its booster or network, its search space, how it fits
and how it becomes an ONNX graph. Splits, the tuning loop, metrics, parity, storage, the gate and serving are written
once, elsewhere, and know families only through this protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from tradebot.errors import ConfigError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]
Times = npt.NDArray[np.int64]
Classes = npt.NDArray[np.int8]
Params = dict[str, float | int | str | bool]

PAST_BARS = (1, 2, 3, 6, 12)
"""Spans of the past returns that a sample carries, in bars: the food of momentum and reversal rules."""

CLASS_NAMES = ("down", "neutral", "up")
"""Columns of every classifier's ``probabilities``, in this order."""

OnRound = Callable[[int, float], bool]
"""Called after every boosting round or epoch with its number (from 1) and the validation loss; True stops the fit."""


@dataclass(frozen=True, slots=True, eq=False)
class CandleColumns:
    """Closed candles as columns, oldest first: start of interval (ms), prices (USDT), volume (base coin)."""

    open_ms: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.open_ms)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What happened after each candle's close.

    ``classes`` is 0 down, 1 neutral, 2 up, −1 where the future is not known; ``realised`` the return to the horizon
    as a fraction (NaN where unknown).
    """

    classes: Classes
    realised: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows a family fits on or is judged by, oldest first.

    ``at_ms`` is the close of the candle a row stands for; ``label_end_ms`` the moment its label was known;
    ``realised_bp`` the return to the horizon; ``traded_bp`` the return of a position entered at the next open and left
    at the first open after the horizon; ``past_bp`` (N, K) the returns over the last ``PAST_BARS``; ``weight`` has mean
    1 within each slice that is fitted on or validated by.
    """

    rows: Rows
    classes: Classes
    weight: Floats
    at_ms: Times
    label_end_ms: Times
    realised_bp: Floats
    traded_bp: Floats
    past_bp: Floats

    def __len__(self) -> int:
        return len(self.at_ms)

    def where(self, mask: npt.NDArray[np.bool_]) -> Sample:
        """The rows for which ``mask`` is true."""
        return Sample(
            rows=self.rows[mask],
            classes=self.classes[mask],
            weight=self.weight[mask],
            at_ms=self.at_ms[mask],
            label_end_ms=self.label_end_ms[mask],
            realised_bp=self.realised_bp[mask],
            traded_bp=self.traded_bp[mask],
            past_bp=self.past_bp[mask],
        )


def class_returns_bp(train: Sample) -> Floats:
    """Weighted mean realised return of each class among training rows, in bp."""
    means = np.zeros(len(CLASS_NAMES))
    for c in range(len(CLASS_NAMES)):
        own = train.classes == c
        if own.any():
            means[c] = np.average(train.realised_bp[own], weights=train.weight[own])
    return means


class Trial(Protocol):
    """What a family needs of an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...


@dataclass(frozen=True, slots=True)
class Exported:
    """A model as files. ``onnx`` is the whole model: raw rows in; ``probabilities`` and ``expected_bp`` out."""

    onnx: bytes
    files: Mapping[str, bytes]
    input_name: str


class Fitted(Protocol):
    """A trained model in its library's own form."""

    @property
    def rounds(self) -> int:
        """Rounds or epochs kept."""

    @property
    def validation_loss(self) -> float:
        """Weighted log-loss on the validation rows at the round kept."""

    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        """Probabilities (N, 3) and expected return in bp (N,)."""

    def export(self, check: Rows) -> Exported:
        """The model as an ONNX graph. ``check`` are real rows to prove on that nothing changed on the way.

        Raises ModelError.
        """


class Family(Protocol):
    """One kind of forecaster."""

    @property
    def name(self) -> str: ...

    @property
    def interval(self) -> str: ...

    @property
    def horizon_bars(self) -> int: ...

    @property
    def device(self) -> Literal["cpu", "any"]: ...

    @property
    def features(self) -> tuple[str, ...]: ...

    @property
    def schema_hash(self) -> str: ...

    @property
    def baseline_features(self) -> tuple[str, ...]:
        """The features of the logistic regression that the family has to beat."""

    @property
    def fixed(self) -> Params:
        """Settings that the search leaves alone, for the manifest."""

    def rows(self, candles: CandleColumns) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Feature rows (N, F) and which of them may be used (warm-up over)."""

    def label(self, candles: CandleColumns) -> Labels:
        """The label of every candle."""

    def weight(self, at_ms: Times, label_end_ms: Times, newest_ms: int) -> Floats:
        """Sample weights, before normalisation."""

    def suggest(self, trial: Trial, rounds: int) -> Params:
        """Parameters of a trial out of the search space, for fits of at most ``rounds``."""

    def defaults(self, rounds: int) -> Params:
        """Parameters known to be sane; the first trial."""

    def prepare(self, train: Sample, validation: Sample, *, seed: int, threads: int) -> Any:
        """Whatever several fits on the same rows can share."""

    def fit(self, prepared: Any, params: Params, *, rounds: int, on_round: OnRound | None = None) -> Fitted:
        """Fit with early stopping on the validation rows. Deterministic for a seed and a number of threads."""


def family(name: str) -> Family:
    """The family called ``name``. Raises ConfigError naming those that exist."""
    from tradebot.forecasters.lightgbm import LightGbm

    families: dict[str, Callable[[], Family]] = {"lightgbm": LightGbm}
    if name not in families:
        raise ConfigError(f"there is no model family {name!r}; known: {', '.join(sorted(families))}")
    return families[name]()
