"""Computing a ledger again from the journal: to replace it, or to see whether it is what the journal says."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from tradebot.errors import DataError
from tradebot.journal import JournalReader
from tradebot.ledger import schema
from tradebot.ledger.database import Ledger
from tradebot.ledger.projector import Projector
from tradebot.ops.files import disk_error, fsync_directory

Progress = Callable[[int, int], None]
"""Called with records read and records there are."""


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the ledger and the journal tell differently; None: one of them has no such row."""

    table: str
    key: dict[str, Any]
    ledger: dict[str, Any] | None
    journal: dict[str, Any] | None


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What ``verify`` compared: rows by table, rows of runs that the journal has no longer, and the first mismatches
    of all that there are."""

    records: int
    rows: dict[str, int]
    left_out: int
    mismatches: int
    first: list[Mismatch]


def rebuild(
    ledger: Ledger, reader: JournalReader, *, forget: bool = False, progress: Progress = lambda done, total: None
) -> int:
    """Replace the ledger by one that is computed from the whole journal; returns the number of records.

    The caller owns the state directory: no daemon may write. The new ledger takes the old one's place at once: SQLite's
    as a whole file, Postgres' in one transaction; until then, and when it fails, the old one stays as it is. Raises
    DataError when the ledger knows runs that the journal has no longer, which would be lost, unless told to ``forget``
    them; JournalError, DataError and BusyError as the projector.
    """
    if not forget:
        _refuse_to_forget(ledger, reader)
    path = ledger.path
    if path is None:
        ledger.upgrade()
        with ledger.atomically():
            with ledger.begin() as connection:
                for table in schema.metadata.sorted_tables:
                    connection.execute(table.delete())
            return _project(ledger, reader, progress, None)
    fresh = path.with_name(f".{path.name}.new")
    _remove(fresh)
    made = Ledger(f"sqlite:///{fresh}")
    try:
        made.upgrade()
        count = _project(made, reader, progress, None)
        made.fold_log()
    except BaseException:
        made.close()
        _remove(fresh)
        raise
    made.close()
    ledger.close()
    try:
        for leftover in _logs(path):  # they belong to the old file, and would be replayed into the new one
            leftover.unlink(missing_ok=True)
        os.replace(fresh, path)
        fsync_directory(path.parent)
    except OSError as error:
        raise disk_error("replace", path, error) from error
    return count


def verify(
    ledger: Ledger, reader: JournalReader, *, keep: int = 20, progress: Progress = lambda done, total: None
) -> Verified:
    """Compare every row with what the journal says, as far as the ledger has read it; a daemon may be running.

    Rows of runs that the journal has no longer, or not from their beginning, are left out. At most ``keep`` mismatches
    are returned. Raises JournalError, DataError, BusyError.
    """
    marks = _marks(ledger)
    whole = [epoch for epoch in reader.epochs() if epoch in marks and _begins(reader, epoch)]
    since = whole[0] if whole else max(marks, default=0) + 1
    with tempfile.TemporaryDirectory(prefix="tradebot-ledger-") as folder:
        made = Ledger(f"sqlite:///{folder}/ledger.sqlite")
        try:
            made.upgrade()
            records = _project(made, reader, progress, {epoch: marks[epoch] for epoch in whole})
            rows: dict[str, int] = {}
            first: list[Mismatch] = []
            mismatches = left_out = 0
            for table in schema.metadata.sorted_tables:
                ours, older = _rows_since(ledger, table, since)
                theirs, _ = _rows_since(made, table, since)
                left_out += len(older)
                rows[table.name] = len(ours)
                for key in sorted(ours.keys() | (theirs.keys() - older)):
                    if ours.get(key) != theirs.get(key):
                        mismatches += 1
                        if len(first) < keep:
                            first.append(_mismatch(table, key, ours.get(key), theirs.get(key)))
        finally:
            made.close()
    return Verified(records=records, rows=rows, left_out=left_out, mismatches=mismatches, first=first)


def _project(ledger: Ledger, reader: JournalReader, progress: Progress, marks: dict[int, int] | None) -> int:
    """Everything, or each epoch of ``marks`` up to its mark."""
    projector = Projector(ledger)
    ends = {epoch: reader.last_seq(epoch) for epoch in reader.epochs()} if marks is None else marks
    total, count = sum(ends.values()), 0
    for epoch, end in ends.items():
        before = count

        def told(read: int, before: int = before) -> None:
            progress(before + read, total)

        count += projector.catch_up(reader, epoch, upto=end, told=told)
    progress(count, count)
    return count


def _refuse_to_forget(ledger: Ledger, reader: JournalReader) -> None:
    try:
        known = _marks(ledger)
    except DataError:
        return  # nothing to lose: there is none, or it cannot be read
    lost = sorted(epoch for epoch in known if not _begins(reader, epoch))
    if lost:
        runs = f"run {lost[0]}" if len(lost) == 1 else f"{len(lost)} runs ({lost[0]} to {lost[-1]})"
        raise DataError(
            f"the ledger {ledger} knows {runs} of which the journal {reader.directory} no longer holds the beginning: "
            "they would be lost; --forget rebuilds without them"
        )


def _begins(reader: JournalReader, epoch: int) -> bool:
    """Whether the journal holds ``epoch`` from its first record on."""
    first = next(reader.raw_frames(epoch), None)
    return first is not None and first.seq == 1


def _marks(ledger: Ledger) -> dict[int, int]:
    with ledger.read() as connection:
        found = connection.execute(sa.select(schema.meta.c.epoch, schema.meta.c.last_seq).order_by(schema.meta.c.epoch))
        return {row.epoch: row.last_seq for row in found}


_Key = tuple[Any, ...]


def _rows_since(ledger: Ledger, table: sa.Table, since: int) -> tuple[dict[_Key, dict[str, Any]], set[_Key]]:
    """Rows by primary key, and the keys of those that began before the run ``since``."""
    names = [column.name for column in table.primary_key]
    rows: dict[_Key, dict[str, Any]] = {}
    older: set[_Key] = set()
    with ledger.read() as connection:
        for row in connection.execute(sa.select(table)).mappings():
            key = tuple(row[name] for name in names)
            if row["epoch"] < since:
                older.add(key)
            else:
                rows[key] = dict(row)
    return rows, older


def _mismatch(table: sa.Table, key: _Key, ledger: dict[str, Any] | None, journal: dict[str, Any] | None) -> Mismatch:
    """Only the columns that differ, where both have the row."""
    named = dict(zip((column.name for column in table.primary_key), key, strict=True))
    if ledger is not None and journal is not None:
        differ = [name for name in ledger if ledger[name] != journal[name]]
        ledger, journal = {name: ledger[name] for name in differ}, {name: journal[name] for name in differ}
    return Mismatch(table=table.name, key=named, ledger=ledger, journal=journal)


def _logs(path: Path) -> Iterator[Path]:
    return (path.with_name(path.name + end) for end in ("-wal", "-shm"))


def _remove(path: Path) -> None:
    for part in (path, *_logs(path)):
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
