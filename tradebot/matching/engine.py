"""What happens inside the venue: orders meet books, fills change the account, triggers fire, positions are liquidated.

The engine checks nothing; :class:`tradebot.matching.venue.Venue` does that before it calls. Each of its entry points
ends with :meth:`MatchingEngine.settle`, which publishes what changed, once: positions and account after all executions
of the call, then presets that became stops and stops whose position is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec.structs import replace

from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching.account import Account, Position
from tradebot.matching.archive import Archive
from tradebot.matching.book import Book, Match, opposite
from tradebot.matching.margin import Tier, tier_of
from tradebot.matching.orders import (
    Execution,
    Order,
    OrderRequest,
    PlanOrder,
    PlanType,
    TriggerType,
)
from tradebot.matching.reports import (
    AccountChanged,
    AccountSummary,
    Bill,
    Executed,
    Liquidated,
    OrderChanged,
    PlanChanged,
    PositionChanged,
    PositionClosed,
    PositionReport,
    VenueEvent,
)


class MatchingEngine:
    """Books of all symbols, one account, its orders and plans, and the events they cause."""

    def __init__(
        self,
        instruments: dict[str, Instrument],
        tiers: Mapping[str, tuple[Tier, ...]],
        account: Account,
        memory: int,
    ) -> None:
        self.instruments = instruments
        self.tiers = tiers
        self.account = account
        self.archive = Archive(memory)
        self.books = {s: Book() for s in instruments}
        self.lasts: dict[str, Decimal] = {}
        self.waiting: set[str] = set()
        self.events: list[VenueEvent] = []
        self.last_id = 0
        self._moved: set[str] = set()  # symbols whose position changed in this call
        self._closed: list[Position] = []
        self._preset: dict[str, Decimal] = {}  # order id -> base coin it opened in this call
        self._dirty = False

    # --- orders -----------------------------------------------------------------------------------------------------

    def next_id(self, ts_ms: int) -> str:
        """A 19-digit id that grows with time and is never given twice."""
        self.last_id = max(self.last_id + 1, ts_ms * 1_000_000)
        return str(self.last_id)

    def new_order(
        self,
        request: OrderRequest,
        margin_price: Decimal,
        ts_ms: int,
        *,
        source: str = "",
        entered_by: str = "API",
        trade_side: str = "",
    ) -> Order:
        """An order of ``request``, not yet known to anyone."""
        settings = self.account.settings[request.symbol]
        order_id = self.next_id(ts_ms)
        return Order(
            order_id=order_id,
            client_oid=request.client_oid or self.next_id(ts_ms),
            symbol=request.symbol,
            side=request.side,
            order_type=request.order_type,
            qty=request.qty,
            price=request.price if request.order_type == "limit" else None,
            tif=request.tif,
            reduce_only=request.reduce_only,
            margin_mode=settings.margin_mode,
            leverage=settings.leverage,
            margin_price=margin_price,
            created_ms=ts_ms,
            updated_ms=ts_ms,
            stop_loss=request.stop_loss,
            take_profit=request.take_profit,
            stp=request.stp,
            source=source or ("market" if request.order_type == "market" else "normal"),
            entered_by=entered_by,
            trade_side=trade_side or f"{request.side}_single",
        )

    def put(self, order: Order, execution: Execution | None = None) -> None:
        """Store and publish a state of an order."""
        self.archive.put_order(order)
        self.events.append(OrderChanged(order, order.updated_ms, execution))
        self._dirty = True

    def cancel(self, order: Order, reason: str, ts_ms: int) -> None:
        """End an open order."""
        self.books[order.symbol].remove(order.order_id)
        self.waiting.discard(order.order_id)
        self.put(replace(order, status="canceled", cancel_reason=reason, updated_ms=ts_ms))

    def rest(self, order: Order) -> None:
        """Put an open limit order at the end of the queue of its price."""
        if order.price is not None:
            self.books[order.symbol].rest(
                order.order_id, order.side, self._ticks(order), self._lots(order.symbol, order.remaining)
            )

    def closable(self, symbol: str, side: Side) -> Decimal:
        """Base coin that an order of ``side`` could close: the position's size when it is the other way, else zero."""
        qty = self.account.signed_qty(symbol)
        return max(ZERO, -qty if side == "buy" else qty)

    def enter(self, order: Order, ts_ms: int) -> Order:
        """An order reaches its book: takes what it crosses, then rests or ends. Returns its state afterwards."""
        self.waiting.discard(order.order_id)
        if order.reduce_only:
            closable = self.closable(order.symbol, order.side)
            if not closable:
                self.cancel(order, "reduce_only_cancel", ts_ms)
                return self.archive.orders[order.order_id]
            if closable < order.remaining:
                order = replace(order, qty=order.filled_qty + closable, updated_ms=ts_ms)
                self.put(order)
        reason = self._refusal(order) or self._take(order, ts_ms)
        order = self.archive.orders[order.order_id]
        if order.open:
            if reason:
                self.cancel(order, reason, ts_ms)
            elif order.order_type == "market":
                self.cancel(order, "insufficient_liquidity", ts_ms)
            elif order.tif in ("ioc", "fok"):
                self.cancel(order, f"{order.tif}_cancel", ts_ms)
            else:
                self.rest(order)
        return self.archive.orders[order.order_id]

    def make(self, matches: list[Match], ts_ms: int) -> None:
        """Fill resting orders as maker."""
        for match in matches:
            self._fill(match.order_id, match.ticks, match.lots, ts_ms, maker=True)

    def market_close(self, held: Position, client_oid: str, ts_ms: int, *, source: str, forced: bool = False) -> Order:
        """A market order that closes a whole position, not yet known to anyone."""
        side = opposite(held.side)
        request = OrderRequest(
            symbol=held.symbol,
            side=side,
            order_type="market",
            qty=held.size,
            tif="ioc",
            reduce_only=True,
            client_oid=client_oid,
        )
        return self.new_order(
            request,
            self.account.mark(held.symbol),
            ts_ms,
            source=source,
            entered_by="SYS" if forced else "API",
            trade_side=f"burst_{side}_single" if forced else "",
        )

    # --- trigger orders ---------------------------------------------------------------------------------------------

    def put_plan(self, plan: PlanOrder) -> None:
        """Store and publish a state of a trigger order."""
        self.archive.put_plan(plan)
        self.events.append(PlanChanged(plan, self.plan_qty(plan), plan.updated_ms))

    def plan_qty(self, plan: PlanOrder) -> Decimal:
        """Size of a trigger order; ``pos_*`` have that of the position."""
        return plan.qty if plan.qty is not None else abs(self.account.signed_qty(plan.symbol))

    def due(self, symbol: str, trigger_type: TriggerType) -> list[PlanOrder]:
        """Acting plans of a symbol whose trigger the current price has reached, oldest first."""
        if not self.archive.live_plans:
            return []
        price = self.account.marks.get(symbol) if trigger_type == "mark_price" else self.lasts.get(symbol)
        if price is None:
            return []
        return [
            plan
            for plan in self.archive.plans_in(symbol)
            if plan.acting
            and plan.trigger_type == trigger_type
            and (price <= plan.trigger_price if plan.fires_below else price >= plan.trigger_price)
        ]

    def execute_plan(self, plan: PlanOrder, order: Order | None, ts_ms: int) -> None:
        """Send the order of a plan that is executing (None: it was refused) and publish how that went."""
        if order is not None:
            self.put(order)
            order = self.enter(order, ts_ms)
        went = order is not None and (order.open or order.filled_qty > 0)
        done = replace(
            plan,
            status="executed" if went else "fail_execute",
            executed_order_id=order.order_id if order else "",
            updated_ms=ts_ms,
        )
        self.settle(ts_ms)
        self.put_plan(done)

    # --- money ------------------------------------------------------------------------------------------------------

    def bill(self, symbol: str, amount: Decimal, fee: Decimal, business: str, ts_ms: int) -> Bill:
        """Write down a change of cash that has just been made."""
        bill = Bill(
            bill_id=self.next_id(ts_ms),
            symbol=symbol,
            amount=amount,
            fee=fee,
            business=business,
            balance=self.account.cash,
            ts_ms=ts_ms,
        )
        self.archive.bills.append(bill)
        self._dirty = True
        return bill

    def liquidate(self, symbol: str, ts_ms: int) -> None:
        """Close by force what is below its maintenance margin, judged at the mark of ``symbol``.

        A crossed account closes all its crossed positions. What the visible book cannot take is tried again at the next
        mark.
        """
        held = self.account.positions.get(symbol)
        if held is None or self.account.margin_ratio(held) < 1:
            return
        crossed = held.margin_mode == "crossed"
        doomed = [p for p in self.account.positions.values() if p.margin_mode == "crossed"] if crossed else [held]
        doomed = [p for p in doomed if self.books[p.symbol].best(p.side) is not None]
        for position in doomed:
            for order in self.archive.open_in(position.symbol):
                self.cancel(order, "liquidation_cancel", ts_ms)
        for position in doomed:
            self.burst(position, ts_ms)

    def burst(self, position: Position, ts_ms: int) -> None:
        """Close a whole position by force."""
        forced = self.market_close(position, "", ts_ms, source="liquidation", forced=True)
        mark = self.account.mark(position.symbol)
        self.events.append(Liquidated(position.symbol, forced.order_id, position.qty, mark, ts_ms))
        self.put(forced)
        self.enter(forced, ts_ms)
        self.settle(ts_ms)

    # --- what is published ------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Have the next :meth:`settle` publish positions and account."""
        self._dirty = True

    def settle(self, ts_ms: int) -> None:
        """Publish positions and account if anything changed, then bring trigger orders in line with positions."""
        for symbol in sorted(self._moved):
            self._fit_reduce_only(symbol, ts_ms)
        if self._dirty:
            self.events.append(PositionChanged(self.positions(), ts_ms))
            self.events += [PositionClosed(p, ts_ms) for p in self._closed]
            self.events.append(AccountChanged(self.summary(), ts_ms))
            self._closed.clear()
            self._dirty = False
        for symbol in sorted(self._moved):
            for plan in self.archive.plans_in(symbol):
                if plan.protects and plan.acting and not self.closable(symbol, plan.side):
                    self.put_plan(replace(plan, status="cancelled", updated_ms=ts_ms))
        self._moved.clear()
        for order_id, qty in self._preset.items():
            self._place_presets(self.archive.orders[order_id], qty, ts_ms)
        self._preset.clear()

    def positions(self) -> tuple[PositionReport, ...]:
        """Open positions, oldest first."""
        return tuple(self.report(p) for p in self.account.positions.values())

    def report(self, held: Position) -> PositionReport:
        """A position with what depends on the mark and on open orders."""
        account = self.account
        mark = account.mark(held.symbol)
        instrument = self.instruments[held.symbol]
        closing = opening = ZERO
        for order in self.archive.open_in(held.symbol):
            if order.reduce_only:
                closing += order.remaining
            elif order.side == held.side:
                opening += order.remaining
        live = self.archive.plans_in(held.symbol)
        spent = -(held.fees + (held.funding or ZERO) + held.realised)
        sign = 1 if held.qty > 0 else -1
        break_even = (held.cost + sign * spent) / (held.size * (1 - sign * instrument.taker_fee))
        return PositionReport(
            position=held,
            mark=mark,
            margin=held.margin,
            unrealised=held.unrealised(mark),
            maintenance_rate=tier_of(self.tiers[held.symbol], held.value(mark)).maintenance_rate,
            margin_ratio=account.margin_ratio(held),
            liquidation_price=account.liquidation_price(held),
            break_even=break_even,
            closing_qty=min(closing, held.size),
            opening_qty=opening,
            take_profit=next((p for p in live if p.acting and p.plan == "pos_profit"), None),
            stop_loss=next((p for p in live if p.acting and p.plan == "pos_loss"), None),
        )

    def summary(self) -> AccountSummary:
        """The account now."""
        account = self.account
        locked = account.locked(self.archive.open.values())
        return AccountSummary(
            cash=account.cash,
            equity=account.equity(),
            locked=locked,
            free=max(ZERO, account.free(locked)),
            unrealised=account.unrealised(),
            crossed_unrealised=account.unrealised("crossed"),
            isolated_unrealised=account.unrealised("isolated"),
            crossed_margin=account.margin("crossed"),
            isolated_margin=account.margin("isolated"),
            risk_rate=account.risk_rate(),
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    def _ticks(self, order: Order) -> int:
        assert order.price is not None
        return int(order.price / self.instruments[order.symbol].tick)

    def _lots(self, symbol: str, qty: Decimal) -> int:
        return int(qty / self.instruments[symbol].lot)

    def _refusal(self, order: Order) -> str:
        """Why an order ends before it takes anything, or ""."""
        if order.order_type == "market":
            return ""
        book = self.books[order.symbol]
        limit = self._ticks(order)
        if order.tif == "post_only":
            best = book.best(opposite(order.side))
            if best is not None and (best <= limit if order.side == "buy" else best >= limit):
                return "post_only_cancel"
        if order.tif == "fok":
            lots = self._lots(order.symbol, order.remaining)
            if not book.fillable(order.side, lots, limit, own=order.stp == "none"):
                return "fok_cancel"
        return ""

    def _take(self, order: Order, ts_ms: int) -> str:
        """Walk the book. Returns why the remainder ends, or "" when nothing but its kind decides."""
        book = self.books[order.symbol]
        limit = self._ticks(order) if order.order_type == "limit" else None
        left = self._lots(order.symbol, order.remaining)
        for offer in book.offers(order.side, limit):
            if left <= 0:
                break
            available = offer.lots
            if offer.order_id:
                own = book.resting(offer.order_id)
                if own is None:
                    continue
                if order.stp in ("cancel_maker", "cancel_both"):
                    self.cancel(self.archive.orders[offer.order_id], "stp_cancel", ts_ms)
                if order.stp in ("cancel_taker", "cancel_both"):
                    return "stp_cancel"
                if order.stp == "cancel_maker":
                    continue
                available = own.lots
            lots = min(available, left)
            left -= lots
            book.take(order.side, Match(offer.ticks, lots, offer.order_id))
            self._fill(order.order_id, offer.ticks, lots, ts_ms, maker=False)
            if offer.order_id:
                self._fill(offer.order_id, offer.ticks, lots, ts_ms, maker=True)
        return ""

    def _fill(self, order_id: str, ticks: int, lots: int, ts_ms: int, *, maker: bool) -> None:
        order = self.archive.orders[order_id]
        instrument = self.instruments[order.symbol]
        qty = lots * instrument.lot
        if order.reduce_only:
            qty = min(qty, self.closable(order.symbol, order.side))
        if not order.open or qty <= 0:
            return
        price = ticks * instrument.tick
        value = price * qty
        fee = ZERO - value * (instrument.maker_fee if maker else instrument.taker_fee)
        trade_id = self.next_id(ts_ms)
        realised, closed = self.account.fill(order.symbol, order.side, price, qty, fee, ts_ms, trade_id)
        if closed is not None:
            self._closed.append(closed)
            self.archive.closed_positions.append(closed)
        execution = Execution(
            trade_id=trade_id,
            order_id=order_id,
            client_oid=order.client_oid,
            symbol=order.symbol,
            side=order.side,
            order_type=order.order_type,
            price=price,
            qty=qty,
            fee=fee,
            realised=realised,
            maker=maker,
            ts_ms=ts_ms,
            trade_side=order.trade_side,
            entered_by=order.entered_by,
        )
        self.archive.executions.append(execution)
        filled = order.filled_qty + qty
        order = replace(
            order,
            filled_qty=filled,
            filled_value=order.filled_value + value,
            fee=order.fee + fee,
            realised=order.realised + realised,
            status="filled" if filled == order.qty else "partially_filled",
            updated_ms=ts_ms,
        )
        self.put(order, execution)
        self.events.append(Executed(execution, ts_ms))
        self.bill(order.symbol, realised, fee, order.trade_side.removesuffix("_single"), ts_ms)
        self._moved.add(order.symbol)
        held = self.account.positions.get(order.symbol)
        if held is not None and held.side == order.side and (order.stop_loss or order.take_profit):
            self._preset[order_id] = min(self._preset.get(order_id, ZERO) + qty, held.size)

    def _fit_reduce_only(self, symbol: str, ts_ms: int) -> None:
        """Cut or cancel resting reduce-only orders that are larger than the position has become."""
        for order in self.archive.open_in(symbol):
            if not order.reduce_only or order.order_id in self.waiting:
                continue
            closable = self.closable(symbol, order.side)
            if not closable:
                self.cancel(order, "reduce_only_cancel", ts_ms)
            elif closable < order.remaining:
                self.put(replace(order, qty=order.filled_qty + closable, updated_ms=ts_ms))
                self.books[symbol].resize(order.order_id, self._lots(symbol, closable))

    def _place_presets(self, order: Order, qty: Decimal, ts_ms: int) -> None:
        """Turn the presets of an order into plans for what it has just opened (protocol section 9)."""
        presets: tuple[tuple[PlanType, Decimal | None, bool], ...] = (
            ("loss_plan", order.stop_loss, order.side == "buy"),
            ("profit_plan", order.take_profit, order.side == "sell"),
        )
        for kind, trigger, below in presets:
            if trigger is not None:
                plan = PlanOrder(
                    order_id=self.next_id(ts_ms),
                    client_oid=self.next_id(ts_ms),
                    symbol=order.symbol,
                    plan=kind,
                    side=opposite(order.side),
                    trigger_price=trigger,
                    trigger_type="mark_price",
                    fires_below=below,
                    qty=qty,
                    execute_price=None,
                    reduce_only=True,
                    created_ms=ts_ms,
                    updated_ms=ts_ms,
                    acting=True,
                    preset_of=order.order_id,
                )
                self.put_plan(plan)
