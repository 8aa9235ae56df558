"""Candles for feature tests: a seeded random walk, and recorded ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.shared import shared_path
from tradebot.features.candles import BAR_MS, MONDAY_MS, WEEK_MS
from tradebot.market.candle import Candle

Columns = tuple[NDArray[np.int64], *tuple[NDArray[np.float64], ...]]

MONDAY = MONDAY_MS + 2900 * WEEK_MS
WEEK = WEEK_MS // BAR_MS


def random_walk(bars: int, *, seed: int = 7, start_ms: int = MONDAY, sigma: float = 0.0015) -> pd.DataFrame:
    """Candles with clustered volatility, a daily volume shape and some without volume or movement."""
    rng = np.random.default_rng(seed)
    vol = sigma * np.exp(0.3 * np.convolve(rng.normal(size=bars + 99), np.ones(100) / 10, "valid"))
    close = 150.0 * np.exp(np.cumsum(vol * rng.standard_t(4, size=bars)))
    open_ = np.concatenate(([150.0], close[:-1])) * np.exp(0.1 * vol * rng.normal(size=bars))
    still = rng.random(bars) < 0.01
    open_[still] = close[still]
    high = np.maximum(open_, close) * np.exp(np.where(still, 0.0, vol * rng.random(bars)))
    low = np.minimum(open_, close) * np.exp(-np.where(still, 0.0, vol * rng.random(bars)))
    hour = np.arange(bars) % 288 / 288
    volume = np.exp(6 + np.sin(2 * np.pi * hour) + rng.normal(size=bars)) * ~still
    time = start_ms + BAR_MS * np.arange(bars, dtype=np.int64)
    return pd.DataFrame({"open_time": time, "open": open_, "high": high, "low": low, "close": close, "volume": volume})


def recorded(symbol: str, *, weeks: int | None = None, skip: int = 0) -> pd.DataFrame:
    """Recorded 5m candles of a perpetual, from the first Monday on (plus ``skip`` weeks)."""
    frame = pd.read_parquet(shared_path(f"data/market/candles/bybit_{symbol}_perp_5m.parquet"))
    first = int(frame.open_time.iloc[0])
    monday = MONDAY_MS + (-(-(first - MONDAY_MS) // WEEK_MS) + skip) * WEEK_MS
    frame = frame[frame.open_time >= monday]
    return (frame if weeks is None else frame.iloc[: weeks * WEEK]).reset_index(drop=True)


def columns(frame: pd.DataFrame) -> Columns:
    """The arguments of ``batch``."""
    prices = [frame[name].to_numpy(copy=True) for name in ("open", "high", "low", "close", "volume")]
    return frame["open_time"].to_numpy(copy=True), *prices


def candles(frame: pd.DataFrame) -> list[Candle]:
    """The same as one struct per row."""
    time, *prices = columns(frame)
    return [
        Candle(int(t), float(o), float(h), float(low), float(c), float(v))
        for t, o, h, low, c, v in zip(time, *prices, strict=True)
    ]
