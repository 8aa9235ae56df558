"""What the venue can be asked: orders, executions, bills, plans, positions, account, depth."""

from __future__ import annotations

from decimal import Decimal

from tradebot.market.instrument import ZERO, Side
from tradebot.matching.arithmetic import exactly
from tradebot.matching.book import Levels
from tradebot.matching.desk import Desk
from tradebot.matching.margin import largest_value
from tradebot.matching.orders import Execution, Order, OrderRefused, PosSide
from tradebot.matching.plans import PlanOrder
from tradebot.matching.position import Position
from tradebot.matching.reports import AccountSummary, Bill, PositionReport, VenueEvent


class Records(Desk):
    """Queries; none of them changes anything but :meth:`drain`."""

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

    # --- orders -----------------------------------------------------------------------------------------------------

    def order(self, *, order_id: str = "", client_oid: str = "") -> Order:
        """An order by either id. Raises OrderRefused 40109 when unknown."""
        order = self._archive.find_order(order_id, client_oid)
        if order is None:
            raise OrderRefused("40109", "The data of the order cannot be found, please confirm the order number")
        return order

    def known_order(self, order_id: str) -> Order | None:
        """An order by its id, None when it is not (or no longer) remembered."""
        return self._archive.orders.get(order_id)

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Open orders, oldest first, accepted ones that have not acted yet included."""
        return list(self._archive.open.values()) if symbol is None else self._archive.open_in(symbol)

    def past_orders(self, symbol: str | None = None) -> list[Order]:
        """Filled and canceled orders, oldest first."""
        return [o for o in self._archive.orders.values() if not o.open and symbol in (None, o.symbol)]

    def waiting(self) -> list[str]:
        """Ids of accepted orders that have not acted yet, oldest first."""
        return sorted(self._engine.waiting)

    def executions(self, symbol: str | None = None) -> list[Execution]:
        """Executions, oldest first."""
        return [e for e in self._archive.executions if symbol in (None, e.symbol)]

    # --- trigger orders ---------------------------------------------------------------------------------------------

    def plan(self, *, order_id: str = "", client_oid: str = "") -> PlanOrder:
        """A trigger order by either id. Raises OrderRefused 43025 when unknown."""
        plan = self._archive.find_plan(order_id, client_oid)
        if plan is None:
            raise OrderRefused("43025", "The plan order does not exist")
        return plan

    def live_plans(self, symbol: str | None = None) -> list[PlanOrder]:
        """Trigger orders that may fire, oldest first."""
        live = self._archive.live_plans.values() if symbol is None else self._archive.plans_in(symbol)
        return [p for p in live if p.acting]

    def past_plans(self, symbol: str | None = None) -> list[PlanOrder]:
        """Trigger orders that fired or ended, oldest first."""
        return [p for p in self._archive.plans.values() if p.status != "live" and symbol in (None, p.symbol)]

    def plan_qty(self, plan: PlanOrder) -> Decimal:
        """Size of a trigger order; ``pos_*`` have that of the position."""
        return self._engine.plan_qty(plan)

    def took(self, symbol: str) -> bool:
        """Whether the book still lacks liquidity that our orders took."""
        return self._engine.books[symbol].taken

    # --- positions and money ----------------------------------------------------------------------------------------

    def holds(self, symbol: str) -> bool:
        """Whether a position of the symbol is open."""
        return bool(self.account.of(symbol))

    def consumed(self, symbol: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Prices (ticks) of bids and of asks at which liquidity that our orders took is still missing."""
        book = self._engine.books[symbol]
        return book.consumed("buy"), book.consumed("sell")

    def held_symbols(self) -> list[str]:
        """Symbols with an open position, each once, oldest position first."""
        return list(dict.fromkeys(symbol for symbol, _ in self.account.positions))

    @exactly
    def positions(self) -> tuple[PositionReport, ...]:
        """Open positions, oldest first."""
        return self._engine.positions()

    @exactly
    def position(self, symbol: str, pos_side: PosSide = "net") -> PositionReport | None:
        """A position, None when flat."""
        held = self.account.held(symbol, pos_side)
        return None if held is None else self._engine.report(held)

    def closed_positions(self, symbol: str | None = None) -> list[Position]:
        """Last states of positions that reached zero, oldest first."""
        return [p for p in self._archive.closed_positions if symbol in (None, p.symbol)]

    @exactly
    def summary(self) -> AccountSummary:
        """The account now."""
        return self._engine.summary()

    def bills(self) -> list[Bill]:
        """Changes of cash, oldest first."""
        return list(self._archive.bills)

    @exactly
    def max_open(self, symbol: str, side: Side, price: Decimal | None = None) -> Decimal:
        """Base coin that could be opened at ``price`` (the market's when None) with what is free (section 7.7)."""
        instrument = self._admission.instrument(symbol)
        at = self._admission.margin_price(symbol, side, price)
        leverage = self.account.settings[symbol].leverage(side)
        affordable = max(ZERO, self._admission.free()) / self.account.opening_cost(symbol, leverage, at)
        pos_side: PosSide = "net"
        if self.account.position_mode == "hedge_mode":
            pos_side = "long" if side == "buy" else "short"
        open_qty = self._admission.exposure(symbol, pos_side, side, self._archive.open_in(symbol))
        allowed = largest_value(self.tiers[symbol], leverage) / at - open_qty
        return instrument.qty_down(max(ZERO, min(affordable, allowed)))
