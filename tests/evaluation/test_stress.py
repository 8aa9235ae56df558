"""Worse luck, higher costs, a slower bot; and windows of a walk-forward."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebot.errors import DataError
from tradebot.evaluation.periods import days_of
from tradebot.evaluation.round_trips import RoundTrips
from tradebot.evaluation.stress import STRESS, StressPoint, break_even_cost, luck_of_days, luck_of_trades, stressed
from tradebot.evaluation.walkforward import BAR_MS, end_to_end, windows
from tradebot.market.candle import DAY_MS, HOUR_MS


def trips(net: np.ndarray) -> RoundTrips:
    closed = np.arange(1, len(net) + 1) * HOUR_MS
    return RoundTrips.of(closed - 1, closed, net, net)


def test_every_point_is_run_once_the_plain_one_first() -> None:
    assert STRESS[0] == StressPoint(1.0, 0)
    assert {(p.cost, p.delay_bars) for p in STRESS} == {(c, d) for c in (1.0, 1.5, 2.0) for d in (0, 1, 2)}
    told: list[StressPoint] = []
    found = stressed(lambda point: point.cost * 10 + point.delay_bars, on_point=told.append)
    assert [s.result for s in found] == [10, 15, 20, 11, 16, 21, 12, 17, 22]
    assert tuple(told) == STRESS
    assert str(StressPoint(2.0, 1)) == "costs x2, 1 candle late"
    assert str(StressPoint(1.5)) == "costs x1.5"


def test_break_even_is_where_the_line_through_the_points_meets_nothing() -> None:
    assert break_even_cost([1.0, 1.5, 2.0], [20.0, 10.0, 0.0]) == pytest.approx(2.0)
    assert break_even_cost([1.0, 2.0], [-10.0, -30.0]) == pytest.approx(0.5)
    assert break_even_cost([1.0, 2.0], [5.0, 5.0]) is None
    assert break_even_cost([1.0], [5.0]) is None


def test_luck_of_days_spreads_as_their_number_and_deviation_say() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.01, 400)
    curve = 1000.0 * np.cumprod(np.concatenate(([1.0], 1 + returns)))
    found = luck_of_days(days_of(np.arange(401) * DAY_MS, curve), block=1)
    spread = 1.645 * returns.std() * np.sqrt(400)
    centre = np.log1p(returns).sum()
    assert np.log1p(found.median) == pytest.approx(centre, abs=0.03)
    assert np.log1p(found.high) - np.log1p(found.median) == pytest.approx(spread, rel=0.12)
    assert found.low < found.median < found.high
    assert found.drawdown_median < found.drawdown_high <= 1
    assert found.draws == 2_000


def test_luck_of_trades_by_hand() -> None:
    same = luck_of_trades(trips(np.full(40, 2.0)), days=10)
    assert same is not None
    assert (same.low, same.median, same.high) == (80.0, 80.0, 80.0)
    assert (same.drawdown_high, same.loses, same.block) == (0.0, 0.0, 20.0)
    losing = luck_of_trades(trips(np.full(10, -3.0)), days=1)
    assert losing is not None
    assert (losing.median, losing.drawdown_median, losing.loses) == (-30.0, 30.0, 1.0)
    assert luck_of_trades(RoundTrips.none(), days=5) is None


def test_luck_of_many_trades_is_drawn_in_portions_to_the_asked_number() -> None:
    net = np.random.default_rng(3).normal(1, 10, 12_000)
    found = luck_of_trades(trips(net), days=3_000, draws=400)
    assert found is not None
    assert found.draws == 400
    assert found.median == pytest.approx(12_000 * net.mean(), abs=4 * 10 * np.sqrt(12_000) / np.sqrt(400) * 1.3)


@given(st.integers(0, 10_000), st.integers(30, 400), st.integers(1, 300), st.booleans())
def test_test_parts_lie_end_to_end_and_nothing_of_them_is_known_before(
    start: int, days: int, gap_bars: int, expanding: bool
) -> None:
    begin = start * HOUR_MS
    gap = gap_bars * BAR_MS
    if days < 37:
        with pytest.raises(DataError, match="too few"):
            windows(begin, begin + days * DAY_MS, gap_ms=gap)
        return
    found = windows(begin, begin + days * DAY_MS, gap_ms=gap, expanding=expanding)
    assert len(found) == (days - 30) // 7
    assert found[0].test_from_ms == begin + 30 * DAY_MS
    assert found[-1].test_to_ms <= begin + days * DAY_MS
    for before, after in pairwise(found):
        assert before.test_to_ms == after.test_from_ms
    for w in found:
        assert w.train_from_ms == (begin if expanding else w.test_from_ms - 30 * DAY_MS)
        assert w.fit_to_ms + gap == w.validation_from_ms
        assert w.validation_to_ms + gap == w.test_from_ms
        fitted, chosen = w.fit_to_ms - w.train_from_ms, w.validation_to_ms - w.validation_from_ms
        assert chosen / (fitted + chosen) == pytest.approx(0.15, abs=0.001)
        assert w.test_to_ms - w.test_from_ms == 7 * DAY_MS


def test_windows_that_leave_nothing_to_fit_on_are_refused() -> None:
    with pytest.raises(DataError, match="nothing to fit"):
        windows(0, 100 * DAY_MS, train_ms=HOUR_MS, test_ms=DAY_MS, gap_ms=HOUR_MS)
    with pytest.raises(DataError, match="between 0 and 1"):
        windows(0, 100 * DAY_MS, gap_ms=0, validation_share=1.0)


def test_curves_go_on_where_the_one_before_ended() -> None:
    a = (np.array([0, 10]), np.array([1000.0, 1100.0]))
    b = (np.array([10, 20, 30]), np.array([1000.0, 500.0, 1500.0]))
    times, equity = end_to_end([a, b])
    assert times.tolist() == [0, 10, 20, 30]
    assert equity == pytest.approx(np.array([1000.0, 1100.0, 550.0, 1650.0]))
    with pytest.raises(DataError, match="overlap"):
        end_to_end([b, a])
    with pytest.raises(DataError, match="no window"):
        end_to_end([])
