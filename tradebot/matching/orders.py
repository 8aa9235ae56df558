"""What a client asks of the venue and what becomes of it.

An order is *live* from the moment its request was accepted (the margin is reserved), acts some milliseconds later, and
ends *filled* or *canceled*::

    check -> live -> partially_filled -> filled
               |            '----------> canceled   (something may have filled)
               '-----------------------> canceled   (cancel, IOC/FOK remainder, crossing post-only, reduce-only)

Protocol sections 8.1, 8.2 and 8.9. Quantities are base coin, prices and money USDT, times ms since the epoch.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

from tradebot.errors import Rejected
from tradebot.market.instrument import ZERO, Side
from tradebot.matching.arithmetic import quotient

OrderType = Literal["market", "limit"]
TimeInForce = Literal["gtc", "ioc", "fok", "post_only"]
SelfTrade = Literal["none", "cancel_taker", "cancel_maker", "cancel_both"]
MarginMode = Literal["isolated", "crossed"]
PositionMode = Literal["one_way_mode", "hedge_mode"]
Status = Literal["live", "partially_filled", "filled", "canceled"]
TriggerType = Literal["mark_price", "fill_price"]

PosSide = Literal["net", "long", "short"]
"""The position an order acts on: the only one of its symbol (one-way), or one of two (hedge)."""

TradeSide = Literal["", "open", "close"]
"""What a hedge-shaped request does to the position that its ``side`` names; "" in a one-way request."""


class OrderRefused(Rejected):
    """The venue refuses a request; nothing happened. ``code`` is the protocol's error code (section 5.1)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code)


class Presets(msgspec.Struct, frozen=True, kw_only=True):
    """Stop-loss and take-profit that come to life with a fill: trigger prices, and limits (None: market order)."""

    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss_limit: Decimal | None = None
    take_profit_limit: Decimal | None = None
    stop_loss_type: TriggerType = "mark_price"
    take_profit_type: TriggerType = "mark_price"

    def __bool__(self) -> bool:
        return self.stop_loss is not None or self.take_profit is not None


NO_PRESETS = Presets()


class Intent(NamedTuple):
    """What a request comes to: the position, the direction that is executed, and whether it may only close."""

    pos_side: PosSide
    side: Side
    closes: bool


def opposite(side: Side) -> Side:
    """The other side."""
    return "sell" if side == "buy" else "buy"


def intent_of(side: Side, trade_side: TradeSide, reduce_only: bool, mode: PositionMode) -> Intent:
    """Meaning of a request in a position mode (section 8.2): in hedge mode ``side`` names the position.

    Raises OrderRefused 40774 when the request has the other mode's shape.

    >>> intent_of("buy", "close", False, "hedge_mode")
    Intent(pos_side='long', side='sell', closes=True)
    """
    if mode == "one_way_mode":
        if trade_side:
            raise OrderRefused(
                "40774", "The order type for unilateral position must also be the unilateral position type"
            )
        return Intent("net", side, reduce_only)
    if not trade_side:
        raise OrderRefused("40774", "The order type for hedge mode must also be the hedge position type")
    closes = trade_side == "close"
    return Intent("long" if side == "buy" else "short", opposite(side) if closes else side, closes)


def named_side(side: Side, pos_side: PosSide) -> Side:
    """A side as order entry spells it: that of the position in hedge mode, else the one that is executed."""
    return side if pos_side == "net" else "buy" if pos_side == "long" else "sell"


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A new order (protocol section 8.1). ``trade_side`` is given by hedge-shaped requests only.

    ``margin_mode`` takes effect when the symbol has neither position nor order, else the mode in force stays.
    """

    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    price: Decimal | None = None
    tif: TimeInForce = "gtc"
    client_oid: str = ""
    reduce_only: bool = False
    margin_mode: MarginMode | None = None
    presets: Presets = NO_PRESETS
    stp: SelfTrade = "none"
    trade_side: TradeSide = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """State of an order. ``fee`` is negative when paid; ``realised`` is profit before fees.

    ``side`` is the direction it trades in; ``reduce_only`` holds for hedge closes as well. ``source`` is the protocol's
    orderSource, ``entered_by`` its enterPointSource, ``trade_side`` its tradeSide; ``margin_price`` is the price the
    margin of the open part is reserved at.
    """

    order_id: str
    client_oid: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    price: Decimal | None
    tif: TimeInForce
    reduce_only: bool
    margin_mode: MarginMode
    leverage: int
    margin_price: Decimal
    created_ms: int
    updated_ms: int
    trade_side: str
    pos_side: PosSide = "net"
    status: Status = "live"
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    fee: Decimal = ZERO
    realised: Decimal = ZERO
    presets: Presets = NO_PRESETS
    stp: SelfTrade = "none"
    source: str = "normal"
    entered_by: str = "API"
    cancel_reason: str = ""

    @property
    def remaining(self) -> Decimal:
        """Base coin not filled yet."""
        return self.qty - self.filled_qty

    @property
    def average_price(self) -> Decimal | None:
        """Average fill price, or None before the first fill."""
        return quotient(self.filled_value, self.filled_qty) if self.filled_qty else None

    @property
    def open(self) -> bool:
        """Whether it may still fill."""
        return self.status in ("live", "partially_filled")


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One fill. ``fee`` is negative when paid; ``realised`` is profit of the closed part before fees."""

    trade_id: str
    order_id: str
    client_oid: str
    symbol: str
    side: Side
    order_type: OrderType
    price: Decimal
    qty: Decimal
    fee: Decimal
    realised: Decimal
    maker: bool
    ts_ms: int
    trade_side: str
    pos_side: PosSide = "net"
    entered_by: str = "API"
