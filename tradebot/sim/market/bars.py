"""Candles from public trades."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tradebot.sim.market.contract import Grid
from tradebot.sim.market.series import EMPTY, CandleColumns, interval_starts

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Trades in the order they are told: from ``recv_ms`` on.

    ``ts_ms`` is when each was executed, never after it is told; price in ticks, size in lots, whether the taker bought.
    """

    recv_ms: Ints
    ts_ms: Ints
    ticks: Ints
    lots: Ints
    bought: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.recv_ms.size)

    def as_executed(self) -> TradeColumns:
        """The same trades in the order of their execution."""
        order = np.argsort(self.ts_ms, kind="stable")
        return TradeColumns(
            self.recv_ms[order], self.ts_ms[order], self.ticks[order], self.lots[order], self.bought[order]
        )


class TradeBars:
    """Candles of any interval out of trades, each in the interval in which it was executed.

    A candle opens at the last price before it (``first_ticks`` where there was none yet), so that a candle without a
    trade is flat at that price with volume 0, and an open never changes once the interval has begun.
    :meth:`standing` serves ``base_ms`` only, :meth:`between` any interval.
    """

    def __init__(self, trades: TradeColumns, ticks: Grid, lots: Grid, first_ticks: int, base_ms: int) -> None:
        trades = trades.as_executed()
        self._times = trades.ts_ms
        self._ticks, self._lots = ticks, lots
        # entry i: last price before trade i
        self._last = np.concatenate((np.array([first_ticks], dtype=np.int64), trades.ticks))
        self._padded = np.append(trades.ticks, 0)  # so that a bound after the last trade is an index
        self._worth = np.concatenate(([0.0], np.cumsum(trades.lots.astype(np.float64) * trades.ticks)))
        self._volume = np.concatenate((np.zeros(1, np.int64), np.cumsum(trades.lots)))
        self._scale = float(ticks.step) * float(lots.step)
        self._base_ms = base_ms
        self._high, self._low = trades.ticks.copy(), trades.ticks.copy()
        starts = interval_starts(trades.ts_ms, base_ms)
        heads = np.flatnonzero(np.diff(starts, prepend=-1)).tolist()
        for head, tail in pairwise([*heads, len(trades)]):
            opened = self._last[head]
            self._high[head:tail] = np.maximum(np.maximum.accumulate(trades.ticks[head:tail]), opened)
            self._low[head:tail] = np.minimum(np.minimum.accumulate(trades.ticks[head:tail]), opened)

    def between(self, start_ms: int, end_ms: int, interval_ms: int, before_ms: int) -> CandleColumns:
        """Candles that open in ``start_ms`` … ``end_ms``, from the trades before ``before_ms`` only.

        Intervals that begin after ``before_ms`` are left out. ``start_ms`` must be an interval's start.
        """
        until = min(end_ms, before_ms)
        if until < start_ms:
            return EMPTY
        opens = np.arange(start_ms, int(interval_starts(np.array([until]), interval_ms)[0]) + 1, interval_ms)
        edges = np.append(opens, opens[-1] + interval_ms)
        at = self.before(np.minimum(edges, before_ms))
        first, last = at[:-1], at[1:]
        opened, closed = self._last[first], self._last[last]
        high, low = opened.copy(), opened.copy()
        traded = np.flatnonzero(last > first)
        if traded.size:
            # pairs of bounds; results at odd places span the trades between two candles and are dropped
            pairs = np.stack([first[traded], last[traded]], axis=1).ravel()
            origin = int(pairs[0])
            values = self._padded[origin : int(pairs[-1]) + 1]
            high[traded] = np.maximum(high[traded], np.maximum.reduceat(values, pairs - origin)[::2])
            low[traded] = np.minimum(low[traded], np.minimum.reduceat(values, pairs - origin)[::2])
        return CandleColumns(
            opens,
            self._ticks.to_float(opened),
            self._ticks.to_float(high),
            self._ticks.to_float(low),
            self._ticks.to_float(closed),
            self._lots.to_float(self._volume[last] - self._volume[first]),
            np.round((self._worth[last] - self._worth[first]) * self._scale, 8),
        )

    def before(self, at_ms: Ints) -> Ints:
        """How many trades were executed before each time."""
        return np.searchsorted(self._times, at_ms, side="left")

    def standing(self, at_ms: Ints) -> CandleColumns:
        """The running base candle just before each time."""
        opens = interval_starts(at_ms, self._base_ms)
        first, ends = self.before(opens), self.before(at_ms)
        opened, closed = self._last[first], self._last[ends]
        high, low = opened.copy(), opened.copy()
        traded = ends > first
        latest = ends[traded] - 1
        high[traded], low[traded] = self._high[latest], self._low[latest]
        return CandleColumns(
            opens,
            self._ticks.to_float(opened),
            self._ticks.to_float(high),
            self._ticks.to_float(low),
            self._ticks.to_float(closed),
            self._lots.to_float(self._volume[ends] - self._volume[first]),
            np.round((self._worth[ends] - self._worth[first]) * self._scale, 8),
        )
