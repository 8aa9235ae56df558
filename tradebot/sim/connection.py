"""One WebSocket connection, written to in whole frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tradebot.sim.wire import text_frame

SLOW_BYTES = 4 << 20
"""Unsent bytes at which a free-running exchange waits for the reader."""

DEAD_BYTES = 256 << 20
"""Unsent bytes at which the reader is dropped."""


class Connection:
    """Queues text frames and hands them to the socket together, so that one step costs one write.

    Frames go to the transport directly: a payload is framed once and the same bytes go to every subscriber.
    ``frames`` counts all text frames ever sent here: the paced clock tells it to the client once the client was told
    its ``conn_id`` (``named``). With ``pass_on`` a frame
    that is queued goes there instead, and what comes of it is emitted.
    """

    __slots__ = ("_pass_on", "_queue", "_transport", "conn_id", "frames", "logged_in", "named", "private")

    def __init__(
        self,
        conn_id: str,
        transport: asyncio.Transport,
        *,
        private: bool,
        pass_on: Callable[[Connection, bytes], None] | None = None,
    ) -> None:
        self.conn_id = conn_id
        self.private = private
        self.logged_in = False
        self.named = False
        self.frames = 0
        self._transport = transport
        self._pass_on = pass_on
        self._queue: list[bytes] = []

    def queue(self, frame: bytes) -> None:
        """Say an encoded frame; it leaves with the next :meth:`flush`."""
        if self._pass_on is None:
            self.emit(frame)
        else:
            self._pass_on(self, frame)

    def emit(self, frame: bytes) -> None:
        """Add an encoded frame as it is."""
        self._queue.append(frame)
        self.frames += 1

    def send(self, payload: bytes) -> None:
        """Frame a payload and queue it."""
        self.queue(text_frame(payload))

    def flush(self) -> None:
        """Give everything queued to the socket. A connection that is gone swallows it."""
        if not self._queue:
            return
        data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
        self._queue.clear()
        if self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > DEAD_BYTES:
            self._transport.abort()

    @property
    def alive(self) -> bool:
        """Whether what is said can still reach the client."""
        return not self._transport.is_closing()

    def abort(self) -> None:
        """Drop the client at once."""
        self._transport.abort()

    @property
    def backlog(self) -> int:
        """Bytes the reader has not taken yet; 0 when it is gone."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()
