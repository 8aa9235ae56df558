"""What a run has to beat: holding the market, and the same trades at random moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebot.errors import DataError
from tradebot.evaluation.unskilled import Turnover, _entries, buy_and_hold, random_entries


def turnover(prices: list[float] | np.ndarray, side: list[int], steps: list[int], cost: float = 0.0) -> Turnover:
    n = len(side)
    return Turnover(
        np.asarray(prices, dtype=np.float64),
        np.arange(len(prices)) // 288,
        np.array(side, dtype=np.int64),
        np.array(steps, dtype=np.int64),
        np.full(n, 100.0),
        np.full(n, cost),
    )


def test_holding_by_hand() -> None:
    prices = np.array([[100.0, np.nan], [110.0, 50.0], [np.nan, 40.0], [120.0, 25.0]])
    free = buy_and_hold(prices, capital=1000.0, cost_bp=0.0)
    assert free.tolist() == [1000.0, 1050.0, 550.0 + 400.0, 600.0 + 250.0]
    paid = buy_and_hold(prices[:, :1], capital=1000.0, cost_bp=10.0)
    assert paid.tolist() == pytest.approx([1000.0, 1098.9, 1098.9, 1198.8 * 0.999])
    with pytest.raises(DataError, match="prices"):
        buy_and_hold(np.zeros((0, 1)), capital=1.0, cost_bp=0.0)


def test_a_symbol_that_never_had_a_price_stays_cash() -> None:
    prices = np.array([[100.0, np.nan], [50.0, np.nan]])
    assert buy_and_hold(prices, capital=1000.0, cost_bp=0.0).tolist() == [1000.0, 750.0]


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=12),
    st.integers(0, 60),
    st.integers(0, 2**20),
)
@settings(max_examples=120, deadline=None)
def test_random_trades_never_overlap_and_end_within_the_market(lasting: list[int], spare: int, seed: int) -> None:
    last = sum(lasting) + spare
    draws = np.tile(np.array(lasting, dtype=np.int64), (5, 1))
    entry = _entries(draws, last, np.random.default_rng(seed))
    assert entry.min() >= 0
    assert (entry + draws).max() <= last
    assert (entry[:, 1:] >= (entry + draws)[:, :-1]).all()


def test_trades_that_overlapped_in_the_run_may_overlap_at_random_but_stay_within_the_market() -> None:
    draws = np.full((20, 5), 6, dtype=np.int64)
    entry = _entries(draws, 10, np.random.default_rng(1))
    assert entry.min() >= 0
    assert (entry + draws).max() <= 10


def test_entries_are_spread_over_the_whole_market() -> None:
    entry = _entries(np.full((4_000, 1), 10, dtype=np.int64), 110, np.random.default_rng(2))
    assert entry.mean() == pytest.approx(50, abs=2)
    assert entry.min() == 0
    assert entry.max() == 100


def test_in_a_market_that_always_rises_only_side_length_and_cost_matter() -> None:
    prices = 100.0 * 1.001 ** np.arange(500)
    found = random_entries(
        0.0, capital=1000.0, turnover=[turnover(prices, [1, 1, -1], [10, 20, 30], cost=0.5)], draws=50, seed=1
    )
    assert found is not None
    by_hand = 100 * (1.001**10 - 1) + 100 * (1.001**20 - 1) - 100 * (1.001**30 - 1) - 1.5
    assert found.net.low == pytest.approx(by_hand)
    assert found.net.high == pytest.approx(by_hand)
    assert (found.trades, found.draws, found.percentile) == (3, 50, 1.0)
    won, lost = 100 * (1.001**10 - 1) + 100 * (1.001**20 - 1) - 1.0, 100 * (1.001**30 - 1) + 0.5
    assert found.figures["roi"].median == pytest.approx(by_hand / 1000)
    assert found.figures["win_rate"].median == pytest.approx(2 / 3)
    assert found.figures["profit_factor"].median == pytest.approx(won / lost)
    assert found.figures["expected_bp"].median == pytest.approx(by_hand / 3 / 100 * 1e4)


def test_a_run_that_knew_when_lies_above_nearly_all_and_one_that_did_not_lies_anywhere() -> None:
    rng = np.random.default_rng(4)
    moves = rng.normal(0, 0.002, 3_000)
    prices = 100.0 * np.cumprod(np.concatenate(([1.0], 1 + moves)))
    steps = [5] * 60
    knew = np.argsort(-(prices[5:] / prices[:-5]))[:60]
    own = float((100.0 * (prices[knew + 5] / prices[knew] - 1)).sum())
    skilled = random_entries(own, [turnover(prices, [1] * 60, steps)], capital=1000.0, draws=500)
    assert skilled is not None
    assert skilled.percentile == 1.0
    shares = []
    for seed in range(60):
        at = np.random.default_rng(seed).choice(np.arange(0, 2_990, 10), 60, replace=False)
        chance = float((100.0 * (prices[at + 5] / prices[at] - 1)).sum())
        found = random_entries(chance, [turnover(prices, [1] * 60, steps)], capital=1000.0, draws=200, seed=seed)
        assert found is not None
        shares.append(found.percentile)
    assert 0.38 < np.mean(shares) < 0.62
    assert min(shares) < 0.15
    assert max(shares) > 0.85


def test_symbols_add_up_and_draws_in_portions_are_as_many() -> None:
    prices = 100.0 * np.cumprod(1 + np.random.default_rng(6).normal(0, 0.002, 40_000))
    many = turnover(prices, [1] * 5_000, [3] * 5_000, cost=0.01)
    found = random_entries(0.0, capital=1000.0, turnover=[many, turnover(prices, [], [])], draws=900, seed=1)
    assert found is not None
    assert found.draws == 900
    assert found.trades == 5_000
    assert found.net.low is not None
    assert found.net.high is not None
    assert found.net.low < (found.net.median or 0.0) < found.net.high
    assert found == random_entries(0.0, capital=1000.0, turnover=[many], draws=900, seed=1)


def test_random_days_add_up_to_what_was_earned_and_have_a_sharpe_of_chance() -> None:
    prices = 100.0 * np.cumprod(1 + np.random.default_rng(9).normal(0, 0.002, 288 * 60))
    found = random_entries(0.0, [turnover(prices, [1] * 300 + [-1] * 300, [3] * 600)], capital=1000.0, draws=400)
    assert found is not None
    sharpe, net, roi = found.figures["sharpe"], found.net, found.figures["roi"]
    assert sharpe.low is not None
    assert sharpe.high is not None
    assert sharpe.low < 0 < sharpe.high
    assert sharpe.high - sharpe.low == pytest.approx(2 * 1.645 / np.sqrt(60 / 365), rel=0.3)
    assert roi.high == pytest.approx((net.high or 0.0) / 1000)
    without_losses = random_entries(0.0, [turnover(100.0 * 1.01 ** np.arange(40), [1], [5])], capital=1.0, draws=20)
    assert without_losses is not None
    assert without_losses.figures["profit_factor"].median is None


def test_without_trades_there_is_nothing_to_match() -> None:
    assert random_entries(0.0, [], capital=1000.0) is None
    assert random_entries(0.0, capital=1000.0, turnover=[turnover([1.0, 1.0], [], [])]) is None


def test_prices_with_gaps_are_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        random_entries(0.0, capital=1000.0, turnover=[turnover([1.0, float("nan")], [1], [1])])
