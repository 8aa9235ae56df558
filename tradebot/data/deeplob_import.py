"""Taking DeepLOB arrays (:mod:`tradebot.data.deeplob`) into the store."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tradebot.data.channels import channel_of
from tradebot.data.checks import HARMLESS, SAYS, row_faults
from tradebot.data.columns import NEWEST_MS, OLDEST_MS, Floats, Ints, plural, utc
from tradebot.data.deeplob import CHANNEL, COMPANIONS, STEP_MS, Layout, column_names, unpacked
from tradebot.data.folder import file_sha256, read_columns, read_metadata
from tradebot.data.importing import Taken
from tradebot.data.merge import contradiction
from tradebot.data.plan import Series
from tradebot.data.store import Store
from tradebot.errors import DataError
from tradebot.market.candle import DAY_MS

_NAMED = re.compile(r"([A-Z0-9]{2,30})_\d{8}_\d{8}")


def import_deeplob(
    store: Store,
    path: Path,
    *,
    exchange: str | None = None,
    symbol: str | None = None,
    layout: Layout | None = None,
) -> Taken:
    """Take one array in; taking it in again changes nothing. The return columns are not stored: books tell them.

    The sidecar tells market and columns; an array without one needs ``exchange`` and ``layout``, and a symbol from
    its name or ``symbol``. Where ``metadata.json`` names the file, its SHA-256 must agree. Raises DataError when the
    file is no such array or has rows that cannot be right: then nothing of it is taken.
    """
    sidecar = read_columns(path)
    named = _NAMED.match(path.stem)
    exchange = exchange or (sidecar.exchange if sidecar else None)
    symbol = symbol or (sidecar.symbol if sidecar else named[1] if named else None)
    names = tuple(column.name for column in sidecar.columns) if sidecar else layout and column_names(layout)
    if exchange is None or symbol is None or names is None:
        missing = [
            option
            for option, value in (("--exchange", exchange), ("--symbol", symbol), ("--layout levels|blocks", names))
            if value is None
        ]
        raise DataError(f"{path}: has no {path.stem}.columns.json that describes it; add {' and '.join(missing)}")
    if set(names) != set(column_names("levels")) or len(names) != len(set(names)):
        raise DataError(f"{path}: its columns are not those of a DeepLOB array; export it again")
    metadata = read_metadata(path.parent)
    known = next((one for one in metadata.files if one.file == path.name), None) if metadata else None
    if known is not None and known.sha256 != file_sha256(path):
        raise DataError(f"{path}: differs from its SHA-256 in metadata.json; copy or export it again")
    array = _opened(path, len(names))
    times = _times(array[:, names.index("time_ms")], path)
    companions = {extra: _companion(path, extra, known.companions if known else {}, times.size) for extra in COMPANIONS}
    days = np.unique(times // DAY_MS)
    kind = channel_of(CHANNEL)

    def rows_of(day: int) -> pa.Table:
        first, last = times.searchsorted((day * DAY_MS, (day + 1) * DAY_MS))
        table = unpacked(times[first:last], np.asarray(array[first:last]), names)
        for extra, values in companions.items():
            if values is not None:
                table = table.append_column(extra, pa.array(values[first:last]))
        return kind.conform(table, str(path))

    for day in days.tolist():
        wrong = [found for found in row_faults(kind, rows_of(day), None, DAY_MS) if found.fault not in HARMLESS]
        if wrong:
            raise DataError(
                f"{path}: {plural(wrong[0].rows, 'row')} {SAYS[wrong[0].fault]}, first at {utc(wrong[0].first_ms)}; "
                "mend the array, nothing of it was taken"
            )
    added = 0
    differing: tuple[int, ...] = ()
    for day in days.tolist():
        written = store.write_days(exchange, CHANNEL, symbol, rows_of(day), source=f"import {path.name}")
        added, differing = added + written.added, differing + written.differing
    series = Series(exchange, CHANNEL, symbol)
    problems = (contradiction(str(series), differing),) if differing else ()
    return Taken(path, series, int(times.size), added, problems)


def _opened(path: Path, width: int) -> Floats:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a readable numpy array ({reason})") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] != width:
        raise DataError(f"{path}: expected an array of shape (N, {width}), has {getattr(array, 'shape', 'none')}")
    if array.dtype != np.float64:
        raise DataError(f"{path}: holds {array.dtype}, expected float64: smaller numbers cannot hold the time")
    if not len(array):
        raise DataError(f"{path}: holds no rows")
    return array


def _times(column: Floats, path: Path) -> Ints:
    """Times in ms, from ms or seconds. Raises DataError for other times, or not on the grid, or not ascending."""
    values = np.asarray(column)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: times that are not finite; mend the array")
    if values.max() < OLDEST_MS / 100:
        values = values * 1000
    if values.min() < OLDEST_MS or values.max() >= NEWEST_MS:
        raise DataError(f"{path}: column time_ms holds {values[0]:.17g}, neither ms nor seconds since 1970; convert it")
    times: Ints = values.astype(np.int64)
    if (times != values).any() or (times % STEP_MS).any():
        raise DataError(f"{path}: times off the grid of {STEP_MS} ms; sample the books on whole seconds")
    back = np.flatnonzero(np.diff(times) <= 0)
    if back.size:
        raise DataError(f"{path}: rows out of order or twice, first at {utc(int(times[back[0] + 1]))}; sort the array")
    return times


def _companion(path: Path, extra: str, known: dict[str, str], rows: int) -> NDArray[np.generic] | None:
    beside = path.with_name(f"{path.stem}.{extra}.npy")
    if not beside.exists():
        if beside.name in known:
            raise DataError(f"{beside}: belongs to {path.name} and is not there; copy or export it again")
        return None
    if beside.name in known and known[beside.name] != file_sha256(beside):
        raise DataError(f"{beside}: differs from its SHA-256 in metadata.json; copy or export it again")
    try:
        values: NDArray[np.generic] = np.load(beside, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{beside}: not a readable numpy array ({error})") from None
    if values.shape != (rows,):
        raise DataError(f"{beside}: has {values.shape[0] if values.ndim else 0} values for {rows} rows; export again")
    return values
