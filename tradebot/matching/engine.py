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
from tradebot.matching.making import Maker, business
from tradebot.matching.margin import Tier
from tradebot.matching.orders import Execution, Order, opposite
from tradebot.matching.plans import PlanOrder
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
        self.maker = Maker(account)
        self.books = {s: Book() for s in instruments}
        self.lasts: dict[str, Decimal] = {}
        self.waiting: set[str] = set()
        self.events: list[VenueEvent] = []
        self._moved: dict[Slot, None] = {}  # positions that changed in this call
        self._closed: list[Position] = []
        self._preset: dict[str, Decimal] = {}  # order id -> base coin it opened in this call
        self._dirty = False
        self._reports: dict[Slot, tuple[Position, Decimal | None, Instrument, int | None, PositionReport]] = {}
        """The last report of each isolated position, with all that it depends on."""

    # --- orders -----------------------------------------------------------------------------------------------------

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
            bill_id=self.maker.next_id(ts_ms),
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
            order = self.archive.orders[order_id]
            held = self.account.held(order.symbol, order.pos_side)
            if held is None or held.side != order.side:
                continue  # what it opened was closed again in the same call
            for plan in self.maker.preset_plans(order, min(qty, held.size), ts_ms):
                self.put_plan(plan)
        self._preset.clear()

    def positions(self) -> tuple[PositionReport, ...]:
        """Open positions, oldest first."""
        return tuple(self.report(p) for p in self.account.positions.values())

    def report(self, held: Position) -> PositionReport:
        """A position with what depends on the mark and on open orders."""
        instrument = self.instruments[held.symbol]
        if held.margin_mode == "crossed":  # that depends on the whole account
            return position_report(self.account, self.archive, held, instrument.taker_fee)
        mark, revision = self.account.marks.get(held.symbol), self.archive.revisions.get(held.symbol)
        known = self._reports.get(held.slot)
        if known is not None:
            of, at, terms, seen, report = known
            if of is held and at is mark and terms is instrument and seen == revision:
                return report
        report = position_report(self.account, self.archive, held, instrument.taker_fee)
        self._reports[held.slot] = (held, mark, instrument, revision, report)
        return report

    def summary(self) -> AccountSummary:
        """The account now."""
        return account_summary(self.account, self.archive, self.positions())

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
        if order.reduce_only and order.remaining % self.instruments[order.symbol].lot:
            left += 1  # a whole position may hold a part of a lot, since the contract changed: it takes a whole one
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
        trade_id = self.maker.next_id(ts_ms)
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
