"""From the indicator's scores to trades: its filters, the signal that stands until it is reversed, its exits.

What ``strategies/lorentzian.py`` does live with a forecast, here for every bar of a recorded history at once
(models.md section 5.1). The filters are those of ``trading.indicators``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradebot.forecasters.base import CandleColumns, Floats
from tradebot.market.candle import Candle
from tradebot.trading.indicators import AverageRange, KernelRegression, Regime

Sides = npt.NDArray[np.int64]

HOLD_BARS = 4
LEAST_REGIME = -0.1


@dataclass(frozen=True, slots=True, eq=False)
class Filters:
    """At each bar's close: whether the volatility and regime filters let a signal pass (N,), and which way the kernel
    estimate moves, 1, −1 or 0 (N,)."""

    passes: npt.NDArray[np.bool_]
    kernel: Sides


def filters_of(candles: CandleColumns) -> Filters:
    """The indicator's default filters: ATR(1) above ATR(10), regime at least −0.1, rational quadratic kernel."""
    kernel, regime, now, usual = KernelRegression(), Regime(), AverageRange(1), AverageRange(10)
    passes, directions = np.zeros(len(candles), dtype=np.bool_), np.zeros(len(candles), dtype=np.int64)
    columns = (candles.open_ms, candles.open, candles.high, candles.low, candles.close, candles.volume)
    for t, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        candle = Candle(*values)
        kernel.update(candle.close)
        regime.update(candle)
        now.update(candle)
        usual.update(candle)
        strength = regime.strength
        moving = now.value is not None and usual.value is not None and now.value > usual.value
        passes[t] = moving and strength is not None and strength >= LEAST_REGIME
        directions[t] = kernel.direction
    return Filters(passes, directions)


def entries(scores: Floats | Sides, filters: Filters) -> Sides:
    """Side to enter with at each bar's close (N,): 1, −1, or 0 for nothing.

    A score above 0 is long, below 0 short; where the filters stop it the signal before stands. Entered when the signal
    changed at this bar and the kernel estimate moves its way.
    """
    wanted = np.where(filters.passes, np.sign(scores), 0).astype(np.int64)
    newest = np.maximum.accumulate(np.where(wanted != 0, np.arange(len(wanted)), -1))
    signal = np.where(newest >= 0, wanted[newest], 0)
    before = np.concatenate([[0], signal[:-1]])
    changed = (signal != before) & (before != 0)
    return np.where(changed & (filters.kernel == signal), signal, 0)


def held_trades(entering: Sides, hold_bars: int = HOLD_BARS) -> tuple[Sides, Sides, Sides]:
    """Rows of entry and of exit, and sides, of trades that last ``hold_bars`` or until the opposite entry.

    Decisions are at closes; both fill at the next open. What is open at the end of the rows is left out.

    >>> [x.tolist() for x in held_trades(np.array([1, 0, 0, 0, 0, 1, 0, -1, 0, 0, 0, 0]))]
    [[0, 5, 7], [4, 7, 11], [1, 1, -1]]
    """
    trades: list[tuple[int, int, int]] = []
    since, side = -1, 0
    for t in np.flatnonzero(entering).tolist():
        if side and t >= since + hold_bars:
            trades.append((since, since + hold_bars, side))
            side = 0
        if side == entering[t]:
            continue
        if side:
            trades.append((since, t, side))
        since, side = t, int(entering[t])
    if side and since + hold_bars < len(entering):
        trades.append((since, since + hold_bars, side))
    columns = np.array(trades, dtype=np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]
