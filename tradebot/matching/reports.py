"""What the venue tells: answers to queries and the events that private channels are made of."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradebot.matching.orders import Execution, Order
from tradebot.matching.plans import PlanOrder
from tradebot.matching.position import Position


class PositionReport(msgspec.Struct, frozen=True, kw_only=True):
    """A position with what depends on the mark (protocol section 7.9).

    ``closing_qty`` is locked by open reduce-only orders, ``opening_qty`` what open orders would add. ``break_even`` is
    the price at which closing everything now would leave nothing lost or won, fees and funding included.
    """

    position: Position
    mark: Decimal
    margin: Decimal
    unrealised: Decimal
    maintenance_rate: Decimal
    margin_ratio: Decimal
    liquidation_price: Decimal | None
    break_even: Decimal
    closing_qty: Decimal
    opening_qty: Decimal
    take_profit: PlanOrder | None = None
    stop_loss: PlanOrder | None = None


class AccountSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The account in USDT (protocol section 7.1). ``free`` is what may be used to open (…MaxAvailable), never < 0.

    ``flat``: no position is open.
    """

    cash: Decimal
    equity: Decimal
    locked: Decimal
    free: Decimal
    unrealised: Decimal
    crossed_unrealised: Decimal
    isolated_unrealised: Decimal
    crossed_margin: Decimal
    isolated_margin: Decimal
    risk_rate: Decimal
    flat: bool


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """One change of cash: ``amount`` without fee, ``fee`` negative when paid, ``balance`` after both."""

    bill_id: str
    symbol: str
    amount: Decimal
    fee: Decimal
    business: str
    balance: Decimal
    ts_ms: int


class OrderChanged(msgspec.Struct, frozen=True):
    """An order was accepted, filled in part or whole, cut or canceled. ``execution`` is the fill that caused it."""

    order: Order
    ts_ms: int
    execution: Execution | None = None


class Executed(msgspec.Struct, frozen=True):
    """An execution; its OrderChanged comes just before."""

    execution: Execution
    ts_ms: int


class PositionChanged(msgspec.Struct, frozen=True):
    """The complete set of open positions after an order or position changed; a symbol not listed is flat."""

    positions: tuple[PositionReport, ...]
    ts_ms: int


class PositionClosed(msgspec.Struct, frozen=True):
    """A position reached zero; ``position`` is its last state."""

    position: Position
    ts_ms: int


class AccountChanged(msgspec.Struct, frozen=True):
    """The account after a fill, an order change or a settlement. Not sent for moves of the mark."""

    summary: AccountSummary
    ts_ms: int


class PlanChanged(msgspec.Struct, frozen=True):
    """A trigger order went live, fired or ended. ``qty`` is its size now (that of the position for ``pos_*``)."""

    plan: PlanOrder
    qty: Decimal
    ts_ms: int


class Liquidated(msgspec.Struct, frozen=True):
    """The venue closes ``qty`` (signed) of a position by force; the forced order's events follow."""

    symbol: str
    order_id: str
    qty: Decimal
    mark: Decimal
    ts_ms: int


class FundingSettled(msgspec.Struct, frozen=True):
    """Funding was paid (amount < 0) or received for a position."""

    symbol: str
    rate: Decimal
    amount: Decimal
    ts_ms: int
    bill_id: str


VenueEvent = (
    OrderChanged
    | Executed
    | PositionChanged
    | PositionClosed
    | AccountChanged
    | PlanChanged
    | Liquidated
    | FundingSettled
)
