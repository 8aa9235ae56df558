"""The family ``lorentzian``: what came after the k bars most like this one (models.md section 5.1).

``form: proper`` can serve: its graph holds the newest ``memory`` training rows that lie ``spacing`` bars apart, each
with the class of its *next* ``horizon`` bars, and lets the k nearest vote; votes become probabilities by a calibration
on validation rows. Fitting again is refreshing the memory. ``form: compat`` is the indicator as published: it needs
the whole history and persistent lists, cannot be a graph of one row, and is for research only
(``forecasters.lorentzian_indicator``; ``tradebot walkforward``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from tradebot.errors import ConfigError, DataError
from tradebot.forecasters.bars import BarFamily, checked_interval
from tradebot.forecasters.base import (
    Exported,
    Floats,
    Inputs,
    OnRound,
    Options,
    Params,
    Round,
    Sample,
    Times,
    Trial,
    class_returns_bp,
    newest_rows,
)
from tradebot.forecasters.lorentzian_bank import Bank, bank_of, to_onnx
from tradebot.forecasters.lorentzian_indicator import INPUTS
from tradebot.forecasters.options import options_of
from tradebot.forecasters.score_calibration import Calibration, calibrate_on, class_weights, halves_loss
from tradebot.market.candle import INTERVAL_MS

COMPAT_REASON = (
    "form compat needs the whole history and lists that outlive a bar, which no graph of one row has; it is for "
    "research only"
)
LEAST_BANK = 100


class LorentzianOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person sets. ``threshold``: the least move, a fraction, that is up or down; 0: the sign alone."""

    form: Literal["proper", "compat"] = "proper"
    k: Annotated[int, msgspec.Meta(ge=1, le=200)] = 8
    memory: Annotated[int, msgspec.Meta(ge=LEAST_BANK, le=20_000)] = 2_000
    spacing: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 4
    horizon: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 4
    threshold: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.002


@dataclass(frozen=True, slots=True)
class Lorentzian(BarFamily):
    """The family."""

    interval: str = "15m"
    given: LorentzianOptions = field(default_factory=LorentzianOptions)
    name: str = "lorentzian"
    steps: int = 1
    counts: Literal["none"] = "none"
    loss: str = "log-loss, nats"

    @classmethod
    def of(cls, options: Options, interval: str) -> Lorentzian:
        given = options_of(LorentzianOptions, "lorentzian", options)
        if given.k > given.memory:
            raise ConfigError(f"lorentzian: k {given.k} neighbours cannot come out of a memory of {given.memory}")
        return cls(checked_interval("lorentzian", interval), given)

    @property
    def options(self) -> Params:
        return msgspec.structs.asdict(self.given)

    @property
    def horizon_bars(self) -> int:
        return self.given.horizon

    @property
    def threshold(self) -> float:
        return self.given.threshold

    @property
    def research_only(self) -> str:
        return COMPAT_REASON if self.given.form == "compat" else ""

    @property
    def fixed(self) -> Params:
        return {"move_threshold": self.threshold, "inputs": ", ".join(INPUTS)}

    def suggest(self, trial: Trial, rounds: int) -> Params:
        most = max(self.given.k, min(64, self.given.memory))
        return {"k": trial.suggest_int("k", min(4, self.given.k), most, log=True)}

    def defaults(self, rounds: int) -> Params:
        return {"k": self.given.k}

    def prepare(self, train: Sample, validation: Sample, *, seed: int, threads: int) -> Prepared:
        if self.given.form == "compat":
            raise ConfigError(f"lorentzian: {COMPAT_REASON}: use form proper, or tradebot walkforward")
        apart = self.given.spacing * INTERVAL_MS[self.interval]
        chosen = spaced(train.at_ms, apart, self.given.memory)
        if len(chosen) < LEAST_BANK:
            raise DataError(
                f"{len(chosen)} bars to remember, {self.given.spacing} apart; {LEAST_BANK} are the least: use more days"
            )
        columns = tuple(self.features.index(name) for name in INPUTS)
        bank = bank_of(newest_rows(train.rows)[chosen], train.classes[chosen], columns)
        return Prepared(bank, validation, class_weights(train), class_returns_bp(train), len(self.features))

    def fit(
        self,
        prepared: Prepared,
        params: Params,
        *,
        rounds: int,
        on_round: OnRound | None = None,
        work: Path | None = None,
    ) -> FittedBank:
        k, held_out = min(int(params["k"]), len(prepared.bank)), prepared.validation
        votes = shares(prepared.bank, newest_rows(held_out.rows), k)
        loss = halves_loss(votes, held_out, prepared.before)
        calibration = calibrate_on(votes, held_out, prepared.before)
        if on_round is not None:
            on_round(1, loss)
        return FittedBank(prepared.bank, k, calibration, prepared.class_bp, prepared.features, loss)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The memory, the rows its votes are calibrated on, and the classes of the training rows: their weight and their
    mean return (bp)."""

    bank: Bank
    validation: Sample
    before: Floats
    class_bp: Floats
    features: int


@dataclass(frozen=True, slots=True, eq=False)
class FittedBank:
    """A memory with its calibration. ``validation_loss``: each half of the validation rows by the other's."""

    bank: Bank
    k: int
    calibration: Calibration
    class_bp: Floats
    features: int
    validation_loss: float
    rounds: int = 1

    @property
    def history(self) -> tuple[Round, ...]:
        return (Round(1, float("nan"), self.validation_loss),)

    @property
    def importance(self) -> Mapping[str, float]:
        return {}

    def predict(self, rows: Inputs) -> tuple[Floats, Floats]:
        probabilities = self.calibration(shares(self.bank, newest_rows(rows), self.k))
        expected: Floats = probabilities @ self.class_bp
        return probabilities, expected

    def export(self, check: Inputs) -> Exported:
        content = to_onnx(self.bank, self.k, self.calibration, self.class_bp, self.features)
        return Exported(onnx=content, files={}, input_name="row")


def spaced(at_ms: Times, apart_ms: int, most: int) -> np.ndarray:
    """Positions of the rows of moments at least ``apart_ms`` from each other, counted back from the newest, in order.

    Rows of several symbols share their moments: a moment is taken with all of its rows or not at all, and as many of
    the newest moments as ``most`` rows allow.

    >>> spaced(np.array([0, 1, 2, 3, 4, 5]), 2, 10).tolist()
    [1, 3, 5]
    >>> spaced(np.array([0, 0, 1, 1, 2, 2]), 2, 3).tolist()
    [4, 5]
    """
    moments, rows = np.unique(at_ms, return_counts=True)
    chosen: list[int] = []
    held = 0
    for i in range(len(moments) - 1, -1, -1):
        if chosen and chosen[-1] - int(moments[i]) < apart_ms:
            continue
        held += int(rows[i])
        if held > most:
            break
        chosen.append(int(moments[i]))
    return np.flatnonzero(np.isin(at_ms, chosen))


def shares(bank: Bank, rows: np.ndarray, k: int) -> Floats:
    """Votes (N, 3) for down, neutral and up."""
    votes: Floats = bank.votes(rows, k).astype(np.float64)
    return votes
