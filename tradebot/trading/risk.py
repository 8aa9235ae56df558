"""Pre-trade risk: every check writes what it saw and what it allows; the order passes, shrinks or is blocked.

Checks never raise size. All of them run, so that the record shows everything that stood in the way, not the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from tradebot.events import EngineConfig, RiskCheck, RiskLimits, Tradability, Verdict
from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import ZERO, Instrument, exact

PROVISIONAL_MODES = frozenset({"demo", "paper"})
"""Where a model may act that has not beaten the baseline net of costs."""

STOP_SHARE_OF_LIQUIDATION = Decimal("0.6")
"""The stop lies at most this share of the way from entry to liquidation (architecture section 8)."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What an entry is measured against. Notional in USDT at mark, durations in ms; None: not known (blocks)."""

    now_ms: int
    price: Decimal
    equity: Decimal | None
    available: Decimal | None
    gross_notional: Decimal
    symbol_notional: Decimal
    day_start_equity: Decimal | None
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
    provisional: bool


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
    to_liquidation = max(1 / Decimal(leverage) - maintenance_rate, ZERO)
    return min(limit, STOP_SHARE_OF_LIQUIDATION * to_liquidation)


Gate = Callable[[str, object, object, bool], None]
"""Writes one check: its name, what was seen, what is allowed, and whether it passes."""


def _gate(checks: list[RiskCheck]) -> Gate:
    def gate(name: str, value: object, limit: object, ok: bool) -> None:
        checks.append(RiskCheck(name, str(value), str(limit), "pass" if ok else "block"))

    return gate


def _permissions(gate: Gate, config: EngineConfig, instrument: Instrument, x: Exposure) -> None:
    gate("tradability", "paused" if x.paused and x.tradability == "active" else x.tradability, "active",
         x.tradability == "active" and not x.paused)  # fmt: skip
    gate("foreign_position", x.foreign or "none", "none", not x.foreign)
    gate("position_mode", x.position_mode or "unverified", "one_way_mode", x.position_mode == "one_way_mode")
    gate("margin_mode", x.margin_mode or "unverified", config.margin_mode, x.margin_mode == config.margin_mode)
    gate("leverage_setting", "unverified" if x.leverage is None else x.leverage, config.leverage,
         x.leverage == config.leverage)  # fmt: skip
    gate("symbol_status", instrument.status, "normal", instrument.status == "normal")
    announced = [t for t in (instrument.maintain_time_ms, instrument.off_time_ms, instrument.limit_open_time_ms) if t]
    hours = min(((t - x.now_ms) / 3_600_000 for t in announced), default=None)
    gate("announced_stop_h", "none" if hours is None else f"{hours:.1f}", 24,
         hours is None or hours * 3_600_000 > DAY_MS)  # fmt: skip


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
    gate("model", "provisional" if x.provisional else "proven", "provisional" if may_be_provisional else "proven",
         may_be_provisional or not x.provisional)  # fmt: skip


def _daily_loss(gate: Gate, limits: RiskLimits, x: Exposure) -> None:
    loss = ZERO
    if x.equity is not None and x.day_start_equity:
        loss = max(ZERO, (x.day_start_equity - x.equity) / x.day_start_equity)
    gate("daily_loss", "unknown" if x.equity is None else f"{loss:.5f}", limits.max_daily_loss,
         x.equity is not None and loss < limits.max_daily_loss)  # fmt: skip


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
    _daily_loss(gate, config.risk, x)
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
    _daily_loss(gate, limits, x)

    qty = instrument.qty_down(config.order_notional * exact(size) / x.price) if x.price > 0 else ZERO

    def room(name: str, used: Decimal, limit: Decimal) -> None:
        """Shrink ``qty`` so that ``used`` + its notional stays within ``limit``."""
        nonlocal qty
        fits = min(qty, instrument.qty_down(max(ZERO, limit - used) / x.price)) if x.price > 0 else ZERO
        verdict: Verdict = "pass" if fits == qty else "shrink" if fits > 0 else "block"
        checks.append(RiskCheck(name, f"{used + qty * x.price:.2f}", f"{limit:.2f}", verdict))
        qty = fits

    room("position_notional", x.symbol_notional, limits.max_position_notional)
    room("gross_notional", x.gross_notional, limits.max_gross_notional)
    equity = x.equity if x.equity is not None else ZERO
    capital = min(equity, limits.capital) if limits.capital is not None else equity
    room("leverage_notional", x.gross_notional, max(ZERO, capital) * limits.max_leverage)
    cost_share = 1 / Decimal(config.leverage) * Decimal("1.01") + instrument.taker_fee
    room("available_margin", ZERO, max(ZERO, x.available or ZERO) / cost_share)
    if instrument.max_market_qty is not None and qty > instrument.max_market_qty:
        checks.append(RiskCheck("max_market_qty", str(qty), str(instrument.max_market_qty), "shrink"))
        qty = instrument.qty_down(instrument.max_market_qty)

    gate("min_qty", qty, instrument.min_qty, qty >= instrument.min_qty)
    gate("min_notional", f"{qty * x.price:.2f}", instrument.min_notional, qty * x.price >= instrument.min_notional)

    if any(c.verdict == "block" for c in checks):
        return Assessment("block", ZERO, tuple(checks))
    shrunk = any(c.verdict == "shrink" for c in checks)
    return Assessment("shrink" if shrunk else "pass", qty, tuple(checks))
