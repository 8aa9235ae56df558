"""One WebSocket to a venue that stays up: connect, say what is wanted, listen; when it is lost or silent, again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tradebot.errors import Unavailable
from tradebot.exchange.bitget.pacing import Backoff
from tradebot.exchange.loopback import on_loopback

log = logging.getLogger(__name__)

UNREAD_FRAMES = 64
"""Frames that may lie between the socket and the reader; then the socket is not read any more."""


@dataclass(frozen=True, slots=True)
class VenueTiming:
    """Seconds of monotonic time.

    ``ping``: between pings, of the protocol and, for venues that want them, as text; one that is not answered within
    ``pong`` ends the session. ``silence``: a socket that says nothing for so long is dead, whatever TCP thinks.
    ``quiet``: a book of which nothing was heard for so long, on a socket that talks, is subscribed again. ``stable``: a
    session that lasted so long forgives earlier failures.
    """

    open: float = 10.0
    ping: float = 20.0
    pong: float = 15.0
    silence: float = 30.0
    quiet: float = 60.0
    stable: float = 60.0
    first_wait: float = 1.0
    longest_wait: float = 30.0
    request: float = 10.0


class VenueConnection:
    """A self-healing connection. ``greetings`` are said first in every session; ``ping`` is said again and again.

    ``on_up(True)`` is called before the first frame of a session, ``on_up(False)`` when it ends. ``attempts`` counts
    connections that were tried, ``sessions`` those that came about.
    """

    def __init__(
        self,
        url: str,
        *,
        greetings: Sequence[str],
        ping: str | None,
        on_frame: Callable[[bytes], None],
        on_up: Callable[[bool], None],
        timing: VenueTiming,
    ) -> None:
        self.url = url
        self.attempts = 0
        self.sessions = 0
        self.last_error = ""
        self._greetings = tuple(greetings)
        self._ping = ping
        self._on_frame = on_frame
        self._on_up = on_up
        self._timing = timing
        self._backoff = Backoff(random.Random(), timing.first_wait, timing.longest_wait)
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._heard_at = 0.0

    def say(self, message: str) -> None:
        """Send a message; without a session it is for nobody."""
        self._outbox.put_nowait(message)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            began, before = monotonic(), self.sessions
            self.attempts += 1
            try:
                await self._session()
                self.last_error = "closed by the venue"
            except (OSError, WebSocketException, TimeoutError, Unavailable) as error:
                self.last_error = str(error) or type(error).__name__
            if monotonic() - began >= self._timing.stable:
                self._backoff.reset()
            wait_s = self._backoff.next()
            what = "cannot connect to" if self.sessions == before else "lost"
            log.warning("%s stream %s (%s); again in %.1f s", what, self.url, self.last_error, wait_s)
            await asyncio.sleep(wait_s)

    async def _session(self) -> None:
        async with connect(
            self.url,
            compression=None,
            ping_interval=self._timing.ping,
            ping_timeout=self._timing.pong,
            open_timeout=self._timing.open,
            close_timeout=2,
            max_size=16 << 20,
            max_queue=UNREAD_FRAMES,
            proxy=None if on_loopback(self.url) else True,
        ) as socket:
            self.sessions += 1
            self._outbox = asyncio.Queue()
            self._heard_at = monotonic()
            for message in self._greetings:
                self.say(message)
            self._on_up(True)
            tasks = [
                asyncio.create_task(self._read(socket)),
                asyncio.create_task(self._write(socket)),
                asyncio.create_task(self._attend()),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                self._on_up(False)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, socket: ClientConnection) -> None:
        receive = socket.recv
        while True:
            frame = await receive(decode=False)
            self._heard_at = monotonic()
            self._on_frame(frame)

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            await socket.send(await self._outbox.get())

    async def _attend(self) -> None:
        timing = self._timing
        next_ping = monotonic() + timing.ping
        while True:
            await asyncio.sleep(min(timing.ping, timing.silence) / 4)
            now = monotonic()
            if now - self._heard_at > timing.silence:
                raise Unavailable(f"nothing heard for {timing.silence:g} s")
            if self._ping is not None and now >= next_ping:
                self.say(self._ping)
                next_ping = now + timing.ping
