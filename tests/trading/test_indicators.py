"""Filters of candles against what numpy makes of the same formulas, written out anew."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray

from tradebot.market.buffer import CandleWindow
from tradebot.market.candle import Candle
from tradebot.trading.indicators import AverageRange, KernelRegression, Regime, candles_after

Floats = NDArray[np.float64]


def candles(n: int, seed: int = 5) -> tuple[list[Candle], Floats]:
    """A random walk of closes with opens at the last close, and its (n, 4) table of o, h, l, c."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, n) * (1 + 2 * (np.arange(n) % 97 < 20))))
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) + rng.exponential(0.05, n)
    low = np.minimum(opened, close) - rng.exponential(0.05, n)
    table = np.column_stack([opened, high, low, close])
    return [Candle(300_000 * i, *row.tolist(), volume=1.0) for i, row in enumerate(table)], table


def test_the_kernel_is_the_rational_quadratic_mean_of_the_last_27_closes() -> None:
    rows, table = candles(200)
    close = table[:, 3]
    age = np.arange(27.0)
    weights = np.power(1 + age**2 / (2 * 8 * 8**2), -8.0)
    estimates = [float((close[t - 26 : t + 1][::-1] * weights).sum() / weights.sum()) for t in range(26, 200)]
    kernel = KernelRegression()
    for t, row in enumerate(rows):
        kernel.update(row.close)
        if t < 26:
            assert kernel.estimate is None
        else:
            assert kernel.estimate == pytest.approx(estimates[t - 26], rel=1e-12)
        assert kernel.direction == (0 if t < 27 else np.sign(estimates[t - 26] - estimates[t - 27]))


def test_with_a_lag_the_kernel_rises_while_the_quicker_estimate_lies_above() -> None:
    rows, table = candles(120)
    age = np.arange(27.0)
    slow, quick = np.power(1 + age**2 / (2 * 4 * 100.0), -4.0), np.exp(-(age**2) / (2 * 7.0**2))
    kernel = KernelRegression(h=10.0, r=4.0, lag=3.0)
    seen = set()
    for t, row in enumerate(rows):
        kernel.update(row.close)
        if t >= 26:
            last = table[t - 26 : t + 1, 3][::-1]
            assert kernel.direction == np.sign(np.average(last, weights=quick) - np.average(last, weights=slow))
            seen.add(kernel.direction)
    assert seen == {1, -1}


def test_the_regime_is_the_slope_of_the_adaptive_average_against_its_long_average() -> None:
    rows, table = candles(1_500)
    price = table.mean(axis=1)
    v1 = v2 = 0.0
    average, averages = price[0], []
    for t in range(len(rows)):
        v1 = 0.2 * (price[t] - price[t - 1] if t else 0.0) + 0.8 * v1
        v2 = 0.1 * (table[t, 1] - table[t, 2]) + 0.8 * v2
        omega = abs(v1 / v2)
        alpha = (-(omega**2) + np.sqrt(omega**4 + 16 * omega**2)) / 8
        average = alpha * price[t] + (1 - alpha) * average
        averages.append(average)
    slope = np.abs(np.diff(averages, prepend=averages[0]))
    long = [slope[0]]
    for value in slope[1:]:
        long.append(value * 2 / 201 + long[-1] * 199 / 201)
    regime = Regime()
    for t, row in enumerate(rows):
        regime.update(row)
        if t < 199:
            assert regime.strength is None
        else:
            assert regime.strength == pytest.approx((slope[t] - long[t]) / long[t], rel=1e-7, abs=1e-9)


def test_where_it_began_is_forgotten_after_a_thousand_candles() -> None:
    rows, _ = candles(1_200)
    early, late = Regime(), Regime()
    for row in rows:
        early.update(row)
    for row in rows[150:]:
        late.update(row)
    assert late.strength == pytest.approx(early.strength, abs=1e-3)


def test_a_regime_survives_markets_that_do_not_move() -> None:
    regime = Regime()
    for i in range(1_200):
        regime.update(Candle(300_000 * i, 5.0, 5.0, 5.0, 5.0, 0.0))
    assert regime.strength is None
    regime.update(Candle(300_000 * 1_200, 6.0, 6.0, 6.0, 6.0, 1.0))
    assert regime.strength is not None
    assert np.isfinite(regime.strength)


def test_the_average_range_is_wilder_s() -> None:
    rows, table = candles(80)
    before = np.concatenate([[table[0, 3]], table[:-1, 3]])
    ranges = np.maximum(table[:, 1], before) - np.minimum(table[:, 2], before)
    expected = ranges[0]
    single, ten = AverageRange(1), AverageRange(10)
    for t, row in enumerate(rows):
        expected = ranges[t] if t == 0 else (9 * expected + ranges[t]) / 10
        single.update(row)
        ten.update(row)
        assert single.value == pytest.approx(ranges[t], rel=1e-12)
        assert ten.value == pytest.approx(expected, rel=1e-12)


def test_only_candles_not_seen_yet_are_given() -> None:
    rows, _ = candles(9)
    window = CandleWindow(*(np.array(column) for column in zip(*map(list_of, rows), strict=True)))
    assert list(candles_after(window, -1)) == rows
    assert list(candles_after(window, rows[6].open_time_ms)) == rows[7:]
    assert deque(candles_after(window, rows[-1].open_time_ms)) == deque()


def list_of(row: Candle) -> list[float]:
    return [row.open_time_ms, row.open, row.high, row.low, row.close, row.volume, row.quote_volume]


@pytest.mark.parametrize(("h", "r", "lag"), [(0.0, 8.0, 0.0), (8.0, -1.0, 0.0), (8.0, 8.0, 8.0), (8.0, 8.0, -1.0)])
def test_a_kernel_that_cannot_be_is_refused(h: float, r: float, lag: float) -> None:
    with pytest.raises(ValueError, match="h and r must be positive"):
        KernelRegression(h, r, lag)
