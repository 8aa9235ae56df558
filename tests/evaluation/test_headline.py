"""The figures a run is judged by: computed by hand, and the traps that make public code show what is not there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import stationary_rows
from tradebot.evaluation.headline import METRICS, Figure, block_days, measure
from tradebot.evaluation.performance import drawdowns, sharpe
from tradebot.evaluation.periods import days_of, drawdown_of
from tradebot.evaluation.round_trips import RoundTrips
from tradebot.market.candle import DAY_MS, HOUR_MS

Floats = NDArray[np.float64]


def daily(curve: list[float]) -> tuple[NDArray[np.int64], Floats]:
    return np.arange(len(curve), dtype=np.int64) * DAY_MS, np.array(curve)


def trips(net: list[float], net_bp: list[float] | None = None) -> RoundTrips:
    closed = np.arange(1, len(net) + 1) * HOUR_MS
    return RoundTrips.of(closed - HOUR_MS // 2, closed, net, net if net_bp is None else net_bp)


def test_every_figure_by_hand() -> None:
    times, curve = daily([1000.0, 1100.0, 990.0, 1089.0, 1089.0, 1200.0])
    found = measure(times, curve, trips([60.0, -30.0, -10.0, 0.0, 50.0], [40.0, -10.0, -10.0, 0.0, 20.0]))
    returns = np.array([0.1, -0.1, 0.1, 0.0, 1200 / 1089 - 1])
    expected = {
        "roi": 0.2,
        "cagr": None,
        "sharpe": returns.mean() / returns.std(ddof=1) * math.sqrt(365),
        "sortino": returns.mean() / math.sqrt(0.01 / 5) * math.sqrt(365),
        "max_drawdown": 0.1,
        "calmar": None,
        "recovery": 200 / 110,
        "profitable_days": 0.6,
        "win_rate": 0.4,
        "profit_factor": 110 / 40,
        "expected_bp": 8.0,
        "reward_risk": 3.0,
        "losses_in_a_row": 2.0,
    }
    assert list(found.figures) == list(METRICS)
    for name in METRICS:
        assert found.value(name) == (None if expected[name] is None else pytest.approx(expected[name], rel=1e-9)), name
    assert (found.days, found.trades, found.independent_trades) == (5, 5, 5)


def test_what_cannot_be_said_is_left_unsaid_and_never_infinite() -> None:
    found = measure(*daily([1000.0, 1000.0, 1000.0]), RoundTrips.none())
    undefined = {name for name in METRICS if found.value(name) is None}
    assert undefined == set(METRICS) - {"roi", "max_drawdown", "profitable_days"}
    only_wins = measure(*daily([1000.0, 1010.0, 1030.0]), trips([10.0, 20.0]))
    assert only_wins.value("profit_factor") is None
    assert only_wins.value("reward_risk") is None
    assert only_wins.value("sortino") is None
    assert only_wins.value("recovery") is None
    assert only_wins.value("calmar") is None
    assert only_wins.value("win_rate") == 1.0


def test_a_yearly_growth_is_told_of_thirty_days_and_no_fewer() -> None:
    curve = [1000.0, 1100.0, 990.0, *[1089.0] * 27, 1200.0]
    found = measure(*daily(curve), RoundTrips.none())
    growth = 1.2 ** (365 / 30) - 1
    assert found.value("cagr") == pytest.approx(growth, rel=1e-9)
    assert found.value("calmar") == pytest.approx(growth / 0.1, rel=1e-9)
    short = measure(*daily([*curve[:5], *curve[6:]]), RoundTrips.none())
    assert {short.figures[name] for name in ("cagr", "calmar")} == {Figure(None)}


def test_half_a_day_of_luck_is_not_told_as_a_yearly_growth_without_end() -> None:
    found = measure([0, HOUR_MS], [1.0, 3.0], RoundTrips.none())
    assert found.value("cagr") is None
    assert found.value("calmar") is None
    assert found.figures["roi"].low is None
    assert found.value("roi") == 2.0


def test_a_position_that_was_under_water_counts_in_the_drawdown_though_the_day_and_the_trade_ended_well() -> None:
    hours = np.arange(0, 24 * 8 + 1) * HOUR_MS
    curve = np.full(24 * 8 + 1, 1000.0)
    curve[30:40] = 700.0  # open, at a loss
    curve[40:] = 1050.0
    found = measure(hours, curve, trips([50.0]))
    assert found.value("max_drawdown") == pytest.approx(0.3)
    assert found.value("recovery") == pytest.approx(50 / 300)
    assert days_of(hours, curve).returns.min() == 0.0  # days' ends alone would show none
    interval = found.figures["max_drawdown"]
    assert interval.high is not None
    assert interval.high >= 0.3


def test_the_win_rate_counts_trades_and_not_the_bars_they_lasted() -> None:
    """One win held for 90 bars, nine losses of one bar each: 10 %, where bars in profit would be 91 %."""
    opened = np.concatenate(([0], 100 + np.arange(9)))
    closed = np.concatenate(([90], 101 + np.arange(9)))
    net = np.concatenate(([90.0], np.full(9, -1.0)))
    lasted = closed - opened
    found = measure([0, DAY_MS], [1000.0, 1081.0], RoundTrips.of(opened, closed, net, net))
    assert found.value("win_rate") == pytest.approx(0.1)
    assert float(lasted[net > 0].sum() / lasted.sum()) == pytest.approx(90 / 99)


def random_walk_momentum(bars: int, lag: int) -> Floats:
    """Hourly returns of holding the sign of the last 14 bars' move, ``lag`` bars after it is known."""
    moves = np.random.default_rng(20).normal(0, 0.005, bars)
    path = np.concatenate(([0.0], np.cumsum(moves)))
    signal = np.sign(path[14:] - path[:-14])  # signal[i]: known at the close of bar i + 13
    earned = moves[13 + lag :]
    return signal[: len(earned)] * earned


