"""The candles a job trains on: closed at its moment, from a file or from an exchange's REST interface."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tradebot.data.files import read_candles
from tradebot.errors import DataError
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.forecasters.base import CandleColumns
from tradebot.jobs import CandleSource, ParquetSource
from tradebot.market.candle import DAY_MS, INTERVAL_MS, Candle, interval_start


def load_candles(source: CandleSource, symbol: str, interval: str, *, as_of_ms: int, days: int) -> CandleColumns:
    """Candles of ``interval`` that had closed at ``as_of_ms``, at most ``days`` back, oldest first.

    A shorter history is returned as it is; whether it suffices is the dataset's question. Raises DataError when
    there is none, ExchangeError when the exchange does not give it.
    """
    bar_ms = INTERVAL_MS[interval]
    end_ms = interval_start(as_of_ms, bar_ms)
    start_ms = end_ms - days * DAY_MS
    if isinstance(source, ParquetSource):
        path = Path(source.path)
        where = str(path / f"{symbol}.parquet" if path.is_dir() else path)
        columns = _from_file(where, bar_ms, start_ms, end_ms)
    else:
        columns = columns_of(asyncio.run(_from_rest(source.url, symbol, interval, start_ms, end_ms)), end_ms, bar_ms)
        where = source.url
    if len(columns) == 0:
        raise DataError(f"{where}: holds no {interval} candle of {symbol} in the {days} days before the job's moment")
    return columns


def columns_of(candles: Sequence[Candle], end_ms: int, bar_ms: int) -> CandleColumns:
    """Candles as columns, leaving out any that had not closed at ``end_ms``."""
    closed = [candle for candle in candles if candle.open_time_ms + bar_ms <= end_ms]
    table = np.array([(c.open, c.high, c.low, c.close, c.volume) for c in closed], dtype=np.float64).reshape(-1, 5)
    return CandleColumns(
        open_ms=np.array([c.open_time_ms for c in closed], dtype=np.int64),
        open=table[:, 0].copy(),
        high=table[:, 1].copy(),
        low=table[:, 2].copy(),
        close=table[:, 3].copy(),
        volume=table[:, 4].copy(),
    )


def _from_file(path: str, bar_ms: int, start_ms: int, end_ms: int) -> CandleColumns:
    table = read_candles(path)
    if table.interval_ms != bar_ms:
        raise DataError(f"{path}: candles are {table.interval_ms // 1000} s long, the model needs {bar_ms // 1000} s")
    keep = (table.open_time >= start_ms) & (table.open_time + bar_ms <= end_ms)
    return CandleColumns(
        open_ms=table.open_time[keep],
        open=table.open[keep],
        high=table.high[keep],
        low=table.low[keep],
        close=table.close[keep],
        volume=table.volume[keep],
    )


async def _from_rest(url: str, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
    async with BitgetRest(url) as rest:
        return await rest.candles(symbol, interval, start_ms, end_ms)
