"""Between sockets and decoding: frames pass at once, or wait for the embedded exchange's step that sent them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from tradebot.exchange.bitget.connection import Connection


class FrameGate:
    """Hands frames to ``process`` in an order that does not depend on machine speed.

    Open (the default), a frame passes when it arrives. Paced, frames are counted and queued; when the exchange says how
    many frames each connection was sent up to a step, ``reach`` waits for them and releases them: public connections
    before private ones, each in its own order.
    """

    def __init__(self, process: Callable[[bytes], None], *, paced: bool = False) -> None:
        self._process = process
        self._paced = paced
        self._connections: list[Connection] = []
        self._queues: dict[Connection, deque[tuple[int, bytes]]] = {}
        self._changed = asyncio.Event()

    def admit(self, connection: Connection) -> None:
        """From now on frames of this connection are expected."""
        self._connections.append(connection)
        self._connections.sort(key=lambda c: (c.rank, c.index))
        self._queues[connection] = deque()

    def offer(self, connection: Connection, frame: bytes) -> None:
        """A text frame arrived; ``connection.received`` is its number."""
        if not self._paced:
            self._process(frame)
            return
        self._queues[connection].append((connection.received, frame))
        self._changed.set()

    def lost(self, connection: Connection) -> None:
        """The connection's session is over: what it delivered is handled now, nothing more of it is waited for."""
        queue = self._queues[connection]
        while queue:
            self._process(queue.popleft()[1])
        self._changed.set()

    async def reach(self, counts: Mapping[str, int]) -> int:
        """Wait for all frames of a step, then release them. Returns how many were released.

        ``counts`` names sessions by connection id. An id nobody here has is waited for while one of our connections
        does not know its own id yet; after that it is another client's.
        """
        while not self._arrived(counts):
            self._changed.clear()
            await self._changed.wait()
        released = 0
        for connection in self._connections:
            limit = counts.get(connection.conn_id, 0) if connection.conn_id else 0
            queue = self._queues[connection]
            while queue and queue[0][0] <= limit:
                self._process(queue.popleft()[1])
                released += 1
        return released

    def _arrived(self, counts: Mapping[str, int]) -> bool:
        known = {connection.conn_id: connection.received for connection in self._connections if connection.conn_id}
        unnamed = len(known) < len(self._connections)
        for conn_id, count in counts.items():
            received = known.get(conn_id)
            if received is None:
                if unnamed:
                    return False
            elif received < count:
                return False
        return True
