"""What was known beside each candle at its close: the leaders' closes, funding, mark, index, open interest.

Everything is looked up by time: a leader's candle of the same open time (it closed at the same moment), a settlement or
a reading at or before the close. What nobody recorded stays NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tradebot.features.side import SIDE
from tradebot.forecasters.base import CandleColumns, Floats, Times

LEADERS: Mapping[str, str] = {"btc_close": "BTCUSDT", "eth_close": "ETHUSDT"}
"""Whose closes two of the columns are."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A series known from its moments on: ``at_ms`` ascending, a value from each on."""

    at_ms: Times
    value: Floats


@dataclass(slots=True)
class Beside:
    """What a source holds beside a symbol's candles: candles of the leaders by symbol, readings by column."""

    candles: dict[str, CandleColumns] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """For a person: what was found where, and what could not be used."""


def with_sides(candles: CandleColumns, symbol: str, beside: Beside, bar_ms: int) -> CandleColumns:
    """``candles`` with their side columns filled from ``beside``; the symbol's own closes where it leads itself."""
    side = np.full((len(candles), len(SIDE)), np.nan)
    for j, name in enumerate(SIDE):
        leader = LEADERS.get(name)
        if leader == symbol:
            side[:, j] = candles.close
        elif leader is not None:
            if leader in beside.candles:
                side[:, j] = _same_moment(candles.open_ms, beside.candles[leader])
        elif name in beside.readings:
            side[:, j] = _last_known(candles.open_ms + bar_ms, beside.readings[name])
    return CandleColumns(
        open_ms=candles.open_ms,
        open=candles.open,
        high=candles.high,
        low=candles.low,
        close=candles.close,
        volume=candles.volume,
        side=side,
    )


def absent(candles: CandleColumns) -> tuple[str, ...]:
    """Side columns without any value."""
    if candles.side is None:
        return tuple(SIDE)
    return tuple(name for j, name in enumerate(SIDE) if not np.isfinite(candles.side[:, j]).any())


def _same_moment(open_ms: Times, other: CandleColumns) -> Floats:
    found: Floats = np.full(len(open_ms), np.nan)
    if len(other):
        place = np.minimum(np.searchsorted(other.open_ms, open_ms), len(other) - 1)
        same: npt.NDArray[np.bool_] = other.open_ms[place] == open_ms
        found[same] = other.close[place[same]]
    return found


def _last_known(close_ms: Times, series: Reading) -> Floats:
    found: Floats = np.full(len(close_ms), np.nan)
    place = np.searchsorted(series.at_ms, close_ms, side="right") - 1
    known = place >= 0
    found[known] = series.value[place[known]]
    return found
