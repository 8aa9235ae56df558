"""BiLSTM with attention on closed candles, one candle ahead (models.md section 6).

Looks at windows of 60 rows of the view ``bars-<interval>``: its scale-free columns, standardised and projected on 30
principal components, all fitted on training rows and inside the graph. Target: the next candle's log return in units of
the present volatility; the price it stands for is ``c_t · (1 + expected_bp / 10⁴)``. Beside the nets stands a linear
forecast of the newest row; how much of each is believed is chosen on validation rows and pulled to no change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tradebot.forecasters import bilstm_fit
from tradebot.forecasters.bars import BarFamily, checked_interval
from tradebot.forecasters.base import OnRound, Options, Params, Sample, Trial
from tradebot.forecasters.bilstm_fit import FittedBiLstm, Prepared, Shape
from tradebot.forecasters.nets.device import chosen_device, native_bfloat16
from tradebot.forecasters.nets.plan import Plan
from tradebot.forecasters.options import options_of
from tradebot.market.candle import DAY_MS, INTERVAL_MS

RAW = ("open", "high", "low", "close", "volume")
"""Columns that tell the epoch, not the market's state: inputs of the ``compat`` target alone."""
VOLATILITY = "rv_24"
SIZES = {"full": (128, 3), "small": (64, 1)}
"""Hidden units and layers; ``full`` with 30 components has 1 029 054 parameters."""

Positive = Annotated[int, Meta(ge=1)]


class BiLstmOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person sets.

    ``target`` ``scaled``: log return over volatility. ``compat``: the next close, min–max scaled on the training rows,
    squared error, no linear part and no gain, as the published pipelines have it; for comparison only. ``members``:
    nets that differ in their seed, averaged. ``linear``: the linear forecast beside them. ``threshold``: the least move
    that counts as up or down, a fraction. ``precision`` ``auto``: the products of training in bfloat16 where the
    machine multiplies faster so; a validation and what is served are float32.
    """

    size: Literal["full", "small"] = "full"
    hidden: Annotated[int, Meta(ge=0, le=1024)] = 0
    layers: Annotated[int, Meta(ge=0, le=6)] = 0
    steps: Annotated[int, Meta(ge=2, le=512)] = 60
    components: Positive = 30
    target: Literal["scaled", "compat"] = "scaled"
    loss: Literal["huber", "mse"] = "huber"
    linear: bool = True
    members: Annotated[int, Meta(ge=1, le=20)] = 1
    threshold: Annotated[float, Meta(gt=0, lt=0.1)] = 0.002
    accumulation: Positive = 2
    t0: Positive = 10
    t_mult: Positive = 2
    eta_min: Annotated[float, Meta(ge=0)] = 1e-5
    clip: Annotated[float, Meta(ge=0)] = 1.0
    patience: Positive = 20
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


@dataclass(frozen=True, slots=True)
class BiLstmFamily(BarFamily):
    """The family ``bilstm``."""

    chosen: BiLstmOptions
    interval: str
    name: str = "bilstm"
    device: Literal["cpu", "any"] = "any"
    counts: Literal["epochs"] = "epochs"
    loss: str = "Huber loss, return / volatility"
    horizon_bars: int = 1

    @classmethod
    def of(cls, options: Options, interval: str) -> BiLstmFamily:
        return cls(options_of(BiLstmOptions, "bilstm", options), checked_interval("bilstm", interval))

    @property
    def steps(self) -> int:
        return self.chosen.steps

    @property
    def threshold(self) -> float:
        return self.chosen.threshold

    @property
    def options(self) -> Params:
        return {name: getattr(self.chosen, name) for name in self.chosen.__struct_fields__}

    @property
    def fixed(self) -> Params:
        return {"move_threshold": self.chosen.threshold, "volatility": VOLATILITY, "ridge": bilstm_fit.RIDGE}

    @property
    def research_only(self) -> str:
        """Why no version of it may serve; empty when it may."""
        return "its target is a price level (target=compat)" if self.chosen.target == "compat" else ""

    def suggest(self, trial: Trial, rounds: int) -> Params:
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
            "dropout": trial.suggest_float("dropout", 0.1, 0.5),
            "batch_size": trial.suggest_int("batch_size", 32, 128, log=True),
        }

    def defaults(self, rounds: int) -> Params:
        return {"learning_rate": 1e-3, "weight_decay": 1e-5, "dropout": 0.3, "batch_size": 32}

    def prepare(self, train: Sample, validation: Sample, *, seed: int, threads: int) -> Prepared:
        return bilstm_fit.prepare(self._shape, train, validation, seed=seed, threads=threads)

    def fit(
        self,
        prepared: Prepared,
        params: Params,
        *,
        rounds: int,
        on_round: OnRound | None = None,
        work: Path | None = None,
    ) -> FittedBiLstm:
        chosen = self.chosen
        plan = Plan(
            epochs=rounds,
            batch=int(params["batch_size"]),
            accumulation=chosen.accumulation,
            learning_rate=float(params["learning_rate"]),
            weight_decay=float(params["weight_decay"]),
            schedule="restarts",
            t0=chosen.t0,
            t_mult=chosen.t_mult,
            eta_min=min(chosen.eta_min, float(params["learning_rate"])),
            clip=chosen.clip,
            patience=chosen.patience,
            seed=prepared.seed,
            threads=prepared.threads,
            device=chosen.device,
            precision=_precision(chosen),
        )
        return bilstm_fit.fit(self._shape, prepared, params, plan, on_round, work)

    @property
    def _shape(self) -> Shape:
        chosen = self.chosen
        hidden, layers = SIZES[chosen.size]
        compat = chosen.target == "compat"
        return Shape(
            hidden=chosen.hidden or hidden,
            layers=chosen.layers or layers,
            components=chosen.components,
            columns=tuple(i for i, name in enumerate(self.features) if compat or name not in RAW),
            level_column=self.features.index("close" if compat else VOLATILITY),
            price=compat,
            linear=chosen.linear,
            members=chosen.members,
            threshold=chosen.threshold,
            robust=chosen.loss == "huber" and not compat,
            day_rows=DAY_MS // INTERVAL_MS[self.interval],
        )


def _precision(chosen: BiLstmOptions) -> Literal["float32", "bfloat16"]:
    if chosen.precision != "auto":
        return chosen.precision
    return "bfloat16" if native_bfloat16(chosen_device(chosen.device)) else "float32"
