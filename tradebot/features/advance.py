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
CLOCK_RING = at.CLOCKED - 1
RSI_SLOT = at.RSIS - 1


@part
def push_prices(
    bars: Floats, far: Floats, n: int, o: float, h: float, low: float, c: float, v: float, cold: bool
) -> None:
    """Write the row of bar ``n`` as far as it follows from this candle and the one before."""
    row = bars[n & RING]
    before = bars[(n - 1) & RING]
    ln_c = math.log(c)
    hc, lc, oc = math.log(h) - ln_c, math.log(low) - ln_c, math.log(o) - ln_c
    tp = (h + low + c) / 3.0
    clv = (2.0 * c - h - low) / (h - low + EPS)
    ln_v = math.log1p(v)
    notional = c * v
    r, r_before, dc, tp_before = 0.0, 0.0, 0.0, tp
    if not cold:
        r = ln_c - far[(n - 1) & FAR_RING, at.LNC]
        r_before = before[at.R]
        dc = c - before[at.CLOSE]
        tp_before = before[at.TP]
    sign = 1.0 if r > 0.0 else (-1.0 if r < 0.0 else 0.0)
    q = sign * math.sqrt(notional)
    flow = tp * v
    row[at.R] = r
    row[at.R2] = r * r
    row[at.R2_UP] = r * r if r > 0.0 else 0.0
    row[at.RR] = r * r_before
    row[at.ABS_RR] = abs(r * r_before)
    row[at.UP] = 1.0 if r > 0.0 else 0.0
    row[at.HL2] = (hc - lc) * (hc - lc)
    row[at.GK] = 0.5 * (hc - lc) * (hc - lc) - GK_CLOSE * oc * oc
    row[at.RS] = hc * (hc - oc) + lc * (lc - oc)
    row[at.ABS_DC] = abs(dc)
    row[at.CLOSE] = c
    row[at.TP] = tp
    row[at.V] = v
    row[at.SIGN_V] = sign * v
    row[at.LNV] = ln_v
    row[at.LNV_SQ] = ln_v * ln_v
    row[at.TPV] = flow
    row[at.FLOW_UP] = flow if tp > tp_before else 0.0
    row[at.FLOW_DOWN] = flow if tp < tp_before else 0.0
    row[at.ILLIQ] = abs(r) / (notional + EPS)
    row[at.Q] = q
    row[at.Q_SQ] = q * q
    row[at.RQ] = r * q
    row[at.CLV] = clv
    row[at.CLV_V] = clv * v
    row[at.HIGH] = h
    row[at.LOW] = low
    far[n & FAR_RING, at.LNC] = ln_c


@part
def push_sums(bars: Floats, fours: Floats, far: Floats, n: int) -> None:
    """Complete the row of bar ``n``: volatility over 12, then every column's sum over four candles."""
    a, b, c, d = bars[n & RING], bars[(n - 1) & RING], bars[(n - 2) & RING], bars[(n - 3) & RING]
    e, f = fours[(n - 4) & RING], fours[(n - 8) & RING]
    r2 = a[at.R2] + b[at.R2] + c[at.R2] + d[at.R2] + e[at.R2] + f[at.R2]
    a[at.RV12] = root(r2 / 12.0)
    a[at.RV12_SQ] = r2 / 12.0
    sums = fours[n & RING]
    for column in range(at.SUMMED):
        sums[column] = a[column] + b[column] + c[column] + d[column]
    a[at.HIGH4] = max(max(a[at.HIGH], b[at.HIGH]), max(c[at.HIGH], d[at.HIGH]))
    a[at.LOW4] = min(min(a[at.LOW], b[at.LOW]), min(c[at.LOW], d[at.LOW]))
    reach = far[n & FAR_RING]
    reach[at.R2_12] = r2
    reach[at.V_12] = sums[at.V] + e[at.V] + f[at.V]
    reach[at.C_20] = window_sum(bars, fours, n, at.CLOSE, 20)


@part
def push_bands(bars: Floats, far: Floats, ranked: Floats, once: Floats, n: int) -> None:
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
    ranked[n % at.RANKED] = once[at.BB_WIDTH]


@part
def push_clock(bars: Floats, far: Floats, clocked: Floats, once: Floats, n: int, v: float) -> None:
    """Sums anchored at midnight, the volume by time of day, and the volatility of the hours at an hour's end."""
    clocked[n & CLOCK_RING] = math.log(v + EPS)
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
def smooth(lane: Floats, slot: int, value: float, weight: float) -> None:
    """One step of an exponential average; a weight of 1 starts it."""
    lane[slot] += weight * (value - lane[slot])


@part
def strength(gain: float, loss: float) -> float:
    """Relative strength in [0, 1]; NaN while nothing has moved."""
    return gain / (gain + loss) if gain + loss > 0.0 else NAN


@part
def true_range(h: float, low: float, close_before: float) -> float:
    return max(h, close_before) - min(low, close_before)


