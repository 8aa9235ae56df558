"""Orders and executions as REST and the private channels write them (protocol sections 8 and 10.5).

On hedge positions an order's ``side`` is spelled as on entry (it names the position), an execution's is the direction
that was traded (section 8.2).
"""

from __future__ import annotations

from tradebot.matching.arithmetic import exactly, money
from tradebot.matching.orders import Execution, Order, PosSide, TriggerType, named_side
from tradebot.sim.wire import MARGIN_COIN, Row, optional, plain


def position_mode(pos_side: PosSide) -> str:
    """``posMode`` of what acts on a position."""
    return "one_way_mode" if pos_side == "net" else "hedge_mode"


def order_row(order: Order, status_name: str = "status") -> Row:
    """An order in ``detail`` (where the status is called ``state``) and in the lists."""
    return {
        **_order(order),
        "symbol": order.symbol,
        "baseVolume": plain(order.filled_qty),
        "priceAvg": _average_price(order),
        "fee": plain(order.fee) if order.filled_qty else "",
        "price": optional(order.price),
        status_name: order.status,
        "quoteVolume": plain(order.filled_value),
        "reduceOnly": "YES" if order.reduce_only else "NO",
        "orderSource": order.source,
    }


def history_row(order: Order) -> Row:
    """An order in ``orders-history``."""
    return {**order_row(order), "posAvg": "", "liqPrice": ""}


@exactly
def order_push(order: Order, execution: Execution | None) -> Row:
    """A row of the ``orders`` channel; ``execution`` is the latest fill, when a fill caused the push."""
    row: Row = {
        **_order(order),
        "accBaseVolume": plain(order.filled_qty),
        "feeDetail": [{"feeCoin": MARGIN_COIN, "fee": plain(order.fee)}],
        "instId": order.symbol,
        "notionalUsd": plain(order.qty * (order.price if order.price is not None else order.margin_price)),
        "price": "0" if order.price is None else plain(order.price),
        "reduceOnly": "yes" if order.reduce_only else "no",
        "status": order.status,
        "stpMode": order.stp,
    }
    if execution is not None:
        row.update(
            baseVolume=plain(execution.qty),
            fillFee=plain(execution.fee),
            fillFeeCoin=MARGIN_COIN,
            fillNotionalUsd=plain(execution.qty * execution.price),
            fillPrice=plain(execution.price),
            fillTime=str(execution.ts_ms),
            pnl=plain(execution.realised),
            priceAvg=_average_price(order),
            tradeId=execution.trade_id,
            tradeScope="M" if execution.maker else "T",
        )
    return row


def fill_row(execution: Execution) -> Row:
    """A row of ``order/fills``; it names no clientOid."""
    return {
        **_fill(execution),
        "marginCoin": MARGIN_COIN,
        "enterPointSource": execution.entered_by.lower(),
    }


def fill_push(execution: Execution) -> Row:
    """A row of the ``fill`` channel."""
    return {
        **_fill(execution),
        "orderType": execution.order_type,
        "uTime": str(execution.ts_ms),
        "clientOid": execution.client_oid,
    }


def _order(order: Order) -> Row:
    """What REST and the ``orders`` channel spell alike."""
    presets = order.presets
    return {
        "orderId": order.order_id,
        "clientOid": order.client_oid,
        "size": plain(order.qty),
        "side": named_side(order.side, order.pos_side),
        "force": order.tif,
        "orderType": order.order_type,
        "totalProfits": plain(order.realised),
        "posSide": order.pos_side,
        "posMode": position_mode(order.pos_side),
        "tradeSide": order.trade_side,
        "marginCoin": MARGIN_COIN,
        "marginMode": order.margin_mode,
        "leverage": str(order.leverage),
        "presetStopSurplusPrice": optional(presets.take_profit),
        "presetStopSurplusExecutePrice": optional(presets.take_profit_limit),
        "presetStopSurplusType": _type(presets.take_profit is not None, presets.take_profit_type),
        "presetStopLossPrice": optional(presets.stop_loss),
        "presetStopLossExecutePrice": optional(presets.stop_loss_limit),
        "presetStopLossType": _type(presets.stop_loss is not None, presets.stop_loss_type),
        "enterPointSource": order.entered_by,
        "cancelReason": order.cancel_reason,
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
    }


@exactly
def _fill(execution: Execution) -> Row:
    """What ``order/fills`` and the ``fill`` channel spell alike."""
    fee = {"deduction": "no", "feeCoin": MARGIN_COIN, "totalDeductionFee": "0", "totalFee": plain(execution.fee)}
    return {
        "tradeId": execution.trade_id,
        "orderId": execution.order_id,
        "symbol": execution.symbol,
        "side": execution.side,
        "price": plain(execution.price),
        "baseVolume": plain(execution.qty),
        "quoteVolume": plain(execution.price * execution.qty),
        "profit": plain(execution.realised),
        "feeDetail": [fee],
        "tradeSide": execution.trade_side,
        "posMode": position_mode(execution.pos_side),
        "tradeScope": "maker" if execution.maker else "taker",
        "cTime": str(execution.ts_ms),
    }


def _average_price(order: Order) -> str:
    average = order.average_price
    return "" if average is None else plain(money(average))


def _type(given: bool, trigger_type: TriggerType) -> str:
    return trigger_type if given else ""
