"""Private WebSocket channels: the venue's events as pushes (protocol section 10.5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tradebot.matching.reports import (
    AccountChanged,
    Executed,
    OrderChanged,
    PlanChanged,
    PositionChanged,
    PositionClosed,
    VenueEvent,
)
from tradebot.matching.venue import Venue
from tradebot.sim.connection import Connection
from tradebot.sim.rows_money import account_push
from tradebot.sim.rows_orders import fill_push, order_push
from tradebot.sim.rows_plans import plan_push
from tradebot.sim.rows_positions import closed_position_push, position_push
from tradebot.sim.wire import encode, text_frame

PRIVATE_CHANNELS: Final = ("account", "positions", "orders", "orders-algo", "fill", "positions-history")


class _Subscription:
    """Everyone who subscribed with the same arg. ``symbol`` is None for all."""

    def __init__(self, arg: dict[str, Any]) -> None:
        target = arg.get("instId") or arg.get("coin")
        self.channel: str = arg["channel"]
        self.symbol: str | None = None if target == "default" or self.channel == "account" else target
        self.arg = msgspec.Raw(encode(arg))
        self.subscribers: dict[Connection, None] = {}

    def push(self, data: list[dict[str, Any]], now_ms: int) -> bytes:
        return encode({"action": "snapshot", "arg": self.arg, "data": data, "ts": now_ms})


class PrivateFeed:
    """Who listens to the account, and what they are told."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._subscriptions: dict[bytes, _Subscription] = {}

    def subscribe(self, connection: Connection, arg: dict[str, Any], now_ms: int) -> None:
        """Add a subscriber. ``account`` and ``positions`` begin with the present state, the others with silence."""
        subscription = self._subscriptions.setdefault(encode(arg), _Subscription(arg))
        subscription.subscribers[connection] = None
        if subscription.channel == "account":
            data = [account_push(self._venue.summary())]
        elif subscription.channel == "positions":
            data = [
                position_push(report)
                for report in self._venue.positions()
                if subscription.symbol in (None, report.position.symbol)
            ]
        else:
            return
        connection.send(subscription.push(data, now_ms))

    def unsubscribe(self, connection: Connection, arg: dict[str, Any]) -> None:
        """Remove a subscriber; unknown ones are ignored."""
        key = encode(arg)
        subscription = self._subscriptions.get(key)
        if subscription is not None:
            subscription.subscribers.pop(connection, None)
            if not subscription.subscribers:
                del self._subscriptions[key]

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        for key in list(self._subscriptions):
            subscription = self._subscriptions[key]
            subscription.subscribers.pop(connection, None)
            if not subscription.subscribers:
                del self._subscriptions[key]

    def publish(self, events: Iterable[VenueEvent]) -> None:
        """Push events in the order they happened."""
        if not self._subscriptions:
            return
        for event in events:
            said = rows_of(event)
            if said is None:
                continue
            channel, symbol, data, whole = said
            for subscription in self._subscriptions.values():
                if subscription.channel != channel:
                    continue
                wanted = subscription.symbol
                if wanted is None or symbol == wanted:
                    chosen = data
                elif whole:
                    chosen = [row for row in data if row["instId"] == wanted]
                else:
                    continue
                frame = text_frame(subscription.push(chosen, event.ts_ms))
                for connection in subscription.subscribers:
                    connection.queue(frame)


def rows_of(event: VenueEvent) -> tuple[str, str, list[dict[str, Any]], bool] | None:
    """Channel, symbol, rows and whether the rows are a whole set; None for what no channel tells."""
    if isinstance(event, OrderChanged):
        return "orders", event.order.symbol, [order_push(event.order, event.execution)], False
    if isinstance(event, Executed):
        return "fill", event.execution.symbol, [fill_push(event.execution)], False
    if isinstance(event, PositionChanged):
        return "positions", "", [position_push(report) for report in event.positions], True
    if isinstance(event, AccountChanged):
        return "account", "", [account_push(event.summary)], False
    if isinstance(event, PlanChanged):
        return "orders-algo", event.plan.symbol, [plan_push(event.plan, event.qty)], False
    if isinstance(event, PositionClosed):
        return "positions-history", event.position.symbol, [closed_position_push(event.position)], False
    return None
