"""Looking through the store: damage, wrong rows, gaps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import groupby

import msgspec
import numpy as np
import pyarrow as pa

from tradebot.data.channels import Channel, channel_of
from tradebot.data.checks import HARMLESS, SAYS, gaps, missing_rows, row_faults
from tradebot.data.columns import Ints, plural, utc
from tradebot.data.partition import content_sha256, day_start, days_between
from tradebot.data.store import Store
from tradebot.errors import DataError
from tradebot.market.candle import DAY_MS

RECORDED = ("book_", "sealed_")
"""Channels that nobody can ask for again: what a recording left out is no trouble."""
_NO_TIMES: Ints = np.empty(0, np.int64)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that verification found in one day.

    ``kind``: ``damaged`` (unreadable), ``checksum`` (values unlike the manifest), ``gap``, or a fault of rows
    (:mod:`tradebot.data.checks`). ``rows`` are affected or missing, ``first_ms`` is where it begins. ``harmless``: told
    and no trouble, such as a gap that the source itself has.
    """

    exchange: str
    channel: str
    symbol: str
    date: str
    kind: str
    rows: int
    first_ms: int | None
    harmless: bool
    text: str

    def line(self) -> str:
        """The problem as one line."""
        return f"{self.exchange}/{self.channel}/{self.symbol} {self.date}: {self.text}"


def verify(
    store: Store,
    exchange: str | None = None,
    channel: str | None = None,
    symbol: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    *,
    looked: Callable[[str], None] = lambda path: None,
) -> Iterator[Problem]:
    """Everything found in the stored days that match, series by series in order of time.

    ``looked`` hears of every file. Days between the first and the last stored one of a series that are not there count
    as a gap, on a local disk or anywhere else.
    """
    first_ms, end_ms = from_ms or 0, sys.maxsize if to_ms is None else to_ms
    files = [path.split("/") for path in store.files(exchange, channel, symbol)]
    for (one, name, own), paths in groupby(files, key=lambda parts: (parts[0], parts[1], parts[2])):
        kind = channel_of(name)
        dates = [parts[3].removesuffix(".parquet") for parts in paths]
        chosen = [date for date in dates if first_ms <= day_start(date) < end_ms]
        if not chosen:
            continue
        if kind.step_ms is not None and kind.step_ms <= DAY_MS and not name.startswith(RECORDED):
            yield from _days_not_there(kind, one, own, chosen)
        folder = f"{one}/{name}/{own}"
        unlisted = _unlisted(store, folder, dates)
        for date in chosen:
            path = f"{folder}/{date}.parquet"
            if date not in unlisted:
                listing = bool(unlisted) and date == dates[len(unlisted)]
                first, last = listing or date == chosen[0], date == chosen[-1]
                yield from _day(store, kind, one, own, date, path, first=first, last=last, listing=listing)
            looked(path)


def _unlisted(store: Store, folder: str, dates: list[str]) -> set[str]:
    """The complete days without a row before the first row of a series: the symbol was not listed yet."""
    found: set[str] = set()
    for date in dates:
        try:
            manifest = store.partition(f"{folder}/{date}.parquet").manifest
        except DataError:
            break
        if manifest.rows or not manifest.complete:
            break
        found.add(date)
    return found if len(found) < len(dates) else set()


def _days_not_there(kind: Channel, exchange: str, symbol: str, dates: list[str]) -> Iterator[Problem]:
    there = set(dates)
    for date in days_between(day_start(dates[0]), day_start(dates[-1])):
        if date not in there:
            begin = day_start(date)
            rows = missing_rows(kind, gaps(kind, _NO_TIMES, begin, begin + DAY_MS))
            if rows:
                text = f"the whole day is missing ({plural(rows, 'row')})"
                yield _problem(kind, exchange, symbol, date, "gap", rows, begin, False, text)


def _day(
    store: Store,
    kind: Channel,
    exchange: str,
    symbol: str,
    date: str,
    path: str,
    *,
    first: bool,
    last: bool,
    listing: bool,
) -> Iterator[Problem]:
    def problem(what: str, rows: int, at: int | None, harmless: bool, text: str) -> Problem:
        return _problem(kind, exchange, symbol, date, what, rows, at, harmless, text)

    try:
        table, manifest = store.load(path)
        table = kind.conform(table, store.shown(path))
    except DataError as error:
        yield problem("damaged", 0, None, False, str(error).removeprefix(f"{store.shown(path)}: "))
        return
    if content_sha256(table) != manifest.sha256 or table.num_rows != manifest.rows:
        yield problem("checksum", manifest.rows, manifest.first_ms, False, "the values are not those that were written")
    begin = day_start(date)
    for found in row_faults(kind, table, begin, DAY_MS):
        text = f"{plural(found.rows, 'row')} {SAYS[found.fault]}, first at {utc(found.first_ms)}"
        yield problem(found.fault, found.rows, found.first_ms, found.fault in HARMLESS, text)
    if not table.num_rows and not manifest.complete:
        return
    # the edges of what was ever collected, and the moment of a listing, are no gaps
    since = _edge(table, kind, 0) if first and (listing or not manifest.complete) else begin
    until = begin + DAY_MS if manifest.complete or not last else _edge(table, kind, -1) + 1
    stretches = gaps(kind, table[kind.time].to_numpy(), since, until)
    if stretches:
        rows = missing_rows(kind, stretches)
        own = kind.name.startswith(RECORDED) or rows <= manifest.absent
        why = ": the source has none" if rows <= manifest.absent else ""
        text = f"{plural(len(stretches), 'gap')} ({plural(rows, 'row')}), first at {utc(stretches[0][0])}{why}"
        yield problem("gap", rows, stretches[0][0], own, text)


def _edge(table: pa.Table, kind: Channel, row: int) -> int:
    return int(table[kind.time].to_numpy()[row])


def _problem(
    kind: Channel, exchange: str, symbol: str, date: str, what: str, rows: int, at: int | None, fine: bool, text: str
) -> Problem:
    return Problem(
        exchange=exchange,
        channel=kind.name,
        symbol=symbol,
        date=date,
        kind=what,
        rows=rows,
        first_ms=at,
        harmless=fine,
        text=text,
    )
