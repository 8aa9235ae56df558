"""Writing stored rows as files for other programs: DeepLOB arrays and CSV. A day at a time, whatever the length."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tradebot.data import deeplob
from tradebot.data.channels import channel_of
from tradebot.data.checks import gaps, missing_rows
from tradebot.data.columns import Floats
from tradebot.data.deeplob import AHEAD_ROWS, COMPANIONS, Layout
from tradebot.data.folder import Column, Columns, Exported, check_folder, describe_export, file_sha256
from tradebot.data.partition import day_start
from tradebot.data.plan import Series
from tradebot.data.store import Partition, Store
from tradebot.errors import DataError
from tradebot.market.candle import DAY_MS
from tradebot.ops.files import make_private, replacing

Looked = Callable[[str], None]


def _quiet(path: str) -> None:
    """Nobody wants to hear of the days written."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """The stored days of one series that have rows in a stretch, the columns all have, and what their times tell."""

    series: Series
    parts: tuple[Partition, ...]
    names: frozenset[str]
    from_ms: int
    to_ms: int
    rows: int
    first_ms: int
    last_ms: int
    gaps: int
    missing: int

    def stem(self) -> str:
        first, last = (one.date.replace("-", "") for one in (self.parts[0], self.parts[-1]))
        return f"{first}_{last}"


def _survey(store: Store, series: Series, from_ms: int | None, to_ms: int | None) -> _Stored:
    """Raises DataError when nothing is stored."""
    kind = channel_of(series.channel)
    chosen: list[Partition] = []
    times = []
    names = set(kind.schema.names)
    for part in store.partitions(series.exchange, series.channel, series.symbol):
        begin = day_start(part.date)
        if (from_ms is None or begin + DAY_MS > from_ms) and (to_ms is None or begin < to_ms):
            rows = _within(store.load(part.path)[0], kind.time, from_ms, to_ms)
            if rows.num_rows:
                chosen.append(part)
                times.append(rows[kind.time].to_numpy())
                names &= set(rows.column_names)
    if not chosen:
        raise DataError(f"{series}: nothing stored for that time; 'tradebot data ls' shows what there is")
    at = np.concatenate(times)
    first, last = int(at[0]), int(at[-1])
    stretches = gaps(kind, at, first, last + 1)
    return _Stored(
        series,
        tuple(chosen),
        frozenset(names),
        first,
        last + 1,
        int(at.size),
        first,
        last,
        len(stretches),
        missing_rows(kind, stretches),
    )


def _within(table: pa.Table, time: str, from_ms: int | None, to_ms: int | None) -> pa.Table:
    times = table[time].to_numpy()
    first = 0 if from_ms is None else int(times.searchsorted(from_ms))
    last = times.size if to_ms is None else int(times.searchsorted(to_ms))
    return table.slice(first, max(last - first, 0))


def _days(store: Store, what: _Stored, looked: Looked) -> Iterator[pa.Table]:
    time = channel_of(what.series.channel).time
    for part in what.parts:
        yield _within(store.load(part.path)[0], time, what.from_ms, what.to_ms)
        looked(part.path)


def export_deeplob(
    store: Store,
    exchange: str,
    symbol: str,
    folder: Path,
    from_ms: int | None = None,
    to_ms: int | None = None,
    *,
    layout: Layout = "levels",
    looked: Looked = _quiet,
) -> Exported:
    """Write the ``book_1s_l10`` rows with ``from_ms <= time < to_ms`` as an array (:mod:`tradebot.data.deeplob`).

    The file is ``SYMBOL_YYYYMMDD_YYYYMMDD.npy`` (first and last day). Age and stale flag, which the array has no place
    for, become files beside it. Raises DataError when nothing is stored for that time or ``folder`` holds something
    else, BusyError when the disk is full; then nothing changes.
    """
    what = _survey(store, Series(exchange, deeplob.CHANNEL, symbol), from_ms, to_ms)
    columns = Columns(
        exchange=exchange,
        channel=deeplob.CHANNEL,
        symbol=symbol,
        columns=deeplob.described(layout),
        layout=layout,
    )
    name = f"{symbol}_{what.stem()}.npy"
    check_folder(folder, deeplob.FORMAT, columns.columns, name, exchange, deeplob.CHANNEL)
    extras: dict[str, list[Floats]] = {extra: [] for extra in COMPANIONS if extra in what.names}
    make_private(folder)
    with replacing(folder / name) as out:
        _header(out, (what.rows, len(columns.columns)))
        for table, ahead in _ahead(_days(store, what, looked)):
            out.write(deeplob.packed(table, ahead, layout).tobytes())
            for extra, values in extras.items():
                values.append(table[extra].to_numpy(zero_copy_only=False))
    companions = {}
    for extra, values in extras.items():
        beside = f"{symbol}_{what.stem()}.{extra}.npy"
        with replacing(folder / beside) as out:
            np.save(out, np.concatenate(values), allow_pickle=False)
        companions[beside] = file_sha256(folder / beside)
    about = (
        "Order books on a 1 s grid, ten levels, as numpy arrays of shape (N, 43), float64: "
        "`numpy.load(FILE, mmap_mode='r')`. A row is the state just before its time; rows that were not recorded are "
        f"left out, never filled. Layout of the book columns: {layout}."
    )
    exported = _exported(what, name, file_sha256(folder / name), companions)
    describe_export(folder, deeplob.FORMAT, columns, exported, about)
    return exported


def _ahead(tables: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Each table with the rows after it that its returns may need."""
    held: deque[pa.Table] = deque()

    def first() -> tuple[pa.Table, pa.Table]:
        table = held.popleft()
        needed = ["ts_ms", "ask_px_1", "bid_px_1"]
        after = [one.select(needed) for one in held] or [table.select(needed).slice(0, 0)]
        return table, pa.concat_tables(after).slice(0, AHEAD_ROWS)

    for table in tables:
        held.append(table)
        if sum(one.num_rows for one in held) - held[0].num_rows >= AHEAD_ROWS:
            yield first()
    while held:
        yield first()


