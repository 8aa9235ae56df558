"""Between sockets and decoding: what passes when."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Protocol

from tradebot.exchange.bitget.connection import Connection
from tradebot.exchange.bitget.feed import Feed
from tradebot.exchange.bitget.latency import Latency


class Gate(Protocol):
    """Takes the frames of all connections and hands them to a feed, in its own time."""

    def opens_to(self, feed: Feed) -> None:
        """Where frames go. Called once, before the first one."""

    def admit(self, connection: Connection) -> None:
        """From now on frames of this connection are expected."""

    def offer(self, connection: Connection, frame: bytes) -> Awaitable[None] | None:
        """A text frame arrived; ``connection.received`` is its number. What is returned is awaited before the next one
        is read."""

    def lost(self, connection: Connection) -> None:
        """The connection's session is over: what it delivered is handled now, nothing more of it is waited for."""

    async def run(self) -> None:
        """Work until cancelled. Raises what a listener raised."""

    held: int
    """How often a connection was not read for a while."""
    waited: Latency
    """How long frames waited from their arrival to the end of their handling."""
    apart_ms: int
    """How far apart the moments are at which frames are handled; 0 where that is as they come."""

    @property
    def depth(self) -> int:
        """Frames that arrived and were not handled yet."""

    def age_s(self) -> float:
        """How long the oldest of them has been waiting, seconds of monotonic time."""


class PacedGate:
    """Frames wait for the embedded exchange's step that sent them, so that no machine's speed changes their order.

    When the exchange says how many frames each connection was sent up to a step, ``reach`` waits for them and releases
    them: public connections before private ones, each in its own order.
    """

    def __init__(self) -> None:
        self._feed: Feed | None = None
        self._connections: list[Connection] = []
        self._queues: dict[Connection, deque[tuple[int, bytes]]] = {}
        self.held = 0
        self.waited = Latency()
        self._gone: set[str] = set()
        """Names of sessions of ours that are over."""
        self._changed = asyncio.Event()
        self._step_ms = 0
        self.apart_ms = 0

    def opens_to(self, feed: Feed) -> None:
        self._feed = feed

    def admit(self, connection: Connection) -> None:
        self._connections.append(connection)
        self._connections.sort(key=lambda c: (c.rank, c.index))
        self._queues[connection] = deque()

    def offer(self, connection: Connection, frame: bytes) -> None:
        self._queues[connection].append((connection.received, frame))
        self._changed.set()

    def lost(self, connection: Connection) -> None:
        queue = self._queues[connection]
        while queue:
            self._process(queue.popleft()[1], connection)
        self._gone.add(connection.conn_id)
        self._changed.set()

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    @property
    def depth(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def age_s(self) -> float:
        """Always 0: the exchange waits, so nothing here is late."""
        return 0.0

    async def reach(self, counts: Mapping[str, int], step_ms: int) -> int:
        """Wait for all frames of the step at ``step_ms``, then release them. Returns how many were released.

        ``counts`` names sessions by connection id. An id nobody here has is waited for while one of our connections
        does not know its own id yet; after that it is another client's.
        """
        self.apart_ms, self._step_ms = step_ms - self._step_ms, step_ms
        while not self._arrived(counts):
            self._changed.clear()
            await self._changed.wait()
        released = 0
        for connection in self._connections:
            limit = counts.get(connection.conn_id, 0) if connection.conn_id else 0
            queue = self._queues[connection]
            while queue and queue[0][0] <= limit:
                self._process(queue.popleft()[1], connection)
                released += 1
        return released

    def _process(self, frame: bytes, connection: Connection) -> None:
        if self._feed is None:
            raise RuntimeError("a gate that opens to nothing")
        self._feed.process(frame, connection.rank)

    def _arrived(self, counts: Mapping[str, int]) -> bool:
        known = {connection.conn_id: connection.received for connection in self._connections if connection.conn_id}
        unnamed = len(known) < len(self._connections)
        for conn_id, count in counts.items():
            received = known.get(conn_id)
            if received is None:
                if unnamed and conn_id not in self._gone:
                    return False
            elif received < count:
                return False
        return True
