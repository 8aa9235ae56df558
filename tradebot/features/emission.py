"""Writing one row from the state, in the order of the catalogue, group by group."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tradebot.features import layout as at
from tradebot.features.advance import CLOCK_RING, DAY, FAR_RING, FOUR_HOURS, HOUR, QUARTER, RSI_SLOT, strength
from tradebot.features.catalogue import column
from tradebot.features.compiled import part
from tradebot.features.epoch import BAR_MS, MONDAY_MS
from tradebot.features.window import EPS, NAN, RING, Floats, correlation, highest, lowest, ratio, root, window_sum

Row = NDArray[np.float32]

RETURNS = column("ret_1")
MOMENTUM = column("ret_z")
VOLATILITY = column("rv_12")
OSCILLATORS = column("rsi_7")
MACD = column("macd")
TREND = column("eff_ratio_24")
STRENGTH = column("adx_14")
BANDS = column("bb_pctb")
VOLUME = column("vol_z_48")
SHAPE = column("body")
CLOCK = column("hour_sin")
HIGHER = column("rsi_14_15m")

MONDAY_BAR = MONDAY_MS // BAR_MS
FUNDING_BARS = 8 * HOUR
PARKINSON = 4.0 * math.log(2.0)
TIME_MEAN, TIME_SQUARES = 11.5, 1150.0
"""Mean and sum of squared deviations of 0..23."""
HOURS = np.array([[math.sin(2 * math.pi * k / DAY), math.cos(2 * math.pi * k / DAY)] for k in range(DAY)])
WEEKDAYS = np.array([[math.sin(2 * math.pi * k / 7), math.cos(2 * math.pi * k / 7)] for k in range(7)])


@part
def emit_returns(out: Row, bars: Floats, fours: Floats, far: Floats, n: int) -> None:
    now = far[n & FAR_RING, at.LNC]
    out[RETURNS] = bars[n & RING, at.R]
    out[RETURNS + 1] = now - far[(n - 2) & FAR_RING, at.LNC]
    out[RETURNS + 2] = now - far[(n - 3) & FAR_RING, at.LNC]
    out[RETURNS + 3] = now - far[(n - 6) & FAR_RING, at.LNC]
    out[RETURNS + 4] = now - far[(n - 12) & FAR_RING, at.LNC]
    out[RETURNS + 5] = now - far[(n - 24) & FAR_RING, at.LNC]
    out[RETURNS + 6] = now - far[(n - 48) & FAR_RING, at.LNC]
    out[RETURNS + 7] = now - far[(n - 96) & FAR_RING, at.LNC]
    middle = far[(n - 3) & FAR_RING, at.LNC]
    r, r2 = window_sum(bars, fours, n, at.R, 48), window_sum(bars, fours, n, at.R2, 48)
    s, s2 = window_sum(bars, fours, n - 1, at.R, 48), window_sum(bars, fours, n - 1, at.R2, 48)
    out[MOMENTUM] = ratio(bars[n & RING, at.R], root(r2 / 48.0), EPS)
    out[MOMENTUM + 1] = (now - middle) - (middle - far[(n - 6) & FAR_RING, at.LNC])
    out[MOMENTUM + 2] = correlation(48, r, s, r2, s2, window_sum(bars, fours, n, at.RR, 48))
    out[MOMENTUM + 3] = window_sum(bars, fours, n, at.UP, 12) / 12.0


@part
def emit_volatility(out: Row, bars: Floats, fours: Floats, far: Floats, lane: Floats, n: int) -> None:
    total = 0.0
    for back in range(0, DAY, 12):
        total += far[(n - back) & FAR_RING, at.R2_12]
    rv12, rv288 = bars[n & RING, at.RV12], root(total / DAY)
    r2 = window_sum(bars, fours, n, at.R2, 48)
    mean = window_sum(bars, fours, n, at.RV12, 48) / 48.0
    spread = root(window_sum(bars, fours, n, at.RV12_SQ, 48) / 48.0 - mean * mean)
    out[VOLATILITY] = rv12
    out[VOLATILITY + 1] = root(r2 / 48.0)
    out[VOLATILITY + 2] = rv288
    out[VOLATILITY + 3] = root(window_sum(bars, fours, n, at.HL2, 24) / 24.0 / PARKINSON)
    out[VOLATILITY + 4] = root(window_sum(bars, fours, n, at.GK, 24) / 24.0)
    out[VOLATILITY + 5] = root(window_sum(bars, fours, n, at.RS, 24) / 24.0)
    out[VOLATILITY + 6] = lane[at.ATR] / bars[n & RING, at.CLOSE]
    out[VOLATILITY + 7] = ratio(rv12, rv288, EPS)
    out[VOLATILITY + 8] = ratio(spread, mean, EPS)
    out[VOLATILITY + 9] = ratio(2.0 * window_sum(bars, fours, n, at.R2_UP, 48) - r2, r2, 48.0 * EPS * EPS)
    out[VOLATILITY + 10] = 1.0 - 0.5 * math.pi * ratio(window_sum(bars, fours, n, at.ABS_RR, 48), r2, 48.0 * EPS * EPS)


@part
def emit_oscillators(out: Row, bars: Floats, fours: Floats, lane: Floats, n: int) -> None:
    rsi = lane[at.RSI_RING + (n & RSI_SLOT)]
    out[OSCILLATORS] = strength(lane[at.GAIN7], lane[at.LOSS7])
    out[OSCILLATORS + 1] = rsi
    out[OSCILLATORS + 2] = strength(lane[at.GAIN21], lane[at.LOSS21])
    top, bottom = rsi, rsi
    for back in range(1, 14):
        value = lane[at.RSI_RING + ((n - back) & RSI_SLOT)]
        top, bottom = max(top, value), min(bottom, value)
    oldest = lane[at.RSI_RING + ((n - 13) & RSI_SLOT)]
    out[OSCILLATORS + 3] = (rsi - bottom) / (top - bottom + EPS) if oldest == oldest else NAN
    k = stochastic(bars, n)
    out[OSCILLATORS + 4] = k
    out[OSCILLATORS + 5] = (k + stochastic(bars, n - 1) + stochastic(bars, n - 2)) / 3.0
    mean = window_sum(bars, fours, n, at.TP, 20) / 20.0
    away = 0.0
    for back in range(20):
        away += abs(bars[(n - back) & RING, at.TP] - mean)
    out[OSCILLATORS + 6] = ratio(bars[n & RING, at.TP] - mean, 1.5 * away / 20.0, 1.5 * EPS * mean)
    up, down = window_sum(bars, fours, n, at.FLOW_UP, 14), window_sum(bars, fours, n, at.FLOW_DOWN, 14)
    out[OSCILLATORS + 7] = ratio(up, up + down, EPS)


@part
def stochastic(bars: Floats, n: int) -> float:
    """Place of the close of bar ``n`` in the range of 14 candles."""
    bottom = lowest(bars, n, 14)
    return ratio(bars[n & RING, at.CLOSE] - bottom, highest(bars, n, 14) - bottom, EPS * bottom)


@part
def emit_trend(out: Row, bars: Floats, fours: Floats, far: Floats, lane: Floats, n: int) -> None:
    c = bars[n & RING, at.CLOSE]
    atr, floor = lane[at.ATR], EPS * c
    out[MACD] = ratio(lane[at.EMA12] - lane[at.EMA26], atr, floor)
    out[MACD + 1] = lane[at.HIST]
    out[MACD + 2] = lane[at.HIST] - lane[at.HIST_BEFORE]
    travelled = abs(c - bars[(n - 24) & RING, at.CLOSE])
    bottom, top = lowest(bars, n, 48), highest(bars, n, 48)
    out[TREND] = ratio(travelled, window_sum(bars, fours, n, at.ABS_DC, 24), floor)
    out[TREND + 1] = slope_t(far, n)
    out[TREND + 2] = ratio(c - bottom, top - bottom, floor)
    out[TREND + 3] = ratio(c - lane[at.EMA9], atr, floor)
    out[TREND + 4] = ratio(c - lane[at.EMA21], atr, floor)
    out[TREND + 5] = ratio(c - lane[at.EMA50], atr, floor)
    total = 0.0
    for back in range(0, 200, 20):
        total += far[(n - back) & FAR_RING, at.C_20]
    out[TREND + 6] = ratio(c - total / 200.0, atr, floor)
    out[TREND + 7] = ratio(lane[at.EMA9] - lane[at.EMA21], atr, floor)
    out[STRENGTH] = lane[at.ADX]
    out[STRENGTH + 1] = ratio(lane[at.DM_UP] - lane[at.DM_DOWN], atr, floor)
    out[STRENGTH + 2] = aroon(bars, n)


@part
def slope_t(far: Floats, n: int) -> float:
    """t-statistic of the slope of ln c over 24 candles; NaN for a line without residuals."""
    now = far[n & FAR_RING, at.LNC]
    level, tilt = 0.0, 0.0
    for k in range(24):
        y = far[(n - 23 + k) & FAR_RING, at.LNC] - now
        level += y
        tilt += (k - TIME_MEAN) * y
    slope, mean = tilt / TIME_SQUARES, level / 24.0
    left = 0.0
    for k in range(24):
        residual = far[(n - 23 + k) & FAR_RING, at.LNC] - now - mean - slope * (k - TIME_MEAN)
        left += residual * residual
    return ratio(slope, root(left / 22.0 / TIME_SQUARES), EPS)


@part
def aroon(bars: Floats, n: int) -> float:
    """Bars since the lowest low minus bars since the highest high of 26 candles, by 25; the latest of equals counts."""
    top, bottom = highest(bars, n, 26), lowest(bars, n, 26)
    since_high, since_low = 0, 0
    while bars[(n - since_high) & RING, at.HIGH] != top:
        since_high += 1
    while bars[(n - since_low) & RING, at.LOW] != bottom:
        since_low += 1
    return (since_low - since_high) / 25.0


@part
def emit_bands(out: Row, bars: Floats, far: Floats, ranked: Floats, once: Floats, n: int) -> None:
    mean, sd, width = far[n & FAR_RING, at.C_20] / 20.0, once[at.BB_SD], once[at.BB_WIDTH]
    out[BANDS] = ratio(bars[n & RING, at.CLOSE] - (mean - 2.0 * sd), 4.0 * sd, 0.0)
    out[BANDS + 1] = width
    below, equal = 0, 0
    for k in range(at.RANKED):
        below += ranked[k] < width
        equal += ranked[k] == width
    out[BANDS + 2] = (below + 0.5 * (equal + 1)) / at.RANKED


@part
def emit_volume(
    out: Row, bars: Floats, fours: Floats, far: Floats, clocked: Floats, lane: Floats, once: Floats, n: int
) -> None:
    row = bars[n & RING]
    c = row[at.CLOSE]
    x, xx = window_sum(bars, fours, n, at.LNV, 48) / 48.0, window_sum(bars, fours, n, at.LNV_SQ, 48) / 48.0
    var = xx - x * x
    out[VOLUME] = (row[at.LNV] - x) / math.sqrt(var) if var > EPS * xx else NAN
    total = 0.0
    for back in range(0, 96, 12):
        total += far[(n - back) & FAR_RING, at.V_12]
    out[VOLUME + 1] = ratio(far[n & FAR_RING, at.V_12] / 12.0, total / 96.0, EPS)
    usual = 0.0
    for day in range(1, 8):
        usual += clocked[(n - day * DAY) & CLOCK_RING]
    out[VOLUME + 2] = clocked[n & CLOCK_RING] - usual / 7.0
    v24, v48 = window_sum(bars, fours, n, at.V, 24), window_sum(bars, fours, n, at.V, 48)
    out[VOLUME + 3] = ratio(window_sum(bars, fours, n, at.SIGN_V, 24), v24, EPS)
    out[VOLUME + 4] = ratio(window_sum(bars, fours, n, at.CLV_V, 20), window_sum(bars, fours, n, at.V, 20), EPS)
    vwap = ratio(window_sum(bars, fours, n, at.TPV, 48), v48, EPS)
    out[VOLUME + 5] = ratio(c - vwap, lane[at.ATR], EPS * c)
    out[VOLUME + 6] = ratio(c - ratio(once[at.DAY_TPV], once[at.DAY_V], EPS), lane[at.ATR], EPS * c)
    out[VOLUME + 7] = math.log(window_sum(bars, fours, n, at.ILLIQ, 24) / 24.0 + EPS)
    r, r2 = window_sum(bars, fours, n, at.R, 48), window_sum(bars, fours, n, at.R2, 48)
    q, q2 = window_sum(bars, fours, n, at.Q, 48), window_sum(bars, fours, n, at.Q_SQ, 48)
    out[VOLUME + 8] = correlation(48, r, q, r2, q2, window_sum(bars, fours, n, at.RQ, 48))


@part
def emit_shape(out: Row, bars: Floats, fours: Floats, far: Floats, lane: Floats, n: int, o: float) -> None:
    row = bars[n & RING]
    c, h, low = row[at.CLOSE], row[at.HIGH], row[at.LOW]
    span = h - low + EPS
    out[SHAPE] = (c - o) / span
    out[SHAPE + 1] = (h - max(o, c)) / span
    out[SHAPE + 2] = (min(o, c) - low) / span
    out[SHAPE + 3] = ratio(h - low, lane[at.ATR], EPS * c)
    out[SHAPE + 4] = math.log(o) - far[(n - 1) & FAR_RING, at.LNC]
    out[SHAPE + 5] = window_sum(bars, fours, n, at.CLV, 6) / 6.0


@part
def emit_clock(out: Row, n: int) -> None:
    out[CLOCK] = HOURS[n % DAY, 0]
    out[CLOCK + 1] = HOURS[n % DAY, 1]
    weekday = (n - MONDAY_BAR) // DAY % 7
    out[CLOCK + 2] = WEEKDAYS[weekday, 0]
    out[CLOCK + 3] = WEEKDAYS[weekday, 1]
    out[CLOCK + 4] = (FUNDING_BARS - (n + 1) % FUNDING_BARS) / FUNDING_BARS


@part
def emit_higher(out: Row, bars: Floats, far: Floats, lane: Floats, once: Floats, n: int) -> None:
    """Features of the last closed 15m, 1h and 4h candles: those whose end is not after the end of bar ``n``."""
    quarter_close = bars[(n - (n + 1) % QUARTER) & RING, at.CLOSE]
    hour_close = bars[(n - (n + 1) % HOUR) & RING, at.CLOSE]
    out[HIGHER] = strength(lane[at.QUARTER_GAIN], lane[at.QUARTER_LOSS])
    out[HIGHER + 1] = ratio(quarter_close - lane[at.QUARTER_EMA21], lane[at.QUARTER_ATR], EPS * quarter_close)
    out[HIGHER + 2] = strength(lane[at.HOUR_GAIN], lane[at.HOUR_LOSS])
    histogram = lane[at.HOUR_EMA12] - lane[at.HOUR_EMA26] - lane[at.HOUR_SIGNAL]
    out[HIGHER + 3] = ratio(histogram, lane[at.HOUR_ATR], EPS * hour_close)
    out[HIGHER + 4] = once[at.HOUR_RV]
    end = n - (n + 1) % FOUR_HOURS
    out[HIGHER + 5] = far[end & FAR_RING, at.LNC] - far[(end - FOUR_HOURS) & FAR_RING, at.LNC]
