"""Walking a forecaster: windows, what is chosen by, going on, and what is judged."""

from __future__ import annotations

import csv
from dataclasses import replace as with_columns
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from optuna.trial import TrialState

from tests.training.market import BAR_MS, candles, end_ms, write_parquet
from tradebot.errors import ConfigError, DataError
from tradebot.evaluation.trade_curve import START, trade_curve
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import CandleColumns, family
from tradebot.jobs import ParquetSource, RetrainJob
from tradebot.market.candle import DAY_MS
from tradebot.registry import ModelKey, ModelStore
from tradebot.training.dataset import build_dataset
from tradebot.training.progress import Cancelled
from tradebot.training.splits import embargo_bars, window_split
from tradebot.training.walk import deploy as deploying
from tradebot.training.walk import windows
from tradebot.training.walk.plan import WalkPlan
from tradebot.training.walk.results import SUMMARY, WalkResult, over_seeds, result_of, write_results
from tradebot.training.walk.run import Walked, walk
from tradebot.training.walk.trading import best_level, levels_of, market_of, runs_of, score


def trending(count: int) -> CandleColumns:
    """Candles that drift one way for some forty of them, then the other: what an oscillator can see."""
    rng = np.random.default_rng(1)
    drift = np.cumprod(np.where(rng.random(count) < 1 / 40, -1.0, 1.0))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.0018, count) + 0.0009 * drift))
    walk = candles(count)
    opened = np.concatenate([[100.0], close[:-1]])
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    return with_columns(walk, open=opened, high=top * 1.0005, low=bottom / 1.0005, close=close)


MARKET = trending(288 * 34)


def plan_of(path: Path, columns: CandleColumns = MARKET, **changes: object) -> WalkPlan:
    plan = WalkPlan(
        model="lorentzian",
        symbol="SOLUSDT",
        source=ParquetSource(path=str(write_parquet(path, columns))),
        as_of_ms=end_ms(columns),
        interval="5m",
        options={"horizon": 2, "spacing": 2},
        days=15,
        train_days=6,
        test_days=3,
    )
    return replace(plan, **changes)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> WalkPlan:
    return plan_of(tmp_path_factory.mktemp("market") / "SOLUSDT.parquet")


@pytest.fixture(scope="module")
def walked(plan: WalkPlan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Walked]:
    out = tmp_path_factory.mktemp("walk") / "out"
    return out, walk(plan, out)


def test_every_moment_of_the_test_parts_is_told_once_by_a_model_fitted_before_it(
    walked: tuple[Path, Walked],
) -> None:
    _, done = walked
    assert len(done.windows) == len(done.choices) == 3
    assert (np.diff(done.said.at_ms) == BAR_MS).all()
    assert done.said.at_ms[0] == done.windows[0].test_from_ms
    assert done.said.at_ms[-1] + BAR_MS >= done.windows[-1].test_to_ms - 3 * BAR_MS
    for choice, window in zip(done.choices, done.windows, strict=True):
        assert window.test_from_ms - window.train_from_ms == 6 * DAY_MS
        assert choice.test_rows > 800
        assert choice.validation_rows < 0.16 * 6 * 288
    np.testing.assert_allclose(done.said.probabilities.sum(axis=1), 1.0, atol=1e-9)


def test_nothing_after_a_windows_training_span_decides_what_it_does(
    plan: WalkPlan, walked: tuple[Path, Walked], tmp_path: Path
) -> None:
    _, done = walked
    first = done.windows[0]
    later = MARKET.open_ms >= first.test_from_ms
    changed = with_columns(
        MARKET, **{name: np.where(later, getattr(MARKET, name) * 1.3, getattr(MARKET, name)) for name in PRICES}
    )
    other = walk(plan_of(tmp_path / "SOLUSDT.parquet", changed), tmp_path / "out")
    for name in ("params", "level_bp", "validation_score", "validation_loss", "trial_scores"):
        assert getattr(other.choices[0], name) == getattr(done.choices[0], name)
    assert other.choices[1].validation_loss != done.choices[1].validation_loss


