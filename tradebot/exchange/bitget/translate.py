"""From the exchange's rows to this project's candles, trades and events (protocol sections 2, 6 to 10)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import cast

from tradebot.errors import DataError
from tradebot.events import (
    AccountUpdated,
    Filled,
    OrderStatus,
    OrderUpdated,
    PositionsReported,
    PositionState,
    StopUpdated,
    TickerUpdated,
)
from tradebot.exchange.bitget.messages import (
    AccountRow,
    CandleRow,
    FillRow,
    OrderRow,
    PlanRow,
    PositionRow,
    Text,
    TickerRow,
    TradeRow,
)
from tradebot.exchange.bitget.naming import MARGIN_COIN, PLAN_TYPE
from tradebot.market.candle import Candle
from tradebot.market.instrument import ZERO, Side
from tradebot.market.trade import Trade

_STATUS: dict[str, OrderStatus] = {
    "init": "live",
    "new": "live",
    "live": "live",
    "partially_filled": "partially_filled",
    "filled": "filled",
    "canceled": "canceled",
    "cancelled": "canceled",
}

FORCED = ("burst_", "reduce_", "offset_", "delivery_", "dte_")
"""Beginnings of ``tradeSide`` on orders the exchange itself made: liquidation, deleveraging, delivery."""


def decimal_or_none(text: Text) -> Decimal | None:
    """A number, or None for an empty text. Raises DataError on anything else.

    >>> decimal_or_none(""), decimal_or_none("0.10")
    (None, Decimal('0.10'))
    """
    if text is None or text == "":
        return None
    try:
        value = Decimal(str(text))
    except InvalidOperation as error:
        raise DataError(f"Bitget sent {text!r} where a number belongs") from error
    if not value.is_finite():
        raise DataError(f"Bitget sent {text!r} where a number belongs")
    return value


def decimal(text: Text) -> Decimal:
    """A number; none is zero (use only where the exchange means that)."""
    return decimal_or_none(text) or ZERO


def number(text: Text) -> float:
    """Market data as a float; none is 0."""
    return finite(text) if text else 0.0


def finite(text: str | float) -> float:
    """Market data as a float. Raises ValueError for what is no number, DataError for a number that is none."""
    value = float(text)
    if not isfinite(value):
        raise DataError(f"Bitget sent {text!r} where a number belongs")
    return value


def milliseconds(text: Text) -> int:
    """A time in ms; none is 0."""
    return int(text) if text else 0


def side_of(text: str) -> Side:
    side = text.lower()
    if side not in ("buy", "sell"):
        raise DataError(f"Bitget sent the side {text!r}")
    return cast(Side, side)


def order_status(text: str) -> OrderStatus:
    status = _STATUS.get(text.lower())
    if status is None:
        raise DataError(f"Bitget sent the order status {text!r}")
    return status


def forced(trade_side: str | None) -> bool:
    """Whether the exchange itself made the order (protocol section 8.2), told by its ``tradeSide``."""
    return bool(trade_side and trade_side.startswith(FORCED))


def candle(row: CandleRow) -> Candle:
    """One row of a candle channel or endpoint."""
    first, high, low, close, volume, quote_volume = (finite(row[at]) for at in range(1, 7))
    return Candle(int(row[0]), first, high, low, close, volume, quote_volume)


def trade(row: TradeRow) -> Trade:
    return Trade(int(row.ts), finite(row.price), finite(row.size), side_of(row.side), row.tradeId)


def ticker(row: TickerRow) -> TickerUpdated:
    return TickerUpdated(
        symbol=row.instId,
        ts_exchange_ms=milliseconds(row.ts),
        last=number(row.lastPr),
        mark=number(row.markPrice),
        index=number(row.indexPrice),
        funding_rate=number(row.fundingRate),
        next_funding_ms=milliseconds(row.nextFundingTime),
        open_interest=number(row.holdingAmount),
    )


def order(row: OrderRow) -> OrderUpdated:
    return OrderUpdated(
        client_oid=row.clientOid or "",
        order_id=row.orderId,
        symbol=row.instId,
        side=side_of(row.side),
        status=order_status(row.status),
        qty=decimal(row.size),
        filled_qty=decimal(row.accBaseVolume),
        avg_price=decimal_or_none(row.priceAvg),
        reduce_only=row.reduceOnly.lower() == "yes",
        reason=row.cancelReason or "",
        forced=forced(row.tradeSide),
        ts_exchange_ms=milliseconds(row.uTime or row.cTime),
    )


def fill(row: FillRow) -> Filled:
    """One execution. A fee paid in another coin than the margin coin took nothing from the balance and counts as 0."""
    fee = sum(
        (decimal(part.totalFee or part.fee) for part in row.feeDetail or () if part.feeCoin.upper() == MARGIN_COIN),
        ZERO,
    )
    return Filled(
        trade_id=row.tradeId,
        order_id=row.orderId,
        client_oid=row.clientOid or "",
        symbol=row.symbol,
        side=side_of(row.side),
        price=decimal(row.price),
        qty=decimal(row.baseVolume),
        fee=fee,
        realised=decimal(row.profit),
        maker=row.tradeScope.lower() in ("maker", "m"),
        ts_exchange_ms=milliseconds(row.cTime),
    )


def position(row: PositionRow) -> PositionState:
    """One open position; its quantity is signed here and positive with a ``holdSide`` there."""
    total = decimal(row.total)
    liquidation = decimal_or_none(row.liquidationPrice)
    return PositionState(
        symbol=row.symbol or row.instId,
        qty=-total if row.holdSide == "short" else total,
        entry_price=decimal(row.openPriceAvg),
        liquidation_price=liquidation if liquidation is not None and liquidation > 0 else None,
        opened_ms=milliseconds(row.cTime),
    )


def positions(rows: Sequence[PositionRow]) -> PositionsReported:
    """A push is the complete list; empty means flat. Ordered by symbol, so equal states are equal events."""
    states = [state for state in map(position, rows) if state.qty != 0]
    return PositionsReported(positions=tuple(sorted(states, key=lambda state: (state.symbol, state.qty))))


def account(row: AccountRow) -> AccountUpdated:
    equity = decimal(row.equity)
    return AccountUpdated(
        equity=equity,
        available=decimal(row.maxOpenPosAvailable or row.available),
        balance=equity - decimal(row.unrealizedPL),
    )


def stop(row: PlanRow) -> StopUpdated:
    """A trigger order; status ``live``, ``executing``, ``executed``, ``fail_execute`` or ``cancelled``."""
    status = (row.status or row.planStatus).lower()
    return StopUpdated(
        order_id=row.orderId,
        client_oid=row.clientOid or "",
        symbol=row.symbol or row.instId,
        plan=PLAN_TYPE.get(row.planType, row.planType),
        trigger_price=decimal(row.triggerPrice),
        status={"not_trigger": "live", "canceled": "cancelled"}.get(status, status),
    )
