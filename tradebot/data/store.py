"""The parquet store of market data: ``ROOT/exchange/channel/symbol/YYYY-MM-DD.parquet``, one file for each UTC day.

``ROOT`` is a path or any URL that fsspec knows (``file://``, ``memory://``, ``s3://`` …). A partition is replaced as a
whole: on a local disk by temporary file, fsync, rename and fsync of the folder; elsewhere by one object upload. Writers
on one local root wait for each other; on an object store there must be one writer for each partition.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradebot.data.channels import EXCHANGE_NAME, SYMBOL_NAME, Channel, channel_of
from tradebot.data.merge import merge
from tradebot.data.partition import Manifest, date_of, day_start, days_between, decode, describe, encode, manifest_of
from tradebot.errors import ConfigError, DataError
from tradebot.market.candle import DAY_MS
from tradebot.ops.files import disk_error, make_private, write_atomic

_FILE = re.compile(r"(\d{4}-\d\d-\d\d)\.parquet")


@dataclass(frozen=True, slots=True)
class Partition:
    """One stored day of one channel of one symbol. ``path`` is the file below the root, ``bytes`` its size."""

    exchange: str
    channel: str
    symbol: str
    date: str
    path: str
    bytes: int
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: rows that were new, that were there already, and times (ms) at which values contradict."""

    added: int
    equal: int
    differing: tuple[int, ...]


