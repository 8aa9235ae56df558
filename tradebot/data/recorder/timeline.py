"""When a symbol was heard: from the edges and losses in its raw files to stretches of nothing, and the book's grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradebot.data.recorder.records import NOT_RECORDING, Edge
from tradebot.market.grid import Grid

Ints = NDArray[np.int64]


class Gap(NamedTuple):
    """``start_ms <= t < end_ms`` was not heard; ``whole``: not even trades."""

    start_ms: int
    end_ms: int
    whole: bool
    reason: str


class Timeline:
    """The gaps of one symbol, from its records in order.

    ``start_ms`` is from where on nothing is known yet: the beginning of the day, or the end of what is stored of it.
    """

    def __init__(self, start_ms: int) -> None:
        self.gaps: list[Gap] = []
        self._unheard_ms = start_ms
        self._down: tuple[int, bool, str] | None = (start_ms, True, NOT_RECORDING)

    def heard(self, ts_ms: int) -> None:
        """Something was recorded at ``ts_ms``."""
        self._unheard_ms = max(self._unheard_ms, ts_ms + 1)

    def lost(self, count: int, until_ms: int) -> None:
        """``count`` records between the last one and that of ``until_ms`` are gone."""
        if self._down is None:
            self._add(self._unheard_ms, until_ms, True, f"{count} records lost")

    def edge(self, edge: Edge) -> None:
        """The feed broke or came back. A recorder's first word is that it was not recording until then."""
        if edge.up:
            if self._down is not None:
                begin, whole, reason = self._down
                self._add(begin, edge.at_ms, whole, reason)
                self._down = None
        elif self._down is None:
            since = self._unheard_ms if edge.reason == NOT_RECORDING else edge.at_ms
            self._down = (since, edge.whole, edge.reason)
        elif self._down[1:] != (edge.whole, edge.reason):
            begin, whole, reason = self._down
            self._add(begin, edge.at_ms, whole, reason)
            self._down = (max(begin, edge.at_ms), edge.whole, edge.reason)
        self._unheard_ms = max(self._unheard_ms, edge.at_ms)

    def end(self, end_ms: int) -> None:
        """The day has ended: what was not heard up to then is a gap, too."""
        if self._down is not None:
            begin, whole, reason = self._down
            self._add(begin, end_ms, whole, reason)
        else:
            self._add(self._unheard_ms, end_ms, True, NOT_RECORDING)

    def _add(self, start_ms: int, end_ms: int, whole: bool, reason: str) -> None:
        if end_ms > start_ms:
            self.gaps.append(Gap(start_ms, end_ms, whole, reason))


def carried(boundary_ms: Ints, age_ms: Ints, gaps: list[Gap], grid: Grid) -> tuple[Ints, Ints]:
    """The grid that the sealed rows stand for: (index of the row, boundary) for every boundary with a known state.

    A row that equals its predecessor is not sent, so the last one is carried on: until the next, never into a gap,
    never when it would be stale. Boundaries inside a gap have no row, whatever was sealed there.
    """
    if not boundary_ms.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    reach = boundary_ms + np.maximum(grid.stale_ms - age_ms, 0)
    last = np.minimum(reach, np.append(boundary_ms[1:] - grid.step_ms, boundary_ms[-1]))
    starts = np.array(sorted(gap.start_ms for gap in gaps), dtype=np.int64)
    if starts.size:
        at = np.searchsorted(starts, boundary_ms, side="right")
        until = np.append(starts, np.iinfo(np.int64).max)[at]
        last = np.minimum(last, until - 1)
    counts = np.maximum((last - boundary_ms) // grid.step_ms, 0) + 1
    rows = np.repeat(np.arange(boundary_ms.size), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    boundaries = boundary_ms[rows] + (np.arange(rows.size) - first) * grid.step_ms
    keep = np.ones(rows.size, np.bool_)
    for gap in gaps:
        keep &= (boundaries < gap.start_ms) | (boundaries >= gap.end_ms)
    return rows[keep], boundaries[keep]
