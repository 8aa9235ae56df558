"""Which requests the venue accepts: the contract's terms, then mode, client id, position and margin."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching import checks
from tradebot.matching.book import SIDES, opposite
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.margin import largest_value
from tradebot.matching.orders import Order, OrderRefused, OrderRequest, PlanOrder, PlanRequest, PositionMode


class Admission:
    """Judges requests against the state of an engine; a refused request changes nothing.

    ``price_band`` is the contract's buy/sellLimitPriceRatio, ``max_open_orders`` counts per symbol.
    """

    def __init__(self, engine: MatchingEngine, price_band: Decimal, max_open_orders: int) -> None:
        self._engine = engine
        self._account = engine.account
        self._archive = engine.archive
        self._band = price_band
        self._max_open = max_open_orders

    def plan(self, request: PlanRequest, ts_ms: int) -> PlanOrder:
        """The trigger order of a request that may be accepted. Raises OrderRefused."""
        instrument = self.instrument(request.symbol)
        checks.check_client_oid(request.client_oid)
        self._archive.check_plan_oid(request.client_oid)
        checks.check_price(instrument, request.trigger_price, "triggerPrice")
        if request.execute_price is not None:
            checks.check_price(instrument, request.execute_price, "executePrice")
        reference = self.mark(request.symbol)
        if request.trigger_type == "fill_price":
            reference = self._engine.lasts.get(request.symbol, reference)
        if request.plan == "normal_plan":
            side, below = self._check_conditional(request, reference)
        else:
            side, below = self._check_protection(request, reference)
        return PlanOrder(
            order_id=self._engine.next_id(ts_ms),
            client_oid=request.client_oid or self._engine.next_id(ts_ms),
            symbol=request.symbol,
            plan=request.plan,
            side=side,
            trigger_price=request.trigger_price,
            trigger_type=request.trigger_type,
            fires_below=below,
            qty=None if request.plan in ("pos_loss", "pos_profit") else request.qty,
            execute_price=request.execute_price,
            reduce_only=request.plan != "normal_plan" or request.reduce_only,
            created_ms=ts_ms,
            updated_ms=ts_ms,
            margin_mode=request.margin_mode,
            stop_loss=request.stop_loss,
            take_profit=request.take_profit,
        )

    def instrument(self, symbol: str) -> Instrument:
        """The contract of a symbol. Raises OrderRefused 40034 when it is unknown."""
        instrument = self._engine.instruments.get(symbol)
        if instrument is None:
            raise OrderRefused("40034", f"Parameter {symbol} does not exist")
        return instrument

    def mark(self, symbol: str) -> Decimal:
        """Mark price or, before the first, the middle of the book. Raises OrderRefused 22045 without either."""
        mark = self._account.marks.get(symbol)
        if mark is not None:
            return mark
        best = [b for b in map(self._engine.books[symbol].best, SIDES) if b is not None]
        if not best:
            raise OrderRefused("22045", f"insufficient liquidity in {symbol}, operate later")
        return sum(best) * self._engine.instruments[symbol].tick / len(best)

    def margin_price(self, symbol: str, side: Side, price: Decimal | None) -> Decimal:
        """Price the margin of an order is reserved at: its limit, but a sell not below what it would sell at now."""
        if price is not None and side == "buy":
            return price
        best = self._engine.books[symbol].best(opposite(side))
        market = self.mark(symbol) if best is None else best * self._engine.instruments[symbol].tick
        return market if price is None else max(price, market)

    def free(self) -> Decimal:
        """What may be used to open; negative when losses have eaten into margins."""
        return self._account.free(self._account.locked(self._archive.open.values()))

    def order(self, request: OrderRequest, position_mode: PositionMode, ts_ms: int) -> Order:
        """The order of a request that may be accepted; nothing but the margin mode is changed."""
        instrument = self.instrument(request.symbol)
        if request.trade_side or position_mode != "one_way_mode":
            raise OrderRefused(
                "40774", "The order type for unilateral position must also be the unilateral position type"
            )
        checks.check_shape(request, instrument)
        self._archive.check_order_oid(request.client_oid)
        if len(self._archive.open_in(request.symbol)) >= self._max_open:
            raise OrderRefused("43005", f"the number of open orders of {request.symbol} is at its limit")
        price = request.price if request.order_type == "limit" else None
        margin_price = self.margin_price(request.symbol, request.side, price)
        if request.reduce_only:
            closable = self._engine.closable(request.symbol, request.side)
            if not closable:
                raise OrderRefused("22002", "No position to close")
            return self._engine.new_order(replace(request, qty=min(request.qty, closable)), margin_price, ts_ms)
        mark = self.mark(request.symbol)
        if price is not None:
            checks.check_band(request.side, price, mark, self._band)
        checks.check_notional(instrument, request.qty * margin_price)
        for trigger, profit in ((request.stop_loss, False), (request.take_profit, True)):
            if trigger is not None:
                checks.check_protection(request.side, trigger, mark if price is None else price, profit=profit)
        order = self._engine.new_order(request, margin_price, ts_ms)
        self._check_margin(order)
        idle = request.symbol not in self._account.positions and not self._archive.open_in(request.symbol)
        if request.margin_mode is not None and idle:
            self._account.settings[request.symbol].margin_mode = request.margin_mode
            order = replace(order, margin_mode=request.margin_mode)
        return order

    def _check_margin(self, order: Order) -> None:
        """Refuse an order that opens more than what is free or than the position tier allows (section 7.11)."""
        account = self._account
        locked = account.locked(self._archive.open.values())
        need = account.locked([*self._archive.open.values(), order]) - locked
        free = account.free(locked)
        if need > 0 and need > free:
            raise OrderRefused(
                "40762", f"The order amount exceeds the balance: needs {need}, free {max(ZERO, free)} USDT"
            )
        if need > 0:
            same = [o for o in self._archive.open_in(order.symbol) if o.side == order.side and not o.reduce_only]
            qty = account.signed_qty(order.symbol)
            total = (qty if order.side == "buy" else -qty) + sum((o.remaining for o in same), order.qty)
            most = largest_value(self._engine.tiers[order.symbol], account.settings[order.symbol].leverage)
            if total * order.margin_price > most:
                raise OrderRefused(
                    "40762", f"The order size is greater than the max open size at this leverage ({most} USDT)"
                )

    def _check_conditional(self, request: PlanRequest, reference: Decimal) -> tuple[Side, bool]:
        """Side and direction of a ``normal_plan``: it fires when the price comes to the trigger from where it is."""
        if request.side is None or request.qty is None:
            raise OrderRefused("40019", "Parameter side and size cannot be empty")
        instrument = self.instrument(request.symbol)
        checks.check_qty(instrument, request.qty, market=request.execute_price is None)
        return request.side, request.trigger_price < reference

    def _check_protection(self, request: PlanRequest, reference: Decimal) -> tuple[Side, bool]:
        """Side and direction of a take-profit or stop-loss of the position."""
        held = self._account.positions.get(request.symbol)
        if held is None or request.hold_side not in (None, held.side):
            raise OrderRefused("43023", "Insufficient position, can not set profit or stop loss")
        profit = request.plan in ("pos_profit", "profit_plan")
        if request.plan in ("loss_plan", "profit_plan"):
            if request.qty is None:
                raise OrderRefused("40019", "Parameter size cannot be empty")
            checks.check_qty(self.instrument(request.symbol), request.qty, market=request.execute_price is None)
            if request.qty > held.size:
                raise OrderRefused("40891", "Insufficient position for the take profit or stop loss")
        elif any(p.plan == request.plan for p in self._archive.plans_in(request.symbol)):
            kind = "take profit" if profit else "stop loss"
            raise OrderRefused("43030" if profit else "43031", f"A {kind} order of the position already exists")
        checks.check_protection(held.side, request.trigger_price, reference, profit=profit)
        return opposite(held.side), profit != (held.side == "buy")
