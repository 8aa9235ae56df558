"""Every feature in the plainest words: lists of candles since the epoch in, one number out.

Slow, and used by nothing that trades: the kernels are held against these definitions, and the examples in
docs/features.md and ``tradebot features explain`` come from them.

>>> bars = example("5m")
>>> round(DEFINITIONS["rsi_14"](bars), 6), round(DEFINITIONS["ret_1"](bars), 6)
(0.485837, 0.002032)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

from tradebot.features.epoch import MONDAY_MS, WEEK_MS
from tradebot.features.side import NAN
from tradebot.market.candle import DAY_MS, HOUR_MS, INTERVAL_MS

EPS = 1e-12

Values = list[float]


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Closed candles from the epoch to the one whose row is meant: open times (ms), prices (USDT), volume (base coin),
    and for each name of ``features.side`` what was known beside every candle."""

    bar_ms: int
    t: list[int]
    o: Values
    h: Values
    l: Values
    c: Values
    v: Values
    side: dict[str, Values]


Definition = Callable[[Bars], float]


def example(interval: str) -> Bars:
    """A small series to show features on: one week of made-up candles and one more."""
    bar_ms = INTERVAL_MS[interval]
    count = WEEK_MS // bar_ms + 1
    c = [100 * math.exp(0.01 * math.sin(k / 50) + 0.002 * math.sin(k * k)) for k in range(count)]
    o = c[:1] + c[:-1]
    h = [max(x, y) * (1 + 0.001 * abs(math.sin(3 * k))) for k, (x, y) in enumerate(zip(o, c, strict=True))]
    l = [min(x, y) * (1 - 0.001 * abs(math.sin(5 * k))) for k, (x, y) in enumerate(zip(o, c, strict=True))]
    v = [50 + 40 * math.sin(k / 30) + 5 * math.sin(7 * k) for k in range(count)]
    made = {
        "btc_close": [60_000 * math.exp(0.008 * math.sin(k / 50) + 0.002 * math.sin(k * k + k)) for k in range(count)],
        "eth_close": [3_000 * math.exp(0.012 * math.sin(k / 50) + 0.003 * math.cos(k * k)) for k in range(count)],
        "funding": [0.0001] * count,
        "mark": [x * 1.0002 for x in c],
        "index": c,
        "open_interest": [1e6 + 1e4 * math.sin(k / 20) for k in range(count)],
    }
    return Bars(bar_ms, [MONDAY_MS + bar_ms * k for k in range(count)], o, h, l, c, v, made)


# --- words ----------------------------------------------------------------------------------------------------------
def mean(xs: Sequence[float]) -> float:
    return math.fsum(xs) / len(xs)


def std(xs: Sequence[float]) -> float:
    m = mean(xs)
    return math.sqrt(mean([(x - m) ** 2 for x in xs]))


def over(above: float, below: float, floor: float = EPS) -> float:
    """A ratio; NaN where its denominator is not above ``floor``."""
    return above / below if below > floor else NAN


def ema(xs: Sequence[float], n: int) -> Values:
    return smoothed(xs, 2 / (n + 1))


def wilder(xs: Sequence[float], n: int) -> Values:
    return smoothed(xs, 1 / n)


def smoothed(xs: Sequence[float], weight: float) -> Values:
    out = [xs[0]]
    for x in xs[1:]:
        out.append(out[-1] + weight * (x - out[-1]))
    return out


def changes(xs: Sequence[float]) -> Values:
    return [b - a for a, b in pairwise(xs)]


def ln(x: float) -> float:
    return math.log(x) if x > 0 else NAN


def returns(b: Bars) -> Values:
    return changes([math.log(x) for x in b.c])


def moved(xs: Sequence[float], k: int) -> float:
    """Log return over ``k``."""
    return ln(xs[-1]) - ln(xs[-1 - k])


