"""Taking one closed candle into the state: first the rings, then the running averages of a lane."""

from __future__ import annotations

import math

from tradebot.features import layout as at
from tradebot.features.compiled import part
from tradebot.features.window import EPS, NAN, RING, Floats, root, window_sum

QUARTER = 3
HOUR = 12
FOUR_HOURS = 48
DAY = 288
GK_CLOSE = 2.0 * math.log(2.0) - 1.0
FAR_RING = at.FAR - 1
BESIDE_RING = at.BESIDE - 1
CLOCK_RING = at.CLOCKED - 1
RSI_SLOT = at.RSIS - 1


@part
def push_prices(
    bars: Floats,
    far: Floats,
    once: Floats,
    n: int,
    o: float,
    h: float,
    low: float,
    c: float,
    v: float,
    cold: bool,
) -> None:
    """Write the row of bar ``n`` as far as it follows from this candle and the one before."""
    i, last = n & RING, (n - 1) & RING
    ln_c, ln_o = math.log(c), math.log(o)
    hc, lc, oc = math.log(h) - ln_c, math.log(low) - ln_c, ln_o - ln_c
    tp = (h + low + c) / 3.0
    clv = (2.0 * c - h - low) / (h - low + EPS)
    ln_v = math.log(1.0 + v)
    notional = c * v
    r, r_before, dc, tp_before, gap = 0.0, 0.0, 0.0, tp, 0.0
    if not cold:
        r = ln_c - far[(n - 1) & FAR_RING, at.LNC]
        gap = ln_o - far[(n - 1) & FAR_RING, at.LNC]
        r_before = bars[last, at.R]
        dc = c - bars[last, at.CLOSE]
        tp_before = bars[last, at.TP]
    sign = 1.0 if r > 0.0 else (-1.0 if r < 0.0 else 0.0)
    q = sign * math.sqrt(notional)
    flow = tp * v
    bars[i, at.R] = r
    bars[i, at.R2] = r * r
    bars[i, at.R2_UP] = r * r if r > 0.0 else 0.0
    bars[i, at.R_LAG] = r_before
    bars[i, at.R2_LAG] = r_before * r_before
    bars[i, at.RR] = r * r_before
    bars[i, at.ABS_RR] = abs(r * r_before)
    bars[i, at.UP] = 1.0 if r > 0.0 else 0.0
    bars[i, at.HL2] = (hc - lc) * (hc - lc)
    bars[i, at.GK] = 0.5 * (hc - lc) * (hc - lc) - GK_CLOSE * oc * oc
    bars[i, at.RS] = hc * (hc - oc) + lc * (lc - oc)
    bars[i, at.ABS_DC] = abs(dc)
    bars[i, at.CLOSE] = c
    bars[i, at.TP] = tp
    bars[i, at.V] = v
    bars[i, at.SIGN_V] = sign * v
    bars[i, at.LNV] = ln_v
    bars[i, at.LNV_SQ] = ln_v * ln_v
    bars[i, at.TPV] = flow
    bars[i, at.FLOW_UP] = flow if tp > tp_before else 0.0
    bars[i, at.FLOW_DOWN] = flow if tp < tp_before else 0.0
    bars[i, at.ILLIQ] = abs(r) / (notional + EPS)
    bars[i, at.Q] = q
    bars[i, at.Q_SQ] = q * q
    bars[i, at.RQ] = r * q
    bars[i, at.CLV] = clv
    bars[i, at.CLV_V] = clv * v
    bars[i, at.HIGH] = h
    bars[i, at.LOW] = low
    far[n & FAR_RING, at.LNC] = ln_c
    once[at.GAP] = gap


@part
def known(x: float) -> float:
    """Logarithm of a price or an amount; NaN where it is not known."""
    return math.log(x) if x > 0.0 else NAN


@part
def push_side(bars: Floats, beside: Floats, n: int, btc: float, eth: float, open_interest: float) -> None:
    """Write what was known beside bar ``n``. Unknown is NaN, in every window that touches it."""
    now = n & BESIDE_RING
    beside[now, at.LN_BTC] = known(btc)
    beside[now, at.LN_ETH] = known(eth)
    beside[now, at.LN_OI] = known(open_interest)
    b = beside[now, at.LN_BTC] - beside[(n - 1) & BESIDE_RING, at.LN_BTC]
    beside[now, at.B] = b
    beside[now, at.B2] = b * b
    beside[now, at.RB] = bars[n & RING, at.R] * b
    squares, products = 0.0, 0.0
    for back in range(12):
        squares += beside[(n - back) & BESIDE_RING, at.B2]
        products += beside[(n - back) & BESIDE_RING, at.RB]
    beside[now, at.B2_12] = squares
    beside[now, at.RB_12] = products


