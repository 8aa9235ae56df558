"""What the engine decides, blocks, protects and remembers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal, localcontext

import msgspec
import pytest

from tests.trading.driver import BAR, LEVELS, MONDAY, SOL, TURNING, Driver, decision, of, only, wave
from tradebot.errors import ConfigError
from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    Alert,
    CancelOrder,
    CancelStop,
    CandleClosed,
    ClockMeasured,
    ClosePosition,
    Command,
    CommandOutcome,
    Decision,
    FeedStatus,
    Filled,
    ForecastReady,
    InstrumentUpdated,
    Leaving,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    Reconciled,
    RequestForecast,
    RequestReconcile,
    RiskLimits,
    SetTimer,
    StopUpdated,
    TickerUpdated,
    TimerFired,
    TradabilityChanged,
)
from tradebot.trading.exposure import obstacles
from tradebot.trading.risk import stop_distance
from tradebot.trading.state import FOLDED, recover
from tradebot.trading.strategy import Intent, Strategy, View


def blocked_by(row: Decision) -> list[str]:
    return [c.name for c in row.checks if c.verdict == "block"]


# --- deciding -------------------------------------------------------------------------------------------------------


def test_a_strong_forecast_enters_at_the_ask_with_a_preset_stop() -> None:
    d = Driver()
    commands = d.forecast(20.0)
    order, row = only(commands, PlaceOrder), decision(commands)
    assert (order.side, order.order_type, order.qty) == ("buy", "market", Decimal("4.9"))  # 500 USDT at 100.01
    assert order.preset_stop == Decimal("98.01")  # 2 % below 100.01 is 98.0098; rounded towards the entry
    assert (row.action, row.verdict, row.qty, row.client_oid) == ("enter_long", "pass", order.qty, order.client_oid)
    assert row.model_sha256 == "ab"


def test_a_weak_forecast_is_recorded_as_a_decision_not_to_act() -> None:
    d = Driver()
    commands = d.forecast(1.0)
    assert of(commands, PlaceOrder) == []
    assert decision(commands).action == "hold"


def test_every_candle_ends_in_exactly_one_decision() -> None:
    d = Driver()
    for k in range(20):
        d.forecast([-20.0, 0.0, 3.0, 20.0][k % 4])
    rows = [r for _, kind, r in d.journal if kind == "output" and isinstance(r, Decision)]
    assert len(rows) == 20
    assert len({r.decision_id for r in rows}) == 20


def test_a_forecast_after_its_deadline_is_recorded_late_and_not_traded() -> None:
    d = Driver()
    commands = d.candle()
    timer = only(commands, SetTimer)
    d.now_ms = timer.due_ms
    late = d.send(TimerFired(name=timer.name, due_ms=timer.due_ms))
    assert decision(late).reason == "forecast late"
    assert list(d.forecast(50.0, commands)) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_forecast_that_is_not_finite_blocks(value: float) -> None:
    d = Driver()
    commands = d.forecast(value)
    assert of(commands, PlaceOrder) == []
    assert "not finite" in decision(commands).reason
    assert blocked_by(decision(commands)) == ["forecast_finite"]


def test_a_forecast_made_from_other_features_is_not_traded() -> None:
    d = Driver()
    request = only(d.candle(), RequestForecast)
    commands = d.send(
        ForecastReady(
            request_id=request.request_id, symbol="SOLUSDT", model="m", version="v", model_sha256="ab",
            as_of_ms=request.as_of_ms, horizon_ms=1, row_hash="0" * 16, expected_bp=99.0, p_up=1.0, p_down=0.0,
        )
    )  # fmt: skip
    assert of(commands, PlaceOrder) == []
    assert "other features" in decision(commands).reason


def test_untrusted_market_data_stops_signals_and_resumes() -> None:
    d = Driver()
    d.send(FeedStatus(symbol="SOLUSDT", ok=False, reason="sequence gap"))
    commands = d.candle()
    assert of(commands, RequestForecast) == []
    assert "sequence gap" in decision(commands).reason
    d.send(FeedStatus(symbol="SOLUSDT", ok=True))
    assert of(d.candle(), RequestForecast) != []


def test_features_that_warm_up_ask_for_no_forecast() -> None:
    d = Driver(bars=100)
    commands = d.candle()
    assert of(commands, RequestForecast) == []
    assert decision(commands).reason == "features warming up"


def test_the_engine_repeats_itself_exactly() -> None:
    def run() -> bytes:
        d = Driver()
        for k in range(30):
            for order in of(d.forecast([20.0, 0.0, -20.0, 2.0, 7.0][k % 5]), PlaceOrder):
                d.fill(order, "100.01" if order.side == "buy" else "99.99")
        return msgspec.msgpack.encode([r for _, kind, r in d.journal if kind == "output"])

    assert run() == run()


@pytest.mark.parametrize("rounding", [ROUND_UP, ROUND_HALF_UP, ROUND_DOWN])
def test_what_a_library_does_to_the_thread_s_decimal_context_changes_nothing(rounding: str) -> None:
    def run() -> bytes:
        d = Driver(limits=RiskLimits(max_position_notional=Decimal("333.333")))
        for k in range(12):
            for order in of(d.forecast([20.0, 0.0, -20.0][k % 3]), PlaceOrder):
                d.fill(order, "100.013" if order.side == "buy" else "99.987")
        return msgspec.msgpack.encode([r for _, kind, r in d.journal if kind == "output"])

    expected = run()
    with localcontext(prec=7, rounding=rounding):
        assert run() == expected


# --- risk -----------------------------------------------------------------------------------------------------------


def test_each_condition_blocks_an_entry_by_its_own_name() -> None:
    def entry(prepare: object, **kwargs: object) -> list[str]:
        d = Driver(**kwargs)  # type: ignore[arg-type]
        prepare(d)  # type: ignore[operator]
        return blocked_by(decision(d.forecast(20.0)))

    def verified(**changes: object) -> AccountVerified:
        base = {"symbol": "SOLUSDT", "position_mode": "one_way_mode", "margin_mode": "isolated", "leverage": 2}
        return AccountVerified(**{**base, **changes})  # type: ignore[arg-type]

    def instrument(**changes: object) -> InstrumentUpdated:
        return InstrumentUpdated(instrument=msgspec.structs.replace(SOL, **changes))

    assert entry(lambda d: d.send(verified(position_mode="hedge_mode"))) == ["position_mode"]
    assert entry(lambda d: d.send(verified(margin_mode="crossed"))) == ["margin_mode"]
    assert entry(lambda d: d.send(verified(leverage=10))) == ["leverage_setting"]
    assert entry(lambda d: d.send(instrument(status="maintain"))) == ["symbol_status"]
    assert entry(lambda d: d.send(instrument(off_time_ms=MONDAY + 3_600_000))) == ["announced_stop_h"]
    assert entry(lambda d: d.send(instrument(off_time_ms=MONDAY + 48 * 3_600_000))) == []
    assert entry(lambda d: d.send(ClockMeasured(offset_ms=-1_000))) == ["clock_offset_ms"]
    assert entry(lambda d: d.send(OperatorActed(action="pause", actor="cli", symbol="SOLUSDT"))) == ["tradability"]
    assert entry(lambda d: d.send(OperatorActed(action="halt", actor="cli"))) == ["tradability"]
    assert entry(lambda d: d.send(instrument(min_notional=Decimal(501)))) == ["min_notional"]
    assert entry(lambda d: d.send(instrument(min_qty=Decimal(5)))) == ["min_qty"]
    assert entry(lambda d: None, mode="live", provisional=True) == ["model"]
    assert entry(lambda d: None, provisional=True) == []


def test_telling_what_is_in_the_way_looks_at_no_other_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked of every symbol, a few times a second, on the loop that trades: a size is measured at an entry."""
    d = Driver(symbols=("SOLUSDT", "BTCUSDT"))
    d.book(100.0)
    other = d.engine.state.portfolio.position("BTCUSDT")
    other.qty, other.cost = Decimal(1), Decimal(100)
    monkeypatch.setattr("tradebot.trading.exposure.correlation", lambda *args: pytest.fail("compared with BTCUSDT"))
    assert obstacles(d.engine, "SOLUSDT") == ()


