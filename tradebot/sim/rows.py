"""Orders, fills, positions, money and plans as REST and the private channels write them (protocol sections 7 to 10)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from tradebot.market.instrument import ZERO, Side
from tradebot.matching.account import Position, money
from tradebot.matching.orders import Execution, Order, PlanOrder
from tradebot.matching.reports import AccountSummary, Bill, PositionReport
from tradebot.sim.wire import MARGIN_COIN, plain

ONE_WAY: Final = "one_way_mode"

PLAN_SHORT: Final = {
    "loss_plan": "sl",
    "profit_plan": "tp",
    "pos_loss": "psl",
    "pos_profit": "ptp",
    "normal_plan": "pl",
}

Row = dict[str, Any]


def optional(value: Decimal | None) -> str:
    """A number, or "" for none."""
    return "" if value is None else plain(value)


def ratio(value: Decimal) -> str:
    """A quotient, rounded to 12 places."""
    return plain(money(value))


def trade_side(side: Side, given: str) -> str:
    """``buy_single``/``sell_single`` unless the venue says otherwise (liquidation)."""
    return given or f"{side}_single"


# --- orders and fills -----------------------------------------------------------------------------------------------


def order_row(order: Order, status_name: str = "status") -> Row:
    """An order in ``detail`` (where the status is called ``state``) and in the lists."""
    average = order.average_price
    return {
        "symbol": order.symbol,
        "size": plain(order.qty),
        "orderId": order.order_id,
        "clientOid": order.client_oid,
        "baseVolume": plain(order.filled_qty),
        "priceAvg": "" if average is None else ratio(average),
        "fee": plain(order.fee) if order.filled_qty else "",
        "price": optional(order.price),
        status_name: order.status,
        "side": order.side,
        "force": order.tif,
        "totalProfits": plain(order.realised),
        "posSide": "net",
        "marginCoin": MARGIN_COIN,
        "presetStopSurplusPrice": optional(order.take_profit),
        "presetStopSurplusType": "" if order.take_profit is None else "mark_price",
        "presetStopSurplusExecutePrice": "",
        "presetStopLossPrice": optional(order.stop_loss),
        "presetStopLossType": "" if order.stop_loss is None else "mark_price",
        "presetStopLossExecutePrice": "",
        "quoteVolume": plain(order.filled_value),
        "orderType": order.order_type,
        "leverage": str(order.leverage),
        "marginMode": order.margin_mode,
        "reduceOnly": "YES" if order.reduce_only else "NO",
        "enterPointSource": order.entered_by,
        "tradeSide": trade_side(order.side, order.trade_side),
        "posMode": ONE_WAY,
        "orderSource": order.source,
        "cancelReason": order.cancel_reason,
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
    }


def history_row(order: Order) -> Row:
    """An order in ``orders-history``."""
    return {**order_row(order), "posAvg": "", "liqPrice": ""}


def order_push(order: Order, execution: Execution | None) -> Row:
    """A row of the ``orders`` channel; ``execution`` is the latest fill, when a fill caused the push."""
    row: Row = {
        "accBaseVolume": plain(order.filled_qty),
        "cTime": str(order.created_ms),
        "cancelReason": order.cancel_reason,
        "clientOid": order.client_oid,
        "enterPointSource": order.entered_by,
        "feeDetail": [{"feeCoin": MARGIN_COIN, "fee": plain(order.fee)}],
        "force": order.tif,
        "instId": order.symbol,
        "leverage": str(order.leverage),
        "marginCoin": MARGIN_COIN,
        "marginMode": order.margin_mode,
        "notionalUsd": plain(order.qty * (order.price if order.price is not None else order.margin_price)),
        "orderId": order.order_id,
        "orderType": order.order_type,
        "posMode": ONE_WAY,
        "posSide": "net",
        "presetStopLossExecutePrice": "",
        "presetStopLossPrice": optional(order.stop_loss),
        "presetStopLossType": "" if order.stop_loss is None else "mark_price",
        "presetStopSurplusExecutePrice": "",
        "presetStopSurplusPrice": optional(order.take_profit),
        "presetStopSurplusType": "" if order.take_profit is None else "mark_price",
        "price": "0" if order.price is None else plain(order.price),
        "reduceOnly": "yes" if order.reduce_only else "no",
        "side": order.side,
        "size": plain(order.qty),
        "status": order.status,
        "stpMode": order.stp,
        "totalProfits": plain(order.realised),
        "tradeSide": trade_side(order.side, order.trade_side),
        "uTime": str(order.updated_ms),
    }
    if execution is not None:
        average = order.average_price
        row.update(
            baseVolume=plain(execution.qty),
            fillFee=plain(execution.fee),
            fillFeeCoin=MARGIN_COIN,
            fillNotionalUsd=plain(execution.qty * execution.price),
            fillPrice=plain(execution.price),
            fillTime=str(execution.ts_ms),
            pnl=plain(execution.realised),
            priceAvg="" if average is None else ratio(average),
            tradeId=execution.trade_id,
            tradeScope="M" if execution.maker else "T",
        )
    return row


def fill_row(execution: Execution) -> Row:
    """A row of ``order/fills``; it names no clientOid."""
    return {
        "tradeId": execution.trade_id,
        "symbol": execution.symbol,
        "marginCoin": MARGIN_COIN,
        "orderId": execution.order_id,
        "price": plain(execution.price),
        "baseVolume": plain(execution.qty),
        "feeDetail": _fee_detail(execution),
        "side": execution.side,
        "quoteVolume": plain(execution.price * execution.qty),
        "profit": plain(execution.realised),
        "enterPointSource": execution.entered_by.lower(),
        "tradeSide": trade_side(execution.side, execution.trade_side),
        "posMode": ONE_WAY,
        "tradeScope": "maker" if execution.maker else "taker",
        "cTime": str(execution.ts_ms),
    }


def fill_push(execution: Execution) -> Row:
    """A row of the ``fill`` channel."""
    return {
        "orderId": execution.order_id,
        "tradeId": execution.trade_id,
        "symbol": execution.symbol,
        "orderType": execution.order_type,
        "side": execution.side,
        "price": plain(execution.price),
        "baseVolume": plain(execution.qty),
        "quoteVolume": plain(execution.price * execution.qty),
        "profit": plain(execution.realised),
        "tradeSide": trade_side(execution.side, execution.trade_side),
        "posMode": ONE_WAY,
        "tradeScope": "maker" if execution.maker else "taker",
        "feeDetail": _fee_detail(execution),
        "cTime": str(execution.ts_ms),
        "uTime": str(execution.ts_ms),
        "clientOid": execution.client_oid,
    }


def _fee_detail(execution: Execution) -> list[Row]:
    return [{"deduction": "no", "feeCoin": MARGIN_COIN, "totalDeductionFee": "0", "totalFee": plain(execution.fee)}]


# --- positions ------------------------------------------------------------------------------------------------------


def _hold_side(position: Position) -> str:
    return "long" if position.side == "buy" else "short"


def position_row(report: PositionReport) -> Row:
    """A row of ``all-position`` and ``single-position``."""
    position = report.position
    stop, target = report.stop_loss, report.take_profit
    return {
        "marginCoin": MARGIN_COIN,
        "symbol": position.symbol,
        "holdSide": _hold_side(position),
        "openDelegateSize": plain(report.opening_qty),
        "marginSize": plain(report.margin),
        "available": plain(position.size - report.closing_qty),
        "locked": plain(report.closing_qty),
        "total": plain(position.size),
        "leverage": str(position.leverage),
        "achievedProfits": plain(position.realised),
        "openPriceAvg": plain(position.entry_price),
        "marginMode": position.margin_mode,
        "posMode": ONE_WAY,
        "unrealizedPL": ratio(report.unrealised),
        "liquidationPrice": _liquidation(report),
        "keepMarginRate": plain(report.maintenance_rate),
        "markPrice": plain(report.mark),
        "marginRatio": ratio(report.margin_ratio),
        "breakEvenPrice": ratio(report.break_even),
        "totalFee": optional(position.funding),
        "deductedFee": plain(-position.fees),
        "takeProfit": "" if target is None else plain(target.trigger_price),
        "stopLoss": "" if stop is None else plain(stop.trigger_price),
        "takeProfitId": "" if target is None else target.order_id,
        "stopLossId": "" if stop is None else stop.order_id,
        "assetMode": "single",
        "grant": "",
        "autoMargin": "off",
        "cTime": str(position.opened_ms),
        "uTime": str(position.updated_ms),
    }


def position_push(report: PositionReport) -> Row:
    """A row of the ``positions`` channel; ``leverage`` is a JSON number here."""
    position = report.position
    return {
        "posId": position.position_id,
        "instId": position.symbol,
        "marginCoin": MARGIN_COIN,
        "marginSize": plain(report.margin),
        "marginMode": position.margin_mode,
        "holdSide": _hold_side(position),
        "posMode": ONE_WAY,
        "total": plain(position.size),
        "available": plain(position.size - report.closing_qty),
        "frozen": plain(report.closing_qty),
        "openPriceAvg": plain(position.entry_price),
        "leverage": position.leverage,
        "achievedProfits": plain(position.realised),
        "unrealizedPL": ratio(report.unrealised),
        "unrealizedPLR": ratio(report.unrealised / report.margin) if report.margin else "0",
        "liquidationPrice": _liquidation(report),
        "keepMarginRate": plain(report.maintenance_rate),
        "marginRate": ratio(report.margin_ratio),
        "breakEvenPrice": ratio(report.break_even),
        "totalFee": optional(position.funding),
        "deductedFee": plain(-position.fees),
        "markPrice": plain(report.mark),
        "assetMode": "single",
        "autoMargin": "off",
        "cTime": str(position.opened_ms),
        "uTime": str(position.updated_ms),
    }


def _liquidation(report: PositionReport) -> str:
    return "0" if report.liquidation_price is None else ratio(report.liquidation_price)


def _average(value: Decimal, qty: Decimal) -> str:
    return ratio(value / qty) if qty else "0"


def closed_position_row(position: Position) -> Row:
    """A row of ``history-position``."""
    return {
        "positionId": position.position_id,
        "marginCoin": MARGIN_COIN,
        "symbol": position.symbol,
        "holdSide": _hold_side(position),
        "openAvgPrice": _average(position.opened_value, position.opened_qty),
        "closeAvgPrice": _average(position.closed_value, position.closed_qty),
        "marginMode": position.margin_mode,
        "openTotalPos": plain(position.opened_qty),
        "closeTotalPos": plain(position.closed_qty),
        "pnl": plain(position.realised),
        "netProfit": plain(position.realised + position.fees + (position.funding or ZERO)),
        "totalFunding": plain(position.funding or ZERO),
        "openFee": plain(position.open_fees),
        "closeFee": plain(position.fees - position.open_fees),
        "posMode": ONE_WAY,
        "ctime": str(position.opened_ms),
        "utime": str(position.updated_ms),
    }


def closed_position_push(position: Position) -> Row:
    """A row of the ``positions-history`` channel."""
    return {
        "posId": position.position_id,
        "instId": position.symbol,
        "marginCoin": MARGIN_COIN,
        "marginMode": position.margin_mode,
        "holdSide": _hold_side(position),
        "posMode": ONE_WAY,
        "openPriceAvg": _average(position.opened_value, position.opened_qty),
        "closePriceAvg": _average(position.closed_value, position.closed_qty),
        "openSize": plain(position.opened_qty),
        "closeSize": plain(position.closed_qty),
        "achievedProfits": plain(position.realised),
        "settleFee": plain(position.funding or ZERO),
        "openFee": plain(position.open_fees),
        "closeFee": plain(position.fees - position.open_fees),
        "cTime": str(position.opened_ms),
        "uTime": str(position.updated_ms),
    }


# --- money ----------------------------------------------------------------------------------------------------------


def account_row(summary: AccountSummary) -> Row:
    """What ``account`` and ``accounts`` share."""
    free = plain(summary.free)
    return {
        "marginCoin": MARGIN_COIN,
        "locked": plain(summary.locked),
        "available": plain(max(ZERO, summary.cash - summary.locked)),
        "crossedMaxAvailable": free,
        "isolatedMaxAvailable": free,
        "maxTransferOut": free,
        "accountEquity": plain(summary.equity),
        "usdtEquity": plain(summary.equity),
        "btcEquity": "0",
        "crossedRiskRate": ratio(summary.risk_rate),
        "unrealizedPL": plain(summary.unrealised),
        "coupon": "0",
        "crossedUnrealizedPL": plain(summary.crossed_unrealised),
        "isolatedUnrealizedPL": plain(summary.isolated_unrealised),
        "assetMode": "single",
        "grant": "",
    }


def accounts_row(summary: AccountSummary) -> Row:
    """A row of ``accounts``."""
    return {
        **account_row(summary),
        "unionTotalMargin": "0",
        "unionAvailable": "0",
        "unionMm": "0",
        "assetList": [],
        "isolatedMargin": plain(summary.isolated_margin),
        "crossedMargin": plain(summary.crossed_margin),
    }


def account_push(summary: AccountSummary) -> Row:
    """A row of the ``account`` channel."""
    free = plain(summary.free)
    return {
        "marginCoin": MARGIN_COIN,
        "frozen": plain(summary.locked),
        "available": plain(max(ZERO, summary.cash - summary.locked)),
        "maxOpenPosAvailable": free,
        "maxTransferOut": free,
        "equity": plain(summary.equity),
        "usdtEquity": plain(summary.equity),
        "crossedRiskRate": ratio(summary.risk_rate),
        "unrealizedPL": plain(summary.unrealised),
        "unionTotalMargin": "0",
        "unionAvailable": "0",
        "unionMm": "0",
        "assetsMode": "single",
    }


def bill_row(bill: Bill) -> Row:
    """A row of ``account/bill``."""
    return {
        "billId": bill.bill_id,
        "symbol": bill.symbol,
        "amount": plain(bill.amount),
        "fee": plain(bill.fee),
        "feeByCoupon": "",
        "businessType": bill.business,
        "coin": MARGIN_COIN,
        "balance": plain(bill.balance),
        "cTime": str(bill.ts_ms),
    }


# --- plans ----------------------------------------------------------------------------------------------------------


def _protection(plan: PlanOrder) -> Row:
    """The stopSurplus/stopLoss members: a TP/SL names itself, a conditional order its presets."""
    if plan.plan in ("pos_loss", "loss_plan"):
        stop, target = plan.trigger_price, None
    elif plan.plan in ("pos_profit", "profit_plan"):
        stop, target = None, plan.trigger_price
    else:
        stop, target = plan.stop_loss, plan.take_profit
    return {
        "stopSurplusTriggerPrice": optional(target),
        "stopSurplusTriggerType": "" if target is None else plan.trigger_type,
        "stopLossTriggerPrice": optional(stop),
        "stopLossTriggerType": "" if stop is None else plan.trigger_type,
    }


def plan_row(plan: PlanOrder, qty: Decimal) -> Row:
    """A row of ``orders-plan-pending``; ``qty`` is the plan's size now."""
    limit = plan.execute_price
    return {
        "planType": plan.plan,
        "symbol": plan.symbol,
        "size": plain(qty),
        "orderId": plan.order_id,
        "clientOid": plan.client_oid,
        "price": optional(limit),
        "executePrice": "0" if limit is None else plain(limit),
        "callbackRatio": "",
        "triggerPrice": plain(plan.trigger_price),
        "triggerType": plan.trigger_type,
        "planStatus": plan.status,
        "side": plan.side,
        "posSide": "net",
        "marginCoin": MARGIN_COIN,
        "marginMode": plan.margin_mode or "",
        "enterPointSource": "API",
        "tradeSide": trade_side(plan.side, ""),
        "posMode": ONE_WAY,
        "orderType": "market" if limit is None else "limit",
        "orderSource": plan.source,
        "cTime": str(plan.created_ms),
        "uTime": str(plan.updated_ms),
        "stopSurplusExecutePrice": "",
        "stopLossExecutePrice": "",
        **_protection(plan),
    }


