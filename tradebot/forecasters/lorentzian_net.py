"""The family ``lorentzian-net``: nets that forecast by Lorentzian distance (models.md sections 5.2 and 5.3).

``attention``: distances with learned weights to prototypes, which begin at training rows. ``memory``: the same
distance to a bank of training rows. ``published``: the original net, the probability of a rise beyond 1 % within 24
hours; ``compat: true`` feeds it the absolute price levels it was published with instead of the ratios that stand for
them. What a net says is calibrated on validation rows to the probabilities of all three classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from tradebot.errors import ConfigError, DataError
from tradebot.forecasters.bars import BarFamily, checked_interval
from tradebot.forecasters.base import (
    CandleColumns,
    Fitted,
    OnRound,
    Options,
    Params,
    Rows,
    Sample,
    Trial,
)
from tradebot.forecasters.external import External
from tradebot.forecasters.options import options_of

PUBLISHED_FROM = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "rsi_14",
    "macd",
    "macd_signal",
    "macd_hist",
    "wt1",
    "wt2",
    "adx_14",
    "atr_pct",
    "bb_pctb",
    "bb_width",
    "cci_20",
    "stoch_k",
    "stoch_d",
)
"""What the 18 published inputs are made of: prices and volume as they are, MACD in units of ATR, bands as ratios."""

SCALE_FREE = (
    "ret_1",
    "body",
    "upper_wick",
    "lower_wick",
    "vol_ratio_20",
    "rsi_14",
    "macd",
    "macd_signal",
    "macd_hist",
    "wt1",
    "wt2",
    "adx_14",
    "atr_pct",
    "bb_pctb",
    "bb_width",
    "cci_20",
    "stoch_k",
    "stoch_d",
)
"""Their equivalents without a price: the candle's shape for its prices, volume against its average."""

LEAD = ("btc_ret_1", "btc_ret_12", "eth_ret_1", "eth_ret_12")
MORE = ("ret_3", "ret_12", "ret_48", "rv_12", "rv_48", "regime", "kernel_rq_slope", "hour_sin", "hour_cos")
"""What attention and memory see beside them."""


class LorentzianNetOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person sets.

    ``horizon`` bars and ``threshold`` (a fraction) make the label. ``hidden``, ``dropout``: of the published net;
    ``prototypes``: of attention; ``memory``, ``k``: of the bank. ``lead``: also look at BTC and ETH. ``class_weights``:
    rare classes count as much as frequent ones. ``external``: a parquet file of columns by ``time`` (ms UTC), known
    ``external_delay`` after it; such a model is for research only, nobody feeds it live.
    """

    kind: Literal["attention", "memory", "published"] = "attention"
    compat: bool = False
    horizon: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 24
    threshold: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.01
    hidden: Annotated[int, msgspec.Meta(ge=4, le=1_024)] = 64
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.2
    prototypes: Annotated[int, msgspec.Meta(ge=8, le=1_024)] = 128
    memory: Annotated[int, msgspec.Meta(ge=100, le=20_000)] = 2_000
    k: Annotated[int, msgspec.Meta(ge=1, le=200)] = 32
    patience: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10
    lead: bool = True
    class_weights: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    external: str = ""
    external_delay: str = "1h"


@dataclass(frozen=True, slots=True)
class LorentzianNet(BarFamily):
    """The family."""

    interval: str = "1h"
    given: LorentzianNetOptions = field(default_factory=LorentzianNetOptions)
    external: External | None = None
    name: str = "lorentzian-net"
    steps: int = 1
    counts: Literal["epochs"] = "epochs"
    loss: str = "cross-entropy, nats"

    @classmethod
    def of(cls, options: Options, interval: str) -> LorentzianNet:
        given = options_of(LorentzianNetOptions, "lorentzian-net", options)
        if given.compat and given.kind != "published":
            raise ConfigError(f"lorentzian-net: compat is of kind published, not {given.kind}")
        external = External.of(given.external, given.external_delay) if given.external else None
        return cls(checked_interval("lorentzian-net", interval), given, external)

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
        if self.external is None:
            return ""
        return f"columns of {self.external.path.name} are joined from a file; nobody feeds them live"

    @property
    def features(self) -> tuple[str, ...]:
        return self._view.names + (self.external.names if self.external else ())

    @property
    def schema_hash(self) -> str:
        own = self._view.schema_hash
        if self.external is None:
            return own
        return hashlib.sha256("\0".join((own, *self.external.names)).encode()).hexdigest()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features its net sees."""
        if self.given.compat:
            return PUBLISHED_FROM
        more = () if self.given.kind == "published" else MORE
        lead = LEAD if self.given.lead else ()
        return SCALE_FREE + more + lead + (self.external.names if self.external else ())

    @property
    def fixed(self) -> Params:
        return {"move_threshold": self.threshold, "inputs": ", ".join(self.inputs)}

    def rows(self, candles: CandleColumns) -> tuple[Rows, npt.NDArray[np.bool_]]:
        rows, usable = BarFamily.rows(self, candles)
        if self.external is None:
            return rows, usable
        beside = self.external.known_at(candles.open_ms + self._view.bar_ms)
        return np.concatenate([rows, beside], axis=1), usable

    def suggest(self, trial: Trial, rounds: int) -> Params:
        """The published grid: rates 1e-2 to 1e-4, batches 32 to 128, 32 to 256 units, dropout .1 to .5, weights."""
        return {name: trial.suggest_categorical(name, values) for name, values in self._grid().items()}

    def defaults(self, rounds: int) -> Params:
        usual: Params = {"learning_rate": 1e-3, "batch": 64}
        return {name: usual.get(name, getattr(self.given, name, 0)) for name in self._grid()}

    def _grid(self) -> dict[str, list[float | int | str | bool]]:
        """What is searched, and the value that the options name beside it."""
        grid: dict[str, list[float | int | str | bool]] = {
            "learning_rate": [1e-2, 1e-3, 1e-4],
            "batch": [32, 64, 128],
            "class_weights": [False, True],
        }
        if self.given.kind == "published":
            grid["hidden"] = sorted({32, 64, 128, 256, self.given.hidden})
            grid["dropout"] = sorted({0.1, 0.2, 0.3, 0.5, self.given.dropout})
        if self.given.kind == "attention":
            grid["prototypes"] = sorted({64, 128, 256, self.given.prototypes})
        return grid

    def prepare(self, train: Sample, validation: Sample, *, seed: int, threads: int) -> Any:
        if len(train) < 100:
            raise DataError(f"{len(train)} training rows, 100 are the least for lorentzian-net: use more days")
        return _fitting().Prepared(self, train, validation, seed, threads)

    def fit(
        self,
        prepared: Any,
        params: Params,
        *,
        rounds: int,
        on_round: OnRound | None = None,
        work: Path | None = None,
    ) -> Fitted:
        made: Fitted = _fitting().fit(prepared, params, rounds=rounds, on_round=on_round, work=work)
        return made


def _fitting() -> Any:
    """The module that needs torch."""
    try:
        from tradebot.forecasters import lorentzian_fitting
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "torch":
            raise
        raise ConfigError("lorentzian-net needs torch: pip install 'tradebot[deep]'") from None
    return lorentzian_fitting


def setting(given: LorentzianNetOptions, params: Mapping[str, Any], name: str) -> Any:
    """A value of the search, or of the options where the search left it."""
    return params.get(name, getattr(given, name))
