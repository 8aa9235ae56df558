"""Our account: what the private stream says of it, and looking at it as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from tradebot.daemon.desk import OrderDesk
from tradebot.errors import ExchangeError
from tradebot.events import AccountHeard, Event, OrderState
from tradebot.exchange.bitget.listener import PRIVATE, Listener, PrivateEvent
from tradebot.execution.broker import SINCE_MARGIN_MS, Broker
from tradebot.shell.clock import Clock

log = structlog.get_logger(__name__)

PAUSE_MS = 1_000
"""After an exchange that did not answer, before it is asked again."""


class Account(Listener):
    """Passes private events on to ``put``, tells when the private stream comes and goes, and reconciles with the
    exchange: when asked, after the private stream came back, and ``every_ms``. ``orders`` are all we know of."""

    def __init__(
        self,
        broker: Broker,
        desk: OrderDesk,
        clock: Clock,
        put: Callable[[Event], None],
        orders: Callable[[], Iterable[OrderState]],
        *,
        every_ms: int | None,
    ) -> None:
        self._broker = broker
        self._desk = desk
        self._clock = clock
        self._put = put
        self._orders = orders
        self._every_ms = every_ms
        self._why = ""
        self._since_ms = 0
        self._next_ms: int | None = None
        self._not_before_ms = 0
        self._begun = False
        self._reconciling = asyncio.Lock()

    def start(self, since_ms: int) -> None:
        """Executions since ``since_ms`` may be unknown to us."""
        self._since_ms = since_ms

    def ask(self, why: str) -> None:
        """Reconcile as soon as possible."""
        self._why = why

    @property
    def asked(self) -> bool:
        """Whether a reconciliation is wanted that has not begun, and it is time to try."""
        return bool(self._why) and self._clock.now_ms() >= self._not_before_ms

    # --- listener ---------------------------------------------------------------------------------------------------

    def on_private(self, event: PrivateEvent) -> None:
        self._put(event)

    def on_lost(self, reason: str) -> None:
        log.warning("private_message_lost", reason=reason)
        self.ask("a private message could not be read")

    def on_refused(self, channel: str, reason: str) -> None:
        self._put(AccountHeard(up=False, refused=f"{channel}: {reason}"))

    def on_connection(self, rank: int, up: bool) -> None:
        log.info("connection", side="private" if rank == PRIVATE else "public", up=up)
        if rank == PRIVATE:
            self._put(AccountHeard(up=up))
        if rank == PRIVATE and up and self._begun:
            self.ask("private stream reconnected")

    # --- chore ------------------------------------------------------------------------------------------------------

    def next_due_ms(self) -> int | None:
        return self._not_before_ms if self._why else self._next_ms

    async def tick(self) -> None:
        if self._next_ms is not None and self._clock.now_ms() >= self._next_ms:
            self._why = self._why or "periodic"
        if self.asked:
            await self.reconcile(self._why)

    async def reconcile(self, why: str) -> None:
        """Ask for the whole view and pass it on. Raises ExchangeError, and then it is still wanted."""
        async with self._reconciling:
            self._why = ""
            asked_ms = self._clock.now_ms()
            self._begun = True
            if self._every_ms is not None:
                self._next_ms = asked_ms + self._every_ms
            orders = [o for o in self._orders() if not self._desk.holds(o.client_oid)]
            try:
                events = await self._broker.reconcile(orders, self._since_ms - SINCE_MARGIN_MS, asked_ms)
            except ExchangeError:
                self._why = why
                self._not_before_ms = asked_ms + PAUSE_MS
                raise
            for event in events:
                self._put(event)
            self._since_ms = asked_ms
            log.debug("reconciled", why=why)
