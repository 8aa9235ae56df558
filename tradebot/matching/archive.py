"""What the venue remembers: orders, plans, executions, bills and closed positions, the newest of each kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from tradebot.matching.orders import Execution, Order, OrderRefused, PosSide
from tradebot.matching.plans import PlanOrder
from tradebot.matching.position import Position
from tradebot.matching.reports import Bill

T = TypeVar("T")


class Archive:
    """Orders and plans by id and client id, open ones apart; ``limit`` final ones and as many other rows are kept.

    Client ids stay taken as long as their order is remembered. Orders and plans have separate id spaces.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self.plans: dict[str, PlanOrder] = {}
        self.live_plans: dict[str, PlanOrder] = {}
        self.executions: deque[Execution] = deque(maxlen=limit)
        self.bills: deque[Bill] = deque(maxlen=limit)
        self.closed_positions: deque[Position] = deque(maxlen=limit)
        self.promised: set[str] = set()  # client ids of orders that modify requests are about to create
        self.revisions: dict[str, int] = {}
        """How often an order or a plan of a symbol changed."""
        self._open_of: dict[str, dict[str, Order]] = {}
        self._live_of: dict[str, dict[str, PlanOrder]] = {}
        self._order_ids: dict[str, str] = {}
        self._plan_ids: dict[str, str] = {}

    def put_order(self, order: Order) -> None:
        """Store the newest state of an order."""
        if order.order_id not in self.orders:
            self._order_ids[order.client_oid] = order.order_id
            self._forget_order()
        self.orders[order.order_id] = order
        _keep(self.open, order.order_id, order, there=order.open)
        _keep(self._open_of.setdefault(order.symbol, {}), order.order_id, order, there=order.open)
        self.revisions[order.symbol] = self.revisions.get(order.symbol, 0) + 1

    def put_plan(self, plan: PlanOrder) -> None:
        """Store the newest state of a plan."""
        if plan.order_id not in self.plans:
            self._plan_ids[plan.client_oid] = plan.order_id
            self._forget_plan()
        self.plans[plan.order_id] = plan
        live = plan.status == "live"
        _keep(self.live_plans, plan.order_id, plan, there=live)
        _keep(self._live_of.setdefault(plan.symbol, {}), plan.order_id, plan, there=live)
        self.revisions[plan.symbol] = self.revisions.get(plan.symbol, 0) + 1

    def find_order(self, order_id: str, client_oid: str) -> Order | None:
        """An order by its id or else its client id. Raises OrderRefused 40924 when neither is given."""
        if not order_id and not client_oid:
            raise OrderRefused("40924", "Parameter orderId and clientOid must be passed one")
        return self.orders.get(order_id or self._order_ids.get(client_oid, ""))

    def find_plan(self, order_id: str, client_oid: str) -> PlanOrder | None:
        """A plan by its id or else its client id. Raises OrderRefused 40924 when neither is given."""
        if not order_id and not client_oid:
            raise OrderRefused("40924", "Parameter orderId and clientOid must be passed one")
        return self.plans.get(order_id or self._plan_ids.get(client_oid, ""))

    def check_order_oid(self, client_oid: str) -> None:
        """Refuse a client id that an order already has (protocol section 8.3)."""
        if client_oid and (client_oid in self._order_ids or client_oid in self.promised):
            raise OrderRefused("40786", f"Duplicate clientOid {client_oid}")

    def check_plan_oid(self, client_oid: str) -> None:
        """Refuse a client id that a plan already has."""
        if client_oid and client_oid in self._plan_ids:
            raise OrderRefused("40786", f"Duplicate clientOid {client_oid}")

    def open_in(self, symbol: str) -> list[Order]:
        """Open orders of a symbol, oldest first."""
        return list(self._open_of.get(symbol, {}).values())

    def closing(self, symbol: str, pos_side: PosSide) -> list[Order]:
        """Open orders that may only close a position, oldest first."""
        return [o for o in self.open_in(symbol) if o.reduce_only and o.pos_side == pos_side]

    def plans_in(self, symbol: str) -> list[PlanOrder]:
        """Live plans of a symbol, oldest first, those not acting yet included."""
        return list(self._live_of.get(symbol, {}).values())

    def ended(self, newest: int) -> tuple[list[Order], list[PlanOrder]]:
        """The ``newest`` orders and plans that are not open any more, oldest first."""
        orders = (o for o in reversed(self.orders.values()) if not o.open)
        plans = (p for p in reversed(self.plans.values()) if p.status != "live")
        return _oldest_first(orders, newest), _oldest_first(plans, newest)

    def _forget_order(self) -> None:
        if len(self.orders) - len(self.open) >= self.limit:
            oldest = next(order for order_id, order in self.orders.items() if order_id not in self.open)
            del self.orders[oldest.order_id]
            del self._order_ids[oldest.client_oid]

    def _forget_plan(self) -> None:
        if len(self.plans) - len(self.live_plans) >= self.limit:
            oldest = next(plan for plan_id, plan in self.plans.items() if plan_id not in self.live_plans)
            del self.plans[oldest.order_id]
            del self._plan_ids[oldest.client_oid]


def _keep(rows: dict[str, T], key: str, row: T, *, there: bool) -> None:
    if there:
        rows[key] = row
    else:
        rows.pop(key, None)


def _oldest_first(newest_first: Iterable[T], count: int) -> list[T]:
    return list(islice(newest_first, count))[::-1]
