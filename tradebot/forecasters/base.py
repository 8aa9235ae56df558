"""What a model family is.

A family is one module that says what it looks at, its label, its booster or network, its search space, how it fits
and how it becomes an ONNX graph. Splits, the tuning loop, metrics, parity, storage, the gate and serving are written
once, elsewhere, and know families only through this protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tradebot.errors import ConfigError, LibraryMissing

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]
Times = npt.NDArray[np.int64]
Classes = npt.NDArray[np.int8]
Params = dict[str, float | int | str | bool]
Options = Mapping[str, float | int | str | bool]
"""What a person sets of a family (``--set key=value``, ``retrain.options``): label, kind of output, size of a net."""

PAST_BARS = (1, 2, 3, 6, 12)
"""Spans of the past returns that a sample carries, in bars: the food of momentum and reversal rules."""

CLASS_NAMES = ("down", "neutral", "up")
"""Columns of every classifier's ``probabilities``, in this order."""

OnRound = Callable[[int, float], bool]
"""Called after every boosting round or epoch with its number (from 1) and the validation loss; True stops the fit."""


@dataclass(frozen=True, slots=True, eq=False)
class CandleColumns:
    """Closed candles as columns, oldest first: start of interval (ms), prices (USDT), volume (base coin).

    ``side`` (N, K) is what was known beside each candle at its close, in the order of ``features.side``; None where
    nothing was.
    """

    open_ms: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    side: Floats | None = None

    def __len__(self) -> int:
        return len(self.open_ms)

    def where(self, keep: Any) -> CandleColumns:
        """Some of the candles: a slice, a mask or numbers."""
        return CandleColumns(
            open_ms=self.open_ms[keep],
            open=self.open[keep],
            high=self.high[keep],
            low=self.low[keep],
            close=self.close[keep],
            volume=self.volume[keep],
            side=None if self.side is None else self.side[keep],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The last ``steps`` rows at each of some moments, without a copy of each: row ``index[i]`` of ``base`` is the
    newest of window i."""

    base: Rows
    index: npt.NDArray[np.int64]
    steps: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.index), self.steps, self.base.shape[1]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, chosen: Any) -> Windows:
        """Some of the windows: a slice, a mask or numbers."""
        return replace(self, index=np.atleast_1d(self.index[chosen]))

    def array(self) -> Rows:
        """The windows as they are served: (N, steps, F) float32."""
        rows: Rows = self.base[self.index[:, None] + np.arange(1 - self.steps, 1)]
        return rows

    def newest(self) -> Rows:
        """The newest row of each, (N, F)."""
        rows: Rows = self.base[self.index]
        return rows


Inputs = Rows | Windows
"""What a model is fitted on: rows (N, F), or windows of them."""


def as_served(inputs: Inputs) -> Rows:
    """Inputs as the graph takes them: (N, F), or (N, steps, F)."""
    return inputs.array() if isinstance(inputs, Windows) else inputs


def newest_rows(inputs: Inputs) -> Rows:
    """The row of each moment, (N, F), whether windows reach back or not."""
    return inputs.newest() if isinstance(inputs, Windows) else inputs


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What happened after each candle's close.

    ``classes`` is 0 down, 1 neutral, 2 up, −1 where the future is not known; ``realised`` the return to the horizon
    as a fraction (NaN where unknown). ``range_bp``: ln(highest / lowest price of the candles to the horizon) in bp,
    where a family learns from it.
    """

    classes: Classes
    realised: Floats
    range_bp: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows a family fits on or is judged by, oldest first.

    ``at_ms`` is the close of the candle a row stands for; ``label_end_ms`` the moment its label was known;
    ``realised_bp`` the return to the horizon; ``traded_bp`` the return of a position entered at the next open and left
    at the first open after the horizon; ``past_bp`` (N, K) the returns over the last ``PAST_BARS``; ``weight`` has mean
    1 within each slice that is fitted on or validated by.
    """

    rows: Inputs
    classes: Classes
    weight: Floats
    at_ms: Times
    label_end_ms: Times
    realised_bp: Floats
    traded_bp: Floats
    past_bp: Floats
    range_bp: Floats | None = None

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
            range_bp=None if self.range_bp is None else self.range_bp[mask],
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

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Exported:
    """A model as files. ``onnx`` is the whole model: raw rows in; ``probabilities`` and ``expected_bp`` out.

    ``quantiles``: levels of the quantiles of the return (bp) that it gives too, rising, in its output ``quantiles``.
    """

    onnx: bytes
    files: Mapping[str, bytes]
    input_name: str
    quantiles: tuple[float, ...] = ()


class Round(NamedTuple):
    """One round or epoch of a fit: its number (from 1) and the losses on training rows (NaN where they are not looked
    at) and validation rows."""

    number: int
    train_loss: float
    validation_loss: float


class Fitted(Protocol):
    """A trained model in its library's own form."""

    @property
    def history(self) -> Sequence[Round]:
        """The fit as it went, for figures; the round kept need not be the last."""

    @property
    def importance(self) -> Mapping[str, float]:
        """How much each feature counts, where the family can tell; empty otherwise."""

    @property
    def rounds(self) -> int:
        """Rounds or epochs kept."""

    @property
    def validation_loss(self) -> float:
        """Weighted log-loss on the validation rows at the round kept."""

    def predict(self, rows: Inputs) -> tuple[Floats, Floats]:
        """Probabilities (N, 3) and expected return in bp (N,)."""

    def export(self, check: Inputs) -> Exported:
        """The model as an ONNX graph. ``check`` are real rows to prove on that nothing changed on the way.

        Raises ModelError.
        """


@runtime_checkable
class TellsQuantiles(Protocol):
    """A fitted model that may tell quantiles of the return beside what every one tells."""

    def quantiles(self, rows: Inputs) -> Floats | None:
        """Quantiles (N, levels) of the return in bp, in the order of ``Exported.quantiles``; None without any."""


class Family(Protocol):
    """One kind of forecaster.

    A family is made by its class's ``of(options, interval)``: options it does not know, or values that cannot be, are
    a ConfigError that names those it has; an empty interval is the family's own.
    """

    @property
    def name(self) -> str: ...

    @property
    def interval(self) -> str: ...

    @property
    def view(self) -> str:
        """Name of the features it looks at (``features.views``)."""

    @property
    def steps(self) -> int:
        """How many rows one forecast sees: 1, or the length of a window."""

    @property
    def counts(self) -> Literal["rounds", "epochs", "none"]:
        """What ``rounds`` of a fit are."""

    @property
    def loss(self) -> str:
        """Name and unit of the losses that a fit tells round by round, and of those that a search compares."""

    @property
    def options(self) -> Params:
        """Every option with the value in force."""

    @property
    def research_only(self) -> str:
        """Why no version of it, as it is set, may serve; empty when it may."""

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

    def fit(
        self,
        prepared: Any,
        params: Params,
        *,
        rounds: int,
        on_round: OnRound | None = None,
        work: Path | None = None,
    ) -> Fitted:
        """Fit with early stopping on the validation rows and the best round's weights. Deterministic for a seed and a
        number of threads. A fit that was interrupted goes on from what it left in ``work``."""


FAMILIES: dict[str, tuple[str, str]] = {
    "bilstm": ("tradebot.forecasters.bilstm", "BiLstmFamily"),
    "lightgbm": ("tradebot.forecasters.lightgbm", "LightGbm"),
    "lorentzian": ("tradebot.forecasters.lorentzian", "Lorentzian"),
    "lorentzian-net": ("tradebot.forecasters.lorentzian_net", "LorentzianNet"),
}
"""Where each family's class is; imported when it is asked for."""


def family(name: str, options: Options | None = None, interval: str = "") -> Family:
    """The family called ``name``. Raises ConfigError naming those that exist, or the options it has."""
    if name not in FAMILIES:
        raise ConfigError(f"there is no model family {name!r}; known: {', '.join(sorted(FAMILIES))}")
    module, kind = FAMILIES[name]
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("torch", "onnxscript"):
            raise
        raise LibraryMissing(f"{name} needs {error.name}: pip install 'tradebot[deep]'") from error
    made: Family = getattr(found, kind).of(options or {}, interval)
    return made
