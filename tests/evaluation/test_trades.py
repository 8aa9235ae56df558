"""A threshold rule's trades: costs, overlap, and the traps that make noise look like skill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import mean_interval
from tradebot.evaluation.trades import TradeRule, best_entry_bp, threshold_trades

Floats = NDArray[np.float64]
EVERY_ROW = TradeRule(hold_rows=1, rest_rows=0, cooldown_rows=0)
NO_PAUSE = TradeRule(hold_rows=2, rest_rows=0, cooldown_rows=0)


def labels(returns_bp: Floats, horizon: int = 2) -> Floats:
    """Return over the ``horizon`` candles after each row."""
    level = np.concatenate(([0.0], np.cumsum(returns_bp)))
    rows = len(returns_bp) - horizon
    return level[1 + horizon : 1 + horizon + rows] - level[1 : 1 + rows]


def test_hand_computed_trades() -> None:
    """In at 0, out at 2 with a loss: rows 3 and 4 are the cool-down. In at 5, out at 7 with a gain: in again at 8."""
    expected = [10.0, 99.0, 99.0, -70.0, 60.0, -5.0, 70.0, 80.0, 6.0]
    realised = [4.0, 99.0, 99.0, 99.0, 99.0, -30.0, 99.0, 99.0, -20.0]
    trades = threshold_trades(expected, realised, 12.0, entry_bp=5.0)
    assert trades.row.tolist() == [0, 5, 8]
    assert trades.side.tolist() == [1, -1, 1]
    assert trades.gross_bp.tolist() == [4.0, 30.0, -20.0]
    assert trades.net_bp.tolist() == [-8.0, 18.0, -32.0]
    assert trades.per_row_bp().tolist() == [-8.0, 0.0, 0.0, 0.0, 0.0, 18.0, 0.0, 0.0, -32.0]
    assert trades.win_rate() == pytest.approx(1 / 3)
    assert trades.mean_net_bp() == pytest.approx(-22 / 3)


def test_costs_may_differ_by_row_and_a_forecast_at_the_threshold_trades() -> None:
    trades = threshold_trades([4.9, 5.0, 9.0], [1.0, 1.0, 1.0], [1.0, 2.0, 3.0], entry_bp=5.0, rule=EVERY_ROW)
    assert trades.row.tolist() == [1, 2]
    assert trades.net_bp.tolist() == [-1.0, -2.0]


def test_the_cooldown_follows_losses_after_costs_only() -> None:
    for gross, next_row in ((12.1, 3), (11.9, 5)):
        trades = threshold_trades([9.0] * 6, [gross] * 6, 12.0, entry_bp=5.0)
        assert trades.row[1] == next_row


def test_a_forecast_of_nothing_never_trades() -> None:
    trades = threshold_trades([0.0, 0.0], [50.0, -50.0], 1.0, entry_bp=0.0)
    assert len(trades) == 0
    assert trades.win_rate() is None
    assert trades.mean_net_bp() is None


@given(
    st.lists(st.tuples(st.floats(-20, 20), st.floats(-30, 30)), min_size=1, max_size=80),
    st.builds(TradeRule, st.integers(1, 7), st.integers(0, 3), st.integers(0, 3)),
    st.sampled_from([0.0, 1.0, 5.0]),
)
def test_no_position_is_opened_while_the_rule_forbids_it_and_none_is_missed(
    rows: list[tuple[float, float]], rule: TradeRule, entry: float
) -> None:
    expected, realised = [e for e, _ in rows], [r for _, r in rows]
    trades = threshold_trades(expected, realised, 3.0, entry_bp=entry, rule=rule)
    taken, free_from = [], 0
    for row, (value, outcome) in enumerate(rows):
        if row >= free_from and abs(value) >= entry and value != 0:
            taken.append(row)
            lost = np.sign(value) * outcome - 3.0 < 0
            free_from = row + rule.hold_rows + rule.rest_rows + (rule.cooldown_rows if lost else 0)
    assert trades.row.tolist() == taken


def test_a_random_walk_shows_no_skill_and_loses_its_costs() -> None:
    rng = np.random.default_rng(11)
    returns = rng.normal(0, 13, 30_000)
    realised = labels(returns)
    momentum = np.convolve(returns, np.ones(3), "full")[: len(realised)]
    gross = threshold_trades(momentum, realised, 0.0, entry_bp=5.0, rule=NO_PAUSE)
    interval = mean_interval(gross.per_row_bp(), block=288)
    assert interval.low < 0 < interval.high
    net = threshold_trades(momentum, realised, 12.0, entry_bp=5.0, rule=NO_PAUSE)
    assert mean_interval(net.per_row_bp(), block=288).high < 0
    assert net.mean_net_bp() == pytest.approx((gross.mean_net_bp() or 0) - 12.0)


def test_acting_one_candle_before_the_forecast_exists_makes_noise_look_like_skill() -> None:
    """The trap: pairing a forecast with the label of the row before it. Aligned, nothing is left."""
    rng = np.random.default_rng(12)
    returns = rng.normal(0, 13, 20_000)
    realised = labels(returns)
    momentum = returns[: len(realised)]  # the return of the row itself: known at its close
    aligned = threshold_trades(momentum, realised, 0.0, entry_bp=0.0)
    shifted = threshold_trades(momentum[1:], realised[:-1], 0.0, entry_bp=0.0)
    assert mean_interval(aligned.per_row_bp(), block=288).low < 0
    assert mean_interval(shifted.per_row_bp(), block=288).low > 2


def test_a_planted_signal_is_found_and_survives_one_candle_of_delay() -> None:
    rng = np.random.default_rng(13)
    signal = np.repeat(rng.choice([-1.0, 1.0], 4_000), 5)
    realised = labels(np.concatenate(([0.0], 6 * signal + rng.normal(0, 13, len(signal)))))
    expected = 12 * signal[: len(realised)]
    prompt = threshold_trades(expected, realised, 0.0, entry_bp=5.0)
    late = threshold_trades(expected[:-1], realised[1:], 0.0, entry_bp=5.0)
    prompt_mean, late_mean = prompt.mean_net_bp(), late.mean_net_bp()
    assert prompt_mean is not None
    assert late_mean is not None
    assert prompt_mean > 8
    assert 0.3 * prompt_mean < late_mean < prompt_mean


def test_the_best_threshold_is_the_one_that_earns_most_in_sum() -> None:
    rng = np.random.default_rng(14)
    expected = rng.normal(0, 10, 20_000)
    realised = np.where(np.abs(expected) > 15, expected, -expected) + rng.normal(0, 5, 20_000)
    best = best_entry_bp(expected, realised, 3.0, min_trades=30, rule=EVERY_ROW)
    assert best == pytest.approx(15, abs=1)
    totals = {
        entry: threshold_trades(expected, realised, 3.0, entry_bp=entry, rule=EVERY_ROW).net_bp.sum()
        for entry in (best or 0, 0.0, 5.0, 10.0, 20.0)
    }
    assert max(totals, key=lambda entry: totals[entry]) == best


def test_no_threshold_is_given_where_acting_does_not_pay() -> None:
    rng = np.random.default_rng(15)
    expected, realised = rng.normal(0, 10, 5_000), rng.normal(0, 10, 5_000)
    assert best_entry_bp(expected, realised, 12.0, min_trades=30) is None
    least_bad = best_entry_bp(expected, realised, 12.0, min_trades=30, must_earn=False)
    assert least_bad is not None
    assert least_bad > 15
    assert len(threshold_trades(expected, realised, 12.0, entry_bp=least_bad)) >= 30


def test_too_few_trades_are_no_basis_for_a_threshold() -> None:
    expected, realised = [50.0, 0.0, 0.0, 0.0], [60.0, 0.0, 0.0, 0.0]
    assert best_entry_bp(expected, realised, 1.0, min_trades=2) is None
    assert best_entry_bp(expected, realised, 1.0, min_trades=1) is not None


def test_rows_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DataError, match="same rows"):
        threshold_trades([1.0, 2.0], [1.0], 0.0, entry_bp=0.0)
    with pytest.raises(DataError, match="one per row"):
        threshold_trades([1.0, 2.0], [1.0, 2.0], [1.0], entry_bp=0.0)
    with pytest.raises(DataError, match="finite"):
        threshold_trades([1.0, float("nan")], [1.0, 2.0], 0.0, entry_bp=0.0)
    with pytest.raises(DataError, match="finite"):
        threshold_trades([1.0], [1.0], float("inf"), entry_bp=0.0)
    with pytest.raises(DataError, match="not be negative"):
        threshold_trades([1.0], [1.0], 0.0, entry_bp=-1.0)
    with pytest.raises(DataError, match="at least one row"):
        TradeRule(hold_rows=0)
