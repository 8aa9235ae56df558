"""Lists that are read backwards, newest first (protocol section 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tradebot.sim.params import Params

T = TypeVar("T")


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


def listed(name: str, page: list[dict[str, Any]], end_id: str) -> dict[str, Any]:
    """The object around a page. Empty lists are null, as the exchange sends them at times: clients must cope."""
    return {name: page or None, "endId": end_id or None}
