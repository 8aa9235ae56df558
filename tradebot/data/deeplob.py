"""Order books as one ``(N, 43)`` float64 array, the form DeepLOB trainings read.

Column 0 is the row's time (ms since the epoch, UTC; float64 holds it exactly, float32 would not), columns 1 to 40 the
ten best levels, columns 41 and 42 the log return of the mid over the next 10 s and 60 s in bp:
``ln(mid[t + h] / mid[t]) · 1e4``, NaN where the row at ``t + h`` is not there or a row between is missing. Layout
``levels`` (the order of the published network): ``ask_px_1, ask_sz_1, bid_px_1, bid_sz_1, ask_px_2, …``. Layout
``blocks``: ten ask prices, ten ask sizes, ten bid prices, ten bid sizes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from tradebot.data.channels import book_columns
from tradebot.data.columns import Floats, Ints
from tradebot.data.folder import Column

Layout = Literal["levels", "blocks"]

CHANNEL = "book_1s_l10"
FORMAT = "deeplob-npy"
LEVELS = 10
STEP_MS = 1_000
HORIZONS_MS = (10_000, 60_000)
AHEAD_ROWS = max(HORIZONS_MS) // STEP_MS
"""Rows after a block that its returns may need."""
COMPANIONS = ("age_ms", "stale")
"""Columns of stored rows that the array has no place for: files beside it, one value a row."""


def column_names(layout: Layout) -> tuple[str, ...]:
    """The 43 names in order.

    >>> column_names("levels")[:5], column_names("blocks")[:3], len(column_names("levels"))
    (('time_ms', 'ask_px_1', 'ask_sz_1', 'bid_px_1', 'bid_sz_1'), ('time_ms', 'ask_px_1', 'ask_px_2'), 43)
    """
    books = book_columns(LEVELS)
    if layout == "blocks":
        books = tuple(f"{side}_{i}" for side in ("ask_px", "ask_sz", "bid_px", "bid_sz") for i in range(1, LEVELS + 1))
    return ("time_ms", *books, *(f"return_{horizon // 1000}s_bp" for horizon in HORIZONS_MS))


def described(layout: Layout) -> tuple[Column, ...]:
    """The 43 columns with type and unit."""

    def unit(name: str) -> str:
        if name == "time_ms":
            return "ms since 1970-01-01 UTC; the state just before this moment"
        if name.startswith("return_"):
            return "bp, log return of the mid from this row on; NaN where the future is not in the data or has a gap"
        return "quote coin" if "_px_" in name else "base coin (coin-margined contracts: contracts)"

    return tuple(Column(name, "float64", unit(name)) for name in column_names(layout))


def forward_returns(times: Ints, mid: Floats, horizon_ms: int, rows: int) -> Floats:
    """Log return of ``mid`` over ``horizon_ms`` from each of the first ``rows`` rows, in bp.

    NaN where the later row is not there or any row between is missing.

    >>> times = np.array([0, 1000, 2000, 4000]); mid = np.array([100.0, 101.0, 102.0, 103.0])
    >>> forward_returns(times, mid, 2000, 4).round(2).tolist()
    [198.03, nan, nan, nan]
    """
    here = np.arange(rows)
    there = here + horizon_ms // STEP_MS
    result = np.full(rows, np.nan)
    here, there = here[there < times.size], there[there < times.size]
    # rows are at least one step apart: as many rows as steps leave no room for a gap
    unbroken = times[there] - times[here] == horizon_ms
    here, there = here[unbroken], there[unbroken]
    result[here] = np.log(mid[there] / mid[here]) * 1e4
    return result


def packed(table: pa.Table, ahead: pa.Table, layout: Layout) -> Floats:
    """Book rows as rows of the array; ``ahead`` are the rows after them, :data:`AHEAD_ROWS` where there are."""
    rows = table.num_rows
    names = column_names(layout)
    array = np.empty((rows, len(names)))
    both = pa.concat_tables([table.select(ahead.column_names), ahead])
    times = both["ts_ms"].to_numpy()
    mid = (both["ask_px_1"].to_numpy() + both["bid_px_1"].to_numpy()) / 2
    array[:, 0] = times[:rows]
    for i, name in enumerate(names[1 : 1 + 4 * LEVELS], start=1):
        array[:, i] = table[name].to_numpy()
    for i, horizon in enumerate(HORIZONS_MS, start=1 + 4 * LEVELS):
        array[:, i] = forward_returns(times, mid, horizon, rows)
    return array


def unpacked(times: Ints, array: Floats, names: tuple[str, ...]) -> pa.Table:
    """Rows of the array, whose columns are ``names``, as book rows at ``times``."""
    return pa.table({"ts_ms": times} | {name: array[:, names.index(name)].copy() for name in book_columns(LEVELS)})
