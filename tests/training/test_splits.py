from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebot.errors import DataError
from tradebot.evaluation.walkforward import windows
from tradebot.forecasters.base import Sample, family
from tradebot.training.splits import embargo_bars, expanding_folds, split_by_time, tuning_split, window_split

BAR = 300_000


def sample(at_bars: np.ndarray, horizon: int) -> Sample:
    at = at_bars.astype(np.int64) * BAR
    n = len(at)
    return Sample(
        rows=np.zeros((n, 1), dtype=np.float32),
        classes=np.ones(n, dtype=np.int8),
        weight=np.linspace(0.1, 3.0, n),
        at_ms=at,
        label_end_ms=at + horizon * BAR,
        realised_bp=np.zeros(n),
        traded_bp=np.zeros(n),
        past_bp=np.zeros((n, 5)),
    )


@settings(max_examples=200, deadline=None)
@given(
    drop=st.lists(st.integers(0, 399), max_size=120),
    horizon=st.integers(1, 12),
    embargo=st.integers(0, 24),
    validation=st.floats(0.1, 0.3),
    test=st.floats(0.1, 0.3),
)
def test_no_label_interval_reaches_into_a_later_slice(
    drop: list[int], horizon: int, embargo: int, validation: float, test: float
) -> None:
    made = sample(np.delete(np.arange(400), drop), horizon)
    try:
        cut = split_by_time(made, validation_share=validation, test_share=test, bar_ms=BAR, embargo_bars=embargo)
    except DataError:
        return
    train, held_out, untouched = cut.train, cut.validation, cut.test
    assert train.label_end_ms.max() + embargo * BAR <= held_out.at_ms.min()
    assert held_out.label_end_ms.max() + embargo * BAR <= untouched.at_ms.min()
    assert untouched.at_ms.min() >= cut.test_from_ms
    if embargo >= 1:  # the traded return of the last fitting row is known one bar after its label
        assert cut.fit_end_ms <= untouched.at_ms.min()
    # exactly: one bar sooner and a row would be called untouched whose price chose the threshold
    assert cut.fit_end_ms == max(held_out.label_end_ms.max(), train.label_end_ms.max()) + BAR
    for part in (train, held_out, untouched):
        assert part.weight.mean() == pytest.approx(1.0)
    kept = np.concatenate([train.at_ms, held_out.at_ms, untouched.at_ms])
    assert len(np.unique(kept)) == len(kept)
    assert set(kept) <= set(made.at_ms)


def test_slices_hold_the_shares_asked_for_and_only_the_purge_is_lost() -> None:
    cut = split_by_time(
        sample(np.arange(10_000), 2), validation_share=0.15, test_share=0.2, bar_ms=BAR, embargo_bars=12
    )
    assert abs(len(cut.test) - 2_000) <= 5
    assert abs(len(cut.validation) - 1_500) <= 20
    assert 10_000 - len(cut.train) - len(cut.validation) - len(cut.test) == 2 * (12 + 2 - 1)


def test_tuning_sees_only_the_newest_part_of_the_training_slice() -> None:
    train = sample(np.arange(8_000), 2)
    cut = tuning_split(train, share=0.5, validation_share=0.25, bar_ms=BAR, embargo_bars=12)
    assert cut.train.at_ms.min() >= 3_990 * BAR
    assert cut.train.label_end_ms.max() + 12 * BAR <= cut.validation.at_ms.min()
    assert cut.validation.at_ms.max() == train.at_ms.max()
    assert abs(len(cut.validation) - 1_000) <= 3
    assert cut.train.weight.mean() == pytest.approx(1.0)
    assert cut.validation.weight.mean() == pytest.approx(1.0)


def test_too_little_history_is_one_line() -> None:
    for count in (0, 3, 20):
        with pytest.raises(DataError, match=r"use more days|warm-up"):
            split_by_time(
                sample(np.arange(count), 2), validation_share=0.2, test_share=0.2, bar_ms=BAR, embargo_bars=12
            )


