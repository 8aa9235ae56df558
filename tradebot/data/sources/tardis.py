"""Recorded order books from Tardis (docs.tardis.dev, downloadable CSV files, data type ``book_snapshot_25``).

One gzip-compressed CSV file for each symbol and UTC day: ``exchange, symbol, timestamp, local_timestamp`` (µs since
the epoch) and ``asks[i].price, asks[i].amount, bids[i].price, bids[i].amount`` for i = 0 … 24, best first, a row at
every change of these levels. Empty where there are fewer levels. An API key is needed.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import numpy as np
import pyarrow as pa
import pyarrow.csv

from tradebot.data.channels import book_columns
from tradebot.data.columns import Floats, Ints
from tradebot.data.grid import BookGrid, blocks
from tradebot.data.partition import day_start
from tradebot.errors import AuthRefused, DataError, RateLimited, Rejected, Unavailable
from tradebot.exchange.loopback import on_loopback
from tradebot.market.candle import DAY_MS

EXCHANGES = {
    "bitget": "bitget-futures",
    "binance-perp": "binance-futures",
    "binance-spot": "binance",
    "bybit-perp": "bybit",
    "bybit-spot": "bybit-spot",
}
"""The store's exchange names and Tardis' ids."""
LEVELS = 25
MAX_AGE_MS = 10_000
"""Rows whose snapshot is older are left out: the recording stood still."""
BLOCK_BYTES = 16 << 20
FILE_MB = 100
"""Size of a day of a liquid perpetual, for the projection only."""
LINK_MB_PER_SECOND = 12.5
"""Speed of the connection, for the projection only."""


@dataclass(frozen=True, slots=True)
class BookDay:
    """A day of books on the grid. ``dropped``: snapshots left out for fewer levels or a crossed book."""

    table: pa.Table
    snapshots: int
    dropped: int


class TardisBooks:
    """Days of order books. Raises ``AuthRefused`` for the key, ``Rejected`` where Tardis has no such file,
    ``RateLimited`` and ``Unavailable`` when it stays busy or away, ``DataError`` for a file in another format.

    Use as ``async with``.
    """

    def __init__(self, url: str, key: str, *, step_ms: int, levels: int, timeout_s: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}
        self._step_ms, self._levels = step_ms, levels
        # a file may take long as a whole, silence may not
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        self._local = on_loopback(url)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout, trust_env=not self._local, headers=self._headers, auto_decompress=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def day(self, exchange: str, symbol: str, date: str) -> BookDay:
        """The books of one UTC day, the row at its end included and the one at its beginning not."""
        target = f"{self._url}/v1/{EXCHANGES[exchange]}/book_snapshot_25/{date.replace('-', '/')}/{symbol}.csv.gz"
        with tempfile.TemporaryDirectory(prefix="tradebot-tardis-") as folder:
            file = Path(folder) / "day.csv.gz"
            await self._download(target, file, f"Tardis books of {symbol} on {exchange}, {date}")
            return await asyncio.to_thread(sample, file, date, self._step_ms, self._levels)

    async def _download(self, target: str, file: Path, what: str) -> None:
        if self._session is None:
            raise RuntimeError("use TardisBooks as 'async with'")
        try:
            async with self._session.get(target) as response:
                if response.status != 200:
                    raise _refusal(response.status, what)
                expected, came = response.content_length, 0
                with file.open("wb") as out:
                    async for chunk in response.content.iter_chunked(1 << 20):
                        came += await asyncio.to_thread(out.write, chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{what}: no answer ({str(error) or type(error).__name__})") from error
        if expected is not None and came != expected:
            raise Unavailable(f"{what}: only {came} of {expected} bytes came")


def _refusal(status: int, what: str) -> AuthRefused | Rejected | RateLimited | Unavailable:
    code = str(status)
    if status in (401, 403):
        return AuthRefused(f"{what}: the key is refused (HTTP {status}); check the Tardis key and its plan", code=code)
    if status == 429:
        return RateLimited(f"{what}: too many requests", code=code)
    if 400 <= status < 500:
        return Rejected(f"{what}: not there (HTTP {status}); check the symbol and the date", code=code)
    return Unavailable(f"{what}: HTTP {status}", code=code)


def sample(file: Path, date: str, step_ms: int, levels: int) -> BookDay:
    """A ``book_snapshot_25`` file as rows of its best ``levels`` on the grid, by Tardis' receive clock."""
    grid = BookGrid(step_ms, MAX_AGE_MS)
    counts = [0, 0]

    def sampled() -> Iterator[tuple[Ints, Ints, Floats]]:
        for received_us, values in _snapshots(file, levels):
            asks, bids = values[:, 0], values[:, 2]
            whole = np.isfinite(values).all(axis=1) & (asks >= bids)
            counts[0] += received_us.size
            counts[1] += int(received_us.size - whole.sum())
            yield grid.take(received_us[whole], values[whole])
        yield grid.close(day_start(date) + DAY_MS)

    times, ages, values = blocks(sampled())
    columns = {name: values[:, i] if times.size else np.empty(0) for i, name in enumerate(book_columns(levels))}
    return BookDay(pa.table({"ts_ms": times, **columns, "age_ms": ages}), counts[0], counts[1])


def _snapshots(file: Path, levels: int) -> Iterator[tuple[Ints, Floats]]:
    names = [f"{side}[{i}].{what}" for i in range(levels) for side in ("asks", "bids") for what in ("price", "amount")]
    try:
        with pa.csv.open_csv(
            file,
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES),
            convert_options=pa.csv.ConvertOptions(
                include_columns=["local_timestamp", *names],
                column_types={"local_timestamp": pa.int64(), **dict.fromkeys(names, pa.float64())},
                null_values=[""],
            ),
        ) as reader:
            for batch in reader:
                values = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in names], axis=1)
                yield batch["local_timestamp"].to_numpy(zero_copy_only=False).astype(np.int64), values
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file.name}: not a book_snapshot_25 file of Tardis ({reason})") from None
