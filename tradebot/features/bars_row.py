"""Writing one row of a bars view from the state, in the order of its catalogue, group by group."""

from __future__ import annotations

import math

import numpy as np

from tradebot.features import bars_lane as lane
from tradebot.features import layout as at
from tradebot.features.advance import BESIDE_RING, FAR_RING, strength
from tradebot.features.bars_catalogue import bars_column
from tradebot.features.compiled import part
from tradebot.features.emission import (
    HOURS,
    WEEKDAYS,
    Row,
    commodity_channel,
    money_flow,
    standardised,
    stochastic,
)
from tradebot.features.epoch import BAR_MS, MONDAY_MS
from tradebot.features.window import EPS, RING, Floats, highest, lowest, ratio, root, window_sum
from tradebot.market.candle import DAY_MS

RAW = bars_column("open")
RETURNS = bars_column("ret_1")
VOLATILITY = bars_column("vol_10")
STRENGTH = bars_column("rsi_9")
WAVE = bars_column("wt1")
CHANNEL = bars_column("cci_20")
TREND = bars_column("adx_14")
MACD = bars_column("macd")
STOCHASTIC = bars_column("stoch_k")
BANDS = bars_column("bb_pctb")
AVERAGES = bars_column("ema_dist_9")
MEANS = bars_column("sma_dist_5")
VOLUME = bars_column("vol_ratio_20")
PLACE = bars_column("donchian_48")
SHAPE = bars_column("body")
CLOCK = bars_column("hour_sin")
FILTERS = bars_column("atr1_atr10")
BESIDE = bars_column("btc_ret_1")

KERNEL_WINDOW = 27


def _weights(raw: list[float]) -> np.ndarray:
    return np.array([weight / sum(raw) for weight in raw])


QUADRATIC = _weights([(1 + i * i / (2 * 8 * 8.0**2)) ** -8.0 for i in range(KERNEL_WINDOW)])
GAUSSIAN = _weights([math.exp(-(i * i) / (2 * (8.0 - 2.0) ** 2)) for i in range(KERNEL_WINDOW)])


@part
def emit_candle(out: Row, bars: Floats, far: Floats, n: int, o: float, v: float) -> None:
    """The candle itself, its returns and their volatility."""
    i, now = n & RING, far[n & FAR_RING, at.LNC]
    out[RAW] = o
    out[RAW + 1] = bars[i, at.HIGH]
    out[RAW + 2] = bars[i, at.LOW]
    out[RAW + 3] = bars[i, at.CLOSE]
    out[RAW + 4] = v
    out[RETURNS] = bars[i, at.R]
    out[RETURNS + 1] = now - far[(n - 2) & FAR_RING, at.LNC]
    out[RETURNS + 2] = now - far[(n - 3) & FAR_RING, at.LNC]
    out[RETURNS + 3] = now - far[(n - 6) & FAR_RING, at.LNC]
    out[RETURNS + 4] = now - far[(n - 12) & FAR_RING, at.LNC]
    out[RETURNS + 5] = now - far[(n - 24) & FAR_RING, at.LNC]
    out[RETURNS + 6] = now - far[(n - 48) & FAR_RING, at.LNC]


@part
def deviation(bars: Floats, n: int, column: int, mean: float, length: int) -> float:
    """Standard deviation of ``length`` (even) values of a column about their ``mean``."""
    even, odd = 0.0, 0.0
    for back in range(0, length, 2):
        x = bars[(n - back) & RING, column] - mean
        y = bars[(n - back - 1) & RING, column] - mean
        even += x * x
        odd += y * y
    return root((even + odd) / length)


