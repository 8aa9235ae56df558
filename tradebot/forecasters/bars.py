"""What families on the interval-generic view share: its rows, their label and weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import numpy.typing as npt

from tradebot.errors import ConfigError
from tradebot.events.models import FAMILY_INTERVALS
from tradebot.features.views import View, view
from tradebot.forecasters import labels
from tradebot.forecasters.base import CandleColumns, Floats, Labels, Rows, Times
from tradebot.market.candle import INTERVAL_MS

INTERVALS = ("5m", "15m", "1h")
BASELINE_FEATURES = (
    "rv_12",
    "rv_48",
    "atr_pct",
    "range_atr",
    "vol_ratio_20",
    "ret_1",
    "ret_3",
    "ret_12",
    "hour_sin",
    "hour_cos",
)
"""Ten features a person would start with: how much it moves, how it moved, and the time of day."""


def checked_interval(family: str, interval: str) -> str:
    """``interval``, or the family's own one where it is empty. Raises ConfigError for one without a view."""
    chosen = interval or FAMILY_INTERVALS[family]
    if chosen not in INTERVALS:
        raise ConfigError(f"{family} reads {', '.join(INTERVALS)} candles, not {chosen}")
    return chosen


class BarFamily(ABC):
    """Reads the view ``bars-<interval>``; three classes by ``threshold`` on the return over ``horizon_bars``."""

    interval: str
    device: Literal["cpu", "any"] = "cpu"

    @property
    @abstractmethod
    def horizon_bars(self) -> int: ...

    @property
    @abstractmethod
    def threshold(self) -> float:
        """The least move that is up or down, a fraction; 0: the sign alone."""

    @property
    def research_only(self) -> str:
        """Why no version of it may serve; empty when it may."""
        return ""

    @property
    def view(self) -> str:
        return f"bars-{self.interval}"

    @property
    def _view(self) -> View:
        return view(self.view)

    @property
    def features(self) -> tuple[str, ...]:
        return self._view.names

    @property
    def schema_hash(self) -> str:
        return self._view.schema_hash

    @property
    def baseline_features(self) -> tuple[str, ...]:
        return BASELINE_FEATURES

    def rows(self, candles: CandleColumns) -> tuple[Rows, npt.NDArray[np.bool_]]:
        return self._view.batch(
            candles.open_ms, candles.open, candles.high, candles.low, candles.close, candles.volume, candles.side
        )

    def label(self, candles: CandleColumns) -> Labels:
        return labels.three_class(candles.close, self.horizon_bars, self.threshold)

    def weight(self, at_ms: Times, label_end_ms: Times, newest_ms: int) -> Floats:
        return labels.uniqueness(at_ms, label_end_ms, INTERVAL_MS[self.interval])
