"""What we know of our own orders.

State machine of one order (each arrow may be seen late, twice, or not at all)::

    intended ──> unknown ──> rejected            nothing is on the exchange
        └───────────┴──────> live ──> partially_filled ──> canceled | filled

The state is the maximum of everything heard, on the scale above, and the filled size the maximum of what pushes say
and what executions add up to. A maximum does not depend on the order of its arguments, so every interleaving of
answer, push, fill and query ends in the same state. A push beats an answer: an order that the answer called rejected
but that the exchange shows is on the exchange.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from tradebot.events import CommandOutcome, Decision, Filled, OrderState, OrderUpdated, PlaceOrder
from tradebot.market.candle import HOUR_MS
from tradebot.market.instrument import ZERO

RANK = {"intended": 0, "unknown": 1, "rejected": 2, "live": 3, "partially_filled": 4, "canceled": 5, "filled": 6}
FINAL = frozenset({"rejected", "canceled", "filled"})

NOT_FOUND = "40109"
"""The exchange's code for an order it does not know (protocol section 8.12: believed only after asking for a while)."""

ATTRIBUTION = ("strategy", "model", "version", "model_sha256")
"""What an entry takes over from its decision."""

KEEP_FINAL = 500
"""Finished orders remembered, so that late reports of them are recognised as ours; and all of the last hour, whose
entries are counted."""


def client_oid(shard: int, epoch: int, number: int, leg: str) -> str:
    """Client order id: which daemon, which run, the how-manieth name given in it, what for. Never used twice.

    >>> client_oid(0, 3, 1251, "e")
    'tb0-3-1251-e'
    """
    return f"tb{shard}-{epoch}-{number}-{leg}"


def parse_client_oid(oid: str) -> tuple[int, int] | None:
    """(shard, epoch) of one of our ids, or None for a foreign one.

    >>> parse_client_oid("tb0-3-1251-e"), parse_client_oid("web-1")
    ((0, 3), None)
    """
    parts = oid.split("-")
    if len(parts) != 4 or not parts[0].startswith("tb"):
        return None
    shard, epoch = parts[0][2:], parts[1]
    return (int(shard), int(epoch)) if _is_number(shard) and _is_number(epoch) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


