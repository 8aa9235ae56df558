"""What an entry is measured against, gathered from everything the engine knows."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tradebot.events import OrderState
from tradebot.market.candle import HOUR_MS, MINUTE_MS
from tradebot.market.instrument import ZERO, Side, exact
from tradebot.trading.correlation import correlation
from tradebot.trading.risk import Exposure, standing_checks
from tradebot.trading.symbol import SymbolState

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine


def exposure_of(
    engine: Engine, symbol: SymbolState, price: Decimal, side: Side, *, provisional: bool | None, sized: bool = True
) -> Exposure:
    """What an entry in ``symbol`` on ``side`` at ``price`` (USDT) would meet now.

    ``provisional``: the model that asks for it has not beaten the baseline net of costs; None: no model asks for it.
    ``sized``: its size is measured, too; without, depth and what moves like the symbol (a look at every position) are
    left at nothing.
    """
    state, limits = engine.state, engine.config.risk
    working = [o for o in state.orders.open() if o.purpose == "entry"]
    nets = _net_notional(engine, working, price)
    position, account, top = state.portfolio.position(symbol.name), symbol.account, symbol.top
    correlated = _correlated(engine, symbol, nets) if sized else {}
    sign = 1 if side == "buy" else -1
    recent, minute_ago_ms = _recent_entries(engine), engine.now_ms - MINUTE_MS
    return Exposure(
        now_ms=engine.now_ms,
        side=side,
        price=price,
        mark=exact(symbol.mark_price()),
        spread_bp=(top.ask - top.bid) / (top.ask + top.bid) * 2e4 if top is not None else 0.0,
        depth_notional=_depth(symbol, side, limits.depth_within_bp) if sized else ZERO,
        equity=engine.live_equity(),
        available=engine.available,
        gross_notional=sum((gross for gross, _ in nets.values()), ZERO),
        symbol_notional=abs(position.qty) * price,
        correlated_net=sign * (nets.get(symbol.name, (ZERO, ZERO))[1] + sum(correlated.values(), ZERO)),
        correlated=tuple(correlated),
        entries_last_minute=sum(t > minute_ago_ms for t in recent),
        entries_last_hour=len(recent),
        open_orders=len(state.orders.open()),
        daily_loss=engine.breakers.daily_loss(),
        drawdown=engine.breakers.drawdown(),
        losses_in_a_row=state.track.losses,
        model_loss=engine.breakers.model_loss(symbol),
        funding_rate=symbol.funding_rate,
        next_funding_ms=symbol.next_funding_ms,
        listed=symbol.name in engine.universe,
        tradability=state.tradability,
        paused=symbol.name in state.paused or symbol.name in state.ignored,
        foreign=engine.discrepancies.describe(),
        feed_ok=symbol.feed_ok,
        feed_reason=symbol.feed_reason,
        book_age_ms=engine.now_ms - symbol.top_ms if top is not None else None,
        candle_age_ms=engine.now_ms - symbol.last_close_ms,
        clock_offset_ms=engine.clock_offset_ms,
        private_stream=engine.hearing.stream,
        account_age_ms=engine.hearing.age_ms,
        position_mode=account.position_mode if account else "",
        margin_mode=account.margin_mode if account else "",
        leverage=account.leverage if account else None,
        opposite=position.qty * sign < 0,
        cooldown_until_ms=state.cooldown_until.get(symbol.name, 0),
        entry_working=any(o.symbol == symbol.name for o in working),
        provisional=provisional,
        held_qty=position.qty,
        held_cost=position.cost,
        stop=stop.trigger_price if (stop := state.stops.get(symbol.name)) is not None else None,
    )


def _net_notional(engine: Engine, working: list[OrderState], price: Decimal) -> dict[str, tuple[Decimal, Decimal]]:
    """By symbol: what positions and working entries come to at mark, added up without and with their sign (USDT)."""
    found: dict[str, tuple[Decimal, Decimal]] = {}
    held = [(p.symbol, p.qty * engine.mark(p.symbol, p.entry_price)) for p in engine.state.portfolio.open_positions()]
    asked = [
        (o.symbol, (o.qty - o.filled_qty) * (o.price or engine.mark(o.symbol, price)) * (1 if o.side == "buy" else -1))
        for o in working
    ]
    for name, signed in held + asked:
        gross, net = found.get(name, (ZERO, ZERO))
        found[name] = (gross + abs(signed), net + signed)
    return found


def _correlated(engine: Engine, symbol: SymbolState, nets: dict[str, tuple[Decimal, Decimal]]) -> dict[str, Decimal]:
    """Net notional of other symbols that move like ``symbol``, negative where they move against it.

    Of symbols with too few candles in common nothing is known: they count as moving like it.
    """
    limits, found = engine.config.risk, {}
    for name, (_, net) in sorted(nets.items()):
        if name == symbol.name or not net:
            continue
        other = engine.symbols.get(name)
        known = correlation(symbol.returns, other.returns, limits.correlation_candles) if other is not None else None
        rho = 1.0 if known is None else known
        if abs(rho) >= limits.correlated_from:
            found[name] = net if rho > 0 else -net
    return found


def _recent_entries(engine: Engine) -> list[int]:
    """When the entries of the last hour were sent (ms)."""
    found, hour_ago_ms = [], engine.now_ms - HOUR_MS
    for order in reversed(engine.state.orders):
        if order.created_ms <= hour_ago_ms:
            break
        if order.purpose == "entry":
            found.append(order.created_ms)
    return found


def _depth(symbol: SymbolState, side: Side, within_bp: float) -> Decimal:
    """Notional (USDT) that the newest book row shows within ``within_bp`` of its best price on the side that an entry
    on ``side`` takes from; before the first row, that of the best level."""
    book, top = symbol.book, symbol.top
    if book is not None:
        prices, sizes = (book.ask_px, book.ask_sz) if side == "buy" else (book.bid_px, book.bid_sz)
        levels = zip(prices, sizes, strict=True)
        near = [(px, sz) for px, sz in levels if abs(px / prices[0] - 1) * 1e4 <= within_bp]
    elif top is not None:
        near = [(top.ask, top.ask_size) if side == "buy" else (top.bid, top.bid_size)]
    else:
        near = []
    return sum((exact(px) * exact(sz) for px, sz in near), ZERO)


def obstacles(engine: Engine, name: str) -> tuple[str, ...]:
    """Why an entry in symbol ``name`` would be refused now whatever the strategy says, in words."""
    symbol = engine.symbols.get(name)
    if symbol is None or symbol.instrument is None:
        return ("the contract is not known",)
    found = [] if symbol.feed_ok else [symbol.feed_reason or "no data yet"]
    if engine.decisions.strategy is None:
        found.append("strategy disabled")
    if symbol.model is None and engine.decisions.hooks.asks_models:
        found.append("no model serves this symbol")
    if symbol.top is None:
        return (*found, "no book yet")
    provisional = symbol.model.provisional if symbol.model is not None else None
    exposure = exposure_of(engine, symbol, exact(symbol.top.ask), "buy", provisional=provisional, sized=False)
    checks = standing_checks(engine.config, symbol.instrument, symbol.interval_ms, exposure)
    # the feed's reason stands above
    found += [f"{c.name} {c.value} (limit {c.limit})" for c in checks if c.verdict == "block" and c.name != "feed"]
    return tuple(found)
