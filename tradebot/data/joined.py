"""Several files of one kind as one: a recording over many days, or of which a part was fetched later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from tradebot.data.columns import ParquetColumns, utc, whole_numbers
from tradebot.errors import DataError


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    rows: pa.Table
    first_ms: int
    last_ms: int


def joined(
    files: Sequence[ParquetColumns],
    names: Sequence[str],
    *,
    time: str,
    repeats: bool = False,
    optional: Sequence[str] = (),
) -> tuple[pa.Table, Path]:
    """The columns ``names`` of all files in the order of ``time``, and the ``optional`` ones that every file has.

    The path names them in errors: of several files the first and the last. Files without rows are passed over.
    ``repeats``: two files may share the moment at which one ends and the next begins. Nothing else is said of the rows;
    what lies between two files is a gap like one within a file. Raises DataError when files overlap in time or hold
    values of different types.
    """
    chosen = [*names, *(name for name in optional if all(name in file.names for file in files))]
    if len(files) == 1:
        return files[0].table(chosen), files[0].path
    parts = []
    for file in files:
        rows = file.table(chosen)
        if rows.num_rows:
            at_ms = whole_numbers(rows, time, file.path)
            parts.append(_Part(file.path, rows, int(at_ms.min()), int(at_ms.max())))
    if not parts:
        return files[0].table(chosen), files[0].path
    parts.sort(key=lambda part: part.first_ms)
    for before, after in pairwise(parts):
        if after.first_ms < before.last_ms or (after.first_ms == before.last_ms and not repeats):
            raise DataError(
                f"{after.path}: begins {utc(after.first_ms)}, before {before.path} has ended ({utc(before.last_ms)}); "
                "give every stretch of time once"
            )
    return _concatenated(parts), name_of([part.path for part in parts])


def _concatenated(parts: Sequence[_Part]) -> pa.Table:
    for part in parts[1:]:
        for name in part.rows.column_names:
            here, there = part.rows.schema.field(name).type, parts[0].rows.schema.field(name).type
            if here != there:
                raise DataError(
                    f"{part.path}: column {name} has type {here}, in {parts[0].path} it has {there}; convert one"
                )
    return pa.concat_tables([part.rows for part in parts])


def name_of(paths: Sequence[Path]) -> Path:
    """How several files are called in one line.

    >>> str(name_of([Path("sol/2026-01-05.parquet"), Path("sol/2026-01-06.parquet")]))
    'sol/2026-01-05.parquet … 2026-01-06.parquet'
    """
    return paths[0] if len(paths) == 1 else Path(f"{paths[0]} … {paths[-1].name}")
