"""What the private stream told twice or too late. The engine recognises both; here they are counted."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Any, Final

from tradebot.events import Filled, OrderUpdated
from tradebot.exchange.bitget.listener import Listener, PrivateEvent
from tradebot.market.instrument import ZERO
from tradebot.trading.orders import RANK

REMEMBERED: Final = 2_000
"""Orders and executions back to which a repetition is recognised, each."""


class PrivateRepeats(Listener):
    """Counts pushes of orders and executions that brought nothing new.

    ``duplicates``: an execution with a known id, an order's state word for word as it was last told. ``late``: an
    order's state that an earlier push had passed already or whose executions had all been told, an execution told
    after a younger one of its symbol. The exchange promises no order between orders and executions, so some of these
    are no trouble; many at once are.
    """

    def __init__(self) -> None:
        self.duplicates = 0
        self.late = 0
        self._orders: OrderedDict[str, OrderUpdated] = OrderedDict()
        self._trades: OrderedDict[str, None] = OrderedDict()
        self._executed: OrderedDict[str, Decimal] = OrderedDict()
        self._youngest_ms: dict[str, int] = {}

    def on_private(self, event: PrivateEvent) -> None:
        if isinstance(event, OrderUpdated):
            self._order(event)
        elif isinstance(event, Filled):
            self._execution(event)

    def _order(self, event: OrderUpdated) -> None:
        known = self._orders.get(event.order_id)
        if known is None or _progress(known) < _progress(event):
            self._orders[event.order_id] = event
            _forget(self._orders)
            self.late += 0 < event.filled_qty <= self._executed.get(event.order_id, ZERO)
        elif known == event:
            self.duplicates += 1
        elif _progress(event) < _progress(known):
            self.late += 1

    def _execution(self, event: Filled) -> None:
        if event.trade_id in self._trades:
            self.duplicates += 1
            return
        self._trades[event.trade_id] = None
        _forget(self._trades)
        self._executed[event.order_id] = self._executed.get(event.order_id, ZERO) + event.qty
        _forget(self._executed)
        youngest_ms = self._youngest_ms.get(event.symbol, 0)
        self.late += event.ts_exchange_ms < youngest_ms
        self._youngest_ms[event.symbol] = max(youngest_ms, event.ts_exchange_ms)


def _progress(order: OrderUpdated) -> tuple[int, Decimal]:
    return RANK[order.status], order.filled_qty


def _forget(known: OrderedDict[str, Any]) -> None:
    if len(known) > REMEMBERED:
        known.popitem(last=False)
