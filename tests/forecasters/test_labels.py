from __future__ import annotations

import doctest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tradebot.forecasters import calibration, labels, lightgbm, lightgbm_trees
from tradebot.market.candle import DAY_MS


def test_examples_in_the_docstrings_are_true() -> None:
    for module in (labels, calibration, lightgbm_trees):
        outcome = doctest.testmod(module)
        assert outcome.attempted > 0
        assert outcome.failed == 0


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(50.0, 60.0)), st.integers(1, 5))
def test_a_label_is_the_return_to_its_horizon_and_nothing_later(close: np.ndarray, horizon: int) -> None:
    found = labels.three_class(close, horizon, 0.002)
    for t in range(len(close)):
        if t + horizon >= len(close):
            assert found.classes[t] == -1
            assert np.isnan(found.realised[t])
            continue
        rho = close[t + horizon] / close[t] - 1
        assert found.realised[t] == rho
        assert found.classes[t] == (2 if rho >= 0.002 else 0 if rho <= -0.002 else 1)
        cut = labels.three_class(close[: t + horizon + 1], horizon, 0.002)
        assert cut.classes[t] == found.classes[t]


def test_uniqueness_counts_overlap_by_hand() -> None:
    at = np.array([0, 1, 2, 3, 10], dtype=np.int64)
    # two bars each: (0,2] (1,3] (2,4] (3,5] (10,12]; alive per bar: 1 2 2 2 1 ... 1 1
    found = labels.uniqueness(at, at + 2, 1)
    np.testing.assert_allclose(found, [(1 + 0.5) / 2, 0.5, 0.5, (0.5 + 1) / 2, 1.0])


def test_weight_halves_every_45_days_of_age() -> None:
    family = lightgbm.LightGbm()
    at = np.array([0, 45 * DAY_MS, 90 * DAY_MS], dtype=np.int64)
    np.testing.assert_allclose(family.weight(at, at + 600_000, int(at[-1])), [0.25, 0.5, 1.0])
