"""All WebSocket connections of market and account data, and who is too slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tradebot.sim.connection import SLOW_BYTES, Connection

PATIENCE_S = 10.0
"""How long a free-running exchange waits for a slow reader before it drops it."""


class Hub:
    """Opens, counts, flushes and drops connections. ``pass_on`` is what each frame of theirs goes through."""

    def __init__(self, pass_on: Callable[[Connection, bytes], None] | None = None) -> None:
        self._pass_on = pass_on
        self._connections: dict[Connection, None] = {}
        self._opened = 0
        self._slow_since: dict[Connection, float] = {}
        self._clocks: dict[asyncio.Transport, None] = {}

    def open(self, transport: asyncio.Transport, *, private: bool) -> Connection:
        """A new connection; ids count up, so equal runs give equal ids."""
        self._opened += 1
        connection = Connection(f"sim-{self._opened:06d}", transport, private=private, pass_on=self._pass_on)
        self._connections[connection] = None
        return connection

    @property
    def connections(self) -> list[Connection]:
        """Those open now, oldest first."""
        return list(self._connections)

    def drop(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._connections.pop(connection, None)
        self._slow_since.pop(connection, None)

    def track(self, transport: asyncio.Transport) -> None:
        """A paced client's control connection: only to be dropped with the others."""
        self._clocks[transport] = None

    def untrack(self, transport: asyncio.Transport) -> None:
        self._clocks.pop(transport, None)

    def counts(self) -> dict[str, int]:
        """Text frames sent so far, by connection id; of those that can be waited for, because their client knows the
        id and what was sent can reach it."""
        return {c.conn_id: c.frames for c in self._connections if c.named and c.alive}

    def flush(self) -> None:
        """Hand every queued frame to its socket."""
        for connection in self._connections:
            connection.flush()

    def abort_all(self) -> None:
        """Drop every client at once: the exchange closes."""
        for connection in list(self._connections):
            connection.abort()
        for transport in list(self._clocks):
            transport.abort()

    def congested(self, wall_s: float) -> bool:
        """Whether some reader is behind; one that stays behind for :data:`PATIENCE_S` is dropped."""
        waiting = False
        for connection in list(self._connections):
            if connection.backlog <= SLOW_BYTES:
                self._slow_since.pop(connection, None)
            elif wall_s - self._slow_since.setdefault(connection, wall_s) > PATIENCE_S:
                connection.abort()
            else:
                waiting = True
        return waiting
