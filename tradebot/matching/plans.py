"""Trigger orders: what is asked for and what becomes of it (protocol section 9).

A plan order is *live* once it acts, then *executing* and *executed* or *fail_execute*, or *cancelled*. A trailing one
(``track_plan``, ``moving_plan``) first waits for its trigger price; from then on it follows the price and fires when
the price has come back by ``callback`` percent from its best.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tradebot.market.instrument import Side
from tradebot.matching.orders import NO_PRESETS, MarginMode, PosSide, Presets, TradeSide, TriggerType

PlanType = Literal["pos_loss", "pos_profit", "loss_plan", "profit_plan", "moving_plan", "normal_plan", "track_plan"]
PlanStatus = Literal["live", "executing", "executed", "fail_execute", "cancelled"]

WHOLE: tuple[PlanType, ...] = ("pos_loss", "pos_profit")
"""Kinds that follow the size of the position."""

TRAILING: tuple[PlanType, ...] = ("moving_plan", "track_plan")
"""Kinds that follow the price."""

CONDITIONAL: tuple[PlanType, ...] = ("normal_plan", "track_plan")
"""Kinds that send an order of their own; all others protect a position."""

PROTECTIONS: tuple[PlanType, ...] = ("pos_profit", "pos_loss", "profit_plan", "loss_plan", "moving_plan")
"""Take-profits and stop-losses of a position."""

_SOURCES = {
    "loss_plan": "loss",
    "profit_plan": "profit",
    "moving_plan": "moving",
    "normal_plan": "plan",
    "track_plan": "track",
}


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A new trigger order.

    TP/SL kinds protect a position: ``hold_side`` is ``buy`` for a long and ``sell`` for a short; ``qty`` only for the
    partial ones. Conditional kinds send an order of ``side`` for ``qty``. ``execute_price`` None is a market order.
    ``callback`` is the percentage of a trailing kind. ``presets`` belong to the order that a ``normal_plan`` sends.
    """

    symbol: str
    plan: PlanType
    trigger_price: Decimal
    trigger_type: TriggerType = "mark_price"
    hold_side: Side | None = None
    side: Side | None = None
    trade_side: TradeSide = ""
    qty: Decimal | None = None
    execute_price: Decimal | None = None
    callback: Decimal | None = None
    reduce_only: bool = False
    client_oid: str = ""
    margin_mode: MarginMode | None = None
    presets: Presets = NO_PRESETS


class PlanOrder(msgspec.Struct, frozen=True, kw_only=True):
    """State of a trigger order. ``side`` is the direction of the order it sends; ``qty`` None follows the position.

    ``fires_below``: its trigger is reached at price ≤ trigger, else at price ≥ trigger. ``acting``: it has reached the
    venue's engine; before that it waits for its latency and cannot fire. ``extreme`` is the best price a trailing plan
    has seen since its trigger was reached.
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
    pos_side: PosSide = "net"
    status: PlanStatus = "live"
    acting: bool = False
    callback: Decimal | None = None
    extreme: Decimal | None = None
    preset_of: str = ""
    executed_order_id: str = ""
    margin_mode: MarginMode | None = None
    presets: Presets = NO_PRESETS

    @property
    def source(self) -> str:
        """The orderSource of the order it sends."""
        return f"{_SOURCES.get(self.plan, self.plan)}_{'market' if self.execute_price is None else 'limit'}"

    @property
    def protects(self) -> bool:
        """Whether it belongs to a position (TP/SL)."""
        return self.plan not in CONDITIONAL

    @property
    def trade_side(self) -> str:
        """The protocol's tradeSide."""
        if self.pos_side == "net":
            return f"{self.side}_single"
        return "close" if self.reduce_only else "open"

    def reached(self, price: Decimal) -> bool:
        """Whether ``price`` is at or beyond the trigger."""
        return price <= self.trigger_price if self.fires_below else price >= self.trigger_price

    def follow(self, price: Decimal) -> tuple[PlanOrder, bool]:
        """The plan after it has seen ``price``, and whether it fires."""
        if self.callback is None:
            return self, self.reached(price)
        if self.extreme is None:
            if not self.reached(price):
                return self, False
            best = price
        else:
            best = max(self.extreme, price) if self.side == "sell" else min(self.extreme, price)
        back = best * self.callback / 100
        fires = price <= best - back if self.side == "sell" else price >= best + back
        return msgspec.structs.replace(self, extreme=best), fires
