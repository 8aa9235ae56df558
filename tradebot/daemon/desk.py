"""Carrying out the engine's order commands: durable first, then sent, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tradebot.events import Event
from tradebot.execution.broker import Broker, OrderCommand
from tradebot.journal import Journal


class OrderDesk:
    """Lanes of commands. Commands of one lane go out one after the other; lanes do not wait for each other.

    Under a paced clock there is a single lane, so that the exchange sees commands in the order they were decided.
    """

    def __init__(self, broker: Broker, journal: Journal, put: Callable[[Event], None], *, single_lane: bool) -> None:
        self._broker = broker
        self._journal = journal
        self._put = put
        self._single_lane = single_lane
        self._lanes: dict[str, asyncio.Queue[OrderCommand]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.failure: BaseException | None = None

    def submit(self, command: OrderCommand) -> None:
        """Queue a command of the engine."""
        name = "" if self._single_lane else command.symbol
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = asyncio.Queue()
            self._workers.append(asyncio.create_task(self._work(lane), name=f"desk:{name}"))
        self._open += 1
        self._idle.clear()
        lane.put_nowait(command)

    async def idle(self) -> None:
        """Wait until every command has been answered. Raises what stopped the desk."""
        await self._idle.wait()
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self, lane: asyncio.Queue[OrderCommand]) -> None:
        while True:
            command = await lane.get()
            try:
                # The intent and everything before it must survive a crash before anyone can act on it.
                self._journal.sync()
                async for event in self._broker.execute(command):
                    self._put(event)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # stops trading: an order that cannot be made durable must not be sent
                self.failure = error
                self._open = 0
                self._idle.set()
                raise
            self._open -= 1
            if not self._open:
                self._idle.set()
