"""Live books of Binance: changes over one combined stream, snapshots over REST, one symbol at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

import aiohttp

from tradebot.errors import DataError, ExchangeError, RateLimited, Unavailable
from tradebot.exchange.bitget.pacing import Backoff
from tradebot.exchange.venues import binance
from tradebot.exchange.venues.connection import VenueTiming
from tradebot.exchange.venues.feed import VenueFeed
from tradebot.exchange.venues.grid import VenueGrid

log = logging.getLogger(__name__)

LIMITED_S = 10.0
BANNED_S = 120.0
"""How long no snapshot is asked for after HTTP 429, and after 418, which is a ban of at least two minutes."""


class BinanceFeed(VenueFeed):
    """Books of Binance spot or USDT perpetuals."""

    def __init__(
        self,
        market: binance.Market,
        rest_url: str,
        ws_url: str,
        symbols: Sequence[str],
        grid: VenueGrid,
        now_ms: Callable[[], int],
        timing: VenueTiming,
    ) -> None:
        # the venue pings by itself, and the WebSocket answers by itself
        super().__init__(f"binance-{market}", binance.stream_url(ws_url, symbols), symbols, grid, now_ms, timing)
        self._market = market
        self._rest_url = rest_url.rstrip("/")
        self._keepers = {symbol: binance.BinanceKeeper(market) for symbol in symbols}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._wanted: set[str] = set()
        self._commands = 0

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._timing.request)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(super().run())
            tasks.create_task(self._fetch_forever(session))

    def _session(self, up: bool) -> None:
        for symbol, keeper in self._keepers.items():
            keeper.lose()
            if up:
                self._want(symbol)

    def _renew(self, symbol: str) -> None:
        self._commands += 1
        for message in binance.commands(symbol, self._commands):
            self.connection.say(message)

    def _take(self, frame: bytes, now_ms: int) -> None:
        change = binance.decode_push(frame)
        keeper = None if change is None else self._keepers.get(change.s)
        if change is not None and keeper is not None:
            self._heard(change.s)
            self._tell(change.s, keeper.update(change), now_ms)

    def _tell(self, symbol: str, outcome: str | None, now_ms: int) -> None:
        if outcome == "":
            self._rows[symbol].changed(self._keepers[symbol].book, now_ms)
        elif outcome is not None:
            self.counts.resyncs += 1
            log.warning("%s %s: %s; asking for a snapshot", self.name, symbol, outcome)
            self._rows[symbol].broken()
            self._want(symbol)

    # --- snapshots --------------------------------------------------------------------------------------------------

    def _want(self, symbol: str) -> None:
        if symbol not in self._wanted:
            self._wanted.add(symbol)
            self._queue.put_nowait(symbol)

    async def _fetch_forever(self, session: aiohttp.ClientSession) -> None:
        """Snapshots, one after the other, slower while they fail or do not fit."""
        backoff = Backoff(random.Random(), self._timing.first_wait, self._timing.longest_wait)
        while True:
            symbol = await self._queue.get()
            number = self.connection.sessions
            least_s, problem = 0.0, ""
            try:
                snapshot = await self._fetch(session, symbol)
            except RateLimited as error:
                least_s, problem = BANNED_S if error.code == "418" else LIMITED_S, str(error)
            except (ExchangeError, DataError) as error:
                problem = str(error)
            self._wanted.discard(symbol)
            if problem:
                log.warning("%s %s: no snapshot: %s", self.name, symbol, problem)
                self._want(symbol)
            elif not self.up or self.connection.sessions != number:
                self._want(symbol)  # it belongs to another session's changes
            else:
                self._join(symbol, snapshot)
            if symbol in self._wanted:
                await asyncio.sleep(max(least_s, backoff.next()))
            else:
                backoff.reset()

    def _join(self, symbol: str, snapshot: binance.Snapshot) -> None:
        now_ms = self._now_ms()
        self._grid.reach(now_ms)
        self.counts.snapshots += 1
        self._tell(symbol, self._keepers[symbol].snapshot(snapshot), now_ms)

    async def _fetch(self, session: aiohttp.ClientSession, symbol: str) -> binance.Snapshot:
        """A snapshot by REST. Raises RateLimited, Unavailable, DataError."""
        url = self._rest_url + binance.snapshot_path(self._market, symbol)
        try:
            async with session.get(url) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{url}: {error or type(error).__name__}") from error
        if response.status in (418, 429):
            raise RateLimited(f"too many requests (HTTP {response.status})", code=str(response.status))
        if response.status != 200:
            said = body[:120].decode("utf-8", "replace")
            raise Unavailable(f"HTTP {response.status}: {said}", code=str(response.status))
        return binance.decode_snapshot(body)