def test_momentum_on_a_random_walk_earns_nothing_with_our_alignment_and_much_with_the_wrong_one() -> None:
    """The trap of public metric code: a bar's return times the signal that this bar helped to make."""
    hours = 10 * 8_760
    aligned, shifted = random_walk_momentum(hours, lag=1), random_walk_momentum(hours, lag=0)
    curve = 1000.0 * np.concatenate(([1.0], np.cumprod(1 + aligned)))
    ours = measure(np.arange(len(curve)) * HOUR_MS, curve, RoundTrips.none())
    assert abs(ours.value("sharpe") or 9.0) < 0.65  # two standard errors of ten years
    low, high = ours.figures["sharpe"].low, ours.figures["sharpe"].high
    assert low is not None
    assert high is not None
    assert low < 0 < high
    # as coded in public: a lookahead of one bar and the square root of 252 on hourly data; then annualised rightly
    assert sharpe(shifted, periods_per_year=252) == pytest.approx(3.5, abs=0.2)
    assert sharpe(shifted, periods_per_year=8_760) == pytest.approx(20.0, abs=1.0)


def test_years_have_365_days_whatever_the_period() -> None:
    """Markets never close: 252 would understate a daily Sharpe, and by far more one of hours."""
    rng = np.random.default_rng(5)
    curve = 1000.0 * np.cumprod(np.concatenate(([1.0], 1 + rng.normal(0.0002, 0.004, 24 * 400))))
    times = np.arange(len(curve)) * HOUR_MS
    by_day = measure(times, curve, RoundTrips.none())
    by_hour = measure(times, curve, RoundTrips.none(), period_ms=HOUR_MS, draws=20)
    daily_returns = days_of(times, curve).returns
    assert by_day.value("sharpe") == pytest.approx(daily_returns.mean() / daily_returns.std(ddof=1) * math.sqrt(365))
    assert by_hour.value("sharpe") == pytest.approx(by_day.value("sharpe"), rel=0.15)


