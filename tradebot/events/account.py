"""Events about our account: what the exchange says, and what it answered."""

from __future__ import annotations

from decimal import Decimal

from tradebot.events.base import OrderStatus, OutcomeKind, Record
from tradebot.events.state import PositionState
from tradebot.market.instrument import Side


class AccountVerified(Record, frozen=True, kw_only=True, tag="account_verified"):
    """Settings of the account for one symbol as the exchange reports them."""

    symbol: str
    position_mode: str
    margin_mode: str
    leverage: int


class AccountUpdated(Record, frozen=True, kw_only=True, tag="account"):
    """Equity includes unrealised profit; ``available`` is what may be used to open. USDT."""

    equity: Decimal
    available: Decimal
    balance: Decimal


class PositionsReported(Record, frozen=True, kw_only=True, tag="positions"):
    """The complete set of open positions as the exchange sees it; a symbol not listed is flat."""

    positions: tuple[PositionState, ...]


class OrderUpdated(Record, frozen=True, kw_only=True, tag="order"):
    """A state of one of our orders as pushed or queried. Cumulative; may repeat and arrive out of order.

    ``forced``: the exchange made it (liquidation, deleveraging, delivery), not we. ``queried``: an answer to a
    question, not a push.
    """

    client_oid: str
    order_id: str
    symbol: str
    side: Side
    status: OrderStatus
    qty: Decimal
    filled_qty: Decimal
    avg_price: Decimal | None = None
    reduce_only: bool = False
    reason: str = ""
    forced: bool = False
    ts_exchange_ms: int = 0
    queried: bool = False


class Filled(Record, frozen=True, kw_only=True, tag="fill"):
    """One execution. ``fee`` is negative when paid (USDT); ``realised`` is the exchange's profit before fees.

    ``queried``: an answer to a question, not a push.
    """

    trade_id: str
    order_id: str
    client_oid: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    fee: Decimal
    realised: Decimal
    maker: bool
    ts_exchange_ms: int
    queried: bool = False


class FundingPaid(Record, frozen=True, kw_only=True, tag="funding"):
    """A funding settlement of one position; ``amount`` (USDT) is negative when we paid."""

    bill_id: str
    symbol: str
    amount: Decimal
    ts_exchange_ms: int


class Transferred(Record, frozen=True, kw_only=True, tag="transfer"):
    """Money moved into (positive) or out of the account, USDT. It is neither profit nor loss."""

    bill_id: str
    amount: Decimal
    ts_exchange_ms: int


class StopUpdated(Record, frozen=True, kw_only=True, tag="stop"):
    """State of an exchange-side trigger order (``orders-algo``). ``plan`` is the protocol's planType."""

    order_id: str
    client_oid: str
    symbol: str
    plan: str
    trigger_price: Decimal
    status: str


class CommandOutcome(Record, frozen=True, kw_only=True, tag="outcome"):
    """What became of a command: accepted says nothing about fills; unknown is being resolved by query.

    ``asked_as``: the outcome is the answer to a question about an order, which had this status when it was asked.
    """

    client_oid: str
    symbol: str
    command: str
    outcome: OutcomeKind
    order_id: str = ""
    code: str = ""
    message: str = ""
    asked_as: str = ""


class QuestionRefused(Record, frozen=True, kw_only=True, tag="question_refused"):
    """The exchange refused to answer a question about one symbol or order: what was known of it stands.

    ``about``: what was asked, in words.
    """

    symbol: str
    about: str
    code: str
    message: str


class AccountHeard(Record, frozen=True, kw_only=True, tag="account_heard"):
    """Whether the private stream tells us what happens to the account. ``refused``: what the exchange will not tell."""

    up: bool
    refused: str = ""


class Reconciled(Record, frozen=True, kw_only=True, tag="reconciled"):
    """The exchange's whole view after a start, a reconnect or a periodic check.

    ``asked_ms`` is when we began to ask (bot's clock): what we heard since then may be newer than the answers.
    """

    positions: tuple[PositionState, ...]
    open_orders: tuple[OrderUpdated, ...]
    stops: tuple[StopUpdated, ...]
    asked_ms: int = 0
