"""Sealing the order book into rows on an exact time grid."""

from __future__ import annotations

import msgspec

from tradebot.market.book import OrderBook
from tradebot.market.instrument import Side


class SampledBook(msgspec.Struct, frozen=True, kw_only=True):
    """The state just before ``boundary_ms``, ``age_ms`` old there, and the volume traded since the previous row."""

    boundary_ms: int
    age_ms: int
    bid_px: tuple[float, ...]
    bid_sz: tuple[float, ...]
    ask_px: tuple[float, ...]
    ask_sz: tuple[float, ...]
    buy_volume: float = 0.0
    sell_volume: float = 0.0


class BookSampler:
    """Makes grid rows of one symbol's book without copying it at every update.

    A row for boundary B shows the last state before B. So ``seal`` is called with each event's time *before* the event
    changes the book (and by a timer shortly after B, for a symbol that is silent), and ``updated`` or ``traded`` after.
    A row equal to its predecessor is not made: nothing was updated and nothing traded.
    """

    def __init__(self, levels: int = 10, grid_ms: int = 1_000) -> None:
        self.levels = levels
        self.grid_ms = grid_ms
        self._boundary_ms = 0
        self._updated_ms: int | None = None
        self._changed = False
        self._bought = self._sold = 0.0

    def seal(self, book: OrderBook, now_ms: int) -> SampledBook | None:
        """The row that became due by ``now_ms``, if any. An event at B itself belongs to the next row."""
        if now_ms < self._boundary_ms:
            return None
        due_ms = self._boundary_ms
        self._boundary_ms = now_ms // self.grid_ms * self.grid_ms + self.grid_ms
        if due_ms == 0 or self._updated_ms is None or not (self._changed or self._bought or self._sold):
            return None
        bid_px, bid_sz, ask_px, ask_sz = book.levels(self.levels)
        row = SampledBook(
            boundary_ms=due_ms,
            age_ms=due_ms - self._updated_ms,
            bid_px=bid_px,
            bid_sz=bid_sz,
            ask_px=ask_px,
            ask_sz=ask_sz,
            buy_volume=self._bought,
            sell_volume=self._sold,
        )
        self._changed = False
        self._bought = self._sold = 0.0
        return row

    def updated(self, ts_ms: int) -> None:
        """The book was changed at ``ts_ms``."""
        self._updated_ms = ts_ms
        self._changed = True

    def traded(self, side: Side, size: float) -> None:
        """A taker traded ``size`` base coin."""
        if side == "buy":
            self._bought += size
        else:
            self._sold += size

    def reset(self) -> None:
        """The book is invalid: make no row until it is updated again."""
        self._updated_ms = None
        self._changed = False
        self._bought = self._sold = 0.0