def test_days_are_utc_days_and_a_sliver_at_an_end_belongs_to_its_neighbour() -> None:
    step = np.arange(0, 3 * 24 + 1) * HOUR_MS
    from_six = days_of(step + 6 * HOUR_MS, np.full(73, 1.0))
    assert (from_six.edge_ms // HOUR_MS).tolist() == [6, 24, 48, 78]  # 18 h stand alone, the last 6 h do not
    from_eighteen = days_of(step + 18 * HOUR_MS, np.full(73, 1.0))
    assert (from_eighteen.edge_ms // HOUR_MS).tolist() == [18, 48, 72, 90]
    assert (days_of([0, HOUR_MS], [1.0, 2.0]).edge_ms // HOUR_MS).tolist() == [0, 1]
    assert from_six.day_of(np.array([0, 24, 25, 999]) * HOUR_MS).tolist() == [0, 0, 1, 2]


@given(st.lists(st.floats(0.5, 1.6), min_size=2, max_size=60), st.integers(1, 9), st.integers(0, 30))
@settings(max_examples=150, deadline=None)
def test_days_multiply_to_the_whole_and_their_order_as_it_was_has_the_curves_own_drawdown(
    growths: list[float], step_hours: int, offset: int
) -> None:
    curve = np.cumprod(np.array([1000.0, *growths]))
    times = (np.arange(len(curve)) * step_hours + offset) * HOUR_MS
    days = days_of(times, curve)
    assert np.prod(days.growth) == pytest.approx(curve[-1] / curve[0])
    as_it_was = drawdown_of(days, np.arange(len(days))[None, :])
    assert as_it_was[0] == pytest.approx(drawdowns(curve).max(), abs=1e-12)


def test_drawdowns_of_resampled_days_are_those_of_the_curves_put_together_from_them() -> None:
    rng = np.random.default_rng(8)
    curve = 1000.0 * np.cumprod(np.concatenate(([1.0], 1 + rng.normal(0, 0.01, 24 * 12))))
    times = np.arange(len(curve)) * HOUR_MS
    days = days_of(times, curve)
    hourly = (curve[1:] / curve[:-1]).reshape(12, 24)
    rows = stationary_rows(12, block=2, draws=40, seed=1)
    together = [drawdowns(np.concatenate(([1.0], np.cumprod(hourly[row].ravel())))).max() for row in rows]
    assert drawdown_of(days, rows) == pytest.approx(np.array(together), abs=1e-12)


def test_intervals_hold_the_value_and_stay_where_the_figure_can_be() -> None:
    rng = np.random.default_rng(9)
    curve = 1000.0 * np.cumprod(np.concatenate(([1.0], 1 + rng.normal(0.001, 0.02, 120))))
    closed = np.sort(rng.integers(1, 120 * DAY_MS, 300))
    net = rng.normal(1, 10, 300)
    found = measure(np.arange(121) * DAY_MS, curve, RoundTrips.of(closed - HOUR_MS, closed, net, net))
    assert found.insufficient == ()
    for name in METRICS:
        figure = found.figures[name]
        if figure.low is None or figure.high is None:
            assert name in ("recovery", "losses_in_a_row")
            continue
        assert figure.value is not None
        assert figure.low <= figure.value <= figure.high, name
    assert 0 <= (found.figures["win_rate"].low or 0) <= (found.figures["win_rate"].high or 2) <= 1
    assert measure(np.arange(121) * DAY_MS, curve, RoundTrips.none()) == measure(
        np.arange(121) * DAY_MS, curve, RoundTrips.none()
    )


def test_intervals_of_a_sharpe_of_noise_hold_nothing_as_often_as_they_say() -> None:
    held = 0
    for seed in range(120):
        returns = np.random.default_rng(seed).standard_t(5, 90) * 0.01
        curve = 1000.0 * np.cumprod(np.concatenate(([1.0], 1 + returns)))
        figure = measure(np.arange(91) * DAY_MS, curve, RoundTrips.none(), draws=300, seed=seed, level=0.9).figures
        low, high = figure["sharpe"].low, figure["sharpe"].high
        held += low is not None and high is not None and low <= 0 <= high
    assert 0.82 < held / 120 < 0.98


def test_of_a_few_days_no_interval_is_told() -> None:
    rng = np.random.default_rng(4)
    curve = [1000.0, *(1000.0 * np.cumprod(1 + rng.normal(0, 0.01, 6))).tolist()]
    assert measure(*daily(curve[:6]), RoundTrips.none()).figures["roi"].low is None
    assert measure(*daily(curve), RoundTrips.none()).figures["roi"].low is not None


def test_few_trades_and_few_days_are_called_too_few() -> None:
    few = measure(*daily([1000.0, 1001.0, 1002.0]), trips([1.0] * 29))
    assert [text.split()[0] for text in few.insufficient] == ["29", "1.6"]
    rng = np.random.default_rng(3)
    many = 1000.0 * np.cumprod(1 + rng.normal(0, 0.01, 101))
    enough = measure(np.arange(101) * DAY_MS, many, trips([1.0] * 30))
    assert enough.insufficient == ()


def test_stretches_grow_with_the_holding_time_and_the_sample() -> None:
    assert block_days(1, 0.0) == 1.0
    assert block_days(1000, 0.1) == pytest.approx(10.0)
    assert block_days(27, 4.0) == 8.0


def test_trades_open_at_the_same_time_are_not_independent() -> None:
    opened, closed = np.array([0, 10, 20, 100]), np.array([50, 60, 70, 110])
    found = measure([0, DAY_MS], [1.0, 1.0], RoundTrips.of(opened, closed, np.ones(4), np.ones(4)))
    assert (found.trades, found.independent_trades) == (4, 2)


def test_equity_that_is_gone_stays_gone() -> None:
    times = np.arange(31) * DAY_MS
    found = measure(times, [1000.0, 500.0, *[-20.0] * 29], trips([-1020.0]))
    assert found.value("roi") == -1.0
    assert found.value("max_drawdown") == 1.0
    assert found.value("cagr") == -1.0
    assert days_of(times[:5], [1000.0, 500.0, -20.0, -20.0, -20.0]).returns.tolist() == [-0.5, -1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("times", "curve", "what"),
    [
        ([0], [1.0], "two points"),
        ([0, 0], [1.0, 1.0], "ascend"),
        ([0, 1], [0.0, 1.0], "nothing"),
        ([0, 1], [1.0, float("nan")], "finite"),
    ],
)
def test_curves_that_are_none_are_refused(times: list[int], curve: list[float], what: str) -> None:
    with pytest.raises(DataError, match=what):
        measure(times, curve, RoundTrips.none())


def test_trades_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(DataError, match="one result"):
        RoundTrips.of([1], [2], [1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="finite"):
        RoundTrips.of([1], [2], [float("inf")], [1.0])
