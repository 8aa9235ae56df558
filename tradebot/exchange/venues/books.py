"""The books of several venues and pairs on one grid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tradebot.events import VenueBook
from tradebot.exchange.venues.binance_feed import BinanceFeed
from tradebot.exchange.venues.bybit_feed import BybitFeed
from tradebot.exchange.venues.connection import VenueTiming
from tradebot.exchange.venues.feed import VenueFeed
from tradebot.exchange.venues.grid import VenueGrid

SEAL_AFTER_MS = 250
"""A boundary at which nothing comes is sealed this long after it."""


@dataclass(frozen=True, slots=True)
class VenueAddresses:
    """Where the venues are; without the path of the stream for Binance, with it for Bybit."""

    binance_spot_rest: str = "https://api.binance.com"
    binance_spot_ws: str = "wss://stream.binance.com:9443"
    binance_perp_rest: str = "https://fapi.binance.com"
    binance_perp_ws: str = "wss://fstream.binance.com"
    bybit_spot_ws: str = "wss://stream.bybit.com/v5/public/spot"


class VenueBooks:
    """Books of ``symbols`` on the venues ``names`` (binance-spot, binance-perp, bybit-spot).

    ``put`` gets a row for each venue and pair at every boundary of the 5 s grid, once that book was heard. ``now_ms``
    is the bot's clock. ``run``, and ``on_time`` by whoever keeps the bot's time, belong to one event loop. Raises
    ValueError for a venue that does not exist.
    """

    def __init__(
        self,
        names: Sequence[str],
        symbols: Sequence[str],
        addresses: VenueAddresses,
        *,
        stale_after_ms: int,
        now_ms: Callable[[], int],
        put: Callable[[VenueBook], None],
        timing: VenueTiming | None = None,
    ) -> None:
        self._grid = VenueGrid(stale_after_ms, put)
        self._now_ms = now_ms
        at, timing = addresses, timing or VenueTiming()
        feeds: list[VenueFeed] = []
        for name in names:
            common = (symbols, self._grid, now_ms, timing)
            if name == "binance-spot":
                feeds.append(BinanceFeed("spot", at.binance_spot_rest, at.binance_spot_ws, *common))
            elif name == "binance-perp":
                feeds.append(BinanceFeed("perp", at.binance_perp_rest, at.binance_perp_ws, *common))
            elif name == "bybit-spot":
                feeds.append(BybitFeed(at.bybit_spot_ws, *common))
            else:
                raise ValueError(f"no venue {name!r}")
        self.feeds = tuple(feeds)

    async def run(self) -> None:
        """Keep all books until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for feed in self.feeds:
                tasks.create_task(feed.run(), name=feed.name)

    def next_due_ms(self) -> int | None:
        """When :meth:`on_time` has something to do next."""
        due = self._grid.next_due_ms()
        return None if due is None else due + SEAL_AFTER_MS

    def on_time(self) -> None:
        """Seal the boundaries that have passed."""
        self._grid.reach(self._now_ms())
