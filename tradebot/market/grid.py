"""The grids that books are sampled on: one for the exchange that is traded on, one for the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of ``levels`` price levels a side at every multiple of ``step_ms`` since the epoch, UTC.

    A state that was last confirmed more than ``stale_ms`` ago is stale: it is marked so. An unchanged state is told
    again ``repeat_ms`` after it was told, when it has been confirmed since; until the next row is told, the last one
    stands and grows older. Where that is as long as a step, every boundary has a row of its own.
    """

    step_ms: int
    levels: int
    stale_ms: int
    repeat_ms: int

    def boundary_after(self, ts_ms: int) -> int:
        """The first boundary later than ``ts_ms``.

        >>> BOOK_GRID.boundary_after(1_999), BOOK_GRID.boundary_after(2_000)
        (2000, 3000)
        """
        return ts_ms // self.step_ms * self.step_ms + self.step_ms

    @property
    def channel(self) -> str:
        """The name of its rows in the store.

        >>> BOOK_GRID.channel, VENUE_GRID.channel
        ('book_1s_l10', 'book_5s_l5')
        """
        return f"book_{self.step_ms // 1_000}s_l{self.levels}"


BOOK_GRID = Grid(step_ms=1_000, levels=10, stale_ms=10_000, repeat_ms=5_000)
VENUE_GRID = Grid(step_ms=5_000, levels=5, stale_ms=10_000, repeat_ms=5_000)
