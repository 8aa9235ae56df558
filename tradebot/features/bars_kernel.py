"""The kernel of the bars views: candles of any interval in, rows out, live and in training alike.

What it shares with the candles' kernel is the same code, so columns of the same name agree bit for bit at 5m.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from numba import types

from tradebot.features import layout as at
from tradebot.features.advance import push_bands, push_prices, push_side, push_sums
from tradebot.features.bars_lane import BARS_LANE, run_bars_lane
from tradebot.features.bars_row import (
    emit_beside,
    emit_candle,
    emit_filters,
    emit_oscillators,
    emit_shape,
    emit_trend,
    emit_volatility,
    emit_volume,
)
from tradebot.features.compiled import entry, fingerprint, part
from tradebot.features.emission import Row, sum_windows
from tradebot.features.epoch import MONDAY_MS, WEEK_MS
from tradebot.features.kernel import BTC, ETH, FUNDING, Flags, Ints, Run, clear, run_signature
from tradebot.features.window import NAN, Floats
from tradebot.market.candle import INTERVAL_MS

# --- offsets into memory --------------------------------------------------------------------------------------------
AT_BARS = 0
AT_FOURS = AT_BARS + at.BARS * at.COLUMNS
AT_FAR = AT_FOURS + at.BARS * at.SUMMED
AT_BESIDE = AT_FAR + at.FAR * at.FAR_COLUMNS
AT_ONCE = AT_BESIDE + at.BESIDE * at.BESIDE_COLUMNS
AT_LANES = AT_ONCE + at.ONCE
BARS_MEMORY = AT_LANES + 2 * BARS_LANE


@part
def bars_step(
    marks: Ints,
    memory: Floats,
    bars: Floats,
    fours: Floats,
    far: Floats,
    beside: Floats,
    once: Floats,
    lanes: Floats,
    w24: Floats,
    w48: Floats,
    bar_ms: int,
    open_ms: int,
    o: float,
    h: float,
    low: float,
    c: float,
    v: float,
    btc: float,
    eth: float,
    funding: float,
    out: Row,
) -> bool:
    """Take one closed candle of ``bar_ms`` and write its row; False (and a row of NaN) while its epoch is not complete.

    A candle that does not follow the last one starts everything cold.
    """
    n = open_ms // bar_ms
    cold = marks[at.LAST_OPEN] != open_ms - bar_ms
    if cold:
        clear(memory)
        marks[at.LANE_EPOCH] = -1
        marks[at.LANE_EPOCH + 1] = -1
    marks[at.LAST_OPEN] = open_ms
    push_prices(bars, far, once, n, o, h, low, c, v, cold)
    push_side(bars, beside, n, btc, eth, NAN)
    push_sums(bars, fours, far, n)
    push_bands(bars, far, once, n)

    week = (open_ms - MONDAY_MS) // WEEK_MS
    monday = MONDAY_MS + week * WEEK_MS
    warming, k = week % 2, (week + 1) % 2
    if open_ms == monday:
        marks[at.LANE_EPOCH + warming] = monday
        clear(lanes[warming])
    if marks[at.LANE_EPOCH + warming] >= 0:
        run_bars_lane(lanes, warming, bars, n, (open_ms - monday) // bar_ms, o)
    if marks[at.LANE_EPOCH + k] < 0:
        for column in range(len(out)):
            out[column] = NAN
        return False
    run_bars_lane(lanes, k, bars, n, (open_ms - monday + WEEK_MS) // bar_ms, o)

    sum_windows(fours, w24, w48, n)
    emit_candle(out, bars, far, n, o, v)
    emit_volatility(out, bars, fours, w24, w48, lanes, k, n)
    emit_oscillators(out, bars, fours, lanes, k, n)
    emit_trend(out, bars, fours, far, w24, lanes, k, once, n)
    emit_volume(out, bars, fours, w24, w48, lanes, k, n, v)
    emit_shape(out, bars, lanes, k, once, n, o)
    emit_filters(out, bars, lanes, k, n, open_ms)
    emit_beside(out, beside, n, funding)
    return True


BARS_STAMP: Final = fingerprint(bars_step)


@cache
def bars_kernel(interval: str) -> Run:
    """The compiled kernel for candles of ``interval``; see ``kernel.kernel``."""
    run, bar_ms = _bars_kernel(), INTERVAL_MS[interval]

    def run_interval(
        marks: Ints,
        memory: Floats,
        open_ms: Ints,
        o: Floats,
        h: Floats,
        low: Floats,
        c: Floats,
        v: Floats,
        side: Floats,
        rows: Row,
        usable: Flags,
    ) -> int:
        return run(bar_ms, marks, memory, open_ms, o, h, low, c, v, side, rows, usable)

    return run_interval


BarsRun = Callable[[int, Ints, Floats, Ints, Floats, Floats, Floats, Floats, Floats, Floats, Row, Flags], int]


@cache
def _bars_kernel() -> BarsRun:
    return build_bars(types.float32)


def build_bars(row_type: types.Type) -> BarsRun:
    """The kernel with rows of ``row_type``; tests compare formulas in double precision."""
    stamp = BARS_STAMP  # used inside, so that numba's disk cache keys on it: see compiled.py

    @entry(run_signature(row_type, types.int64))
    def run_bars(
        bar_ms: int,
        marks: Ints,
        memory: Floats,
        open_ms: Ints,
        o: Floats,
        h: Floats,
        low: Floats,
        c: Floats,
        v: Floats,
        side: Floats,
        rows: Row,
        usable: Flags,
    ) -> int:
        bars = memory[AT_BARS:AT_FOURS].reshape(at.BARS, at.COLUMNS)
        fours = memory[AT_FOURS:AT_FAR].reshape(at.BARS, at.SUMMED)
        far = memory[AT_FAR:AT_BESIDE].reshape(at.FAR, at.FAR_COLUMNS)
        beside = memory[AT_BESIDE:AT_ONCE].reshape(at.BESIDE, at.BESIDE_COLUMNS)
        once = memory[AT_ONCE:AT_LANES]
        lanes = memory[AT_LANES:BARS_MEMORY].reshape(2, BARS_LANE)
        w24, w48 = np.empty(at.V + 1), np.empty(at.LAST_48 + 1)
        known = len(side) - 1  # one row stands for all where nothing is known
        for i in range(len(open_ms)):
            j = min(i, known)
            usable[i] = bars_step(
                marks,
                memory,
                bars,
                fours,
                far,
                beside,
                once,
                lanes,
                w24,
                w48,
                bar_ms,
                open_ms[i],
                o[i],
                h[i],
                low[i],
                c[i],
                v[i],
                side[j, BTC],
                side[j, ETH],
                side[j, FUNDING],
                rows[i],
            )
        return stamp

    return run_bars
