"""A price path inside recorded candles: the book moves a few times per candle and traces it exactly.

With ``K`` points per candle (10 unless asked otherwise), evenly spaced from the candle's start, in ticks:

* point 0 is the open, point ``K-1`` the close;
* the extreme nearer to the open comes first (equally near: the low first when the candle closes at or above its
  open), then the other one; both are touched exactly;
* the points between lie on straight lines, at times in proportion to the distance of each leg, plus uniform noise of
  ±12 % of the range, never outside [low, high].

The volume is split over the points by ``0.3 + |move|·K/range + 0.4·u`` in whole lots that sum to it exactly; a candle
of at least ``K`` lots trades at each point.

All noise is keyed by stream and open time, so a candle's path does not depend on any other candle. A path made this
way knows its candle's future: models that look inside candles must not be trained on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tradebot.sim.market.contract import Grid
from tradebot.sim.market.noise import uniforms
from tradebot.sim.market.series import CandleColumns

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

POINTS = 10
FEWEST_POINTS, MOST_POINTS = 4, 20
NOISE = 0.12


@dataclass(frozen=True, slots=True)
class PathBlock:
    """Paths of consecutive candles, arrays of shape (candles, points).

    ``ticks``: last traded price at the point; ``lots``: volume traded on the way to it; ``flow`` in [-1, 1]: the
    order flow on that way, buys positive.
    """

    ticks: Ints
    lots: Ints
    flow: Floats


class Paths(Protocol):
    """Where the paths of a market's candles come from, by row number."""

    @property
    def points(self) -> int:
        """Points in each candle."""

    def block(self, first: int, last: int) -> PathBlock:
        """Paths of the candles ``first`` (included) to ``last`` (excluded)."""


class RecordedPaths:
    """Paths made around recorded candles, on demand."""

    def __init__(self, candles: CandleColumns, ticks: Grid, lots: Grid, key: int, points: int = POINTS) -> None:
        if not FEWEST_POINTS <= points <= MOST_POINTS:
            raise ValueError(f"points per candle must lie in {FEWEST_POINTS}…{MOST_POINTS}, not {points}")
        self.points = points
        self._candles = candles
        self._ticks, self._lots, self._key = ticks, lots, key

    def block(self, first: int, last: int) -> PathBlock:
        rows = self._candles.part(first, last)
        draws = uniforms(self._key, rows.open_time, 2 + 2 * self.points)
        grid = self._ticks
        prices = trace(
            grid.to_int(rows.open), grid.to_int(rows.high), grid.to_int(rows.low), grid.to_int(rows.close),
            self.points, draws,
        )  # fmt: skip
        moves = np.diff(prices, axis=1, prepend=prices[:, :1])
        reach = np.maximum(prices.max(axis=1) - prices.min(axis=1), 1)[:, None]
        weights = 0.3 + np.abs(moves) * self.points / reach + 0.4 * draws[:, 2 + self.points :]
        flow = np.clip(moves / (0.3 * reach), -1.0, 1.0)
        return PathBlock(prices, split(self._lots.to_int(rows.volume), weights), flow)


def trace(o: Ints, h: Ints, l: Ints, c: Ints, points: int, draws: Floats) -> Ints:
    """Price points in ticks, shape (candles, points). ``draws``: uniform, at least ``2 + points`` for each candle."""
    down, up = o - l, h - o
    low_first = (down < up) | ((down == up) & (c >= o))
    first, second = np.where(low_first, l, h), np.where(low_first, h, l)
    last = points - 1
    legs = np.stack([np.abs(o - first), np.abs(first - second), np.abs(second - c)], axis=1).astype(np.float64)
    legs += 0.02 * (h - l)[:, None] + 1e-9
    share = np.cumsum(legs, axis=1) / legs.sum(axis=1, keepdims=True)
    jitter = draws[:, :2] - 0.5
    at_first = np.clip(np.rint(last * share[:, 0] + jitter[:, 0]), 1, last - 2)
    at_second = np.clip(np.rint(last * share[:, 1] + jitter[:, 1]), at_first + 1, last - 1)

    k = np.arange(points)[None, :]
    i1, i2 = at_first[:, None], at_second[:, None]
    o_, a, b, c_ = o[:, None], first[:, None], second[:, None], c[:, None]
    line = np.where(
        k <= i1,
        o_ + (a - o_) * (k / i1),
        np.where(k <= i2, a + (b - a) * ((k - i1) / (i2 - i1)), b + (c_ - b) * ((k - i2) / (last - i2))),
    )
    anchored = (k == 0) | (k == i1) | (k == i2) | (k == last)
    noise = NOISE * (h - l)[:, None] * (2.0 * draws[:, 2 : 2 + points] - 1.0)
    path = np.where(anchored, line, np.clip(line + noise, l[:, None], h[:, None]))
    prices: Ints = np.rint(path).astype(np.int64)
    return prices


def split(total: Ints, weights: Floats) -> Ints:
    """``total`` lots of each row over its columns, in proportion to ``weights``, summing exactly.

    Where there are enough lots every column gets at least one.

    >>> split(np.array([10]), np.array([[1.0, 1.0, 2.0]])).tolist()
    [[2, 3, 5]]
    """
    columns = weights.shape[1]
    floor = (total >= columns).astype(np.int64)
    running = np.cumsum(weights, axis=1)
    bounds = np.floor((total - floor * columns)[:, None] * (running / running[:, -1:])).astype(np.int64)
    lots: Ints = np.diff(bounds, axis=1, prepend=0) + floor[:, None]
    return lots
