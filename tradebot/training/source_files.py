"""Recorded candles: a parquet file, or the right one of a folder, and the files that lie beside it.

Beside ``bybit_SOLUSDT_perp_5m.parquet`` are ``bybit_BTCUSDT_perp_5m.parquet``, ``bybit_ETHUSDT_perp_5m.parquet`` and
``bybit_perp_funding.parquet``; beside ``SOLUSDT.parquet``, ``BTCUSDT.parquet``, ``ETHUSDT.parquet`` and
``funding.parquet``.
"""

from __future__ import annotations

from pathlib import Path

from tradebot.data.files import CandleTable, read_candles, read_funding, symbol_of
from tradebot.errors import DataError
from tradebot.forecasters.base import CandleColumns
from tradebot.market.candle import INTERVAL_MS
from tradebot.market.resample import resampled
from tradebot.training.sides import LEADERS, Beside, Reading


def read(path: Path, symbol: str, interval: str, end_ms: int) -> tuple[CandleColumns, Beside, Path]:
    """The candles of ``symbol`` as ``interval``, what lies beside them, and the file they are from.

    Raises DataError when the folder has none of the symbol, the file's name tells another symbol, or the file's
    candles are no part of the interval.
    """
    bar_ms = INTERVAL_MS[interval]
    told = None if path.is_dir() else symbol_told(path)
    if told not in (None, symbol):
        raise DataError(f"{path}: holds candles of {told}, not of {symbol}; give the file of {symbol}")
    own = file_of(path, symbol, bar_ms, end_ms) if path.is_dir() else path
    columns = as_interval(read_candles(own), bar_ms)
    return columns, _beside(own, symbol, bar_ms), own


def symbol_told(path: Path) -> str | None:
    """The symbol that a file's name tells; None where it tells none."""
    try:
        return symbol_of(path)[0]
    except DataError:
        return None


def symbols_in(folder: Path) -> list[str]:
    """The symbols that have a file of candles in ``folder``."""
    return sorted({symbol for symbol, _ in _candidates(folder)})


def file_of(folder: Path, symbol: str, bar_ms: int, end_ms: int) -> Path:
    """The file of ``symbol`` in ``folder``: the one of its name, else of those whose candles make up ``bar_ms`` the one
    that has most of the time before ``end_ms``, longer candles first. One that cannot be read counts only where
    there is no other."""
    named = folder / f"{symbol}.parquet"
    if named.exists():
        return named
    fitting: list[tuple[int, int, int, Path]] = []
    problem: DataError | None = None
    for found, path in _candidates(folder):
        if found != symbol:
            continue
        try:
            table = read_candles(path)
        except DataError as error:
            problem = error
            continue
        if bar_ms % table.interval_ms == 0:
            reach = min(table.end_ms, end_ms)
            fitting.append((reach, table.interval_ms, len(table.open_time), path))
    if not fitting:
        raise problem or DataError(
            f"{folder}: has no candles of {symbol} that {bar_ms // 60_000}m candles can be made of"
        )
    return max(fitting)[-1]


def as_interval(table: CandleTable, bar_ms: int) -> CandleColumns:
    """A file's candles as those of ``bar_ms``. Raises DataError when they are longer, or no part of it."""
    if bar_ms % table.interval_ms:
        raise DataError(
            f"{table.path}: candles are {table.interval_ms // 1000} s long, the model needs {bar_ms // 1000} s"
        )
    made = resampled(
        table.open_time, table.open, table.high, table.low, table.close, table.volume,
        part_ms=table.interval_ms, whole_ms=bar_ms,
    )  # fmt: skip
    return CandleColumns(made.open_ms, made.open, made.high, made.low, made.close, made.volume)


def _candidates(folder: Path) -> list[tuple[str, Path]]:
    found = []
    for path in sorted(folder.glob("*.parquet")):
        if "funding" in path.stem:
            continue
        try:
            found.append((symbol_of(path)[0], path))
        except DataError:
            continue
    return found


def _beside(own: Path, symbol: str, bar_ms: int) -> Beside:
    beside = Beside()
    before, named, after = own.name.partition(symbol)
    if not named:
        return beside
    for leader in LEADERS.values():
        path = own.with_name(before + leader + after)
        if leader == symbol or not path.exists():
            continue
        try:
            beside.candles[leader] = as_interval(read_candles(path), bar_ms)
            beside.notes.append(f"{leader} beside {symbol}: {path}")
        except DataError as error:
            beside.notes.append(f"{leader} is left out: {error}")
    path = own.with_name(f"{before}perp_funding.parquet" if before else "funding.parquet")
    if path.exists():
        try:
            rates = read_funding(path).rates.get(symbol)
            if rates is not None:
                beside.readings["funding"] = Reading(*rates)
                beside.notes.append(f"funding of {symbol}: {path}")
        except DataError as error:
            beside.notes.append(f"funding is left out: {error}")
    return beside
