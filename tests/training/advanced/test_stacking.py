"""Stacking: what members know separately is put together, what they do not know costs nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.advanced.made_up import sample, scores, softmax
from tests.training.market import candles
from tradebot.errors import DataError
from tradebot.forecasters.base import Floats, Sample, family
from tradebot.forecasters.score_calibration import log_losses
from tradebot.training.advanced.stacking import fit_rank_average, fit_stack, out_of_fold, stacked
from tradebot.training.dataset import build_dataset
from tradebot.training.splits import expanding_folds


def world(count: int, seed: int, start: int = 0) -> tuple[dict[str, Floats], Sample]:
    """Two members that each know half of what moves the market, one that knows nothing and is sure of it."""
    rng = np.random.default_rng(seed)
    a, b, nothing = rng.normal(size=(3, count))
    truth = softmax(scores(-a - b, a + b))
    members = {
        "left": softmax(scores(-a, a)),
        "right": softmax(scores(-b, b)),
        "loud": softmax(scores(-2 * nothing, 2 * nothing)),
    }
    return members, sample(np.stack([a, b], axis=1), truth, seed=seed + 1, start=start)


def test_members_that_know_different_things_are_better_together() -> None:
    members, before = world(6_000, 1)
    later, test = world(4_000, 7, start=10_000)
    found = stacked(members, before, later, test)
    assert found.use == "stack"
    assert found.stack.weights[0] == pytest.approx(1.0, abs=0.15)
    assert found.stack.weights[1] == pytest.approx(1.0, abs=0.15)
    assert found.stack.weights[2] < 0.05
    assert found.gain.low > 0.05
    assert found.losses["stack"] == pytest.approx(float(log_losses(found(list(later.values())), test.classes).mean()))


def test_weights_are_never_negative() -> None:
    """Taking one member from the other would be best; they are not played off against each other."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 6_000))
    before = sample(a[:, None], softmax(scores(-a, a)), seed=3)
    stack = fit_stack([softmax(scores(-a - b, a + b)), softmax(scores(-b, b))], before.classes, before.weight)
    assert stack.weights[1] == 0.0
    assert 0.3 < stack.weights[0] < 0.8


def test_where_stacking_is_no_better_ranks_are_averaged() -> None:
    """One member says exactly what is so; any weight beside 1 on it is worse, and few rows cannot find that."""
    rng = np.random.default_rng(5)
    count = 240
    a = rng.normal(size=count)
    truth = softmax(scores(-a, a))
    noise = {f"noise {j}": softmax(rng.normal(size=(count, 3))) for j in range(12)}
    before = sample(a[:, None], truth, seed=6)
    found = stacked({"truth": truth, **noise}, before, {"truth": truth, **noise}, before)
    assert found.best == "truth"
    assert found.use == "rank average"


def test_a_rank_average_orders_rows_as_its_members_do_and_is_calibrated() -> None:
    members, before = world(6_000, 3)
    pair = [members["left"], members["right"]]
    said = fit_rank_average(pair, before)(pair)
    lean = said[:, 2] - said[:, 0]
    both = sum(p[:, 2] - p[:, 0] for p in pair)
    assert np.corrcoef(lean, both)[0, 1] > 0.95
    sure = lean > np.quantile(lean, 0.9)
    assert said[sure, 2].mean() == pytest.approx((before.classes[sure] == 2).mean(), abs=0.04)


def test_what_is_said_out_of_fold_is_of_rows_the_model_did_not_see() -> None:
    kind = family("lorentzian", {"memory": 200, "horizon": 2}, "5m")
    data = build_dataset(kind, candles(6_000)).sample
    folds = expanding_folds(data, folds=3, bar_ms=300_000, embargo_bars=60)
    said = out_of_fold(kind, folds, {"k": 8}, rounds=1, seed=1)
    assert len(said) == sum(len(fold.validation) for fold in folds)
    for fold in folds:
        assert fold.train.label_end_ms.max() <= fold.validation.at_ms.min()


def test_members_must_tell_of_the_same_rows() -> None:
    with pytest.raises(DataError, match="same rows"):
        fit_stack([np.full((3, 3), 1 / 3), np.full((2, 3), 1 / 3)], np.zeros(3, dtype=np.int8), np.ones(3))
