"""What the engine puts out: commands to the shell, and records of what it decided."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tradebot.events.base import (
    Cause,
    DifferenceKind,
    Mode,
    OrderType,
    Purpose,
    Record,
    TimeInForce,
    Tradability,
    Verdict,
)
from tradebot.market.instrument import Side


class RequestForecast(Record, frozen=True, kw_only=True, tag="request_forecast"):
    """Ask serving for ``model``'s forecast of ``symbol`` from ``row``: float32 features in its view's order, little
    endian; of a window all its rows, oldest first."""

    request_id: str
    symbol: str
    model: str
    as_of_ms: int
    deadline_ms: int
    row: bytes
    row_hash: str


class PlaceOrder(Record, frozen=True, kw_only=True, tag="place"):
    """Send an order. ``preset_stop`` and ``preset_take_profit`` are trigger prices, attached to the entry.

    ``stop_distance``: how far from its entry price the position's stop is to lie, as a fraction of price; None: as risk
    says.
    """

    client_oid: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    purpose: Purpose
    decision_id: str
    price: Decimal | None = None
    tif: TimeInForce = "gtc"
    reduce_only: bool = False
    preset_stop: Decimal | None = None
    preset_take_profit: Decimal | None = None
    stop_distance: Decimal | None = None


class CancelOrder(Record, frozen=True, kw_only=True, tag="cancel"):
    client_oid: str
    symbol: str


class PlaceStop(Record, frozen=True, kw_only=True, tag="place_stop"):
    """Place the position's stop, triggered by the mark price. ``position_side`` is that of the position."""

    client_oid: str
    symbol: str
    position_side: Literal["long", "short"]
    trigger_price: Decimal


class CancelStop(Record, frozen=True, kw_only=True, tag="cancel_stop"):
    client_oid: str
    symbol: str
    order_id: str = ""


class ClosePosition(Record, frozen=True, kw_only=True, tag="close_position"):
    """Flash-close the whole position of a symbol. ``decision_id``: the strategy's decision to leave it, if any."""

    client_oid: str
    symbol: str
    reason: str
    decision_id: str = ""


class SetTimer(Record, frozen=True, kw_only=True, tag="set_timer"):
    """Send TimerFired(name) at ``due_ms``; setting a name again moves it; ``due_ms`` 0 takes it back."""

    name: str
    due_ms: int


class RequestReconcile(Record, frozen=True, kw_only=True, tag="request_reconcile"):
    """Ask the shell to fetch the exchange's whole view and answer with Reconciled."""

    reason: str


class TradabilityChanged(Record, frozen=True, kw_only=True, tag="tradability"):
    """The engine itself stopped or resumed entries; ``symbol`` is empty for all. Durable.

    ``cause``: the limit that did it; a restriction by a limit that lifts by itself ends with an ``active`` of the same
    cause. ``close``: symbols that are to be closed along with it.
    """

    state: Tradability
    reason: str
    symbol: str = ""
    cause: Cause = ""
    close: tuple[str, ...] = ()


class RiskCheck(msgspec.Struct, frozen=True, array_like=True):
    """One check with what it saw and what it allowed, both as text exact to the last digit."""

    name: str
    value: str
    limit: str
    verdict: Verdict


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one of the models said, or, in ``missing``, why it said nothing in time.

    ``as_of_ms``: the close that it spoke of, where that is an earlier one than the decision's and still holds; else 0.
    """

    model: str
    version: str = ""
    sha256: str = ""
    expected_bp: float | None = None
    p_up: float | None = None
    p_down: float | None = None
    provisional: bool = False
    missing: str = ""
    as_of_ms: int = 0


class Decision(Record, frozen=True, kw_only=True, tag="decision"):
    """Why the bot did, or did not do, something. Non-decisions are recorded like decisions.

    ``action`` is what the strategy wanted; ``verdict`` what risk made of it; ``qty`` and ``client_oid`` what was sent.
    ``hook``: what the strategy was asked by, or ``fallback`` for what a maker order left; empty: it was not asked.
    ``models`` are all that were asked at the last close; ``model`` and its forecast is the first of them that answered.
    """

    decision_id: str
    ts_ms: int
    symbol: str
    mode: Mode
    strategy: str
    action: Literal["enter_long", "enter_short", "exit", "hold"]
    reason: str
    verdict: Verdict
    checks: tuple[RiskCheck, ...]
    model: str
    version: str
    model_sha256: str
    row_hash: str
    expected_bp: float | None
    p_up: float | None
    p_down: float | None
    provisional: bool
    bid: float
    ask: float
    position_qty: Decimal
    qty: Decimal
    client_oid: str = ""
    hook: str = ""
    models: tuple[ModelAnswer, ...] = ()


class Alert(Record, frozen=True, kw_only=True, tag="alert"):
    severity: Literal["info", "warning", "critical"]
    code: str
    message: str
    symbol: str = ""


class Difference(Record, frozen=True, kw_only=True, tag="difference"):
    """Something that the exchange told otherwise than we had it, and what was done about it. ``symbol`` is empty for
    the account."""

    kind: DifferenceKind
    symbol: str
    ours: str
    theirs: str
    done: str
