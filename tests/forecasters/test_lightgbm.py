from __future__ import annotations

import numpy as np
import optuna
import pytest

from tests.training import market
from tradebot.errors import ConfigError, DataError
from tradebot.forecasters.base import Sample, family
from tradebot.forecasters.lightgbm import class_returns_bp, patience
from tradebot.training.dataset import build_dataset
from tradebot.training.splits import Splits, split_by_time

LIGHTGBM = family("lightgbm")


@pytest.fixture(scope="module")
def splits() -> Splits:
    data = build_dataset(LIGHTGBM, market.candles(9_000, momentum=0.5))
    return split_by_time(data.sample, validation_share=0.2, test_share=0.2, bar_ms=market.BAR_MS, embargo_bars=12)


def test_fitting_stops_after_its_patience_and_keeps_the_best_round(splits: Splits) -> None:
    losses: list[float] = []

    def watch(done: int, loss: float) -> bool:
        assert done == len(losses) + 1
        losses.append(loss)
        return False

    prepared = LIGHTGBM.prepare(splits.train, splits.validation, seed=1, threads=1)
    params = LIGHTGBM.defaults(400) | {"learning_rate": 0.15}
    fitted = LIGHTGBM.fit(prepared, params, rounds=400, on_round=watch)
    assert fitted.rounds == int(np.argmin(losses)) + 1
    assert fitted.validation_loss == min(losses)
    assert len(losses) == fitted.rounds + patience(0.15) < 400
    trees = fitted.export(splits.test.rows).files["model.txt"].count(b"Tree=")
    assert trees == 3 * fitted.rounds


def test_a_caller_can_stop_a_fit(splits: Splits) -> None:
    prepared = LIGHTGBM.prepare(splits.train, splits.validation, seed=1, threads=1)
    fitted = LIGHTGBM.fit(prepared, LIGHTGBM.defaults(50), rounds=50, on_round=lambda done, loss: done == 3)
    assert fitted.rounds <= 3


def test_probabilities_are_down_neutral_up_and_expected_return_is_their_mean(splits: Splits) -> None:
    prepared = LIGHTGBM.prepare(splits.train, splits.validation, seed=1, threads=1)
    fitted = LIGHTGBM.fit(prepared, LIGHTGBM.defaults(40), rounds=40)
    p, expected = fitted.predict(splits.test.rows)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-9)
    for c in range(3):
        own = splits.test.classes == c
        assert p[own, c].mean() > p[~own, c].mean()
    means = class_returns_bp(splits.train)
    assert means[0] < -20 < means[1] < 20 < means[2]
    np.testing.assert_allclose(expected, p @ means)
    assert np.corrcoef(expected, splits.test.realised_bp)[0, 1] > 0.15


def test_labels_shuffled_against_their_rows_leave_nothing_to_find(splits: Splits) -> None:
    order = np.random.default_rng(4).permutation(len(splits.train))
    train = splits.train
    shuffled = Sample(
        rows=train.rows,
        classes=train.classes[order],
        weight=train.weight,
        at_ms=train.at_ms,
        label_end_ms=train.label_end_ms,
        realised_bp=train.realised_bp[order],
        traded_bp=train.traded_bp[order],
        past_bp=train.past_bp,
    )
    prepared = LIGHTGBM.prepare(shuffled, splits.validation, seed=1, threads=1)
    fitted = LIGHTGBM.fit(prepared, LIGHTGBM.defaults(40), rounds=40)
    _, expected = fitted.predict(splits.test.rows)
    assert abs(np.corrcoef(expected, splits.test.realised_bp)[0, 1]) < 0.1


def test_a_label_with_one_class_only_is_refused(splits: Splits) -> None:
    calm = splits.train.where(splits.train.classes != 2)
    with pytest.raises(DataError, match="0 up labels; all three are needed"):
        LIGHTGBM.prepare(calm, splits.validation, seed=1, threads=1)


@pytest.mark.parametrize("rounds", [1, 60, 250, 2_000])
def test_the_defaults_lie_inside_the_search_space(rounds: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.enqueue_trial(LIGHTGBM.defaults(rounds))
    assert LIGHTGBM.suggest(study.ask(), rounds) == pytest.approx(LIGHTGBM.defaults(rounds))
    other = LIGHTGBM.suggest(study.ask(), rounds)
    assert other.keys() == LIGHTGBM.defaults(rounds).keys()
    assert other != LIGHTGBM.defaults(rounds)


def test_an_unknown_family_names_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="known: lightgbm"):
        family("nosuch")
