"""Models of longer candles and of windows beside each other, and features of symbols that lead others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.trading.driver import BAR, MONDAY, Driver, decision, of, wave
from tradebot.events import (
    Alert,
    Booted,
    CandleClosed,
    CandleHistory,
    Command,
    Decision,
    EngineConfig,
    ForecastReady,
    FundingHistory,
    ModelRef,
    ModelSwapped,
    RequestForecast,
    SetTimer,
    TickerUpdated,
    TimerFired,
)
from tradebot.features.side import SIDE
from tradebot.features.views import view
from tradebot.journal.graph import capture, restore
from tradebot.market.candle import HOUR_MS, INTERVAL_MS, WEEK_MS, Candle
from tradebot.market.resample import resampled
from tradebot.trading.beside import KEPT_CLOSES, KEPT_SETTLEMENTS, Beside, Leaders
from tradebot.trading.decisions import REFERENCE_WAIT_MS
from tradebot.trading.engine import Engine
from tradebot.trading.rows import ViewRows
from tradebot.trading.strategy import Intent, Strategy, View

BARS = 4_032


class Noted(Strategy):
    """Remembers what it was shown, and enters on whatever holds."""

    seen: list[tuple[str, View, Any]]

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.seen = []

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        self.seen.append(("on_forecast", view, forecast))
        return Intent("hold", "seen")

    def on_candle(self, view: View) -> Intent | None:
        self.seen.append(("on_candle", view, None))
        return Intent("enter_long", "on what holds") if view.forecasts else None


def ref(name: str, view_name: str, interval: str = "5m", steps: int = 1) -> ModelRef:
    return ModelRef(
        symbol="SOLUSDT", name=name, version="v0001", sha256="ab", schema_hash="cd", horizon_ms=2 * BAR,
        view=view_name, interval=interval, steps=steps,
    )  # fmt: skip


def driver(*refs: ModelRef, models: tuple[str, ...] = ()) -> Driver:
    d = Driver(Noted, params={}, models=models)
    d.engine.symbols["SOLUSDT"].models = {}  # the driver's own
    for one in refs:
        d.send(ModelSwapped(ref=one))
    return d


def close(d: Driver, symbol: str = "SOLUSDT", bar: int = 0) -> list[Command]:
    """The candle number ``bar`` since the start closes now."""
    d.now_ms = max(d.now_ms, MONDAY + (bar + 1) * BAR)
    candle = wave(MONDAY + bar * BAR)
    return list(d.send(CandleClosed(symbol=symbol, interval="5m", candle=candle)))


def answer(d: Driver, request: RequestForecast, expected_bp: float = 30.0) -> list[Command]:
    return list(
        d.send(
            ForecastReady(
                request_id=request.request_id, symbol=request.symbol, model=request.model, version="v0001",
                model_sha256="ab", as_of_ms=request.as_of_ms, horizon_ms=2 * BAR, row_hash=request.row_hash,
                expected_bp=expected_bp, p_up=0.6, p_down=0.1,
            )
        )
    )  # fmt: skip


def asked(commands: Sequence[Command]) -> list[RequestForecast]:
    return of(list(commands), RequestForecast)


def seen(d: Driver) -> list[tuple[str, View, Any]]:
    strategy = d.engine.decisions.strategy
    assert isinstance(strategy, Noted)
    return strategy.seen


def test_a_model_of_hours_is_asked_at_hours_and_holds_between_them() -> None:
    d = driver(ref("bilstm-1h", "bars-1h", "1h"), models=("bilstm-1h",))
    for bar in range(11):
        commands = close(d, bar=bar)
        assert not asked(commands)
        made = decision(commands)
        assert (made.action, made.reason, made.hook) == ("hold", "no model's candle has closed", "on_candle")
    [request] = asked(close(d, bar=11))
    assert request.as_of_ms == MONDAY + HOUR_MS
    made = decision(answer(d, request))
    assert (made.model, made.expected_bp, made.models[0].as_of_ms) == ("bilstm-1h", 30.0, 0)
    for bar in range(12, 23):
        made = decision(close(d, bar=bar))
        assert made.hook == "on_candle"
        assert (made.model, made.expected_bp) == ("bilstm-1h", 30.0)
        assert [(a.model, a.as_of_ms, a.missing) for a in made.models] == [("bilstm-1h", MONDAY + HOUR_MS, "")]
        hook, shown, _ = seen(d)[-1]
        assert hook == "on_candle"
        assert shown.now_ms - shown.forecasts["bilstm-1h"].as_of_ms == (bar - 11) * BAR
        assert made.action == "enter_long", made.reason
    [request] = asked(close(d, bar=23))
    d.now_ms = request.deadline_ms
    made = decision(d.send(TimerFired(name="forecast:SOLUSDT", due_ms=d.now_ms)))
    assert (made.reason, made.expected_bp) == ("forecast late", None)
    made = decision(close(d, bar=24))
    assert (made.action, made.reason, made.expected_bp) == ("hold", "no model's candle has closed", None)


def test_a_quick_model_is_decided_on_while_a_slow_one_holds() -> None:
    d = driver(ref("lightgbm", "candles-5m"), ref("bilstm-1h", "bars-1h", "1h"), models=("bilstm-1h", "lightgbm"))
    for bar in range(11):
        [request] = asked(close(d, bar=bar))
        assert request.model == "lightgbm"
        assert decision(answer(d, request)).models[0].missing == "not asked"
    slow, quick = asked(close(d, bar=11))
    assert (slow.model, quick.model) == ("bilstm-1h", "lightgbm")
    answer(d, quick, 1.0)
    made = decision(answer(d, slow, 2.0))
    assert (made.model, [a.expected_bp for a in made.models]) == ("bilstm-1h", [2.0, 1.0])
    [request] = asked(close(d, bar=12))
    made = decision(answer(d, request, 3.0))
    assert (made.model, made.expected_bp) == ("lightgbm", 3.0)
    assert [(a.expected_bp, a.as_of_ms) for a in made.models] == [(2.0, MONDAY + HOUR_MS), (3.0, 0)]
    _, shown, forecast = seen(d)[-1]
    assert forecast.model == "lightgbm"
    assert list(shown.forecasts) == ["bilstm-1h", "lightgbm"]


def test_a_window_is_the_last_rows_oldest_first_and_waits_until_there_are_enough() -> None:
    d = driver(ref("bilstm", "bars-5m", steps=3), models=("bilstm",))
    candles = [wave(MONDAY - BAR * (BARS - i)) for i in range(BARS + 2)]
    table = np.array([msgspec.structs.astuple(c)[:6] for c in candles])
    rows, usable = view("bars-5m").batch(table[:, 0].astype(np.int64), *table[:, 1:].T)
    first = close(d, bar=0)
    enough = bool(usable[BARS - 2 : BARS + 1].all())
    assert bool(asked(first)) == enough
    [request] = asked(close(d, bar=1))
    assert request.row == rows[BARS - 1 : BARS + 2].tobytes()


def test_a_model_that_comes_later_has_the_rows_of_before() -> None:
    d = driver(models=("bilstm-1h",))
    for bar in range(11):
        assert decision(close(d, bar=bar)).reason == "no model serves this symbol"
    d.send(ModelSwapped(ref=ref("bilstm-1h", "bars-1h", "1h", steps=2)))
    [request] = asked(close(d, bar=11))
    assert len(request.row) == 4 * 2 * len(view("bars-1h").names)


@pytest.mark.parametrize(("view_name", "steps"), [("bars-5m", 5), ("candles-5m", 1)])
def test_a_version_that_looks_further_back_or_at_another_view_answers_at_once(view_name: str, steps: int) -> None:
    d = driver(ref("bilstm", "bars-5m", steps=3), models=("bilstm",))
    for bar in range(4):
        commands = close(d, bar=bar)
    assert asked(commands)
    d.send(ModelSwapped(ref=msgspec.structs.replace(ref("bilstm", view_name, steps=steps), version="v0002")))
    [request] = asked(close(d, bar=4))
    candles = [wave(MONDAY - BAR * (BARS - i)) for i in range(BARS + 5)]
    table = np.array([msgspec.structs.astuple(c)[:6] for c in candles])
    sides = np.full((len(table), len(SIDE)), np.nan)
    rows, _ = view(view_name).batch(table[:, 0].astype(np.int64), *table[:, 1:].T, side=sides)
    assert request.row == rows[-steps:].tobytes()


# --- references ------------------------------------------------------------------------------------------------------


def led(*, config: dict[str, Any] | None = None) -> tuple[Engine, Driver]:
    """The engine of SOLUSDT and its driver, with BTCUSDT heard for its closes."""
    d = Driver(Noted, params={}, models=("lightgbm",), bars=1)
    engine = d.engine
    asks = {"symbols": ("SOLUSDT",), "references": ("BTCUSDT",), "models": ("lightgbm",), **(config or {})}
    settings = EngineConfig(mode="demo", strategy="threshold", **asks)
    d.send(Booted(epoch=2, config=settings, settings_hash="s", engine_hash="e", strategy_hash="x"))
    history = tuple(wave(MONDAY - BAR * (BARS - i)) for i in range(BARS))
    leading = tuple(Candle(c.open_time_ms, *(10 * x for x in (c.open, c.high, c.low, c.close)), 1.0) for c in history)
    d.send(CandleHistory(symbol="SOLUSDT", interval="5m", candles=history))
    d.send(CandleHistory(symbol="BTCUSDT", interval="5m", candles=leading))
    d.send(ModelSwapped(ref=ref("lightgbm", "candles-5m")))
    engine.symbols["SOLUSDT"].feed_ok = True
    d.book(100.0)
    return engine, d


def btc_return(engine: Engine) -> float:
    """``btc_ret_1`` of the last row."""
    values = engine.symbols["SOLUSDT"].values(engine.leaders)
    assert values is not None
    return values[view("candles-5m").column("btc_ret_1")]


def leader(d: Driver, bar: int, price: float = 1_234.0) -> list[Command]:
    candle = Candle(MONDAY + bar * BAR, price, price, price, price, 1.0)
    return list(d.send(CandleClosed(symbol="BTCUSDT", interval="5m", candle=candle)))


def test_a_candle_waits_for_its_reference_and_is_decided_on_when_it_comes() -> None:
    engine, d = led()
    commands = close(d, bar=0)
    assert of(commands, Decision) == [] == asked(commands)
    [timer] = of(commands, SetTimer)
    assert (timer.name, timer.due_ms) == ("reference:SOLUSDT", d.now_ms + REFERENCE_WAIT_MS)
    commands = leader(d, 0)
    assert [one.due_ms for one in of(commands, SetTimer) if one.name == timer.name] == [0]
    assert len(asked(commands)) == 1
    last = 10 * wave(MONDAY - BAR).close
    assert btc_return(engine) == pytest.approx(np.log(1_234.0 / last), rel=1e-4)
    assert "BTCUSDT" not in engine.symbols
    answer(d, asked(commands)[0])
    leader(d, 1)
    assert len(asked(close(d, bar=1))) == 1, "the reference was there first"


def test_a_reference_that_does_not_come_is_waited_for_two_seconds_and_said_once() -> None:
    engine, d = led()
    close(d, bar=0)
    d.now_ms += REFERENCE_WAIT_MS
    commands = list(d.send(TimerFired(name="reference:SOLUSDT", due_ms=d.now_ms)))
    assert len(asked(commands)) == 1
    assert [one.code for one in of(commands, Alert)] == ["reference_late"]
    assert np.isnan(btc_return(engine))
    assert engine.leaders.missed == {"BTCUSDT": 1}
    answer(d, asked(commands)[0])
    commands = list(close(d, bar=1))
    assert (of(commands, Alert), len(asked(commands))) == ([], 1), "it has said nothing since: nothing waits"
    assert engine.leaders.missed == {"BTCUSDT": 2}
    answer(d, asked(commands)[0])
    for bar in (0, 1, 2):  # what comes too late changes nothing that was decided
        assert asked(leader(d, bar)) == []
    answer(d, asked(close(d, bar=2))[0])
    assert np.isnan(btc_return(engine)), "there was none at the close before"
    leader(d, 3)
    assert len(asked(close(d, bar=3))) == 1
    assert not np.isnan(btc_return(engine))


def outage(d: Driver, bar: int) -> list[Command]:
    """The candle number ``bar`` closes, and its reference has not come 2 s later."""
    assert asked(close(d, bar=bar)) == []
    d.now_ms += REFERENCE_WAIT_MS
    return list(d.send(TimerFired(name="reference:SOLUSDT", due_ms=d.now_ms)))


def test_a_reference_that_is_read_back_after_every_close_is_not_waited_for_again() -> None:
    engine, d = led()
    commands = outage(d, 0)
    assert [one.code for one in of(commands, Alert)] == ["reference_late"]
    for bar in range(1, 5):
        d.now_ms += 1_000  # 3 s after the close
        leader(d, bar - 1)
        answer(d, asked(commands)[0])
        commands = close(d, bar=bar)
        assert (of(commands, Alert), len(asked(commands))) == ([], 1)
        d.now_ms += REFERENCE_WAIT_MS
    assert engine.leaders.missed == {"BTCUSDT": 5}
    known, _ = engine.leaders.closes("SOLUSDT", MONDAY + 3 * BAR, 1.0)
    assert known == 1_234.0, "what is late is known from then on"


def test_a_reference_that_comes_in_time_again_is_waited_for_again_and_another_outage_is_said_again() -> None:
    _, d = led()
    answer(d, asked(outage(d, 0))[0])
    leader(d, 0)
    answer(d, asked(close(d, bar=1))[0])
    d.now_ms += REFERENCE_WAIT_MS - 1  # nothing waited for it, but it would have been in time
    leader(d, 1)
    commands = outage(d, 2)
    assert [one.code for one in of(commands, Alert)] == ["reference_late"]
    answer(d, asked(commands)[0])
    answer(d, asked(close(d, bar=3))[0])
    leader(d, 4)  # before anything needs it
    answer(d, asked(close(d, bar=4))[0])
    assert asked(close(d, bar=5)) == []


def test_an_old_candle_of_a_reference_that_comes_soon_after_a_newer_close_is_late() -> None:
    _, d = led()
    answer(d, asked(outage(d, 0))[0])
    answer(d, asked(close(d, bar=1))[0])
    leader(d, 0)
    assert len(asked(close(d, bar=2))) == 1


def test_one_silent_reference_does_not_make_the_other_one_missed() -> None:
    engine, d = led(config={"references": ("BTCUSDT", "ETHUSDT")})
    d.send(CandleHistory(symbol="ETHUSDT", interval="5m", candles=(wave(MONDAY - BAR),)))
    close(d, bar=0)
    leader(d, 0)
    d.now_ms += REFERENCE_WAIT_MS
    answer(d, asked(list(d.send(TimerFired(name="reference:SOLUSDT", due_ms=d.now_ms))))[0])
    assert asked(close(d, bar=1)) == [], "bitcoin is waited for as before"
    commands = leader(d, 1)
    assert engine.leaders.missed == {"BTCUSDT": 0, "ETHUSDT": 2}
    answer(d, asked(commands)[0])
    [alert] = of(outage(d, 2), Alert)
    assert ("BTCUSDT" in alert.message, "ETHUSDT" in alert.message) == (True, False), "it was said of the other"


def test_a_reference_is_late_by_the_first_candle_that_needed_it() -> None:
    leaders = Leaders(("BTCUSDT",))
    leaders.see("BTCUSDT", wave(MONDAY), MONDAY + BAR)
    open_ms, closed_ms = MONDAY + BAR, MONDAY + 2 * BAR
    leaders.need("SOLUSDT", open_ms, closed_ms + 2_000)
    leaders.fall_silent(["BTCUSDT"])
    leaders.need("XRPUSDT", open_ms, closed_ms + 5_000)  # read back itself
    leaders.see("BTCUSDT", wave(open_ms), closed_ms + 3_000)
    assert leaders.awaited("SOLUSDT", open_ms + BAR) == ()


def test_several_candles_that_come_at_once_wait_for_theirs_in_order() -> None:
    engine, d = led()
    for bar in range(3):
        assert of(close(d, bar=bar), Decision) == []
    d.now_ms = MONDAY + 3 * BAR
    made: list[Decision] = []
    for bar in range(3):
        commands = leader(d, bar, 1_200.0 + bar)
        made += of(commands, Decision)
        for request in asked(commands):
            assert request.as_of_ms == MONDAY + (bar + 1) * BAR
            made += of(answer(d, request), Decision)
    assert len(made) == 3
    assert engine.leaders.missed == {"BTCUSDT": 0}


def test_a_reference_that_was_never_heard_is_not_waited_for() -> None:
    d = Driver(Noted, params={}, models=("lightgbm",))
    engine = d.engine
    config = msgspec.structs.replace(engine.config, references=("BTCUSDT", "ETHUSDT"))
    d.send(Booted(epoch=2, config=config, settings_hash="s", engine_hash="e", strategy_hash="x"))
    history = tuple(wave(MONDAY - BAR * (BARS - i)) for i in range(BARS))
    d.send(CandleHistory(symbol="SOLUSDT", interval="5m", candles=history))
    d.book(100.0)
    assert len(of(close(d, bar=0), Decision)) == 1
    assert np.isnan(btc_return(engine))


def test_what_is_known_beside_a_close_is_what_was_told_by_then() -> None:
    engine, d = led()
    known = engine.symbols["SOLUSDT"].beside
    d.send(FundingHistory(symbol="SOLUSDT", settlements=((MONDAY - 8 * HOUR_MS, 1e-4), (MONDAY, 2e-4))))

    def ticker(at_ms: int, mark: float, rate: float, next_ms: int) -> None:
        d.now_ms = at_ms
        d.send(
            TickerUpdated(
                symbol="SOLUSDT", ts_exchange_ms=at_ms, last=mark, mark=mark, index=mark - 1, funding_rate=rate,
                next_funding_ms=next_ms, open_interest=1_000.0,
            )
        )  # fmt: skip

    settles = MONDAY + 8 * HOUR_MS
    ticker(MONDAY + 1_000, 100.0, 3e-4, settles)
    ticker(MONDAY + BAR, 101.0, 3e-4, settles)  # at the close itself
    ticker(MONDAY + BAR + 1, 102.0, 3e-4, settles)  # after it
    assert known.market(MONDAY + BAR) == (101.0, 100.0, 1_000.0)
    assert known.market(MONDAY + 2 * BAR)[0] == 102.0
    assert known.market(MONDAY + 3 * BAR)[0] == 102.0, "nothing newer was told"
    assert known.funding(MONDAY - 1) == 1e-4
    assert known.funding(settles - 1) == 2e-4
    ticker(settles, 103.0, 4e-4, settles)
    assert known.funding(settles) == 4e-4, "the rate told last before it settled"
    ticker(settles + 1, 103.0, 8e-4, settles)
    assert known.funding(settles) == 4e-4, "told after it settled, though still for that settlement"
    d.send(FundingHistory(symbol="SOLUSDT", settlements=((MONDAY - 16 * HOUR_MS, 7e-4), (MONDAY, 7e-4))))
    assert known.funding(settles - 1) == 2e-4, "what was known stays known"
    assert known.funding(MONDAY - 1) == 1e-4
    ticker(settles + 1, 103.0, 9e-4, settles + 8 * HOUR_MS)
    assert known.funding(settles) == 4e-4 == known.funding(settles + 8 * HOUR_MS - 1)
    assert np.isnan(known.funding(MONDAY - 9 * HOUR_MS))
    assert SIDE == ("btc_close", "eth_close", "funding", "mark", "index", "open_interest")


def test_a_reference_s_candle_without_a_price_is_none() -> None:
    _, d = led()
    close(d, bar=0)
    for price in (0.0, math.inf, math.nan):
        assert asked(leader(d, 0, price)) == []
    assert len(asked(leader(d, 0))) == 1


def test_the_reference_s_own_candle_waits_for_the_other_reference_alone() -> None:
    leaders = Leaders(("BTCUSDT", "ETHUSDT"))
    leaders.see("BTCUSDT", wave(MONDAY), MONDAY + BAR)
    leaders.see("ETHUSDT", wave(MONDAY), MONDAY + BAR)
    assert leaders.awaited("BTCUSDT", MONDAY + BAR) == ("ETHUSDT",)
    assert leaders.awaited("SOLUSDT", MONDAY + BAR) == ("BTCUSDT", "ETHUSDT")


def test_what_is_kept_of_references_and_settlements_does_not_grow_with_the_run() -> None:
    leaders, known = Leaders(("BTCUSDT",)), Beside(BAR)
    for bar in range(KEPT_CLOSES + 2):
        leaders.see("BTCUSDT", Candle(MONDAY + bar * BAR, *[1.0 + bar] * 4, 1.0), MONDAY)
    oldest, newest = MONDAY + 2 * BAR, MONDAY + (KEPT_CLOSES + 1) * BAR
    assert np.isnan(leaders.closes("SOLUSDT", oldest - BAR, 1.0)[0])
    assert [leaders.closes("SOLUSDT", at, 1.0)[0] for at in (oldest, newest)] == [3.0, KEPT_CLOSES + 2.0]
    for number in range(KEPT_SETTLEMENTS + 3):
        known.on_ticker(
            MONDAY + number * HOUR_MS,
            TickerUpdated(
                symbol="SOLUSDT", ts_exchange_ms=MONDAY, last=1.0, mark=1.0, index=1.0, funding_rate=1.0 + number,
                next_funding_ms=MONDAY + (number + 1) * HOUR_MS, open_interest=1.0,
            ),
        )  # fmt: skip
    assert np.isnan(known.funding(MONDAY + 2 * HOUR_MS))
    assert known.funding(MONDAY + 3 * HOUR_MS) == 3.0


@pytest.mark.parametrize(("name", "interval"), [("candles-5m", "5m"), ("bars-15m", "15m")])
def test_rows_of_before_a_hole_in_the_candles_are_in_no_window_after_it(name: str, interval: str) -> None:
    part, whole = BAR, INTERVAL_MS[interval]
    rows = ViewRows(view(name), part, 3)
    count = 4 * WEEK_MS // part
    times = MONDAY + part * np.arange(count, dtype=np.int64)
    table = np.array([msgspec.structs.astuple(wave(at))[1:6] for at in times.tolist()])
    hole = count // 2 - 36  # hours before the third week: rows are usable before it, and a week later again
    keep = np.delete(np.arange(count), slice(hole, hole + whole // part))
    before = keep[keep < hole + 2 * whole // part]
    sides = np.full((count, len(SIDE)), np.nan)
    rows.load(times[before], table[before], sides[before])
    assert (rows.row(), rows.window(1), rows.window(3)) == (None, None, None)
    rows = ViewRows(view(name), part, 3)
    rows.load(times[keep], table[keep], sides[keep])
    bars = resampled(times[keep], *table[keep].T, part_ms=part, whole_ms=whole)
    made, usable = view(name).batch(*bars[:6])
    assert usable[-3:].all()
    np.testing.assert_array_equal(rows.window(3), made[-3:])


def test_a_wait_goes_on_in_a_snapshot() -> None:
    engine, d = led()
    assert asked(close(d, bar=0)) == []
    local = {__name__: globals()}
    again = restore(capture(engine, local=local), local=local)
    event = CandleClosed(symbol="BTCUSDT", interval="5m", candle=wave(MONDAY))
    there, here = list(again.handle(d.now_ms, event)), list(engine.handle(d.now_ms, event))
    assert there == here
    assert len(asked(here)) == 1


def test_rows_that_were_kept_in_a_snapshot_go_on_to_the_bit() -> None:
    rows = ViewRows(view("bars-15m"), BAR, steps=4)
    candles = [wave(MONDAY - BAR * (BARS - i)) for i in range(BARS + 10)]
    table = np.array([msgspec.structs.astuple(c)[:6] for c in candles])
    rows.load(table[:-9, 0].astype(np.int64), table[:-9, 1:], np.full((len(table) - 9, len(SIDE)), np.nan))
    again = restore(capture(rows))
    for candle in candles[-9:]:
        for one in (rows, again):
            one.take(candle, (candle.close, np.nan, 1e-4, np.nan, np.nan, np.nan))
    window = rows.window(4)
    assert window is not None
    assert window.tobytes() == again.window(4).tobytes()
    assert again._state.view is view("bars-15m")