@part
def emit_volatility(
    out: Row, bars: Floats, fours: Floats, w24: Floats, w48: Floats, lanes: Floats, k: int, n: int
) -> None:
    out[VOLATILITY] = deviation(bars, n, at.R, window_sum(bars, fours, n, at.R, 10) / 10.0, 10)
    out[VOLATILITY + 1] = deviation(bars, n, at.R, window_sum(bars, fours, n, at.R, 20) / 20.0, 20)
    out[VOLATILITY + 2] = bars[n & RING, at.RV12]
    out[VOLATILITY + 3] = root(window_sum(bars, fours, n, at.R2, 24) / 24.0)
    out[VOLATILITY + 4] = root(w48[at.R2] / 48.0)
    out[VOLATILITY + 5] = lanes[k, at.ATR] / bars[n & RING, at.CLOSE]


@part
def emit_oscillators(out: Row, bars: Floats, fours: Floats, lanes: Floats, k: int, n: int) -> None:
    out[STRENGTH] = strength(lanes[k, lane.GAIN9], lanes[k, lane.LOSS9])
    out[STRENGTH + 1] = strength(lanes[k, at.GAIN14], lanes[k, at.LOSS14])
    out[STRENGTH + 2] = strength(lanes[k, at.GAIN21], lanes[k, at.LOSS21])
    ring = lane.WT_RING
    mean = ((lanes[k, ring] + lanes[k, ring + 1]) + (lanes[k, ring + 2] + lanes[k, ring + 3])) / 4.0
    out[WAVE] = lanes[k, lane.WT1]
    out[WAVE + 1] = mean
    out[WAVE + 2] = lanes[k, lane.WT1] - mean
    out[CHANNEL] = commodity_channel(bars, fours, n, at.TP)
    out[CHANNEL + 1] = commodity_channel(bars, fours, n, at.CLOSE)
    place = stochastic(bars, n)
    out[STOCHASTIC] = place
    out[STOCHASTIC + 1] = (place + stochastic(bars, n - 1) + stochastic(bars, n - 2)) / 3.0
    out[STOCHASTIC + 2] = money_flow(bars, fours, n)


@part
def emit_trend(
    out: Row, bars: Floats, fours: Floats, far: Floats, w24: Floats, lanes: Floats, k: int, once: Floats, n: int
) -> None:
    c = bars[n & RING, at.CLOSE]
    floor = EPS * c
    per_atr = ratio(1.0, lanes[k, at.ATR], floor)
    out[TREND] = lanes[k, at.ADX]
    out[TREND + 1] = lanes[k, lane.ADX20]
    out[TREND + 2] = (lanes[k, at.DM_UP] - lanes[k, at.DM_DOWN]) * per_atr
    out[MACD] = (lanes[k, at.EMA12] - lanes[k, at.EMA26]) * per_atr
    out[MACD + 1] = lanes[k, at.SIGNAL] * per_atr
    out[MACD + 2] = lanes[k, at.HIST]
    mean, sd = far[n & FAR_RING, at.C_20] / 20.0, once[at.BB_SD]
    out[BANDS] = ratio(c - (mean - 2.0 * sd), 4.0 * sd, 0.0)
    out[BANDS + 1] = once[at.BB_WIDTH]
    out[BANDS + 2] = ratio(c - mean, sd, 0.0)
    out[AVERAGES] = (c - lanes[k, at.EMA9]) * per_atr
    out[AVERAGES + 1] = (c - lanes[k, lane.EMA10]) * per_atr
    out[AVERAGES + 2] = (c - lanes[k, lane.EMA20]) * per_atr
    out[AVERAGES + 3] = (c - lanes[k, at.EMA21]) * per_atr
    out[AVERAGES + 4] = (c - lanes[k, at.EMA50]) * per_atr
    out[MEANS] = (c - window_sum(bars, fours, n, at.CLOSE, 5) / 5.0) * per_atr
    out[MEANS + 1] = (c - window_sum(bars, fours, n, at.CLOSE, 10) / 10.0) * per_atr
    out[MEANS + 2] = (c - mean) * per_atr
    out[MEANS + 3] = (c - window_sum(bars, fours, n, at.CLOSE, 50) / 50.0) * per_atr
    bottom, top = lowest(bars, n, 48), highest(bars, n, 48)
    out[PLACE] = ratio(c - bottom, top - bottom, floor)
    out[PLACE + 1] = ratio(abs(c - bars[(n - 24) & RING, at.CLOSE]), w24[at.ABS_DC], floor)


