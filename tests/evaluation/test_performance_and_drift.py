from __future__ import annotations

import math

import numpy as np
import pytest

from tradebot.errors import DataError
from tradebot.evaluation.drift import RETRAIN, WARN, population_stability_index
from tradebot.evaluation.performance import PERIODS_PER_YEAR, equity, max_drawdown, sharpe


def test_a_drawdown_counts_from_the_start_and_from_every_later_peak() -> None:
    assert max_drawdown([-0.1, 0.5, 0.5]) == pytest.approx(0.1)
    assert max_drawdown([1.0, -0.25, 1.0, -0.5, 0.1]) == pytest.approx(0.5)
    assert max_drawdown([0.1, 0.2]) == 0.0


def test_equity_never_comes_back_from_nothing() -> None:
    assert equity([0.5, -1.5, 3.0]).tolist() == [1.5, 0.0, 0.0]
    assert max_drawdown([0.5, -1.5, 3.0]) == 1.0


def test_sharpe_by_hand() -> None:
    assert sharpe([0.01, 0.02, 0.03]) == pytest.approx(2.0)
    assert sharpe([0.01, 0.02, 0.03], periods_per_year=365) == pytest.approx(2.0 * math.sqrt(365))
    assert sharpe([0.01]) is None
    assert sharpe([0.0, 0.0]) is None
    assert sharpe([0.1] * 7) is None


def test_sharpe_of_noise_annualised_is_noise_of_the_size_theory_gives() -> None:
    rng = np.random.default_rng(1)
    years = 0.1
    rows = int(PERIODS_PER_YEAR["5m"] * years)
    found = [sharpe(rng.normal(size=rows), periods_per_year=PERIODS_PER_YEAR["5m"]) for _ in range(200)]
    assert np.std(np.array(found, dtype=float)) == pytest.approx(1 / math.sqrt(years), rel=0.15)


def test_stability_by_hand() -> None:
    training, recent = [0.0] * 50 + [1.0] * 50, [0.0] * 20 + [1.0] * 80
    expected = (0.2 - 0.5) * math.log(0.2 / 0.5) + (0.8 - 0.5) * math.log(0.8 / 0.5)
    assert population_stability_index(training, recent, bins=2) == pytest.approx(expected)


def test_stability_of_the_same_distribution_is_low_and_of_a_moved_one_high() -> None:
    rng = np.random.default_rng(2)
    training = rng.normal(size=20_000)
    assert population_stability_index(training, rng.normal(size=5_000)) < 0.01
    assert population_stability_index(training, rng.normal(0.4, 1, size=5_000)) > WARN
    assert population_stability_index(training, rng.normal(0, 3, size=5_000)) > RETRAIN


def test_values_that_went_missing_are_drift() -> None:
    rng = np.random.default_rng(3)
    training, recent = rng.normal(size=5_000), rng.normal(size=5_000)
    recent[:2_000] = np.nan
    assert population_stability_index(training, recent) > RETRAIN
    assert population_stability_index(recent, recent) == 0.0


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(DataError):
        population_stability_index([float("nan")], [1.0])
    with pytest.raises(DataError):
        population_stability_index([1.0], [])
