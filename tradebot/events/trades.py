"""Trades of ours, and what was booked on them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tradebot.events.base import Record

TradeEnd = Literal[
    "", "exit", "stop", "take_profit", "liquidation", "operator", "protection", "reversal", "adopted", "unknown"
]
"""How a trade ended: the strategy left (``exit``), an order on the exchange (``stop``, ``take_profit``) or the exchange
itself (``liquidation``) closed it, a person asked for it (``operator``), the bot closed what it could not protect or
risk did not allow any more (``protection``), an entry the other way went through zero (``reversal``), a person took
over what the exchange says instead (``adopted``), an order that we no longer know (``unknown``). Empty: open."""

Booking = Literal["fill", "funding", "adopted", "corrected"]


class TradeState(msgspec.Struct, frozen=True, kw_only=True):
    """A trade: a position of ours from flat to flat. What goes through zero ends one trade and begins another.

    Quantities in base coin without sign, money in USDT; ``fees`` and ``funding`` are negative when paid, ``realised``
    is before both. ``entered_value`` and ``exited_value`` are size times price of the executions that opened and
    closed. ``opened_ms`` and ``closed_ms`` are the exchange's times of the first and of the last execution (0: open),
    ``since_ms`` is when the first one reached the engine.

    The trade belongs to the decision that opened it, with the strategy and the model of that decision; what is added
    later does not change that. ``adopted``: taken over from the exchange, not entered by executions of ours, so that
    nothing is known of its entry but size and price. ``best_bp`` and ``worst_bp`` are the furthest that the mark went
    our way and the other way from the entry price, where it was watched.
    """

    trade_id: str
    symbol: str
    side: Literal["long", "short"]
    opened_ms: int
    closed_ms: int = 0
    since_ms: int = 0
    entry_decision: str = ""
    exit_decision: str = ""
    strategy: str = ""
    model: str = ""
    version: str = ""
    model_sha256: str = ""
    entry_order: str = ""
    exit_order: str = ""
    entered_qty: Decimal = Decimal(0)
    entered_value: Decimal = Decimal(0)
    exited_qty: Decimal = Decimal(0)
    exited_value: Decimal = Decimal(0)
    realised: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    fills: int = 0
    end: TradeEnd = ""
    adopted: bool = False
    best_bp: float | None = None
    worst_bp: float | None = None

    @property
    def open_qty(self) -> Decimal:
        """Base coin that is still held; zero of a trade that has ended."""
        return Decimal(0) if self.closed_ms else self.entered_qty - self.exited_qty

    @property
    def entry_price(self) -> Decimal:
        """Average price of what was entered."""
        return self.entered_value / self.entered_qty

    @property
    def exit_price(self) -> Decimal | None:
        """Average price of what was left; None before the first exit."""
        return self.exited_value / self.exited_qty if self.exited_qty else None

    @property
    def net(self) -> Decimal:
        """What it brought so far, after fees and funding."""
        return self.realised + self.fees + self.funding

    @property
    def net_bp(self) -> float:
        """``net`` in bp of the notional that was entered."""
        return float(self.net / self.entered_value) * 1e4 if self.entered_value else 0.0


class TradeBooked(Record, frozen=True, kw_only=True, tag="trade"):
    """Something was booked on one of our trades; ``trade`` is how it stands then.

    ``realised``, ``fee`` and ``funding`` are what this booking added (USDT): over all bookings they sum up to what the
    account realised, paid and received by our executions. ``kind`` says by what, ``ref`` names it (trade id of the
    execution or id of the bill): an execution that goes through zero is booked on two trades, its fee shared by size.
    ``corrected``: nothing was added, it became known how the trade had ended.
    """

    trade: TradeState
    kind: Booking
    ref: str
    ts_exchange_ms: int
    qty: Decimal = Decimal(0)
    price: Decimal | None = None
    realised: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
