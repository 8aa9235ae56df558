"""The exchange broker: commands as signed REST requests, outcomes classified, unknown ones resolved by asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from tradebot.errors import AuthRefused, ExchangeError, OutcomeUnknown, RateLimited, Rejected, Unavailable, Unreadable
from tradebot.events import (
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
    QuestionRefused,
    Reconciled,
    StopUpdated,
)
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.rows import OrderDetail
from tradebot.execution.broker import OrderCommand, outcome
from tradebot.trading.orders import FINAL, NOT_FOUND
from tradebot.trading.stops import POSITION_STOPS

log = structlog.get_logger(__name__)

ASK_AGAIN_S = (0.3, 0.3, 0.5, 1.0, 1.5, 2.0)
"""Pauses between questions about an order of unknown outcome: more than five seconds in all (protocol section 8.3)."""

MARGIN_MS = 60_000
"""How much older than our intent an order may look and still be ours: the two clocks differ a little."""

DUPLICATE = "40786"

PLAN_SOURCES = {
    f"{kind}_{how}": plan
    for kind, plan in (
        ("pos_loss", "pos_loss"),
        ("loss", "pos_loss"),
        ("pos_profit", "pos_profit"),
        ("profit", "pos_profit"),
    )
    for how in ("market", "limit")
}
"""What sent an order, by its ``orderSource``: a stop or a take-profit of the position (protocol section 9)."""


FATES_AT_ONCE = 16
"""Orders whose fate is asked for at a time: each unknown one takes seconds, all together they would flood."""

OVER_MS = 30_000
"""Age from which a market order that is not open is over, even where the exchange refuses to tell of it."""

VERIFIED_AT_ONCE = 16
"""Symbols whose settings are asked for in one reconciliation: they have one request each, so many take turns."""


@dataclass(slots=True)
class Resolutions:
    """What asking after unknown outcomes came to, for the metrics."""

    found: int = 0
    never_arrived: int = 0
    another: int = 0
    """Our id belongs to another order or stop, or the stop stands elsewhere."""
    unanswered: int = 0
    """Left to the next reconciliation."""


class ExchangeBroker:
    """Talks to one account. ``now_ms`` is the bot's clock; ``unsettled`` names the symbols in which our own books hold
    something, or differ from the exchange's; ``pause`` waits in wall time between two questions."""

    def __init__(
        self,
        rest: BitgetRest,
        config: EngineConfig,
        now_ms: Callable[[], int],
        unsettled: Callable[[], Collection[str]],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rest = rest
        self._config = config
        self._now_ms = now_ms
        self._unsettled = unsettled
        self._pause = pause
        self.resolutions = Resolutions()
        self._turn = 0
        self._asking = asyncio.Semaphore(FATES_AT_ONCE)

    async def execute(self, command: OrderCommand) -> AsyncIterator[Event]:
        """See :class:`tradebot.execution.broker.Broker`. Raises AuthRefused: nothing else can succeed then."""
        began_ms = self._now_ms()
        try:
            order_id = await self._send(command)
        except AuthRefused:
            raise
        except OutcomeUnknown as error:
            yield outcome(command, "unknown", code=error.code, message=str(error))
            asked = self._resolve(command, began_ms)
        except ExchangeError as error:
            yield outcome(command, "rejected", code=error.code, message=str(error))
            return
        else:
            yield outcome(command, "accepted", order_id=order_id)
            if not isinstance(command, PlaceStop) or order_id:
                return
            asked = self._standing_stops(command)  # there was one already: it is not what we asked for
        try:
            async for event in asked:
                yield event
        except AuthRefused:
            raise
        except ExchangeError as error:
            # the outcome stays as it was told: the next reconciliation settles it
            self.resolutions.unanswered += 1
            log.warning("outcome_unresolved", symbol=command.symbol, oid=command.client_oid, reason=str(error))

    async def prepare(self, config: EngineConfig) -> list[Event]:
        """See :class:`tradebot.execution.broker.Broker`. Nothing is changed while a position or order exists.

        Raises AuthRefused for an account that the classic interface does not serve.
        """
        await self._rest.require_classic_account()
        busy = {p.symbol for p in await self._rest.positions()} | {o.symbol for o in await self._rest.open_orders()}
        busy |= set(self._unsettled())
        return [event for symbol in config.symbols for event in await self._settings(symbol, busy)]

    async def reconcile(self, orders: Sequence[OrderState], since_ms: int, asked_ms: int) -> list[Event]:
        """See :class:`tradebot.execution.broker.Broker`. Settings of symbols that hold nothing are set back."""
        oids = {o.order_id: o.client_oid for o in orders if o.order_id}
        unsettled = [order for order in orders if order.status not in FINAL]
        events = await self._fates(unsettled)
        untold = [o for o, fate in zip(unsettled, events, strict=True) if isinstance(fate, QuestionRefused)]
        oids |= {update.order_id: update.client_oid for update in events if isinstance(update, OrderUpdated)}
        plans: dict[str, str] = {}
        for fill in await self._rest.fills(since_ms=since_ms, until_ms=asked_ms):
            events += await self._named(fill, oids, plans)
        events += await self._rest.bills(since_ms, asked_ms)
        positions = await self._rest.positions()
        resting = await self._rest.open_orders()
        stops = await self._rest.plan_orders()
        open_ids = {update.order_id for update in resting} | {update.client_oid for update in resting}
        for order in untold:
            # a market order cannot rest: what the exchange does not tell of and does not list as open is over
            age_ms = asked_ms - order.created_ms
            if (
                order.order_type == "market"
                and age_ms > OVER_MS
                and open_ids.isdisjoint((order.order_id or order.client_oid, order.client_oid))
            ):
                events.append(_refused(order, order.status, NOT_FOUND, "not told of, and not among the open orders"))
        working = {o.symbol for o in orders if o.status not in FINAL}
        busy = working | {p.symbol for p in positions} | {o.symbol for o in resting} | {s.symbol for s in stops}
        busy |= set(self._unsettled())
        for symbol in self._due():
            events += await self._settings(symbol, busy)
        events.append(
            Reconciled(
                positions=tuple(positions),
                open_orders=tuple(_under_our_id(update, oids) for update in resting),
                stops=tuple(stops),
                asked_ms=asked_ms,
            )
        )
        return events

    # --- inside -----------------------------------------------------------------------------------------------------

    def _due(self) -> list[str]:
        """Whose settings are asked for this time: everybody's, or the next in turn where they are many."""
        symbols = self._config.symbols
        if len(symbols) <= VERIFIED_AT_ONCE:
            return list(symbols)
        first, self._turn = self._turn, (self._turn + VERIFIED_AT_ONCE) % len(symbols)
        return [symbols[at % len(symbols)] for at in range(first, first + VERIFIED_AT_ONCE)]

    async def _settings(self, symbol: str, busy: set[str]) -> list[Event]:
        """Settings and money of a symbol as they are, and once more after setting back what is not as configured: only
        where neither side holds or has open anything (position mode: nowhere at all). What the exchange refuses of that
        is told last: one symbol that it does not serve any more must not keep the account from being looked at."""
        config = self._config
        found: list[Event] = []
        try:
            verified, account = await self._rest.account(symbol)
            found += [verified, account]
            if verified.position_mode != "one_way_mode" and not busy:
                await self._rest.set_position_mode("one_way_mode")
            now = verified
            if symbol not in busy and now.margin_mode != config.margin_mode:
                await self._rest.set_margin_mode(symbol, config.margin_mode)
                now, _ = await self._rest.account(symbol)  # each margin mode remembers its own leverage
            if symbol not in busy and now.leverage != config.leverage:
                await self._rest.set_leverage(symbol, config.leverage)
            wanted = ("one_way_mode", config.margin_mode, config.leverage)
            if (verified.position_mode, verified.margin_mode, verified.leverage) != wanted:
                now, account = await self._rest.account(symbol)
                found += [] if now == verified else [now, account]
        except Rejected as error:
            found.append(QuestionRefused(symbol=symbol, about="its settings", code=error.code, message=str(error)))
        return found

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

    async def _resolve(self, command: OrderCommand, began_ms: int) -> AsyncIterator[Event]:
        """Ask what became of a command, for more than five seconds; never send it again.

        Raises ExchangeError when the exchange does not say. What became of a flash close shows in the positions, what
        became of a cancelled stop in the list of stops.
        """
        if isinstance(command, PlaceOrder):
            found = await self._find(command.symbol, client_oid=command.client_oid)
            if found is None:
                self.resolutions.never_arrived += 1
                yield _refused(command, "unknown", NOT_FOUND, "never arrived: the exchange does not know it")
            elif _is_other(found, command, began_ms):
                self.resolutions.another += 1
                yield _refused(command, "unknown", DUPLICATE, "its id belongs to another order")
            else:
                self.resolutions.found += 1
                yield found.update
        elif isinstance(command, PlaceStop):
            for wait_s in (*ASK_AGAIN_S, 0.0):
                for stop in await self._rest.plan_orders(urgent=True):
                    if stop.client_oid != command.client_oid:
                        continue
                    if stop.symbol != command.symbol or stop.plan not in POSITION_STOPS:
                        self.resolutions.another += 1
                        yield outcome(command, "rejected", code=DUPLICATE, message="its id belongs to another stop")
                        return
                    # it protects the position; where it stands otherwise than asked for, the engine looks at that
                    as_asked = stop.trigger_price == command.trigger_price
                    self.resolutions.found += as_asked
                    self.resolutions.another += not as_asked
                    yield stop
                    return
                await self._pause(wait_s)
            self.resolutions.never_arrived += 1
            yield outcome(command, "rejected", code=NOT_FOUND, message="never arrived: no such stop")
        elif isinstance(command, CancelOrder):
            found = await self._find(command.symbol, client_oid=command.client_oid)
            if found is not None:
                self.resolutions.found += 1
                yield found.update

    async def _standing_stops(self, command: PlaceStop) -> AsyncIterator[Event]:
        """The stops that the exchange has for the symbol."""
        for stop in await self._rest.plan_orders(command.symbol):
            if stop.symbol == command.symbol:
                yield stop

    async def _find(self, symbol: str, *, client_oid: str = "", order_id: str = "") -> OrderDetail | None:
        """The order with either id, or None when the exchange keeps answering that it does not know it.

        Raises the error of the last question when that was not answered: silence is no answer.
        """
        silence: ExchangeError | None = None
        for wait_s in (*ASK_AGAIN_S, 0.0):
            try:
                found = await self._rest.order_detail(symbol, client_oid=client_oid, order_id=order_id, urgent=True)
            except (Unavailable, RateLimited) as error:
                silence = error
            else:
                if found is not None:
                    return found
                silence = None
            await self._pause(wait_s)
        if silence is not None:
            raise silence
        return None

    async def _fates(self, orders: Sequence[OrderState]) -> list[Event]:
        """What became of each order, in their order. Many are asked for at a time: each unknown one takes seconds."""
        fates = await asyncio.gather(*map(self._fate, orders), return_exceptions=True)
        for failure in fates:
            if isinstance(failure, BaseException):
                raise failure
        return [fate for fate in fates if not isinstance(fate, BaseException)]

    async def _fate(self, order: OrderState) -> Event:
        """What became of an order, or that the exchange refuses to say or says something that cannot be read: that must
        not keep the account from being looked at."""
        async with self._asking:
            try:
                return await self._answer(order)
            except (Rejected, Unreadable) as error:
                about = f"order {order.client_oid}"
                return QuestionRefused(symbol=order.symbol, about=about, code=error.code, message=str(error))

    async def _answer(self, order: OrderState) -> OrderUpdated | CommandOutcome:
        """What became of an order, told under our client order id: the exchange gives a flash close one of its own."""
        if order.order_id:
            found = await self._find(order.symbol, order_id=order.order_id)
        else:
            found = await self._find(order.symbol, client_oid=order.client_oid)
            if found is not None and _is_other(found, order, order.created_ms):
                return _refused(order, order.status, DUPLICATE, "its id belongs to another order")
        if found is None:
            return _refused(order, order.status, NOT_FOUND, "the exchange does not know this order")
        return msgspec.structs.replace(found.update, client_oid=order.client_oid)

    async def _named(self, fill: Filled, oids: dict[str, str], plans: dict[str, str]) -> list[Event]:
        """An execution as REST tells it: our client order id is joined from its order, and what a stop sent is told to
        be a stop's (the private stream may not have been there to say so)."""
        if fill.order_id not in oids:
            if fill.client_oid:
                return [fill]
            try:
                order = await self._rest.order_detail(fill.symbol, order_id=fill.order_id)
            except (Rejected, Unreadable) as error:  # an execution that was heard of already is known by its own id
                log.warning("execution_unnamed", symbol=fill.symbol, order=fill.order_id, reason=str(error))
                order = None
            oids[fill.order_id] = order.update.client_oid if order is not None else ""
            if order is not None and order.source in PLAN_SOURCES:
                plans[fill.order_id] = PLAN_SOURCES[order.source]
        named = msgspec.structs.replace(fill, client_oid=oids[fill.order_id])
        if fill.order_id not in plans:
            return [named]
        executed = StopUpdated(
            order_id=fill.order_id,
            client_oid="",
            symbol=fill.symbol,
            plan=plans[fill.order_id],
            trigger_price=fill.price,
            status="executed",
        )
        return [named, executed]


def _is_other(found: OrderDetail, ours: PlaceOrder | OrderState, since_ms: int) -> bool:
    """Whether an order with our id is not ours: compared before it is adopted.

    An older order can have our id when the state directory was lost, and with it the count of runs. What can only
    reduce a position may have been cut to it.
    """
    theirs = found.update
    price = ours.price if ours.order_type == "limit" else None
    return (
        (theirs.symbol, theirs.side) != (ours.symbol, ours.side)
        or (theirs.qty > ours.qty if ours.reduce_only else theirs.qty != ours.qty)
        or (found.order_type != "" and (found.order_type, found.price) != (ours.order_type, price))
        or 0 < found.created_ms < since_ms - MARGIN_MS
    )


def _refused(order: PlaceOrder | OrderState, asked_as: str, code: str, message: str) -> CommandOutcome:
    """The answer to a question about an order that was ``asked_as`` then: it is not on the exchange."""
    return CommandOutcome(
        client_oid=order.client_oid,
        symbol=order.symbol,
        command="place",
        outcome="rejected",
        code=code,
        message=message,
        asked_as=asked_as,
    )


def _under_our_id(update: OrderUpdated, oids: dict[str, str]) -> OrderUpdated:
    ours = oids.get(update.order_id, update.client_oid)
    return update if ours == update.client_oid else msgspec.structs.replace(update, client_oid=ours)
