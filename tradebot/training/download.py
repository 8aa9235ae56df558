"""The candles of many symbols, and their funding, from an exchange into a folder of files, many at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.data.sources.bitget import BitgetHistory
from tradebot.errors import DataError, ExchangeError, TradebotError
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.forecasters.base import CandleColumns
from tradebot.market.candle import INTERVAL_MS
from tradebot.ops.files import disk_error, fsync_directory
from tradebot.training.sides import LEADERS, Reading
from tradebot.training.source_rest import columns_of, funding

MOST_AT_ONCE = 20
LOOK_S = 0.1
"""Between looks at whether to stop."""

OnDone = Callable[[str, int, int, str], None]
"""Told of each symbol that is over: its name, how many are, of how many, and what was wrong (empty: nothing)."""


def download(
    url: str, symbols: Sequence[str], interval: str, start_ms: int, end_ms: int, folder: Path, on_done: OnDone,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, TradebotError]:  # fmt: skip
    """``SYMBOL.parquet`` for every symbol and for the leaders, ``funding.parquet`` for all; files that are there
    already are kept. Gives the symbols that could not be had, and why. Once ``stop`` says so, what has not come is
    left, and no funding is written. Raises BusyError when the disk is full."""
    try:
        return asyncio.run(_download(url, symbols, interval, start_ms, end_ms, folder, on_done, stop))
    except ExceptionGroup as several:  # of a group of tasks; nothing in it is a group itself
        raise several.exceptions[0] from None


async def _download(
    url: str, symbols: Sequence[str], interval: str, start_ms: int, end_ms: int, folder: Path, on_done: OnDone,
    stop: Callable[[], bool],
) -> dict[str, TradebotError]:  # fmt: skip
    wanted = list(dict.fromkeys((*symbols, *LEADERS.values())))
    gate = asyncio.Semaphore(MOST_AT_ONCE)
    failed: dict[str, TradebotError] = {}
    rates: dict[str, Reading] = {}
    over = 0
    async with BitgetRest(url) as rest:
        history = BitgetHistory(rest)

        async def one(symbol: str) -> None:
            nonlocal over
            path = folder / f"{symbol}.parquet"
            problem = ""
            async with gate:
                try:
                    if not path.exists():
                        rows = await rest.candles(symbol, interval, start_ms, end_ms)
                        if not rows:
                            raise DataError(f"{url}: has no {interval} candles of {symbol} in that time")
                        write_candles(path, columns_of(rows, end_ms, INTERVAL_MS[interval]))
                    if symbol in symbols:
                        rates[symbol] = await funding(history, symbol, start_ms)
                except (ExchangeError, DataError) as error:
                    problem = str(error)
                    if symbol in symbols and not path.exists():
                        failed[symbol] = error
            over += 1
            on_done(symbol, over, len(wanted), problem)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(symbol)) for symbol in wanted]
            while not stop() and (await asyncio.wait(tasks, timeout=LOOK_S))[1]:
                pass
            for task in tasks:
                task.cancel()
    if rates and not stop():
        _write(folder / "funding.parquet", _funding_table(rates))
    return failed


def write_candles(path: Path, candles: CandleColumns) -> None:
    """Candles as a file in the layout of recorded ones, at once or not at all."""
    columns = {
        "open_time": candles.open_ms, "open": candles.open, "high": candles.high, "low": candles.low,
        "close": candles.close, "volume": candles.volume,
    }  # fmt: skip
    _write(path, pa.table(columns))


def _funding_table(rates: dict[str, Reading]) -> pa.Table:
    names = sorted(rates)
    return pa.table(
        {
            "symbol": np.repeat(names, [len(rates[name].at_ms) for name in names]),
            "funding_time": np.concatenate([rates[name].at_ms for name in names]),
            "funding_rate": np.concatenate([rates[name].value for name in names]),
        }
    )


def _write(path: Path, table: pa.Table) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error("write", path, error) from error
