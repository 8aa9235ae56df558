"""A book of 20 levels around a price, where only candles were recorded: the stated model of spread and depth.

For every candle, from the 48 candles *before* it (so the book foretells nothing), all brought to five minutes:

* ``R`` = mean of ``ln(high/low)``, in bp; ``V`` = mean volume in base coin.
* spread ``S = max(1 tick, 0.05 bp + 0.01·R)``: about 0.2 bp on quiet majors, several bp in a crash.
* level ``l = 0…19`` lies ``g·(l + 0.08·l²)`` beyond the best price, ``g = max(1 tick, S/2)``.
* size at level ``l``: ``0.002·V / (1 + R/50 bp) · (1 + 0.35·l) · w``, at least one lot; ``w`` is noise of mean about 1
  (``exp`` of a centred sum of four uniforms, standard deviation 0.46), drawn anew at each step.
* bid sizes are multiplied by ``exp(0.4·f)``, ask sizes by ``exp(-0.4·f)``, ``f`` in [-1, 1] being the order flow that
  brought the price where it is. It describes the move that has happened, not the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradebot.sim.market.contract import Grid
from tradebot.sim.market.noise import uniforms

LEVELS = 20
WINDOW = 48
BASE_MS = 300_000

SPREAD_BP, SPREAD_PER_RANGE = 0.05, 0.01
DEPTH_SHARE, CALM_RANGE_BP, DEPTH_SLOPE = 0.002, 50.0, 0.35
SPACING_CURVE = 0.08
IMBALANCE = 0.4
SIZE_NOISE = 0.8

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def _mean_before(values: Floats, window: int) -> Floats:
    """Mean of the up to ``window`` values before each one; the first value stands for itself."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    at = np.arange(values.size)
    start = np.maximum(at - window, 0)
    before = (total[at] - total[start]) / np.maximum(at - start, 1)
    before[0] = values[0]
    return before


@dataclass(frozen=True, slots=True)
class BookShape:
    """Per candle: spread and level gap in ticks, lots at the best level (before noise and imbalance)."""

    spread: Ints
    gap: Floats
    best_lots: Floats

    @staticmethod
    def of(
        high: Floats, low: Floats, close: Floats, volume: Floats, interval_ms: int, ticks: Grid, lots: Grid
    ) -> BookShape:
        """The model of the module's docstring, for every candle at once."""
        range_bp = _mean_before(np.log(high / low), WINDOW) * 1e4 * (BASE_MS / interval_ms) ** 0.5
        traded = _mean_before(volume, WINDOW) * (BASE_MS / interval_ms)
        price = np.concatenate((close[:1], close[:-1]))
        in_ticks = price * 1e-4 / float(ticks.step)
        spread = np.maximum(1.0, (SPREAD_BP + SPREAD_PER_RANGE * range_bp) * in_ticks)
        best = DEPTH_SHARE * traded / (1.0 + range_bp / CALM_RANGE_BP) / float(lots.step)
        return BookShape(np.rint(spread).astype(np.int64), np.maximum(1.0, spread / 2), best)


@dataclass(frozen=True, slots=True)
class Books:
    """Books of consecutive steps: arrays of shape (steps, LEVELS), best level first, in ticks and lots."""

    bid_px: Ints
    bid_sz: Ints
    ask_px: Ints
    ask_sz: Ints


_STEPS_OUT = np.arange(LEVELS) + SPACING_CURVE * np.arange(LEVELS) ** 2
_SLOPE = 1.0 + DEPTH_SLOPE * np.arange(LEVELS)


def books(key: int, at_ms: Ints, best_bid: Ints, best_ask: Ints, gap: Floats, best_lots: Floats, flow: Floats) -> Books:
    """Books at the steps ``at_ms``; every argument has one entry per step. Prices never fall below one tick."""
    # gaps are at least one tick, so the offsets of successive levels differ
    offsets = np.rint(gap[:, None] * _STEPS_OUT).astype(np.int64)
    ask_px = best_ask[:, None] + offsets
    bid_px = best_bid[:, None] - offsets
    draws = uniforms(key, at_ms, 8 * LEVELS).reshape(at_ms.size, 2, LEVELS, 4).sum(axis=3)
    lots = best_lots[:, None] * _SLOPE
    tilt = IMBALANCE * flow[:, None]
    bid_sz = np.maximum(np.rint(lots * np.exp(SIZE_NOISE * (draws[:, 0] - 2.0) + tilt)), 1.0).astype(np.int64)
    ask_sz = np.maximum(np.rint(lots * np.exp(SIZE_NOISE * (draws[:, 1] - 2.0) - tilt)), 1.0).astype(np.int64)
    return Books(bid_px, bid_sz, ask_px, ask_sz)