@part
def push_sums(bars: Floats, fours: Floats, far: Floats, n: int) -> None:
    """Complete the row of bar ``n``: volatility over 12, then every column's sum over four candles."""
    a, b, c, d = n & RING, (n - 1) & RING, (n - 2) & RING, (n - 3) & RING
    e, f, far_now = (n - 4) & RING, (n - 8) & RING, n & FAR_RING
    r2 = bars[a, at.R2] + bars[b, at.R2] + bars[c, at.R2] + bars[d, at.R2] + fours[e, at.R2] + fours[f, at.R2]
    bars[a, at.RV12] = root(r2 / 12.0)
    bars[a, at.RV12_SQ] = r2 / 12.0
    for column in range(at.SUMMED):
        fours[a, column] = bars[a, column] + bars[b, column] + bars[c, column] + bars[d, column]
    bars[a, at.HIGH4] = max(max(bars[a, at.HIGH], bars[b, at.HIGH]), max(bars[c, at.HIGH], bars[d, at.HIGH]))
    bars[a, at.LOW4] = min(min(bars[a, at.LOW], bars[b, at.LOW]), min(bars[c, at.LOW], bars[d, at.LOW]))
    far[far_now, at.R2_12] = r2
    far[far_now, at.V_12] = fours[a, at.V] + fours[e, at.V] + fours[f, at.V]
    far[far_now, at.C_20] = window_sum(bars, fours, n, at.CLOSE, 20)


@part
def push_bands(bars: Floats, far: Floats, once: Floats, n: int) -> None:
    """Standard deviation of the last 20 closes about their mean, and the width of the bands from it."""
    mean = far[n & FAR_RING, at.C_20] / 20.0
    even, odd = 0.0, 0.0
    for back in range(0, 20, 2):
        x = bars[(n - back) & RING, at.CLOSE] - mean
        y = bars[(n - back - 1) & RING, at.CLOSE] - mean
        even += x * x
        odd += y * y
    deviation = root((even + odd) / 20.0)
    if deviation <= EPS * mean:
        deviation = 0.0
    once[at.BB_SD] = deviation
    once[at.BB_WIDTH] = 4.0 * deviation / mean


@part
def push_clock(bars: Floats, far: Floats, clocked: Floats, once: Floats, n: int, v: float) -> None:
    """Sums anchored at midnight, the volume by time of day, and the volatility of the hours at an hour's end."""
    clocked[n & CLOCK_RING] = bars[n & RING, at.LNV]
    if n % DAY == 0:
        once[at.DAY_TPV] = 0.0
        once[at.DAY_V] = 0.0
    once[at.DAY_TPV] += bars[n & RING, at.TPV]
    once[at.DAY_V] += v
    if (n + 1) % HOUR == 0:
        total = 0.0
        for back in range(0, 24 * HOUR, HOUR):
            r = far[(n - back) & FAR_RING, at.LNC] - far[(n - back - HOUR) & FAR_RING, at.LNC]
            total += r * r
        once[at.HOUR_RV] = root(total / 24.0)


@part
def smooth(lanes: Floats, k: int, slot: int, value: float, weight: float) -> None:
    """One step of an exponential average; a weight of 1 starts it."""
    lanes[k, slot] += weight * (value - lanes[k, slot])


@part
def strength(gain: float, loss: float) -> float:
    """Relative strength in [0, 1]; NaN while nothing has moved."""
    return gain / (gain + loss) if gain + loss > 0.0 else NAN


@part
def true_range(h: float, low: float, close_before: float) -> float:
    return max(h, close_before) - min(low, close_before)


