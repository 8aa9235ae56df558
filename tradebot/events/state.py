"""Orders, positions and stops as states, and all of them together as what survives a crash."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tradebot.events.base import Cause, OrderType, Purpose, Tradability
from tradebot.events.trades import TradeBooked, TradeState
from tradebot.market.instrument import Side


class PositionState(msgspec.Struct, frozen=True, kw_only=True):
    """A position as some party sees it. ``qty`` is signed base coin (long > 0), ``entry_price`` its average.

    ``cost``: what the open part cost (USDT, signed like ``qty``), to the digit that an average price loses.
    """

    symbol: str
    qty: Decimal
    entry_price: Decimal
    liquidation_price: Decimal | None = None
    opened_ms: int = 0
    cost: Decimal | None = None


class OrderState(msgspec.Struct, frozen=True, kw_only=True):
    """An order of ours. ``intended`` ones may or may not have reached the exchange.

    ``filled_qty`` is the most that any report claimed, ``executed_qty`` what the executions heard of add up to.
    ``strategy`` to ``model_sha256`` are those of the decision that sent it.
    """

    client_oid: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    purpose: Purpose
    price: Decimal | None = None
    reduce_only: bool = False
    order_id: str = ""
    status: Literal["intended", "live", "partially_filled", "filled", "canceled", "rejected", "unknown"] = "intended"
    filled_qty: Decimal = Decimal(0)
    executed_qty: Decimal | None = None
    decision_id: str = ""
    created_ms: int = 0
    strategy: str = ""
    model: str = ""
    version: str = ""
    model_sha256: str = ""


class StopState(msgspec.Struct, frozen=True, kw_only=True):
    """The exchange-side stop that protects a position. ``confirmed``: seen live on the exchange; ``refused``: the
    exchange did not take it, so there is none.

    ``touched_ms`` is when we last placed it or heard of it.
    """

    symbol: str
    client_oid: str
    trigger_price: Decimal
    order_id: str = ""
    confirmed: bool = False
    refused: bool = False
    touched_ms: int = 0


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """What is not ours in a symbol, as it went on record: our books say ``ours``, the exchange ``theirs``.

    ``since_ms`` is when the first such thing was found in the symbol: entries have been stopped since then.
    """

    kind: Literal["position", "foreign"]
    ours: str
    theirs: str
    since_ms: int

    @property
    def why(self) -> str:
        """In words, as the alarm says it."""
        return position_differs(self.ours, self.theirs) if self.kind == "position" else self.theirs


def position_differs(ours: object, theirs: object) -> str:
    """That a position is another one on the exchange, in words."""
    return f"position is {theirs} on the exchange, {ours} by our executions"


class TrackState(msgspec.Struct, frozen=True, kw_only=True):
    """What limits remember of how trading went. USDT, net of fees and funding.

    ``peak_profit``: the highest profit since the beginning, or since a person resumed after a drawdown. ``losses``:
    losing trades since the last one that earned. ``models``: what the closed trades of each model version came to.
    """

    peak_profit: Decimal | None = None
    losses: int = 0
    models: dict[str, Decimal] = {}


class DurableState(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a crash: carried from the last run's journal into the first event of the next.

    ``stop_distances``: how far from its entry price the strategy wants a position's stop at most, by symbol, as a
    fraction of price.
    ``adopted_ms``: when an adopted position had been reported, by symbol; earlier executions are in it.
    ``known_ms``: what happened to the account before then is known, because the whole view was asked for after it. The
    private stream proves nothing: it may be deaf, and bills never come by it.
    ``trades``: the open trades, and the last one that ended in each symbol; ``untold``: what was booked on trades and
    is not on record yet.
    ``day_seen_ms``: when ``day_start_equity`` was told (the bot may have been away at midnight).
    ``unexplained``: balance (USDT) that our executions, funding and transfers do not add up to: what the account held
    before, above all. It is constant.
    """

    positions: tuple[PositionState, ...] = ()
    orders: tuple[OrderState, ...] = ()
    stops: tuple[StopState, ...] = ()
    stop_distances: dict[str, Decimal] = {}
    trades: tuple[TradeState, ...] = ()
    untold: tuple[TradeBooked, ...] = ()
    tradability: Tradability = "active"
    halt_reason: str = ""
    cause: Cause = ""
    restricted_ms: int = 0
    paused_symbols: tuple[str, ...] = ()
    ignored_symbols: tuple[str, ...] = ()
    foreign: dict[str, str] = {}
    disputes: dict[str, Dispute] = {}
    closing: tuple[str, ...] = ()
    adopted_ms: dict[str, int] = {}
    known_ms: int = 0
    seen_trade_ids: tuple[str, ...] = ()
    cooldown_until: dict[str, int] = {}
    day_start_ms: int = 0
    day_start_equity: Decimal | None = None
    day_seen_ms: int = 0
    realised_pnl: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    transferred: Decimal = Decimal(0)
    unexplained: Decimal | None = None
    track: TrackState = TrackState()
