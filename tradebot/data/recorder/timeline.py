"""When a symbol was heard: from the edges and losses in its raw files to stretches of nothing, and the book's grid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradebot.data.recorder.records import NOT_RECORDING, Edge
from tradebot.market.candle import DAY_MS
from tradebot.market.grid import Grid

Ints = NDArray[np.int64]


Part = Literal["book", "trade", "ticker"]
"""What is heard of a symbol, as far as it can be missing for itself."""
EDGED: tuple[Part, ...] = ("book", "trade")
"""What the feed's edges are about."""


class Gap(NamedTuple):
    """``start_ms <= t < end_ms`` was not heard, or not wholly."""

    start_ms: int
    end_ms: int
    part: Part
    reason: str


class Timeline:
    """The gaps of one symbol, from its records in order. Gaps of one part are disjoint and end at midnight.

    ``start_ms`` is from where on nothing is known yet: the beginning of the day.
    """

    def __init__(self, start_ms: int) -> None:
        self.gaps: list[Gap] = []
        self._unheard_ms = start_ms
        self._down: dict[Part, tuple[int, str]] = {
            "book": (start_ms, NOT_RECORDING),
            "trade": (start_ms, NOT_RECORDING),
        }
        self._told_ms: dict[Part, int] = {"book": 0, "trade": 0, "ticker": 0}
        """Up to where the gaps of a part reach."""

    @property
    def until_ms(self) -> int:
        """Up to where something was heard."""
        return self._unheard_ms

    def heard(self, ts_ms: int) -> None:
        """Something was recorded at ``ts_ms``."""
        self._unheard_ms = max(self._unheard_ms, ts_ms + 1)

    def lost(self, count: int, until_ms: int) -> None:
        """``count`` records between the last one and that of ``until_ms`` are gone."""
        for part in EDGED:
            if part not in self._down:
                self._add(part, self._unheard_ms, until_ms, f"{count} records lost")

    def edge(self, edge: Edge, seen_ms: int) -> None:
        """The feed broke or came back; that was noticed at ``seen_ms``. A recorder's first word is that it was not
        recording until then."""
        for part in EDGED:
            if edge.up or (part != "book" and not edge.whole):
                self._rise(part, edge.at_ms if edge.up else seen_ms)
            else:
                self._fall(part, edge)
        self._unheard_ms = max(self._unheard_ms, edge.at_ms)

    def hole(self, part: Part, start_ms: int, end_ms: int, reason: str) -> None:
        """What a part told in this stretch is not whole, though its feed was up."""
        if part not in self._down:
            self._add(part, max(start_ms, self._told_ms[part]), end_ms, reason)

    def end(self, end_ms: int) -> None:
        """There are no more records: what was not heard up to the end of the day is a gap, too."""
        for part in EDGED:
            since_ms, reason = self._down.get(part, (self._unheard_ms, NOT_RECORDING))
            self._add(part, since_ms, end_ms, reason)

    def _rise(self, part: Part, at_ms: int) -> None:
        down = self._down.pop(part, None)
        if down is not None:
            self._add(part, down[0], at_ms, down[1])

    def _fall(self, part: Part, edge: Edge) -> None:
        at_ms = edge.at_ms
        down = self._down.get(part)
        if down is None:
            if edge.reason == NOT_RECORDING:
                at_ms = self._unheard_ms
        elif down[1] == edge.reason:
            at_ms = min(down[0], at_ms)
        else:
            self._add(part, down[0], at_ms, down[1])
        self._down[part] = (max(at_ms, self._told_ms[part]), edge.reason)

    def _add(self, part: Part, start_ms: int, end_ms: int, reason: str) -> None:
        while start_ms < end_ms:
            until_ms = min(end_ms, (start_ms // DAY_MS + 1) * DAY_MS)
            self.gaps.append(Gap(start_ms, until_ms, part, reason))
            self._told_ms[part] = start_ms = until_ms


Stretch = tuple[int, int]
"""From a time up to, and without, another, ms."""


def common(some: Iterable[Stretch], others: Iterable[Stretch]) -> list[Stretch]:
    """What lies in both of two sets of disjoint stretches, in order.

    >>> common([(0, 10), (20, 30)], [(5, 25)])
    [(5, 10), (20, 25)]
    """
    theirs = list(others)
    shared = ((max(a, c), min(b, d)) for a, b in some for c, d in theirs)
    return sorted((begin, end) for begin, end in shared if begin < end)


def without(some: Iterable[Stretch], others: Iterable[Stretch]) -> list[Stretch]:
    """What lies in one set of disjoint stretches and in none of others.

    >>> without([(0, 10), (20, 30)], [(5, 25)])
    [(0, 5), (25, 30)]
    """
    left = list(some)
    for begin, end in others:
        left = [(a, b) for c, d in left for a, b in ((c, min(d, begin)), (max(c, end), d)) if a < b]
    return sorted(left)


def carried(boundary_ms: Ints, gaps: list[Gap], until_ms: int, grid: Grid) -> tuple[Ints, Ints]:
    """The grid that the sealed rows stand for: (index of the row, boundary) for every boundary with a known state.

    A row that equals its predecessor is not sent, so the last one is carried on: until the next, never into a gap, the
    last one up to ``until_ms``, where hearing ended. Boundaries inside a gap have no row, whatever was sealed there.
    """
    if not boundary_ms.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    last = np.append(boundary_ms[1:] - grid.step_ms, until_ms - 1)
    if grid.repeat_ms == grid.step_ms:
        last = boundary_ms
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
