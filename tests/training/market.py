"""Made-up 5-minute candles for tests of training: a pure random walk, or one whose next moves follow the last."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.forecasters.base import CandleColumns
from tradebot.market.candle import DAY_MS, MONDAY_MS, WEEK_MS

BAR_MS = 300_000
START_MS = MONDAY_MS + 2_900 * WEEK_MS


def candles(count: int = 10_000, *, momentum: float = 0.0, sigma: float = 0.0018, seed: int = 1) -> CandleColumns:
    """``r_t = m · r_{t−1} + σ·ε``; ``m`` is ``momentum`` after a candle of high volume, minus half of it after others.

    No rule of the past return alone gets all of it. ``momentum`` 0 is a random walk, from which nothing can be learnt.
    """
    rng = np.random.default_rng(seed)
    shocks = rng.normal(scale=sigma, size=count)
    volume = rng.lognormal(3.0, 0.5, size=count)
    carried = np.where(volume > np.exp(3.0), momentum, -momentum / 2)
    returns = np.empty(count)
    last = before = 0.0
    for i, shock in enumerate(shocks):
        last = before * last + shock
        before = carried[i]
        returns[i] = last
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = np.abs(rng.normal(scale=sigma / 2, size=(2, count)))
    return CandleColumns(
        open_ms=START_MS + BAR_MS * np.arange(count, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) * (1 + wick[0]),
        low=np.minimum(opened, close) * (1 - wick[1]),
        close=close,
        volume=volume,
    )


def write_parquet(path: Path, columns: CandleColumns) -> Path:
    pq.write_table(
        pa.table(
            {
                "open_time": columns.open_ms,
                "open": columns.open,
                "high": columns.high,
                "low": columns.low,
                "close": columns.close,
                "volume": columns.volume,
            }
        ),
        path,
    )
    return path


def end_ms(columns: CandleColumns) -> int:
    return int(columns.open_ms[-1]) + BAR_MS


def days(columns: CandleColumns) -> int:
    return int(-(-(end_ms(columns) - int(columns.open_ms[0])) // DAY_MS))
