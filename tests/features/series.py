"""Candles for feature tests: a seeded random walk, and recorded ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.shared import shared_path
from tradebot.features.epoch import BAR_MS, MONDAY_MS, WEEK_MS
from tradebot.features.side import SIDE
from tradebot.features.views import view
from tradebot.market.candle import Candle

Doubles = NDArray[np.float64]
Columns = tuple[NDArray[np.int64], *tuple[Doubles, ...]]

MONDAY = MONDAY_MS + 2900 * WEEK_MS
WEEK = WEEK_MS // BAR_MS
VIEW = view("candles-5m")
batch = VIEW.batch


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
    frame = {"open_time": time, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame(frame | random_side(close, rng))


def random_side(close: Doubles, rng: np.random.Generator) -> dict[str, Doubles]:
    """What was known beside candles: two coins that the candles half follow, funding every 96, the rest; with holes."""
    bars = len(close)
    follows = np.concatenate(([0.0], np.diff(np.log(close))))
    leads = [np.exp(np.cumsum(0.7 * follows + 0.001 * rng.normal(size=bars))) for _ in range(2)]
    index = close * np.exp(0.0003 * rng.normal(size=bars))
    side = {
        "btc_close": 60_000.0 * leads[0],
        "eth_close": 3_000.0 * leads[1],
        "funding": np.repeat(0.0001 * rng.normal(size=bars // 96 + 1), 96)[:bars],
        "mark": index * np.exp(0.0002 * rng.normal(size=bars)),
        "index": index,
        "open_interest": 5e6 * np.exp(np.cumsum(0.002 * rng.normal(size=bars))),
    }
    for values in side.values():
        for hole in rng.integers(0, bars, size=bars // 700):
            values[hole : hole + 1 + hole % 3] = np.nan
    return side


def recorded(symbol: str, *, weeks: int | None = None, skip: int = 0) -> pd.DataFrame:
    """Recorded 5m candles of a perpetual, from the first Monday on (plus ``skip`` weeks), with what is recorded beside
    them: BTC, ETH and funding."""
    frame = recorded_candles(symbol)
    for name, leading in (("btc_close", "BTCUSDT"), ("eth_close", "ETHUSDT")):
        closes = recorded_candles(leading).set_index("open_time").close
        frame[name] = closes.reindex(frame.open_time).to_numpy()
    rates = pd.read_parquet(shared_path("data/market/candles/bybit_perp_funding.parquet")).query("symbol == @symbol")
    last = np.searchsorted(rates.funding_time.to_numpy(), frame.open_time.to_numpy() + BAR_MS, side="right") - 1
    frame["funding"] = np.where(last >= 0, rates.funding_rate.to_numpy()[np.maximum(last, 0)], np.nan)
    frame[["mark", "index", "open_interest"]] = np.nan
    first = int(frame.open_time.iloc[0])
    monday = MONDAY_MS + (-(-(first - MONDAY_MS) // WEEK_MS) + skip) * WEEK_MS
    frame = frame[frame.open_time >= monday]
    return (frame if weeks is None else frame.iloc[: weeks * WEEK]).reset_index(drop=True)


def recorded_candles(symbol: str) -> pd.DataFrame:
    return pd.read_parquet(shared_path(f"data/market/candles/bybit_{symbol}_perp_5m.parquet"))


def longer(frame: pd.DataFrame, bars: int) -> pd.DataFrame:
    """Complete candles of ``bars`` candles of 5 minutes each, with what was known beside the last of these."""
    how = {"open_time": "first", "open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    groups = frame.groupby(frame.open_time // (bars * BAR_MS))
    whole = groups.agg(how | {name: lambda x: x.iloc[-1] for name in SIDE})
    return whole[groups.size() == bars].reset_index(drop=True)


def columns(frame: pd.DataFrame) -> Columns:
    """The arguments of ``batch``."""
    prices = [frame[name].to_numpy(copy=True) for name in ("open", "high", "low", "close", "volume")]
    return frame["open_time"].to_numpy(copy=True), *prices, np.array(frame[list(SIDE)], order="C")


def candles(frame: pd.DataFrame) -> list[Candle]:
    """The same as one struct per row."""
    time, *prices, _ = columns(frame)
    return [
        Candle(int(t), float(o), float(h), float(low), float(c), float(v))
        for t, o, h, low, c, v in zip(time, *prices, strict=True)
    ]