def test_whatever_would_block_every_entry_is_told_between_two_candles() -> None:
    def told(prepare: object, **kwargs: object) -> list[str]:
        d = Driver(**kwargs)  # type: ignore[arg-type]
        d.now_ms += BAR // 2
        d.book(100.0)
        prepare(d)  # type: ignore[operator]
        return list(obstacles(d.engine, "SOLUSDT"))

    def instrument(**changes: object) -> InstrumentUpdated:
        return InstrumentUpdated(instrument=msgspec.structs.replace(SOL, **changes))

    def silence(d: Driver) -> None:
        d.now_ms += BAR
        d.send(ClockMeasured(offset_ms=3))

    def lose(d: Driver) -> None:
        d.engine.state.day_start_equity = Decimal(20_000)

    assert told(lambda d: None) == []
    assert told(lambda d: d.send(instrument(status="maintain"))) == ["symbol_status maintain (limit normal)"]
    assert told(lambda d: d.send(ClockMeasured(offset_ms=2_000))) == ["clock_offset_ms 2000 (limit 1000)"]
    assert told(lambda d: d.send(FeedStatus(symbol="SOLUSDT", ok=False, reason="gap"))) == ["gap"]
    assert told(lambda d: d.send(OperatorActed(action="pause", actor="cli", symbol="SOLUSDT"))) == [
        "tradability paused (limit active)"
    ]
    assert told(silence) == ["book_age_ms 300000 (limit 10000)", "candle_age_ms 150000 (limit 30000)"]
    assert told(lose) == ["daily_loss 0.50000 (limit 0.03)"]
    assert told(lambda d: setattr(d.engine.symbols["SOLUSDT"], "models", {})) == ["no model serves this symbol"]
    assert told(lambda d: setattr(d.engine.symbols["SOLUSDT"], "account", None)) == [
        "position_mode unverified (limit one_way_mode)",
        "margin_mode unverified (limit isolated)",
        "leverage_setting unverified (limit 2)",
    ]
    assert told(lambda d: None, mode="live", provisional=True) == ["model provisional (limit proven)"]