@part
def emit_volume(
    out: Row, bars: Floats, fours: Floats, w24: Floats, w48: Floats, lanes: Floats, k: int, n: int, v: float
) -> None:
    traded = window_sum(bars, fours, n, at.V, 20)
    out[VOLUME] = ratio(v, traded / 20.0, EPS)
    out[VOLUME + 1] = standardised(bars[n & RING, at.LNV], w48[at.LNV] / 48.0, w48[at.LNV_SQ] / 48.0)
    out[VOLUME + 2] = ratio(w24[at.SIGN_V], w24[at.V], EPS)
    out[VOLUME + 3] = ratio(lanes[k, lane.OBV_DIST], lanes[k, lane.V20], EPS)
    out[VOLUME + 4] = ratio(window_sum(bars, fours, n, at.CLV_V, 20), traded, EPS)


@part
def emit_shape(out: Row, bars: Floats, lanes: Floats, k: int, once: Floats, n: int, o: float) -> None:
    h, low, c = bars[n & RING, at.HIGH], bars[n & RING, at.LOW], bars[n & RING, at.CLOSE]
    span = h - low + EPS
    out[SHAPE] = (c - o) / span
    out[SHAPE + 1] = (h - max(o, c)) / span
    out[SHAPE + 2] = (min(o, c) - low) / span
    out[SHAPE + 3] = ratio(h - low, lanes[k, at.ATR], EPS * c)
    out[SHAPE + 4] = ratio(lanes[k, lane.TR], lanes[k, at.ATR], EPS * c)
    out[SHAPE + 5] = once[at.GAP]
    out[SHAPE + 6] = bars[n & RING, at.CLV]
    out[SHAPE + 7] = math.log(h / low)
    out[SHAPE + 8] = math.log(c / o)


@part
def emit_filters(out: Row, bars: Floats, lanes: Floats, k: int, n: int, open_ms: int) -> None:
    """The clock and the filters of models.md section 5.1."""
    hour = (open_ms % DAY_MS) // BAR_MS
    weekday = ((open_ms - MONDAY_MS) // DAY_MS) % 7
    out[CLOCK] = HOURS[hour, 0]
    out[CLOCK + 1] = HOURS[hour, 1]
    out[CLOCK + 2] = WEEKDAYS[weekday, 0]
    out[CLOCK + 3] = WEEKDAYS[weekday, 1]
    c = bars[n & RING, at.CLOSE]
    out[FILTERS] = ratio(lanes[k, lane.TR], lanes[k, lane.ATR10], EPS * c)
    usual = lanes[k, lane.USUAL_SLOPE]
    out[FILTERS + 1] = ratio(lanes[k, lane.SLOPE] - usual, usual, EPS * c)
    slope, difference = 0.0, 0.0
    for i in range(KERNEL_WINDOW):
        close = bars[(n - i) & RING, at.CLOSE]
        slope += QUADRATIC[i] * (close - bars[(n - i - 1) & RING, at.CLOSE])
        difference += (GAUSSIAN[i] - QUADRATIC[i]) * (close - c)
    out[FILTERS + 2] = slope / c
    out[FILTERS + 3] = difference / c


@part
def emit_beside(out: Row, beside: Floats, n: int, funding: float) -> None:
    """Features of what was known beside the candle; NaN where something in the window was not."""
    now, last, before = n & BESIDE_RING, (n - 1) & BESIDE_RING, (n - 12) & BESIDE_RING
    out[BESIDE] = beside[now, at.B]
    out[BESIDE + 1] = beside[now, at.LN_BTC] - beside[before, at.LN_BTC]
    out[BESIDE + 2] = beside[now, at.LN_ETH] - beside[last, at.LN_ETH]
    out[BESIDE + 3] = beside[now, at.LN_ETH] - beside[before, at.LN_ETH]
    out[BESIDE + 4] = funding