class Store:
    """Market data below one root. Nothing is kept in memory: several processes may read what one writes."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        try:
            self._fs, self._base = fsspec.core.url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"data root {self.root}: {reason}; use a folder or another address") from None
        protocol = self._fs.protocol if isinstance(self._fs.protocol, str) else self._fs.protocol[0]
        self._local = Path(self._base) if protocol in ("file", "local") else None
        if self._local is not None and "://" in self.root:
            self._local = Path(urllib.parse.unquote(str(self._local)))

    def prepare(self) -> None:
        """Make the root of a store on disk, so that one that cannot be made is told before anything is fetched.

        Raises DataError, or BusyError for a full disk.
        """
        if self._local is not None:
            make_private(self._local)

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(
        self,
        exchange: str,
        channel: str,
        symbol: str,
        date: str,
        table: pa.Table,
        *,
        complete: bool = False,
        source: str = "",
        replace: bool = False,
    ) -> Written:
        """Take rows of one UTC day (``YYYY-MM-DD``) into the store; taking them in again changes nothing.

        The day's file appears at once or not at all. ``complete``: the day has ended and ``table`` holds all of it, so
        it need not be asked for again (``table`` may be empty). Where rows contradict stored ones the stored ones
        stand, their times are returned and the day is not complete; with ``replace`` the new ones do. Raises DataError
        for rows that do not fit the channel or the day, or that contradict each other, BusyError when the disk is full.
        """
        kind = self._checked(exchange, channel, symbol)
        begin = day_start(date)
        what = f"{exchange}/{channel}/{symbol} {date}"
        coming = kind.conform(table, what)
        times = coming[kind.time].to_numpy()
        if times.size and not (begin <= int(times.min()) and int(times.max()) < begin + DAY_MS):
            raise DataError(f"{what}: holds rows of other days; write each day by itself")
        path = f"{exchange}/{channel}/{symbol}/{date}.parquet"
        with self._exclusive(path):
            stored, before = self._load(path)
            if stored is None:
                stored = coming.slice(0, 0)
            merged = merge(kind, stored, coming, what, replace=replace)
            agreed = complete and (replace or not merged.differing)
            done = agreed or (before is not None and before.complete)
            origin = _sources(before.source if before else "", source)
            absent = before.absent if before is not None and not merged.added else 0
            after = describe(kind, merged.table, complete=done, source=origin, absent=absent)
            if after != before:
                self._put(path, encode(merged.table, after))
        return Written(merged.added, merged.equal, merged.differing)

    def write_days(
        self,
        exchange: str,
        channel: str,
        symbol: str,
        table: pa.Table,
        *,
        complete: frozenset[str] | set[str] = frozenset(),
        source: str = "",
        replace: bool = False,
    ) -> Written:
        """Rows of any number of days, each day as ``write`` takes it; ``complete`` names the days that are."""
        kind = self._checked(exchange, channel, symbol)
        rows = kind.conform(table, f"{exchange}/{channel}/{symbol}")
        rows = rows.take(pc.sort_indices(rows, sort_keys=[(kind.time, "ascending")]))
        days = rows[kind.time].to_numpy() // DAY_MS
        found = {date_of(int(day) * DAY_MS): int(day) for day in np.unique(days).tolist()}
        added, equal = 0, 0
        differing: list[int] = []
        for date in sorted({*found, *complete}):
            first, last = days.searchsorted((found.get(date, -1), found.get(date, -1) + 1))
            result = self.write(
                exchange,
                channel,
                symbol,
                date,
                rows.slice(first, last - first),
                complete=date in complete,
                source=source,
                replace=replace,
            )
            added, equal = added + result.added, equal + result.equal
            differing += result.differing
        return Written(added, equal, tuple(differing))

    def rewrite(
        self,
        exchange: str,
        channel: str,
        symbol: str,
        date: str,
        table: pa.Table,
        *,
        complete: bool,
        source: str,
        absent: int = 0,
    ) -> None:
        """Put ``table`` in the place of a day, whatever is there; ``absent`` as in :class:`Manifest`.

        Raises as :meth:`write` does.
        """
        kind = self._checked(exchange, channel, symbol)
        what = f"{exchange}/{channel}/{symbol} {date}"
        coming = kind.conform(table, what)
        rows = merge(kind, coming.slice(0, 0), coming, what).table
        path = f"{exchange}/{channel}/{symbol}/{date}.parquet"
        with self._exclusive(path):
            self._put(path, encode(rows, describe(kind, rows, complete=complete, source=source, absent=absent)))

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(
        self, exchange: str, channel: str, symbol: str, from_ms: int | None = None, to_ms: int | None = None
    ) -> pa.Table:
        """Rows with ``from_ms <= time < to_ms``, sorted by time; an empty table where nothing is stored.

        Optional columns that a part of the days lacks are left out. Raises DataError when a file is damaged.
        """
        kind = self._checked(exchange, channel, symbol)
        tables = []
        for date in self._dates(exchange, channel, symbol):
            begin = day_start(date)
            if (from_ms is None or begin + DAY_MS > from_ms) and (to_ms is None or begin < to_ms):
                table, _ = self._load(f"{exchange}/{channel}/{symbol}/{date}.parquet")
                if table is not None and table.num_rows:
                    tables.append(table)
        if not tables:
            return pa.schema([kind.schema.field(name) for name in kind.required]).empty_table()
        names = [name for name in kind.schema.names if all(name in table.column_names for table in tables)]
        rows = pa.concat_tables([table.select(names) for table in tables])
        times = rows[kind.time].to_numpy()
        first = 0 if from_ms is None else int(times.searchsorted(from_ms))
        last = times.size if to_ms is None else int(times.searchsorted(to_ms))
        return rows.slice(first, max(last - first, 0)).combine_chunks()

    def load(self, path: str) -> tuple[pa.Table, Manifest]:
        """Rows and manifest of one day's file below the root. Raises DataError when it is damaged or gone."""
        table, manifest = self._load(path)
        if table is None or manifest is None:
            raise DataError(f"{self.shown(path)}: no such file")
        return table, manifest

    def partitions(
        self,
        exchange: str | None = None,
        channel: str | None = None,
        symbol: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> Iterator[Partition]:
        """The stored days that match, by exchange, channel, symbol and date; ``from_ms <= t < to_ms`` where given.

        Only the footers are read. Raises DataError at one that is damaged (:meth:`files` lists them all the same).
        """
        wanted = None if from_ms is None or to_ms is None else set(days_between(from_ms, to_ms))
        for path in self.files(exchange, channel, symbol):
            if wanted is None or path.rpartition("/")[2].removesuffix(".parquet") in wanted:
                yield self.partition(path)

    def partition(self, path: str) -> Partition:
        """One stored day by its path below the root. Raises DataError when its footer is damaged."""
        exchange, channel, symbol, file = path.split("/")
        manifest, size = self._footer(path)
        return Partition(exchange, channel, symbol, file.removesuffix(".parquet"), path, size, manifest)

    def complete_days(self, exchange: str, channel: str, symbol: str) -> set[str]:
        """The days that need not be asked for again. A damaged one is not among them."""
        found = set()
        for date in self._dates(exchange, channel, symbol):
            with contextlib.suppress(DataError):
                if self._footer(f"{exchange}/{channel}/{symbol}/{date}.parquet")[0].complete:
                    found.add(date)
        return found

    def files(self, exchange: str | None = None, channel: str | None = None, symbol: str | None = None) -> list[str]:
        """Paths below the root of the stored days that match, whether they can be read or not."""
        return [
            f"{one}/{kind}/{name}/{date}.parquet"
            for one in self._names("", exchange)
            for kind in self._names(one, channel)
            for name in self._names(f"{one}/{kind}", symbol)
            for date in self._dates(one, kind, name)
        ]

    def shown(self, path: str) -> str:
        """A path below the root, as a person finds it."""
        return f"{self.root.rstrip('/')}/{path}"

    # --- files ------------------------------------------------------------------------------------------------------

    def _checked(self, exchange: str, channel: str, symbol: str) -> Channel:
        if not EXCHANGE_NAME.fullmatch(exchange):
            raise DataError(f"{exchange!r} is no exchange name; write for instance bitget or binance-perp")
        if not SYMBOL_NAME.fullmatch(symbol):
            raise DataError(f"{symbol!r} is no symbol; write it as the exchange does, like SOLUSDT")
        return channel_of(channel)

    def _at(self, path: str) -> str:
        return f"{self._base.rstrip('/')}/{path}" if path else self._base

    def _children(self, path: str) -> list[dict[str, Any]]:
        try:
            self._fs.invalidate_cache()
            return list(self._fs.ls(self._at(path), detail=True))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise disk_error("read", Path(self.shown(path)), error) from None

    def _names(self, folder: str, only: str | None) -> list[str]:
        if only is not None:
            return [only]
        names = (str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in self._children(folder)
                 if entry["type"] == "directory")  # fmt: skip
        return sorted(name for name in names if not name.startswith("."))

    def _dates(self, exchange: str, channel: str, symbol: str) -> list[str]:
        names = (str(entry["name"]).rpartition("/")[2] for entry in self._children(f"{exchange}/{channel}/{symbol}"))
        return sorted(found[1] for name in names if (found := _FILE.fullmatch(name)))

    def _load(self, path: str) -> tuple[pa.Table | None, Manifest | None]:
        try:
            data = self._fs.cat_file(self._at(path))
        except FileNotFoundError:
            return None, None
        except OSError as error:
            raise disk_error("read", Path(self.shown(path)), error) from None
        return decode(data, self.shown(path))

    def _footer(self, path: str) -> tuple[Manifest, int]:
        try:
            with self._fs.open(self._at(path), "rb") as file:
                return manifest_of(file, self.shown(path)), int(file.size)
        except OSError as error:
            raise disk_error("read", Path(self.shown(path)), error) from None

    def _put(self, path: str, data: bytes) -> None:
        if self._local is not None:
            write_atomic(self._local / path, data)
            return
        try:
            self._fs.pipe_file(self._at(path), data)
        except OSError as error:
            raise disk_error("write", Path(self.shown(path)), error) from None

    @contextlib.contextmanager
    def _exclusive(self, path: str) -> Iterator[None]:
        """Only one process changes the partitions of a symbol at a time (local roots)."""
        if self._local is None:
            yield
            return
        folder = (self._local / path).parent
        make_private(folder)
        try:
            fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error("lock", folder, error) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _sources(before: str, now: str) -> str:
    """The sources of a partition, each once."""
    return ", ".join(dict.fromkeys(part for part in (*before.split(", "), now) if part))
