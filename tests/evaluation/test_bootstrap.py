from __future__ import annotations

import doctest

import numpy as np
import pytest

from tradebot.errors import DataError
from tradebot.evaluation import (
    auc_resampled,
    baselines,
    bootstrap,
    classification,
    drift,
    gate,
    overfitting,
    performance,
    periods,
    round_trips,
    stress,
    trades,
    unskilled,
    walkforward,
)
from tradebot.evaluation.bootstrap import (
    mean_interval,
    paired_difference,
    resampled_means,
    stationary_blocks,
    stationary_rows,
)


@pytest.mark.parametrize(
    "module",
    [
        auc_resampled,
        baselines,
        bootstrap,
        classification,
        drift,
        overfitting,
        performance,
        periods,
        round_trips,
        stress,
        trades,
        unskilled,
        walkforward,
    ],
    ids=lambda module: module.__name__,
)
def test_examples_in_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed


def test_gate_has_no_examples_that_nobody_runs() -> None:
    assert doctest.testmod(gate).attempted == 0


@pytest.mark.parametrize(("rows", "block"), [(1, 1), (7, 1), (7, 3), (7, 1000), (500, 24.5)])
def test_blocks_of_every_resample_cover_exactly_the_rows(rows: int, block: float) -> None:
    starts, lengths = stationary_blocks(rows, block=block, draws=50, seed=1)
    assert (lengths.sum(axis=1) == rows).all()
    assert lengths.min() >= 0
    assert starts.min() >= 0
    assert starts.max() < rows


def test_blocks_have_the_asked_mean_length_and_start_anywhere() -> None:
    starts, lengths = stationary_blocks(5_000, block=25, draws=400, seed=2)
    inner = lengths[:, :100]  # far from the end, where the last one is cut
    assert inner.mean() == pytest.approx(25, rel=0.02)
    assert (inner == 1).mean() == pytest.approx(1 / 25, rel=0.1)  # geometric
    assert starts[lengths > 0].mean() == pytest.approx(2_499.5, rel=0.02)


def test_means_are_those_of_the_resampled_rows() -> None:
    x = np.random.default_rng(3).normal(5, 1, 97)
    picked = stationary_rows(97, block=10, draws=200, seed=4)
    assert picked.shape == (200, 97)
    assert resampled_means(x, block=10, draws=200, seed=4) == pytest.approx(x[picked].mean(axis=1), rel=1e-12)
    follows = (np.diff(picked, axis=1) % 97) == 1
    assert follows.mean() == pytest.approx(0.9 + 0.1 / 97, abs=0.01)


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    x = np.random.default_rng(0).normal(size=300)
    assert mean_interval(x, block=5, seed=1) == mean_interval(x, block=5, seed=1)
    assert mean_interval(x, block=5, seed=1).low != mean_interval(x, block=5, seed=2).low


def test_the_interval_of_independent_values_is_that_of_the_central_limit_theorem() -> None:
    x = np.random.default_rng(5).normal(0.0, 2.0, 1_500)
    interval = mean_interval(x, block=1, draws=4_000)
    half = 1.96 * x.std() / np.sqrt(len(x))
    assert interval.high - interval.mean == pytest.approx(half, rel=0.06)
    assert interval.mean - interval.low == pytest.approx(half, rel=0.06)


def test_blocks_widen_the_interval_of_values_that_cluster() -> None:
    noise = np.random.default_rng(6).normal(size=8_020)
    clustered = np.convolve(noise, np.ones(20), "valid")
    naive, honest = mean_interval(clustered, block=1), mean_interval(clustered, block=200)
    assert (honest.high - honest.low) > 3 * (naive.high - naive.low)


def test_intervals_of_noise_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    held = 0
    for trial in range(200):
        x = np.convolve(rng.normal(size=1_001), [1.0, 1.0], "valid")  # labels of two candles overlap
        interval = mean_interval(x, block=20, draws=300, seed=trial, level=0.9)
        held += interval.low <= 0 <= interval.high
    assert 0.83 < held / 200 < 0.96


@pytest.mark.parametrize("rows", [2_880, 4_608])
def test_few_blocks_of_noise_are_not_called_better_more_often_than_asked_for(rows: int) -> None:
    """Ten to sixteen days of a twentieth of the rows traded, no edge: P(mean > 0) reaches 0.9 one time in ten."""
    rng = np.random.default_rng(21)
    better, outside = 0, 0
    for seed in range(200):
        x = rng.standard_t(4, rows) * 40 * (rng.random(rows) < 0.05)
        interval = mean_interval(x, block=288, draws=300, seed=seed)
        better += interval.p_positive >= 0.9
        outside += not interval.low <= 0 <= interval.high
    assert better / 200 < 0.17
    assert outside / 200 < 0.10


def test_few_blocks_widen_what_is_said_and_many_do_not() -> None:
    x = np.random.default_rng(22).normal(0.1, 1, 1_000)
    few, many = mean_interval(x, block=200), mean_interval(x, block=1)
    assert few.blocks == 5
    low, high = np.quantile(resampled_means(x, block=200, draws=2_000, seed=0), [0.025, 0.975])
    assert few.high - few.low == pytest.approx(
        (high - low) * np.sqrt(5 / 4) * 2.776 / 1.960, rel=1e-3
    )  # t with 4 degrees of freedom
    low, high = np.quantile(resampled_means(x, block=1, draws=2_000, seed=0), [0.025, 0.975])
    assert many.high - many.low == pytest.approx(high - low, rel=0.002)


def test_a_paired_difference_sees_what_two_separate_intervals_would_not() -> None:
    rng = np.random.default_rng(8)
    market = rng.normal(0, 50, 2_000)
    better, worse = market + 1.0 + rng.normal(size=2_000), market + rng.normal(size=2_000)
    assert paired_difference(better, worse, block=20).p_positive == 1.0
    assert paired_difference(worse, better, block=20).p_positive == 0.0
    assert mean_interval(better, block=20).low < mean_interval(worse, block=20).high


def test_no_difference_is_not_a_difference() -> None:
    x = np.random.default_rng(9).normal(size=100)
    assert paired_difference(x, x, block=5).p_positive == 0.0


@pytest.mark.parametrize(("values", "what"), [([], "non-empty"), ([1.0, float("nan")], "finite"), ([[1.0]], "vector")])
def test_unusable_values_are_named(values: list[float], what: str) -> None:
    with pytest.raises(DataError, match=what):
        mean_interval(values, block=2)


def test_other_rows_on_the_two_sides_are_refused() -> None:
    with pytest.raises(DataError, match="same rows"):
        paired_difference([1.0, 2.0], [1.0], block=1)
    with pytest.raises(DataError, match="at least 1"):
        mean_interval([1.0], block=0.5)
