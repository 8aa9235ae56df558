from __future__ import annotations

from dataclasses import replace

import lightgbm
import numpy as np
import optuna
import pytest

from tests.training import market
from tradebot.errors import ConfigError, DataError
from tradebot.forecasters.base import Sample, class_returns_bp, family
from tradebot.forecasters.lightgbm_fit import BLANK_SHARE, SIDE_GROUPS, blanked
from tradebot.forecasters.lightgbm_trees import merged, patience
from tradebot.training.dataset import build_dataset
from tradebot.training.parity import check_parity
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
    assert fitted.validation_loss == pytest.approx(min(losses), abs=1e-12), "the loss watched is the loss of the whole"
    assert len(losses) == fitted.rounds + patience(0.15) < 400
    files = fitted.export(splits.test.rows).files
    assert files["model.txt"].count(b"Tree=") == fitted.rounds
    assert files["direction.txt"].count(b"Tree=") > 0


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
    assert set(fitted.importance) == set(LIGHTGBM.features)
    assert sum(fitted.importance.values()) == pytest.approx(1.0)
    assert np.corrcoef(expected, splits.test.realised_bp)[0, 1] > 0.1


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
        range_bp=None if train.range_bp is None else train.range_bp[order],
    )
    prepared = LIGHTGBM.prepare(shuffled, splits.validation, seed=1, threads=1)
    fitted = LIGHTGBM.fit(prepared, LIGHTGBM.defaults(40), rounds=40)
    _, expected = fitted.predict(splits.test.rows)
    assert abs(np.corrcoef(expected, splits.test.realised_bp)[0, 1]) < 0.1


def test_rows_without_anything_known_beside_the_candles_are_served_all_the_same(splits: Splits) -> None:
    """The side groups are blanked in some training rows; where all are missing the figures stay near."""
    train, test = splits.train, splits.test
    rng = np.random.default_rng(9)
    side = [LIGHTGBM.features.index(name) for group in SIDE_GROUPS for name in group]
    known = [np.array(part.rows) for part in (train, splits.validation, test)]
    for rows in known:
        rows[:, side] = rng.normal(0, 0.001, size=(len(rows), len(side)))
    prepared = LIGHTGBM.prepare(
        replace(train, rows=known[0]), replace(splits.validation, rows=known[1]), seed=1, threads=1
    )
    fitted = LIGHTGBM.fit(prepared, LIGHTGBM.defaults(60), rounds=60)
    losses = []
    for rows in (known[2], np.array(test.rows)):
        p, _ = fitted.predict(rows)
        losses.append(float(-np.log(p[np.arange(len(p)), test.classes]).mean()))
    assert losses[1] < losses[0] + 0.01


def test_a_label_with_one_class_only_is_refused(splits: Splits) -> None:
    calm = splits.train.where(splits.train.classes != 2)
    with pytest.raises(DataError, match="0 up labels; all three are needed"):
        LIGHTGBM.prepare(calm, splits.validation, seed=1, threads=1)


def test_too_few_features_with_values_are_refused(splits: Splits) -> None:
    rows = np.array(splits.train.rows)
    rows[:, 10:40] = np.nan
    holed = replace(splits.train, rows=rows)
    with pytest.raises(DataError, match=r"features have no value in any training row .*ac1_48"):
        LIGHTGBM.prepare(holed, splits.validation, seed=1, threads=1)
    family("lightgbm", {"min_feature_share": 0.3}).prepare(holed, splits.validation, seed=1, threads=1)


@pytest.mark.parametrize("rounds", [1, 60, 250, 2_000])
def test_the_defaults_lie_inside_the_search_space(rounds: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.enqueue_trial(LIGHTGBM.defaults(rounds))
    assert LIGHTGBM.suggest(study.ask(), rounds) == pytest.approx(LIGHTGBM.defaults(rounds))
    other = LIGHTGBM.suggest(study.ask(), rounds)
    assert other.keys() == LIGHTGBM.defaults(rounds).keys()
    assert other != LIGHTGBM.defaults(rounds)


def test_an_unknown_family_names_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"known: .*lightgbm"):
        family("nosuch")


@pytest.mark.parametrize(
    ("options", "trees"),
    [
        ({"kind": "three-class"}, {"model.txt"}),
        ({"kind": "binary"}, {"model.txt"}),
        ({"labels": "triple-barrier"}, {"model.txt", "direction.txt"}),
        ({"horizon": 3, "min_price_change": 0.003}, {"model.txt", "direction.txt"}),
        ({"members": 3}, {"model.txt", "direction.txt"}),
        ({"quantiles": True}, {"model.txt", "direction.txt", "quantile_low.txt", "quantile_high.txt"}),
    ],
)
def test_every_kind_finds_what_was_planted_and_its_graph_says_the_same(
    options: dict[str, float | int | str | bool], trees: set[str]
) -> None:
    kind = family("lightgbm", options)
    data = build_dataset(kind, market.candles(8_000, momentum=0.9))
    cut = split_by_time(data.sample, validation_share=0.2, test_share=0.25, bar_ms=market.BAR_MS, embargo_bars=12)
    prepared = kind.prepare(cut.train, cut.validation, seed=1, threads=1)
    fitted = kind.fit(prepared, kind.defaults(60), rounds=60)
    p, expected = fitted.predict(cut.test.rows)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-9)
    assert p.min() >= 0.0
    assert np.corrcoef(expected, cut.test.realised_bp)[0, 1] > 0.2
    exported = fitted.export(cut.test.rows)
    assert set(exported.files) == trees
    parity = check_parity(fitted, exported.onnx, exported.input_name, data.sample.rows, where="test")
    assert parity.max_probability_error <= 1e-6


