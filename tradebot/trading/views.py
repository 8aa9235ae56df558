"""What a strategy is shown, gathered from everything the engine knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradebot.market.instrument import ZERO
from tradebot.trading.strategy import Account, Holding, Market, View
from tradebot.trading.symbol import SymbolState

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine


def view_of(engine: Engine, symbol: SymbolState) -> View | None:
    """The view of ``symbol`` now, or None before its first book."""
    top, instrument = symbol.top, symbol.instrument
    if top is None:
        return None
    market = Market(
        symbol=symbol.name,
        bid=top.bid,
        ask=top.ask,
        mark=symbol.mark_price(),
        book_age_ms=engine.now_ms - symbol.top_ms,
        bid_size=top.bid_size,
        ask_size=top.ask_size,
        tick=float(instrument.tick) if instrument is not None else 0.0,
        funding_rate=symbol.funding_rate,
        next_funding_ms=symbol.next_funding_ms,
        funding_hours=instrument.funding_hours if instrument is not None else 8,
        book=symbol.book,
        candle=symbol.candle,
        candles=symbol.window(),
    )
    equity, began = engine.live_equity(), engine.state.day_start_equity
    return View(
        now_ms=engine.now_ms,
        interval_ms=symbol.interval_ms,
        market=market,
        holding=_holding(engine, symbol, market.mark),
        taker_cost_bp=2e4 * float(instrument.taker_fee if instrument is not None else ZERO) + market.spread_bp,
        maker_cost_bp=2e4 * float(instrument.maker_fee if instrument is not None else ZERO),
        account=Account(
            equity=equity if equity is not None else ZERO,
            available=engine.available if engine.available is not None else ZERO,
            day_profit=equity - began if equity is not None and began is not None else ZERO,
        ),
        forecasts=symbol.forecasts,
        models=symbol.models,
        features=symbol.values(engine.leaders),
    )


def _holding(engine: Engine, symbol: SymbolState, mark: float) -> Holding:
    position = engine.state.portfolio.position(symbol.name)
    if not position.qty:
        return Holding()
    entry, side = float(position.entry_price), 1 if position.qty > 0 else -1
    prices = (mark, *symbol.excursion.since(position.opened_ms, mark))
    now, *ends = (side * (price / entry - 1) * 1e4 if entry > 0 else 0.0 for price in prices)
    bar = symbol.interval_ms
    return Holding(
        qty=position.qty,
        entry_price=position.entry_price,
        held_ms=engine.now_ms - position.opened_ms,
        candles=engine.now_ms // bar - position.opened_ms // bar,
        unrealised_bp=now,
        best_bp=max(ends),
        worst_bp=min(ends),
    )