def test_an_unverified_account_blocks() -> None:
    d = Driver()
    d.engine.symbols["SOLUSDT"].account = None
    assert blocked_by(decision(d.forecast(20.0))) == ["position_mode", "margin_mode", "leverage_setting"]


def test_a_stale_book_blocks() -> None:
    d = Driver()
    opened = d.now_ms
    d.now_ms += BAR  # no book since the last candle
    commands = d.send(CandleClosed(symbol="SOLUSDT", interval="5m", candle=wave(opened)))
    assert blocked_by(decision(d.forecast(20.0, commands))) == ["book_age_ms"]


def test_size_shrinks_to_each_limit_and_says_so() -> None:
    limits = RiskLimits(max_position_notional=Decimal(300))
    commands = Driver(limits=limits).forecast(20.0)
    row = decision(commands)
    assert only(commands, PlaceOrder).qty == Decimal("2.9")
    assert row.verdict == "shrink"
    assert [(c.name, c.verdict) for c in row.checks if c.verdict != "pass"] == [("position_notional", "shrink")]
    small = Driver(limits=RiskLimits(max_gross_notional=Decimal(200), max_leverage=Decimal("0.01")))
    commands = small.forecast(20.0)
    assert only(commands, PlaceOrder).qty == Decimal("0.9")  # 100 USDT of leverage room at 100.01


def test_losing_the_day_s_limit_blocks_until_the_next_utc_day() -> None:
    d = Driver()
    d.send(AccountUpdated(equity=Decimal(9_600), available=Decimal(9_600), balance=Decimal(9_600)))
    assert blocked_by(decision(d.forecast(20.0))) == ["daily_loss"]
    while d.now_ms < MONDAY + 86_400_000:
        d.forecast(0.0)
    d.send(AccountUpdated(equity=Decimal(9_600), available=Decimal(9_600), balance=Decimal(9_600)))
    assert blocked_by(decision(d.forecast(20.0))) == []


def test_a_losing_trade_starts_the_cool_down() -> None:
    d = Driver(params=TURNING)
    d.enter()
    exits = only(d.forecast(-20.0), PlaceOrder)
    assert exits.reduce_only
    d.fill(exits, "99.00")
    assert blocked_by(decision(d.forecast(20.0))) == ["cooldown_ms"]
    d.forecast(0.0)
    assert blocked_by(decision(d.forecast(20.0))) == []


def test_one_entry_at_a_time() -> None:
    d = Driver()
    d.forecast(20.0)  # accepted or not: nobody has said
    assert blocked_by(decision(d.forecast(20.0))) == ["entry_working"]


