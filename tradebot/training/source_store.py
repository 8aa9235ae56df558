"""Candles and what was known beside them from a data store (``tradebot data fetch``)."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tradebot.data.files import candles_of
from tradebot.data.store import Store
from tradebot.errors import DataError
from tradebot.forecasters.base import CandleColumns
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.training.sides import LEADERS, Beside, Reading
from tradebot.training.source_files import as_interval


def is_store(path: Path) -> bool:
    """Whether a folder is the root of a data store: ``EXCHANGE/candle_…/SYMBOL/DAY.parquet``."""
    return path.is_dir() and any(path.glob("*/candle_*"))


def symbols_in(path: Path) -> list[str]:
    """The symbols whose candles a store holds."""
    return sorted({folder.name for folder in path.glob("*/candle_*/*") if folder.is_dir()})


def read(path: Path, symbol: str, interval: str, start_ms: int, end_ms: int) -> tuple[CandleColumns, Beside]:
    """Candles of ``interval`` and what lies beside them, between two moments. Raises DataError."""
    store, bar_ms = Store(path), INTERVAL_MS[interval]
    exchange, channel = _where(path, symbol, bar_ms)
    beside = Beside()
    columns = _candles(store, exchange, channel, symbol, bar_ms, start_ms, end_ms)
    for leader in LEADERS.values():
        if leader != symbol and (path / exchange / channel / leader).is_dir():
            try:
                beside.candles[leader] = _candles(store, exchange, channel, leader, bar_ms, start_ms, end_ms)
                beside.notes.append(f"{leader} beside {symbol}: {exchange}/{channel}")
            except DataError as error:
                beside.notes.append(f"{leader} is left out: {error}")
    for name, kind, time, column, later_ms in (
        ("funding", "funding", "funding_time", "funding_rate", 0),
        ("open_interest", "open_interest", "ts_ms", "size", 0),
        ("mark", "ticker", "ts_ms", "mark_px", 0),
        ("index", "ticker", "ts_ms", "index_px", 0),
        ("mark", f"mark_{channel}", "open_time", "close", INTERVAL_MS[channel.removeprefix("candle_")]),
    ):
        rows = store.read(exchange, kind, symbol, start_ms - DAY_MS, end_ms)
        if rows.num_rows and column in rows.column_names:
            beside.readings[name] = Reading(rows[time].to_numpy() + later_ms, rows[column].to_numpy())
            beside.notes.append(f"{name} of {symbol}: {exchange}/{kind}")
    return columns, beside


def _candles(
    store: Store, exchange: str, channel: str, symbol: str, bar_ms: int, start_ms: int, end_ms: int
) -> CandleColumns:
    rows: pa.Table = store.read(exchange, channel, symbol, start_ms, end_ms)
    return as_interval(candles_of(rows, Path(f"{store.root}/{exchange}/{channel}/{symbol}")), bar_ms)


def _where(path: Path, symbol: str, bar_ms: int) -> tuple[str, str]:
    """The exchange and the channel with the longest candles that make up ``bar_ms``; Bitget's before others'."""
    found = []
    for folder in path.glob(f"*/candle_*/{symbol}"):
        part_ms = INTERVAL_MS.get(folder.parent.name.removeprefix("candle_"), 0)
        if part_ms and bar_ms % part_ms == 0:
            exchange = folder.parent.parent.name
            found.append((exchange == "bitget", part_ms, exchange, folder.parent.name))
    if not found:
        raise DataError(
            f"{path}: has no candles of {symbol} that {bar_ms // 60_000}m candles can be made of; "
            f"fetch them: tradebot data fetch --symbol {symbol}"
        )
    return max(found)[2:]
