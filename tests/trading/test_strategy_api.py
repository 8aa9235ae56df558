"""What a strategy is shown and asked, and how what it wants is carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from tests.trading.driver import BAR, Driver, decision, of, only, wave
from tradebot.errors import ConfigError
from tradebot.events import (
    AccountHeard,
    BookSampled,
    CancelOrder,
    CandleClosed,
    ClosePosition,
    Command,
    CommandOutcome,
    Decision,
    DurableState,
    FeedStatus,
    Filled,
    ForecastFailed,
    ForecastReady,
    Leaving,
    ModelRef,
    ModelSwapped,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionState,
    Reconciled,
    RequestForecast,
    RequestReconcile,
    RiskLimits,
    SetTimer,
    StopUpdated,
    TickerUpdated,
    TimerFired,
    UniverseChanged,
)
from tradebot.features.catalogue import NAMES
from tradebot.trading.exposure import exposure_of
from tradebot.trading.strategy import Intent, Strategy, View

SLOW = RiskLimits(cooldown_ms=1)
Answer = Callable[[View], Intent | None]


def listening(**hooks: Answer) -> type[Strategy]:
    """A strategy whose hooks answer by the given functions of the view and remember what they were asked."""

    def made(name: str, answer: Answer) -> Callable[..., Intent | None]:
        def hook(self: Any, view: View, *about: object) -> Intent | None:
            self.heard.append((name, view, *about))
            return answer(view)

        return hook

    def init(self: Any, params: object) -> None:
        Strategy.__init__(self, params)
        self.heard = []

    members = {name: made(name, answer) for name, answer in hooks.items()}
    return type("Listening", (Strategy,), {"__init__": init, **members})


def heard(d: Driver, hook: str) -> list[Any]:
    return [(view, *about) for name, view, *about in d.engine.decisions.strategy.heard if name == hook]  # type: ignore[union-attr]


def nothing(view: View) -> None:
    return None


def hold(view: View) -> Intent:
    return Intent("hold", "waiting")


def always(intent: Intent) -> Answer:
    return lambda view: intent


def row(d: Driver, sizes: tuple[float, float] = (300.0, 200.0)) -> Sequence[Command]:
    d.now_ms += 1_000
    return d.send(
        BookSampled(
            symbol="SOLUSDT", boundary_ms=d.now_ms, age_ms=10, bid_px=(99.99,), bid_sz=sizes[:1], ask_px=(100.01,),
            ask_sz=sizes[1:],
        )
    )  # fmt: skip


def canceled(d: Driver, order: PlaceOrder, filled: str = "0") -> Sequence[Command]:
    return d.send(
        OrderUpdated(
            client_oid=order.client_oid, order_id="7", symbol=order.symbol, side=order.side, status="canceled",
            qty=order.qty, filled_qty=Decimal(filled),
        )
    )  # fmt: skip


def fire(d: Driver, timer: SetTimer) -> Sequence[Command]:
    d.now_ms = max(d.now_ms, timer.due_ms)
    return d.send(TimerFired(name=timer.name, due_ms=timer.due_ms))


def timer(commands: Sequence[Command], start: str) -> SetTimer:
    found = [t for t in of(commands, SetTimer) if t.name.startswith(start) and t.due_ms]
    assert len(found) == 1, commands
    return found[0]


# --- the view -------------------------------------------------------------------------------------------------------


def test_the_view_shows_market_features_account_and_models() -> None:
    d = Driver(listening(on_forecast=hold), params={})
    d.send(
        TickerUpdated(
            symbol="SOLUSDT", ts_exchange_ms=1, last=100, mark=100.5, index=100, funding_rate=0.0001,
            next_funding_ms=d.now_ms + 900_000,
        )
    )  # fmt: skip
    row(d)
    d.forecast(3.0)
    view, forecast = heard(d, "on_forecast")[0]
    market = view.market
    assert (market.bid, market.ask, market.bid_size, market.mark) == (99.99, 100.01, 50.0, 100.5)
    assert (market.funding_rate, market.next_funding_ms - view.now_ms) == (0.0001, 900_000 - BAR)
    assert (market.tick, market.mid) == (0.01, 100.0)
    assert market.book is not None
    assert market.book.bid_sz == (300.0,)
    assert market.candle == wave(view.now_ms - BAR)
    features = d.engine.symbols["SOLUSDT"].last_close_ms - BAR
    assert features == market.candle.open_time_ms
    assert view.row("hour_sin") == view.features[NAMES.index("hour_sin")]
    assert view.account.equity == 10_000
    assert view.account.available == 10_000
    assert list(view.models) == ["lightgbm-5m"] == list(view.forecasts)
    assert view.forecasts["lightgbm-5m"] == forecast
    assert view.model is view.models["lightgbm-5m"]
    assert view.taker_cost_bp == pytest.approx(12.0 + 2.0)
    assert view.maker_cost_bp == pytest.approx(4.0)


def test_nothing_in_the_view_can_be_changed() -> None:
    d = Driver(listening(on_forecast=hold), params={})
    d.forecast(3.0)
    view, forecast = heard(d, "on_forecast")[0]
    for thing, name in ((view, "now_ms"), (view.market, "bid"), (view.holding, "qty"), (view.account, "equity")):
        with pytest.raises(AttributeError):
            setattr(thing, name, 0)
    with pytest.raises(TypeError):
        view.forecasts["x"] = forecast
    with pytest.raises(TypeError):
        view.models["x"] = None


def test_features_are_none_while_they_warm_up_and_an_unknown_one_is_an_error() -> None:
    d = Driver(listening(on_candle=nothing), params={}, bars=10)
    d.candle()
    (view,) = heard(d, "on_candle")[0]
    assert view.features is None
    assert view.row("rsi_14") is None
    with pytest.raises(LookupError, match="no feature 'rsi_15'"):
        view.row("rsi_15")


def test_as_many_candles_as_asked_for_are_shown_read_only() -> None:
    strategy = listening(on_candle=nothing)
    strategy.lookback = 5
    d = Driver(strategy, params={}, bars=20)
    d.candle()
    (view,) = heard(d, "on_candle")[0]
    window = view.market.candles
    assert list(window.open_time_ms) == [d.now_ms - BAR * k for k in (5, 4, 3, 2, 1)]
    assert window.close[-1] == view.market.candle.close
    with pytest.raises(ValueError, match="read-only"):
        window.close[-1] = 0.0


def test_the_best_and_worst_of_a_position_are_those_of_marks_and_later_candles() -> None:
    def ticker(mark: float) -> None:
        d.send(TickerUpdated(symbol="SOLUSDT", ts_exchange_ms=1, last=mark, mark=mark, index=mark))

    def candle(low: float, high: float, close: float) -> None:
        opened = d.now_ms // BAR * BAR
        d.now_ms = opened + BAR
        bar = msgspec.structs.replace(wave(opened), open=close, low=low, high=high, close=close)
        d.send(CandleClosed(symbol="SOLUSDT", interval="5m", candle=bar))

    d = Driver(listening(on_forecast=always(Intent("enter_long", "go")), on_candle=nothing, on_book=nothing), params={})
    d.now_ms += 10_000
    order = only(d.forecast(9.0), PlaceOrder)
    d.now_ms += 10_000
    d.fill(order, "100.00")
    row(d)
    first = heard(d, "on_book")[-1][0].holding
    assert (first.unrealised_bp, first.best_bp, first.worst_bp) == (0.0, 0.0, 0.0)
    ticker(101.0)
    ticker(100.2)
    row(d)
    seen = heard(d, "on_book")[-1][0].holding
    assert (round(seen.unrealised_bp), round(seen.best_bp), round(seen.worst_bp)) == (20, 100, 20)
    candle(low=90.0, high=110.0, close=100.4)  # what came before the entry counts for nothing
    row(d)
    seen = heard(d, "on_book")[-1][0].holding
    assert (round(seen.best_bp), round(seen.worst_bp)) == (100, 20)
    candle(low=99.0, high=102.0, close=100.5)
    row(d)
    seen = heard(d, "on_book")[-1][0].holding
    assert (round(seen.best_bp), round(seen.worst_bp), seen.candles) == (200, -100, 2)


def test_a_restart_finds_the_best_and_worst_of_a_position_in_the_candles() -> None:
    opened = PositionState(
        symbol="SOLUSDT", qty=Decimal(-2), entry_price=Decimal(100), opened_ms=1_767_571_200_000 - 3 * BAR + 7
    )
    d = Driver(listening(on_book=nothing), params={}, state=DurableState(positions=(opened,)))
    row(d)
    holding = heard(d, "on_book")[-1][0].holding
    after = [wave(1_767_571_200_000 - BAR * k) for k in (2, 1)]
    entered = wave(1_767_571_200_000 - 3 * BAR)
    lowest = min(entered.close, *(c.low for c in after))
    highest = max(entered.close, 100.0, *(c.high for c in after))
    assert holding.best_bp == pytest.approx((1 - lowest / 100) * 1e4)
    assert holding.worst_bp == pytest.approx((1 - highest / 100) * 1e4)


# --- hooks ----------------------------------------------------------------------------------------------------------


def test_a_hook_that_is_not_defined_is_never_asked_and_no_view_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    d = Driver(listening(on_forecast=hold), params={})
    real = d.engine.live_equity
    monkeypatch.setattr(d.engine, "live_equity", lambda: made.append(1) or real())
    before = len(made)
    row(d)
    d.send(TimerFired(name="strategy:SOLUSDT:x", due_ms=1))
    assert len(made) == before
    assert heard(d, "on_forecast") == []


def test_each_hook_is_asked_when_its_moment_comes() -> None:
    d = Driver(
        listening(on_candle=nothing, on_book=nothing, on_fill=nothing, on_disconnect=nothing, on_timer=nothing),
        params={},
    )
    d.candle()
    row(d)
    d.send(FeedStatus(symbol="SOLUSDT", ok=False, reason="sequence gap"))
    d.send(FeedStatus(symbol="SOLUSDT", ok=False, reason="still"))
    d.send(FeedStatus(symbol="SOLUSDT", ok=True))
    d.send(AccountHeard(up=False))
    d.send(AccountHeard(up=False))
    d.send(TimerFired(name="strategy:SOLUSDT:alarm:7", due_ms=1))
    assert len(heard(d, "on_candle")) == len(heard(d, "on_book")) == 1
    assert [reason for _, reason in heard(d, "on_disconnect")] == ["sequence gap", "private stream lost"]
    assert [name for _, name in heard(d, "on_timer")] == ["alarm:7"]


def test_a_fill_is_heard_once_with_the_position_after_it() -> None:
    d = Driver(listening(on_forecast=always(Intent("enter_long", "go")), on_fill=nothing), params={})
    order = only(d.forecast(1.0), PlaceOrder)
    d.fill(order, "100.01", trade_id="one")
    d.fill(order, "100.01", trade_id="one")
    ((view, fill),) = heard(d, "on_fill")
    assert isinstance(fill, Filled)
    assert (view.holding.qty, fill.trade_id) == (order.qty, "one")


def test_a_timer_that_an_intent_asked_for_comes_back_by_its_name() -> None:
    d = Driver(listening(on_candle=always(Intent("hold", "later", timer=("look", 4_000))), on_timer=hold), params={})
    asked = timer(d.candle(), "strategy:")
    assert asked.due_ms == d.now_ms + 4_000
    fired = fire(d, asked)
    assert [name for _, name in heard(d, "on_timer")] == ["look"]
    assert (decision(fired).hook, decision(fired).reason) == ("on_timer", "waiting")


def test_none_between_two_candles_is_nothing_and_a_hold_is_a_decision() -> None:
    d = Driver(listening(on_book=nothing), params={})
    assert of(row(d), Decision) == []
    d = Driver(listening(on_book=hold), params={})
    assert (decision(row(d)).action, decision(row(d)).hook) == ("hold", "on_book")


def test_a_strategy_without_on_forecast_asks_no_model_and_may_enter_at_a_candle() -> None:
    d = Driver(listening(on_candle=always(Intent("enter_short", "rule"))), params={})
    commands = d.candle()
    assert of(commands, RequestForecast) == []
    assert only(commands, PlaceOrder).side == "sell"
    made = decision(commands)
    assert (made.hook, made.reason, made.model, made.models) == ("on_candle", "rule", "", ())


def test_a_candle_of_a_strategy_that_wants_nothing_is_a_decision_all_the_same() -> None:
    d = Driver(listening(on_candle=nothing), params={})
    made = decision(d.candle())
    assert (made.action, made.verdict, made.reason) == ("hold", "pass", "nothing to do")


def test_a_strategy_that_acts_on_forecasts_enters_between_candles_while_there_is_one() -> None:
    d = Driver(listening(on_forecast=hold, on_book=always(Intent("enter_long", "lean"))), params={})
    refused = decision(row(d))
    assert (refused.action, refused.reason) == ("hold", "no entry without a forecast (lean)")
    d.forecast(3.0)
    commands = row(d)
    assert only(commands, PlaceOrder).side == "buy"
    assert decision(commands).expected_bp == 3.0
    d.candle()  # its forecast is awaited: the last one is over
    assert decision(row(d)).action == "hold"


def test_an_entry_between_two_candles_is_not_late() -> None:
    d = Driver(listening(on_candle=nothing, on_book=always(Intent("enter_long", "lean"))), params={})
    d.candle()
    d.now_ms += 200_000
    d.book(100.0)
    commands = row(d)
    assert decision(commands).verdict == "pass"
    d.now_ms += 200_000  # the next candle is overdue by more than a decision may be late
    d.book(100.0)
    blocked = [c.name for c in decision(row(d)).checks if c.verdict == "block"]
    assert "candle_age_ms" in blocked


# --- several models -------------------------------------------------------------------------------------------------


def swap(d: Driver, name: str, provisional: bool = False) -> None:
    ref = ModelRef(
        symbol="SOLUSDT", name=name, version="v0007", sha256=f"sha-{name}", schema_hash="cd", horizon_ms=2 * BAR,
        provisional=provisional,
    )  # fmt: skip
    d.send(ModelSwapped(ref=ref))


def ready(request: RequestForecast, expected_bp: float) -> ForecastReady:
    return ForecastReady(
        request_id=request.request_id, symbol=request.symbol, model=request.model, version="v0007",
        model_sha256=f"sha-{request.model}", as_of_ms=request.as_of_ms, horizon_ms=2 * BAR, row_hash=request.row_hash,
        expected_bp=expected_bp, p_up=0.5, p_down=0.2,
    )  # fmt: skip


def three(d: Driver) -> list[RequestForecast]:
    swap(d, "logistic")
    swap(d, "tree", provisional=True)
    requests = of(d.candle(), RequestForecast)
    assert [r.model for r in requests] == ["lightgbm-5m", "logistic", "tree"]
    assert len({r.request_id for r in requests}) == 3
    assert len({r.row for r in requests}) == 1
    return requests


def test_a_strategy_is_asked_once_when_every_model_has_answered() -> None:
    d = Driver(listening(on_forecast=hold), params={})
    first, second, third = three(d)
    assert of(d.send(ready(third, 3.0)), Decision) == []
    assert of(d.send(ready(first, 1.0)), Decision) == []
    made = decision(d.send(ready(second, 2.0)))
    ((view, forecast),) = heard(d, "on_forecast")
    assert forecast.expected_bp == 1.0  # the first in order, whichever came first
    assert {name: f.expected_bp for name, f in view.forecasts.items()} == {
        "lightgbm-5m": 1.0, "logistic": 2.0, "tree": 3.0,
    }  # fmt: skip
    assert [(a.model, a.sha256, a.expected_bp, a.missing) for a in made.models] == [
        ("lightgbm-5m", "sha-lightgbm-5m", 1.0, ""),
        ("logistic", "sha-logistic", 2.0, ""),
        ("tree", "sha-tree", 3.0, ""),
    ]
    assert (made.model, made.expected_bp, made.row_hash) == ("lightgbm-5m", 1.0, first.row_hash)


def test_a_model_that_fails_or_is_late_is_named_and_the_others_decide() -> None:
    d = Driver(listening(on_forecast=hold), params={})
    first, second, third = three(d)
    d.send(ForecastFailed(request_id=first.request_id, symbol="SOLUSDT", reason="broken"))
    d.send(ready(second, 2.0))
    d.now_ms += 2_000
    made = decision(d.send(TimerFired(name="forecast:SOLUSDT", due_ms=d.now_ms)))
    ((_, forecast),) = heard(d, "on_forecast")
    assert forecast.model == "logistic"
    assert made.reason == "waiting, without lightgbm-5m (forecast failed: broken), without tree (forecast late)"
    assert [a.missing for a in made.models] == ["forecast failed: broken", "", "forecast late"]
    assert list(d.send(ready(third, 9.0))) == []


def test_a_candle_that_no_model_answers_says_why_for_each() -> None:
    d = Driver(listening(on_forecast=hold), params={})
    first, second, third = three(d)
    for request, why in ((first, "broken"), (second, "broken"), (third, "gone")):
        last = d.send(ForecastFailed(request_id=request.request_id, symbol="SOLUSDT", reason=why))
    assert decision(last).reason == (
        "lightgbm-5m: forecast failed: broken; logistic: forecast failed: broken; tree: forecast failed: gone"
    )
    assert heard(d, "on_forecast") == []


def test_one_forecast_that_is_not_finite_blocks_whatever_the_others_say() -> None:
    d = Driver(listening(on_forecast=always(Intent("enter_long", "go"))), params={})
    first, second, third = three(d)
    d.send(ready(first, 50.0))
    d.send(ready(second, float("nan")))
    commands = d.send(ready(third, 50.0))
    assert of(commands, PlaceOrder) == []
    assert decision(commands).verdict == "block"
    assert heard(d, "on_forecast") == []


def test_an_entry_is_provisional_when_one_of_its_models_is() -> None:
    d = Driver(listening(on_forecast=always(Intent("enter_long", "go"))), params={}, mode="live")
    swap(d, "tree", provisional=True)
    first, second = of(d.candle(), RequestForecast)
    d.send(ready(first, 50.0))
    made = decision(d.send(msgspec.structs.replace(ready(second, 50.0), provisional=True)))
    assert [c.name for c in made.checks if c.verdict == "block"] == ["model"]


def test_an_entry_that_no_model_had_a_part_in_is_neither_proven_nor_provisional() -> None:
    d = Driver(listening(on_candle=always(Intent("enter_long", "go"))), params={}, mode="live")
    made = decision(d.candle())
    assert [(c.value, c.verdict) for c in made.checks if c.name == "model"] == [("none", "pass")]


def test_the_configured_order_counts_and_a_model_that_does_not_serve_is_named() -> None:
    d = Driver(listening(on_forecast=hold), params={}, models=("tree", "deep", "lightgbm-5m"))
    swap(d, "tree")
    requests = of(d.candle(), RequestForecast)
    assert [r.model for r in requests] == ["tree", "lightgbm-5m"]
    for request in requests:
        last = d.send(ready(request, 1.0))
    assert decision(last).model == "tree"
    assert {a.model: a.missing for a in decision(last).models}["deep"] == "does not serve"
    assert "without deep (does not serve)" in decision(last).reason


# --- orders ---------------------------------------------------------------------------------------------------------


def test_the_stop_that_a_strategy_wants_is_used_where_it_is_closer_and_outlives_a_restart() -> None:
    d = Driver(listening(on_candle=always(Intent("enter_long", "go", stop_bp=50.0))), params={})
    order = only(d.candle(), PlaceOrder)
    assert (order.preset_stop, order.stop_distance) == (Decimal("99.51"), Decimal("0.005"))
    stop = only(d.fill(order, "100.00"), PlaceStop)
    assert stop.trigger_price == Decimal("99.50")
    restored = Driver(listening(on_candle=nothing), params={}, state=d.engine.state.snapshot())
    again = restored.send(Reconciled(positions=(), open_orders=(), stops=(), asked_ms=0))
    assert [s.trigger_price for s in of(again, PlaceStop)] in ([], [Decimal("99.50")])
    assert restored.engine.state.stop_distances == {"SOLUSDT": Decimal("0.005")}


def test_a_stop_further_away_than_risk_allows_is_risks_own() -> None:
    d = Driver(listening(on_candle=always(Intent("enter_short", "go", stop_bp=900.0))), params={})
    order = only(d.candle(), PlaceOrder)
    assert order.preset_stop == Decimal("101.98")  # 2 % above the bid of 99.99
    assert only(d.fill(order, "99.99"), PlaceStop).trigger_price == Decimal("101.98")


def test_a_stop_closer_than_a_tick_stands_one_tick_away() -> None:
    d = Driver(listening(on_candle=always(Intent("enter_long", "go", stop_bp=0.001))), params={})
    assert only(d.candle(), PlaceOrder).preset_stop == Decimal("100.00")


def test_the_next_position_does_not_inherit_the_distance_of_the_last() -> None:
    answers = iter([Intent("enter_long", "go", stop_bp=50.0), Intent("exit", "out"), Intent("enter_long", "go")])
    d = Driver(listening(on_candle=lambda view: next(answers)), params={}, limits=SLOW)
    d.fill(only(d.candle(), PlaceOrder), "100.01")
    d.fill(only(d.candle(), PlaceOrder), "100.30")
    stop = only(d.fill(only(d.candle(), PlaceOrder), "100.01"), PlaceStop)
    assert stop.trigger_price == Decimal("98.01")


@pytest.mark.parametrize(("action", "profit"), [("enter_long", "100.52"), ("enter_short", "99.49")])
def test_a_take_profit_travels_with_the_entry(action: Any, profit: str) -> None:
    d = Driver(listening(on_candle=always(Intent(action, "go", take_profit_bp=50.0))), params={})
    assert only(d.candle(), PlaceOrder).preset_take_profit == Decimal(profit)


def test_an_execution_of_the_take_profit_is_ours() -> None:
    d = Driver(listening(on_candle=always(Intent("enter_long", "go", take_profit_bp=50.0))), params={})
    order = only(d.candle(), PlaceOrder)
    d.fill(order, "100.01")

    def plan(status: str) -> StopUpdated:
        return StopUpdated(
            order_id="900", client_oid="x900", symbol="SOLUSDT", plan="profit_plan",
            trigger_price=Decimal("100.52"), status=status,
        )  # fmt: skip

    d.engine.state.stops.clear()  # even where nothing else protects
    d.send(plan("live"))
    d.send(plan("executing"))
    commands = d.send(
        Filled(
            trade_id="tp", order_id="901", client_oid="901", symbol="SOLUSDT", side="sell", price=Decimal("100.52"),
            qty=order.qty, fee=Decimal(0), realised=Decimal(0), maker=False, ts_exchange_ms=d.now_ms,
        )
    )  # fmt: skip
    assert d.engine.state.portfolio.position("SOLUSDT").qty == 0
    assert d.engine.state.foreign == {}
    assert d.engine.state.triggers.claimed == {}
    assert of(commands, PlaceOrder) == []


MAKER = Intent("enter_long", "patient", order="maker", offset_ticks=2, wait_ms=3_000, fallback="market")


def resting(d: Driver) -> tuple[PlaceOrder, SetTimer]:
    commands = d.candle()
    return only(commands, PlaceOrder), timer(commands, "maker:")


def test_a_maker_entry_rests_behind_the_touch_with_its_protection() -> None:
    d = Driver(listening(on_candle=always(msgspec.structs.replace(MAKER, take_profit_bp=50.0))), params={})
    order, patience = resting(d)
    assert (order.order_type, order.tif, order.price) == ("limit", "post_only", Decimal("99.97"))
    assert (order.preset_stop, order.preset_take_profit) == (Decimal("97.98"), Decimal("100.47"))
    assert patience.due_ms == d.now_ms + 3_000
    assert order.qty * Decimal("99.97") <= 500


@pytest.mark.parametrize(("fallback", "filled", "left"), [("market", "1.9", "3.0"), ("cancel", "1.9", None)])
def test_what_a_maker_entry_leaves_falls_back_once_it_is_gone(fallback: Any, filled: str, left: str | None) -> None:
    answers = iter([msgspec.structs.replace(MAKER, fallback=fallback)])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order, patience = resting(d)
    d.fill(order, "99.97", Decimal(filled))
    asked = fire(d, patience)
    assert only(asked, CancelOrder).client_oid == order.client_oid
    assert of(asked, PlaceOrder) == []  # a fill may still win
    commands = canceled(d, order, filled)
    found = of(commands, PlaceOrder)
    assert [(o.order_type, o.qty, o.side) for o in found] == ([("market", Decimal(left), "buy")] if left else [])
    assert [r.hook for r in of(commands, Decision)] == (["fallback"] if left else [])
    assert list(canceled(d, order, filled)) == []  # told twice, done once


def test_a_post_only_order_that_would_have_taken_falls_back_at_once() -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order, _ = resting(d)
    commands = canceled(d, order)
    assert only(commands, PlaceOrder).order_type == "market"
    assert decision(commands).reason == "resting order left: patient"


def test_a_maker_order_that_was_filled_in_time_does_nothing_more() -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order, patience = resting(d)
    done = d.fill(order, "99.97")
    assert [t.due_ms for t in of(done, SetTimer) if t.name == patience.name] == [0]
    assert list(fire(d, patience)) == []


def test_a_fallback_passes_risk_anew() -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order, _ = resting(d)
    d.send(FeedStatus(symbol="OTHER", ok=True))
    d.engine.state.paused.add("SOLUSDT")
    commands = canceled(d, order)
    assert of(commands, PlaceOrder) == []
    assert decision(commands).verdict == "block"


def test_a_refused_maker_order_does_not_fall_back() -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order, _ = resting(d)
    refused = CommandOutcome(
        client_oid=order.client_oid, symbol="SOLUSDT", command="place", outcome="rejected", code="40762"
    )
    assert of(d.send(refused), PlaceOrder) == []


def test_a_cancellation_that_nobody_confirms_is_asked_about() -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    _, patience = resting(d)
    again = timer(fire(d, patience), "maker:")
    assert only(fire(d, again), RequestReconcile)


def alive(d: Driver, order: PlaceOrder) -> OrderUpdated:
    return OrderUpdated(
        client_oid=order.client_oid, order_id="7", symbol="SOLUSDT", side=order.side, status="live", qty=order.qty,
        filled_qty=Decimal(0),
    )  # fmt: skip


def looked(d: Driver, *resting: OrderUpdated) -> Sequence[Command]:
    """The whole view, two seconds later."""
    d.now_ms += 2_000
    held = d.engine.state.portfolio.snapshot()
    return d.send(Reconciled(positions=held, open_orders=resting, stops=(), asked_ms=d.now_ms))


@pytest.mark.parametrize("answer", ["unknown", "rejected"])
@pytest.mark.parametrize(
    "event", [None, OperatorActed(action="halt", actor="cli"), FeedStatus(symbol="SOLUSDT", ok=False)]
)
def test_a_cancellation_that_was_lost_or_refused_is_sent_again(answer: Any, event: Any) -> None:
    """Else an order that was to rest for seconds is filled hours later, whoever halts."""
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1)
    order, patience = resting(d)
    d.send(alive(d, order))
    first = fire(d, patience) if event is None else d.send(event)
    assert only(first, CancelOrder).client_oid == order.client_oid
    d.send(CommandOutcome(client_oid=order.client_oid, symbol="SOLUSDT", command="cancel", outcome=answer, code="429"))
    for _ in range(3):
        assert only(looked(d, alive(d, order)), CancelOrder).client_oid == order.client_oid
    assert len(of(canceled(d, order), PlaceOrder)) == (event is None)
    assert of(looked(d), CancelOrder) == []


def test_a_halt_repeats_a_cancellation_that_was_lost() -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1)
    order, patience = resting(d)
    d.send(alive(d, order))
    fire(d, patience)
    d.now_ms += 10_000
    assert only(d.send(OperatorActed(action="halt", actor="cli")), CancelOrder).client_oid == order.client_oid
    assert of(canceled(d, order), PlaceOrder) == []


@pytest.mark.parametrize(
    "event",
    [
        FeedStatus(symbol="SOLUSDT", ok=False, reason="gap"),
        AccountHeard(up=False),
        OperatorActed(action="halt", actor="cli"),
        OperatorActed(action="flatten", actor="cli"),
        Leaving(),
        UniverseChanged(symbols=(), reason="left"),
        Filled(
            trade_id="f",
            order_id="999",
            client_oid="web-1",
            symbol="SOLUSDT",
            side="buy",
            price=Decimal(100),
            qty=Decimal(1),
            fee=Decimal(0),
            realised=Decimal(0),
            maker=False,
            ts_exchange_ms=1,
        ),
    ],
)
def test_nothing_rests_unheard_or_unwanted(event: Any) -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order, _ = resting(d)
    assert only(d.send(event), CancelOrder).client_oid == order.client_oid
    assert of(canceled(d, order), PlaceOrder) == []


def test_an_exit_withdraws_an_entry_that_still_rests() -> None:
    answers = iter([MAKER, Intent("exit", "changed my mind")])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order, _ = resting(d)
    commands = d.candle()
    assert only(commands, CancelOrder).client_oid == order.client_oid
    assert (decision(commands).verdict, decision(commands).qty) == ("pass", 0)
    assert of(canceled(d, order), PlaceOrder) == []


def test_what_rests_from_an_earlier_run_is_cancelled() -> None:
    d = Driver(listening(on_candle=always(MAKER)), params={})
    order, _ = resting(d)
    live = OrderUpdated(
        client_oid=order.client_oid, order_id="7", symbol="SOLUSDT", side="buy", status="live", qty=order.qty,
        filled_qty=Decimal(0),
    )  # fmt: skip
    d.send(live)
    view = Reconciled(positions=(), open_orders=(live,), stops=(), asked_ms=d.now_ms)
    assert of(d.send(view), CancelOrder) == []  # it is this run's
    later = Driver(listening(on_candle=nothing), params={}, state=d.engine.state.snapshot())
    assert only(later.send(view), CancelOrder).client_oid == order.client_oid


def leaving(d: Driver) -> PlaceOrder:
    """A maker exit of a long position of 4.9 that rests."""
    d.fill(only(d.candle(), PlaceOrder), "100.01")
    exit_order = only(d.candle(), PlaceOrder)
    assert (exit_order.price, exit_order.tif, exit_order.reduce_only) == (Decimal("100.01"), "post_only", True)
    return exit_order


PATIENT_EXIT = Intent("exit", "out", order="maker", wait_ms=4_000, fallback="market")


def test_a_maker_exit_takes_the_market_for_what_is_left_of_the_position() -> None:
    answers = iter([Intent("enter_long", "go"), PATIENT_EXIT])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order = leaving(d)
    d.fill(order, "100.01", Decimal("1.0"))
    d.now_ms += 4_000
    d.send(TimerFired(name=f"maker:{order.client_oid}", due_ms=d.now_ms))
    rest = only(canceled(d, order, "1.0"), PlaceOrder)
    assert (rest.order_type, rest.qty, rest.reduce_only) == ("market", Decimal("3.9"), True)


def test_a_maker_exit_that_is_refused_goes_at_market() -> None:
    """The position is to be left, whatever was wrong with resting."""
    answers = iter([Intent("enter_long", "go"), PATIENT_EXIT])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1)
    order = leaving(d)
    refused = CommandOutcome(
        client_oid=order.client_oid, symbol="SOLUSDT", command="place", outcome="rejected", code="40762"
    )
    assert only(d.send(refused), PlaceOrder).order_type == "market"


def test_dust_is_flash_closed_by_a_maker_exit_too() -> None:
    answers = iter([Intent("enter_long", "go"), PATIENT_EXIT])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1)
    entry = only(d.candle(), PlaceOrder)
    d.fill(entry, "100.01", Decimal("0.03"))
    canceled(d, entry, "0.03")
    commands = d.candle()
    assert of(commands, PlaceOrder) == []
    assert only(commands, ClosePosition).symbol == "SOLUSDT"


def test_a_market_exit_hurries_the_one_that_rests() -> None:
    patient = msgspec.structs.replace(PATIENT_EXIT, fallback="cancel")
    answers = iter([Intent("enter_long", "go"), patient, patient, Intent("exit", "now")])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order = leaving(d)
    assert decision(d.candle()).verdict == "block"  # another patient one changes nothing
    commands = d.candle()
    assert only(commands, CancelOrder).client_oid == order.client_oid
    assert of(commands, PlaceOrder) == []  # two exits at a time would be one too many
    assert decision(commands).verdict == "pass"
    assert only(canceled(d, order), PlaceOrder).qty == Decimal("4.9")


def test_hurrying_an_exit_sends_no_entry_to_the_market() -> None:
    """An entry and an exit rest; who wants to be out now wants nothing more in."""
    wanted = [Intent("enter_long", "go"), PATIENT_EXIT, MAKER, Intent("exit", "now")]
    answers = iter(wanted)
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1)
    leaving(d)
    entry = only(d.candle(), PlaceOrder)
    assert entry.purpose == "entry"
    assert entry.client_oid in [c.client_oid for c in of(d.candle(), CancelOrder)]
    assert of(canceled(d, entry), PlaceOrder) == []


def test_a_fallback_leaves_out_what_was_executed_and_not_heard_of_yet() -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1)
    order, patience = resting(d)
    d.fill(order, "99.97", Decimal("1.0"))
    fire(d, patience)
    rest = only(canceled(d, order, "4.0"), PlaceOrder)
    assert rest.qty <= order.qty - Decimal("4.0")


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_an_entry_that_rests_is_exposure_already(side: Any, sign: int) -> None:
    answers = iter([MAKER])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1, symbols=("SOLUSDT", "BTCUSDT"))
    order, _ = resting(d)
    d.fill(order, "99.97", Decimal("1.0"))
    seen = exposure_of(d.engine, d.engine.symbols["BTCUSDT"], Decimal(50), side, provisional=False)
    notional = Decimal("1.0") * Decimal(100) + (order.qty - 1) * Decimal("99.97")
    assert (seen.gross_notional, seen.correlated_net) == (notional, sign * notional)


def test_an_entry_at_a_close_that_came_late_is_too_old() -> None:
    d = Driver(listening(on_candle=always(Intent("enter_long", "go"))), params={}, bars=1)
    opened = d.now_ms
    d.now_ms += BAR + d.engine.config.risk.max_candle_age_ms + 1
    d.book(100.0)
    commands = d.send(CandleClosed(symbol="SOLUSDT", interval="5m", candle=wave(opened)))
    assert [c.name for c in decision(commands).checks if c.verdict == "block"] == ["candle_age_ms"]


def test_adding_to_a_position_does_not_loosen_its_stop() -> None:
    answers = iter([Intent("enter_long", "go", stop_bp=50.0), Intent("enter_long", "more")])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1)
    d.fill(only(d.candle(), PlaceOrder), "100.01")
    d.fill(only(d.candle(), PlaceOrder), "100.01")
    assert d.engine.state.stop_distances == {"SOLUSDT": Decimal("0.005")}


def test_a_person_who_closes_does_not_wait_for_an_order_that_rests() -> None:
    answers = iter([Intent("enter_long", "go"), PATIENT_EXIT])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={})
    order = leaving(d)
    commands = d.send(OperatorActed(action="close", actor="cli", symbol="SOLUSDT"))
    assert only(commands, CancelOrder).client_oid == order.client_oid
    gone = canceled(d, order)
    assert of(gone, PlaceOrder) == []
    retry = timer(commands, "flat:")
    assert only(fire(d, retry), PlaceOrder).purpose == "close"


def test_a_maker_exit_whose_cancellation_was_lost_does_not_lock_the_position() -> None:
    answers = iter([Intent("enter_long", "go"), PATIENT_EXIT])
    d = Driver(listening(on_candle=lambda view: next(answers, None)), params={}, bars=1)
    order = leaving(d)
    d.send(alive(d, order))
    d.now_ms += 4_000
    d.send(TimerFired(name=f"maker:{order.client_oid}", due_ms=d.now_ms))
    refused = CommandOutcome(client_oid=order.client_oid, symbol="SOLUSDT", command="cancel", outcome="rejected")
    d.send(refused)
    assert only(looked(d, alive(d, order)), CancelOrder).client_oid == order.client_oid
    assert only(canceled(d, order), PlaceOrder).order_type == "market"


def test_a_symbol_that_is_traded_again_has_no_forecast_of_the_day_it_left() -> None:
    go = Intent("enter_long", "on what the model said")
    d = Driver(listening(on_forecast=hold, on_book=always(go)), params={})
    d.forecast(20.0)
    d.send(UniverseChanged(symbols=(), reason="left"))
    for _ in range(20):
        d.candle()
    d.send(UniverseChanged(symbols=("SOLUSDT",), reason="came"))
    commands = row(d)
    assert of(commands, PlaceOrder) == []
    assert decision(commands).reason == "no entry without a forecast (on what the model said)"


# --- parameters -----------------------------------------------------------------------------------------------------


class Bounded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    level_bp: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    weights: dict[str, float] = {}
    levels: tuple[float, ...] = ()


class Parametric(Strategy):
    Params = Bounded

    def on_candle(self, view: View) -> None:
        return None


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"level_bp": -1.0}, r"strategy\.params\.level_bp: Expected `float` > 0\.0"),
        ({"level_bp": "much"}, r"strategy\.params\.level_bp: Expected `float`, got `str`"),
        ({"level_bp": float("nan")}, r"strategy\.params\.level_bp: must be a finite number"),
        ({"weights": {"tree": float("inf")}}, r"strategy\.params\.weights\.tree: must be a finite number"),
        ({"levels": [1.0, "x"]}, r"strategy\.params\.levels\[1\]: Expected `float`"),
        ({"lvel_bp": 1.0}, r"strategy\.params\.lvel_bp: .* has no such parameter \(it knows level_bp, levels, weights"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_path(params: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Driver(Parametric, params=params)


def test_a_strategy_that_cannot_begin_says_where() -> None:
    class Broken(Strategy):
        def __init__(self, params: object) -> None:
            raise KeyError("nothing there")

        def on_candle(self, view: View) -> None:
            return None

    with pytest.raises(ConfigError, match=r"cannot begin: KeyError: 'nothing there' \(test_strategy_api.py:\d+\)"):
        Driver(Broken, params={})


def test_a_lookback_that_no_start_could_show_is_refused() -> None:
    strategy = listening(on_candle=nothing)
    strategy.lookback = 5_000
    with pytest.raises(ConfigError, match="lookback must be a whole number of candles from 0 to 2016, is 5000"):
        Driver(strategy, params={})
