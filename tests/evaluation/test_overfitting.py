"""What having tried many things is worth, and how it is taken off."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from tradebot.errors import DataError
from tradebot.evaluation.overfitting import deflated_sharpe, luck_of, overfitting, probability_above


def test_the_bar_is_that_of_the_best_of_many_normal_values() -> None:
    assert luck_of(1) == 0.0
    assert luck_of(21) == pytest.approx(1.92, abs=0.005)
    assert luck_of(50) == pytest.approx(2.28, abs=0.005)
    assert luck_of(100) == pytest.approx(2.53, abs=0.005)
    best = np.random.default_rng(1).normal(size=(20_000, 50)).max(axis=1).mean()
    assert luck_of(50) == pytest.approx(best, rel=0.02)
    with pytest.raises(DataError, match="one trial"):
        luck_of(0)


def test_a_deflated_sharpe_by_hand() -> None:
    """The formula, written out again with scipy's normal distribution."""
    x = np.random.default_rng(2).standard_t(5, 250) * 0.01 + 0.001
    tried = np.random.default_rng(3).normal(0.02, 0.05, 40)
    found = deflated_sharpe(x, trials=60, trial_sharpes=tried)
    assert found is not None
    sr = x.mean() / x.std(ddof=1)
    bar = tried.std(ddof=1) * (
        (1 - 0.5772156649) * norm.ppf(1 - 1 / 60) + 0.5772156649 * norm.ppf(1 - 1 / (60 * math.e))
    )
    skew = ((x - x.mean()) ** 3).mean() / x.std() ** 3
    kurtosis = ((x - x.mean()) ** 4).mean() / x.std() ** 4
    expected = norm.cdf((sr - bar) * math.sqrt(249) / math.sqrt(1 - skew * sr + (kurtosis - 1) / 4 * sr**2))
    assert found.probability == pytest.approx(expected)
    assert found.luck == pytest.approx(bar)
    assert not found.assumed


def test_the_published_example_comes_out() -> None:
    """Bailey & López de Prado 2014: 100 trials of variance 1/2 a year, annual Sharpe 2.5 over five years of 250 days,
    skew -3, kurtosis 10 give 0.9004; 46 trials 0.9505.
    """
    for trials, expected in ((100, 0.9004), (46, 0.9505)):
        bar = math.sqrt(0.5 / 250) * luck_of(trials)
        found = probability_above(bar, 2.5 / math.sqrt(250), periods=1250, skew=-3, kurtosis=10)
        assert found == pytest.approx(expected, abs=5e-4)
    assert probability_above(0.0, 1.0, periods=10, skew=0, kurtosis=-4) is None


def test_the_best_of_many_useless_strategies_passes_undeflated_and_fails_deflated() -> None:
    passed_alone, passed_deflated = 0, 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(0, 0.01, (180, 50))
        sharpes = noise.mean(axis=0) / noise.std(axis=0, ddof=1)
        best = noise[:, int(sharpes.argmax())]
        alone = deflated_sharpe(best, trials=1)
        deflated = deflated_sharpe(best, trials=50, trial_sharpes=sharpes)
        assert alone is not None
        assert deflated is not None
        passed_alone += alone.probability > 0.95
        passed_deflated += deflated.probability > 0.95
    assert passed_alone > 50
    assert passed_deflated < 8


def test_an_edge_that_is_there_survives_the_count_of_trials() -> None:
    rng = np.random.default_rng(5)
    found = deflated_sharpe(rng.normal(0.004, 0.01, 365), trials=100)
    assert found is not None
    assert found.probability > 0.95
    assert found.assumed
    assert found.deviation == pytest.approx(1 / math.sqrt(364))


def test_returns_without_a_sharpe_have_no_deflated_one() -> None:
    assert deflated_sharpe([0.01, 0.01, 0.01], trials=3) is None
    assert deflated_sharpe([0.01], trials=1) is None


def test_choosing_among_noise_is_overfitting_half_of_the_time() -> None:
    found = [
        overfitting(np.random.default_rng(seed).normal(0, 0.01, (320, 24)), blocks=8).probability for seed in range(60)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_choosing_what_is_really_better_is_not_overfitting() -> None:
    rng = np.random.default_rng(7)
    returns = rng.normal(0, 0.01, (365, 20))
    returns[:, 7] += 0.004
    found = overfitting(returns)
    assert found.probability < 0.01
    assert found.loss_probability < 0.01
    assert (found.configurations, found.splits) == (20, 12_870)


def test_overfitting_by_hand() -> None:
    """Two blocks, two configurations, each best in one block and worst in the other: always the wrong choice."""
    a, b = [0.02, 0.01], [-0.01, -0.02]
    found = overfitting(np.array([[*a, *b], [*b, *a]]).T, blocks=2)
    assert (found.probability, found.loss_probability, found.splits) == (1.0, 1.0, 2)
    always_better = overfitting(np.array([[*a, *a], [*b, *b]]).T, blocks=2)
    assert (always_better.probability, always_better.loss_probability) == (0.0, 0.0)
    middle = overfitting(np.array([[0.03, 0.02, *a], [*a, 0.03, 0.02], [*b, *b]]).T, blocks=2)
    assert middle.probability == 1.0  # of three, the middle is not above the middle


def test_configurations_that_never_trade_count_as_nothing_earned() -> None:
    rng = np.random.default_rng(8)
    returns = np.zeros((64, 3))
    returns[:, 1] = rng.normal(0.01, 0.01, 64)
    assert overfitting(returns, blocks=4).probability == 0.0


@pytest.mark.parametrize(
    ("shape", "blocks", "what"), [((100, 1), 16, "two configurations"), ((20, 3), 16, "blocks"), ((50, 3), 3, "even")]
)
def test_too_little_to_tell_is_refused(shape: tuple[int, int], blocks: int, what: str) -> None:
    with pytest.raises(DataError, match=what):
        overfitting(np.ones(shape), blocks=blocks)
