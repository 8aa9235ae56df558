"""Positions and account as they are reported: what is stored, with what depends on marks and open orders."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tradebot.market.instrument import ZERO
from tradebot.matching.account import Account
from tradebot.matching.archive import Archive
from tradebot.matching.position import Position
from tradebot.matching.reports import AccountSummary, PositionReport


def position_report(account: Account, archive: Archive, held: Position, taker_fee: Decimal) -> PositionReport:
    """A position with its margin figures, the orders that would change it and its whole-position TP/SL."""
    mark = account.mark(held.symbol)
    closing = opening = ZERO
    for order in archive.open_in(held.symbol):
        if order.pos_side == held.pos_side:
            if order.reduce_only:
                closing += order.remaining
            elif order.side == held.side:
                opening += order.remaining
    live = [p for p in archive.plans_in(held.symbol) if p.acting and p.pos_side == held.pos_side]
    spent = -(held.fees + (held.funding or ZERO) + held.realised)
    sign = 1 if held.qty > 0 else -1
    break_even = (held.cost + sign * spent) / (held.size * (1 - sign * taker_fee))
    return PositionReport(
        position=held,
        mark=mark,
        margin=held.margin,
        unrealised=held.unrealised(mark),
        maintenance_rate=account.tier(held).maintenance_rate,
        margin_ratio=account.margin_ratio(held),
        liquidation_price=account.liquidation_price(held),
        break_even=break_even,
        closing_qty=min(closing, held.size),
        opening_qty=opening,
        take_profit=next((p for p in live if p.plan == "pos_profit"), None),
        stop_loss=next((p for p in live if p.plan == "pos_loss"), None),
    )


def account_summary(account: Account, archive: Archive, reports: Sequence[PositionReport]) -> AccountSummary:
    """The account now; ``reports`` are of all its positions."""
    locked = account.locked(archive.open.values())
    crossed = [r for r in reports if r.position.margin_mode == "crossed"]
    isolated = [r for r in reports if r.position.margin_mode == "isolated"]
    crossed_unrealised = sum((r.unrealised for r in crossed), ZERO)
    isolated_unrealised = sum((r.unrealised for r in isolated), ZERO)
    unrealised = crossed_unrealised + isolated_unrealised
    return AccountSummary(
        cash=account.cash,
        equity=account.cash + unrealised,
        locked=locked,
        free=max(ZERO, account.free(locked)),
        unrealised=unrealised,
        crossed_unrealised=crossed_unrealised,
        isolated_unrealised=isolated_unrealised,
        crossed_margin=sum((r.margin for r in crossed), ZERO),
        isolated_margin=sum((r.margin for r in isolated), ZERO),
        risk_rate=account.risk_rate(),
        flat=not account.positions,
    )
