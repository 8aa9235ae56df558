"""The venue: the protocol's requests checked and carried out on one account.

Requests are *checked* when they arrive (validation, margin, client id) and *act* when they reach the engine; between
the two a caller may let a latency pass. ``place``, ``cancel``, ``place_plan``, ``cancel_plan`` and ``close_position``
do both at once. Every call takes its time ``ts_ms`` (ms since the epoch, never decreasing) and adds to what
:meth:`Venue.drain` returns: for an execution OrderChanged, Executed, PositionChanged, AccountChanged, then plans.

The market of a step is given in this order: trades, book, mark. The same calls give the same ids and events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec.structs import replace

from tradebot.errors import DataError
from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching import checks, state
from tradebot.matching.account import Account, Position
from tradebot.matching.admission import Admission
from tradebot.matching.book import Book, Levels
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.margin import Tier, default_tiers, largest_value
from tradebot.matching.orders import (
    Execution,
    MarginMode,
    Order,
    OrderRefused,
    OrderRequest,
    PlanOrder,
    PlanRequest,
    PositionMode,
    TriggerType,
)
from tradebot.matching.reports import (
    AccountSummary,
    Bill,
    FundingSettled,
    PositionReport,
    VenueEvent,
)

HOUR_MS = 3_600_000


def next_funding_ms(hours: int, ts_ms: int) -> int:
    """First funding settlement after ``ts_ms``: whole multiples of ``hours`` since midnight UTC.

    >>> next_funding_ms(8, 28_799_999), next_funding_ms(8, 28_800_000)
    (28800000, 57600000)
    """
    interval = hours * HOUR_MS
    return (ts_ms // interval + 1) * interval


class Venue:
    """One account trading on the books of ``instruments`` with ``cash`` USDT.

    ``leverage`` and ``margin_mode`` are the initial settings of every symbol. ``open_cost_up_ratio`` and
    ``price_band`` are the contract fields openCostUpRatio and buy/sellLimitPriceRatio. ``memory`` bounds how many final
    orders, executions and bills are remembered. Only one-way mode trades: in hedge mode every order is refused.
    Liquidation is whole, through the book, without an insurance fund: a gap may cost more than the margin.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        cash: Decimal,
        *,
        leverage: int = 10,
        margin_mode: MarginMode = "isolated",
        tiers: Mapping[str, tuple[Tier, ...]] | None = None,
        open_cost_up_ratio: Decimal = Decimal("0.01"),
        price_band: Decimal = Decimal("0.05"),
        max_open_orders: int = 200,
        memory: int = 50_000,
    ) -> None:
        self.instruments = {i.symbol: i for i in instruments}
        self.tiers = {s: (tiers or {}).get(s) or default_tiers(i) for s, i in self.instruments.items()}
        self.position_mode: PositionMode = "one_way_mode"
        self.account = Account(
            self.instruments,
            self.tiers,
            cash,
            leverage=leverage,
            margin_mode=margin_mode,
            open_cost_up_ratio=open_cost_up_ratio,
        )
        self._engine = MatchingEngine(self.instruments, self.tiers, self.account, memory)
        self._archive = self._engine.archive
        self._admission = Admission(self._engine, price_band, max_open_orders)

    # --- the market -------------------------------------------------------------------------------------------------

    def trade(self, symbol: str, price_ticks: int, qty_lots: int, side: Side, ts_ms: int) -> None:
        """A public trade; ``side`` is the taker's. Fills resting orders it reaches, then fires ``fill_price`` plans."""
        engine = self._engine
        fills = engine.books[symbol].trade(price_ticks, qty_lots, side)
        if fills:
            engine.make(fills, ts_ms)
            engine.settle(ts_ms)
        engine.lasts[symbol] = price_ticks * self.instruments[symbol].tick
        self._trigger(symbol, "fill_price", ts_ms)

    def set_book(self, symbol: str, bids: Levels, asks: Levels, ts_ms: int) -> None:
        """A new snapshot of the market's visible levels. Raises DataError when it is crossed."""
        fills = self._engine.books[symbol].replace(bids, asks)
        if fills:
            self._engine.make(fills, ts_ms)
            self._engine.settle(ts_ms)

    def set_mark(self, symbol: str, mark: Decimal, ts_ms: int) -> None:
        """A new mark price: fires ``mark_price`` plans, then liquidates what is below its maintenance margin."""
        self.account.marks[symbol] = mark
        self._trigger(symbol, "mark_price", ts_ms)
        self._engine.liquidate(symbol, ts_ms)

    def settle_funding(self, symbol: str, rate: Decimal, ts_ms: int) -> None:
        """Settle funding at ``rate`` on the position of ``symbol``, if there is one."""
        if symbol not in self.account.positions:
            return
        amount = self.account.settle_funding(symbol, rate, ts_ms)
        bill = self._engine.bill(symbol, amount, ZERO, "contract_settle_fee", ts_ms)
        self._engine.events.append(FundingSettled(symbol, rate, amount, ts_ms, bill.bill_id))
        self._engine.settle(ts_ms)

    def set_instrument(self, instrument: Instrument) -> None:
        """Replace a contract's terms (status, limits, fees). A new tick or lot empties the book until the next one.

        Raises DataError when tick or lot changed under a position or an order.
        """
        symbol = instrument.symbol
        known = self.instruments[symbol]
        if (known.tick, known.lot) != (instrument.tick, instrument.lot):
            if symbol in self.account.positions or self._archive.open_in(symbol):
                raise DataError(f"tick or lot of {symbol} changed under a position or an order; close them first")
            self._engine.books[symbol] = Book()
        self.instruments[symbol] = instrument

    # --- orders -----------------------------------------------------------------------------------------------------

    def check(self, request: OrderRequest, ts_ms: int) -> Order:
        """Accept an order: it is live and its margin reserved, but not in the book before :meth:`act`.

        A reduce-only order is cut to the position, and older reduce-only orders that with it would exceed the position
        are canceled (section 8.1). Raises OrderRefused.
        """
        order = self._admission.order(request, self.position_mode, ts_ms)
        if order.reduce_only:
            self._evict(order, ts_ms)
        return self._accept(order, ts_ms)

    def act(self, order_id: str, ts_ms: int) -> Order:
        """Let an accepted order reach the book; returns its state afterwards. Does nothing when it has ended."""
        order = self._archive.orders[order_id]
        if order_id in self._engine.waiting and order.open:
            order = self._engine.enter(order, ts_ms)
            self._engine.settle(ts_ms)
        return self._archive.orders[order_id]

    def place(self, request: OrderRequest, ts_ms: int) -> Order:
        """:meth:`check` and :meth:`act` at once."""
        return self.act(self.check(request, ts_ms).order_id, ts_ms)

    def check_cancel(self, *, order_id: str = "", client_oid: str = "") -> Order:
        """The open order a cancel request means. Raises OrderRefused (40768 unknown, 22001 ended)."""
        order = self._archive.find_order(order_id, client_oid)
        if order is None:
            raise OrderRefused("40768", "Order does not exist")
        if not order.open:
            raise OrderRefused("22001", "No order to cancel")
        return order

    def act_cancel(self, order_id: str, ts_ms: int) -> Order:
        """Cancel an order unless it has ended: a fill may have won."""
        order = self._archive.orders[order_id]
        if order.open:
            self._engine.cancel(order, "normal_cancel", ts_ms)
            self._engine.settle(ts_ms)
        return self._archive.orders[order_id]

    def cancel(self, ts_ms: int, *, order_id: str = "", client_oid: str = "") -> Order:
        """:meth:`check_cancel` and :meth:`act_cancel` at once."""
        return self.act_cancel(self.check_cancel(order_id=order_id, client_oid=client_oid).order_id, ts_ms)

    def check_close(self, symbol: str, ts_ms: int, client_oid: str = "") -> Order:
        """Accept a flash close: a market reduce-only order for the whole position, dust included (section 8.11).

        Raises OrderRefused (22002 when flat). It reaches the book with :meth:`act`.
        """
        checks.check_status(self._admission.instrument(symbol), reduces=True)
        checks.check_client_oid(client_oid)
        self._archive.check_order_oid(client_oid)
        held = self.account.positions.get(symbol)
        if held is None:
            raise OrderRefused("22002", "No position to close")
        order = self._engine.market_close(held, client_oid, ts_ms, source="market")
        self._evict(order, ts_ms)
        return self._accept(order, ts_ms)

    def close_position(self, symbol: str, ts_ms: int, client_oid: str = "") -> Order:
        """:meth:`check_close` and :meth:`act` at once."""
        return self.act(self.check_close(symbol, ts_ms, client_oid).order_id, ts_ms)

    def force_close(self, symbol: str, ts_ms: int) -> None:
        """Close the position of ``symbol``, if there is one, by force as a liquidation does (``burst_*``, SYS)."""
        held = self.account.positions.get(symbol)
        if held is not None:
            self._engine.burst(held, ts_ms)

    # --- trigger orders ---------------------------------------------------------------------------------------------

    def check_plan(self, request: PlanRequest, ts_ms: int) -> PlanOrder:
        """Accept a trigger order; it can fire from :meth:`act_plan` on. Raises OrderRefused (section 9)."""
        plan = self._admission.plan(request, ts_ms)
        self._archive.put_plan(plan)
        return plan

    def act_plan(self, order_id: str, ts_ms: int) -> PlanOrder:
        """Make an accepted trigger order live; it fires at once when the market is already beyond its trigger."""
        plan = self._archive.plans[order_id]
        if plan.status == "live" and not plan.acting:
            flat = plan.protects and not self._engine.closable(plan.symbol, plan.side)
            plan = replace(plan, acting=True, status="cancelled" if flat else "live", updated_ms=ts_ms)
            self._engine.put_plan(plan)
            self._trigger(plan.symbol, plan.trigger_type, ts_ms)
        return self._archive.plans[order_id]

    def place_plan(self, request: PlanRequest, ts_ms: int) -> PlanOrder:
        """:meth:`check_plan` and :meth:`act_plan` at once."""
        return self.act_plan(self.check_plan(request, ts_ms).order_id, ts_ms)

    def check_cancel_plan(self, *, order_id: str = "", client_oid: str = "") -> PlanOrder:
        """The live trigger order a cancel request means. Raises OrderRefused 43025 when there is none."""
        plan = self._archive.find_plan(order_id, client_oid)
        if plan is None or plan.status != "live":
            raise OrderRefused("43025", "The plan order does not exist")
        return plan

    def act_cancel_plan(self, order_id: str, ts_ms: int) -> PlanOrder:
        """Cancel a trigger order unless it has fired or ended."""
        plan = self._archive.plans[order_id]
        if plan.status == "live":
            self._engine.put_plan(replace(plan, status="cancelled", updated_ms=ts_ms))
        return self._archive.plans[order_id]

    def cancel_plan(self, ts_ms: int, *, order_id: str = "", client_oid: str = "") -> PlanOrder:
        """:meth:`check_cancel_plan` and :meth:`act_cancel_plan` at once."""
        return self.act_cancel_plan(self.check_cancel_plan(order_id=order_id, client_oid=client_oid).order_id, ts_ms)

    # --- settings ---------------------------------------------------------------------------------------------------

    def set_leverage(self, symbol: str, leverage: int, ts_ms: int) -> None:
        """Leverage of a symbol (section 7.2). Raises OrderRefused 40797, 40814, 40730 or 40893."""
        instrument = self._admission.instrument(symbol)
        settings = self.account.settings[symbol]
        if not 1 <= leverage <= instrument.max_leverage:
            raise OrderRefused("40797", f"leverage must be from 1 to {instrument.max_leverage}")
        if leverage == settings.leverage:
            raise OrderRefused("40814", "No change in leverage")
        if self._archive.open_in(symbol):
            raise OrderRefused("40730", f"there are open orders of {symbol}, the leverage cannot be changed")
        held = self.account.positions.get(symbol)
        if held is not None:
            changed = replace(held, leverage=leverage, updated_ms=ts_ms)
            more = changed.margin - held.margin
            value = held.value(self.account.mark(symbol))
            if more > max(ZERO, self._admission.free()) or value > largest_value(self.tiers[symbol], leverage):
                raise OrderRefused("40893", "Not enough margin for this leverage")
            self.account.positions[symbol] = changed
            self._engine.touch()
        settings.leverage = leverage
        self._engine.settle(ts_ms)

    def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        """Margin mode of a symbol. Raises OrderRefused 45117 with a position or an order, as the exchange does."""
        self._admission.instrument(symbol)
        if symbol in self.account.positions or self._archive.open_in(symbol):
            raise OrderRefused("45117", "positions or orders exist, the margin mode cannot be adjusted")
        self.account.settings[symbol].margin_mode = mode

    def set_position_mode(self, mode: PositionMode) -> None:
        """Position mode of the account. Raises OrderRefused 40920 with any position or order."""
        if self.account.positions or self._archive.open:
            raise OrderRefused("40920", "position or order exists, the position mode cannot be switched")
        self.position_mode = mode

    def transfer(self, amount: Decimal, ts_ms: int) -> None:
        """Move cash in (positive) or out."""
        self.account.cash += amount
        business = "trans_from_exchange" if amount > 0 else "trans_to_exchange"
        self._engine.bill("", amount, ZERO, business, ts_ms)
        self._engine.settle(ts_ms)

    # --- queries ----------------------------------------------------------------------------------------------------

    def drain(self) -> list[VenueEvent]:
        """Events since the last call, in order."""
        events, self._engine.events = self._engine.events, []
        return events

    def depth(self, symbol: str) -> tuple[Levels, Levels]:
        """Bids and asks as a participant sees them: the market less what we took, plus our resting orders."""
        book = self._engine.books[symbol]
        return book.depth("buy"), book.depth("sell")

    def mark(self, symbol: str) -> Decimal | None:
        """Last mark price, None before the first."""
        return self.account.marks.get(symbol)

    def last(self, symbol: str) -> Decimal | None:
        """Price of the last public trade, None before the first."""
        return self._engine.lasts.get(symbol)

    def order(self, *, order_id: str = "", client_oid: str = "") -> Order:
        """An order by either id. Raises OrderRefused 40109 when unknown."""
        order = self._archive.find_order(order_id, client_oid)
        if order is None:
            raise OrderRefused("40109", "The data of the order cannot be found, please confirm the order number")
        return order

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Open orders, oldest first, accepted ones that have not acted yet included."""
        return [o for o in self._archive.open.values() if symbol in (None, o.symbol)]

    def past_orders(self, symbol: str | None = None) -> list[Order]:
        """Filled and canceled orders, oldest first."""
        return [o for o in self._archive.orders.values() if not o.open and symbol in (None, o.symbol)]

    def waiting(self) -> list[str]:
        """Ids of accepted orders that have not acted yet, oldest first."""
        return sorted(self._engine.waiting)

    def executions(self, symbol: str | None = None) -> list[Execution]:
        """Executions, oldest first."""
        return [e for e in self._archive.executions if symbol in (None, e.symbol)]

    def bills(self) -> list[Bill]:
        """Changes of cash, oldest first."""
        return list(self._archive.bills)

    def plan(self, *, order_id: str = "", client_oid: str = "") -> PlanOrder:
        """A trigger order by either id. Raises OrderRefused 43025 when unknown."""
        plan = self._archive.find_plan(order_id, client_oid)
        if plan is None:
            raise OrderRefused("43025", "The plan order does not exist")
        return plan

    def live_plans(self, symbol: str | None = None) -> list[PlanOrder]:
        """Trigger orders that may fire, oldest first."""
        return [p for p in self._archive.live_plans.values() if p.acting and symbol in (None, p.symbol)]

    def past_plans(self, symbol: str | None = None) -> list[PlanOrder]:
        """Trigger orders that fired or ended, oldest first."""
        return [p for p in self._archive.plans.values() if p.status != "live" and symbol in (None, p.symbol)]

    def plan_qty(self, plan: PlanOrder) -> Decimal:
        """Size of a trigger order; ``pos_*`` have that of the position."""
        return self._engine.plan_qty(plan)

    def closed_positions(self, symbol: str | None = None) -> list[Position]:
        """Last states of positions that reached zero, oldest first."""
        return [p for p in self._archive.closed_positions if symbol in (None, p.symbol)]

    def positions(self) -> tuple[PositionReport, ...]:
        """Open positions, oldest first."""
        return self._engine.positions()

    def position(self, symbol: str) -> PositionReport | None:
        """The position of a symbol, None when flat."""
        held = self.account.positions.get(symbol)
        return None if held is None else self._engine.report(held)

    def summary(self) -> AccountSummary:
        """The account now."""
        return self._engine.summary()

    def max_open(self, symbol: str, side: Side, price: Decimal | None = None) -> Decimal:
        """Base coin that could be opened at ``price`` (the market's when None) with what is free (section 7.7)."""
        instrument = self._admission.instrument(symbol)
        at = self._admission.margin_price(symbol, side, price)
        return instrument.qty_down(max(ZERO, self._admission.free()) / self.account.opening_cost(symbol, at))

    def dump(self, *, recent: int = 500) -> state.VenueState:
        """State to save: all that is open and the ``recent`` newest of what has ended. Books are not part of it."""
        return state.dump(self._engine, self.position_mode, recent)

    def load(self, saved: state.VenueState) -> None:
        """Continue from :meth:`dump` in a fresh venue. Raises DataError when it holds a symbol not traded here."""
        state.load(self._engine, saved)
        self.position_mode = saved.position_mode

    # --- inside -----------------------------------------------------------------------------------------------------

    def _evict(self, order: Order, ts_ms: int) -> None:
        """Cancel older reduce-only orders, oldest first, until they fit with ``order`` into the position."""
        older = [o for o in self._archive.open_in(order.symbol) if o.reduce_only and o.side == order.side]
        room = self._engine.closable(order.symbol, order.side) - order.qty
        total = sum((o.remaining for o in older), ZERO)
        for old in older:
            if total <= room:
                break
            total -= old.remaining
            self._engine.cancel(old, "reduce_only_cancel", ts_ms)

    def _accept(self, order: Order, ts_ms: int) -> Order:
        self._engine.waiting.add(order.order_id)
        self._engine.put(order)
        self._engine.settle(ts_ms)
        return order

    def _trigger(self, symbol: str, trigger_type: TriggerType, ts_ms: int) -> None:
        """Fire the plans that the current price has reached, oldest first."""
        for due in self._engine.due(symbol, trigger_type):
            plan = self._archive.plans[due.order_id]
            if plan.status != "live":
                continue
            plan = replace(plan, status="executing", updated_ms=ts_ms)
            self._engine.put_plan(plan)
            self._engine.execute_plan(plan, self._plan_order(plan, ts_ms), ts_ms)

    def _plan_order(self, plan: PlanOrder, ts_ms: int) -> Order | None:
        """The order that a fired plan sends, or None when the venue would refuse it."""
        request = OrderRequest(
            symbol=plan.symbol,
            side=plan.side,
            order_type="market" if plan.execute_price is None else "limit",
            qty=self._engine.plan_qty(plan),
            price=plan.execute_price,
            reduce_only=plan.reduce_only,
            margin_mode=plan.margin_mode,
            stop_loss=plan.stop_loss,
            take_profit=plan.take_profit,
        )
        if plan.protects:
            closable = self._engine.closable(plan.symbol, plan.side)
            request = replace(request, qty=min(request.qty, closable))
            order = self._engine.new_order(request, self.account.mark(plan.symbol), ts_ms) if closable else None
        else:
            try:
                order = self._admission.order(request, self.position_mode, ts_ms)
            except OrderRefused:
                order = None
        return None if order is None else replace(order, source=plan.source)