def signed(b: Bars) -> Values:
    """Volume with the sign of the return, from the second candle on."""
    return [math.copysign(v, r) if r else 0.0 for r, v in zip(returns(b), b.v[1:], strict=True)]


def typical(b: Bars) -> Values:
    return [(h + l + c) / 3 for h, l, c in zip(b.h, b.l, b.c, strict=True)]


def true_ranges(b: Bars) -> Values:
    first = [b.h[0] - b.l[0]]
    return first + [max(h, c) - min(l, c) for h, l, c in zip(b.h[1:], b.l[1:], b.c, strict=False)]


def atr(b: Bars, n: int = 14) -> Values:
    return wilder(true_ranges(b), n)


def in_atr(b: Bars, distance: float) -> float:
    return over(distance, atr(b)[-1], EPS * b.c[-1])


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    mx, my = mean(xs), mean(ys)
    cov = mean([(x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)])
    return over(cov, std(xs) * std(ys), 0.0)


def place(x: float, low: float, high: float) -> float:
    return over(x - low, high - low, EPS * abs(low))


def higher(b: Bars, bars: int) -> Bars:
    """The closed candles of ``bars`` candles each."""
    starts = range(0, len(b.c) - bars + 1, bars)
    return Bars(
        b.bar_ms * bars,
        [b.t[i] for i in starts],
        [b.o[i] for i in starts],
        [max(b.h[i : i + bars]) for i in starts],
        [min(b.l[i : i + bars]) for i in starts],
        [b.c[i + bars - 1] for i in starts],
        [math.fsum(b.v[i : i + bars]) for i in starts],
        {},
    )


# --- features -------------------------------------------------------------------------------------------------------
def rv(b: Bars, n: int, back: int = 0) -> float:
    r = returns(b)
    return math.sqrt(mean([x * x for x in r[len(r) - back - n : len(r) - back]]))


def rv12s(b: Bars) -> Values:
    r = returns(b)[-59:]
    return [math.sqrt(mean([x * x for x in r[i : i + 12]])) for i in range(48)]


def jump(b: Bars) -> float:
    r = returns(b)[-49:]
    pairs = [abs(x * y) for x, y in pairwise(r)]
    return 1 - math.pi / 2 * over(mean(pairs), mean([x * x for x in r[1:]]), 0.0)


def semivariance(b: Bars) -> float:
    r = returns(b)[-48:]
    return over(math.fsum(x * abs(x) for x in r), math.fsum(x * x for x in r), 0.0)


def parkinson(b: Bars) -> float:
    squares = [math.log(h / l) ** 2 for h, l in zip(b.h[-24:], b.l[-24:], strict=True)]
    return math.sqrt(mean(squares) / (4 * math.log(2)))


def candles(b: Bars, n: int) -> list[tuple[float, float, float, float]]:
    return list(zip(b.o[-n:], b.h[-n:], b.l[-n:], b.c[-n:], strict=True))


def garman_klass(b: Bars) -> float:
    k = 2 * math.log(2) - 1
    return math.sqrt(mean([math.log(h / l) ** 2 / 2 - k * math.log(c / o) ** 2 for o, h, l, c in candles(b, 24)]))


def rogers_satchell(b: Bars) -> float:
    log = math.log
    return math.sqrt(
        max(mean([log(h / c) * log(h / o) + log(l / c) * log(l / o) for o, h, l, c in candles(b, 24)]), 0.0)
    )


def rsis(b: Bars, n: int) -> Values:
    gains = wilder([max(x, 0.0) for x in changes(b.c)], n)
    losses = wilder([max(-x, 0.0) for x in changes(b.c)], n)
    return [over(g, g + loss, 0.0) for g, loss in zip(gains, losses, strict=True)]


def rsi(b: Bars, n: int) -> float:
    return rsis(b, n)[-1]


def stochrsi(b: Bars) -> float:
    last = rsis(b, 14)[-14:]
    return (last[-1] - min(last)) / (max(last) - min(last) + EPS)


