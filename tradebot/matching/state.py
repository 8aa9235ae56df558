"""What of a venue survives a restart."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradebot.errors import DataError
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.orders import Execution, MarginMode, Order, PositionMode
from tradebot.matching.plans import PlanOrder
from tradebot.matching.position import Position
from tradebot.matching.reports import Bill
from tradebot.matching.settings import SymbolSettings


class SymbolState(msgspec.Struct, frozen=True, kw_only=True):
    """Settings and prices of one symbol."""

    margin_mode: MarginMode
    crossed_leverage: int
    long_leverage: int
    short_leverage: int
    mark: Decimal | None = None
    last: Decimal | None = None


class VenueState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a venue but its books. ``waiting`` are ids of accepted orders that have not acted."""

    cash: Decimal
    last_id: int
    position_mode: PositionMode = "one_way_mode"
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    waiting: tuple[str, ...] = ()
    plans: tuple[PlanOrder, ...] = ()
    executions: tuple[Execution, ...] = ()
    bills: tuple[Bill, ...] = ()
    closed_positions: tuple[Position, ...] = ()
    symbols: dict[str, SymbolState] = {}


def dump(engine: MatchingEngine, recent: int) -> VenueState:
    """State to save: all that is open and the ``recent`` newest of what has ended."""
    archive = engine.archive
    orders, plans = archive.ended(recent)
    return VenueState(
        cash=engine.account.cash,
        last_id=engine.maker.last_id,
        position_mode=engine.account.position_mode,
        positions=tuple(engine.account.positions.values()),
        orders=(*orders, *archive.open.values()),
        waiting=tuple(sorted(engine.waiting)),
        plans=(*plans, *archive.live_plans.values()),
        executions=tuple(archive.executions)[-recent:],
        bills=tuple(archive.bills)[-recent:],
        closed_positions=tuple(archive.closed_positions)[-recent:],
        symbols={
            symbol: SymbolState(
                margin_mode=settings.margin_mode,
                crossed_leverage=settings.crossed_leverage,
                long_leverage=settings.long_leverage,
                short_leverage=settings.short_leverage,
                mark=engine.account.marks.get(symbol),
                last=engine.lasts.get(symbol),
            )
            for symbol, settings in engine.account.settings.items()
        },
    )


def load(engine: MatchingEngine, state: VenueState) -> None:
    """Continue from :func:`dump` in a fresh engine. Resting orders queue again at the end of their level.

    Raises DataError when something open belongs to a symbol that the engine does not trade.
    """
    held = {p.symbol for p in state.positions} | {o.symbol for o in state.orders if o.open}
    held |= {p.symbol for p in state.plans if p.status == "live"}
    unknown = sorted(held - engine.instruments.keys())
    if unknown:
        raise DataError(f"the saved account holds {', '.join(unknown)}, which this run does not trade; add the symbol")
    engine.account.cash = state.cash
    engine.maker.last_id = state.last_id
    engine.account.position_mode = state.position_mode
    engine.account.positions = {p.slot: p for p in state.positions}
    for symbol, kept in state.symbols.items():
        if symbol in engine.instruments:
            engine.account.settings[symbol] = SymbolSettings(
                kept.margin_mode, kept.crossed_leverage, kept.long_leverage, kept.short_leverage
            )
            if kept.mark is not None:
                engine.account.marks[symbol] = kept.mark
            if kept.last is not None:
                engine.lasts[symbol] = kept.last
    engine.waiting = set(state.waiting)
    for order in state.orders:
        engine.archive.put_order(order)
        if order.open and order.order_id not in engine.waiting:
            engine.rest(order)
    for plan in state.plans:
        engine.archive.put_plan(plan)
    engine.archive.executions.extend(state.executions)
    engine.archive.bills.extend(state.bills)
    engine.archive.closed_positions.extend(state.closed_positions)
