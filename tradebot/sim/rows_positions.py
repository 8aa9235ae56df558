"""Positions, open and closed, as REST and the private channels write them (protocol sections 7.9, 7.10 and 10.5)."""

from __future__ import annotations

from decimal import Decimal

from tradebot.market.instrument import ZERO
from tradebot.matching.arithmetic import exactly, money, quotient
from tradebot.matching.position import Position
from tradebot.matching.reports import PositionReport
from tradebot.sim.rows_orders import position_mode
from tradebot.sim.wire import MARGIN_COIN, Row, optional, plain


@exactly
def position_row(report: PositionReport) -> Row:
    """A row of ``all-position`` and ``single-position``."""
    position = report.position
    stop, target = report.stop_loss, report.take_profit
    return {
        **_position(report),
        "symbol": position.symbol,
        "openDelegateSize": plain(report.opening_qty),
        "locked": plain(report.closing_qty),
        "leverage": str(position.leverage),
        "marginRatio": plain(money(report.margin_ratio)),
        "takeProfit": "" if target is None else plain(target.trigger_price),
        "stopLoss": "" if stop is None else plain(stop.trigger_price),
        "takeProfitId": "" if target is None else target.order_id,
        "stopLossId": "" if stop is None else stop.order_id,
        "grant": "",
    }


@exactly
def position_push(report: PositionReport) -> Row:
    """A row of the ``positions`` channel; ``leverage`` is a JSON number here."""
    position = report.position
    return {
        **_position(report),
        "posId": position.position_id,
        "instId": position.symbol,
        "frozen": plain(report.closing_qty),
        "leverage": position.leverage,
        "unrealizedPLR": _ratio(report.unrealised, report.margin),
        "marginRate": plain(money(report.margin_ratio)),
    }


@exactly
def closed_position_row(position: Position) -> Row:
    """A row of ``history-position``."""
    return {
        **_closed(position),
        "positionId": position.position_id,
        "symbol": position.symbol,
        "openAvgPrice": _ratio(position.opened_value, position.opened_qty),
        "closeAvgPrice": _ratio(position.closed_value, position.closed_qty),
        "openTotalPos": plain(position.opened_qty),
        "closeTotalPos": plain(position.closed_qty),
        "pnl": plain(position.realised),
        "netProfit": plain(position.realised + position.fees + (position.funding or ZERO)),
        "totalFunding": plain(position.funding or ZERO),
        "ctime": str(position.opened_ms),
        "utime": str(position.updated_ms),
    }


@exactly
def closed_position_push(position: Position) -> Row:
    """A row of the ``positions-history`` channel."""
    return {
        **_closed(position),
        "posId": position.position_id,
        "instId": position.symbol,
        "openPriceAvg": _ratio(position.opened_value, position.opened_qty),
        "closePriceAvg": _ratio(position.closed_value, position.closed_qty),
        "openSize": plain(position.opened_qty),
        "closeSize": plain(position.closed_qty),
        "achievedProfits": plain(position.realised),
        "settleFee": plain(position.funding or ZERO),
        "cTime": str(position.opened_ms),
        "uTime": str(position.updated_ms),
    }


def _position(report: PositionReport) -> Row:
    """What REST and the ``positions`` channel spell alike."""
    position = report.position
    return {
        **_name(position),
        "marginSize": plain(report.margin),
        "total": plain(position.size),
        "available": plain(position.size - report.closing_qty),
        "openPriceAvg": plain(position.entry_price),
        "achievedProfits": plain(position.realised),
        "unrealizedPL": plain(money(report.unrealised)),
        "liquidationPrice": "0" if report.liquidation_price is None else plain(money(report.liquidation_price)),
        "keepMarginRate": plain(report.maintenance_rate),
        "markPrice": plain(report.mark),
        "breakEvenPrice": plain(money(report.break_even)),
        "totalFee": optional(position.funding),
        "deductedFee": plain(-position.fees),
        "assetMode": "single",
        "autoMargin": "off",
        "cTime": str(position.opened_ms),
        "uTime": str(position.updated_ms),
    }


def _closed(position: Position) -> Row:
    """What REST and the ``positions-history`` channel spell alike."""
    return {
        **_name(position),
        "openFee": plain(position.open_fees),
        "closeFee": plain(position.fees - position.open_fees),
    }


def _name(position: Position) -> Row:
    return {
        "marginCoin": MARGIN_COIN,
        "marginMode": position.margin_mode,
        "holdSide": "long" if position.side == "buy" else "short",
        "posMode": position_mode(position.pos_side),
    }


def _ratio(value: Decimal, per: Decimal) -> str:
    return plain(money(quotient(value, per))) if per else "0"
