"""What the live books of all venues have in common: a connection, rows on the grid, counts, a watch over silence."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from tradebot.errors import DataError
from tradebot.exchange.venues.connection import VenueConnection, VenueTiming
from tradebot.exchange.venues.grid import VenueGrid

log = logging.getLogger(__name__)


@dataclass(slots=True)
class VenueCounts:
    """What happened on one venue since the start. ``resyncs``: books that broke; ``renewals``: silent subscriptions."""

    messages: int = 0
    snapshots: int = 0
    resyncs: int = 0
    renewals: int = 0
    unreadable: int = 0


class VenueFeed(ABC):
    """One venue's books. A subclass says what a frame means and how one book is asked for again.

    ``run`` keeps the books until it is cancelled, whatever the venue does.
    """

    def __init__(
        self,
        name: str,
        url: str,
        symbols: Sequence[str],
        grid: VenueGrid,
        now_ms: Callable[[], int],
        timing: VenueTiming,
        *,
        greetings: Sequence[str] = (),
        ping: str | None = None,
    ) -> None:
        self.name = name
        self.symbols = tuple(symbols)
        self.counts = VenueCounts()
        self.up = False
        self._grid = grid
        self._now_ms = now_ms
        self._timing = timing
        self._rows = {symbol: grid.add(name, symbol) for symbol in symbols}
        self._heard_at: dict[str, float] = {}
        self.connection = VenueConnection(
            url, greetings=greetings, ping=ping, on_frame=self._on_frame, on_up=self._on_up, timing=timing
        )

    async def run(self) -> None:
        """Keep the books until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.connection.run())
            tasks.create_task(self._watch())

    # --- what a subclass says ---------------------------------------------------------------------------------------

    @abstractmethod
    def _take(self, frame: bytes, now_ms: int) -> None:
        """Apply one frame. Raises DataError when it cannot be read."""

    @abstractmethod
    def _session(self, up: bool) -> None:
        """A session began or ended: what comes next continues nothing."""

    @abstractmethod
    def _renew(self, symbol: str) -> None:
        """Subscribe one book again."""

    # --- what it is told --------------------------------------------------------------------------------------------

    def _heard(self, symbol: str) -> None:
        self.counts.messages += 1
        self._heard_at[symbol] = monotonic()

    def _on_frame(self, frame: bytes) -> None:
        now_ms = self._now_ms()
        self._grid.reach(now_ms)
        try:
            self._take(frame, now_ms)
        except DataError as error:  # what it was shows itself: the next change of that book leaves a gap
            self.counts.unreadable += 1
            log.warning("%s: %s", self.name, error)

    def _on_up(self, up: bool) -> None:
        self.up = up
        self._grid.reach(self._now_ms())
        for row in self._rows.values():
            row.broken()
        self._heard_at = dict.fromkeys(self.symbols, monotonic())
        self._session(up)

    async def _watch(self) -> None:
        """A subscription that is acknowledged and silent is none."""
        quiet_s = self._timing.quiet
        while True:
            await asyncio.sleep(quiet_s / 4)
            now = monotonic()
            for symbol, at in list(self._heard_at.items()):
                if self.up and now - at >= quiet_s:
                    self._heard_at[symbol] = now
                    self.counts.renewals += 1
                    log.warning("%s %s: nothing heard for %.0f s; subscribing again", self.name, symbol, now - at)
                    self._renew(symbol)
