"""Lists that are read backwards, newest first, in a window of time (protocol section 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from tradebot.market.candle import DAY_MS
from tradebot.sim.params import Params
from tradebot.sim.wire import Refusal

T = TypeVar("T")

REACH_MS = 90 * DAY_MS
"""How far back the lists of what has ended go."""


class Window(NamedTuple):
    """The stretch of time a list may be asked for: ``longest_ms`` from start to end, else ``code``."""

    longest_ms: int
    code: str


QUARTER = Window(REACH_MS, "40705")
MONTH = Window(30 * DAY_MS, "00001")
WEEK = Window(7 * DAY_MS, "00001")


def paged(
    oldest_first: Iterable[T],
    params: Params,
    id_of: Callable[[T], str],
    at_ms: Callable[[T], int],
    *,
    default: int = 100,
    most: int = 100,
) -> list[T]:
    """The newest ``limit`` rows before ``idLessThan`` with startTime ≤ time ≤ endTime, newest first."""
    before = params.integer("idLessThan")
    start = params.integer("startTime")
    end = params.integer("endTime")
    limit = params.limit(default, most)
    chosen = [
        row
        for row in oldest_first
        if (before is None or int(id_of(row)) < before)
        and (start is None or at_ms(row) >= start)
        and (end is None or at_ms(row) <= end)
    ]
    chosen.sort(key=lambda row: int(id_of(row)), reverse=True)
    return chosen[:limit]


def check_window(params: Params, now_ms: int, window: Window | None = None) -> None:
    """Refuse a stretch that ends before it begins (40707), begins too long ago (40704) or is too long.

    A startTime of 0 is none at all.
    """
    start = params.integer("startTime", 0) or 0
    end = params.integer("endTime")
    if start <= 0:
        return
    if end is not None and start > end:
        raise Refusal("40707", "Start time is greater than end time")
    if window is None:
        return
    if now_ms - start > REACH_MS:
        raise Refusal("40704", "can only check the data of the last three months")
    if end is not None and end - start > window.longest_ms:
        days = window.longest_ms // DAY_MS
        raise Refusal(window.code, f"startTime and endTime interval cannot be greater than {days} days")


def listed(name: str, page: list[dict[str, Any]], end_id: str) -> dict[str, Any]:
    """The object around a page. Empty lists are null, as the exchange sends them at times: clients must cope."""
    return {name: page or None, "endId": end_id or None}
