"""From raw files to the store: ``python -m tradebot.data.recorder.roll --raw DIR --root URL [--before YYYY-MM-DD]``.

Runs in a process of its own, at low priority, so that the bot's loop does not share a core with it. A raw file is
removed after everything in it is in the store; rolling again what a crash left changes nothing there.

Channels: ``book_1s_l10`` (other venues: ``book_5s_l5``), ``trade``, ``sealed_candle_*``, ``ticker``, ``open_interest``
(where it changed) and ``gap``. A book of fewer levels than its channel has is no row of it: that stretch is a gap of
the book. Stretches of a day may be rolled in any order. Rows unlike stored ones are told of, and their raw files are
set aside as ``….unlike``: nothing that was recorded vanishes without a word.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tradebot.data.channels import book_columns, channel_of
from tradebot.data.columns import Flags, Floats, Ints, plural, utc
from tradebot.data.partition import date_of, day_start
from tradebot.data.recorder.raw import SUFFIX
from tradebot.data.recorder.records import (
    NOT_RECORDING,
    BookRecord,
    CandleRecord,
    Edge,
    Hole,
    Recorded,
    TradeRecord,
    read_records,
)
from tradebot.data.recorder.timeline import Gap, Part, Timeline, carried, common, without
from tradebot.data.store import Store
from tradebot.errors import DataError, TradebotError
from tradebot.market.candle import DAY_MS
from tradebot.market.grid import BOOK_GRID, VENUE_GRID, Grid
from tradebot.ops.files import disk_error, fsync_directory

BITGET = "bitget"
SET_ASIDE = ".unlike"
"""What a raw file's name ends with whose rows contradict the store."""
SOURCE = "recorder"
BLOCK = 4_096
TRADE = ("recv_ms", "trade_ms", "price", "size", "trade_id", "buyer_is_maker")
CANDLE = ("open_time", "open", "high", "low", "close", "volume", "quote_volume")
GAP = ("start_ms", "end_ms", "channel", "reason")
TICKER = ("ts_ms", "last_px", "mark_px", "index_px", "funding_rate")


def grid_of(exchange: str) -> Grid:
    """The grid of the exchange that is traded on, or that of the others.

    >>> grid_of("bitget").channel, grid_of("binance-spot").channel
    ('book_1s_l10', 'book_5s_l5')
    """
    return BOOK_GRID if exchange == BITGET else VENUE_GRID


@dataclass(slots=True)
class Rolled:
    """What was done. ``lost``: records that damage or a full disk took; ``files``: partitions that rows went
    to; ``problems``: raw files that were left alone or set aside."""

    symbols: int = 0
    days: set[str] = field(default_factory=set)
    records: int = 0
    lost: int = 0
    files: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def roll(raw: Path, store: Store, before: str | None = None) -> Rolled:
    """Take the raw files of all days before ``before`` (None: of all days) into the store and remove them.

    Days before the newest folder, or before ``before``, have ended; what was not heard of an ended day is a gap up to
    its midnight. A file that cannot be read is left and named among the problems. Raises BusyError when the disk is
    full; nothing is removed then that is not stored.
    """
    done = Rolled()
    days = sorted(path.name for path in _folders(raw) if before is None or path.name < before)
    newest = before if before is not None else days[-1] if days else ""
    for day in days:
        for folder in _folders(raw / day):
            for symbol, parts in sorted(_parts(folder).items()):
                try:
                    _roll_symbol(store, folder.name, symbol, day, parts, day < newest, done)
                except (DataError, ValueError) as error:
                    done.problems.append(f"{folder / symbol}-*{SUFFIX}: {error}; left where they are")
            _remove_empty(folder)
        _remove_empty(raw / day)
    return done


def _folders(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir()) if path.is_dir() else []