@part
def run_lane(lane: Floats, bars: Floats, n: int, age: int) -> None:
    """Advance a lane by bar ``n``, its ``age``-th candle (0 starts it cold): 5m averages, then 15m and 1h."""
    row = bars[n & RING]
    c, h, low = row[at.CLOSE], row[at.HIGH], row[at.LOW]
    start = age == 0
    smooth(lane, at.EMA9, c, 1.0 if start else 2.0 / 10.0)
    smooth(lane, at.EMA12, c, 1.0 if start else 2.0 / 13.0)
    smooth(lane, at.EMA21, c, 1.0 if start else 2.0 / 22.0)
    smooth(lane, at.EMA26, c, 1.0 if start else 2.0 / 27.0)
    smooth(lane, at.EMA50, c, 1.0 if start else 2.0 / 51.0)
    difference = lane[at.EMA12] - lane[at.EMA26]
    smooth(lane, at.SIGNAL, difference, 1.0 if start else 2.0 / 10.0)
    if start:
        lane[at.ATR] = h - low
        lane[at.HIST] = 0.0
        lane[at.RSI_RING : at.RSI_RING + at.RSIS] = NAN
    else:
        before = bars[(n - 1) & RING]
        move(lane, c, h, low, before[at.CLOSE], before[at.HIGH], before[at.LOW], age == 1)
        lane[at.RSI_RING + (n & RSI_SLOT)] = strength(lane[at.GAIN14], lane[at.LOSS14])
    lane[at.HIST_BEFORE] = lane[at.HIST]
    lane[at.HIST] = (difference - lane[at.SIGNAL]) / lane[at.ATR] if lane[at.ATR] > EPS * c else NAN
    if (n + 1) % QUARTER == 0:
        run_quarter(lane, bars, n, age // QUARTER)
    if (n + 1) % HOUR == 0:
        run_hour(lane, bars, n, age // HOUR)


@part
def move(
    lane: Floats,
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
    smooth(lane, at.ATR, true_range(h, low, close_before), 1.0 / 14.0)
    smooth(lane, at.GAIN7, gain, 1.0 if first else 1.0 / 7.0)
    smooth(lane, at.LOSS7, loss, 1.0 if first else 1.0 / 7.0)
    smooth(lane, at.GAIN14, gain, 1.0 if first else 1.0 / 14.0)
    smooth(lane, at.LOSS14, loss, 1.0 if first else 1.0 / 14.0)
    smooth(lane, at.GAIN21, gain, 1.0 if first else 1.0 / 21.0)
    smooth(lane, at.LOSS21, loss, 1.0 if first else 1.0 / 21.0)
    rise, fall = h - high_before, low_before - low
    smooth(lane, at.DM_UP, rise if rise > fall and rise > 0.0 else 0.0, 1.0 if first else 1.0 / 14.0)
    smooth(lane, at.DM_DOWN, fall if fall > rise and fall > 0.0 else 0.0, 1.0 if first else 1.0 / 14.0)
    moved = lane[at.DM_UP] + lane[at.DM_DOWN]
    dx = abs(lane[at.DM_UP] - lane[at.DM_DOWN]) / moved if moved > 0.0 else 0.0
    smooth(lane, at.ADX, dx, 1.0 if first else 1.0 / 14.0)


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
def run_quarter(lane: Floats, bars: Floats, n: int, age: int) -> None:
    """Averages of the 15m candle that ends with bar ``n``."""
    c, h, low = bars[n & RING, at.CLOSE], span_high(bars, n, QUARTER), span_low(bars, n, QUARTER)
    smooth(lane, at.QUARTER_EMA21, c, 1.0 if age == 0 else 2.0 / 22.0)
    if age == 0:
        lane[at.QUARTER_ATR] = h - low
        return
    close_before = bars[(n - QUARTER) & RING, at.CLOSE]
    weight = 1.0 if age == 1 else 1.0 / 14.0
    smooth(lane, at.QUARTER_ATR, true_range(h, low, close_before), 1.0 / 14.0)
    smooth(lane, at.QUARTER_GAIN, max(c - close_before, 0.0), weight)
    smooth(lane, at.QUARTER_LOSS, max(close_before - c, 0.0), weight)


@part
def run_hour(lane: Floats, bars: Floats, n: int, age: int) -> None:
    """Averages of the 1h candle that ends with bar ``n``."""
    c, h, low = bars[n & RING, at.CLOSE], span_high(bars, n, HOUR), span_low(bars, n, HOUR)
    smooth(lane, at.HOUR_EMA12, c, 1.0 if age == 0 else 2.0 / 13.0)
    smooth(lane, at.HOUR_EMA26, c, 1.0 if age == 0 else 2.0 / 27.0)
    smooth(lane, at.HOUR_SIGNAL, lane[at.HOUR_EMA12] - lane[at.HOUR_EMA26], 1.0 if age == 0 else 2.0 / 10.0)
    if age == 0:
        lane[at.HOUR_ATR] = h - low
        return
    close_before = bars[(n - HOUR) & RING, at.CLOSE]
    weight = 1.0 if age == 1 else 1.0 / 14.0
    smooth(lane, at.HOUR_ATR, true_range(h, low, close_before), 1.0 / 14.0)
    smooth(lane, at.HOUR_GAIN, max(c - close_before, 0.0), weight)
    smooth(lane, at.HOUR_LOSS, max(close_before - c, 0.0), weight)
