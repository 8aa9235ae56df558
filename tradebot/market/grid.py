"""The grids that books are sampled on: one for the exchange that is traded on, one for the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of ``levels`` price levels a side at every multiple of ``step_ms`` since the epoch, UTC.

    A state older than ``stale_ms`` is stale: it is marked so where it is sent, and is not carried on.
    """

    step_ms: int
    levels: int
    stale_ms: int

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


BOOK_GRID = Grid(step_ms=1_000, levels=10, stale_ms=10_000)
VENUE_GRID = Grid(step_ms=5_000, levels=5, stale_ms=10_000)
