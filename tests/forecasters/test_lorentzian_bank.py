"""The memory of the ``lorentzian`` family: its votes, their calibration, and the graph that does the same."""

from __future__ import annotations

import numpy as np
import pytest

from tradebot.errors import DataError
from tradebot.forecasters.base import Sample
from tradebot.forecasters.lorentzian import spaced
from tradebot.forecasters.lorentzian_bank import bank_of, to_onnx
from tradebot.forecasters.score_calibration import calibrate, halves_loss, independent_labels
from tradebot.serving.session import open_session

COLUMNS = (7, 2, 11, 4, 0)


def made_up_rows(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 13)).astype(np.float32)
    rows[::9, 2] = rows[0, 2]  # equal values, so that equal distances come up
    return rows


def sample(classes: np.ndarray, label_bars: int) -> Sample:
    at, nothing = np.arange(len(classes)) * 300_000, np.zeros(len(classes))
    return Sample(
        rows=np.zeros((len(classes), 1), dtype=np.float32),
        classes=classes,
        weight=np.ones(len(classes)),
        at_ms=at,
        label_end_ms=at + label_bars * 300_000,
        realised_bp=nothing,
        traded_bp=nothing,
        past_bp=nothing[:, None],
    )


def test_the_k_nearest_by_lorentzian_distance_vote() -> None:
    rows, bank_rows = made_up_rows(400, 1), made_up_rows(900, 2)
    classes = np.random.default_rng(3).integers(0, 3, 900)
    bank = bank_of(bank_rows, classes, COLUMNS)
    votes = bank.votes(rows, 8)
    low, high = np.percentile(bank_rows[:, COLUMNS], (1, 99), axis=0)
    x, y = ((z[:, COLUMNS] - low) / (high - low) for z in (rows.astype(np.float64), bank_rows.astype(np.float64)))
    for i in range(0, 400, 7):
        distance = np.log1p(np.abs(x[i] - y)).sum(axis=1)
        nearest = np.argsort(distance)[:8]
        assert votes[i].tolist() == np.bincount(classes[nearest], minlength=3).tolist()


def test_the_graph_picks_the_same_neighbours_whatever_is_missing_or_equal() -> None:
    rows, bank_rows = made_up_rows(3_000, 4), made_up_rows(700, 5)
    bank_rows[500:520] = bank_rows[499]  # equally far from everything, with different outcomes
    rows[::10, 4] = np.nan
    rows[::50] = np.nan
    classes = np.random.default_rng(6).integers(0, 3, 700)
    bank = bank_of(bank_rows, classes, COLUMNS)
    votes = bank.votes(rows, 8).astype(np.float64)
    calibration = calibrate(votes, np.random.default_rng(7).integers(0, 3, 3_000), np.ones(3_000), independent=750)
    class_bp = np.array([-31.0, 0.5, 28.0])
    session = open_session(to_onnx(bank, 8, calibration, class_bp, rows.shape[1]), where="test")
    expected = calibration(votes)
    for batch in (1, 7):
        for begin in range(0, 3_000 if batch == 7 else 400, batch):
            p, bp = session.run(("probabilities", "expected_bp"), {"row": rows[begin : begin + batch]})
            np.testing.assert_allclose(p, expected[begin : begin + batch], atol=1e-6)
            np.testing.assert_allclose(bp[:, 0], expected[begin : begin + batch] @ class_bp, atol=1e-4)


def test_votes_without_skill_are_calibrated_to_the_base_rates() -> None:
    rng = np.random.default_rng(8)
    classes = rng.choice(3, 20_000, p=(0.2, 0.7, 0.1))
    votes = rng.multinomial(8, (0.3, 0.4, 0.3), 20_000).astype(np.float64)
    p = calibrate(votes, classes, np.ones(20_000), independent=5_000)(votes)
    assert np.abs(p - (0.2, 0.7, 0.1)).max() < 0.05
    assert np.abs(p.mean(axis=0) - np.bincount(classes) / 20_000).max() < 0.005


