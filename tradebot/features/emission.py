"""Writing one row from the state, in the order of the catalogue, group by group."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tradebot.features import layout as at
from tradebot.features.advance import (
    BESIDE_RING,
    CLOCK_RING,
    DAY,
    FAR_RING,
    FOUR_HOURS,
    HOUR,
    QUARTER,
    RSI_SLOT,
    strength,
)
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
BESIDE = column("btc_ret_1")

MONDAY_BAR = MONDAY_MS // BAR_MS
FUNDING_BARS = 8 * HOUR
PARKINSON = 4.0 * math.log(2.0)
TIME_MEAN, TIME_SQUARES = 11.5, 1150.0
"""Mean and sum of squared deviations of 0..23."""
HOURS = np.array([[math.sin(2 * math.pi * k / DAY), math.cos(2 * math.pi * k / DAY)] for k in range(DAY)])
WEEKDAYS = np.array([[math.sin(2 * math.pi * k / 7), math.cos(2 * math.pi * k / 7)] for k in range(7)])


@part
def sum_windows(fours: Floats, w24: Floats, w48: Floats, n: int) -> None:
    """Sums over the last 24 and 48 candles of the columns that need them, into ``w24`` and ``w48``."""
    a, b, c, d = n & RING, (n - 4) & RING, (n - 8) & RING, (n - 12) & RING
    e, f, g, h = (n - 16) & RING, (n - 20) & RING, (n - 24) & RING, (n - 28) & RING
    p, q, r, s = (n - 32) & RING, (n - 36) & RING, (n - 40) & RING, (n - 44) & RING
    for k in range(at.V + 1):
        w24[k] = ((fours[a, k] + fours[b, k]) + (fours[c, k] + fours[d, k])) + (fours[e, k] + fours[f, k])
    for k in range(at.FIRST_48, at.LAST_48 + 1):
        late = ((fours[a, k] + fours[b, k]) + (fours[c, k] + fours[d, k])) + (fours[e, k] + fours[f, k])
        early = ((fours[g, k] + fours[h, k]) + (fours[p, k] + fours[q, k])) + (fours[r, k] + fours[s, k])
        w48[k] = late + early


@part
def emit_returns(out: Row, bars: Floats, fours: Floats, far: Floats, w48: Floats, n: int) -> None:
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
    r, r2, s, s2 = w48[at.R], w48[at.R2], w48[at.R_LAG], w48[at.R2_LAG]
    out[MOMENTUM] = ratio(bars[n & RING, at.R], root(r2 / 48.0), EPS)
    out[MOMENTUM + 1] = (now - middle) - (middle - far[(n - 6) & FAR_RING, at.LNC])
    out[MOMENTUM + 2] = correlation(48, r, s, r2, s2, w48[at.RR])
    out[MOMENTUM + 3] = window_sum(bars, fours, n, at.UP, 12) / 12.0


@part
def emit_volatility(
    out: Row, bars: Floats, far: Floats, w24: Floats, w48: Floats, lanes: Floats, k: int, n: int
) -> None:
    total = 0.0
    for back in range(0, DAY, 12):
        total += far[(n - back) & FAR_RING, at.R2_12]
    rv12, rv288 = bars[n & RING, at.RV12], root(total / DAY)
    r2 = w48[at.R2]
    mean = w48[at.RV12] / 48.0
    spread = root(w48[at.RV12_SQ] / 48.0 - mean * mean)
    out[VOLATILITY] = rv12
    out[VOLATILITY + 1] = root(r2 / 48.0)
    out[VOLATILITY + 2] = rv288
    out[VOLATILITY + 3] = root(w24[at.HL2] / 24.0 / PARKINSON)
    out[VOLATILITY + 4] = root(w24[at.GK] / 24.0)
    out[VOLATILITY + 5] = root(w24[at.RS] / 24.0)
    out[VOLATILITY + 6] = lanes[k, at.ATR] / bars[n & RING, at.CLOSE]
    out[VOLATILITY + 7] = ratio(rv12, rv288, EPS)
    out[VOLATILITY + 8] = ratio(spread, mean, EPS)
    out[VOLATILITY + 9] = ratio(2.0 * w48[at.R2_UP] - r2, r2, 48.0 * EPS * EPS)
    out[VOLATILITY + 10] = 1.0 - 0.5 * math.pi * ratio(w48[at.ABS_RR], r2, 48.0 * EPS * EPS)


@part
def emit_oscillators(out: Row, bars: Floats, fours: Floats, lanes: Floats, k: int, n: int) -> None:
    rsi = lanes[k, at.RSI_RING + (n & RSI_SLOT)]
    out[OSCILLATORS] = strength(lanes[k, at.GAIN7], lanes[k, at.LOSS7])
    out[OSCILLATORS + 1] = rsi
    out[OSCILLATORS + 2] = strength(lanes[k, at.GAIN21], lanes[k, at.LOSS21])
    top, bottom = rsi, rsi
    for back in range(1, 14):
        value = lanes[k, at.RSI_RING + ((n - back) & RSI_SLOT)]
        top, bottom = max(top, value), min(bottom, value)
    oldest = lanes[k, at.RSI_RING + ((n - 13) & RSI_SLOT)]
    out[OSCILLATORS + 3] = (rsi - bottom) / (top - bottom + EPS) if oldest == oldest else NAN
    place = stochastic(bars, n)
    out[OSCILLATORS + 4] = place
    out[OSCILLATORS + 5] = (place + stochastic(bars, n - 1) + stochastic(bars, n - 2)) / 3.0
    out[OSCILLATORS + 6] = commodity_channel(bars, fours, n, at.TP)
    out[OSCILLATORS + 7] = money_flow(bars, fours, n)


@part
def commodity_channel(bars: Floats, fours: Floats, n: int, column: int) -> float:
    """Distance of a price column from its mean over 20 candles, in mean distances."""
    mean = window_sum(bars, fours, n, column, 20) / 20.0
    away, away_b = 0.0, 0.0
    for back in range(0, 20, 2):
        away += abs(bars[(n - back) & RING, column] - mean)
        away_b += abs(bars[(n - back - 1) & RING, column] - mean)
    return ratio(bars[n & RING, column] - mean, 1.5 * (away + away_b) / 20.0, 1.5 * EPS * mean)


@part
def money_flow(bars: Floats, fours: Floats, n: int) -> float:
    """Share of the money of 14 candles that came with a rise of the typical price."""
    up, down = window_sum(bars, fours, n, at.FLOW_UP, 14), window_sum(bars, fours, n, at.FLOW_DOWN, 14)
    return ratio(up, up + down, EPS)


@part
def stochastic(bars: Floats, n: int) -> float:
    """Place of the close of bar ``n`` in the range of 14 candles."""
    bottom = lowest(bars, n, 14)
    return ratio(bars[n & RING, at.CLOSE] - bottom, highest(bars, n, 14) - bottom, EPS * bottom)


@part
def emit_trend(out: Row, bars: Floats, far: Floats, w24: Floats, lanes: Floats, k: int, n: int) -> None:
    c = bars[n & RING, at.CLOSE]
    floor = EPS * c
    per_atr = ratio(1.0, lanes[k, at.ATR], floor)
    out[MACD] = (lanes[k, at.EMA12] - lanes[k, at.EMA26]) * per_atr
    out[MACD + 1] = lanes[k, at.HIST]
    out[MACD + 2] = lanes[k, at.HIST] - lanes[k, at.HIST_BEFORE]
    bottom_24, top_24 = lowest(bars, n, 24), highest(bars, n, 24)
    bottom, top = min(bottom_24, lowest(bars, n - 24, 24)), max(top_24, highest(bars, n - 24, 24))
    total = 0.0
    for back in range(0, 200, 20):
        total += far[(n - back) & FAR_RING, at.C_20]
    out[TREND] = ratio(abs(c - bars[(n - 24) & RING, at.CLOSE]), w24[at.ABS_DC], floor)
    out[TREND + 1] = slope_t(far, n)
    out[TREND + 2] = ratio(c - bottom, top - bottom, floor)
    out[TREND + 3] = (c - lanes[k, at.EMA9]) * per_atr
    out[TREND + 4] = (c - lanes[k, at.EMA21]) * per_atr
    out[TREND + 5] = (c - lanes[k, at.EMA50]) * per_atr
    out[TREND + 6] = (c - total / 200.0) * per_atr
    out[TREND + 7] = (lanes[k, at.EMA9] - lanes[k, at.EMA21]) * per_atr
    out[STRENGTH] = lanes[k, at.ADX]
    out[STRENGTH + 1] = (lanes[k, at.DM_UP] - lanes[k, at.DM_DOWN]) * per_atr
    out[STRENGTH + 2] = aroon(bars, n, bottom_24, top_24)


@part
def slope_t(far: Floats, n: int) -> float:
    """t-statistic of the slope of ln c over 24 candles; NaN where all but 1e-12 of the variance is a straight line."""
    now = far[n & FAR_RING, at.LNC]
    level, tilt, square, level_b, tilt_b, square_b = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(0, 24, 2):
        y = far[(n - 23 + i) & FAR_RING, at.LNC] - now
        z = far[(n - 22 + i) & FAR_RING, at.LNC] - now
        level, level_b = level + y, level_b + z
        tilt, tilt_b = tilt + (i - TIME_MEAN) * y, tilt_b + (i + 1 - TIME_MEAN) * z
        square, square_b = square + y * y, square_b + z * z
    level, tilt, square = level + level_b, tilt + tilt_b, square + square_b
    about_mean = square - level * level / 24.0
    left = about_mean - tilt * tilt / TIME_SQUARES
    if left <= EPS * about_mean or about_mean <= 24.0 * EPS * EPS:
        return NAN
    return tilt / math.sqrt(left / 22.0 * TIME_SQUARES)


@part
def aroon(bars: Floats, n: int, bottom: float, top: float) -> float:
    """Bars since the lowest low minus bars since the highest high of 26 candles, by 25; the latest of equals counts.

    ``bottom`` and ``top`` are those of the last 24.
    """
    for back in range(24, 26):
        bottom, top = min(bottom, bars[(n - back) & RING, at.LOW]), max(top, bars[(n - back) & RING, at.HIGH])
    since_high, since_low = 0, 0
    while since_high < 25 and bars[(n - since_high) & RING, at.HIGH] != top:
        since_high += 1
    while since_low < 25 and bars[(n - since_low) & RING, at.LOW] != bottom:
        since_low += 1
    return (since_low - since_high) / 25.0


@part
def emit_bands(out: Row, bars: Floats, far: Floats, ranked: Floats, once: Floats, n: int) -> None:
    mean, sd, width = far[n & FAR_RING, at.C_20] / 20.0, once[at.BB_SD], once[at.BB_WIDTH]
    out[BANDS] = ratio(bars[n & RING, at.CLOSE] - (mean - 2.0 * sd), 4.0 * sd, 0.0)
    out[BANDS + 1] = width
    place = 1
    for i in range(at.RANKED):
        place += (ranked[i] < width) + (ranked[i] <= width)
    out[BANDS + 2] = 0.5 * place / at.RANKED


@part
def standardised(value: float, mean: float, mean_square: float) -> float:
    """Distance from the mean in standard deviations; NaN where nothing varies beyond rounding."""
    variance = mean_square - mean * mean
    return (value - mean) / math.sqrt(variance) if variance > EPS * mean_square else NAN


@part
def emit_volume(
    out: Row,
    bars: Floats,
    fours: Floats,
    far: Floats,
    clocked: Floats,
    w24: Floats,
    w48: Floats,
    lanes: Floats,
    k: int,
    once: Floats,
    n: int,
) -> None:
    c, now = bars[n & RING, at.CLOSE], n & FAR_RING
    per_atr = ratio(1.0, lanes[k, at.ATR], EPS * c)
    out[VOLUME] = standardised(bars[n & RING, at.LNV], w48[at.LNV] / 48.0, w48[at.LNV_SQ] / 48.0)
    total = 0.0
    for back in range(0, 96, 12):
        total += far[(n - back) & FAR_RING, at.V_12]
    out[VOLUME + 1] = ratio(far[now, at.V_12] / 12.0, total / 96.0, EPS)
    usual = 0.0
    for day in range(1, 8):
        usual += clocked[(n - day * DAY) & CLOCK_RING]
    out[VOLUME + 2] = clocked[n & CLOCK_RING] - usual / 7.0
    out[VOLUME + 3] = ratio(w24[at.SIGN_V], w24[at.V], EPS)
    out[VOLUME + 4] = ratio(window_sum(bars, fours, n, at.CLV_V, 20), window_sum(bars, fours, n, at.V, 20), EPS)
    vwap = ratio(w48[at.TPV], w48[at.V], EPS)
    out[VOLUME + 5] = (c - vwap) * per_atr
    out[VOLUME + 6] = (c - ratio(once[at.DAY_TPV], once[at.DAY_V], EPS)) * per_atr
    out[VOLUME + 7] = math.log(w24[at.ILLIQ] / 24.0 + EPS)
    out[VOLUME + 8] = correlation(48, w48[at.R], w48[at.Q], w48[at.R2], w48[at.Q_SQ], w48[at.RQ])


@part
def emit_shape(out: Row, bars: Floats, fours: Floats, lanes: Floats, k: int, once: Floats, n: int) -> None:
    o, h, low, c = once[at.LAST_O], once[at.LAST_H], once[at.LAST_L], once[at.LAST_C]
    span = h - low + EPS
    out[SHAPE] = (c - o) / span
    out[SHAPE + 1] = (h - max(o, c)) / span
    out[SHAPE + 2] = (min(o, c) - low) / span
    out[SHAPE + 3] = ratio(h - low, lanes[k, at.ATR], EPS * c)
    out[SHAPE + 4] = once[at.GAP]
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
def emit_higher(out: Row, bars: Floats, far: Floats, lanes: Floats, k: int, once: Floats, n: int) -> None:
    """Features of the last closed 15m, 1h and 4h candles: those whose end is not after the end of bar ``n``."""
    quarter_close = bars[(n - (n + 1) % QUARTER) & RING, at.CLOSE]
    hour_close = bars[(n - (n + 1) % HOUR) & RING, at.CLOSE]
    out[HIGHER] = strength(lanes[k, at.QUARTER_GAIN], lanes[k, at.QUARTER_LOSS])
    out[HIGHER + 1] = ratio(quarter_close - lanes[k, at.QUARTER_EMA21], lanes[k, at.QUARTER_ATR], EPS * quarter_close)
    out[HIGHER + 2] = strength(lanes[k, at.HOUR_GAIN], lanes[k, at.HOUR_LOSS])
    histogram = lanes[k, at.HOUR_EMA12] - lanes[k, at.HOUR_EMA26] - lanes[k, at.HOUR_SIGNAL]
    out[HIGHER + 3] = ratio(histogram, lanes[k, at.HOUR_ATR], EPS * hour_close)
    out[HIGHER + 4] = once[at.HOUR_RV]
    end = n - (n + 1) % FOUR_HOURS
    out[HIGHER + 5] = far[end & FAR_RING, at.LNC] - far[(end - FOUR_HOURS) & FAR_RING, at.LNC]


@part
def emit_side(out: Row, far: Floats, beside: Floats, n: int, funding: float, mark: float, index: float) -> None:
    """Features of what was known beside the candle; NaN where something in the window was not."""
    now, before = n & BESIDE_RING, (n - 12) & BESIDE_RING
    ln_c, ln_btc = far[n & FAR_RING, at.LNC], beside[now, at.LN_BTC]
    r, b = ln_c - far[(n - 96) & FAR_RING, at.LNC], ln_btc - beside[(n - 96) & BESIDE_RING, at.LN_BTC]
    bb, rb = 0.0, 0.0
    for back in range(0, 96, 12):
        bb += beside[(n - back) & BESIDE_RING, at.B2_12]
        rb += beside[(n - back) & BESIDE_RING, at.RB_12]
    ret_12, btc_ret_12 = ln_c - far[(n - 12) & FAR_RING, at.LNC], ln_btc - beside[before, at.LN_BTC]
    beta = ratio(rb - r * b / 96.0, bb - b * b / 96.0, EPS * bb)
    out[BESIDE] = beside[now, at.B]
    out[BESIDE + 1] = btc_ret_12
    out[BESIDE + 2] = beta
    out[BESIDE + 3] = ret_12 - beta * btc_ret_12
    out[BESIDE + 4] = funding
    out[BESIDE + 5] = ratio(mark - index, index, EPS * EPS) if mark > 0.0 else NAN
    out[BESIDE + 6] = beside[now, at.LN_OI] - beside[before, at.LN_OI]
