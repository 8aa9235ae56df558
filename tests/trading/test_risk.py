"""Every check of an entry: what it sees, what it allows, and that nothing else stands in for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from math import isclose
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.driver import BAR, MONDAY, SOL, Driver, decision, of, only, wave
from tests.trading.test_engine import blocked_by
from tradebot.events import (
    AccountUpdated,
    BookSampled,
    CandleHistory,
    Command,
    Decision,
    Filled,
    InstrumentUpdated,
    PlaceOrder,
    PlaceStop,
    PositionState,
    RequestForecast,
    RiskCheck,
    RiskLimits,
    TickerUpdated,
    UniverseChanged,
)
from tradebot.events.state import DurableState, TrackState
from tradebot.market.candle import Candle
from tradebot.settings import Settings
from tradebot.trading.correlation import Returns, correlation
from tradebot.trading.exposure import exposure_of
from tradebot.trading.risk import assess_entry
from tradebot.trading.strategy import Intent, Strategy, View

S, B = "SOLUSDT", "BTCUSDT"


def check(row: Decision, name: str) -> RiskCheck:
    return next(c for c in row.checks if c.name == name)


def test_an_entry_does_not_leave_the_stop_beyond_its_share_of_the_way_to_liquidation() -> None:
    """The stop stands where the first entry placed it; a second one higher takes the average away from it."""
    d = Driver(bars=1)
    d.send(filled("a", "buy", "4.9", "100"))
    (stop,) = [c for _, _, c in d.journal if isinstance(c, PlaceStop)]
    config = msgspec.structs.replace(d.engine.config, leverage=10)
    d.engine.config = config
    for price, fits in (("100", True), ("106", True), ("112", False)):
        d.book(float(price))
        x = exposure_of(d.engine, d.engine.symbols[S], Decimal(price), "buy", provisional=False)
        told = next(c for c in assess_entry(config, SOL, 1.0, x).checks if c.name == "stop_reach")
        assert (told.verdict == "pass") == fits, (stop.trigger_price, told)


def ticker(d: Driver, *, mark: float = 100.0, rate: float = 0.0, in_ms: int = 0, symbol: str = S) -> list[Command]:
    next_ms = d.now_ms + in_ms if in_ms else 0
    return list(
        d.send(
            TickerUpdated(
                symbol=symbol, ts_exchange_ms=d.now_ms, last=mark, mark=mark, index=mark, funding_rate=rate,
                next_funding_ms=next_ms,
            )
        )
    )  # fmt: skip


def entered(d: Driver, prepare: Callable[[Driver], object] = lambda d: None, bp: float = 20.0) -> Decision:
    """The decision at the next candle's end, with ``prepare`` done after its book."""
    commands = d.candle()
    prepare(d)
    return decision(d.forecast(bp, commands))


def row_of(d: Driver, asks: dict[float, float], bids: dict[float, float]) -> None:
    d.send(
        BookSampled(
            symbol=S, boundary_ms=d.now_ms, age_ms=0, bid_px=tuple(bids), bid_sz=tuple(bids.values()),
            ask_px=tuple(asks), ask_sz=tuple(asks.values()),
        )
    )  # fmt: skip


def test_limits_of_the_settings_are_those_of_the_engine() -> None:
    ours = msgspec.structs.replace(RiskLimits(), max_account_age_ms=180_000)
    assert Settings().risk.limits() == ours


# --- price, spread, depth -------------------------------------------------------------------------------------------


def test_a_price_too_far_from_the_mark_blocks() -> None:
    row = entered(Driver(), lambda d: ticker(d, mark=98.9))
    assert blocked_by(row) == ["mark_deviation"]
    assert check(row, "mark_deviation") == RiskCheck("mark_deviation", "0.01122", "0.01", "block")
    assert blocked_by(entered(Driver(), lambda d: ticker(d, mark=99.1))) == []


def test_a_wide_spread_blocks() -> None:
    row = entered(Driver(), lambda d: d.book(100.0, spread=0.3))
    assert blocked_by(row) == ["spread_bp"]
    assert check(row, "spread_bp") == RiskCheck("spread_bp", "30.00", "20.0", "block")


def test_an_entry_takes_half_of_what_is_near_on_its_side_at_most() -> None:
    asks, bids = {100.01: 2.0, 100.1: 1.0, 100.5: 1_000.0}, {99.99: 1_000.0}
    row = entered(Driver(), lambda d: row_of(d, asks, bids))
    assert (row.verdict, row.qty) == ("shrink", Decimal("1.5"))  # (200.02 + 100.1) / 2 / 100.01
    assert check(row, "depth") == RiskCheck("depth", "490.05", "150.06", "shrink")
    assert entered(Driver(), lambda d: row_of(d, asks, bids), bp=-20.0).verdict == "pass"
    assert blocked_by(entered(Driver(), lambda d: row_of(d, {}, bids)))[0] == "depth"


