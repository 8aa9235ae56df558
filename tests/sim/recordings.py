"""Small market files for tests: candles and order books with the awkward cases that recorded ones have."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.market.candle import Candle
from tradebot.sim.source import MarketSource, MarketStep

START = 1_767_571_200_000  # 2026-01-05 00:00 UTC, a Monday
STEP = 300_000


def candle_columns(
    n: int, *, seed: int = 1, price: float = 150.0, decimals: int = 2, first_ms: int = START, step_ms: int = STEP
) -> dict[str, np.ndarray]:
    """A random walk of candles; some are flat, some have no volume, some open away from the last close."""
    rng = np.random.default_rng(seed)
    close = np.round(price * np.exp(np.cumsum(rng.normal(0, 0.002, n))), decimals)
    opened = np.concatenate(([close[0]], close[:-1]))
    opened[rng.random(n) < 0.3] += 10.0**-decimals
    opened = np.round(opened, decimals)
    high = np.round(np.maximum(opened, close) + rng.exponential(0.001 * price, n), decimals)
    low = np.round(np.minimum(opened, close) - rng.exponential(0.001 * price, n), decimals)
    volume = np.round(rng.lognormal(6, 1, n), 1)
    for column in (opened, high, low):
        column[3::17] = close[3::17]
    volume[5::23] = 0.0
    volume[6::23] = 0.3
    open_time = first_ms + step_ms * np.arange(n, dtype=np.int64)
    return {"open_time": open_time, "open": opened, "high": high, "low": low, "close": close, "volume": volume}


def write(path: Path, columns: dict[str, np.ndarray]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def book_columns(
    n: int, *, first_ms: int = START, seed: int = 1, left_out: Sequence[int] = ()
) -> dict[str, np.ndarray]:
    """``n`` seconds of a three-level book whose mid walks; every seventh row is locked, every fifth repeats."""
    rng = np.random.default_rng(seed)
    mid = 1500 + np.cumsum(rng.integers(-2, 3, n))
    half = np.where(np.arange(n) % 7 == 0, 0, 1)
    columns: dict[str, np.ndarray] = {"ts_ms": first_ms + 1000 * np.arange(n, dtype=np.int64)}
    for i in range(3):
        columns[f"ask_px_{i + 1}"] = (mid + half + i) / 10.0
        columns[f"ask_sz_{i + 1}"] = rng.integers(1, 900, n) / 100.0
        columns[f"bid_px_{i + 1}"] = (mid - half - i) / 10.0
        columns[f"bid_sz_{i + 1}"] = rng.integers(1, 900, n) / 100.0
    for name, values in columns.items():
        if name != "ts_ms":
            values[5::5] = values[4:-1:5]
    # rows that differ from the one before in a single number
    for row, name in zip(range(8, n, 11), cycle(("ask_sz_2", "bid_sz_3", "ask_px_3", "bid_px_3")), strict=False):
        for column, values in columns.items():
            if column != "ts_ms":
                values[row] = values[row - 1]
        columns[name][row] += {"ask_sz_2": 0.5, "bid_sz_3": 0.5, "ask_px_3": 0.2, "bid_px_3": -0.2}[name]
    keep = np.setdiff1d(np.arange(n), left_out)
    return {name: values[keep] for name, values in columns.items()}


def trade_columns(books: dict[str, np.ndarray], *, seed: int = 2) -> dict[str, np.ndarray]:
    """About one trade every two seconds, at the best prices; none from 00:10 to 00:15."""
    rng = np.random.default_rng(seed)
    ts = books["ts_ms"]
    rows = np.flatnonzero((rng.random(ts.size) < 0.5) & ((ts - START) // STEP != 2))
    buys = rng.random(rows.size) < 0.5
    recv = ts[rows] + rng.integers(0, 1000, rows.size)
    price = np.where(buys, books["ask_px_1"][rows], books["bid_px_1"][rows])
    return {"recv_ms": recv, "trade_ms": recv - 100, "price": price, "size": rng.integers(1, 500, rows.size) / 100.0}


def walk(source: MarketSource) -> list[MarketStep]:
    """Every step to the end."""
    steps = []
    while source.next_ms() is not None:
        steps.append(source.step())
    return steps


def last_rows(steps: Sequence[MarketStep]) -> dict[int, Candle]:
    """The last state of every candle that the steps showed."""
    return {row.open_time_ms: row for step in steps for row in step.candles}
