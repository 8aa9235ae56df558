"""What can be wrong with the rows of one day, counted: for stored days, and for files before they are taken in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tradebot.data.channels import Channel
from tradebot.data.columns import Flags, Floats, Ints
from tradebot.market.candle import DAY_MS, HOUR_MS, MONDAY_MS, WEEK_MS

Fault = Literal[
    "order", "duplicate", "day", "grid", "finite", "price", "size", "ohlc", "levels", "crossed", "locked", "stretch"
]  # fmt: skip

SAYS: dict[Fault, str] = {
    "order": "out of order",
    "duplicate": "with a time that another row has",
    "day": "of another day",
    "grid": "off the time grid",
    "finite": "with a value that is not finite",
    "price": "with a price that is not positive",
    "size": "with a size or volume that is negative, or zero where it cannot be",
    "ohlc": "with open or close outside [low, high]",
    "levels": "with levels out of order",
    "crossed": "with a crossed book (best ask below best bid)",
    "locked": "with a locked book (best ask equal to best bid)",
    "stretch": "that end before they start",
}
HARMLESS: frozenset[Fault] = frozenset({"locked"})
"""Told, but no trouble: venues that aggregate their levels publish locked books."""

FUNDING_STEP_MS = 8 * HOUR_MS
"""The longest time between settlements of a perpetual (protocol section 6.2)."""

_PRICE = re.compile(r"open|high|low|close|price|\w+_px(_\d+)?")
_SIZE = re.compile(r"size|\w+_sz_\d+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble: how many rows have it, and when it is first met (ms)."""

    fault: Fault
    rows: int
    first_ms: int


def row_faults(channel: Channel, table: pa.Table, day_ms: int | None, day_length_ms: int) -> list[Finding]:
    """Everything wrong with rows in themselves, gaps aside. ``day_ms``: the day they should lie in (None: any)."""
    times: Ints = table[channel.time].to_numpy()
    found: list[Finding] = []

    def note(fault: Fault, bad: Flags | np.bool_) -> None:
        rows = np.flatnonzero(bad)
        if rows.size:
            found.append(Finding(fault, int(rows.size), int(times[rows[0]])))

    steps = np.diff(times)
    note("order", np.concatenate(([False], steps < 0)))
    if channel.unique:
        seen = np.sort(times)
        repeated = np.unique(seen[1:][np.diff(seen) == 0])
        note("duplicate", np.isin(times, repeated) & ~_first_of(times))
    if day_ms is not None:
        note("day", (times < day_ms) | (times >= day_ms + day_length_ms))
    if channel.step_ms is not None:
        note("grid", (times - grid_origin(channel.step_ms)) % channel.step_ms != 0)
    floats = {f.name: table[f.name].to_numpy() for f in table.schema if pa.types.is_floating(f.type)}
    if floats:
        note("finite", ~np.isfinite(np.stack(list(floats.values()))).all(axis=0))
        prices = [values for name, values in floats.items() if _PRICE.fullmatch(name)]
        if prices:
            note("price", (np.stack(prices) <= 0).any(axis=0))
        note("size", np.stack([_too_small(channel, name, values) for name, values in floats.items()]).any(axis=0))
    if "close" in floats:
        o, h, l, c = (floats[name] for name in ("open", "high", "low", "close"))
        note("ohlc", (h < np.maximum(o, c)) | (l > np.minimum(o, c)))
    if "ask_px_1" in floats:
        asks, bids = _side(floats, "ask_px"), _side(floats, "bid_px")
        note("levels", (np.diff(asks, axis=1) <= 0).any(axis=1) | (np.diff(bids, axis=1) >= 0).any(axis=1))
        note("crossed", asks[:, 0] < bids[:, 0])
        note("locked", asks[:, 0] == bids[:, 0])
    if "end_ms" in table.column_names:
        note("stretch", table["end_ms"].to_numpy() < times)
    return found


def grid_origin(step_ms: int) -> int:
    """A time on the grid of ``step_ms``: the epoch, for weeks the first Monday after it."""
    return MONDAY_MS if step_ms % WEEK_MS == 0 else 0


def gaps(channel: Channel, times: Ints, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    """Stretches without a row between ``from_ms`` and ``to_ms``, as (first missing time, first time after).

    Candles and books lie on their grid; funding is settled every eight hours at the latest. Other channels have rows
    when something happens, and candles longer than a day less than one a day: their gaps cannot be told.
    """
    step = channel.step_ms or (FUNDING_STEP_MS if channel.name == "funding" else None)
    if step is None or step > DAY_MS or to_ms <= from_ms:
        return []
    inside = np.unique(times[(times >= from_ms) & (times < to_ms)])
    first = -(-from_ms // step) * step
    edges = np.concatenate(([first - step], inside, [-(-to_ms // step) * step]))
    wide = np.flatnonzero(np.diff(edges) > step)
    return [(int(edges[i]) + step, int(edges[i + 1])) for i in wide]


def missing_rows(channel: Channel, stretches: list[tuple[int, int]]) -> int:
    """How many rows would fill gaps."""
    step = channel.step_ms or FUNDING_STEP_MS
    return sum(-(-(end - start) // step) for start, end in stretches)


def _first_of(times: Ints) -> Flags:
    first = np.zeros(times.size, np.bool_)
    first[np.unique(times, return_index=True)[1]] = True
    return first


def _too_small(channel: Channel, name: str, values: Floats) -> Flags:
    if _SIZE.fullmatch(name):
        return values < 0 if channel.name == "open_interest" else values <= 0
    small: NDArray[np.bool_] = values < 0 if name in ("volume", "quote_volume") else np.zeros(values.size, np.bool_)
    return small


def _side(floats: dict[str, Floats], side: str) -> Floats:
    levels = sum(name.startswith(f"{side}_") for name in floats)
    return np.stack([floats[f"{side}_{i}"] for i in range(1, levels + 1)], axis=1)