def test_a_position_is_left_at_the_close_that_ends_the_forecast_s_horizon() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.now_ms += 50  # orders take a moment to act
    d.fill(order, "100.01")
    d.now_ms -= 50
    assert of(d.forecast(0.0), PlaceOrder) == []
    exits = d.forecast(0.0)
    assert only(exits, PlaceOrder).reduce_only
    assert decision(exits).reason == "held 2 candles, horizon over"


def test_a_position_that_the_forecast_confirms_is_kept_only_when_asked_for() -> None:
    for keep in (False, True):
        d = Driver(params={**LEVELS, "exits": [{"kind": "time", "horizons": 1, "renew": keep}]})
        d.enter()
        d.forecast(0.0)
        assert (of(d.forecast(20.0), PlaceOrder) == []) is keep


def test_a_forecast_that_turns_ends_a_position_early_only_when_asked_for() -> None:
    for leave in (False, True):
        d = Driver(params=TURNING if leave else LEVELS)
        d.enter()
        assert (of(d.forecast(-20.0), PlaceOrder) != []) is leave


def test_a_reason_says_when_an_entry_does_not_cover_its_cost() -> None:
    assert decision(Driver().forecast(20.0)).reason == "expected +20.00 bp >= 5.00"
    assert decision(Driver().forecast(7.0)).reason == "expected +7.00 bp >= 5.00, below the cost of 14.00"


def test_an_exit_is_allowed_while_halted_and_sent_once() -> None:
    d = Driver(params=TURNING)
    d.enter()
    d.send(OperatorActed(action="halt", actor="cli"))
    assert only(d.forecast(-20.0), PlaceOrder).reduce_only
    assert blocked_by(decision(d.forecast(-20.0))) == ["exit_working"]


def test_the_stop_is_never_beyond_60_percent_of_the_way_to_liquidation() -> None:
    assert stop_distance(Decimal("0.02"), 2, Decimal("0.005")) == Decimal("0.02")
    assert stop_distance(Decimal("0.02"), 40, Decimal("0.005")) == Decimal("0.6") * Decimal("0.02")


# --- protection -----------------------------------------------------------------------------------------------------


def stop_timer(commands: Sequence[Command]) -> SetTimer:
    (timer,) = (t for t in of(commands, SetTimer) if t.name == "stop:SOLUSDT")
    return timer


def stop_update(d: Driver, placed: PlaceStop, status: str = "live", order_id: str = "77") -> StopUpdated:
    return StopUpdated(
        order_id=order_id, client_oid=placed.client_oid, symbol="SOLUSDT", plan="psl",
        trigger_price=placed.trigger_price, status=status,
    )  # fmt: skip


def test_the_first_execution_places_the_position_stop_and_its_confirmation_cancels_the_preset() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    commands = d.fill(order, "100.01")
    placed, timer = only(commands, PlaceStop), stop_timer(commands)
    assert (placed.position_side, placed.trigger_price) == ("long", Decimal("98.01"))
    assert timer.due_ms == d.now_ms + 5_000
    d.send(
        StopUpdated(
            order_id="70", client_oid="x", symbol="SOLUSDT", plan="sl", trigger_price=Decimal("98.01"), status="live"
        )
    )
    commands = d.send(stop_update(d, placed))
    assert only(commands, CancelStop).order_id == "70"
    assert {(t.name, t.due_ms) for t in of(commands, SetTimer)} == {
        ("stop:SOLUSDT", 0), ("close:SOLUSDT", 0), ("ask:SOLUSDT", 0)
    }  # fmt: skip


def test_a_stop_that_is_not_confirmed_in_time_closes_the_position_and_then_halts() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    timer = stop_timer(d.fill(order, "100.01"))
    d.now_ms = timer.due_ms
    commands = d.send(TimerFired(name=timer.name, due_ms=timer.due_ms))
    close = only(commands, PlaceOrder)
    assert (close.reduce_only, close.purpose, close.qty) == (True, "close", order.qty)
    (again,) = (t for t in of(commands, SetTimer) if t.name == "close:SOLUSDT")
    d.now_ms = again.due_ms
    commands = d.send(TimerFired(name=again.name, due_ms=again.due_ms))
    assert only(commands, TradabilityChanged).state == "halted"
    assert of(commands, ClosePosition) != []
    assert d.engine.state.tradability == "halted"


def test_a_refused_stop_closes_at_once() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    commands = d.send(
        CommandOutcome(
            client_oid=placed.client_oid, symbol="SOLUSDT", command="place_stop", outcome="rejected", code="40917"
        )
    )
    assert only(commands, PlaceOrder).purpose == "close"


