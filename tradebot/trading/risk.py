"""Pre-trade risk: every check writes what it saw and what it allows; the order passes, shrinks or is blocked.

Checks never raise size. All of them run, so that the record shows everything that stood in the way, not the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from tradebot.events import EngineConfig, RiskCheck, RiskLimits, Tradability, Verdict
from tradebot.market.candle import DAY_MS, HOUR_MS
from tradebot.market.instrument import ZERO, Instrument, Side, exact

PROVISIONAL_MODES = frozenset({"demo", "paper"})
"""Where a model may act that has not beaten the baseline net of costs."""

ONE = Decimal(1)

STOP_SHARE_OF_LIQUIDATION = Decimal("0.6")
"""The stop lies at most this share of the way from entry to liquidation (architecture section 8)."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What an entry is measured against. Notional in USDT at mark, durations in ms; None: not known (blocks).

    ``correlated_net``: net notional of the symbol and of those that move like it, positive in the entry's direction;
    ``correlated``: which those are. ``depth_notional``: what the book shows near the best price on the side that the
    entry takes from. Losses are fractions of equity (of ``capital`` where that is less). ``listed``: the symbol belongs
    to the universe that is traded. ``held_qty`` (base coin, signed), ``held_cost`` (USDT, signed) and ``stop`` are the
    position's that the entry would add to.
    """

    now_ms: int
    side: Side
    price: Decimal
    mark: Decimal
    spread_bp: float
    depth_notional: Decimal
    equity: Decimal | None
    available: Decimal | None
    gross_notional: Decimal
    symbol_notional: Decimal
    correlated_net: Decimal
    correlated: tuple[str, ...]
    entries_last_minute: int
    entries_last_hour: int
    open_orders: int
    daily_loss: Decimal | None
    drawdown: Decimal | None
    losses_in_a_row: int
    model_loss: Decimal | None
    funding_rate: float
    next_funding_ms: int
    listed: bool
    tradability: Tradability
    paused: bool
    foreign: str
    feed_ok: bool
    feed_reason: str
    book_age_ms: int | None
    candle_age_ms: int
    clock_offset_ms: int | None
    private_stream: str
    account_age_ms: int | None
    position_mode: str
    margin_mode: str
    leverage: int | None
    opposite: bool
    cooldown_until_ms: int
    entry_working: bool
    provisional: bool | None
    held_qty: Decimal = ZERO
    held_cost: Decimal = ZERO
    stop: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """Verdict over all checks and the size that remains (base coin, on the lot; zero when blocked)."""

    verdict: Verdict
    qty: Decimal
    checks: tuple[RiskCheck, ...]


def stop_distance(limit: Decimal, leverage: int, maintenance_rate: Decimal) -> Decimal:
    """Distance of the protective stop from entry, as a fraction of price.

    The configured distance, but at most 60 % of the way to liquidation, which for an isolated position lies about
    ``1/leverage - maintenance_rate`` away from entry.
    """
    return min(limit, STOP_SHARE_OF_LIQUIDATION * liquidation_distance(leverage, maintenance_rate))


def liquidation_distance(leverage: int, maintenance_rate: Decimal) -> Decimal:
    """How far from entry (fraction of price) an isolated position is liquidated, about."""
    return max(1 / Decimal(leverage) - maintenance_rate, ZERO)


def capped(equity: Decimal, capital: Decimal | None) -> Decimal:
    """What limits count as equity (USDT): at most the capital that the bot was given, never less than nothing."""
    return max(ZERO, equity if capital is None else min(equity, capital))


Gate = Callable[[str, object, object, bool], None]
"""Writes one check: its name, what was seen, what is allowed, and whether it passes."""


def _gate(checks: list[RiskCheck]) -> Gate:
    def gate(name: str, value: object, limit: object, ok: bool) -> None:
        checks.append(RiskCheck(name, str(value), str(limit), "pass" if ok else "block"))

    return gate


def _permissions(gate: Gate, config: EngineConfig, instrument: Instrument, x: Exposure) -> None:
    gate("tradability", "paused" if x.paused and x.tradability == "active" else x.tradability, "active",
         x.tradability == "active" and not x.paused)  # fmt: skip
    gate("universe", "traded" if x.listed else "left", "traded", x.listed)
    gate("foreign_position", x.foreign or "none", "none", not x.foreign)
    gate("position_mode", x.position_mode or "unverified", "one_way_mode", x.position_mode == "one_way_mode")
    gate("margin_mode", x.margin_mode or "unverified", config.margin_mode, x.margin_mode == config.margin_mode)
    gate("leverage_setting", "unverified" if x.leverage is None else x.leverage, config.leverage,
         x.leverage == config.leverage)  # fmt: skip
    gate("symbol_status", instrument.status, "normal", instrument.status == "normal")
    announced = [t for t in (instrument.maintain_time_ms, instrument.off_time_ms, instrument.limit_open_time_ms) if t]
    hours = min(((t - x.now_ms) / HOUR_MS for t in announced), default=None)
    gate("announced_stop_h", "none" if hours is None else f"{hours:.1f}", 24,
         hours is None or hours * HOUR_MS > DAY_MS)  # fmt: skip


def _data(gate: Gate, limits: RiskLimits, x: Exposure, candle_age_ms: int) -> None:
    gate("feed", "ok" if x.feed_ok else x.feed_reason or "down", "ok", x.feed_ok)
    gate("book_age_ms", "none" if x.book_age_ms is None else x.book_age_ms, limits.max_book_age_ms,
         x.book_age_ms is not None and x.book_age_ms <= limits.max_book_age_ms)  # fmt: skip
    gate("candle_age_ms", candle_age_ms, limits.max_candle_age_ms, candle_age_ms <= limits.max_candle_age_ms)
    gate("clock_offset_ms", "unmeasured" if x.clock_offset_ms is None else x.clock_offset_ms,
         limits.max_clock_offset_ms,
         x.clock_offset_ms is not None and abs(x.clock_offset_ms) < limits.max_clock_offset_ms)  # fmt: skip
    gate("private_stream", x.private_stream, "up", x.private_stream == "up")
    oldest = limits.max_account_age_ms
    gate("account_age_ms", "not seen" if x.account_age_ms is None else x.account_age_ms,
         "none" if oldest is None else oldest,
         oldest is None or (x.account_age_ms is not None and x.account_age_ms <= oldest))  # fmt: skip


def _proof(gate: Gate, config: EngineConfig, x: Exposure) -> None:
    may_be_provisional = config.mode in PROVISIONAL_MODES
    seen = "none" if x.provisional is None else "provisional" if x.provisional else "proven"
    gate("model", seen, "provisional" if may_be_provisional else "proven",
         may_be_provisional or not x.provisional)  # fmt: skip


def _losses(gate: Gate, limits: RiskLimits, x: Exposure) -> None:
    for name, loss, limit in (
        ("daily_loss", x.daily_loss, limits.max_daily_loss),
        ("drawdown", x.drawdown, limits.max_drawdown),
        ("model_loss", x.model_loss, limits.max_model_loss),
    ):
        gate(name, "unknown" if loss is None else f"{loss:.5f}", limit, loss is not None and loss < limit)
    most = limits.max_losses_in_a_row
    gate("losses_in_a_row", x.losses_in_a_row, "none" if most is None else most,
         most is None or x.losses_in_a_row < most)  # fmt: skip


def _pace(gate: Gate, limits: RiskLimits, x: Exposure) -> None:
    for name, count, most in (
        ("entries_per_minute", x.entries_last_minute, limits.max_entries_per_minute),
        ("entries_per_hour", x.entries_last_hour, limits.max_entries_per_hour),
        ("open_orders", x.open_orders, limits.max_open_orders),
    ):
        gate(name, count, most, count < most)


def _price(gate: Gate, limits: RiskLimits, x: Exposure) -> None:
    gate("spread_bp", f"{x.spread_bp:.2f}", limits.max_spread_bp, x.spread_bp <= limits.max_spread_bp)
    off = abs(x.price / x.mark - 1) if x.mark > 0 else None
    gate("mark_deviation", "no mark" if off is None else f"{off:.5f}", limits.max_mark_deviation,
         off is not None and off <= limits.max_mark_deviation)  # fmt: skip


def _funding(gate: Gate, limits: RiskLimits, x: Exposure) -> None:
    """No entry just before a settlement that it would pay."""
    paid_bp = x.funding_rate * (1e4 if x.side == "buy" else -1e4)
    left_ms = x.next_funding_ms - x.now_ms
    told = f"{paid_bp:+.2f} bp in {left_ms} ms" if left_ms > 0 else "not told"
    gate("funding_window", told, f"none paid within {limits.funding_window_ms} ms",
         not (paid_bp > 0 and 0 < left_ms <= limits.funding_window_ms))  # fmt: skip


def _stop_reach(gate: Gate, config: EngineConfig, instrument: Instrument, x: Exposure, qty: Decimal) -> None:
    """The stop of a position stands where it was placed: an entry at a better price must not take the average so far
    from it that it lies beyond its share of the way to liquidation."""
    side = 1 if x.side == "buy" else -1
    average = (abs(x.held_cost) + qty * x.price) / (abs(x.held_qty) + qty)
    away = side * (average - (x.stop or ZERO)) / average
    most = STOP_SHARE_OF_LIQUIDATION * liquidation_distance(config.leverage, instrument.maintenance_rate)
    gate("stop_reach", f"{away:.5f}", f"{most:.5f}", away <= most)


def standing_checks(
    config: EngineConfig, instrument: Instrument, interval_ms: int, x: Exposure
) -> tuple[RiskCheck, ...]:
    """The checks of an entry that do not depend on what the strategy wants, as they stand between two candles.

    A candle is then as old as the next one, ``interval_ms`` later, is overdue.
    """
    checks: list[RiskCheck] = []
    gate = _gate(checks)
    _permissions(gate, config, instrument, x)
    _data(gate, config.risk, x, max(0, x.candle_age_ms - interval_ms))
    _proof(gate, config, x)
    _losses(gate, config.risk, x)
    _pace(gate, config.risk, x)
    _price(gate, config.risk, x)
    return tuple(checks)


def assess_entry(config: EngineConfig, instrument: Instrument, size: float, x: Exposure) -> Assessment:
    """Check an entry of ``size`` × the configured order notional in ``instrument``.

    Returns the size to send and the table of checks. ``size`` is the strategy's share in (0, 1].
    """
    limits = config.risk
    checks: list[RiskCheck] = []
    gate = _gate(checks)
    _permissions(gate, config, instrument, x)
    _data(gate, limits, x, x.candle_age_ms)
    _proof(gate, config, x)
    gate("opposite_position", x.opposite, False, not x.opposite)
    gate("cooldown_ms", max(0, x.cooldown_until_ms - x.now_ms), 0, x.now_ms >= x.cooldown_until_ms)
    gate("entry_working", x.entry_working, False, not x.entry_working)
    _losses(gate, limits, x)
    _pace(gate, limits, x)
    _price(gate, limits, x)
    _funding(gate, limits, x)
    if config.margin_mode == "isolated":
        distance = liquidation_distance(config.leverage, instrument.maintenance_rate)
        gate("liquidation_distance", f"{distance:.5f}", limits.min_liquidation_distance,
             distance >= limits.min_liquidation_distance)  # fmt: skip

    qty = instrument.qty_down(config.order_notional * exact(size) / x.price) if x.price > 0 else ZERO

    def room(name: str, used: Decimal, limit: Decimal, share: Decimal = ONE, about: str = "") -> None:
        """Shrink ``qty`` so that ``used`` plus ``share`` of its notional stays within ``limit`` (USDT)."""
        nonlocal qty
        each = x.price * share
        fits = min(qty, instrument.qty_down(max(ZERO, limit - used) / each)) if each > 0 else ZERO
        verdict: Verdict = "pass" if fits == qty else "shrink" if fits > 0 else "block"
        checks.append(RiskCheck(name, f"{used + qty * each:.2f}{about}", f"{limit:.2f}", verdict))
        qty = fits

    equity = capped(x.equity if x.equity is not None else ZERO, None)
    margin = 1 / Decimal(config.leverage)
    room("position_notional", x.symbol_notional, limits.max_position_notional)
    room("gross_notional", x.gross_notional, limits.max_gross_notional)
    about = f" with {', '.join(x.correlated)}" if x.correlated else ""
    room("correlated_notional", x.correlated_net, limits.max_correlated_notional, about=about)
    room("leverage_notional", x.gross_notional, capped(equity, limits.capital) * limits.max_leverage)
    room("margin_use", x.gross_notional * margin, equity * limits.max_margin_use, margin)
    cost_share = margin * Decimal("1.01") + instrument.taker_fee
    room("available_margin", ZERO, max(ZERO, x.available or ZERO) / cost_share)
    room("depth", ZERO, x.depth_notional * limits.max_depth_share)
    if instrument.max_market_qty is not None and qty > instrument.max_market_qty:
        checks.append(RiskCheck("max_market_qty", str(qty), str(instrument.max_market_qty), "shrink"))
        qty = instrument.qty_down(instrument.max_market_qty)

    if x.held_qty and not x.opposite and x.stop is not None:
        _stop_reach(gate, config, instrument, x, qty)
    gate("min_qty", qty, instrument.min_qty, qty >= instrument.min_qty)
    gate("min_notional", f"{qty * x.price:.2f}", instrument.min_notional, qty * x.price >= instrument.min_notional)

    if any(c.verdict == "block" for c in checks):
        return Assessment("block", ZERO, tuple(checks))
    shrunk = any(c.verdict == "shrink" for c in checks)
    return Assessment("shrink" if shrunk else "pass", qty, tuple(checks))
