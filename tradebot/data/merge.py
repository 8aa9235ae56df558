"""Rows that are stored and rows that come in, as one sorted set. Taking the same rows in twice changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tradebot.data.channels import Channel
from tradebot.data.columns import plural, utc
from tradebot.errors import DataError


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows of both sides by time; how many are new, how many were there already, and which contradict.

    ``differing``: times (ms) at which both sides have a row and the values are not the same.
    """

    table: pa.Table
    added: int
    equal: int
    differing: tuple[int, ...]


def merge(channel: Channel, stored: pa.Table, coming: pa.Table, what: str, *, replace: bool = False) -> Merged:
    """``coming`` taken into ``stored``; both have the channel's columns.

    Where they contradict, the stored row stands, or with ``replace`` the coming one. Trades with an id are the same
    trade whenever their ids are; rows of channels that repeat their times are otherwise the same only when all their
    values are, and as many of them are kept as the side with more has. Raises DataError (prefixed ``what``) when the
    sides have different columns or ``coming`` contradicts itself.
    """
    if stored.num_rows and stored.schema.names != coming.schema.names:
        if not replace or not set(_times(channel, stored).tolist()) <= set(_times(channel, coming).tolist()):
            differ = sorted(set(stored.schema.names) ^ set(coming.schema.names))
            raise DataError(
                f"{what}: only one of the stored rows and the new ones has {', '.join(differ)}; keep them under "
                "another exchange name, or replace the whole day"
            )
        stored = coming.slice(0, 0)
    if not stored.num_rows:
        stored = coming.slice(0, 0)
    keys = _keys if channel.unique else _row_keys
    own, twice = _index(keys(channel, coming))
    if twice:
        same = [_same_rows(coming, np.array([a]), coming, np.array([b]))[0] for a, b in twice]
        if not all(same):
            at = int(_times(channel, coming)[twice[same.index(False)][1]])
            raise DataError(f"{what}: two different rows for {utc(at)}; keep one of them")
    known, _ = _index(keys(channel, stored))
    common = [key for key in own if key in known]
    fresh = np.array([row for key, row in own.items() if key not in known], np.int64)
    ours, theirs = np.array([known[key] for key in common], np.int64), np.array([own[key] for key in common], np.int64)
    compared = coming.schema.names if channel.unique else [n for n in coming.schema.names if n != channel.time]
    same_rows = _same_rows(stored.select(compared), ours, coming.select(compared), theirs)
    apart = np.flatnonzero(~same_rows)
    kept = stored
    if replace and apart.size:
        stay = np.ones(stored.num_rows, np.bool_)
        stay[ours[apart]] = False
        kept, fresh_rows = stored.filter(pa.array(stay)), np.concatenate((fresh, theirs[apart]))
    else:
        fresh_rows = fresh
    rows = pa.concat_tables([kept, coming.take(pa.array(np.sort(fresh_rows)))])
    order = np.argsort(_times(channel, rows), kind="stable")
    if order.size and not np.array_equal(order, np.arange(order.size)):
        rows = rows.take(pa.array(order))
    differing = tuple(_times(channel, coming)[theirs[apart]].tolist())
    return Merged(rows.combine_chunks(), int(fresh.size), int(same_rows.sum()), differing)


def contradiction(what: str, differing: tuple[int, ...]) -> str:
    """One line about rows that contradict what is stored."""
    return (
        f"{what}: {plural(len(differing), 'row')} unlike the stored, first at {utc(min(differing))}; "
        "the stored ones stand (--refresh replaces them)"
    )


def _times(channel: Channel, table: pa.Table) -> NDArray[np.int64]:
    values: NDArray[np.int64] = table[channel.time].to_numpy()
    return values


def _keys(channel: Channel, table: pa.Table) -> list[Any]:
    return list(_times(channel, table).tolist())


def _row_keys(channel: Channel, table: pa.Table) -> list[Any]:
    """The trade id where there is one; else all values with the how-manieth such row it is."""
    ids = table["trade_id"].to_pylist() if "trade_id" in table.column_names else [""] * table.num_rows
    seen: dict[Any, int] = {}
    keys: list[Any] = []
    for number, row in zip(ids, zip(*(column.to_pylist() for column in table.columns), strict=True), strict=True):
        if number:
            keys.append(number)
            continue
        seen[row] = seen.get(row, 0) + 1
        keys.append((row, seen[row]))
    return keys


def _index(keys: list[Any]) -> tuple[dict[Any, int], list[tuple[int, int]]]:
    """Key → its first row, and pairs of rows with one key."""
    first: dict[Any, int] = {}
    twice = []
    for row, key in enumerate(keys):
        if (at := first.setdefault(key, row)) != row:
            twice.append((at, row))
    return first, twice


def _same_rows(a: pa.Table, a_rows: NDArray[np.int64], b: pa.Table, b_rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether row ``a_rows[i]`` of ``a`` holds what row ``b_rows[i]`` of ``b`` does, NaN being equal to itself."""
    same = np.ones(a_rows.size, np.bool_)
    for name in a.column_names:
        left, right = (t[name].to_numpy(zero_copy_only=False)[rows] for t, rows in ((a, a_rows), (b, b_rows)))
        equal = left == right
        if left.dtype.kind == "f":
            equal |= np.isnan(left) & np.isnan(right)
        same &= equal
    return same
