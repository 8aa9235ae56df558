"""Live books of Bybit spot: snapshots and deltas over one stream; a broken book is subscribed again by itself."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from tradebot.exchange.bitget.pacing import Backoff
from tradebot.exchange.venues import bybit
from tradebot.exchange.venues.connection import VenueTiming
from tradebot.exchange.venues.feed import VenueFeed
from tradebot.exchange.venues.grid import VenueGrid

log = logging.getLogger(__name__)


class BybitFeed(VenueFeed):
    """Books of Bybit spot."""

    def __init__(
        self, ws_url: str, symbols: Sequence[str], grid: VenueGrid, now_ms: Callable[[], int], timing: VenueTiming
    ) -> None:
        greetings = bybit.commands("subscribe", symbols)
        super().__init__("bybit-spot", ws_url, symbols, grid, now_ms, timing, greetings=greetings, ping=bybit.PING)
        self._keepers = {symbol: bybit.BybitKeeper() for symbol in symbols}
        self._backoff = {symbol: Backoff(random.Random(), timing.first_wait, timing.longest_wait) for symbol in symbols}
        self._resync: dict[str, asyncio.TimerHandle] = {}

    def _session(self, up: bool) -> None:
        for handle in self._resync.values():
            handle.cancel()
        self._resync.clear()
        for keeper in self._keepers.values():
            keeper.lose()

    def _renew(self, symbol: str) -> None:
        for operation in ("unsubscribe", "subscribe"):
            for message in bybit.commands(operation, [symbol]):
                self.connection.say(message)

    def _take(self, frame: bytes, now_ms: int) -> None:
        push = bybit.decode_push(frame)
        rows = push.data
        if rows is None:
            if not push.success:
                log.error("%s: %s refused: %s", self.name, push.op or "a command", push.ret_msg)
            return
        keeper = self._keepers.get(rows.s)
        if keeper is None or not push.topic.startswith("orderbook."):
            return
        self._heard(rows.s)
        self.counts.snapshots += push.type == "snapshot"
        outcome = keeper.take(push.type, rows)
        if outcome == "":
            self._rows[rows.s].changed(keeper.book, now_ms)
        elif outcome is not None:
            self._broke(rows.s, outcome)

    def _broke(self, symbol: str, reason: str) -> None:
        self.counts.resyncs += 1
        self._rows[symbol].broken()
        backoff = self._backoff[symbol]
        wait_s = backoff.next()
        log.warning("%s %s: %s; subscribing again in %.1f s", self.name, symbol, reason, wait_s)
        loop = asyncio.get_running_loop()
        self._resync[symbol] = loop.call_later(wait_s, self._renew, symbol)
        loop.call_later(self._timing.stable, backoff.reset)
