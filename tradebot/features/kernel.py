"""The one kernel: candles in, rows out. Live calls it with one candle, training with half a year of them.

It is the same machine code either way, so rows are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from numba import types
from numba.core.typing.templates import Signature
from numpy.typing import NDArray

from tradebot.features import layout as at
from tradebot.features.advance import push_bands, push_clock, push_prices, push_side, push_sums, run_lane
from tradebot.features.compiled import entry, fingerprint, part, read_only
from tradebot.features.emission import (
    Row,
    emit_bands,
    emit_clock,
    emit_higher,
    emit_oscillators,
    emit_returns,
    emit_shape,
    emit_side,
    emit_trend,
    emit_volatility,
    emit_volume,
    sum_windows,
)
from tradebot.features.epoch import BAR_MS, MONDAY_MS, WEEK_MS
from tradebot.features.side import SIDE
from tradebot.features.window import NAN, Floats

BTC, ETH, FUNDING, MARK, INDEX, OPEN_INTEREST = range(len(SIDE))

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@part
def clear(values: Floats) -> None:
    for i in range(len(values)):
        values[i] = 0.0


@part
def step(
    marks: Ints,
    memory: Floats,
    bars: Floats,
    fours: Floats,
    far: Floats,
    beside: Floats,
    ranked: Floats,
    clocked: Floats,
    once: Floats,
    lanes: Floats,
    w24: Floats,
    w48: Floats,
    open_ms: int,
    o: float,
    h: float,
    low: float,
    c: float,
    v: float,
    btc: float,
    eth: float,
    funding: float,
    mark: float,
    index: float,
    open_interest: float,
    out: Row,
) -> bool:
    """Take one closed candle and what was known beside it, and write its row.

    False (and a row of NaN) while its epoch is not complete. A candle that does not follow the last one starts
    everything cold.
    """
    n = open_ms // BAR_MS
    cold = marks[at.LAST_OPEN] != open_ms - BAR_MS
    if cold:
        clear(memory)
        marks[at.LANE_EPOCH] = -1
        marks[at.LANE_EPOCH + 1] = -1
    marks[at.LAST_OPEN] = open_ms
    once[at.LAST_O], once[at.LAST_H], once[at.LAST_L], once[at.LAST_C], once[at.LAST_V] = o, h, low, c, v
    push_prices(bars, far, once, n, o, h, low, c, v, cold)
    push_side(bars, beside, n, btc, eth, open_interest)
    push_sums(bars, fours, far, n)
    push_bands(bars, far, once, n)
    ranked[n % at.RANKED] = once[at.BB_WIDTH]
    push_clock(bars, far, clocked, once, n, v)

    week = (open_ms - MONDAY_MS) // WEEK_MS
    monday = MONDAY_MS + week * WEEK_MS
    warming, k = week % 2, (week + 1) % 2
    if open_ms == monday:
        marks[at.LANE_EPOCH + warming] = monday
        clear(lanes[warming])
    if marks[at.LANE_EPOCH + warming] >= 0:
        run_lane(lanes, warming, bars, n, (open_ms - monday) // BAR_MS)
    if marks[at.LANE_EPOCH + k] < 0:
        for column in range(len(out)):
            out[column] = NAN
        return False
    run_lane(lanes, k, bars, n, (open_ms - monday + WEEK_MS) // BAR_MS)

    sum_windows(fours, w24, w48, n)
    emit_returns(out, bars, fours, far, w48, n)
    emit_volatility(out, bars, far, w24, w48, lanes, k, n)
    emit_oscillators(out, bars, fours, lanes, k, n)
    emit_trend(out, bars, far, w24, lanes, k, n)
    emit_bands(out, bars, far, ranked, once, n)
    emit_volume(out, bars, fours, far, clocked, w24, w48, lanes, k, once, n)
    emit_shape(out, bars, fours, lanes, k, once, n)
    emit_clock(out, n)
    emit_higher(out, bars, far, lanes, k, once, n)
    emit_side(out, far, beside, n, funding, mark, index)
    return True


KERNEL_STAMP: Final = fingerprint(step)
"""Changes with any instruction or constant of the kernel; a saved state is taken up only by the kernel it is from."""

Run = Callable[[Ints, Floats, Ints, Floats, Floats, Floats, Floats, Floats, Floats, Row, Flags], int]


@cache
def kernel() -> Run:
    """The compiled kernel: ``run(marks, memory, open_ms, o, h, l, c, v, side, rows, usable)``.

    Takes candles oldest first and writes one row and one flag for each. The first call of all compiles (seconds), the
    first of a later process loads from disk.
    """
    return build(types.float32)


def run_signature(row_type: types.Type, *first: types.Type) -> Signature:
    """Of what ``Run`` is, after the types of what else comes first."""
    prices = read_only(types.float64)
    return types.int64(
        *first,
        types.int64[::1],
        types.float64[::1],
        read_only(types.int64),
        prices,
        prices,
        prices,
        prices,
        prices,
        types.Array(types.float64, 2, "C", readonly=True),
        types.Array(row_type, 2, "C"),
        types.boolean[::1],
    )


def build(row_type: types.Type) -> Run:
    """The kernel with rows of ``row_type``; tests compare formulas in double precision."""
    stamp = KERNEL_STAMP  # used inside, so that numba's disk cache keys on it: see compiled.py

    @entry(run_signature(row_type))
    def run(
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
        bars = memory[at.AT_BARS : at.AT_FOURS].reshape(at.BARS, at.COLUMNS)
        fours = memory[at.AT_FOURS : at.AT_FAR].reshape(at.BARS, at.SUMMED)
        far = memory[at.AT_FAR : at.AT_BESIDE].reshape(at.FAR, at.FAR_COLUMNS)
        beside = memory[at.AT_BESIDE : at.AT_RANKED].reshape(at.BESIDE, at.BESIDE_COLUMNS)
        ranked = memory[at.AT_RANKED : at.AT_CLOCKED]
        clocked = memory[at.AT_CLOCKED : at.AT_ONCE]
        once = memory[at.AT_ONCE : at.AT_LANES]
        lanes = memory[at.AT_LANES : at.MEMORY].reshape(2, at.LANE)
        w24, w48 = np.empty(at.V + 1), np.empty(at.LAST_48 + 1)
        known = len(side) - 1  # one row stands for all where nothing is known
        for i in range(len(open_ms)):
            j = min(i, known)
            usable[i] = step(
                marks,
                memory,
                bars,
                fours,
                far,
                beside,
                ranked,
                clocked,
                once,
                lanes,
                w24,
                w48,
                open_ms[i],
                o[i],
                h[i],
                low[i],
                c[i],
                v[i],
                side[j, BTC],
                side[j, ETH],
                side[j, FUNDING],
                side[j, MARK],
                side[j, INDEX],
                side[j, OPEN_INTEREST],
                rows[i],
            )
        return stamp

    return run
