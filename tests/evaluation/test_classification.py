from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebot.errors import DataError
from tradebot.evaluation.classification import accuracy, auc, calibration_error, log_loss


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]), st.booleans()), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool]]) -> None:
    up = [p for p, happened in rows if happened]
    down = [p for p, happened in rows if not happened]
    got = auc([p for p, _ in rows], [happened for _, happened in rows])
    if not up or not down:
        assert got is None
    else:
        pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in up for b in down]
        assert got == pytest.approx(sum(pairs) / len(pairs))


def test_hand_computed_scores() -> None:
    p, y = [0.9, 0.8, 0.3, 0.5], [1, 0, 0, 1]
    assert log_loss(p, y) == pytest.approx(-(np.log(0.9) + np.log(0.2) + np.log(0.7) + np.log(0.5)) / 4)
    assert accuracy(p, y) == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert auc(p, y) == pytest.approx(3 / 4)


def test_certainty_that_was_wrong_costs_much_but_not_everything() -> None:
    assert log_loss([0.0], [1]) == pytest.approx(-np.log(1e-7))
    assert log_loss([1.0], [1]) == pytest.approx(0.0, abs=1e-6)


def test_calibration_by_hand() -> None:
    p = [0.1, 0.1, 0.1, 0.1, 0.6, 0.6, 0.6, 0.6]
    y = [0, 0, 0, 1, 1, 1, 1, 1]
    assert calibration_error(p, y, bins=2) == pytest.approx((abs(0.1 - 0.25) + abs(0.6 - 1.0)) / 2)


def test_equal_probabilities_share_one_bin_whatever_their_order() -> None:
    p = [0.4] * 10
    assert calibration_error(p, [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]) == pytest.approx(0.0)
    assert calibration_error(p, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]) == pytest.approx(0.0)


def test_honest_probabilities_are_calibrated_and_boasting_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    truth = 0.5 + 0.05 * rng.normal(size=50_000)
    y = rng.random(50_000) < truth
    assert calibration_error(truth, y) < 0.01
    boast = np.clip(0.5 + 4 * (truth - 0.5), 0, 1)
    assert calibration_error(boast, y) > 0.08


@pytest.mark.parametrize(
    ("p", "y", "what"),
    [([1.2], [1], "lie in"), ([0.5], [2], "0 or 1"), ([0.5], [0, 1], "one per row"), ([float("nan")], [0], "finite")],
)
def test_unusable_rows_are_refused(p: list[float], y: list[int], what: str) -> None:
    with pytest.raises(DataError, match=what):
        log_loss(p, y)