def test_two_stages_lose_less_than_the_base_rates_and_learn_the_size_from_the_range() -> None:
    """Volatility that comes in spells: the share of moves changes with it, the direction does not."""
    spells = market.candles(9_000, sigma=0.001)
    calm = np.repeat(np.random.default_rng(3).choice([0.5, 2.0], size=90), 100)
    close = 100.0 * np.exp(np.cumsum(calm * np.diff(np.log(spells.close), prepend=np.log(100.0))))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = 1 + 0.0005 * calm
    made = replace(
        spells, open=opened, close=close, high=np.maximum(opened, close) * wick, low=np.minimum(opened, close) / wick
    )
    losses = {}
    for name in ("two-stage", "three-class"):
        kind = family("lightgbm", {"kind": name})
        data = build_dataset(kind, made)
        cut = split_by_time(data.sample, validation_share=0.2, test_share=0.25, bar_ms=market.BAR_MS, embargo_bars=12)
        prepared = kind.prepare(cut.train, cut.validation, seed=1, threads=1)
        fitted = kind.fit(prepared, kind.defaults(150), rounds=150)
        p, _ = fitted.predict(cut.test.rows)
        assert prepared.main == ("size" if name == "two-stage" else "classes")
        losses[name] = float(-np.log(p[np.arange(len(p)), cut.test.classes]).mean())
    rates = np.bincount(cut.train.classes, minlength=3) / len(cut.train)
    base = float(-np.log(rates[cut.test.classes]).mean())
    assert losses["two-stage"] < 0.95 * base
    assert losses["two-stage"] < losses["three-class"]


def test_members_are_one_booster_that_says_their_mean(splits: Splits) -> None:
    x, y = splits.train.rows, splits.train.realised_bp
    texts = [
        lightgbm.train(
            {"verbosity": -1, "num_threads": 1, "seed": seed, "feature_fraction": 0.5},
            lightgbm.Dataset(x, y),
            num_boost_round=rounds,
        ).model_to_string()
        for seed, rounds in ((1, 5), (2, 9), (3, 7))
    ]
    one = lightgbm.Booster(model_str=merged(texts))
    alone = [lightgbm.Booster(model_str=text).predict(splits.test.rows) for text in texts]
    assert one.num_trees() == 21
    np.testing.assert_allclose(one.predict(splits.test.rows), np.mean(alone, axis=0), rtol=1e-12)


def test_equal_seeds_give_equal_bytes_and_a_search_leaves_no_trace(splits: Splits) -> None:
    graphs = []
    for before in (0, 2):
        prepared = LIGHTGBM.prepare(splits.train, splits.validation, seed=7, threads=1)
        for _ in range(before):
            LIGHTGBM.fit(prepared, LIGHTGBM.defaults(30) | {"num_leaves": 31}, rounds=30)
        fitted = LIGHTGBM.fit(prepared, LIGHTGBM.defaults(30), rounds=30)
        graphs.append(fitted.export(splits.test.rows).onnx)
    assert graphs[0] == graphs[1]


def test_side_features_are_blanked_by_group_in_a_share_of_the_training_rows() -> None:
    names = ("ret_1", "btc_ret_1", "beta_96", "funding")
    rows = np.ones((20_000, 4), dtype=np.float32)
    found = blanked(rows, names, seed=1)
    missing = np.isnan(found)
    assert np.isfinite(rows).all(), "the rows of the dataset stay as they are"
    assert not missing[:, 0].any()
    assert (missing[:, 1] == missing[:, 2]).all()
    assert missing[:, 1].mean() == pytest.approx(BLANK_SHARE, abs=0.01)
    assert (missing[:, 1] & missing[:, 3]).mean() == pytest.approx(BLANK_SHARE**2, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 4}, "horizon"),
        ({"min_price_change": 0.01}, "min_price_change"),
        ({"kind": "four-class"}, "kind"),
        ({"trees": 3}, "no option 'trees'; it has: horizon, min_price_change"),
        ({"members": 0}, "members"),
    ],
)
def test_an_option_that_cannot_be_is_named(options: dict[str, float | int | str | bool], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        family("lightgbm", options)
    with pytest.raises(ConfigError, match="5m candles, not 1h"):
        family("lightgbm", {}, "1h")
