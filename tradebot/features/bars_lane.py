"""What remembers for ever in the views of bars: the averages of the candles' view, then more of their kind.

Two lanes, started on alternate Mondays, as in ``layout``; the rings are those of the candles' view too.
"""

from __future__ import annotations

import math

from tradebot.features import layout as at
from tradebot.features.advance import run_averages, smooth, true_range
from tradebot.features.compiled import part
from tradebot.features.window import EPS, RING, Floats

(
    EMA10,
    EMA20,
    WAVE_MEAN,  # E10(tp)
    WAVE_AWAY,  # E10(|tp - E10(tp)|)
    WT1,
    GAIN9,
    LOSS9,
    DM_UP20,
    DM_DOWN20,
    ADX20,
    TR,
    ATR10,
    OBV_DIST,  # on-balance volume less its average, base coin
    V20,
    PRICE,  # ohlc4
    MOVED,
    RANGED,
    AVERAGE,  # adaptive average of ohlc4
    SLOPE,
    USUAL_SLOPE,
) = range(at.LANE, at.LANE + 20)
WT_RING = USUAL_SLOPE + 1
"""The last 4 values of WT1 start here."""
WTS = 4
WT_SLOT = WTS - 1
BARS_LANE = WT_RING + WTS


@part
def run_bars_lane(lanes: Floats, k: int, bars: Floats, n: int, age: int, o: float) -> None:
    """Advance a lane by bar ``n``, its ``age``-th candle (0 starts it cold), which opened at ``o``."""
    run_averages(lanes, k, bars, n, age)
    i, last = n & RING, (n - 1) & RING
    c, h, low = bars[i, at.CLOSE], bars[i, at.HIGH], bars[i, at.LOW]
    start = age == 0
    smooth(lanes, k, EMA10, c, 1.0 if start else 2.0 / 11.0)
    smooth(lanes, k, EMA20, c, 1.0 if start else 2.0 / 21.0)
    lanes[k, TR] = h - low if start else true_range(h, low, bars[last, at.CLOSE])
    smooth(lanes, k, ATR10, lanes[k, TR], 1.0 if start else 1.0 / 10.0)
    run_wave(lanes, k, bars[i, at.TP], n, start)
    signed = 0.0 if start else bars[i, at.SIGN_V]
    lanes[k, OBV_DIST] = 19.0 / 21.0 * (lanes[k, OBV_DIST] + signed)
    smooth(lanes, k, V20, bars[i, at.V], 1.0 if start else 2.0 / 21.0)
    run_regime(lanes, k, (o + h + low + c) / 4.0, h - low, start)
    if not start:
        run_moves(lanes, k, c - bars[last, at.CLOSE], h - bars[last, at.HIGH], bars[last, at.LOW] - low, age == 1)


@part
def run_wave(lanes: Floats, k: int, tp: float, n: int, start: bool) -> None:
    """WaveTrend (10, 11) of the typical price."""
    smooth(lanes, k, WAVE_MEAN, tp, 1.0 if start else 2.0 / 11.0)
    away = tp - lanes[k, WAVE_MEAN]
    smooth(lanes, k, WAVE_AWAY, abs(away), 1.0 if start else 2.0 / 11.0)
    usual = lanes[k, WAVE_AWAY]
    swing = away / (1.5 * usual) if usual > EPS * tp else 0.0  # 0.015 by 100
    smooth(lanes, k, WT1, swing, 1.0 if start else 2.0 / 12.0)
    lanes[k, WT_RING + (n & WT_SLOT)] = lanes[k, WT1]


@part
def run_moves(lanes: Floats, k: int, change: float, rise: float, fall: float, first: bool) -> None:
    """Wilder's averages over 9 and 20 candles; the ``first`` move starts them."""
    smooth(lanes, k, GAIN9, max(change, 0.0), 1.0 if first else 1.0 / 9.0)
    smooth(lanes, k, LOSS9, max(-change, 0.0), 1.0 if first else 1.0 / 9.0)
    smooth(lanes, k, DM_UP20, rise if rise > fall and rise > 0.0 else 0.0, 1.0 if first else 1.0 / 20.0)
    smooth(lanes, k, DM_DOWN20, fall if fall > rise and fall > 0.0 else 0.0, 1.0 if first else 1.0 / 20.0)
    moved = lanes[k, DM_UP20] + lanes[k, DM_DOWN20]
    dx = abs(lanes[k, DM_UP20] - lanes[k, DM_DOWN20]) / moved if moved > 0.0 else 0.0
    smooth(lanes, k, ADX20, dx, 1.0 if first else 1.0 / 20.0)


@part
def run_regime(lanes: Floats, k: int, price: float, span: float, start: bool) -> None:
    """The adaptive average of the regime filter, its slope and the usual slope (models.md section 5.1)."""
    if start:
        lanes[k, PRICE] = price
        lanes[k, AVERAGE] = price
    lanes[k, MOVED] = 0.2 * (price - lanes[k, PRICE]) + 0.8 * lanes[k, MOVED]
    lanes[k, RANGED] = 0.1 * span + 0.8 * lanes[k, RANGED]
    lanes[k, PRICE] = price
    moved = abs(lanes[k, MOVED])
    # the weight of 5.1, reduced by its ratio squared: no candle makes it overflow
    weight = 2.0 / (1.0 + math.hypot(1.0, 4.0 * lanes[k, RANGED] / moved)) if moved > 0.0 else 0.0
    before = lanes[k, AVERAGE]
    lanes[k, AVERAGE] = weight * price + (1.0 - weight) * before
    lanes[k, SLOPE] = abs(lanes[k, AVERAGE] - before)
    smooth(lanes, k, USUAL_SLOPE, lanes[k, SLOPE], 2.0 / 201.0)