def stoch(b: Bars, back: int = 0) -> float:
    end = len(b.c) - back
    return place(b.c[end - 1], min(b.l[end - 14 : end]), max(b.h[end - 14 : end]))


def stoch_d(b: Bars) -> float:
    return mean([stoch(b, back) for back in range(3)])


def cci(xs: Sequence[float]) -> float:
    last = xs[-20:]
    m = mean(last)
    return over(last[-1] - m, 1.5 * mean([abs(x - m) for x in last]), EPS * m)


def mfi(b: Bars) -> float:
    tp = typical(b)[-15:]
    flows = [(x > y, x < y, x * v) for y, x, v in zip(tp, tp[1:], b.v[-14:], strict=False)]
    up, down = math.fsum(f for rose, _, f in flows if rose), math.fsum(f for _, fell, f in flows if fell)
    return over(up, up + down)


def macds(b: Bars) -> Values:
    return [x - y for x, y in zip(ema(b.c, 12), ema(b.c, 26), strict=True)]


def macd_hist(b: Bars, back: int = 0) -> float:
    m = macds(b)
    at = len(m) - 1 - back
    return over(m[at] - ema(m, 9)[at], atr(b)[at], EPS * b.c[at])


def efficiency(b: Bars) -> float:
    return over(abs(b.c[-1] - b.c[-25]), math.fsum(abs(x) for x in changes(b.c[-25:])), EPS * b.c[-1])


def slope_t(b: Bars) -> float:
    y = [math.log(x / b.c[-1]) for x in b.c[-24:]]
    x = [i - 11.5 for i in range(24)]
    m, squares = mean(y), math.fsum(i * i for i in x)
    slope = math.fsum(i * j for i, j in zip(x, y, strict=True)) / squares
    left = math.fsum((j - m - slope * i) ** 2 for i, j in zip(x, y, strict=True))
    return over(slope, math.sqrt(left / 22 / squares), 0.0)


def donchian(b: Bars) -> float:
    return place(b.c[-1], min(b.l[-48:]), max(b.h[-48:]))


def ema_dist(b: Bars, n: int) -> float:
    return in_atr(b, b.c[-1] - ema(b.c, n)[-1])


def sma_dist(b: Bars, n: int) -> float:
    return in_atr(b, b.c[-1] - mean(b.c[-n:]))


def directions(b: Bars, n: int) -> tuple[Values, Values]:
    """Wilder's averages of upward and downward directional movement, from the second candle on."""
    moves = [(h2 - h1, l1 - l2) for h1, h2, l1, l2 in zip(b.h, b.h[1:], b.l, b.l[1:], strict=False)]
    ups = [u if u > d and u > 0 else 0.0 for u, d in moves]
    downs = [d if d > u and d > 0 else 0.0 for u, d in moves]
    return wilder(ups, n), wilder(downs, n)


def adx(b: Bars, n: int) -> float:
    return wilder([abs(u - d) / (u + d) if u + d > 0 else 0.0 for u, d in zip(*directions(b, n), strict=True)], n)[-1]


def di_diff(b: Bars) -> float:
    ups, downs = directions(b, 14)
    return in_atr(b, ups[-1] - downs[-1])


def aroon(b: Bars) -> float:
    highs, lows = b.h[-26:][::-1], b.l[-26:][::-1]
    return (lows.index(min(lows)) - highs.index(max(highs))) / 25


def bb_width(b: Bars, back: int = 0) -> float:
    end = len(b.c) - back
    last = b.c[end - 20 : end]
    return 4 * std(last) / mean(last)


def bb_pctb(b: Bars) -> float:
    last = b.c[-20:]
    return over(b.c[-1] - (mean(last) - 2 * std(last)), 4 * std(last), 0.0)


def bb_width_rank(b: Bars) -> float:
    widths = [bb_width(b, back) for back in range(288)]
    below = sum(w < widths[0] for w in widths)
    return (below + (sum(w == widths[0] for w in widths) + 1) / 2) / 288


