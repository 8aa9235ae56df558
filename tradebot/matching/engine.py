"""What happens inside the venue: orders meet books, fills change the account, what changed is published.

The engine checks nothing; the venue's desks do that before they call. Each of their calls ends with
:meth:`MatchingEngine.settle`, which publishes what changed, once: positions and account after all executions of the
call, then stops whose position is gone and presets that became stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec.structs import replace

from tradebot.market.instrument import ZERO, Instrument
from tradebot.matching.account import Account
from tradebot.matching.archive import Archive
from tradebot.matching.book import Book, Match
from tradebot.matching.margin import Tier
from tradebot.matching.orders import Execution, Intent, MarginMode, Order, OrderRequest, opposite
from tradebot.matching.plans import PlanOrder, PlanType
from tradebot.matching.position import Position, Slot
from tradebot.matching.reporting import account_summary, position_report
from tradebot.matching.reports import (
    AccountChanged,
    AccountSummary,
    Bill,
    Executed,
    OrderChanged,
    PlanChanged,
    PositionChanged,
    PositionClosed,
    PositionReport,
    VenueEvent,
)

FORCED_BILLS = {"reduce_": "force_", "burst_": "burst_"}


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
        self._moved: dict[Slot, None] = {}  # positions that changed in this call
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
        intent: Intent,
        margin: tuple[MarginMode, int, Decimal],
        ts_ms: int,
        *,
        source: str = "",
        trade_side: str = "",
    ) -> Order:
        """An order of ``request``, not yet known to anyone. ``margin`` is mode, leverage and the price reserved at.

        A given ``trade_side`` is that of an order of the venue itself.
        """
        mode, leverage, margin_price = margin
        order_id = self.next_id(ts_ms)
        shape = f"{intent.side}_single" if intent.pos_side == "net" else "close" if intent.closes else "open"
        return Order(
            order_id=order_id,
            client_oid=request.client_oid or self.next_id(ts_ms),
            symbol=request.symbol,
            side=intent.side,
            order_type=request.order_type,
            qty=request.qty,
            price=request.price if request.order_type == "limit" else None,
            tif=request.tif,
            reduce_only=intent.closes,
            margin_mode=mode,
            leverage=leverage,
            margin_price=margin_price,
            created_ms=ts_ms,
            updated_ms=ts_ms,
            trade_side=trade_side or shape,
            pos_side=intent.pos_side,
            presets=request.presets,
            stp=request.stp,
            source=source or ("market" if request.order_type == "market" else "normal"),
            entered_by="SYS" if trade_side else "API",
        )

    def market_close(
        self, held: Position, ts_ms: int, *, client_oid: str = "", qty: Decimal | None = None, forced: str = ""
    ) -> Order:
        """A market order that closes a position, whole unless told, not yet known to anyone.

        ``forced`` is ``burst`` or ``reduce`` for an order of the venue itself.
        """
        intent = Intent(held.pos_side, opposite(held.side), True)
        request = OrderRequest(
            symbol=held.symbol,
            side=intent.side,
            order_type="market",
            qty=held.size if qty is None else qty,
            tif="ioc",
            client_oid=client_oid,
        )
        shape = f"{intent.side}_single" if held.pos_side == "net" else f"close_{held.pos_side}"
        return self.new_order(
            request,
            intent,
            (held.margin_mode, held.leverage, self.account.mark(held.symbol)),
            ts_ms,
            source="liquidation" if forced else "market",
            trade_side=f"{forced}_{shape}" if forced else "",
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

    def closable(self, order: Order) -> Decimal:
        """Base coin that an order could close."""
        return self.account.closable(order.symbol, order.pos_side, order.side)

    def enter(self, order: Order, ts_ms: int) -> Order:
        """An order reaches its book: takes what it crosses, then rests or ends. Returns its state afterwards."""
        self.waiting.discard(order.order_id)
        if order.reduce_only:
            closable = self.closable(order)
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

    def requote(self, symbol: str, ts_ms: int) -> None:
        """Start an empty book in the contract's present terms; orders that no longer fit them are canceled."""
        self.books[symbol] = Book()
        instrument = self.instruments[symbol]
        for order in self.archive.open_in(symbol):
            off_grid = order.remaining % instrument.lot or (order.price is not None and order.price % instrument.tick)
            if off_grid:
                self.cancel(order, "contract_change_cancel", ts_ms)
            elif order.order_id not in self.waiting:
                self.rest(order)

    # --- plans and money --------------------------------------------------------------------------------------------

    def put_plan(self, plan: PlanOrder) -> None:
        """Store and publish a state of a trigger order."""
        self.archive.put_plan(plan)
        self.events.append(PlanChanged(plan, self.plan_qty(plan), plan.updated_ms))

    def plan_qty(self, plan: PlanOrder) -> Decimal:
        """Size of a trigger order; ``pos_*`` have that of the position."""
        return plan.qty if plan.qty is not None else abs(self.account.signed_qty(plan.symbol, plan.pos_side))

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

    # --- what is published ------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Have the next :meth:`settle` publish positions and account."""
        self._dirty = True

    def settle(self, ts_ms: int) -> None:
        """Publish positions and account if anything changed, then bring trigger orders in line with positions."""
        moved = sorted(self._moved)
        for slot in moved:
            self._fit_reduce_only(slot, ts_ms)
        if self._dirty:
            self.events.append(PositionChanged(self.positions(), ts_ms))
            self.events += [PositionClosed(p, ts_ms) for p in self._closed]
            self.events.append(AccountChanged(self.summary(), ts_ms))
            self._closed.clear()
            self._dirty = False
        for symbol, pos_side in moved:
            for plan in self.archive.plans_in(symbol):
                ours = plan.protects and plan.acting and plan.pos_side == pos_side
                if ours and not self.account.closable(symbol, pos_side, plan.side):
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
        return position_report(self.account, self.archive, held, self.instruments[held.symbol].taker_fee)

    def summary(self) -> AccountSummary:
        """The account now."""
        return account_summary(self.account, self.archive)

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
            qty = min(qty, self.closable(order))
        if not order.open or qty <= 0:
            return
        price = ticks * instrument.tick
        value = price * qty
        fee = ZERO - value * (instrument.maker_fee if maker else instrument.taker_fee)
        trade_id = self.next_id(ts_ms)
        realised, closed = self.account.fill(order, price, qty, fee, ts_ms, trade_id)
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
            pos_side=order.pos_side,
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
        self.bill(order.symbol, realised, fee, business(order), ts_ms)
        self._moved[(order.symbol, order.pos_side)] = None
        held = self.account.held(order.symbol, order.pos_side)
        if held is not None and held.side == order.side and order.presets:
            self._preset[order_id] = min(self._preset.get(order_id, ZERO) + qty, held.size)

    def _fit_reduce_only(self, slot: Slot, ts_ms: int) -> None:
        """Cut or cancel resting reduce-only orders that are larger than the position has become."""
        symbol, pos_side = slot
        for order in self.archive.closing(symbol, pos_side):
            if order.order_id in self.waiting:
                continue
            closable = self.closable(order)
            if not closable:
                self.cancel(order, "reduce_only_cancel", ts_ms)
            elif closable < order.remaining:
                self.put(replace(order, qty=order.filled_qty + closable, updated_ms=ts_ms))
                self.books[symbol].resize(order.order_id, self._lots(symbol, closable))

    def _place_presets(self, order: Order, qty: Decimal, ts_ms: int) -> None:
        """Turn the presets of an order into plans for what it has just opened (protocol section 9)."""
        presets = order.presets
        kinds: tuple[tuple[PlanType, Decimal | None, Decimal | None, bool], ...] = (
            ("loss_plan", presets.stop_loss, presets.stop_loss_limit, order.side == "buy"),
            ("profit_plan", presets.take_profit, presets.take_profit_limit, order.side == "sell"),
        )
        for kind, trigger, limit, below in kinds:
            if trigger is not None:
                plan = PlanOrder(
                    order_id=self.next_id(ts_ms),
                    client_oid=self.next_id(ts_ms),
                    symbol=order.symbol,
                    plan=kind,
                    side=opposite(order.side),
                    pos_side=order.pos_side,
                    trigger_price=trigger,
                    trigger_type=presets.stop_loss_type if kind == "loss_plan" else presets.take_profit_type,
                    fires_below=below,
                    qty=qty,
                    execute_price=limit,
                    reduce_only=True,
                    created_ms=ts_ms,
                    updated_ms=ts_ms,
                    acting=True,
                    preset_of=order.order_id,
                    margin_mode=order.margin_mode,
                )
                self.put_plan(plan)


def business(order: Order) -> str:
    """The businessType of a bill for an execution (protocol section 7.8)."""
    name = order.trade_side
    if order.entered_by == "SYS":
        for said, billed in FORCED_BILLS.items():
            name = name.replace(said, billed)
    elif order.pos_side != "net":
        name = f"{name}_{order.pos_side}"
    return name.removesuffix("_single")
