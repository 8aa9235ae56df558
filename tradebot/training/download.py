"""The candles of many symbols, and their funding, from an exchange into a folder of files, many at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.data.sources.bitget import BitgetHistory
from tradebot.errors import DataError, TradebotError
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.forecasters.base import CandleColumns
from tradebot.ops.files import disk_error, replacing
from tradebot.training.sides import LEADERS, Reading
from tradebot.training.source_rest import candles_as_live, funding

MOST_AT_ONCE = 20
LOOK_S = 0.1
"""Time between looks whether to stop."""

OnDone = Callable[[str, int, int, str], None]
"""Told of each symbol that is over: its name, how many are, of how many, and what was wrong (empty: nothing)."""


def download(
    url: str,
    symbols: Sequence[str],
    interval: str,
    start_ms: int,
    end_ms: int,
    folder: Path,
    on_done: OnDone,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, TradebotError]:
    """``SYMBOL.parquet`` for every symbol and for the leaders, ``funding.parquet`` for all; files that are there
    already are kept. Gives the symbols that could not be had, or not be written, and why. Once ``stop`` says so no more
    is asked for, what has come is kept, and no funding is written."""
    return asyncio.run(_download(url, symbols, interval, start_ms, end_ms, folder, on_done, stop))


async def _download(
    url: str,
    symbols: Sequence[str],
    interval: str,
    start_ms: int,
    end_ms: int,
    folder: Path,
    on_done: OnDone,
    stop: Callable[[], bool],
) -> dict[str, TradebotError]:
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
                        found = await candles_as_live(rest, symbol, interval, start_ms, end_ms)
                        if not len(found):
                            raise DataError(f"{url}: has no {interval} candles of {symbol} in that time")
                        write_candles(path, found)
                    if symbol in symbols:
                        rates[symbol] = await funding(history, symbol, start_ms)
                except TradebotError as error:
                    problem = str(error)
                    if symbol in symbols and not path.exists():
                        failed[symbol] = error
            over += 1
            on_done(symbol, over, len(wanted), problem)

        await _until(stop, asyncio.gather(*(one(symbol) for symbol in wanted)))
    if rates and not stop():
        try:
            _write(folder / "funding.parquet", _funding_table(rates))
        except TradebotError as error:
            failed |= dict.fromkeys(rates, error)
    return failed


async def _until(stop: Callable[[], bool], work: asyncio.Future[list[None]]) -> None:
    """Wait for ``work``; cancel it once ``stop`` says so."""
    while not (await asyncio.wait((work,), timeout=LOOK_S))[0]:
        if stop():
            work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error("make", path.parent, error) from error
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd")
