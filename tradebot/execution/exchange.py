"""The exchange broker: commands as signed REST requests, outcomes classified, unknown ones resolved by asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from tradebot.errors import AuthRefused, ExchangeError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from tradebot.events import (
    AccountVerified,
    CancelOrder,
    CancelStop,
    ClosePosition,
    CommandOutcome,
    EngineConfig,
    Event,
    Filled,
    OrderState,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    Reconciled,
)
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.execution.broker import OrderCommand, outcome

ASK_AGAIN_S = (0.3, 0.3, 0.5, 1.0, 1.5, 2.0)
"""Pauses between questions about an order of unknown outcome: more than five seconds in all (protocol section 8.3)."""


class ExchangeBroker:
    """Talks to one account. ``pause`` waits in wall time between questions about an unknown outcome."""

    def __init__(
        self, rest: BitgetRest, config: EngineConfig, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._rest = rest
        self._config = config
        self._pause = pause

    async def execute(self, command: OrderCommand) -> AsyncIterator[Event]:
        """See :class:`tradebot.execution.broker.Broker`. Raises AuthRefused: nothing else can succeed then."""
        try:
            order_id = await self._send(command)
        except AuthRefused:
            raise
        except OutcomeUnknown as error:
            yield outcome(command, "unknown", code=error.code, message=str(error))
            async for event in self._resolve(command):
                yield event
        except (Rejected, RateLimited, Unavailable, ExchangeError) as error:
            yield outcome(command, "rejected", code=error.code, message=str(error))
        else:
            yield outcome(command, "accepted", order_id=order_id)

    async def prepare(self, config: EngineConfig) -> list[Event]:
        """See :class:`tradebot.execution.broker.Broker`. Nothing is changed while a position or order exists."""
        positions = {p.symbol for p in await self._rest.positions()}
        busy = positions | {o.symbol for o in await self._rest.open_orders()}
        events: list[Event] = []
        for symbol in config.symbols:
            verified, _ = await self._rest.account(symbol)
            if verified.position_mode != "one_way_mode" and not busy:
                await self._rest.set_position_mode("one_way_mode")
            if symbol not in busy:
                if verified.margin_mode != config.margin_mode:
                    await self._rest.set_margin_mode(symbol, config.margin_mode)
                verified, _ = await self._rest.account(symbol)
                if verified.leverage != config.leverage:
                    await self._rest.set_leverage(symbol, config.leverage)
            verified, account = await self._rest.account(symbol)
            events += [verified, account]
        return events

    async def verify(self, symbol: str) -> AccountVerified:
        return (await self._rest.account(symbol))[0]

    async def reconcile(self, orders: Sequence[OrderState], since_ms: int) -> list[Event]:
        """See :class:`tradebot.execution.broker.Broker`."""
        events: list[Event] = []
        oids = {o.order_id: o.client_oid for o in orders if o.order_id}
        for order in orders:
            if order.status in ("filled", "canceled", "rejected"):
                continue
            found = await self._find(order.symbol, order.client_oid)
            if found is None:
                events.append(
                    CommandOutcome(
                        client_oid=order.client_oid,
                        symbol=order.symbol,
                        command="place",
                        outcome="rejected",
                        code="40109",
                        message="the exchange does not know this order",
                    )
                )
            else:
                oids[found.order_id] = found.client_oid
                events.append(found)
        for symbol in self._config.symbols:
            events += [await self._named(fill, oids) for fill in await self._rest.fills(symbol, since_ms)]
        events += await self._rest.bills(since_ms)
        for symbol in self._config.symbols:
            verified, account = await self._rest.account(symbol)
            events += [verified, account]
        events.append(
            Reconciled(
                positions=tuple(await self._rest.positions()),
                open_orders=tuple(await self._rest.open_orders()),
                stops=tuple(await self._rest.plan_orders()),
            )
        )
        return events

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _send(self, command: OrderCommand) -> str:
        match command:
            case PlaceOrder():
                return await self._rest.place_order(command, self._config.margin_mode)
            case CancelOrder():
                return await self._rest.cancel_order(command)
            case PlaceStop():
                return await self._rest.place_stop(command)
            case CancelStop():
                return await self._rest.cancel_stop(command)
            case ClosePosition():
                return await self._rest.close_position(command)

    async def _resolve(self, command: OrderCommand) -> AsyncIterator[Event]:
        """Ask what became of a command, for more than five seconds; never send it again."""
        if isinstance(command, PlaceOrder):
            found = await self._find(command.symbol, command.client_oid)
            if found is None:
                yield outcome(command, "rejected", code="40109", message="never arrived: the exchange does not know it")
            elif _is_other(found, command):
                yield outcome(command, "rejected", code="40786", message="its id belongs to another order")
            else:
                yield found
        elif isinstance(command, PlaceStop):
            for wait_s in ASK_AGAIN_S:
                for stop in await self._rest.plan_orders():
                    if stop.client_oid == command.client_oid:
                        yield stop
                        return
                await self._pause(wait_s)
            yield outcome(command, "rejected", code="40109", message="never arrived: no such stop")
        elif isinstance(command, CancelOrder):
            found = await self._find(command.symbol, command.client_oid)
            if found is not None:
                yield found

    async def _find(self, symbol: str, client_oid: str) -> OrderUpdated | None:
        """The order, or None when the exchange keeps answering that it does not know it."""
        for wait_s in (*ASK_AGAIN_S, 0.0):
            try:
                found = await self._rest.order_detail(symbol, client_oid=client_oid)
            except (Unavailable, RateLimited):
                found = None
            if found is not None:
                return found
            await self._pause(wait_s)
        return None

    async def _named(self, fill: Filled, oids: dict[str, str]) -> Filled:
        """REST executions carry no client order id: it is joined from the order."""
        if fill.client_oid:
            return fill
        if fill.order_id not in oids:
            order = await self._rest.order_detail(fill.symbol, order_id=fill.order_id)
            oids[fill.order_id] = order.client_oid if order is not None else ""
        return Filled(
            **{f: getattr(fill, f) for f in fill.__struct_fields__ if f != "client_oid"}, client_oid=oids[fill.order_id]
        )


def _is_other(found: OrderUpdated, command: PlaceOrder) -> bool:
    """Whether an order with our id is not ours: compared before it is adopted."""
    return (found.symbol, found.side, found.qty) != (command.symbol, command.side, command.qty)
