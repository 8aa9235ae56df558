"""What the venue remembers: orders, plans, executions, bills and closed positions, the newest of each kept."""

from __future__ import annotations

from collections import deque

from tradebot.matching.orders import Execution, Order, OrderRefused, PosSide
from tradebot.matching.plans import PlanOrder
from tradebot.matching.position import Position
from tradebot.matching.reports import Bill


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
        self._order_ids: dict[str, str] = {}
        self._plan_ids: dict[str, str] = {}

    def put_order(self, order: Order) -> None:
        """Store the newest state of an order."""
        if order.order_id not in self.orders:
            self._order_ids[order.client_oid] = order.order_id
            self._forget_order()
        self.orders[order.order_id] = order
        if order.open:
            self.open[order.order_id] = order
        else:
            self.open.pop(order.order_id, None)

    def put_plan(self, plan: PlanOrder) -> None:
        """Store the newest state of a plan."""
        if plan.order_id not in self.plans:
            self._plan_ids[plan.client_oid] = plan.order_id
            self._forget_plan()
        self.plans[plan.order_id] = plan
        if plan.status == "live":
            self.live_plans[plan.order_id] = plan
        else:
            self.live_plans.pop(plan.order_id, None)

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
        return [o for o in self.open.values() if o.symbol == symbol]

    def closing(self, symbol: str, pos_side: PosSide) -> list[Order]:
        """Open orders that may only close a position, oldest first."""
        return [o for o in self.open_in(symbol) if o.reduce_only and o.pos_side == pos_side]

    def plans_in(self, symbol: str) -> list[PlanOrder]:
        """Live plans of a symbol, oldest first, those not acting yet included."""
        return [p for p in self.live_plans.values() if p.symbol == symbol]

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