def test_before_the_first_row_the_best_level_is_the_depth() -> None:
    limits = RiskLimits(max_depth_share=Decimal("0.02"))
    assert check(entered(Driver(limits=limits)), "depth").limit == "100.01"  # 2 % of 50 at 100.01


# --- money ----------------------------------------------------------------------------------------------------------


def test_margin_use_leaves_a_part_of_equity_free() -> None:
    row = entered(Driver(limits=RiskLimits(max_margin_use=Decimal("0.01"))))
    assert row.qty == Decimal("1.9")  # 100 USDT of margin at leverage 2
    assert check(row, "margin_use") == RiskCheck("margin_use", "245.02", "100.00", "shrink")


def test_a_leverage_that_brings_liquidation_near_blocks() -> None:
    d = Driver()
    d.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, maintenance_rate=Decimal("0.48"))))
    row = entered(d)
    assert blocked_by(row) == ["liquidation_distance"]
    assert check(row, "liquidation_distance") == RiskCheck("liquidation_distance", "0.02000", "0.03", "block")


def test_a_gross_notional_counts_all_symbols_and_working_entries() -> None:
    held = PositionState(symbol=B, qty=Decimal(-45), entry_price=Decimal(100))
    d = Driver(symbols=(S, B), state=DurableState(positions=(held,)))
    row = entered(d)
    assert check(row, "gross_notional") == RiskCheck("gross_notional", "4990.05", "5000.00", "pass")
    d = Driver(
        symbols=(S, B), state=DurableState(positions=(held,)), limits=RiskLimits(max_gross_notional=Decimal(4_600))
    )
    assert entered(d).qty == Decimal("0.9")


def test_a_fall_below_the_peak_blocks() -> None:
    row = entered(Driver(), lambda d: setattr(d.engine.state.track, "peak_profit", Decimal(2_600)))
    assert blocked_by(row) == ["drawdown"]
    assert check(row, "drawdown") == RiskCheck("drawdown", "0.20635", "0.2", "block")  # 2600 of 12600


def test_limits_of_losses_count_the_capital_where_that_is_less() -> None:
    limits = RiskLimits(capital=Decimal(1_000))
    d = Driver(limits=limits)
    d.send(AccountUpdated(equity=Decimal(9_980), available=Decimal(9_980), balance=Decimal(9_980)))
    assert check(entered(d), "daily_loss").value == "0.02000"


def test_losing_trades_in_a_row_block() -> None:
    def lose(d: Driver) -> None:
        d.engine.state.track.losses = 20

    assert blocked_by(entered(Driver(), lose)) == ["losses_in_a_row"]
    assert blocked_by(entered(Driver(limits=RiskLimits(max_losses_in_a_row=21)), lose)) == []
    assert blocked_by(entered(Driver(limits=RiskLimits(max_losses_in_a_row=None)), lose)) == []


def test_a_model_version_that_lost_its_budget_makes_no_entry_and_another_one_does() -> None:
    spent = {f"{S} lightgbm-5m v0001": Decimal(-1_200)}
    row = entered(Driver(state=DurableState(track=TrackState(models=spent))))
    assert blocked_by(row) == ["model_loss"]
    assert check(row, "model_loss").value == "0.10714"  # 1200 of 11200
    other = {f"{S} lightgbm-5m v0000": Decimal(-1_200)}
    assert blocked_by(entered(Driver(state=DurableState(track=TrackState(models=other))))) == []


# --- pace -----------------------------------------------------------------------------------------------------------


class EveryCandle(Strategy):
    """Enters at every candle."""

    def on_forecast(self, view: View, forecast: Any) -> Intent:
        return Intent("enter_long", "always")


def test_entries_of_the_last_minute_and_hour_are_counted() -> None:
    limits = RiskLimits(max_entries_per_minute=1, max_entries_per_hour=3, max_position_notional=Decimal(9_000),
                        max_gross_notional=Decimal(9_000))  # fmt: skip
    d = Driver(EveryCandle, params={}, limits=limits)
    for _ in range(3):  # each at the end of another candle
        d.fill(only(d.forecast(20.0), PlaceOrder), "100.01")
    row = decision(d.forecast(20.0))
    assert blocked_by(row) == ["entries_per_hour"]
    assert check(row, "entries_per_minute").value == "0"
    for _ in range(7):
        d.forecast(20.0)
    assert check(decision(d.forecast(20.0)), "entries_per_hour").value == "3"
    assert check(decision(d.forecast(20.0)), "entries_per_hour").value == "2"
    d = Driver(EveryCandle, params={}, limits=RiskLimits(max_entries_per_minute=1))
    order = only(d.forecast(20.0), PlaceOrder)
    d.fill(order, "100.01")
    sent = d.engine.state.orders.get(order.client_oid)
    assert sent is not None
    d.engine.state.orders.intend(msgspec.structs.replace(order, client_oid="tb0-1-900-e"), d.now_ms + BAR - 59_999)
    assert "entries_per_minute" in blocked_by(decision(d.forecast(20.0)))


