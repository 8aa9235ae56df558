"""Bounded queues between sockets and decoding, for an exchange that waits for nobody.

A frame is handled as soon as the loop turns. When more arrive than can be handled:

1. private frames go first: what happened to our orders never waits behind market data;
2. updates of one book are all applied, but only its newest state is told (``Feed.merging``); nothing else is merged;
3. a connection with ``BOUND`` frames waiting is not read any more until half of them are handled. What it sends then
   waits in the socket's buffers, and at last with the exchange: memory stays bounded and nothing is dropped.

Work is done in slices, so that timers and answers get their turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from time import monotonic

from tradebot.exchange.bitget.connection import Connection
from tradebot.exchange.bitget.feed import Feed
from tradebot.exchange.bitget.latency import Latency
from tradebot.exchange.bitget.listener import PRIVATE

BOUND = 1_024
SLICE_S = 0.005


class Intake:
    """A gate that lets frames pass when they arrive. ``held`` counts how often a connection was not read for a while,
    ``waited`` measures how long it took from the socket until the listener had handled a frame (ms); of a public one,
    until it had handled the slice that the frame was in, for that ends with the books."""

    def __init__(self, bound: int = BOUND, slice_s: float = SLICE_S) -> None:
        self._bound = bound
        self._slice_s = slice_s
        self._feed: Feed | None = None
        self._private: deque[tuple[float, Connection, bytes]] = deque()
        self._public: deque[tuple[float, Connection, bytes]] = deque()
        self._waiting: dict[Connection, int] = {}
        self._room: dict[Connection, asyncio.Event] = {}
        self._arrived = asyncio.Event()
        self.held = 0
        self.apart_ms = 0
        self.waited = Latency()

    def opens_to(self, feed: Feed) -> None:
        self._feed = feed

    def admit(self, connection: Connection) -> None:
        self._waiting[connection] = 0
        self._room[connection] = asyncio.Event()

    def offer(self, connection: Connection, frame: bytes) -> Awaitable[None] | None:
        queue = self._private if connection.rank == PRIVATE else self._public
        queue.append((monotonic(), connection, frame))
        self._arrived.set()
        self._waiting[connection] = waiting = self._waiting[connection] + 1
        if waiting < self._bound:
            return None
        self.held += 1
        return self._wait_for_room(connection)

    async def _wait_for_room(self, connection: Connection) -> None:
        room = self._room[connection]
        room.clear()
        await room.wait()

    def lost(self, connection: Connection) -> None:
        while self._waiting[connection]:
            self._slice()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._private or self._public:
                self._slice()
                await asyncio.sleep(0)

    @property
    def depth(self) -> int:
        return len(self._private) + len(self._public)

    def age_s(self) -> float:
        heads = [queue[0][0] for queue in (self._private, self._public) if queue]
        return monotonic() - min(heads) if heads else 0.0

    def _slice(self) -> None:
        """Handle frames for a while, private ones first."""
        feed = self._feed
        if feed is None:
            raise RuntimeError("a gate that opens to nothing")
        private, public, waiting = self._private, self._public, self._waiting
        now = monotonic()
        until = now + self._slice_s
        handled: list[float] = []
        feed.merging = True
        try:
            while (private or public) and now < until:
                received, connection, frame = (private or public).popleft()
                waiting[connection] = left = waiting[connection] - 1
                if left == self._bound // 2:
                    self._room[connection].set()
                feed.process(frame, connection.rank)
                now = monotonic()
                if connection.rank == PRIVATE:
                    self.waited.add((now - received) * 1_000.0)
                else:
                    handled.append(received)
        finally:
            feed.merging = False
        feed.catch_up()
        now = monotonic()
        for received in handled:
            self.waited.add((now - received) * 1_000.0)
