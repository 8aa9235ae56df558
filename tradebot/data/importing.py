"""Taking recorded parquet files into the store: candles, order books, trades and funding in the layout of files.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tradebot.data.channels import book_columns, channel_of
from tradebot.data.checks import HARMLESS, SAYS, row_faults
from tradebot.data.columns import Ints, ParquetColumns, plural, times, utc
from tradebot.data.files import CANDLE_COLUMNS, FUNDING_COLUMNS, TRADE_COLUMNS, FileKind, file_kind, split_argument
from tradebot.data.merge import contradiction
from tradebot.data.partition import date_of
from tradebot.data.plan import Series
from tradebot.data.store import Store
from tradebot.errors import DataError
from tradebot.market.candle import DAY_MS, INTERVAL_MS

MARKETS = ("perp", "spot", "coinm")
_WORD = re.compile(r"[A-Z0-9]{2,30}")


@dataclass(frozen=True, slots=True)
class Taken:
    """What one series of a file brought: rows in the file, new ones, and lines about those that contradict."""

    path: Path
    series: Series
    rows: int
    added: int
    problems: tuple[str, ...]


def parquet_files(arguments: Sequence[str]) -> list[str]:
    """The arguments with every folder replaced by the parquet files below it. Raises DataError for what is not there.

    An argument is ``PATH`` or ``SYMBOL=PATH``.
    """
    found: list[str] = []
    for argument in arguments:
        symbol, path = split_argument(argument)
        if path.is_dir():
            inside = sorted(str(file) for file in path.rglob("*.parquet"))
            if symbol is not None or not inside:
                what = "a folder, name one file" if symbol is not None else "holds no parquet file"
                raise DataError(f"{path}: {what}")
            found += inside
        elif not path.exists():
            raise DataError(f"{path}: no such file; check the path")
        else:
            found.append(argument)
    return found


def market_of(path: Path, exchange: str | None = None, symbol: str | None = None) -> tuple[str, str]:
    """Exchange and symbol of a file, as given, else by its name; the symbol is empty where the name has none.

    >>> market_of(Path("multivenue_20240808_binance_BTCUSD_coinm_1s_l10.parquet"))
    ('binance-coinm', 'BTCUSD')
    >>> market_of(Path("bybit_perp_funding.parquet"))
    ('bybit-perp', '')
    >>> market_of(Path("mine.parquet"), "bitget", "SOLUSDT")
    ('bitget', 'SOLUSDT')

    Raises DataError when neither tells the exchange.
    """
    words = path.stem.split("_")
    at = next((i for i, word in enumerate(words) if word in MARKETS and i), None)
    if at is not None:
        named = at >= 2 and _WORD.fullmatch(words[at - 1])
        symbol = symbol or (words[at - 1] if named else "")
        venue = words[at - 2] if named else words[at - 1]
        exchange = exchange or ("bitget" if (venue, words[at]) == ("bitget", "perp") else f"{venue}-{words[at]}")
    if exchange is None:
        raise DataError(
            f"{path}: its name does not tell the exchange; add --exchange, for instance --exchange binance-perp, "
            "or name it like binance_BTCUSDT_perp_5m.parquet"
        )
    return exchange, symbol or ""


def import_parquet(store: Store, argument: str, exchange: str | None = None) -> Iterator[Taken]:
    """Take one file (``PATH`` or ``SYMBOL=PATH``) in, series by series; taking it in again changes nothing.

    Gaps are taken as they are (verification tells of them); a day of candles without one is complete. Raises DataError
    when the file has rows that cannot be right: then nothing of it is taken.
    """
    given, path = split_argument(argument)
    kind = file_kind(path)
    venue, symbol = market_of(path, exchange, given)
    if kind != "funding" and not symbol:
        raise DataError(f"{path}: its name does not tell the symbol; say it as SYMBOL={path}")
    for series, table in _series(kind, ParquetColumns(path), venue, symbol):
        channel = channel_of(series.channel)
        rows = channel.conform(table, str(path))
        wrong = [found for found in row_faults(channel, rows, None, DAY_MS) if found.fault not in HARMLESS]
        if wrong:
            raise DataError(
                f"{path}: {plural(wrong[0].rows, 'row')} {SAYS[wrong[0].fault]}, first at {utc(wrong[0].first_ms)}; "
                "drop or mend those rows, nothing of the file was taken"
            )
        complete = _whole_days(rows[channel.time].to_numpy(), channel.step_ms) if kind == "candles" else set()
        written = store.write_days(
            series.exchange, series.channel, series.symbol, rows, complete=complete, source=f"import {path.name}"
        )
        problems = (contradiction(str(series), written.differing),) if written.differing else ()
        yield Taken(path, series, rows.num_rows, written.added, problems)


def _series(kind: FileKind, file: ParquetColumns, exchange: str, symbol: str) -> Iterator[tuple[Series, pa.Table]]:
    path = file.path
    if kind == "funding":
        file.require(FUNDING_COLUMNS, "funding rates")
        table = file.table(FUNDING_COLUMNS)
        names = np.array(table["symbol"].to_pylist(), dtype=object)
        for name in sorted(set(names.tolist())):
            if symbol in ("", name):
                rows = table.filter(pa.array(names == name)).drop_columns(["symbol"])
                yield Series(exchange, "funding", str(name)), rows.sort_by("funding_time")
        return
    if kind == "trades":
        file.require(TRADE_COLUMNS, "trades")
        optional = [name for name in ("trade_id", "buyer_is_maker") if name in file.names]
        yield Series(exchange, "trade", symbol), file.table([*TRADE_COLUMNS, *optional])
        return
    time, noun = ("open_time", "candle") if kind == "candles" else ("ts_ms", "book row")
    columns: Sequence[str] = CANDLE_COLUMNS + (("quote_volume",) if "quote_volume" in file.names else ())
    levels = 0
    if kind == "books":
        levels = sum(re.fullmatch(r"ask_px_\d+", name) is not None for name in file.names)
        columns = ["ts_ms", *book_columns(levels), *(name for name in ("age_ms", "stale") if name in file.names)]
    file.require(columns, f"{noun}s")
    table = file.table(columns)
    if table.num_rows < 2:
        raise DataError(f"{path}: holds {plural(table.num_rows, noun)}; at least 2 are needed")
    step = int(np.median(np.diff(times(table, time, path, what=noun, repeats=False))))
    if kind == "candles":
        interval = next((name for name, length in INTERVAL_MS.items() if length == step), None)
        if interval is None:
            raise DataError(f"{path}: candles are {step / 1000:g} s apart, which is no known interval; resample them")
        yield Series(exchange, f"candle_{interval}", symbol), table
    else:
        if step % 1000 or not step:
            raise DataError(f"{path}: book rows are {step} ms apart, not whole seconds; sample them on such a grid")
        yield Series(exchange, f"book_{step // 1000}s_l{levels}", symbol), table


def _whole_days(at: Ints, step_ms: int | None) -> set[str]:
    """The days that have every row of the grid."""
    days, rows = np.unique(at // DAY_MS, return_counts=True)
    return {date_of(int(day) * DAY_MS) for day in days[rows * (step_ms or 0) == DAY_MS].tolist()}
