"""Keeping step with an exchange that can run faster than the wall: the client side of the paced clock.

The exchange says at each step how many frames it has sent on each connection. When all have arrived they are released
together, public before private, in the order they were sent; the bot acts on them, and only then acknowledges. What
the bot decides therefore depends on the market alone, not on how fast either side runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tradebot.errors import Unavailable


class _Step(msgspec.Struct):
    t: int
    step: int = -1
    counts: dict[str, int] = {}
    end: bool = False


_LOST = (WebSocketException, msgspec.DecodeError, OSError, TimeoutError)

OnStep = Callable[[int, dict[str, int]], Awaitable[int | None]]
"""(exchange time ms, frames sent by connection id) -> the next moment to be woken at, or None."""


class Pacer:
    """One attached clock connection. ``url`` is the exchange's WebSocket root plus ``/sim/clock``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._socket: ClientConnection | None = None
        self._decode = msgspec.json.Decoder(_Step).decode
        self._first: _Step | None = None
        self.ended = False
        self.waiting = False
        """Between two steps: nothing of ours is under way."""

    async def attach(self) -> int:
        """Attach and return exchange time, which now stands still until ``run``. Raises Unavailable."""
        try:
            self._socket = await connect(self._url, compression=None, max_queue=None)
            await self._socket.send('{"op":"attach"}')
            self._first = self._decode(await self._socket.recv())
        except _LOST as error:
            raise Unavailable(f"{self._url}: the exchange's clock does not answer ({error})") from error
        return self._first.t

    async def run(self, on_step: OnStep, stop: Callable[[], bool]) -> None:
        """Take part in every step until the market ends or ``stop()`` is true. Raises Unavailable."""
        if self._socket is None or self._first is None:
            raise Unavailable("the clock is not attached")
        step = self._first
        while not stop():
            if step.end:
                self.ended = True
                return
            wake = await on_step(step.t, step.counts)
            if stop():
                return
            try:
                await self._socket.send(msgspec.json.encode({"ack": step.step, "wake": wake}).decode())
                self.waiting = True
                step = self._decode(await self._socket.recv())
            except _LOST as error:
                raise Unavailable(f"{self._url}: the exchange's clock went away ({error})") from error
            self.waiting = False

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
