"""Intervals of figures, beside the plain way: pick the rows of two thousand resamples, work the figure out on each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tradebot.evaluation.bootstrap import percentile_interval, stationary_rows
from tradebot.evaluation.classification import auc
from tradebot.evaluation.forecasts import correlation as pearson
from tradebot.training.resampling import LEVEL, SHARE, Resampled, Statistic, area, correlation, ratio

ROWS, BAR_MS = 900, 900_000
RNG = np.random.default_rng(11)
MOVED = RNG.random(ROWS) < 0.4
SCORE = np.round(RNG.normal(size=ROWS) + 0.3 * MOVED, 1)
OTHER = SCORE + RNG.normal(size=ROWS)
AMONG = RNG.random(ROWS) < 0.5
FEW = (np.arange(ROWS) == 100).astype(float)
"""Something that only one row has: a third of the resamples lack it."""

CASES: dict[str, tuple[Statistic, Callable[[np.ndarray], float | None]]] = {
    "area": (area(SCORE, MOVED), lambda i: auc(SCORE[i], MOVED[i])),
    "area among": (area(SCORE, MOVED, AMONG), lambda i: auc(SCORE[i][AMONG[i]], MOVED[i][AMONG[i]])),
    "ratio": (
        ratio(SCORE**2, OTHER**2, lambda share: 1.0 - share),
        lambda i: 1.0 - float((SCORE[i] ** 2).sum() / (OTHER[i] ** 2).sum()),
    ),
    "ratio not always defined": (
        ratio(FEW * 2, FEW),
        lambda i: float((FEW[i] * 2).sum() / FEW[i].sum()) if FEW[i].any() else None,
    ),
    "correlation": (correlation(SCORE, OTHER), lambda i: pearson(SCORE[i], OTHER[i])),
    "correlation not always defined": (correlation(FEW, OTHER), lambda i: pearson(FEW[i], OTHER[i])),
    "correlation with what few rows have": (correlation(OTHER, FEW), lambda i: pearson(OTHER[i], FEW[i])),
}


@pytest.mark.parametrize("case", CASES)
def test_intervals_are_those_of_two_thousand_resamples(case: str) -> None:
    fast, plain = CASES[case]
    made = Resampled(ROWS, bar_ms=BAR_MS, label_rows=2, seed=5)
    assert made.block == 96  # a day
    metric = made.metric(fast, 0.5, "a coin")
    value = plain(np.arange(ROWS))
    assert value is not None
    picked = stationary_rows(ROWS, block=96, draws=2_000, seed=5)
    drawn = [found for rows in picked if (found := plain(rows)) is not None]
    low, high = percentile_interval(drawn, value, blocks=ROWS / 96, level=LEVEL)
    assert (metric.value, metric.low, metric.high) == pytest.approx((value, low, high), abs=1e-9)
    assert (metric.baseline, metric.baseline_name, metric.blocks) == (0.5, "a coin", made.blocks)


def test_few_blocks_do_not_widen_a_share_beyond_what_it_can_be() -> None:
    few = Resampled(10, bar_ms=BAR_MS, label_rows=2, seed=5)
    of = area(np.array([1.0, 5, 2, 3, 6, 7, 4, 8, 9, 10]), np.arange(10) > 4)
    free, kept = few.metric(of), few.metric(of, within=SHARE)
    assert free.low is not None
    assert free.high is not None
    assert free.high > 1.0
    assert (kept.low, kept.high, kept.value) == (max(free.low, 0.0), 1.0, free.value)


@pytest.mark.parametrize(("needed", "told"), [((100,), True), ((100, 500), False)])
def test_an_interval_is_told_where_the_figure_is_defined_in_half_the_resamples(
    needed: tuple[int, ...], told: bool
) -> None:
    """A row is in two thirds of the resamples; two that lie apart are both in four tenths."""
    made = Resampled(ROWS, bar_ms=BAR_MS, label_rows=2, seed=5)
    lone = np.isin(np.arange(ROWS), needed)
    of = area(SCORE, np.arange(ROWS) <= 100, lone) if len(needed) > 1 else ratio(FEW * 2, lone.astype(float))
    rows = stationary_rows(ROWS, block=96, draws=2_000, seed=5)
    defined = np.mean([np.isin(needed, drawn).all() for drawn in rows])
    assert (defined >= 0.5) == told
    metric = made.metric(of)
    assert metric.value is not None
    assert (metric.low is not None, metric.high is not None) == (told, told)


@pytest.mark.parametrize(
    "of",
    [area(SCORE, np.zeros(ROWS, dtype=np.bool_)), ratio(SCORE, np.zeros(ROWS)), correlation(SCORE, np.full(ROWS, 0.1))],
    ids=["one outcome", "nothing below", "one side constant"],
)
def test_what_is_not_defined_has_neither_value_nor_interval(of: Statistic) -> None:
    metric = Resampled(ROWS, bar_ms=BAR_MS, label_rows=2, seed=5).metric(of)
    assert (metric.value, metric.low, metric.high) == (None, None, None)
