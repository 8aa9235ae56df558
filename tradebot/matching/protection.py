"""Which trigger orders the venue accepts (protocol section 9)."""

from __future__ import annotations

from decimal import Decimal

from tradebot.market.instrument import Side
from tradebot.matching import checks
from tradebot.matching.admission import Admission
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.orders import Intent, OrderRefused, PosSide, intent_of, opposite
from tradebot.matching.plans import TRAILING, WHOLE, PlanOrder, PlanRequest

LARGEST_CALLBACK = Decimal(10)
"""Percent."""


class PlanAdmission:
    """Judges trigger-order requests against the state of an engine; a refused request changes nothing."""

    def __init__(self, engine: MatchingEngine, admission: Admission) -> None:
        self._engine = engine
        self._account = engine.account
        self._archive = engine.archive
        self._admission = admission

    def plan(self, request: PlanRequest, ts_ms: int, *, instead_of: PlanOrder | None = None) -> PlanOrder:
        """The trigger order of a request that may be accepted, not yet stored. Raises OrderRefused.

        ``instead_of`` is a live plan that this one replaces: its ids and its place stay.
        """
        instrument = self._admission.instrument(request.symbol)
        if instead_of is None:
            checks.check_client_oid(request.client_oid)
            self._archive.check_plan_oid(request.client_oid)
        checks.check_status(instrument, ts_ms, reduces=request.plan != "normal_plan" or request.reduce_only)
        checks.check_price(instrument, request.trigger_price, "triggerPrice")
        if request.execute_price is not None:
            checks.check_price(instrument, request.execute_price, "executePrice")
        checks.check_presets(instrument, request.presets)
        self._check_callback(request)
        self._check_count(request, instead_of)
        reference = self._admission.mark(request.symbol)
        if request.trigger_type == "fill_price":
            reference = self._engine.lasts.get(request.symbol, reference)
        if request.plan in ("normal_plan", "track_plan"):
            intent, below = self._conditional(request, reference)
        else:
            intent, below = self._protecting(request, reference, instead_of)
        order_id = instead_of.order_id if instead_of else self._engine.maker.next_id(ts_ms)
        client_oid = instead_of.client_oid if instead_of else request.client_oid or self._engine.maker.next_id(ts_ms)
        return PlanOrder(
            order_id=order_id,
            client_oid=client_oid,
            symbol=request.symbol,
            plan=request.plan,
            side=intent.side,
            pos_side=intent.pos_side,
            trigger_price=request.trigger_price,
            trigger_type=request.trigger_type,
            fires_below=below,
            qty=None if request.plan in WHOLE else request.qty,
            execute_price=request.execute_price,
            callback=request.callback,
            reduce_only=intent.closes,
            created_ms=instead_of.created_ms if instead_of else ts_ms,
            updated_ms=ts_ms,
            margin_mode=request.margin_mode or self._account.settings[request.symbol].margin_mode,
            presets=request.presets,
            preset_of=instead_of.preset_of if instead_of else "",
        )

    def _check_callback(self, request: PlanRequest) -> None:
        if request.plan not in TRAILING:
            return
        name = "rangeRate" if request.plan == "moving_plan" else "callbackRatio"
        if request.callback is None:
            raise OrderRefused("40019", f"Parameter {name} cannot be empty")
        if not 0 < request.callback <= LARGEST_CALLBACK:
            raise OrderRefused("43011", f"The parameter {name} must be above 0 and at most {LARGEST_CALLBACK}")
        if request.execute_price is not None:
            raise OrderRefused("43011", "A trailing order is a market order")

    def _check_count(self, request: PlanRequest, instead_of: PlanOrder | None) -> None:
        live = self._archive.plans_in(request.symbol)
        if instead_of is None and len(live) >= self._admission.limits.max_symbol_plans:
            code = "40889" if request.plan in ("normal_plan", "track_plan") else "40890"
            raise OrderRefused(code, f"the number of trigger orders of {request.symbol} is at its limit")

    def _conditional(self, request: PlanRequest, reference: Decimal) -> tuple[Intent, bool]:
        """Intent and direction of a plan of its own: it waits for the price to come to the trigger from where it is.

        A trailing one waits for the price to go the way that it wants to gain from.
        """
        if request.side is None or request.qty is None:
            raise OrderRefused("40019", "Parameter side and size cannot be empty")
        instrument = self._admission.instrument(request.symbol)
        checks.check_qty(instrument, request.qty, market=request.execute_price is None)
        intent = intent_of(request.side, request.trade_side, request.reduce_only, self._account.position_mode)
        if request.plan == "track_plan":
            return intent, intent.side == "buy"
        checks.check_preset_sides(intent.side, request.presets, request.trigger_price)
        return intent, request.trigger_price < reference

    def _protecting(
        self, request: PlanRequest, reference: Decimal, instead_of: PlanOrder | None
    ) -> tuple[Intent, bool]:
        """Intent and direction of a take-profit or stop-loss of a position."""
        hedge = self._account.position_mode == "hedge_mode"
        if hedge and request.hold_side is None:
            raise OrderRefused("40019", "Parameter holdSide cannot be empty")
        pos_side: PosSide = "net" if not hedge else "long" if request.hold_side == "buy" else "short"
        held = self._account.held(request.symbol, pos_side)
        if held is None or request.hold_side not in (None, held.side):
            raise OrderRefused("43023", "Insufficient position, can not set profit or stop loss")
        profit = request.plan in ("pos_profit", "profit_plan", "moving_plan")
        if request.plan not in WHOLE:
            if request.qty is None:
                raise OrderRefused("40019", "Parameter size cannot be empty")
            instrument = self._admission.instrument(request.symbol)
            checks.check_qty(instrument, request.qty, market=request.execute_price is None)
            if request.qty > held.size:
                raise OrderRefused("40891", "Insufficient position for the take profit or stop loss")
        elif self._exists(request, pos_side, instead_of):
            kind = "take profit" if profit else "stop loss"
            raise OrderRefused("43030" if profit else "43031", f"A {kind} order of the position already exists")
        if request.plan != "moving_plan":
            checks.check_protection(held.side, request.trigger_price, reference, profit=profit)
        closing: Side = opposite(held.side)
        return Intent(pos_side, closing, True), profit != (held.side == "buy")

    def _exists(self, request: PlanRequest, pos_side: PosSide, instead_of: PlanOrder | None) -> bool:
        return any(
            p.plan == request.plan and p.pos_side == pos_side
            for p in self._archive.plans_in(request.symbol)
            if instead_of is None or p.order_id != instead_of.order_id
        )