def plan_history_row(plan: PlanOrder, qty: Decimal, executed: Order | None) -> Row:
    """A row of ``orders-plan-history``; ``executed`` is the order it sent."""
    average = executed.average_price if executed is not None else None
    return {
        **plan_row(plan, qty),
        "executeOrderId": plan.executed_order_id,
        "priceAvg": "" if average is None else ratio(average),
        "baseVolume": plain(executed.filled_qty) if executed is not None else "0",
    }


def plan_push(plan: PlanOrder, qty: Decimal) -> Row:
    """A row of the ``orders-algo`` channel, where plan types are abbreviated."""
    limit = plan.execute_price
    return {
        "instId": plan.symbol,
        "orderId": plan.order_id,
        "clientOid": plan.client_oid,
        "triggerPrice": plain(plan.trigger_price),
        "triggerType": plan.trigger_type,
        "triggerTime": str(plan.updated_ms) if plan.status in ("executing", "executed", "fail_execute") else "",
        "planType": PLAN_SHORT[plan.plan],
        "price": optional(limit),
        "executePrice": "0" if limit is None else plain(limit),
        "size": plain(qty),
        "actualSize": plain(qty) if plan.status == "executed" else "0",
        "orderType": "market" if limit is None else "limit",
        "side": plan.side,
        "tradeSide": trade_side(plan.side, ""),
        "posSide": "net",
        "marginCoin": MARGIN_COIN,
        "status": plan.status,
        "posMode": ONE_WAY,
        "enterPointSource": "api",
        "stopSurplusPrice": "",
        "stopLossPrice": "",
        **_protection(plan),
        "stpMode": "none",
        "cTime": str(plan.created_ms),
        "uTime": str(plan.updated_ms),
    }
