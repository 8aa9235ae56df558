"""Parquet columns as numpy arrays, with one clear line for everything that can be wrong with a file."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tradebot.errors import DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

OLDEST_MS = 1_230_768_000_000
"""2009-01-01: no market this project reads is older, so smaller numbers are seconds, not milliseconds."""
NEWEST_MS = 4_102_444_800_000
"""2100-01-01: larger numbers are micro- or nanoseconds."""


def utc(ts_ms: int) -> str:
    """A time as people write it.

    >>> utc(1767653640000)
    '2026-01-05 22:54:00 UTC'
    """
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plural(count: int, noun: str) -> str:
    """``count`` and its noun: "1 row", "3 rows".

    >>> plural(2, "candle")
    '2 candles'
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class ParquetColumns:
    """One parquet file, opened; columns are read on demand.

    Raises DataError when the file is missing, unreadable, or not a parquet file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = pq.ParquetFile(self.path)
        except FileNotFoundError:
            raise DataError(f"{self.path}: no such file; check the path") from None
        except IsADirectoryError:
            raise DataError(f"{self.path}: is a folder; name one parquet file") from None
        except PermissionError:
            raise DataError(f"{self.path}: may not be read; check its permissions") from None
        except (pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) == errno.EISDIR or self.path.is_dir():
                raise DataError(f"{self.path}: is a folder; name one parquet file") from None
            raise DataError(
                f"{self.path}: not a readable parquet file ({_first_line(error)}); copy or download it again"
            ) from None
        self.names: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        self.rows: int = self._file.metadata.num_rows

    def require(self, names: Sequence[str], what: str) -> None:
        """Raise DataError unless all columns exist."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise DataError(
                f"{self.path}: not a file of {what}: lacks column {', '.join(missing[:4])}"
                f"{' …' if len(missing) > 4 else ''} (has {', '.join(self.names[:8])}"
                f"{' …' if len(self.names) > 8 else ''})"
            )

    def table(self, names: Sequence[str]) -> pa.Table:
        """The columns, read at once. Raises DataError when the file's contents are damaged."""
        try:
            return self._file.read(columns=list(names))
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{self.path}: damaged parquet file ({_first_line(error)}); copy or download it again"
            ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")


def _typed(table: pa.Table, name: str, path: Path, wanted: str) -> pa.ChunkedArray:
    column = table[name]
    if column.null_count:
        raise DataError(f"{path}: {plural(column.null_count, 'empty value')} in column {name}; drop those rows")
    kind = column.type
    fits = {
        "a whole number": pa.types.is_integer(kind),
        "a number": pa.types.is_integer(kind) or pa.types.is_floating(kind),
        "a flag": pa.types.is_boolean(kind),
        "a text": pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind),
    }[wanted]
    if not fits:
        raise DataError(f"{path}: column {name} must hold {wanted}, has type {kind}; convert it")
    return column


Scalar = TypeVar("Scalar", bound=np.generic)


def _sealed(values: NDArray[Scalar]) -> NDArray[Scalar]:
    values.flags.writeable = False
    return values


def whole_numbers(table: pa.Table, name: str, path: Path) -> Ints:
    """An int64 column. Raises DataError for another type or empty values."""
    column = _typed(table, name, path, "a whole number")
    return _sealed(np.array(column.to_numpy(), dtype=np.int64))


def numbers(table: pa.Table, name: str, path: Path) -> Floats:
    """A float64 column. Raises DataError for another type or empty values."""
    column = _typed(table, name, path, "a number")
    return _sealed(np.array(column.to_numpy(), dtype=np.float64))


def flags(table: pa.Table, name: str, path: Path) -> Flags:
    """A boolean column. Raises DataError for another type or empty values."""
    column = _typed(table, name, path, "a flag")
    return _sealed(np.array(column.to_numpy(), dtype=np.bool_))


def texts(table: pa.Table, name: str, path: Path) -> list[str]:
    """A text column. Raises DataError for another type or empty values."""
    return [str(value) for value in _typed(table, name, path, "a text").to_pylist()]


def times(table: pa.Table, name: str, path: Path, *, what: str, repeats: bool) -> Ints:
    """A sorted column of times in ms since the epoch (UTC). ``repeats``: equal neighbours are allowed.

    Raises DataError for times that are not ms, rows out of order, and repeated times where they are not allowed.
    """
    values = whole_numbers(table, name, path)
    if values.size and (int(values.min()) < OLDEST_MS or int(values.max()) >= NEWEST_MS):
        raise DataError(
            f"{path}: column {name} is not in milliseconds since 1970 (holds {int(values[0])}); convert it to ms"
        )
    steps = np.diff(values)
    backward = np.flatnonzero(steps < 0)
    if backward.size:
        raise DataError(
            f"{path}: {plural(backward.size, what)} out of order, first at {utc(int(values[backward[0] + 1]))}; "
            f"sort the file by {name}"
        )
    if not repeats:
        same = np.flatnonzero(steps == 0)
        if same.size:
            raise DataError(
                f"{path}: {plural(same.size, f'duplicate {what}')}, first at {utc(int(values[same[0] + 1]))}; "
                f"keep one row per {name}"
            )
    return values


def refuse(bad: Any, at: Ints, path: Path, what: str, remedy: str) -> None:
    """Raise DataError when any row of the boolean array ``bad`` is set.

    The line tells how many rows, what is wrong with them (``what``), the first one's time, and the ``remedy``.
    """
    rows = np.flatnonzero(bad)
    if rows.size:
        raise DataError(f"{path}: {plural(rows.size, 'row')} with {what}, first at {utc(int(at[rows[0]]))}; {remedy}")
