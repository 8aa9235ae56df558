"""What a result would have been with worse luck, higher costs or a slower bot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np

from tradebot.evaluation.bootstrap import Floats, stationary_rows
from tradebot.evaluation.periods import Days, drawdown_of
from tradebot.evaluation.round_trips import RoundTrips

BLOCK_DAYS: Final = 5.0
"""Mean length of the stretches that are drawn: a working week, longer than most episodes of volatility."""

_DRAWN_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class StressPoint:
    """Fees and slippage multiplied by ``cost``; every order acting ``delay_bars`` candles later."""

    cost: float = 1.0
    delay_bars: int = 0

    def __str__(self) -> str:
        late = f", {self.delay_bars} candles late" if self.delay_bars != 1 else ", 1 candle late"
        return f"costs x{self.cost:g}{late if self.delay_bars else ''}"


STRESS: Final = tuple(StressPoint(cost, delay) for delay in (0, 1, 2) for cost in (1.0, 1.5, 2.0))
"""Costs up to twice as high, up to two candles late, and both together; the first is the run as it was."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Stressed(Generic[R]):
    """What running again under one point gave."""

    point: StressPoint
    result: R


def stressed(
    rerun: Callable[[StressPoint], R],
    points: Sequence[StressPoint] = STRESS,
    on_point: Callable[[StressPoint], None] = lambda point: None,
) -> tuple[Stressed[R], ...]:
    """Run again under every point, in this order; ``on_point`` is told after each."""
    found = []
    for point in points:
        found.append(Stressed(point, rerun(point)))
        on_point(point)
    return tuple(found)


def break_even_cost(costs: Sequence[float], net: Sequence[float]) -> float | None:
    """The multiple of the costs at which nothing is earned, on the straight line nearest to (costs, net).

    None where it takes more than one point to tell, or where higher costs did not earn less. Below 1: the run lost.

    >>> break_even_cost([1.0, 2.0], [30.0, 10.0])
    2.5
    """
    x, y = np.asarray(costs, dtype=np.float64), np.asarray(net, dtype=np.float64)
    if len(np.unique(x)) < 2:
        return None
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / np.square(x - x.mean()).sum())
    return float(x.mean() - y.mean() / slope) if slope < 0 else None


@dataclass(frozen=True, slots=True)
class Luck:
    """Results over resamples: 5 %, 50 % and 95 % quantiles of what was earned, and the drawdown that one in twenty
    exceeds. ``loses`` is the share of resamples that earned less than nothing. Units: see the function."""

    low: float
    median: float
    high: float
    drawdown_median: float
    drawdown_high: float
    loses: float
    rows: int
    draws: int
    block: float


def luck_of_days(days: Days, *, block: float = BLOCK_DAYS, draws: int = 2_000, seed: int = 0) -> Luck:
    """Days drawn again in stretches: earned and drawdown as fractions of equity, falls within a day included."""
    rows = stationary_rows(len(days), block=block, draws=draws, seed=seed)
    return _luck(np.prod(days.growth[rows], axis=1) - 1.0, drawdown_of(days, rows), len(days), block)


def luck_of_trades(trips: RoundTrips, *, days: float, draws: int = 2_000, seed: int = 0) -> Luck | None:
    """Closed trades drawn again in stretches of as many as five of ``days`` days saw; USDT. None without trades.

    The drawdown (USDT) is that of what closed trades add up to; what they stood at while open is in the days' figure.
    """
    if not len(trips):
        return None
    block = max(1.0, len(trips) * BLOCK_DAYS / max(days, BLOCK_DAYS))
    each = max(1, _DRAWN_AT_ONCE // len(trips))
    sums, falls = [], []
    for begin in range(0, draws, each):
        rows = stationary_rows(len(trips), block=block, draws=min(each, draws - begin), seed=seed + begin)
        way = np.cumsum(trips.net[rows], axis=1)
        peak = np.maximum(np.maximum.accumulate(way, axis=1), 0.0)
        sums.append(way[:, -1])
        falls.append((peak - way).max(axis=1))
    return _luck(np.concatenate(sums), np.concatenate(falls), len(trips), block)


def _luck(earned: Floats, fall: Floats, rows: int, block: float) -> Luck:
    low, median, high = np.quantile(earned, [0.05, 0.5, 0.95])
    fall_median, fall_high = np.quantile(fall, [0.5, 0.95])
    return Luck(
        low=float(low),
        median=float(median),
        high=float(high),
        drawdown_median=float(fall_median),
        drawdown_high=float(fall_high),
        loses=float((earned < 0).mean()),
        rows=rows,
        draws=len(earned),
        block=block,
    )
