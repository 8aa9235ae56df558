"""Books of other venues in the daemon: kept beside trading, never in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from tradebot.events import Event
from tradebot.exchange.venues.books import VenueAddresses, VenueBooks
from tradebot.settings import Settings
from tradebot.shell.clock import Clock

log = structlog.get_logger(__name__)


class OtherVenues:
    """A timed part that tells ``put`` the books of other venues at every boundary of the 5 s grid."""

    def __init__(self, books: VenueBooks) -> None:
        self.books = books
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect. What goes wrong here is logged and shows as stale rows; it stops nothing else."""
        self._running = asyncio.create_task(self.books.run(), name="venues")
        self._running.add_done_callback(_told)

    def next_due_ms(self) -> int | None:
        return self.books.next_due_ms()

    def on_time(self) -> None:
        self.books.on_time()

    async def close(self) -> None:
        """Leave all venues."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)


def other_venues(
    settings: Settings, symbols: Sequence[str], clock: Clock, put: Callable[[Event], None]
) -> tuple[OtherVenues, ...]:
    """What ``settings.venues`` asks for: one part for all venues, or none."""
    asked = settings.venues
    if not asked.books:
        return ()
    addresses = VenueAddresses(
        binance_spot_rest=asked.binance_spot_rest,
        binance_spot_ws=asked.binance_spot_ws,
        binance_perp_rest=asked.binance_perp_rest,
        binance_perp_ws=asked.binance_perp_ws,
        bybit_spot_ws=asked.bybit_spot_ws,
    )
    pairs = asked.pairs or tuple(symbols)
    books = VenueBooks(asked.books, pairs, addresses, stale_after_ms=asked.stale_after.ms, now_ms=clock.now_ms, put=put)
    return (OtherVenues(books),)


def _told(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("venues_ended", reason=repr(error), remedy="trading goes on without them; restart to try again")
