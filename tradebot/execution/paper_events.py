"""What the venue tells, as the events that the exchange's private channels become."""

from __future__ import annotations

from tradebot.events import (
    AccountUpdated,
    Event,
    Filled,
    FundingPaid,
    OrderUpdated,
    PositionState,
    StopUpdated,
)
from tradebot.exchange.bitget.translate import forced
from tradebot.matching.orders import Execution, Order
from tradebot.matching.plans import PlanOrder
from tradebot.matching.reports import (
    AccountChanged,
    AccountSummary,
    Bill,
    Executed,
    FundingSettled,
    OrderChanged,
    PlanChanged,
    PositionReport,
    VenueEvent,
)


def event(seen: VenueEvent) -> Event | None:
    """The event of the engine for all but positions, or None for what no channel of ours carries."""
    match seen:
        case OrderChanged():
            return order(seen.order)
        case Executed():
            return fill(seen.execution)
        case AccountChanged():
            return account(seen.summary)
        case PlanChanged():
            return stop(seen.plan) if seen.plan.protects else None
        case FundingSettled():
            return FundingPaid(bill_id=seen.bill_id, symbol=seen.symbol, amount=seen.amount, ts_exchange_ms=seen.ts_ms)
        case _:
            return None


def order(state: Order) -> OrderUpdated:
    """State of an order; the exchange's own are forced."""
    return OrderUpdated(
        client_oid=state.client_oid,
        order_id=state.order_id,
        symbol=state.symbol,
        side=state.side,
        status=state.status,
        qty=state.qty,
        filled_qty=state.filled_qty,
        avg_price=state.average_price,
        reduce_only=state.reduce_only,
        reason=state.cancel_reason,
        forced=forced(state.trade_side),
        ts_exchange_ms=state.updated_ms,
    )


def fill(execution: Execution) -> Filled:
    """One execution."""
    return Filled(
        trade_id=execution.trade_id,
        order_id=execution.order_id,
        client_oid=execution.client_oid,
        symbol=execution.symbol,
        side=execution.side,
        price=execution.price,
        qty=execution.qty,
        fee=execution.fee,
        realised=execution.realised,
        maker=execution.maker,
        ts_exchange_ms=execution.ts_ms,
    )


def position(report: PositionReport) -> PositionState:
    """An open position."""
    held = report.position
    return PositionState(
        symbol=held.symbol,
        qty=held.qty,
        entry_price=held.entry_price,
        liquidation_price=report.liquidation_price,
        opened_ms=held.opened_ms,
    )


def account(summary: AccountSummary) -> AccountUpdated:
    """The account's money."""
    return AccountUpdated(equity=summary.equity, available=summary.free, balance=summary.cash)


def stop(plan: PlanOrder) -> StopUpdated:
    """State of a take-profit or stop-loss."""
    return StopUpdated(
        order_id=plan.order_id,
        client_oid=plan.client_oid,
        symbol=plan.symbol,
        plan=plan.plan,
        trigger_price=plan.trigger_price,
        status=plan.status,
    )


def is_funding(bill: Bill) -> bool:
    """Whether a bill is a funding settlement."""
    return bill.business == "contract_settle_fee"


def funding(bill: Bill) -> FundingPaid:
    """A settlement from its bill."""
    return FundingPaid(bill_id=bill.bill_id, symbol=bill.symbol, amount=bill.amount, ts_exchange_ms=bill.ts_ms)
