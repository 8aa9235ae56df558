"""What an entry is measured against, gathered from everything the engine knows."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tradebot.market.instrument import ZERO, Side, exact
from tradebot.trading.risk import Exposure, standing_checks
from tradebot.trading.symbol import SymbolState

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine


def exposure_of(engine: Engine, symbol: SymbolState, price: Decimal, side: Side, *, provisional: bool) -> Exposure:
    """What an entry in ``symbol`` on ``side`` at ``price`` (USDT) would meet now.

    ``provisional``: the model that asks for it has not beaten the baseline net of costs.
    """
    state = engine.state
    gross = sum((abs(p.qty) * engine.mark(p.symbol, p.entry_price) for p in state.portfolio.open_positions()), ZERO)
    working = [o for o in state.orders.open() if o.purpose == "entry"]
    gross += sum(((o.qty - o.filled_qty) * (o.price or engine.mark(o.symbol, price)) for o in working), ZERO)
    position, account = state.portfolio.position(symbol.name), symbol.account
    return Exposure(
        now_ms=engine.now_ms,
        price=price,
        equity=engine.live_equity(),
        available=engine.available,
        gross_notional=gross,
        symbol_notional=abs(position.qty) * price,
        day_start_equity=state.day_start_equity,
        tradability=state.tradability,
        paused=symbol.name in state.paused or symbol.name in state.ignored,
        foreign=engine.discrepancies.describe(),
        feed_ok=symbol.feed_ok,
        feed_reason=symbol.feed_reason,
        book_age_ms=engine.now_ms - symbol.top_ms if symbol.top is not None else None,
        candle_age_ms=engine.now_ms - symbol.last_close_ms,
        clock_offset_ms=engine.clock_offset_ms,
        private_stream=engine.hearing.stream,
        account_age_ms=engine.hearing.age_ms,
        position_mode=account.position_mode if account else "",
        margin_mode=account.margin_mode if account else "",
        leverage=account.leverage if account else None,
        opposite=position.qty * (1 if side == "buy" else -1) < 0,
        cooldown_until_ms=state.cooldown_until.get(symbol.name, 0),
        entry_working=any(o.symbol == symbol.name for o in working),
        provisional=provisional,
    )


def obstacles(engine: Engine, name: str) -> tuple[str, ...]:
    """Why an entry in symbol ``name`` would be refused now whatever the strategy says, in words."""
    symbol = engine.symbols.get(name)
    if symbol is None or symbol.instrument is None:
        return ("the contract is not known",)
    found = [] if symbol.feed_ok else [symbol.feed_reason or "no data yet"]
    if engine.decisions.strategy is None:
        found.append("strategy disabled")
    if symbol.model is None:
        found.append("no model serves this symbol")
    if symbol.top is None:
        return (*found, "no book yet")
    provisional = symbol.model is not None and symbol.model.provisional
    exposure = exposure_of(engine, symbol, exact(symbol.top.ask), "buy", provisional=provisional)
    checks = standing_checks(engine.config, symbol.instrument, symbol.interval_ms, exposure)
    # the feed's reason stands above
    found += [f"{c.name} {c.value} (limit {c.limit})" for c in checks if c.verdict == "block" and c.name != "feed"]
    return tuple(found)
