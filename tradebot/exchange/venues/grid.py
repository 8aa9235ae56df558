"""The 5 s grid: the state of every venue's book just before each boundary, all boundaries being those of one clock."""

from __future__ import annotations

from collections.abc import Callable

from tradebot.events import VenueBook
from tradebot.market.book import OrderBook
from tradebot.market.grid import VENUE_GRID

LONGEST_PAUSE_MS = 60_000
"""After a pause longer than this the boundaries it held are left out: nobody was there to see them."""


class GridBook:
    """The newest sound state of one book, when it was heard, and whether the book can still be trusted."""

    __slots__ = ("_best", "_heard_ms", "_sound", "symbol", "venue")

    def __init__(self, venue: str, symbol: str) -> None:
        self.venue = venue
        self.symbol = symbol
        self._heard_ms: int | None = None
        self._sound = False
        self._best: tuple[tuple[float, ...], ...] = ((), (), (), ())

    def changed(self, book: OrderBook, now_ms: int) -> None:
        """The book was heard of at ``now_ms`` and is sound."""
        self._best = book.levels(VENUE_GRID.levels)
        self._heard_ms, self._sound = now_ms, True

    def broken(self) -> None:
        """The book is not to be trusted: its last sound state stands, marked stale."""
        self._sound = False

    def row(self, boundary_ms: int, stale_after_ms: int) -> VenueBook | None:
        """What stands for a boundary; None before the first sound state."""
        if self._heard_ms is None:
            return None
        age_ms = boundary_ms - self._heard_ms
        bid_px, bid_sz, ask_px, ask_sz = self._best
        return VenueBook(
            venue=self.venue,
            symbol=self.symbol,
            boundary_ms=boundary_ms,
            age_ms=age_ms,
            stale=not self._sound or age_ms > stale_after_ms,
            bid_px=bid_px,
            bid_sz=bid_sz,
            ask_px=ask_px,
            ask_sz=ask_sz,
        )


class VenueGrid:
    """Samples books at every boundary of the grid.

    ``reach(now)`` must be called before anything that came at ``now`` is applied to any book; whoever has a timer calls
    it, too, so that a boundary does not wait for the next message. ``put`` gets one row for each book and boundary.
    """

    def __init__(self, stale_after_ms: int, put: Callable[[VenueBook], None]) -> None:
        self._stale_after_ms = stale_after_ms
        self._put = put
        self._books: list[GridBook] = []
        self._next_ms: int | None = None

    def add(self, venue: str, symbol: str) -> GridBook:
        """A book that is sampled from now on."""
        book = GridBook(venue, symbol)
        self._books.append(book)
        return book

    def reach(self, now_ms: int) -> None:
        """Seal every boundary up to ``now_ms``."""
        due = self._next_ms
        if due is None or now_ms - due > LONGEST_PAUSE_MS:
            self._next_ms = VENUE_GRID.boundary_after(now_ms)
            return
        while due <= now_ms:
            for book in self._books:
                row = book.row(due, self._stale_after_ms)
                if row is not None:
                    self._put(row)
            due += VENUE_GRID.step_ms
        self._next_ms = due

    def next_due_ms(self) -> int | None:
        """The next boundary."""
        return self._next_ms