def test_votes_that_tell_are_trusted_and_the_loss_of_halves_says_so() -> None:
    rng = np.random.default_rng(9)
    classes = rng.choice(3, 4_000, p=(0.3, 0.4, 0.3)).astype(np.int8)
    told = np.eye(3)[classes] * 2 + rng.poisson(2.0, (4_000, 3))
    blind = rng.poisson(2.0, (4_000, 3)).astype(np.float64)
    entropy = -(np.bincount(classes) / 4_000 * np.log(np.bincount(classes) / 4_000)).sum()
    rows = sample(classes, label_bars=4)
    assert independent_labels(rows) == pytest.approx(1_000, rel=0.01)
    assert halves_loss(told, rows, np.zeros(3)) < entropy - 0.15
    assert halves_loss(blind, rows, np.zeros(3)) > entropy - 0.005


def test_no_label_of_the_older_half_reaches_into_the_newer_one() -> None:
    rng = np.random.default_rng(12)
    classes = rng.choice(3, 400).astype(np.int8)
    told = np.eye(3)[classes] + rng.normal(size=(400, 3))
    rows, overlapping = sample(classes, label_bars=24), slice(200 - 23, 200)
    loss = halves_loss(told, rows, np.zeros(3))
    changed = told.copy()
    changed[overlapping] = -5.0 * told[overlapping]
    assert halves_loss(changed, rows, np.zeros(3)) == loss
    for at in (200 - 24, 200):  # the rows beside them count
        other = told.copy()
        other[at] = -5.0 * told[at]
        assert halves_loss(other, rows, np.zeros(3)) != loss
    halves_loss(told[:68], sample(classes[:68], label_bars=24), np.zeros(3))
    with pytest.raises(DataError, match="9 of 32 rows to calibrate on"):
        halves_loss(told[:64], sample(classes[:64], label_bars=24), np.zeros(3))
    with pytest.raises(DataError, match="58 rows are too few"):
        halves_loss(told[:58], sample(classes[:58], label_bars=2), np.zeros(3))


def test_few_independent_labels_tell_little() -> None:
    rng = np.random.default_rng(10)
    classes = rng.integers(0, 3, 90).astype(np.int8)
    told = np.eye(3)[classes] * 2 + rng.poisson(2.0, (90, 3))
    many, few = (calibrate(told, classes, np.ones(90), independent=n)(told) for n in (90, 3))
    assert (few.std(axis=0) < 0.6 * many.std(axis=0)).all()


def test_a_class_that_never_came_is_rare_and_few_rows_are_refused() -> None:
    classes = np.array([0, 1] * 100, dtype=np.int8)
    p = calibrate(np.zeros((200, 3)), classes, np.ones(200), independent=200)(np.zeros((1, 3)))
    assert 0 < p[0, 2] < 0.02
    with pytest.raises(DataError, match="29 rows are too few"):
        calibrate(np.zeros((29, 3)), classes[:29], np.ones(29), independent=29)


def test_what_is_remembered_lies_apart_counted_from_the_newest() -> None:
    at = np.array([0, 5, 10, 11, 12, 40, 41, 45])
    assert at[spaced(at, 5, 100)].tolist() == [0, 5, 12, 40, 45]
    assert at[spaced(at, 5, 3)].tolist() == [12, 40, 45]
    assert spaced(at[:0], 5, 3).tolist() == []


def test_base_rates_are_those_of_all_rows_before_too() -> None:
    rng = np.random.default_rng(11)
    quiet = rng.choice(3, 400, p=(0.05, 0.9, 0.05))
    votes = rng.multinomial(8, (0.3, 0.4, 0.3), 400).astype(np.float64)
    p = calibrate(votes, quiet, np.ones(400), independent=100, before=np.array([1_000.0, 600.0, 1_000.0]))(votes)
    assert p.mean(axis=0) == pytest.approx((1_020 / 3_000, 960 / 3_000, 1_020 / 3_000), abs=0.02)
