"""Carrying out the engine's commands in a back-test: one after the other, while exchange time stands still.

The daemon's desk and account (``daemon/desk.py``, ``daemon/account.py``) are about what is missing here: a journal to
sync before a command leaves, lanes that must not hold each other up, answers that take time, and an exchange that goes
away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import structlog

from tradebot.errors import ExchangeError
from tradebot.events import EngineConfig, Event, OrderState
from tradebot.execution.broker import SINCE_MARGIN_MS, OrderCommand, outcome
from tradebot.execution.exchange import ExchangeBroker

log = structlog.get_logger(__name__)


class Desk:
    """What waits to be sent, and whether the account is to be looked at as a whole.

    ``before`` is called with the symbol of each command before the exchange hears of it. ``orders`` are all we know of.
    """

    def __init__(
        self,
        broker: ExchangeBroker,
        now_ms: Callable[[], int],
        put: Callable[[Event], None],
        orders: Callable[[], list[OrderState]],
        before: Callable[[str], None],
    ) -> None:
        self._broker = broker
        self._now_ms = now_ms
        self._put = put
        self._orders = orders
        self._before = before
        self._queue: deque[OrderCommand] = deque()
        self._asked = False
        self._since_ms = 0

    def submit(self, command: OrderCommand) -> None:
        """Queue a command of the engine."""
        self._queue.append(command)

    def ask(self, why: str) -> None:
        """Look at the account as a whole as soon as all commands are answered."""
        log.debug("reconciliation_asked", why=why)
        self._asked = True

    def start(self, since_ms: int) -> None:
        """Executions since ``since_ms`` may be unknown to us."""
        self._since_ms = since_ms

    async def prepare(self, config: EngineConfig) -> list[Event]:
        """Set position mode, margin mode and leverage of each symbol as configured; the events that tell of it."""
        return await self._broker.prepare(config)

    async def settle(self) -> None:
        """Carry out everything, and what follows from it."""
        while self._queue or self._asked:
            while self._queue:
                await self._carry_out(self._queue.popleft())
            if self._asked:
                await self.reconcile()

    async def reconcile(self) -> None:
        """Ask for the whole view and pass it on."""
        self._asked = False
        asked_ms = self._now_ms()
        for event in await self._broker.reconcile(self._orders(), self._since_ms - SINCE_MARGIN_MS, asked_ms):
            self._put(event)
        self._since_ms = asked_ms

    async def _carry_out(self, command: OrderCommand) -> None:
        self._before(command.symbol)
        try:
            async for event in self._broker.execute(command):
                self._put(event)
        except ExchangeError as error:
            log.warning("command_unsettled", symbol=command.symbol, oid=command.client_oid, reason=str(error))
            self._put(outcome(command, "unknown", code=error.code, message=str(error)))