@part
def run_lane(lanes: Floats, k: int, bars: Floats, n: int, age: int) -> None:
    """Advance a lane by bar ``n``, its ``age``-th candle (0 starts it cold): 5m averages, then 15m and 1h."""
    run_averages(lanes, k, bars, n, age)
    if (n + 1) % QUARTER == 0:
        run_quarter(lanes, k, bars, n, age // QUARTER)
    if (n + 1) % HOUR == 0:
        run_hour(lanes, k, bars, n, age // HOUR)


@part
def run_averages(lanes: Floats, k: int, bars: Floats, n: int, age: int) -> None:
    """Advance the averages of the candles themselves by bar ``n``; age 0 starts them."""
    i, last = n & RING, (n - 1) & RING
    c, h, low = bars[i, at.CLOSE], bars[i, at.HIGH], bars[i, at.LOW]
    start = age == 0
    smooth(lanes, k, at.EMA9, c, 1.0 if start else 2.0 / 10.0)
    smooth(lanes, k, at.EMA12, c, 1.0 if start else 2.0 / 13.0)
    smooth(lanes, k, at.EMA21, c, 1.0 if start else 2.0 / 22.0)
    smooth(lanes, k, at.EMA26, c, 1.0 if start else 2.0 / 27.0)
    smooth(lanes, k, at.EMA50, c, 1.0 if start else 2.0 / 51.0)
    difference = lanes[k, at.EMA12] - lanes[k, at.EMA26]
    smooth(lanes, k, at.SIGNAL, difference, 1.0 if start else 2.0 / 10.0)
    if start:
        lanes[k, at.ATR] = h - low
        lanes[k, at.HIST] = 0.0
        for slot in range(at.RSIS):
            lanes[k, at.RSI_RING + slot] = NAN
    else:
        move(lanes, k, c, h, low, bars[last, at.CLOSE], bars[last, at.HIGH], bars[last, at.LOW], age == 1)
        lanes[k, at.RSI_RING + (n & RSI_SLOT)] = strength(lanes[k, at.GAIN14], lanes[k, at.LOSS14])
    lanes[k, at.HIST_BEFORE] = lanes[k, at.HIST]
    lanes[k, at.HIST] = (difference - lanes[k, at.SIGNAL]) / lanes[k, at.ATR] if lanes[k, at.ATR] > EPS * c else NAN


@part
def move(
    lanes: Floats,
    k: int,
    c: float,
    h: float,
    low: float,
    close_before: float,
    high_before: float,
    low_before: float,
    first: bool,
) -> None:
    """Wilder's averages of true range, gains, losses and directional movement; the ``first`` one starts them."""
    change = c - close_before
    gain, loss = max(change, 0.0), max(-change, 0.0)
    smooth(lanes, k, at.ATR, true_range(h, low, close_before), 1.0 / 14.0)
    smooth(lanes, k, at.GAIN7, gain, 1.0 if first else 1.0 / 7.0)
    smooth(lanes, k, at.LOSS7, loss, 1.0 if first else 1.0 / 7.0)
    smooth(lanes, k, at.GAIN14, gain, 1.0 if first else 1.0 / 14.0)
    smooth(lanes, k, at.LOSS14, loss, 1.0 if first else 1.0 / 14.0)
    smooth(lanes, k, at.GAIN21, gain, 1.0 if first else 1.0 / 21.0)
    smooth(lanes, k, at.LOSS21, loss, 1.0 if first else 1.0 / 21.0)
    rise, fall = h - high_before, low_before - low
    smooth(lanes, k, at.DM_UP, rise if rise > fall and rise > 0.0 else 0.0, 1.0 if first else 1.0 / 14.0)
    smooth(lanes, k, at.DM_DOWN, fall if fall > rise and fall > 0.0 else 0.0, 1.0 if first else 1.0 / 14.0)
    moved = lanes[k, at.DM_UP] + lanes[k, at.DM_DOWN]
    dx = abs(lanes[k, at.DM_UP] - lanes[k, at.DM_DOWN]) / moved if moved > 0.0 else 0.0
    smooth(lanes, k, at.ADX, dx, 1.0 if first else 1.0 / 14.0)


@part
def span_high(bars: Floats, n: int, length: int) -> float:
    top = float(bars[n & RING, at.HIGH])
    for back in range(1, length):
        top = max(top, bars[(n - back) & RING, at.HIGH])
    return top


@part
def span_low(bars: Floats, n: int, length: int) -> float:
    bottom = float(bars[n & RING, at.LOW])
    for back in range(1, length):
        bottom = min(bottom, bars[(n - back) & RING, at.LOW])
    return bottom


@part
def run_quarter(lanes: Floats, k: int, bars: Floats, n: int, age: int) -> None:
    """Averages of the 15m candle that ends with bar ``n``."""
    c, h, low = bars[n & RING, at.CLOSE], span_high(bars, n, QUARTER), span_low(bars, n, QUARTER)
    smooth(lanes, k, at.QUARTER_EMA21, c, 1.0 if age == 0 else 2.0 / 22.0)
    if age == 0:
        lanes[k, at.QUARTER_ATR] = h - low
        return
    close_before = bars[(n - QUARTER) & RING, at.CLOSE]
    weight = 1.0 if age == 1 else 1.0 / 14.0
    smooth(lanes, k, at.QUARTER_ATR, true_range(h, low, close_before), 1.0 / 14.0)
    smooth(lanes, k, at.QUARTER_GAIN, max(c - close_before, 0.0), weight)
    smooth(lanes, k, at.QUARTER_LOSS, max(close_before - c, 0.0), weight)


@part
def run_hour(lanes: Floats, k: int, bars: Floats, n: int, age: int) -> None:
    """Averages of the 1h candle that ends with bar ``n``."""
    c, h, low = bars[n & RING, at.CLOSE], span_high(bars, n, HOUR), span_low(bars, n, HOUR)
    smooth(lanes, k, at.HOUR_EMA12, c, 1.0 if age == 0 else 2.0 / 13.0)
    smooth(lanes, k, at.HOUR_EMA26, c, 1.0 if age == 0 else 2.0 / 27.0)
    smooth(lanes, k, at.HOUR_SIGNAL, lanes[k, at.HOUR_EMA12] - lanes[k, at.HOUR_EMA26], 1.0 if age == 0 else 2.0 / 10.0)
    if age == 0:
        lanes[k, at.HOUR_ATR] = h - low
        return
    close_before = bars[(n - HOUR) & RING, at.CLOSE]
    weight = 1.0 if age == 1 else 1.0 / 14.0
    smooth(lanes, k, at.HOUR_ATR, true_range(h, low, close_before), 1.0 / 14.0)
    smooth(lanes, k, at.HOUR_GAIN, max(c - close_before, 0.0), weight)
    smooth(lanes, k, at.HOUR_LOSS, max(close_before - c, 0.0), weight)