def test_a_confirmed_stop_s_timer_does_nothing() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    commands = d.fill(order, "100.01")
    placed, timer = only(commands, PlaceStop), stop_timer(commands)
    d.send(stop_update(d, placed))
    assert list(d.send(TimerFired(name=timer.name, due_ms=timer.due_ms))) == []


def test_a_stop_removed_by_someone_is_put_back() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    d.send(stop_update(d, placed))
    assert only(d.send(stop_update(d, placed, "cancelled")), PlaceStop).client_oid != placed.client_oid


def test_the_execution_of_our_own_stop_is_not_foreign() -> None:
    d = Driver()
    order = d.enter()
    d.send(
        Filled(
            trade_id="s1", order_id="500", client_oid="1471430749322903552", symbol="SOLUSDT", side="sell",
            price=Decimal("98.00"), qty=order.qty, fee=Decimal("-0.29"), realised=Decimal("-9.85"), maker=False,
            ts_exchange_ms=0,
        )
    )  # fmt: skip
    assert d.engine.state.portfolio.position("SOLUSDT").qty == 0
    assert d.engine.state.foreign == {}
    assert d.engine.state.stops == {}


# --- what is not ours -----------------------------------------------------------------------------------------------


def test_a_foreign_execution_halts_entries_until_adopted_or_ignored() -> None:
    d = Driver()
    foreign = Filled(
        trade_id="f1", order_id="500", client_oid="web-1", symbol="SOLUSDT", side="buy", price=Decimal(100),
        qty=Decimal(1), fee=Decimal(0), realised=Decimal(0), maker=False, ts_exchange_ms=0,
    )  # fmt: skip
    assert only(d.send(foreign), Alert).code == "foreign"
    assert blocked_by(decision(d.forecast(20.0))) == ["foreign_position"]
    position = PositionState(symbol="SOLUSDT", qty=Decimal(1), entry_price=Decimal(100))
    d.send(PositionsReported(positions=(position,)))
    commands = d.send(OperatorActed(action="adopt", actor="cli", symbol="SOLUSDT"))
    assert only(commands, PlaceStop).position_side == "long"
    assert d.engine.state.portfolio.position("SOLUSDT").qty == 1


def test_a_position_difference_must_be_seen_twice_before_it_is_foreign() -> None:
    d = Driver()
    other = PositionState(symbol="SOLUSDT", qty=Decimal(2), entry_price=Decimal(99))
    timer = only(d.send(PositionsReported(positions=(other,))), SetTimer)
    assert only(d.send(TimerFired(name=timer.name, due_ms=timer.due_ms)), RequestReconcile)
    view = Reconciled(positions=(other,), open_orders=(), stops=())
    assert of(d.send(view), Alert) == []
    assert blocked_by(decision(d.forecast(20.0))) == ["foreign_position"]  # being checked
    assert only(d.send(view), Alert).code == "foreign"


def test_a_difference_that_resolves_itself_is_forgotten() -> None:
    d = Driver()
    other = PositionState(symbol="SOLUSDT", qty=Decimal(2), entry_price=Decimal(99))
    d.send(Reconciled(positions=(other,), open_orders=(), stops=()))
    d.send(Reconciled(positions=(), open_orders=(), stops=()))
    assert blocked_by(decision(d.forecast(20.0))) == []


def test_a_liquidation_halts_the_symbol() -> None:
    d = Driver()
    d.enter()
    commands = d.send(
        OrderUpdated(
            client_oid="x", order_id="9", symbol="SOLUSDT", side="sell", status="filled", qty=Decimal(1),
            filled_qty=Decimal(1), forced=True,
        )
    )  # fmt: skip
    assert only(commands, TradabilityChanged).symbol == "SOLUSDT"
    assert only(commands, Alert).severity == "critical"
    assert "SOLUSDT" in d.engine.state.paused


def test_the_same_execution_counts_once() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.fill(order, "100.01", trade_id="one")
    d.fill(order, "100.01", trade_id="one")
    assert d.engine.state.portfolio.position("SOLUSDT").qty == order.qty


