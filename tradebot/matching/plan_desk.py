"""Trigger orders: accept, act, modify, cancel (protocol section 9)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tradebot.matching.arithmetic import exactly
from tradebot.matching.desk import Desk
from tradebot.matching.orders import OrderRefused
from tradebot.matching.plans import PlanOrder, PlanRequest


class PlanDesk(Desk):
    """Requests about trigger orders. ``check_*`` judges one when it arrives, ``act_*`` carries it out."""

    @exactly
    def check_plan(self, request: PlanRequest, ts_ms: int) -> PlanOrder:
        """Accept a trigger order; it can fire from :meth:`act_plan` on. Raises OrderRefused."""
        plan = self._plan_admission.plan(request, ts_ms)
        self._archive.put_plan(plan)
        return plan

    @exactly
    def check_plans(self, requests: Sequence[PlanRequest], ts_ms: int) -> list[PlanOrder]:
        """Accept several trigger orders together, or none of them. Raises OrderRefused."""
        plans = [self._plan_admission.plan(request, ts_ms) for request in requests]
        given = [request.client_oid for request in requests if request.client_oid]
        if len(set(given)) < len(given):
            raise OrderRefused("40786", f"Duplicate clientOid {given[0]}")
        for plan in plans:
            self._archive.put_plan(plan)
        return plans

    @exactly
    def act_plan(self, order_id: str, ts_ms: int) -> PlanOrder:
        """Make an accepted trigger order live; it fires at once when the market is already beyond its trigger."""
        plan = self._archive.plans[order_id]
        if plan.status == "live" and not plan.acting:
            self._go_live(plan, ts_ms)
        return self._archive.plans[order_id]

    def place_plan(self, request: PlanRequest, ts_ms: int) -> PlanOrder:
        """:meth:`check_plan` and :meth:`act_plan` at once."""
        return self.act_plan(self.check_plan(request, ts_ms).order_id, ts_ms)

    @exactly
    def check_modify_plan(self, old: PlanOrder, request: PlanRequest, ts_ms: int) -> PlanOrder:
        """What a live trigger order is to become; it keeps its ids. Raises OrderRefused, 40923 when nothing changes."""
        if old.status != "live":
            raise OrderRefused("43025", "The plan order does not exist")
        new = self._plan_admission.plan(request, ts_ms, instead_of=old)
        if replace(new, updated_ms=old.updated_ms, acting=old.acting, extreme=old.extreme) == old:
            raise OrderRefused("40923", "Nothing has changed")
        return new

    @exactly
    def act_modify_plan(self, new: PlanOrder, ts_ms: int) -> PlanOrder:
        """Put the changed trigger order in the place of the old one unless that has fired or ended."""
        if self._archive.plans[new.order_id].status == "live":
            self._go_live(new, ts_ms)
        return self._archive.plans[new.order_id]

    def check_cancel_plan(self, *, order_id: str = "", client_oid: str = "") -> PlanOrder:
        """The live trigger order a cancel request means. Raises OrderRefused 43025 when there is none."""
        plan = self._archive.find_plan(order_id, client_oid)
        if plan is None or plan.status != "live":
            raise OrderRefused("43025", "The plan order does not exist")
        return plan

    @exactly
    def act_cancel_plan(self, order_id: str, ts_ms: int) -> PlanOrder:
        """Cancel a trigger order unless it has fired or ended."""
        plan = self._archive.plans[order_id]
        if plan.status == "live":
            self._engine.put_plan(replace(plan, status="cancelled", updated_ms=ts_ms))
        return self._archive.plans[order_id]

    def cancel_plan(self, ts_ms: int, *, order_id: str = "", client_oid: str = "") -> PlanOrder:
        """:meth:`check_cancel_plan` and :meth:`act_cancel_plan` at once."""
        return self.act_cancel_plan(self.check_cancel_plan(order_id=order_id, client_oid=client_oid).order_id, ts_ms)

    def _go_live(self, plan: PlanOrder, ts_ms: int) -> None:
        flat = plan.protects and not self.account.closable(plan.symbol, plan.pos_side, plan.side)
        plan = replace(plan, acting=True, status="cancelled" if flat else "live", updated_ms=ts_ms)
        self._engine.put_plan(plan)
        self._triggers.look(plan.symbol, plan.trigger_type, ts_ms)
