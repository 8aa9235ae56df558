"""The candles a job trains on: closed at its moment, with what was known beside them.

They come from a parquet file in the layout of recorded candles, from a folder of such files, from a data store
(``tradebot data fetch``), or from an exchange's REST interface. Candles longer than those there are made of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tradebot.errors import DataError
from tradebot.forecasters.base import CandleColumns
from tradebot.jobs import CandleSource, ParquetSource
from tradebot.market.candle import DAY_MS, INTERVAL_MS, interval_start
from tradebot.training import source_files, source_rest, source_store
from tradebot.training.sides import with_sides

Say = Callable[[str], None]
"""Told in a line each what was found beside the candles, and what could not be used."""


def load_candles(
    source: CandleSource, symbol: str, interval: str, *, as_of_ms: int, days: int, say: Say = lambda text: None
) -> CandleColumns:
    """Candles of ``interval`` that had closed at ``as_of_ms``, at most ``days`` back, oldest first, with side columns.

    A shorter history is returned as it is; whether it suffices is the dataset's question. Raises DataError when
    there is none, ExchangeError when the exchange does not give it.
    """
    bar_ms = INTERVAL_MS[interval]
    end_ms = interval_start(as_of_ms, bar_ms)
    start_ms = end_ms - days * DAY_MS
    if not isinstance(source, ParquetSource):
        where = source.url
        columns, beside = asyncio.run(source_rest.read(where, symbol, interval, start_ms, end_ms))
    elif source_store.is_store(path := Path(source.path)):
        where = str(path)
        columns, beside = source_store.read(path, symbol, interval, start_ms, end_ms)
    else:
        columns, beside, own = source_files.read(path, symbol, interval, end_ms)
        where = str(own)
    columns = columns.where((columns.open_ms >= start_ms) & (columns.open_ms + bar_ms <= end_ms))
    if len(columns) == 0:
        raise DataError(f"{where}: holds no {interval} candle of {symbol} in the {days} days before the job's moment")
    for note in beside.notes:
        say(note)
    return with_sides(columns, symbol, beside, bar_ms)
