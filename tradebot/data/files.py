"""Recorded market files: candles, order books, trades, funding. Every row is checked before anyone uses it.

All times are ms since the epoch (UTC). Every reader raises DataError with one line that says which file, what is
wrong, how often, where first, and what to do. Candles, books and trades may lie in several files
(:mod:`tradebot.data.joined`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from tradebot.data.channels import book_columns
from tradebot.data.columns import (
    NEWEST_MS,
    OLDEST_MS,
    Flags,
    Floats,
    Ints,
    ParquetColumns,
    flags,
    numbers,
    plural,
    refuse,
    texts,
    times,
    utc,
    whole_numbers,
)
from tradebot.data.joined import joined, name_of
from tradebot.errors import DataError
from tradebot.market.candle import INTERVAL_MS, interval_start

FileKind = Literal["candles", "books", "trades", "funding"]

CANDLE_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
TRADE_COLUMNS = ("recv_ms", "trade_ms", "price", "size")
FUNDING_COLUMNS = ("symbol", "funding_time", "funding_rate")


@dataclass(frozen=True, slots=True)
class CandleTable:
    """Candles of one market: evenly spaced, without gap or duplicate.

    ``open_time`` int64 ms; prices and ``volume`` (base coin) float64; ``interval_ms`` from the median step.
    """

    path: Path
    interval_ms: int
    open_time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @property
    def end_ms(self) -> int:
        """When the last candle has ended."""
        return int(self.open_time[-1]) + self.interval_ms


@dataclass(frozen=True, slots=True)
class BookTable:
    """Order-book rows of one market. Row ``i`` is the state just before ``ts_ms[i]``.

    ``ask_px`` and the others have shape (rows, levels), best level first. Times may leave out rows. ``age_ms`` is the
    age of the snapshot at that instant, where recorded.
    """

    path: Path
    ts_ms: Ints
    ask_px: Floats
    ask_sz: Floats
    bid_px: Floats
    bid_sz: Floats
    age_ms: Ints | None


@dataclass(frozen=True, slots=True)
class TradeTable:
    """Public trades, sorted by receive time. ``buyer_is_maker`` where the venue tells (True: the taker sold)."""

    path: Path
    recv_ms: Ints
    trade_ms: Ints
    price: Floats
    size: Floats
    buyer_is_maker: Flags | None


@dataclass(frozen=True, slots=True)
class FundingTable:
    """Settled funding of several symbols: symbol → (settlement times in ms, rates), sorted by time."""

    path: Path
    rates: dict[str, tuple[Ints, Floats]]


def file_kind(path: str | Path) -> FileKind:
    """What a parquet file holds, by its columns. Raises DataError when it is none of the four."""
    names = set(ParquetColumns(path).names)
    if {"ts_ms", "ask_px_1", "bid_px_1"} <= names:
        return "books"
    if {"open_time", "open", "close"} <= names:
        return "candles"
    if {"funding_time", "funding_rate"} <= names:
        return "funding"
    if {"recv_ms", "price", "size"} <= names:
        return "trades"
    raise DataError(
        f"{path}: no market data this program knows (columns {', '.join(sorted(names)[:8])}); expected candles "
        f"({', '.join(CANDLE_COLUMNS)}) or order books (ts_ms, ask_px_1, ask_sz_1, bid_px_1, bid_sz_1, …)"
    )


def read_candles(path: str | Path, *more: str | Path) -> CandleTable:
    """Candles from ``open_time, open, high, low, close, volume``, of one file or of several that follow each other.

    Raises DataError for anything that would mislead a model: rows out of order, duplicates, gaps, values that are
    not finite, prices that are not positive, a high or low that does not bound its candle.
    """
    files = _opened((path, *more), CANDLE_COLUMNS, "candles")
    return candles_of(*joined(files, CANDLE_COLUMNS, time="open_time"))


def _opened(paths: Sequence[str | Path], names: Sequence[str], what: str) -> list[ParquetColumns]:
    files = [ParquetColumns(path) for path in paths]
    for file in files:
        file.require(names, what)
    return files


def candles_of(table: pa.Table, path: Path) -> CandleTable:
    """The columns of ``table`` as candles, checked as :func:`read_candles` says; ``path`` names them in errors."""
    if table.num_rows < 2:
        raise DataError(f"{path}: holds {plural(table.num_rows, 'candle')}; at least 2 are needed")
    open_time = times(table, "open_time", path, what="candle", repeats=False)
    interval_ms = _candle_interval(open_time, path)
    o, h, l, c, v = (numbers(table, name, path) for name in CANDLE_COLUMNS[1:])
    finite = np.isfinite(o) & np.isfinite(h) & np.isfinite(l) & np.isfinite(c) & np.isfinite(v)
    refuse(~finite, open_time, path, "a value that is not finite", "download those candles again")
    refuse((o <= 0) | (h <= 0) | (l <= 0) | (c <= 0), open_time, path, "a price that is not positive", "remove them")
    refuse(v < 0, open_time, path, "a negative volume", "download those candles again")
    outside = (h < np.maximum(o, c)) | (l > np.minimum(o, c))
    refuse(outside, open_time, path, "open or close outside [low, high]", "download those candles again")
    return CandleTable(path, interval_ms, open_time, o, h, l, c, v)


def _candle_interval(open_time: Ints, path: Path) -> int:
    steps = np.diff(open_time)
    interval_ms = int(np.median(steps))
    if interval_ms not in INTERVAL_MS.values():
        raise DataError(
            f"{path}: candles are {interval_ms / 1000:g} s apart, which is no known interval "
            f"({', '.join(INTERVAL_MS)}); resample the file"
        )
    first = int(open_time[0])
    gaps = np.flatnonzero(steps > interval_ms)
    if gaps.size:
        missing = int((steps[gaps] // interval_ms - 1).sum())
        raise DataError(
            f"{path}: {plural(gaps.size, 'gap')} ({plural(missing, 'missing candle')}), first after "
            f"{utc(int(open_time[gaps[0]]))}; download the missing candles or cut the file at the last gap, "
            f"after {utc(int(open_time[gaps[-1]]))}"
        )
    uneven = np.flatnonzero(steps < interval_ms)
    if uneven.size:
        raise DataError(
            f"{path}: {plural(uneven.size, 'candle')} closer than the interval of {interval_ms // 1000} s, first at "
            f"{utc(int(open_time[uneven[0] + 1]))}; keep one interval per file"
        )
    if interval_start(first, interval_ms) != first:
        raise DataError(
            f"{path}: candles do not start on UTC boundaries of {interval_ms // 1000} s (first at {utc(first)}); "
            "shift or resample the file"
        )
    return interval_ms


def read_books(path: str | Path, *more: str | Path) -> BookTable:
    """Order books from ``ts_ms`` and ``ask_px_i, ask_sz_i, bid_px_i, bid_sz_i`` (i = 1 is the best level).

    Locked rows (best ask = best bid) are accepted: venues that aggregate their price levels publish them. Raises
    DataError for crossed rows, unordered levels, sizes or prices that are not positive and finite, and times out of
    order or repeated. Left-out rows are no error. Several files must have the same number of levels.
    """
    levels = _levels(ParquetColumns(path).names)
    wanted = ["ts_ms", *book_columns(levels)]
    files = _opened((path, *more), wanted, "order books")
    for file in files:
        if _levels(file.names) != levels:
            raise DataError(f"{file.path}: {_levels(file.names)} levels a side, {path} has {levels}; give one depth")
    return books_of(*joined(files, wanted, time="ts_ms", optional=["age_ms"]))


def _levels(names: Sequence[str]) -> int:
    levels = 1
    while f"ask_px_{levels + 1}" in names:
        levels += 1
    return levels


def books_of(table: pa.Table, path: Path) -> BookTable:
    """The columns of ``table`` as books, checked as :func:`read_books` says; ``path`` names them in errors."""
    if table.num_rows < 2:
        raise DataError(f"{path}: holds {plural(table.num_rows, 'book row')}; at least 2 are needed")
    levels = _levels(table.column_names)
    ts_ms = times(table, "ts_ms", path, what="book row", repeats=False)

    def side(name: str) -> Floats:
        values = np.empty((ts_ms.size, levels))
        for i in range(levels):
            values[:, i] = numbers(table, f"{name}_{i + 1}", path)
        refuse(~np.isfinite(values).all(axis=1), ts_ms, path, f"a {name} that is not finite", "drop those rows")
        refuse((values <= 0).any(axis=1), ts_ms, path, f"a {name} that is not positive", "drop those rows")
        values.flags.writeable = False
        return values

    ask_px, ask_sz, bid_px, bid_sz = side("ask_px"), side("ask_sz"), side("bid_px"), side("bid_sz")
    refuse(ask_px[:, 0] < bid_px[:, 0], ts_ms, path, "a crossed book (best ask below best bid)", "drop those rows")
    unordered = (np.diff(ask_px, axis=1) <= 0).any(axis=1) | (np.diff(bid_px, axis=1) >= 0).any(axis=1)
    refuse(unordered, ts_ms, path, "price levels out of order", "sort the levels, best first")
    age = whole_numbers(table, "age_ms", path) if "age_ms" in table.column_names else None
    return BookTable(path, ts_ms, ask_px, ask_sz, bid_px, bid_sz, age)


def read_trades(path: str | Path, *more: str | Path) -> TradeTable:
    """Trades from ``recv_ms, trade_ms, price, size`` and, where every file has it, ``buyer_is_maker``.

    Raises DataError for rows not sorted by ``recv_ms``, times that are not in ms, and prices or sizes that are not
    positive and finite.
    """
    files = _opened((path, *more), TRADE_COLUMNS, "trades")
    return trades_of(*joined(files, TRADE_COLUMNS, time="recv_ms", repeats=True, optional=["buyer_is_maker"]))


def trades_of(table: pa.Table, path: Path) -> TradeTable:
    """The columns of ``table`` as trades, checked as :func:`read_trades` says; ``path`` names them in errors."""
    recv_ms = times(table, "recv_ms", path, what="trade", repeats=True)
    trade_ms = whole_numbers(table, "trade_ms", path)
    strange = (trade_ms < OLDEST_MS) | (trade_ms >= NEWEST_MS)
    refuse(strange, recv_ms, path, "a trade_ms that is not in milliseconds since 1970", "convert it to ms")
    price, size = numbers(table, "price", path), numbers(table, "size", path)
    refuse(~(np.isfinite(price) & np.isfinite(size)), recv_ms, path, "a value that is not finite", "drop those rows")
    refuse((price <= 0) | (size <= 0), recv_ms, path, "a price or size that is not positive", "drop those rows")
    maker = flags(table, "buyer_is_maker", path) if "buyer_is_maker" in table.column_names else None
    return TradeTable(path, recv_ms, trade_ms, price, size, maker)


def read_funding(path: str | Path, *more: str | Path) -> FundingTable:
    """Funding from ``symbol, funding_time, funding_rate`` (a fraction for one period), of one file or several.

    Raises DataError for repeated settlements of one symbol and rates that are not finite.
    """
    files = _opened((path, *more), FUNDING_COLUMNS, "funding rates")
    tables = [funding_of(file.table(FUNDING_COLUMNS), file.path) for file in files]
    rates: dict[str, tuple[Ints, Floats]] = {}
    for symbol in sorted({symbol for table in tables for symbol in table.rates}):
        told = [table.rates[symbol] for table in tables if symbol in table.rates]
        at, rate = np.concatenate([one[0] for one in told]), np.concatenate([one[1] for one in told])
        rates[symbol] = _by_time(at, rate, name_of([file.path for file in files]), symbol)
    return FundingTable(files[0].path, rates)


def funding_of(table: pa.Table, path: Path) -> FundingTable:
    """The columns of ``table`` as funding, checked as :func:`read_funding` says; ``path`` names them in errors."""
    symbols = np.array(texts(table, "symbol", path), dtype=object)
    at, rate = whole_numbers(table, "funding_time", path), numbers(table, "funding_rate", path)
    refuse(~np.isfinite(rate), at, path, "a rate that is not finite", "drop those rows")
    rates: dict[str, tuple[Ints, Floats]] = {}
    for symbol in sorted(set(symbols.tolist())):
        rows = np.flatnonzero(symbols == symbol)
        rates[symbol] = _by_time(at[rows], rate[rows], path, symbol)
    return FundingTable(path, rates)


def _by_time(at: Ints, rate: Floats, path: Path, symbol: str) -> tuple[Ints, Floats]:
    order = np.argsort(at, kind="stable")
    at, rate = at[order], rate[order]
    refuse(np.diff(at, prepend=0) == 0, at, path, f"a repeated settlement of {symbol}", "keep one each")
    return at, rate


_QUOTED = re.compile(r"^([A-Z0-9]{1,15}?)(USDT|USDC|USD)$")
_COIN = re.compile(r"^[A-Z][A-Z0-9]{1,9}$")
_OTHER_QUOTES = ("BTC", "ETH", "EUR", "BNB")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\.parquet")
_ARGUMENT = re.compile(r"^([A-Za-z0-9]+)=(.+)$")


def split_argument(argument: str | Path) -> tuple[str | None, Path]:
    """A command-line argument ``PATH`` or ``SYMBOL=PATH`` as symbol (None: not said) and path.

    A file that exists under the whole text is a path, whatever its name holds.
    """
    named = _ARGUMENT.match(str(argument))
    if named and not Path(argument).exists():
        return named[1].upper(), Path(named[2])
    return None, Path(argument)


def symbol_of(argument: str | Path) -> tuple[str, Path]:
    """The symbol (``…USDT``) and the path that a command-line argument means.

    ``SYMBOL=PATH`` says it outright; otherwise the file's name does, of a day in the store (``EXCHANGE/CHANNEL/SYMBOL/
    YYYY-MM-DD.parquet``) its folders', dollar quotes counting as USDT.

    >>> symbol_of("candles/bybit_SOLUSDT_perp_5m.parquet")[0]
    'SOLUSDT'
    >>> symbol_of("standx_BTCUSD_perp_20260105_1s_l10.parquet")[0]
    'BTCUSDT'
    >>> symbol_of("hyperliquid_SOL_perp_20250904_1s_l10.parquet")[0]
    'SOLUSDT'
    >>> symbol_of("data/bitget/book_1s_l10/SOLUSDT/2026-01-05.parquet")[0]
    'SOLUSDT'
    >>> symbol_of("ETHUSDT=my.parquet")[0]
    'ETHUSDT'

    Raises DataError when the name tells no symbol, or tells a market that is not margined in dollars.
    """
    symbol, path = split_argument(argument)
    if symbol is not None:
        if not re.fullmatch(r"[A-Z0-9]{1,15}USDT", symbol):
            raise DataError(f"{argument}: {symbol} is no USDT symbol; write for instance SOLUSDT={path}")
        return symbol, path
    remedy = f"say it as SYMBOL=PATH, for instance SOLUSDT={path.name}"
    exchange, _, folder = ("", "", "", *path.absolute().parts)[-4:-1]
    stored = bool(_DAY.fullmatch(path.name))
    words = _words(folder if stored else path.name.upper().removesuffix(".PARQUET"))
    if "COINM" in words or (stored and "COINM" in _words(exchange)):
        raise DataError(f"{path}: a coin-margined market, its sizes are contracts; to use it all the same {remedy}")
    for word in words:
        quoted = _QUOTED.match(word)
        if quoted:
            return f"{quoted[1]}USDT", path
    for coin, follower in pairwise(words):
        crossed = len(coin) > 5 and coin.endswith(_OTHER_QUOTES)
        if follower in ("PERP", "SPOT", "SWAP") and _COIN.match(coin) and not crossed:
            return f"{coin}USDT", path
    raise DataError(f"{path}: cannot tell the symbol from the file name; {remedy}")


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^A-Z0-9]+", name.upper()) if word]
