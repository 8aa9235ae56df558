"""Higher costs and later decisions, through the real engine on a made-up market."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.backtest.market import STRATEGIES, asked, random_walk
from tradebot.backtest.late import late
from tradebot.backtest.report import report_of
from tradebot.backtest.report.documents import STRESSES, Stresses, read_beside, write_beside
from tradebot.backtest.single import Outcome, Spec, run_backtest
from tradebot.backtest.stress import run_stress
from tradebot.evaluation import stress as arithmetic
from tradebot.evaluation.stress import StressPoint
from tradebot.events import ForecastReady
from tradebot.market.buffer import CandleWindow
from tradebot.market.candle import HOUR_MS
from tradebot.trading.loading import load_strategy
from tradebot.trading.strategy import HOLD, Holding, Intent, Market, Strategy, View


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    path = random_walk(tmp_path_factory.mktemp("market"), days=18, reverting=0.4)
    return asked(path, for_ms=5 * HOUR_MS, fade=True)


@pytest.fixture(scope="module")
def plain(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    folder = tmp_path_factory.mktemp("runs") / "plain"
    outcome = run_backtest(spec, out=folder)
    assert outcome is not None
    return outcome, folder


def again(spec: Spec, plain: Outcome, **changes: object) -> Outcome:
    window = {"start_ms": plain.run.from_ms, "for_ms": plain.run.asked_to_ms - plain.run.from_ms}
    outcome = run_backtest(replace(spec, **window, **changes))  # type: ignore[arg-type]
    assert outcome is not None
    return outcome


def test_the_plain_point_is_the_run_itself(spec: Spec, plain: tuple[Outcome, Path]) -> None:
    assert again(spec, plain[0]).result == plain[0].result
    assert plain[0].result["trades"] > 5


def test_dearer_trades_pay_exactly_that_much_more(spec: Spec, plain: tuple[Outcome, Path]) -> None:
    doubled = again(spec, plain[0], fee_times=Decimal(2))
    assert doubled.result["gross"] == plain[0].result["gross"]
    assert float(doubled.result["fees"]) == pytest.approx(2 * float(plain[0].result["fees"]))
    slipped = again(spec, plain[0], slippage_bp=Decimal("3"))
    assert float(slipped.result["fees"]) == pytest.approx(1.5 * float(plain[0].result["fees"]))  # 9 bp instead of 6
    assert slipped.run.inputs_hash != plain[0].run.inputs_hash


def test_news_a_candle_late_are_acted_on_a_candle_late(spec: Spec, plain: tuple[Outcome, Path]) -> None:
    delayed = again(spec, plain[0], delay_bars=1)
    first, later = plain[0].trades.opened_ms[0], delayed.trades.opened_ms[0]
    assert (later - first) // 300_000 == 1
    assert delayed.result["decisions_sha256"] != plain[0].result["decisions_sha256"]


def test_every_point_is_run_and_told_beside_the_run(
    spec: Spec, plain: tuple[Outcome, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = (StressPoint(1.0, 0), StressPoint(2.0, 0), StressPoint(1.0, 2))
    monkeypatch.setattr("tradebot.backtest.stress.STRESS", points)
    outcome, folder = plain
    report = report_of(folder, draws=20)
    told: list[StressPoint] = []
    found = run_stress(spec, outcome.run, report, lambda: None, on_point=told.append)
    assert found is not None
    assert tuple(told) == points
    assert [(row.cost, row.delay_bars) for row in found.rows] == [(1.0, 0), (2.0, 0), (1.0, 2)]
    assert found.rows[0].net == pytest.approx(report.end_equity - report.start_equity)
    # twice the costs take what the costs took once more (the equity of open positions moves with the fee to leave)
    assert found.rows[0].net - found.rows[1].net == pytest.approx(-report.costs.fees - report.costs.slippage, rel=0.05)
    assert found.break_even_cost is not None
    assert found.break_even_cost < 1  # it lost
    write_beside(folder, STRESSES, found)
    assert read_beside(folder, STRESSES, Stresses) == found
    assert report_of(folder, draws=20).stresses == found
    assert arithmetic.STRESS[0] == points[0]


def test_a_stress_that_is_stopped_has_no_result(spec: Spec, plain: tuple[Outcome, Path]) -> None:
    report = report_of(plain[1], draws=20)
    assert run_stress(spec, plain[0].run, report, lambda: None, stop=lambda: True) is None


class Told(Strategy):
    """Remembers what it was shown."""

    seen: list[tuple[str, float, float]]

    def __init__(self, params: msgspec.Struct) -> None:
        super().__init__(params)
        self.seen = []

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        assert view.market.candles is not None
        self.seen.append(("forecast", forecast.expected_bp, float(view.market.candles.close[-1])))
        return Intent("enter_long", "")

    def on_candle(self, view: View) -> Intent | None:
        assert view.market.candles is not None
        self.seen.append(("candle", view.market.bid, float(view.market.candles.close[-1])))
        return None


def test_late_news_are_those_of_then_and_the_market_is_that_of_now() -> None:
    closes = np.array([0.0])
    window = CandleWindow(np.zeros(1, dtype=np.int64), closes, closes, closes, closes, closes, closes)
    strategy = late(Told, 2)(msgspec.Struct())
    answers = []
    for close in range(1, 6):
        closes[0] = close  # the engine's buffer goes on
        market = Market("SOLUSDT", 100.0 + close, 101.0 + close, 100.0, 0, candles=window)
        view = View(close, 300_000, market, Holding(), 0.0)
        if close == 2:
            answers.append(strategy.on_candle(view))
        else:
            forecast = ForecastReady(
                request_id="", symbol="SOLUSDT", model="m", version="v", model_sha256="", as_of_ms=close, horizon_ms=1,
                row_hash="", expected_bp=float(close), p_up=0.5, p_down=0.5,
            )  # fmt: skip
            answers.append(strategy.on_forecast(view, forecast))
    assert isinstance(strategy, Told)
    assert strategy.seen == [("forecast", 1.0, 1.0), ("candle", 104.0, 2.0), ("forecast", 3.0, 3.0)]
    assert answers[:2] == [HOLD, HOLD]
    assert [answer.action for answer in answers[2:] if answer] == ["enter_long", "hold", "enter_long"]


def test_no_delay_is_the_strategy_itself_and_one_without_news_stays_prompt() -> None:
    drift, _ = load_strategy(STRATEGIES, "drift")
    assert late(drift, 0) is drift
    assert late(drift, 1) is not drift

    class Fast(Strategy):
        def on_book(self, view: View) -> Intent | None:
            return None

    assert late(Fast, 2) is Fast


def test_a_strategy_s_own_news_stay_its_own() -> None:
    class Reader(Strategy):
        def __init__(self, params: Any) -> None:
            self._news = ["headline"]

        def on_candle(self, view: View) -> Intent:
            return Intent("hold", self._news[0])

    assert late(Reader, 1)(None)._news == ["headline"]  # type: ignore[arg-type, attr-defined]