def test_no_row_of_a_part_is_known_only_in_the_next_part(plan: WalkPlan, walked: tuple[Path, Walked]) -> None:
    """Neither its label, nor what a row of the next part looks at beside its own bars: the embargo lies between."""
    _, done = walked
    kind = family(plan.model, plan.options, plan.interval)
    cut = window_split(build_dataset(kind, MARKET).sample, window := done.windows[1], BAR_MS)
    test, embargo_ms = cut.test, embargo_bars(kind) * BAR_MS
    for part, begins, ends in (
        (cut.train, window.train_from_ms, window.validation_from_ms),
        (cut.validation, window.validation_from_ms, window.test_from_ms),
    ):
        assert part.at_ms[0] == begins
        assert part.label_end_ms[-1] + embargo_ms == ends
    assert (done.choices[1].train_rows, done.choices[1].validation_rows) == (len(cut.train), len(cut.validation))
    assert (int(test.at_ms[0]), int(test.at_ms[-1]) + BAR_MS) == (window.test_from_ms, window.test_to_ms)


PRICES = ("open", "high", "low", "close")


def test_a_walk_that_was_stopped_goes_on_and_gives_the_same(
    plan: WalkPlan, walked: tuple[Path, Walked], tmp_path: Path
) -> None:
    _, straight = walked
    out, asked = tmp_path / "out", 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    with pytest.raises(Cancelled):
        walk(plan, out, stop=stop)
    kept = sorted(path.name for path in (out / "windows").iterdir())
    assert 0 < len(kept) < 6
    heard: list[tuple[int, bool]] = []
    again = walk(plan, out, on_window=lambda window, done: heard.append((window.number, done)))
    assert heard[0] == (1, True)  # was there already
    assert heard[-2:] == [(3, False), (3, True)]
    np.testing.assert_array_equal(again.said.signal, straight.said.signal)
    assert result_of(plan, again)[0] == result_of(plan, straight)[0]
    with pytest.raises(ConfigError, match="another walk-forward"):
        walk(replace(plan, seed=8), out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("x")
    with pytest.raises(ConfigError, match="not an empty directory"):
        walk(plan, tmp_path / "mine")


def test_what_is_written_tells_of_the_series_put_together(plan: WalkPlan, walked: tuple[Path, Walked]) -> None:
    out, done = walked
    result, curve = result_of(plan, done, tried=3)
    write_results(out, plan, done, result, curve)
    assert msgspec.json.decode((out / SUMMARY).read_bytes(), type=WalkResult) == result
    series = pq.read_table(out / "out_of_sample.parquet")
    assert series.num_rows == len(done.said.at_ms)
    assert series.column("equity")[-1].as_py() == pytest.approx(curve.equity[-1])
    rows = list(csv.DictReader((out / "window_metrics.csv").open()))
    assert [int(row["window"]) for row in rows] == [1, 2, 3]
    assert (out / "final_model.onnx").read_bytes() == (out / "best_model_window_3.onnx").read_bytes()
    assert (out / "figures" / "equity.png").read_bytes().startswith(b"\x89PNG")
    assert result.trades == len(curve.trips) > 20
    assert result.figures["roi"].value == pytest.approx(curve.equity[-1] / START - 1)
    assert (result.interval, result.trials, result.windows) == ("5m", 3, 3)
    alone, _ = result_of(plan, done)
    assert alone.deflated_sharpe is not None
    assert result.deflated_sharpe is not None
    assert result.deflated_sharpe < alone.deflated_sharpe  # more tries, more luck


def test_an_expanding_walk_fits_every_window_on_everything_before_it(
    plan: WalkPlan, walked: tuple[Path, Walked], tmp_path: Path
) -> None:
    _, rolling = walked
    done = walk(replace(plan, expanding=True), tmp_path / "out")
    begins = {choice.train_from_ms for choice in done.choices}
    assert begins == {rolling.choices[0].train_from_ms}
    assert [b.train_rows > a.train_rows + 700 for a, b in pairwise(done.choices)] == [True, True]
    np.testing.assert_array_equal(done.said.at_ms, rolling.said.at_ms)
    first = done.said.at_ms < done.windows[0].test_to_ms
    np.testing.assert_array_equal(done.said.signal[first], rolling.said.signal[first])
    assert (done.said.signal != rolling.said.signal)[~first].any()


@pytest.mark.parametrize(("expanding", "days"), [(False, 6 + 3), (True, 12 + 3)])
def test_what_is_deployed_is_fitted_on_as_much_as_the_newest_window(
    plan: WalkPlan, walked: tuple[Path, Walked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expanding: bool,
    days: int,
) -> None:  # fmt: skip
    jobs: list[RetrainJob] = []
    monkeypatch.setattr(deploying, "retrain", lambda job, progress: jobs.append(job))
    asked = replace(plan, expanding=expanding)
    done = walk(asked, tmp_path / "out") if expanding else walked[1]
    deploying.deploy(asked, done, tmp_path / "store")
    (job,) = jobs
    assert job.days == days + deploying.WARM_UP_DAYS
    assert job.params == done.choices[-1].params
    assert job.test_from_ms == end_ms(MARKET) - 3 * DAY_MS
    newest = done.windows[-1]
    longer = with_columns(newest, train_from_ms=newest.train_from_ms - 300 * DAY_MS)  # of which three days are 1 %
    deploying.deploy(asked, with_columns(done, windows=(longer,)), tmp_path / "store")
    assert (jobs[1].days, jobs[1].test_from_ms) == (job.days + 300, job.test_from_ms)


def test_what_is_deployed_is_judged_on_the_last_test_days_only_however_long_the_walk(
    plan: WalkPlan, tmp_path: Path
) -> None:
    """The windows end before the candles do: the days left over are too few for another one."""
    asked = replace(plan, expanding=True, days=28, train_days=15, test_days=4, trials=1)
    done = walk(asked, tmp_path / "out")
    newest = done.choices[-1]
    end = end_ms(MARKET)
    assert newest.test_to_ms < end
    result = deploying.deploy(asked, done, tmp_path / "store")
    lineage = ModelStore(tmp_path / "store").manifest(ModelKey("SOLUSDT", "lorentzian", "5m"), result.version).lineage
    assert lineage.test_from_ms == end - 4 * DAY_MS >= newest.test_from_ms
    assert lineage.fit_end_ms <= lineage.test_from_ms
    assert lineage.spec["test_rows"] == 4 * 288 - 2  # labels of two bars
    assert "test_share" not in lineage.spec


def test_the_sampler_is_told_of_the_defaults_and_not_of_what_is_undefined(
    plan: WalkPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies: list[optuna.Study] = []
    real = optuna.create_study

    def kept(**given: Any) -> optuna.Study:
        studies.append(real(**given))
        return studies[-1]

    scores = iter([1.5, None, 2.5] * 3)
    monkeypatch.setattr(optuna, "create_study", kept)
    monkeypatch.setattr(windows, "best_level", lambda market, rows, expected, metric: (10.0, next(scores)))
    done = walk(replace(plan, trials=3), tmp_path / "out")
    kind = family(plan.model, plan.options, plan.interval)
    for study, choice in zip(studies, done.choices, strict=True):
        first, second, third = study.trials
        assert first.params.items() <= kind.defaults(plan.rounds).items()
        assert (first.value, third.value) == (1.5, 2.5)
        assert second.state == TrialState.FAIL
        assert choice.trial_scores == (1.5, None, 2.5)
        assert choice.params == kind.suggest(optuna.trial.FixedTrial(third.params), plan.rounds)


def test_a_net_that_hardly_trades_tells_the_search_nothing(
    plan: WalkPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By rule levels, too: not to trade at all earns more than to lose, and would be chosen for it."""
    idle, twice = (lambda n: np.full(n, 0.5)), (lambda n: np.where(np.isin(np.arange(n) // 10, (0, 2)), 0.9, 0.5))
    busy = lambda n: np.where(np.arange(n) % 10 < 5, 0.9, 0.1)  # noqa: E731
    said = iter([idle, twice, busy, busy] * 3)
    monkeypatch.setattr(windows, "_rise", lambda fitted, sample: next(said)(len(sample)))
    done = walk(replace(plan, rule="levels", metric="total_return", trials=3), tmp_path / "out")
    for choice in done.choices:
        assert choice.trial_scores[:2] == (None, None)
        assert choice.validation_score == choice.trial_scores[2]
        assert choice.validation_score is not None
        assert choice.validation_score < 0  # what pays for so many trades


def test_too_few_rows_of_a_window_name_the_window_and_what_lengthens_it(
    plan: WalkPlan, walked: tuple[Path, Walked]
) -> None:
    _, done = walked
    kind = family(plan.model, plan.options, plan.interval)
    sample, window = build_dataset(kind, MARKET).sample, done.windows[1]
    begun = sample.where(sample.at_ms >= window.validation_from_ms - 100 * BAR_MS)
    with pytest.raises(DataError, match=r"^window 2: \d+ bars to remember.*: give it more --train days$"):
        windows.fit_window(plan, kind, begun, done.market, window, lambda *_: False)
    later = sample.where(sample.at_ms >= window.test_from_ms)
    with pytest.raises(DataError, match=r"^window 2: no usable row in its training part; give it longer parts \(--tr"):
        windows.fit_window(plan, kind, later, done.market, window, lambda *_: False)


def test_a_planted_signal_is_found_before_costs(plan: WalkPlan, walked: tuple[Path, Walked]) -> None:
    _, done = walked
    realised = MARKET.close[done.market.rows_of(done.said.at_ms)[:-3] + 2]
    now = MARKET.close[done.market.rows_of(done.said.at_ms)[:-3]]
    assert np.corrcoef(done.said.expected_bp[:-3], realised / now - 1)[0, 1] > 0.05


def test_the_indicator_is_walked_as_published_and_as_it_should_be(plan: WalkPlan, tmp_path: Path) -> None:
    for form in ("compat", "proper"):
        asked = replace(plan, rule="indicator", options={"form": form})
        done = walk(asked, tmp_path / form)
        assert done.choices == ()
        result, curve = result_of(asked, done)
        assert result.trades > 5
        held = curve.trips.closed_ms - curve.trips.opened_ms
        assert (held <= 4 * BAR_MS).all()
    with pytest.raises(ConfigError, match="rule indicator"):
        walk(replace(plan, options={"form": "compat"}), tmp_path / "other")


def test_what_cannot_be_walked_is_one_line(plan: WalkPlan, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="5 days are too few"):
        replace(plan, days=5)
    with pytest.raises(DataError, match="too few"):
        walk(replace(plan, as_of_ms=int(MARKET.open_ms[0]) + 5 * DAY_MS), tmp_path / "a")
    with pytest.raises(ConfigError, match="no option 'depth'"):
        walk(replace(plan, options={"depth": 3}), tmp_path / "b")
    assert not (tmp_path / "a").exists()


def test_levels_hold_while_the_net_says_so() -> None:
    rise = np.array([0.5, 0.8, 0.75, 0.65, 0.2, 0.29, 0.31])
    assert levels_of(rise).tolist() == [0, 1, 1, 0, -1, -1, 0]
    entered, left, side = runs_of(levels_of(rise))
    assert (entered.tolist(), left.tolist(), side.tolist()) == ([1, 4], [3, 6], [1, -1])


def test_the_level_is_the_best_by_the_metric_that_was_asked_for() -> None:
    """A few large forecasts always win a little; the many small ones earn more in sum but lose often."""
    rng = np.random.default_rng(4)
    rows = 600
    opens = np.full(rows + 4, 100.0)
    size = np.where(np.arange(rows) % 20 == 0, 50.0, 10.0)
    moves = np.zeros(rows + 4)
    moves[2 : rows + 2] = np.where(size == 50, 0.002, rng.choice([0.06, -0.05], rows) / 10)
    market = market_of(
        CandleColumns(np.arange(rows + 4) * BAR_MS, opens * np.cumprod(1 + moves), opens, opens, opens, opens),
        BAR_MS,
        2.0,
        TradeRule(hold_rows=1, rest_rows=0, cooldown_rows=0),
    )
    at = np.arange(rows)
    often, _ = best_level(market, at, size, "win_rate")
    most, _ = best_level(market, at, size, "total_return")
    assert often == 50.0
    assert most == 10.0
    few, found = best_level(market, at[:21], size[:21] * 0 + 1e-9 + (at[:21] == 0), "win_rate")
    assert (few, found) != (1.0, None)
    nothing, none = best_level(market, at[:2], size[:2], "win_rate")
    assert (nothing, none) == (2.0, None)  # too few trades choose nothing: the cost of a round trip


def test_metrics_of_a_curve_are_those_of_their_names() -> None:
    opens = 100 * np.cumprod([1, 1, 1.01, 0.99, 1.02, 1.0])
    curve = trade_curve(np.arange(6), opens, [0], [3], [1], 0.0)
    returns = np.diff(curve.equity) / curve.equity[:-1]
    assert score(curve, "total_return") == pytest.approx(curve.equity[-1] / START - 1)
    assert score(curve, "win_rate") == 1.0
    assert score(curve, "sharpe_ratio") == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert score(curve, "sortino_ratio") == pytest.approx(
        returns.mean() / np.sqrt((np.minimum(returns, 0) ** 2).mean())
    )
    assert score(curve, "calmar_ratio") == pytest.approx((curve.equity[-1] / START - 1) / 0.01)


def test_seeds_are_told_together(plan: WalkPlan, walked: tuple[Path, Walked]) -> None:
    one, _ = result_of(plan, walked[1])
    found = over_seeds(
        [one, replace(one, seed=8, figures=one.figures | {"sharpe": replace(one.figures["sharpe"], value=0.5)})]
    )
    assert found.seeds == (7, 8)
    assert found.mean == pytest.approx(np.mean(found.sharpes))
    assert found.deviation == pytest.approx(np.std(found.sharpes, ddof=1))