def test_a_funding_settlement_asks_for_the_books() -> None:
    d = Driver()

    def ticker(at: int) -> TickerUpdated:
        return TickerUpdated(symbol="SOLUSDT", ts_exchange_ms=0, last=100, mark=100, index=100, next_funding_ms=at)

    assert of(d.send(ticker(1_000)), RequestReconcile) == []
    assert of(d.send(ticker(1_000)), RequestReconcile) == []
    assert of(d.send(ticker(2_000)), RequestReconcile) != []


# --- operators ------------------------------------------------------------------------------------------------------


def test_flatten_halts_and_closes_everything() -> None:
    d = Driver()
    order = d.enter()
    commands = d.send(OperatorActed(action="flatten", actor="page"))
    close = only(commands, PlaceOrder)
    assert (close.side, close.qty, close.reduce_only) == ("sell", order.qty, True)
    assert d.engine.state.tradability == "halted"


def test_halt_cancels_working_entries_and_keeps_positions() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    assert only(d.send(OperatorActed(action="halt", actor="cli")), CancelOrder).client_oid == order.client_oid


def test_leaving_cancels_working_entries_and_nothing_else() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    assert [type(c) for c in d.send(Leaving())] == [CancelOrder]
    d.fill(order, "100.01")
    assert list(d.send(Leaving())) == []
    assert d.engine.state.tradability == "active"


# --- strategies that fail -------------------------------------------------------------------------------------------


class Raises(Strategy):
    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        raise ZeroDivisionError("one over nothing")


class Nonsense(Strategy):
    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        return Intent("enter_long", "much", size=float("nan"))


class Forgets(Strategy):
    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize("strategy", [Raises, Nonsense, Forgets])
def test_a_strategy_that_fails_is_disabled_with_an_alert_and_the_bot_goes_on(strategy: type[Strategy]) -> None:
    d = Driver(strategy, params={})
    commands = d.forecast(20.0)
    assert of(commands, PlaceOrder) == []
    assert only(commands, Alert).code == "strategy_failed"
    assert only(commands, TradabilityChanged).state == "reducing"
    assert decision(d.forecast(20.0)).reason == "strategy disabled"


def test_a_misspelt_parameter_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="entry_lnog_bp"):
        Driver(params={"entry_lnog_bp": 3.0})


def test_a_parameter_out_of_range_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="entry_long_bp"):
        Driver(params={"entry_long_bp": -3.0})


# --- surviving ------------------------------------------------------------------------------------------------------


def test_folding_the_journal_rebuilds_the_state_at_every_point() -> None:
    d = Driver()
    d.enter()
    d.forecast(0.0)
    for order in of(d.forecast(-20.0), PlaceOrder):
        d.fill(order, "99.00")
    d.forecast(20.0)
    d.send(OperatorActed(action="halt", actor="cli", reason="night"))
    folded = recover(((ts, r) for ts, _, r in d.journal), cooldown_ms=RiskLimits().cooldown_ms)
    assert folded.snapshot() == d.engine.state.snapshot()
    assert folded.tradability == "halted"
    assert folded.halt_reason == "cli: night"


def test_a_restarted_engine_continues_from_the_restored_state() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    d.send(stop_update(d, placed))
    restored = Driver(state=d.engine.state.snapshot())
    assert restored.engine.state.portfolio.position("SOLUSDT").qty == order.qty
    restored.now_ms += BAR * 3
    restored.book(100.0)
    assert restored.engine.state.snapshot() == d.engine.state.snapshot()


def test_folding_only_the_records_it_names_gives_the_same_state() -> None:
    d = Driver()
    d.enter()
    d.forecast(0.0)
    d.send(OperatorActed(action="pause", actor="cli", symbol="SOLUSDT"))
    everything = recover(((ts, r) for ts, _, r in d.journal), cooldown_ms=1)
    folded = recover(((ts, r) for ts, _, r in d.journal if isinstance(r, FOLDED)), cooldown_ms=1)
    assert folded.snapshot() == everything.snapshot()


def test_ranked_entries_act_on_the_strongest_forecasts_of_the_day_only() -> None:
    d = Driver(params={"entry_long_bp": 50.0, "entry_short_bp": 50.0, "entry_rank": 0.98})
    for k in range(150):
        assert decision(d.forecast(0.01 * (k % 100))).action == "hold" or k >= 100
    assert decision(d.forecast(0.5)).action == "hold"
    entered = d.forecast(3.0)
    assert decision(entered).action == "enter_long"
    d.fill(only(entered, PlaceOrder), "100.01")
