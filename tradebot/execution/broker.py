"""What the daemon asks of a broker. Live, exchange-demo and paper differ only in which one is plugged in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, get_args

from tradebot.events import (
    CancelOrder,
    CancelStop,
    ClosePosition,
    CommandOutcome,
    EngineConfig,
    Event,
    OrderState,
    OutcomeKind,
    PlaceOrder,
    PlaceStop,
)

OrderCommand = PlaceOrder | CancelOrder | PlaceStop | CancelStop | ClosePosition
ORDER_COMMANDS: tuple[type[OrderCommand], ...] = get_args(OrderCommand)

NAMES: dict[type, str] = {
    PlaceOrder: "place",
    CancelOrder: "cancel",
    PlaceStop: "place_stop",
    CancelStop: "cancel_stop",
    ClosePosition: "close_position",
}

SINCE_MARGIN_MS = 120_000
"""How far before the last known moment executions are asked for again: repeated ones are recognised by id."""


class Broker(Protocol):
    """Carries out commands and answers with events. What happens to an order later arrives as private events."""

    def execute(self, command: OrderCommand) -> AsyncIterator[Event]:
        """Carry out one command.

        Yields its CommandOutcome first. What asking the exchange then brings to light (after an ``unknown`` one, or a
        stop that existed already) may take seconds and follows it; an outcome that stays unknown is settled by a later
        reconciliation. Never sends a command twice.
        """

    async def prepare(self, config: EngineConfig) -> list[Event]:
        """Verify position mode, margin mode and leverage of each symbol, and set them where the account is flat."""

    async def reconcile(self, orders: Sequence[OrderState], since_ms: int, asked_ms: int) -> list[Event]:
        """The exchange's whole view: fates of ``orders`` that are not final, executions and funding since
        ``since_ms``, account, and last a Reconciled with positions, open orders and stops.

        ``orders`` are all we know, final ones too: reports about them are told under our client order id.
        ``asked_ms`` is the bot's time as it asks. Raises ExchangeError, and then nothing was settled.
        """


def outcome(
    command: OrderCommand, kind: OutcomeKind, *, order_id: str = "", code: str = "", message: str = ""
) -> CommandOutcome:
    """What became of a command."""
    return CommandOutcome(
        client_oid=command.client_oid,
        symbol=command.symbol,
        command=NAMES[type(command)],
        outcome=kind,
        order_id=order_id,
        code=code,
        message=message,
    )
