"""What a client asks of the venue and what becomes of it.

An order is *live* from the moment its request was accepted (the margin is reserved), acts some milliseconds later, and
ends *filled* or *canceled*::

    check -> live -> partially_filled -> filled
               |            '----------> canceled   (something may have filled)
               '-----------------------> canceled   (cancel, IOC/FOK remainder, crossing post-only, reduce-only)

A plan order (trigger) is *live* once it acts, then *executing* and *executed* or *fail_execute*, or *cancelled*.
Protocol sections 8.1, 8.9 and 9. Quantities are base coin, prices and money USDT, times ms since the epoch.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tradebot.errors import Rejected
from tradebot.market.instrument import ZERO, Side

OrderType = Literal["market", "limit"]
TimeInForce = Literal["gtc", "ioc", "fok", "post_only"]
SelfTrade = Literal["none", "cancel_taker", "cancel_maker", "cancel_both"]
MarginMode = Literal["isolated", "crossed"]
PositionMode = Literal["one_way_mode", "hedge_mode"]
Status = Literal["live", "partially_filled", "filled", "canceled"]
PlanType = Literal["pos_loss", "pos_profit", "loss_plan", "profit_plan", "normal_plan"]
PlanStatus = Literal["live", "executing", "executed", "fail_execute", "cancelled"]
TriggerType = Literal["mark_price", "fill_price"]


class OrderRefused(Rejected):
    """The venue refuses a request; nothing happened. ``code`` is the protocol's error code (section 5.1)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code)


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
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    stp: SelfTrade = "none"
    trade_side: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """State of an order. ``fee`` is negative when paid; ``realised`` is profit before fees.

    ``source`` is the protocol's orderSource, ``entered_by`` its enterPointSource; ``margin_price`` is the price the
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
    status: Status = "live"
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    fee: Decimal = ZERO
    realised: Decimal = ZERO
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    stp: SelfTrade = "none"
    source: str = "normal"
    entered_by: str = "API"
    trade_side: str = ""
    cancel_reason: str = ""

    @property
    def remaining(self) -> Decimal:
        """Base coin not filled yet."""
        return self.qty - self.filled_qty

    @property
    def average_price(self) -> Decimal | None:
        """Average fill price, or None before the first fill."""
        return self.filled_value / self.filled_qty if self.filled_qty else None

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
    trade_side: str = ""
    entered_by: str = "API"


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A new trigger order (protocol section 9).

    TP/SL kinds protect a position: ``hold_side`` is ``buy`` for a long and ``sell`` for a short; ``qty`` only for
    ``loss_plan`` and ``profit_plan``. ``normal_plan`` sends an order of ``side`` for ``qty``. ``execute_price`` None is
    a market order. ``stop_loss``/``take_profit`` are presets of a ``normal_plan``.
    """

    symbol: str
    plan: PlanType
    trigger_price: Decimal
    trigger_type: TriggerType = "mark_price"
    hold_side: Side | None = None
    side: Side | None = None
    qty: Decimal | None = None
    execute_price: Decimal | None = None
    reduce_only: bool = False
    client_oid: str = ""
    margin_mode: MarginMode | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


class PlanOrder(msgspec.Struct, frozen=True, kw_only=True):
    """State of a trigger order. ``side`` is that of the order it sends; ``qty`` None follows the position.

    ``fires_below``: it fires at price ≤ trigger, else at price ≥ trigger. ``acting``: it has reached the venue's
    engine; before that it waits for its latency and cannot fire.
    """

    order_id: str
    client_oid: str
    symbol: str
    plan: PlanType
    side: Side
    trigger_price: Decimal
    trigger_type: TriggerType
    fires_below: bool
    qty: Decimal | None
    execute_price: Decimal | None
    reduce_only: bool
    created_ms: int
    updated_ms: int
    status: PlanStatus = "live"
    acting: bool = False
    preset_of: str = ""
    executed_order_id: str = ""
    margin_mode: MarginMode | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None

    @property
    def source(self) -> str:
        """The orderSource of the order it sends."""
        base = {"loss_plan": "loss", "profit_plan": "profit", "normal_plan": "plan"}.get(self.plan, self.plan)
        return f"{base}_{'market' if self.execute_price is None else 'limit'}"

    @property
    def protects(self) -> bool:
        """Whether it is a take-profit or stop-loss of a position."""
        return self.plan != "normal_plan"