def test_too_many_open_orders_block() -> None:
    d = Driver(limits=RiskLimits(max_open_orders=1))
    order = PlaceOrder(
        client_oid="tb0-1-900-x", symbol=B, side="sell", order_type="limit", price=Decimal(9), qty=Decimal(1),
        purpose="exit", decision_id="", reduce_only=True,
    )  # fmt: skip
    d.engine.state.orders.intend(order, d.now_ms)
    assert blocked_by(entered(d)) == ["open_orders"]


# --- funding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "in_ms", "bp", "blocked"),
    [
        (0.0001, 300_000, 20.0, True),  # a long pays
        (0.0001, 300_001, 20.0, False),
        (0.0001, 300_000, -20.0, False),  # a short is paid
        (-0.0001, 60_000, -20.0, True),
        (0.0, 60_000, 20.0, False),
    ],
)
def test_no_entry_just_before_a_settlement_that_it_would_pay(rate: float, in_ms: int, bp: float, blocked: bool) -> None:
    row = entered(Driver(), lambda d: ticker(d, rate=rate, in_ms=in_ms), bp=bp)
    assert blocked_by(row) == (["funding_window"] if blocked else [])
    assert check(row, "funding_window").limit == "none paid within 300000 ms"


# --- what moves alike -----------------------------------------------------------------------------------------------


def alike(d: Driver, sign: int, bars: int = 300) -> None:
    """Candles of the other symbol that move as the first one's do, or against them."""
    rows = []
    for k in range(bars):
        own = wave(MONDAY - BAR * (bars - k))
        close = own.close / 2 if sign > 0 else 5_000 / own.close
        rows.append(Candle(own.open_time_ms, close, close, close, close, 1.0, 1.0))
    d.send(CandleHistory(symbol=B, interval="5m", candles=tuple(rows)))


@pytest.mark.parametrize(
    ("sign", "qty", "bars", "room"),
    [
        (1, 35, 300, "4.9"),  # 3500 held alike: 4000 fit
        (1, 37, 300, "2.9"),
        (-1, -37, 300, "2.9"),  # short in what moves against it is the same bet
        (-1, 37, 300, "4.9"),
        (1, -37, 300, "4.9"),
        (1, 37, 20, "2.9"),  # too few candles to know: alike
    ],
)
def test_the_net_of_what_moves_alike_is_limited(sign: int, qty: int, bars: int, room: str) -> None:
    held = PositionState(symbol=B, qty=Decimal(qty), entry_price=Decimal(100))
    d = Driver(symbols=(S, B), state=DurableState(positions=(held,)))
    alike(d, sign, bars)
    row = entered(d)
    assert row.qty == Decimal(room)
    assert check(row, "correlated_notional").value.endswith("with BTCUSDT")


def test_what_moves_by_itself_does_not_count() -> None:
    held = PositionState(symbol=B, qty=Decimal(39), entry_price=Decimal(100))
    d = Driver(symbols=(S, B), state=DurableState(positions=(held,)))
    rows = [msgspec.structs.replace(wave(MONDAY - BAR * (300 - k)), close=100 + (k * 31 % 17)) for k in range(300)]
    rows = [msgspec.structs.replace(c, high=120.0) for c in rows]
    d.send(CandleHistory(symbol=B, interval="5m", candles=tuple(rows)))
    assert check(entered(d), "correlated_notional").value == "490.05"


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(1, 1e6)), min_size=40, max_size=80))
def test_a_correlation_is_that_of_the_textbook_and_symmetric(prices: list[tuple[float, float]]) -> None:
    a, b = Returns(), Returns()
    for k, (p, q) in enumerate(prices):
        a.append(k, p)
        b.append(k, q)
    rho = correlation(a, b, 60)
    assert rho == correlation(b, a, 60)
    assert correlation(a, a, 60) is None or isclose(correlation(a, a, 60) or 0, 1.0)
    if rho is None:
        return
    assert -1 <= rho <= 1
    x, y = (r.newest(60).values for r in (a, b))
    if np.std(x) > 1e-6 and np.std(y) > 1e-6:
        assert isclose(rho, float(np.corrcoef(x, y)[0, 1]), abs_tol=1e-6)


