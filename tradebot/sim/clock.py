"""The exchange's clock: when the next step of the market may happen.

Exchange time is a sequence of steps; between steps it stands still (a client of a free-running exchange at finite
speed sees it interpolated, so that its requests are spread in time as they were sent).

1. *Held* – ``hold`` is set and no paced client is attached: nothing moves.
2. *Paced* – at least one client is attached at ``/sim/clock``: the next step waits for every client's ack of this one,
   and, at finite speed, for the wall clock as well.
3. *Free* – nobody is attached: X exchange seconds per wall second, or as fast as possible at ``max``. Faster than real
   it waits for slow readers; at real speed time waits for nobody, and who stays behind is dropped.
4. *Ended* – no source, action, funding or wake is left: paced clients are told once. Orders that arrive later still
   act: each is one more step, for which nobody is waited for.

Control protocol of a paced client, JSON text frames:
``{"op":"attach"}`` → the current step at once, which also wants an ack, so that a client can take all the exchange
time it needs to start up; then ``{"step":n,"t":ms,"counts":{connId:frames}}`` after each step, when every frame caused
by it has been handed to the sockets; client ``{"ack":n,"wake":ms|null}``; ``{"end":true,"t":ms}`` at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

MAX_LAG_S = 0.25
"""An accelerated exchange that fell behind the wall clock by more than this does not rush to catch up."""

REAL_LAG_S = 10.0
"""At real speed clients keep an offset to the exchange's clock, so it catches up from as far behind as this."""

BURST = 16
"""Steps made at ``max`` before other tasks get a turn."""

CONGESTED_PAUSE_S = 0.002


class Stage(Protocol):
    """What the clock drives."""

    def next_ms(self) -> int | None:
        """Time of the next thing to happen by itself, or None at the end of the market."""

    def advance(self, now_ms: int) -> None:
        """Let everything due at ``now_ms`` happen and hand all frames to the sockets."""

    def congested(self) -> bool:
        """Whether a reader is too far behind for another free step."""

    def counts(self) -> dict[str, int]:
        """Text frames sent so far, by connection id."""


class PacedClient:
    """A client whose acks the clock waits for. ``tell`` sends it a step, ``tell_end`` the end of the market."""

    def __init__(self, tell: Callable[[int, int, dict[str, int]], None], tell_end: Callable[[int], None]) -> None:
        self.tell = tell
        self.tell_end = tell_end
        self.acked = -1
        self.wake_ms: int | None = None


class ExchangeClock:
    """Owns exchange time. All methods are called on the event loop; nothing here blocks.

    ``speed`` is exchange seconds per wall second, None for as fast as possible.
    """

    def __init__(self, stage: Stage, start_ms: int, *, speed: float | None = None, hold: bool = False) -> None:
        self.now_ms = start_ms
        self.step = 0
        self.ended = False
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self._stage = stage
        self._speed = speed
        self._real = speed is not None and speed <= 1.0
        self._hold = hold
        self._clients: dict[PacedClient, None] = {}
        self._handle: asyncio.Handle | None = None
        self._running = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wall = 0.0
        self._advancing = False

    def start(self) -> None:
        """Begin. Needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._wall = self._loop.time()
        self._running = True
        self._pump()

    def stop(self) -> None:
        """Stand still for good."""
        self._running = False
        self._cancel()

    def attach(self, client: PacedClient) -> None:
        """From now on no step happens before ``client`` acknowledged the one before."""
        self._clients[client] = None
        if self.ended:
            client.tell_end(self.now_ms)
        else:
            client.tell(self.step, self.now_ms, self._stage.counts())
        self._reanchor()
        self._pump()

    def detach(self, client: PacedClient) -> None:
        """The client is gone: neither its acks nor its wake are waited for."""
        self._clients.pop(client, None)
        self._reanchor()
        self._pump()

    def ack(self, client: PacedClient, step: int, wake_ms: int | None) -> None:
        """``client`` has dealt with ``step``.

        ``wake_ms`` asks for a step at that time, in place of what it asked for before; None or a past one for none.
        """
        client.wake_ms = wake_ms
        client.acked = max(client.acked, min(step, self.step))
        self._pump()

    def nudge(self) -> None:
        """Something new is due (an order's action): look again once the request that caused it is answered."""
        if self._running and not self._advancing and self._loop is not None:
            self._cancel()
            self._handle = self._loop.call_soon(self._pump)

    def receive_ms(self) -> int:
        """Exchange time at which a request that arrives now is received."""
        if self._speed is None or self._clients or self._hold or self._loop is None:
            return self.now_ms
        due = self._due()
        limit = due if due is not None else self.now_ms
        elapsed_ms = int((self._loop.time() - self._wall) * self._speed * 1000)
        return min(max(self.now_ms + elapsed_ms, self.now_ms), limit)

    @property
    def paced(self) -> bool:
        return bool(self._clients)

    def _due(self) -> int | None:
        due = self._stage.next_ms()
        # a wake is a reason to step while the market lasts, not to prolong it
        if due is not None:
            for client in self._clients:
                if client.wake_ms is not None and client.wake_ms > self.now_ms:
                    due = min(due, client.wake_ms)
        return due

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _reanchor(self) -> None:
        if self._loop is not None:
            self._wall = self._loop.time()

    def _pump(self) -> None:
        """Make the steps that may happen now, and arrange to be called when the next one may."""
        self._cancel()
        if not self._running or self._loop is None:
            return
        try:
            self._make_steps(self._loop)
        except BaseException as error:
            # whoever serves this exchange stops it: a market that silently stands still would be worse
            self._running = False
            self.failure = error
            self.failed.set()
            if not isinstance(error, Exception):
                raise

    def _make_steps(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(BURST):
            due = self._due()
            if due is None:
                self._end()
                return
            if not self.ended and not self._allowed():
                return
            wall = self._wall_at(due)
            if wall is not None and loop.time() < wall:
                self._handle = loop.call_at(wall, self._pump)
                return
            if self._stage.congested() and not self._real:
                self._handle = loop.call_later(CONGESTED_PAUSE_S, self._pump)
                return
            if wall is not None:
                self._wall = max(wall, loop.time() - (REAL_LAG_S if self._real else MAX_LAG_S))
            self._advance(due)
        self._handle = loop.call_soon(self._pump)

    def _wall_at(self, due: int) -> float | None:
        """When ``due`` is by the wall clock, on the loop's own scale; None when that is not waited for."""
        if self._speed is None or self.ended:
            return None
        return self._wall + (due - self.now_ms) / 1000.0 / self._speed

    def _allowed(self) -> bool:
        if self._clients:
            return all(client.acked >= self.step for client in self._clients)
        return not self._hold

    def _advance(self, due: int) -> None:
        self.now_ms = max(self.now_ms, due)
        self.step += 1
        self._advancing = True
        try:
            self._stage.advance(self.now_ms)
        finally:
            self._advancing = False
        if self._clients:
            counts = self._stage.counts()
            for client in list(self._clients):
                client.tell(self.step, self.now_ms, counts)

    def _end(self) -> None:
        if self.ended or not self._allowed():
            return
        self.ended = True
        for client in list(self._clients):
            client.tell_end(self.now_ms)