class Orders:
    """Our orders by client order id. Finished ones are kept for a while to recognise late reports."""

    def __init__(self, known: Iterable[OrderState] = ()) -> None:
        self._orders: dict[str, OrderState] = {o.client_oid: o for o in known}
        self._by_order_id: dict[str, str] = {o.order_id: o.client_oid for o in known if o.order_id}

    def __iter__(self) -> Iterator[OrderState]:
        return iter(self._orders.values())

    def __reversed__(self) -> Iterator[OrderState]:
        return reversed(self._orders.values())

    def get(self, oid: str) -> OrderState | None:
        return self._orders.get(oid)

    def find(self, client_oid: str, order_id: str) -> OrderState | None:
        """The order that a report speaks of: by our id, else by the exchange's (REST executions and flash closes do
        not carry ours)."""
        return self._orders.get(client_oid) or self._orders.get(self._by_order_id.get(order_id, ""))

    def open(self, symbol: str | None = None) -> list[OrderState]:
        """Orders that are or may be on the exchange, oldest first."""
        return [o for o in self._orders.values() if o.status not in FINAL and (symbol is None or o.symbol == symbol)]

    def unexecuted(self) -> list[OrderState]:
        """Orders that were reported filled further than the executions heard of."""
        return [o for o in self._orders.values() if lacks_executions(o)]

    def intend(self, order: PlaceOrder, ts_ms: int) -> None:
        """An order of ours is about to be sent. What a decision sends later (a fallback) is that decision's too."""
        before = self._of_decision(order.decision_id) if order.purpose == "entry" else []
        self._orders[order.client_oid] = OrderState(
            client_oid=order.client_oid,
            symbol=order.symbol,
            side=order.side,
            order_type=order.order_type,
            qty=order.qty,
            purpose=order.purpose,
            price=order.price,
            reduce_only=order.reduce_only,
            decision_id=order.decision_id,
            created_ms=ts_ms,
            executed_qty=ZERO,
            **({name: getattr(before[0], name) for name in ATTRIBUTION} if before else {}),
        )
        self._forget(ts_ms)

    def on_decision(self, decision: Decision) -> None:
        """The decision that sent an entry went on record: its orders belong to this strategy and model."""
        for order in self._of_decision(decision.decision_id):
            named = {name: getattr(decision, name) for name in ATTRIBUTION}
            self._orders[order.client_oid] = msgspec.structs.replace(order, **named)

    def _of_decision(self, decision_id: str) -> list[OrderState]:
        return [o for o in self._orders.values() if o.decision_id == decision_id] if decision_id else []

    def on_outcome(self, event: CommandOutcome) -> None:
        """What became of sending the order. Outcomes of other commands that name it (a cancel) say nothing of it."""
        if event.command not in ("place", "close_position"):
            return
        order = self._orders.get(event.client_oid)
        if event.asked_as and order is not None and order.status != event.asked_as:
            return  # heard of since: the answer is about a moment that has passed
        lost = event.outcome == "rejected" and event.code == NOT_FOUND
        if lost and order is not None and order.status not in FINAL and not order.filled_qty:
            # asked for until the answer was certain: the one report that may take an order back
            self._orders[event.client_oid] = msgspec.structs.replace(order, status="rejected")
            return
        if lost and event.asked_as:
            self._raise_to(event.client_oid, "canceled")  # it was there: what is left of it is gone
            return
        if event.command == "close_position" and event.outcome == "accepted" and not event.order_id:
            self._raise_to(event.client_oid, "rejected")  # there was nothing left to close
            return
        status = {"accepted": "live", "rejected": "rejected", "unknown": "unknown"}[event.outcome]
        self._raise_to(event.client_oid, status, order_id=event.order_id)

    def on_update(self, event: OrderUpdated) -> None:
        order = self.find(event.client_oid, event.order_id)
        if order is not None:
            self._raise_to(order.client_oid, event.status, event.filled_qty, event.order_id)

    def on_fill(self, event: Filled) -> None:
        """Count one execution; the caller has dropped repeated trade ids."""
        order = self.find(event.client_oid, event.order_id)
        if order is None:
            return
        executed = _executed(order) + event.qty
        self._orders[order.client_oid] = msgspec.structs.replace(order, executed_qty=executed)
        self._raise_to(order.client_oid, "partially_filled", executed, event.order_id)

    def _raise_to(self, oid: str, status: str, filled: Decimal = ZERO, order_id: str = "") -> None:
        order = self._orders.get(oid)
        if order is None:
            return
        filled = max(order.filled_qty, filled)
        if filled >= order.qty:
            status = "filled"
        if RANK[status] < RANK[order.status]:
            status = order.status
        order_id = order.order_id or order_id
        if order_id:
            self._by_order_id[order_id] = oid
        self._orders[oid] = msgspec.structs.replace(order, status=status, filled_qty=filled, order_id=order_id)

    def _forget(self, now_ms: int) -> None:
        if len(self._orders) > 2 * KEEP_FINAL:
            final = [o for o in self._orders.values() if o.status in FINAL]
            for order in final[:-KEEP_FINAL]:
                if now_ms - order.created_ms >= HOUR_MS:
                    self._by_order_id.pop(self._orders.pop(order.client_oid).order_id, None)


def lacks_executions(order: OrderState) -> bool:
    """Whether it was reported filled further than the executions heard of."""
    return order.filled_qty > _executed(order)


def _executed(order: OrderState) -> Decimal:
    """What its executions add up to (a state kept by an earlier release does not tell: all that was reported)."""
    return order.filled_qty if order.executed_qty is None else order.executed_qty