def _header(out: IO[bytes], shape: tuple[int, int]) -> None:
    np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": shape})


def export_csv(
    store: Store,
    series: Series,
    folder: Path,
    from_ms: int | None = None,
    to_ms: int | None = None,
    *,
    looked: Looked = _quiet,
) -> Exported:
    """Write the rows of any channel as CSV with a header line; numbers are written so that they read back exactly.

    The file is ``EXCHANGE_CHANNEL_SYMBOL_YYYYMMDD_YYYYMMDD.csv``. Columns that a part of the days lacks are left out.
    Raises as :func:`export_deeplob`.
    """
    what = _survey(store, series, from_ms, to_ms)
    kind = channel_of(series.channel)
    fields = [field for field in kind.schema if field.name in what.names]
    columns = Columns(
        exchange=series.exchange,
        channel=series.channel,
        symbol=series.symbol,
        columns=tuple(Column(field.name, str(field.type), _unit(field.name)) for field in fields),
    )
    name = f"{series.exchange}_{series.channel}_{series.symbol}_{what.stem()}.csv"
    check_folder(folder, "csv", columns.columns, name, series.exchange, series.channel)
    make_private(folder)
    with replacing(folder / name) as out, pa.csv.CSVWriter(out, pa.schema(fields)) as writer:
        for table in _days(store, what, looked):
            writer.write_table(table.select([field.name for field in fields]))
    exported = _exported(what, name, file_sha256(folder / name), {})
    about = "CSV with a header line. Rows that were not recorded are left out, never filled."
    describe_export(folder, "csv", columns, exported, about)
    return exported


def _unit(name: str) -> str:
    if name.endswith(("_ms", "_time")):
        return "ms since 1970-01-01 UTC" if name != "age_ms" else "ms"
    if name in ("open", "high", "low", "close", "price") or "_px" in name:
        return "quote coin"
    if name in ("volume", "size") or "_sz_" in name:
        return "base coin"
    return {"quote_volume": "quote coin", "funding_rate": "fraction for one period"}.get(name, "")


def _exported(what: _Stored, file: str, sha256: str, companions: dict[str, str]) -> Exported:
    return Exported(
        file=file,
        exchange=what.series.exchange,
        channel=what.series.channel,
        symbol=what.series.symbol,
        rows=what.rows,
        first_ms=what.first_ms,
        last_ms=what.last_ms,
        gaps=what.gaps,
        missing_rows=what.missing,
        sha256=sha256,
        companions=companions,
    )
