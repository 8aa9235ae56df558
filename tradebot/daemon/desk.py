"""Carrying out the engine's order commands: durable first, then sent, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import structlog

from tradebot.errors import AuthRefused, ExchangeError
from tradebot.events import CancelOrder, CancelStop, ClosePosition, CommandOutcome, Event, PlaceOrder, PlaceStop
from tradebot.execution.broker import Broker, OrderCommand, outcome
from tradebot.journal import Journal

log = structlog.get_logger(__name__)


ENTRY_MS = 2_000
"""How long an entry may wait at the desk: an older one was decided on another market."""


class OrderDesk:
    """Lanes of commands. Commands of one lane go out one after the other; lanes do not wait for each other.

    Each symbol has a lane for orders that may open a position, one for its stops, one for orders that can only reduce
    it and one for flash closes: whatever hangs, the ways out of a position stay free. What is asked about a command
    after it was answered (an unknown outcome takes seconds) runs beside its lane.

    An entry that waited longer than 2 s of the bot's time, or whose cancellation was asked for meanwhile, is not sent:
    it is told as rejected.

    Under a paced clock there is a single lane, so that the exchange sees commands in the order they were decided; and
    nothing waits, so that an entry and its cancellation both go out, whichever was quicker on this machine.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        put: Callable[[Event], None],
        now_ms: Callable[[], int],
        *,
        single_lane: bool,
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._put = put
        self._now_ms = now_ms
        self._single_lane = single_lane
        self._lanes: dict[str, asyncio.Queue[tuple[OrderCommand, int]]] = {}
        """Commands that wait, each with the number of the last record that was in the journal when it was decided."""
        self._workers: list[asyncio.Task[None]] = []
        self._questions: set[asyncio.Task[None]] = set()
        self._placing: dict[str, str] = {}
        """Lane of each order that was not answered yet, by client order id: its cancellation follows it there."""
        self._entries: dict[str, int] = {}
        """When each entry that was not begun yet was decided (bot's clock, ms), by client order id."""
        self._withdrawn: set[str] = set()
        """Of these, the ones whose cancellation waits behind them."""
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.failure: BaseException | None = None

    def submit(self, command: OrderCommand) -> None:
        """Queue a command of the engine."""
        name = self._lane_of(command)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = asyncio.Queue()
            self._workers.append(asyncio.create_task(self._work(lane), name=f"desk:{name}"))
        if isinstance(command, PlaceOrder):
            self._placing[command.client_oid] = name
            if command.purpose == "entry":
                self._entries[command.client_oid] = self._now_ms()
        elif isinstance(command, ClosePosition):
            self._placing[command.client_oid] = name
        elif isinstance(command, CancelOrder) and command.client_oid in self._entries and not self._single_lane:
            self._withdrawn.add(command.client_oid)
        self._began()
        lane.put_nowait((command, self._journal.next_seq - 1))

    async def idle(self) -> None:
        """Wait until every command has been answered and settled. Raises what stopped the desk."""
        await self._idle.wait()
        if self.failure is not None:
            raise self.failure

    def holds(self, client_oid: str) -> bool:
        """Whether this order has not been answered yet: the exchange cannot be expected to know it."""
        return client_oid in self._placing

    async def drain(self, timeout_s: float) -> int:
        """Before leaving: give what is queued, stops and closes above all, the time to be sent and answered.

        Returns how many commands were not settled in time (or because the desk failed); they are reconciled at the
        next start. Raises nothing.
        """
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.warning("commands_unsettled", count=self._open)
        return self._open

    async def close(self) -> None:
        """Stop at once; what is queued is not sent."""
        running = [*self._workers, *self._questions]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _lane_of(self, command: OrderCommand) -> str:
        if self._single_lane:
            return ""
        match command:
            case CancelOrder():
                return self._placing.get(command.client_oid, f"{command.symbol}:orders")
            case PlaceOrder():
                return f"{command.symbol}:{'exits' if command.reduce_only else 'orders'}"
            case PlaceStop() | CancelStop():
                return f"{command.symbol}:stops"
            case ClosePosition():
                return f"{command.symbol}:closes"

    async def _work(self, lane: asyncio.Queue[tuple[OrderCommand, int]]) -> None:
        while True:
            command, intent = await lane.get()
            try:
                await self._carry_out(command, intent)
            except Exception as error:  # stops trading: an order that cannot be made durable must not be sent
                self._fail(error)
                return
            if isinstance(command, PlaceOrder | ClosePosition):
                self._placing.pop(command.client_oid, None)
            self._ended()

    async def _carry_out(self, command: OrderCommand, intent: int) -> None:
        """Send a command and hear its answer. What is left to ask goes on beside the lane.

        ``intent`` is the number of the record that must be durable before, with all that it was decided on.
        """
        if self.failure is not None:
            raise self.failure
        # The intent and everything before it must survive a crash before anyone can act on it; one sync does for all
        # that was decided before it.
        if self._journal.synced_seq < intent:
            self._journal.sync()
        if (unsent := self._unsent(command)) is not None:
            self._put(unsent)
            return
        events = self._broker.execute(command)
        try:
            async for event in events:
                self._put(event)
                if isinstance(event, CommandOutcome):
                    self._began()
                    question = asyncio.create_task(self._ask(command, events), name=f"desk:{command.client_oid}?")
                    self._questions.add(question)
                    question.add_done_callback(self._questions.discard)
                    return
        except AuthRefused:
            raise
        except ExchangeError as error:
            log.warning("command_unsettled", symbol=command.symbol, oid=command.client_oid, reason=str(error))
            self._put(outcome(command, "unknown", code=error.code, message=str(error)))

    def _unsent(self, command: OrderCommand) -> CommandOutcome | None:
        """The outcome of a command that is not to be sent any more, or None."""
        oid = command.client_oid
        if isinstance(command, CancelOrder) and oid in self._withdrawn:
            self._withdrawn.discard(oid)
            return outcome(command, "accepted")
        decided_ms = self._entries.pop(oid, None) if isinstance(command, PlaceOrder) else None
        if decided_ms is None:
            return None
        if oid in self._withdrawn:
            return outcome(command, "rejected", message="not sent: it was cancelled before")
        waited_ms = self._now_ms() - decided_ms
        if waited_ms > ENTRY_MS:
            return outcome(command, "rejected", message=f"not sent: it waited {waited_ms} ms, allowed are {ENTRY_MS}")
        return None

    async def _ask(self, command: OrderCommand, events: AsyncIterator[Event]) -> None:
        try:
            async for event in events:
                self._put(event)
        except AuthRefused as error:
            self._fail(error)
        except ExchangeError as error:
            # the next reconciliation settles it
            log.warning("outcome_unsettled", symbol=command.symbol, oid=command.client_oid, reason=str(error))
        except Exception as error:
            self._fail(error)
        self._ended()

    def _began(self) -> None:
        self._open += 1
        self._idle.clear()

    def _ended(self) -> None:
        self._open -= 1
        if not self._open:
            self._idle.set()

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self._idle.set()
