"""Adversarial validation: what drifted is named, what did not is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.advanced.made_up import COLUMNS, sample
from tradebot.errors import DataError
from tradebot.forecasters.base import Sample
from tradebot.training.advanced.adversarial import adversarial, reweighed

CHANCE = np.full((1, 3), 1 / 3)


def rows(count: int, seed: int, shift: dict[int, float], start: int = 0) -> Sample:
    x = np.random.default_rng(seed).normal(size=(count, len(COLUMNS)))
    for column, by in shift.items():
        x[:, column] += by
    return sample(x, np.repeat(CHANCE, count, axis=0), seed=seed, start=start)


def test_rows_that_are_alike_are_left_alone() -> None:
    found = adversarial(rows(1_500, 1, {}), rows(700, 2, {}, start=2_000), COLUMNS)
    assert not found.drifted
    assert found.auc == pytest.approx(0.5, abs=0.06)
    assert found.dropped == ()
    assert (found.weight == 1.0).all()


def test_the_features_that_give_the_past_away_are_dropped_the_strongest_first() -> None:
    found = adversarial(rows(1_500, 1, {}), rows(700, 2, {3: 3.0, 6: 1.5}, start=2_000), COLUMNS)
    assert found.drifted
    assert found.auc > 0.95
    assert found.dropped == ("x3", "x6")
    assert found.auc_left < 0.6


def test_old_rows_that_look_recent_count_more() -> None:
    old = rows(2_000, 3, {})
    mixed = old.rows.copy()  # type: ignore[union-attr]
    mixed[:, :7] += 1.2 * (np.arange(2_000) >= 1_500)[:, None]  # the newest look as the recent rows do
    aged = Sample(
        mixed, old.classes, old.weight, old.at_ms, old.label_end_ms, old.realised_bp, old.traded_bp, old.past_bp
    )
    shift = dict.fromkeys(range(7), 1.2)
    found = adversarial(aged, rows(800, 4, shift, start=3_000), COLUMNS)
    assert found.weight.mean() == pytest.approx(1.0)
    weighed = reweighed(aged, found)
    assert found.drifted
    assert weighed.weight[1_500:].mean() > 2 * weighed.weight[:1_500].mean()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="149 recent rows"):
        adversarial(rows(400, 1, {}), rows(149, 2, {}), COLUMNS)