def _parts(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        found.setdefault(path.name.rpartition("-")[0], []).append(path)
    return found


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
        fsync_directory(folder.parent)
    except OSError:  # something is left in it
        return


def _roll_symbol(
    store: Store, exchange: str, symbol: str, day: str, parts: Sequence[Path], ended: bool, done: Rolled
) -> None:
    grid = grid_of(exchange)
    begin = day_start(day)
    rows = _Rows(grid, begin)
    readable: list[Path] = []
    for path in parts:
        try:
            for seen in read_records(_bytes_of(path)):
                rows.take(seen.ts_ms, seen.record, seen.lost)
        except (DataError, ValueError) as error:
            done.problems.append(f"{path}: {error}; left where it is")
        else:
            readable.append(path)
    if not readable:
        return
    rows.end(begin + DAY_MS)
    written = {"gap": _write_gaps(store, exchange, symbol, begin, rows.gaps(), ended)}
    unlike: list[str] = []
    for channel, table in rows.tables().items():
        written[channel] = table
        differing = store.write_days(exchange, channel, symbol, table, source=SOURCE).differing
        if differing:
            unlike.append(f"{plural(len(differing), 'row')} of {channel}, first at {utc(min(differing))}")
    for channel, table in written.items():
        if not table.num_rows:
            continue
        done.files += [f for f in _files(store, exchange, channel, symbol, table) if f not in done.files]
    for path in readable:
        path.replace(path.with_name(path.name + SET_ASIDE)) if unlike else path.unlink()
    fsync_directory(readable[0].parent)
    if unlike:
        done.problems.append(
            f"{readable[0]}: unlike the stored are {'; '.join(unlike)}; those stand, the recording is kept as "
            f"{readable[0].name}{SET_ASIDE}"
        )
    done.symbols += 1
    done.days.add(day)
    done.records += rows.records
    done.lost += rows.lost


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise disk_error("read", path, error) from error


def _files(store: Store, exchange: str, channel: str, symbol: str, table: pa.Table) -> list[str]:
    days = np.unique(table[channel_of(channel).time].to_numpy() // DAY_MS) * DAY_MS
    return [store.shown(f"{exchange}/{channel}/{symbol}/{date_of(int(at))}.parquet") for at in days]


def _write_gaps(
    store: Store, exchange: str, symbol: str, begin_ms: int, own: dict[str, list[Gap]], ended: bool
) -> pa.Table:
    """Put the gaps of one roll beside those of earlier ones, before its rows are there; returns all that were written.

    Nothing was recorded only where no roll of the day has heard anything, whichever came first. Up to the end of a day
    that has not ended nothing is known yet.
    """
    end_ms = begin_ms + DAY_MS
    stored = store.read(exchange, "gap", symbol, begin_ms, end_ms).to_pylist()
    idle_until = max((row["end_ms"] for row in stored if row["reason"] == NOT_RECORDING), default=begin_ms)
    known_ms = max(idle_until, _known_until(store, exchange, symbol, begin_ms))
    found: set[tuple[int, int, str, str]] = set()
    for channel, gaps in own.items():
        told = [(row["start_ms"], row["end_ms"], row["reason"]) for row in stored if row["channel"] == channel]
        idle = [(start, end) for start, end, reason in told if reason == NOT_RECORDING]
        silent = [gap for gap in gaps if gap.reason == NOT_RECORDING or (gap.end_ms == end_ms and not ended)]
        others = {(gap.start_ms, gap.end_ms, gap.reason) for gap in gaps if gap not in silent}
        others |= {gap for gap in told if gap[2] != NOT_RECORDING}
        unheard = common([*idle, (known_ms, end_ms)], [(gap.start_ms, gap.end_ms) for gap in silent])
        unheard = without(unheard, [(start, end) for start, end, _ in others])
        found |= {(start, end, channel, reason) for start, end, reason in others}
        found |= {(start, end, channel, NOT_RECORDING) for start, end in unheard if ended or end < end_ms}
    today = sorted(gap for gap in found if gap[0] >= begin_ms)
    if today or stored:
        table = _table(GAP, today)
        store.rewrite(exchange, "gap", symbol, date_of(begin_ms), table, complete=False, source=SOURCE)
    if before := sorted(gap for gap in found if gap[0] < begin_ms):  # a silence that began yesterday
        store.write_days(exchange, "gap", symbol, _table(GAP, before), source=SOURCE)
    return _table(GAP, sorted(found))


def _known_until(store: Store, exchange: str, symbol: str, begin_ms: int) -> int:
    """Where the stored part of a day ends."""
    known_ms = begin_ms
    for partition in store.partitions(exchange, None, symbol, begin_ms, begin_ms + DAY_MS):
        if partition.channel in (grid_of(exchange).channel, "trade") and partition.manifest.last_ms is not None:
            known_ms = max(known_ms, partition.manifest.last_ms + 1)
    return known_ms


class _Rows:
    """The records of one symbol and day, gathered as columns."""

    def __init__(self, grid: Grid, begin_ms: int) -> None:
        self.timeline = Timeline(begin_ms)
        self._begin_ms = begin_ms
        self.records = 0
        self.lost = 0
        self._grid = grid
        self._books: list[tuple[int, int, bool, tuple[float, ...]]] = []
        self._blocks: list[tuple[Any, Any, Any, Any]] = []
        self._trades: list[tuple[Any, ...]] = []
        self._candles: dict[str, list[tuple[Any, ...]]] = {}
        self._tickers: dict[int, tuple[float, ...]] = {}
        self._interest: dict[int, float] = {}
        self._interest_last = float("nan")

    def take(self, ts_ms: int, record: Recorded, lost: int) -> None:
        """Take the next record; ``lost`` ones are missing before it."""
        self.records += 1
        if lost:
            self.lost += lost
            self.timeline.lost(lost, ts_ms)
        if isinstance(record, Edge):
            self.timeline.edge(record, ts_ms)
            return
        if isinstance(record, Hole):
            self.timeline.hole(record.channel, record.start_ms, record.end_ms, record.reason)
            return
        self.timeline.heard(ts_ms)
        if isinstance(record, BookRecord):
            self.timeline.heard(record.boundary_ms)
            self._books.append((record.boundary_ms, record.age_ms, record.stale, self._levels(record)))
            if len(self._books) == BLOCK:
                self._close_block()
        elif isinstance(record, TradeRecord):
            self._trades.append(
                (ts_ms, record.trade_ms, record.price, record.size, record.trade_id, record.buyer_is_maker)
            )
        elif isinstance(record, CandleRecord):
            prices = (record.open, record.high, record.low, record.close)
            row = (record.open_time, *prices, record.volume, record.quote_volume)
            self._candles.setdefault(record.interval, []).append(row)
        else:
            self._tickers[ts_ms] = (record.last_px, record.mark_px, record.index_px, record.funding_rate)
            if record.open_interest != self._interest_last:
                self._interest[ts_ms] = self._interest_last = record.open_interest

    def _levels(self, row: BookRecord) -> tuple[float, ...]:
        nan = float("nan")
        return tuple(
            side[i] if i < len(side) else nan
            for i in range(self._grid.levels)
            for side in (row.ask_px, row.ask_sz, row.bid_px, row.bid_sz)
        )

    def _close_block(self) -> None:
        if self._books:
            boundary, age, stale, levels = zip(*self._books, strict=True)
            self._blocks.append((np.array(boundary), np.array(age), np.array(stale), np.array(levels)))
            self._books = []

    def end(self, end_ms: int) -> None:
        """There are no more records of the day that ends at ``end_ms``."""
        self.timeline.end(end_ms)
        self._note_thin()

    def tables(self) -> dict[str, pa.Table]:
        """Channel → rows, for the channels that have any."""
        found = {}
        if (books := self._book_table()) is not None:
            found[self._grid.channel] = books
        if self._trades:
            found["trade"] = _table(TRADE, self._trades)
        for interval, candles in self._candles.items():
            found[f"sealed_candle_{interval}"] = _table(CANDLE, sorted(set(candles)))
        if self._tickers:
            found["ticker"] = _table(TICKER, [(at, *values) for at, values in sorted(self._tickers.items())])
            found["open_interest"] = _table(("ts_ms", "size"), sorted(self._interest.items()))
        return found

    def gaps(self) -> dict[str, list[Gap]]:
        """Channel → its gaps, for the channels that can have any."""
        return {
            channel: [gap for gap in self.timeline.gaps if gap.part == part]
            for part, channel in self._channels().items()
        }

    def _channels(self) -> dict[Part, str]:
        """The channels that there can be gaps in; other venues are read for their books alone."""
        if self._grid is VENUE_GRID:
            return {"book": self._grid.channel}
        return {"book": self._grid.channel, "trade": "trade", "ticker": "ticker"}

    def _book_table(self) -> pa.Table | None:
        boundary, age, stale, levels = self._sealed()
        gaps = [gap for gap in self.timeline.gaps if gap.part == "book"]
        rows, at = carried(boundary, gaps, self.timeline.until_ms, self._grid)
        today = at >= self._begin_ms  # yesterday's row at midnight is stored with its own day
        rows, at = rows[today], at[today]
        if not rows.size:
            return None
        columns: dict[str, Any] = {"ts_ms": at}
        for i, name in enumerate(book_columns(self._grid.levels)):
            columns[name] = levels[rows, i]
        columns["age_ms"] = age[rows] + at - boundary[rows]
        columns["stale"] = stale[rows] | ((at > boundary[rows]) & (columns["age_ms"] > self._grid.stale_ms))
        return pa.table(columns)

    def _sealed(self) -> tuple[Ints, Ints, Flags, Floats]:
        """Boundary, age, staleness and levels of the rows that were sealed, in order."""
        self._close_block()
        if not self._blocks:
            nothing = np.zeros(0, np.int64)
            return nothing, nothing, np.zeros(0, np.bool_), np.zeros((0, 4 * self._grid.levels))
        boundary, age, stale, levels = (np.concatenate(columns) for columns in zip(*self._blocks, strict=True))
        order = np.argsort(boundary, kind="stable")
        order = order[np.append(np.diff(boundary[order]) > 0, True)]  # a boundary has one row: that told last
        return boundary[order], age[order], stale[order], levels[order]

    def _note_thin(self) -> None:
        """From a row with too few levels to the next whole one there is a gap."""
        boundary, _, _, levels = self._sealed()
        thin: Flags = np.asarray(np.isnan(levels).any(axis=1))
        begins = np.flatnonzero(thin & ~np.append(False, thin[:-1]))
        whole = np.flatnonzero(~thin)
        for row in begins:
            after = whole[np.searchsorted(whole, row) :]
            start = max(int(boundary[row]), self._begin_ms)
            end = int(boundary[after[0]]) if after.size else max(self.timeline.until_ms, start + 1)
            reason = f"fewer than {self._grid.levels} levels"
            self.timeline.gaps.append(Gap(start, end, "book", reason))


def _table(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pa.table({name: list(values) for name, values in zip(names, columns, strict=True)})


def main(argv: Sequence[str] | None = None) -> int:
    """The process that rolls. One line on stdout says what was done; problems go to stderr, exit code 65."""
    parser = argparse.ArgumentParser(prog="tradebot.data.recorder.roll", description="Raw recordings to the store.")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--before", metavar="YYYY-MM-DD")
    arguments = parser.parse_args(argv)
    os.nice(10)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that half a file is removed on the way out
    try:
        done = roll(arguments.raw, Store(arguments.root), arguments.before)
    except TradebotError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(
        f"{plural(done.symbols, 'symbol-day')} of {plural(len(done.days), 'day')} rolled: "
        f"{plural(done.records, 'record')}, {done.lost} lost\n"
    )
    for problem in done.problems:
        sys.stderr.write(f"{problem}\n")
    return 65 if done.problems else 0


if __name__ == "__main__":
    sys.exit(main())
