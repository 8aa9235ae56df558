"""The plain regression that larger models have to beat: right where the truth is linear, calm where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from tradebot.forecasters.base import Sample, family
from tradebot.forecasters.logistic import fit_logistic

NAMES = ("calm", "noise", "size", "tilt")
ROWS = 20_000


def sample(seed: int, *, skill: float = 1.0, rows: int = ROWS) -> Sample:
    """Moves grow with ln(size), up moves with tilt; the other columns mean nothing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    x[:, 2] = np.exp(x[:, 2])
    up = skill * (0.8 * np.log(x[:, 2]) + 0.6 * x[:, 3]) - 1.0
    down = skill * (0.8 * np.log(x[:, 2]) - 0.6 * x[:, 3]) - 1.0
    weights = np.exp(np.stack([down, np.zeros(rows), up], axis=1))
    p = weights / weights.sum(axis=1, keepdims=True)
    classes = (rng.random(rows)[:, None] > np.cumsum(p, axis=1)).sum(axis=1).astype(np.int8)
    realised = np.array([-30.0, 0.0, 34.0])[classes]
    at = 300_000 * np.arange(rows, dtype=np.int64)
    return Sample(
        rows=x.astype(np.float32),
        classes=classes,
        weight=np.ones(rows),
        at_ms=at,
        label_end_ms=at + 600_000,
        realised_bp=realised,
        traded_bp=realised,
        past_bp=np.zeros((rows, 5)),
    )


def log_loss(p: np.ndarray, classes: np.ndarray) -> float:
    return float(-np.log(p[np.arange(len(classes)), classes]).mean())


def test_the_coefficients_that_made_the_classes_are_found() -> None:
    model = fit_logistic(sample(1), NAMES, NAMES)
    slopes = model.coefficients[:-1] / model.deviation[:, None]
    assert model.logged == (False, False, True, False)
    assert slopes[2] == pytest.approx([0.8, 0.8], abs=0.06)
    assert slopes[3] == pytest.approx([-0.6, 0.6], abs=0.06)
    assert np.abs(slopes[:2]).max() < 0.06
    test = sample(2)
    p, expected = model.predict(test.rows)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    np.testing.assert_allclose(expected, p @ [-30.0, 0.0, 34.0])
    rates = np.bincount(test.classes, minlength=3) / ROWS
    assert log_loss(p, test.classes) < 0.95 * float(-(rates * np.log(rates)).sum())


def test_it_is_at_the_maximum_of_the_weighted_likelihood() -> None:
    """The gradient: what is predicted in the weighted mean is what happened, feature by feature (but for the ridge)."""
    train = sample(3, rows=4_000)
    weighted = Sample(**{f: getattr(train, f) for f in train.__slots__} | {"weight": np.linspace(0.2, 1.8, 4_000)})
    model = fit_logistic(weighted, NAMES, ("size", "tilt"))
    p, _ = model.predict(weighted.rows)
    happened = np.eye(3)[weighted.classes]
    assert np.average(p, axis=0, weights=weighted.weight) == pytest.approx(
        np.average(happened, axis=0, weights=weighted.weight), abs=1e-6
    )
    tilt = np.clip((weighted.rows[:, 3] - model.mean[1]) / model.deviation[1], -5, 5)
    assert np.average((happened - p) * tilt[:, None], axis=0, weights=weighted.weight) == pytest.approx(0, abs=1e-3)


def test_where_nothing_is_to_be_learnt_it_says_the_base_rates() -> None:
    train = sample(4, skill=0.0)
    p, _ = fit_logistic(train, NAMES, NAMES).predict(sample(5).rows)
    rates = np.bincount(train.classes, minlength=3) / ROWS
    assert np.abs(p - rates).mean() < 0.02


def test_missing_and_constant_features_and_outliers_are_harmless() -> None:
    train = sample(6)
    rows = train.rows.copy()
    rows[:, 0] = 7.0
    rows[::5, 3] = np.nan
    model = fit_logistic(Sample(**{f: getattr(train, f) for f in train.__slots__} | {"rows": rows}), NAMES, NAMES)
    odd = np.array([[np.nan] * 4, [1e9, -1e9, 0.0, 1e9], [-1.0, 0.0, -5.0, 0.0]], dtype=np.float32)
    p, expected = model.predict(odd)
    assert np.isfinite(p).all()
    assert np.isfinite(expected).all()
    assert p.min() > 0.0001


def test_the_family_names_ten_of_its_features() -> None:
    kind = family("lightgbm")
    assert len(kind.baseline_features) == 10
    assert set(kind.baseline_features) <= set(kind.features)
    with pytest.raises(ValueError, match="not in list"):
        fit_logistic(sample(7, rows=100), NAMES, ("nosuch",))