def vol_z(b: Bars) -> float:
    x = [math.log(1 + v) for v in b.v[-48:]]
    return over(x[-1] - mean(x), std(x), 1e-6 * abs(mean(x)))


def vol_tod(b: Bars) -> float:
    days = DAY_MS // b.bar_ms
    return math.log(1 + b.v[-1]) - mean([math.log(1 + b.v[-1 - days * day]) for day in range(1, 8)])


def obv_norm(b: Bars) -> float:
    return over(math.fsum(signed(b)[-24:]), math.fsum(b.v[-24:]))


def clvs(b: Bars, n: int) -> Values:
    return [(2 * c - h - l) / (h - l + EPS) for _, h, l, c in candles(b, n)]


def cmf(b: Bars) -> float:
    return over(math.fsum(x * v for x, v in zip(clvs(b, 20), b.v[-20:], strict=True)), math.fsum(b.v[-20:]))


def vwap_dist(b: Bars, n: int) -> float:
    paid = math.fsum(x * v for x, v in zip(typical(b)[-n:], b.v[-n:], strict=True))
    return in_atr(b, b.c[-1] - over(paid, math.fsum(b.v[-n:])))


def vwap_dist_day(b: Bars) -> float:
    return vwap_dist(b, sum(t // DAY_MS == b.t[-1] // DAY_MS for t in b.t))


def amihud(b: Bars) -> float:
    pairs = zip(returns(b)[-24:], b.c[-24:], b.v[-24:], strict=True)
    return math.log(mean([abs(r) / (c * v + EPS) for r, c, v in pairs]) + EPS)


def kyle(b: Bars) -> float:
    r = returns(b)[-48:]
    size = [math.copysign(math.sqrt(c * v), x) if x else 0.0 for x, c, v in zip(r, b.c[-48:], b.v[-48:], strict=True)]
    return correlation(r, size)


def wick(b: Bars, part: Callable[[float, float, float, float], float]) -> float:
    o, h, l, c = candles(b, 1)[0]
    return part(o, h, l, c) / (h - l + EPS)


def circle(part: Callable[[float], float], share: float) -> float:
    return part(2 * math.pi * share)


def hour(b: Bars) -> float:
    return b.t[-1] % DAY_MS / DAY_MS


def weekday(b: Bars) -> float:
    return (b.t[-1] - MONDAY_MS) // DAY_MS % 7 / 7


def to_funding(b: Bars) -> float:
    return 1 - (b.t[-1] + b.bar_ms) % (8 * HOUR_MS) / (8 * HOUR_MS)


def beta(b: Bars) -> float:
    r, lead = returns(b)[-96:], changes([ln(x) for x in b.side["btc_close"][-97:]])
    mr, ml = mean(r), mean(lead)
    cov = mean([(x - mr) * (y - ml) for x, y in zip(r, lead, strict=True)])
    return over(cov, mean([(y - ml) ** 2 for y in lead]), 0.0)


def residual(b: Bars) -> float:
    return moved(b.c, 12) - beta(b) * moved(b.side["btc_close"], 12)


def basis(b: Bars) -> float:
    mark, index = b.side["mark"][-1], b.side["index"][-1]
    return over(mark - index, index) if mark > 0 else NAN


def wave(b: Bars) -> Values:
    tp = typical(b)
    away = [x - y for x, y in zip(tp, ema(tp, 10), strict=True)]
    usual = ema([abs(x) for x in away], 10)
    swings = [a / (0.015 * u) if u > EPS * p else 0.0 for a, u, p in zip(away, usual, tp, strict=True)]
    return [x / 100 for x in ema(swings, 11)]


def obv_dist(b: Bars) -> float:
    total = [0.0]
    for x in signed(b):
        total.append(total[-1] + x)
    return over(total[-1] - ema(total, 20)[-1], ema(b.v, 20)[-1])


def regime(b: Bars) -> float:
    prices = [(o + h + l + c) / 4 for o, h, l, c in candles(b, len(b.c))]
    x = y = usual = 0.0
    before = k = prices[0]
    for p, h, l in zip(prices, b.h, b.l, strict=True):
        x, y = 0.2 * (p - before) + 0.8 * x, 0.1 * (h - l) + 0.8 * y
        w = abs(x / y) if y else 0.0
        a = (math.sqrt((w * w) ** 2 + 16 * w * w) - w * w) / 8
        before, slope, k = p, abs(a * (p - k)), k + a * (p - k)
        usual += 2 / 201 * (slope - usual)
    return over(slope - usual, usual, EPS * b.c[-1])


def regression(b: Bars, weight: Callable[[int], float], back: int = 0) -> float:
    end = len(b.c) - 1 - back
    weights = [weight(i) for i in range(27)]
    return math.fsum(w * b.c[end - i] for i, w in enumerate(weights)) / math.fsum(weights)


def quadratic(i: int) -> float:
    return math.pow(1 + i * i / (2 * 8 * 8 * 8), -8)


def gaussian(i: int) -> float:
    return math.exp(-(i * i) / (2 * (8 - 2) ** 2))


def rq_slope(b: Bars) -> float:
    return (regression(b, quadratic) - regression(b, quadratic, 1)) / b.c[-1]


def gauss_diff(b: Bars) -> float:
    return (regression(b, gaussian) - regression(b, quadratic)) / b.c[-1]


DEFINITIONS: Final[dict[str, Definition]] = {
    **{f"ret_{k}": partial(lambda b, k: moved(b.c, k), k=k) for k in (1, 2, 3, 6, 12, 24, 48, 96)},
    "ret_z": lambda b: over(moved(b.c, 1), rv(b, 48)),
    "accel": lambda b: moved(b.c, 3) - moved(b.c[:-3], 3),
    "ac1_48": lambda b: correlation(returns(b)[-48:], returns(b)[-49:-1]),
    "up_share_12": lambda b: mean([float(x > 0) for x in returns(b)[-12:]]),
    **{f"rv_{n}": partial(rv, n=n) for n in (12, 24, 48, 288)},
    **{f"vol_{n}": partial(lambda b, n: std(returns(b)[-n:]), n=n) for n in (10, 20)},
    "parkinson_24": parkinson,
    "garman_klass_24": garman_klass,
    "rogers_satchell_24": rogers_satchell,
    "atr_pct": lambda b: atr(b)[-1] / b.c[-1],
    "rv_ratio": lambda b: over(rv(b, 12), rv(b, 288)),
    "vol_of_vol": lambda b: over(std(rv12s(b)), mean(rv12s(b))),
    "semivar_skew_48": semivariance,
    "jump_48": jump,
    **{f"rsi_{n}": partial(rsi, n=n) for n in (7, 9, 14, 21)},
    "stochrsi_14": stochrsi,
    "stoch_k": stoch,
    "stoch_d": stoch_d,
    "cci_20": lambda b: cci(typical(b)),
    "cci_close_20": lambda b: cci(b.c),
    "mfi_14": mfi,
    "macd": lambda b: in_atr(b, macds(b)[-1]),
    "macd_signal": lambda b: in_atr(b, ema(macds(b), 9)[-1]),
    "macd_hist": macd_hist,
    "macd_hist_diff": lambda b: macd_hist(b) - macd_hist(b, 1),
    "eff_ratio_24": efficiency,
    "slope_t_24": slope_t,
    "donchian_48": donchian,
    **{f"ema_dist_{n}": partial(ema_dist, n=n) for n in (9, 10, 20, 21, 50)},
    **{f"sma_dist_{n}": partial(sma_dist, n=n) for n in (5, 10, 20, 50, 200)},
    "ema_cross": lambda b: in_atr(b, ema(b.c, 9)[-1] - ema(b.c, 21)[-1]),
    **{f"adx_{n}": partial(adx, n=n) for n in (14, 20)},
    "di_diff": di_diff,
    "aroon_25": aroon,
    "bb_pctb": bb_pctb,
    "bb_width": bb_width,
    "bb_width_rank": bb_width_rank,
    "zscore_20": lambda b: over(b.c[-1] - mean(b.c[-20:]), std(b.c[-20:]), 0.0),
    "vol_z_48": vol_z,
    "vol_ratio": lambda b: over(mean(b.v[-12:]), mean(b.v[-96:])),
    "vol_ratio_20": lambda b: over(b.v[-1], mean(b.v[-20:])),
    "vol_tod": vol_tod,
    "obv_norm_24": obv_norm,
    "obv_dist_20": obv_dist,
    "cmf_20": cmf,
    "vwap_dist_48": partial(vwap_dist, n=48),
    "vwap_dist_day": vwap_dist_day,
    "amihud_24": amihud,
    "kyle_48": kyle,
    "body": partial(wick, part=lambda o, h, l, c: c - o),
    "upper_wick": partial(wick, part=lambda o, h, l, c: h - max(o, c)),
    "lower_wick": partial(wick, part=lambda o, h, l, c: min(o, c) - l),
    "range_atr": lambda b: in_atr(b, b.h[-1] - b.l[-1]),
    "tr_atr": lambda b: in_atr(b, true_ranges(b)[-1]),
    "gap": lambda b: math.log(b.o[-1] / b.c[-2]),
    "clv_6": lambda b: mean(clvs(b, 6)),
    "clv": lambda b: clvs(b, 1)[0],
    "high_low": lambda b: math.log(b.h[-1] / b.l[-1]),
    "close_open": lambda b: math.log(b.c[-1] / b.o[-1]),
    "hour_sin": lambda b: circle(math.sin, hour(b)),
    "hour_cos": lambda b: circle(math.cos, hour(b)),
    "weekday_sin": lambda b: circle(math.sin, weekday(b)),
    "weekday_cos": lambda b: circle(math.cos, weekday(b)),
    "to_funding": to_funding,
    "rsi_14_15m": lambda b: rsi(higher(b, 3), 14),
    "ema_dist_21_15m": lambda b: ema_dist(higher(b, 3), 21),
    "rsi_14_1h": lambda b: rsi(higher(b, 12), 14),
    "macd_hist_1h": lambda b: macd_hist(higher(b, 12)),
    "rv_24_1h": lambda b: rv(higher(b, 12), 24),
    "ret_1_4h": lambda b: moved(higher(b, 48).c, 1),
    **{f"btc_ret_{k}": partial(lambda b, k: moved(b.side["btc_close"], k), k=k) for k in (1, 12)},
    **{f"eth_ret_{k}": partial(lambda b, k: moved(b.side["eth_close"], k), k=k) for k in (1, 12)},
    "beta_96": beta,
    "resid_12": residual,
    "funding": lambda b: b.side["funding"][-1],
    "basis": basis,
    "oi_chg_12": lambda b: moved(b.side["open_interest"], 12),
    "open": lambda b: b.o[-1],
    "high": lambda b: b.h[-1],
    "low": lambda b: b.l[-1],
    "close": lambda b: b.c[-1],
    "volume": lambda b: b.v[-1],
    "wt1": lambda b: wave(b)[-1],
    "wt2": lambda b: mean(wave(b)[-4:]),
    "wt_diff": lambda b: wave(b)[-1] - mean(wave(b)[-4:]),
    "atr1_atr10": lambda b: over(true_ranges(b)[-1], atr(b, 10)[-1], EPS * b.c[-1]),
    "regime": regime,
    "kernel_rq_slope": rq_slope,
    "kernel_gauss_diff": gauss_diff,
}
"""The definition of every feature of every view, by its name."""