def test_equity_follows_every_mark_of_what_is_held() -> None:
    held = PositionState(symbol=S, qty=Decimal(3), entry_price=Decimal(100))
    d = Driver(symbols=(S,), state=DurableState(positions=(held,)))
    for mark in (101.5, 99.25, 99.25, 103.0):
        d.send(TickerUpdated(symbol=S, ts_exchange_ms=1, last=mark, mark=mark, index=mark))
        assert d.engine.live_equity() == Decimal(10_000) + 3 * (Decimal(str(mark)) - 100)


# --- the universe ---------------------------------------------------------------------------------------------------


class Turning(Strategy):
    """Enters with the sign of the forecast; leaves when it turns."""

    def on_forecast(self, view: View, forecast: Any) -> Intent:
        long = forecast.expected_bp > 0
        if view.holding.side == "flat":
            return Intent("enter_long" if long else "enter_short", "sign")
        return Intent("hold", "same side") if long == (view.holding.side == "long") else Intent("exit", "turned")


def test_a_symbol_that_left_the_universe_is_decided_on_until_nothing_is_held_in_it() -> None:
    d = Driver(Turning, params={})
    d.enter()
    d.send(UniverseChanged(symbols=(B,), reason="volume"))
    out = only(d.forecast(-20.0), PlaceOrder)
    assert out.reduce_only
    d.fill(out, "101.00")
    assert of(d.candle(), RequestForecast) == of(d.candle(), Decision) == []
    d.send(UniverseChanged(symbols=(S, B), reason="volume"))
    assert blocked_by(decision(d.forecast(-20.0))) == []


def test_a_symbol_that_left_the_universe_gets_no_entry() -> None:
    d = Driver(EveryCandle, params={})
    d.enter()
    d.send(UniverseChanged(symbols=(B,), reason="volume"))
    row = decision(d.forecast(20.0))
    assert blocked_by(row) == ["universe"]
    assert check(row, "universe") == RiskCheck("universe", "left", "traded", "block")


# --- all of them together -------------------------------------------------------------------------------------------


@given(
    price=st.decimals("0.5", "500", places=2),
    size=st.floats(0.01, 1.0),
    equity=st.decimals(10, 100_000, places=2),
    used=st.decimals(0, 6_000, places=2),
    depth=st.decimals(0, 5_000, places=2),
)
def test_checks_never_raise_size_and_what_passes_fits_every_limit(
    price: Decimal, size: float, equity: Decimal, used: Decimal, depth: Decimal
) -> None:
    d = Driver(bars=1)
    symbol, limits = d.engine.symbols[S], d.engine.config.risk
    x = dataclasses.replace(
        exposure_of(d.engine, symbol, price, "buy", provisional=False),
        mark=price, equity=equity, available=equity, gross_notional=used, correlated_net=used, depth_notional=depth,
    )  # fmt: skip
    result = assess_entry(d.engine.config, SOL, size, x)
    notional = result.qty * price
    assert notional <= d.engine.config.order_notional * Decimal(repr(size))
    assert result.qty % SOL.lot == 0
    if result.verdict != "block":
        assert notional >= SOL.min_notional
        assert used + notional <= limits.max_gross_notional
        assert used + notional <= limits.max_correlated_notional
        assert used + notional <= equity * limits.max_leverage
        assert (used + notional) / 2 <= equity * limits.max_margin_use
        assert notional <= depth * limits.max_depth_share
    assert all(c.value and c.limit for c in result.checks)


def test_a_filled_trade_teaches_the_track_record() -> None:
    d = Driver(Turning, params={})
    d.enter(price="100.00")
    d.fill(only(d.forecast(-20.0), PlaceOrder), "99.00")
    track = d.engine.state.track
    lost = Decimal("-4.9") - Decimal("4.9") * Decimal("0.0006") * 199
    assert (track.losses, track.model_result(f"{S} lightgbm-5m v0001")) == (1, lost)


def filled(trade_id: str, side: str, qty: str, price: str) -> Filled:
    return Filled(
        trade_id=trade_id, order_id="9", client_oid="tb0-1-1-e", symbol=S, side=side,  # type: ignore[arg-type]
        price=Decimal(price), qty=Decimal(qty), fee=Decimal(0), realised=Decimal(0), maker=False, ts_exchange_ms=0,
    )  # fmt: skip


def test_a_losing_streak_ends_with_a_trade_that_earns() -> None:
    d = Driver()
    for k, price in enumerate(["99", "98", "101"]):
        d.send(filled(f"a{k}", "buy", "1", "100"))
        d.send(filled(f"b{k}", "sell", "0.5", price))
        d.send(filled(f"c{k}", "sell", "0.5", price))
        assert d.engine.state.track.losses == (k + 1 if k < 2 else 0)