def test_folds_expand_and_every_fold_is_purged() -> None:
    made = sample(np.arange(1_000), 3)
    folds = expanding_folds(made, folds=4, bar_ms=BAR, embargo_bars=12)
    assert len(folds) == 4
    for before, after in pairwise(folds):
        assert len(before.train) < len(after.train)
        assert before.validation.label_end_ms.max() <= after.validation.at_ms.min()
    for fold in folds:
        assert fold.train.at_ms.min() == made.at_ms.min()
        assert fold.train.label_end_ms.max() + 12 * BAR <= fold.validation.at_ms.min()
        assert len(fold.test) == 0
        assert fold.train.weight.mean() == pytest.approx(1.0)
    assert folds[-1].validation.at_ms.max() == made.at_ms.max()


@pytest.mark.parametrize("expanding", [True, False])
def test_windows_lie_end_to_end_and_see_only_the_past(expanding: bool) -> None:
    made = sample(np.arange(2_000), 5)
    planned = windows(
        0, 2_000 * BAR, train_ms=600 * BAR, test_ms=200 * BAR, gap_ms=20 * BAR, bar_ms=BAR, expanding=expanding
    )
    assert len(planned) == 7
    found = [window_split(made, window, BAR) for window in planned]
    tested = np.concatenate([window.test.at_ms for window in found])
    assert (np.diff(tested) == BAR).all()
    for number, cut in enumerate(found):
        start = cut.test.at_ms.min()
        assert start == cut.test_from_ms
        assert cut.train.label_end_ms.max() + 20 * BAR == cut.validation.at_ms.min()
        assert cut.validation.label_end_ms.max() + 20 * BAR == start
        assert cut.fit_end_ms == cut.validation.label_end_ms.max() + BAR
        assert cut.train.at_ms.min() == (0 if expanding else number * 200 * BAR)
        assert cut.train.weight.mean() == pytest.approx(1.0)
        used = len(cut.train) + len(cut.validation)
        assert len(cut.validation) / used == pytest.approx(0.15, abs=0.01)
    with pytest.raises(DataError, match="window 1: no usable row in its validation part"):
        window_split(made.where(made.at_ms < planned[0].validation_from_ms), planned[0], BAR)


def test_the_embargo_covers_window_look_back_and_label() -> None:
    kind = family("lightgbm")
    assert embargo_bars(kind) == 60
    windowed = type("Windowed", (), {"interval": "1h", "steps": 60, "horizon_bars": 1})()
    assert embargo_bars(windowed) == 59 + 12 + 4
    far = type("Far", (), {"interval": "1h", "steps": 1, "horizon_bars": 24})()
    assert embargo_bars(far) == 24


def test_rows_are_tested_from_a_moment_on_whatever_share_they_have() -> None:
    made = sample(np.arange(10_000), 2)
    common = {"validation_share": 0.15, "bar_ms": BAR, "embargo_bars": 12}
    late = split_by_time(made, test_share=0.15, test_from_ms=9_950 * BAR, **common)  # type: ignore[arg-type]
    assert (late.test.at_ms[0], len(late.test), late.test_from_ms) == (9_950 * BAR, 50, 9_950 * BAR)
    assert len(late.validation) == pytest.approx(1_500, abs=30)
    by_share = split_by_time(made, test_share=0.2, **common)  # type: ignore[arg-type]
    same = split_by_time(made, test_share=0.5, test_from_ms=by_share.test_from_ms, **common)  # type: ignore[arg-type]
    np.testing.assert_array_equal(same.test.at_ms, by_share.test.at_ms)
    assert abs(int(same.validation.at_ms[0] - by_share.validation.at_ms[0])) <= BAR
    for moment in (10_001, 1_000):
        with pytest.raises(DataError, match="leave none for the"):
            split_by_time(made, test_share=0.2, test_from_ms=moment * BAR, **common)  # type: ignore[arg-type]
