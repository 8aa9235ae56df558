"""Calibration: truthful where it has seen enough, rising everywhere, and left alone where it would only add noise."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tradebot.forecasters import calibration
from tradebot.forecasters.calibration import (
    STEEPEST,
    Calibration,
    calibration_nodes,
    fit_calibration,
    fit_sigmoid,
    keep_if_better,
)


def overconfident(seed: int, rows: int = 8_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is said, what came, and the truth: what is said is twice as far from even as it should be."""
    rng = np.random.default_rng(seed)
    said = rng.beta(2, 3, size=rows)
    truth = 0.5 + 0.5 * (said - 0.5)
    return said, rng.random(rows) < truth, truth


def test_it_finds_the_truth_that_was_distorted() -> None:
    said, came, _ = overconfident(1)
    found = fit_calibration(said, came, np.ones(len(said)))
    assert found is not None
    fresh, _, truth = overconfident(2)
    assert np.abs(found(fresh) - truth).mean() < 0.03
    assert np.abs(fresh - truth).mean() > 0.08


def test_weights_count() -> None:
    said, came, _ = overconfident(3)
    weight = np.where(came, 3.0, 1.0)
    found, plain = fit_calibration(said, came, weight), fit_calibration(said, came, np.ones(len(said)))
    assert found is not None
    assert plain is not None
    assert (found(said) > plain(said)).mean() > 0.99


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(30, 3_000), st.floats(0.0, 1.0))
def test_it_rises_strictly_from_0_to_1_and_never_steeply(seed: int, rows: int, skill: float) -> None:
    rng = np.random.default_rng(seed)
    said = np.round(rng.random(rows), rng.integers(1, 6))
    came = rng.random(rows) < skill * said + (1 - skill) * rng.random()
    found = fit_calibration(said, came, rng.random(rows) + 0.01)
    if found is None:
        return
    slopes = np.diff(found.y) / np.diff(found.x)
    assert (np.diff(found.x) > 0).all()
    assert slopes.min() > 0
    assert slopes.max() <= STEEPEST + 1e-9
    assert (found.x[0], found.y[0], found.x[-1], found.y[-1]) == (0.0, 0.0, 1.0, 1.0)


def test_it_is_kept_only_where_rows_it_did_not_see_gain() -> None:
    said, came, truth = overconfident(4)
    at = np.arange(len(said))

    def kept(p: np.ndarray, came: np.ndarray) -> tuple[Calibration | None, float]:
        rows = at[: len(p)]
        return keep_if_better(p, came, np.ones(len(p)), 2, at_ms=rows, label_end_ms=rows + 2)

    found, gain = kept(said, came)
    assert found is not None
    assert gain > 0.005
    assert kept(truth, came) == (None, 0.0), "what is right already is left as it is"
    assert kept(said[:3], came[:3]) == (None, 0.0)
    assert kept(said[:0], came[:0]) == (None, 0.0)
    assert kept(said, np.zeros(len(said), dtype=bool)) == (None, 0.0)


def by_rows(p: np.ndarray, came: np.ndarray, weight: np.ndarray, apart: int) -> tuple[Calibration | None, float]:
    """What it is of one symbol, where a row is a moment: half the rows, ``apart`` fewer, and the other half."""
    half = len(p) // 2
    before, after = slice(0, max(0, half - apart)), slice(half, None)
    tried = fit_calibration(p[before], came[before], weight[before])
    if tried is None or not came[after].any() or came[after].all():
        return None, 0.0

    def losses(q: np.ndarray) -> np.ndarray:
        return -np.log(np.clip(np.where(came[after], q, 1.0 - q), 1e-7, 1.0))

    gains = weight[after] / float(weight[after].mean()) * (losses(p[after]) - losses(tried(p[after])))
    gain, error = float(gains.mean()), float(gains.std()) * (apart / len(gains)) ** 0.5
    return (fit_calibration(p, came, weight), gain) if gain > error else (None, 0.0)


def mild(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """So little of a distortion that it is sometimes seen."""
    rng = np.random.default_rng(seed)
    said = rng.beta(2, 3, size=rows)
    return said, rng.random(rows) < 0.5 + 0.6 * (said - 0.5)


def test_of_one_symbol_moments_are_rows() -> None:
    """Gaps in time or not, whether all rows count or only some: to the last bit."""
    verdicts = set()
    for seed in range(40):
        rows, apart = 300 + 57 * seed, 1 + seed % 12
        said, came = mild(seed, rows)
        rng = np.random.default_rng(seed)
        weight = rng.random(rows) + 0.1
        at = np.cumsum(rng.choice([1, 1, 1, 7], size=rows)) * 300_000
        ends = np.append(at, at[-1] + 300_000 * np.arange(1, apart + 1))[apart:]
        found, gain = keep_if_better(said, came, weight, apart, at_ms=at, label_end_ms=ends)
        asked, told = by_rows(said, came, weight, apart)
        assert gain == told
        verdicts.add(found is None)
        assert (found is None) == (asked is None)
        if found is not None and asked is not None:
            np.testing.assert_array_equal(found.x, asked.x)
            np.testing.assert_array_equal(found.y, asked.y)
    assert verdicts == {True, False}


def test_the_rows_of_several_symbols_are_purged_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_on: list[int] = []

    def heard(p: np.ndarray, came: np.ndarray, weight: np.ndarray) -> Calibration | None:
        fitted_on.append(len(p))
        return fit_calibration(p, came, weight)

    monkeypatch.setattr(calibration, "fit_calibration", heard)
    symbols, moments, apart = 5, 601, 24
    said, came = mild(1, symbols * moments)
    at = np.repeat(np.arange(moments), symbols)
    ends = at + apart
    ends[:symbols] = 350  # a label that a gap made longer than the others
    keep_if_better(said, came, np.ones(len(said)), apart, at_ms=at, label_end_ms=ends)
    half = at[len(at) // 2]
    assert fitted_on[0] == ((ends < half) & (at < half)).sum() == symbols * (300 - apart - 1)


def test_symbols_that_move_as_one_are_one_observation() -> None:
    """Five copies of a market know no more than it: what is noise once is noise five times."""
    kept = {1: 0, 5: 0}
    for seed in range(60):
        said, came = mild(seed, 700)
        for copies in kept:
            p, happened, at = (np.repeat(values, copies) for values in (said, came, np.arange(len(said))))
            found, _ = keep_if_better(p, happened, np.ones(len(p)), 2, at_ms=at, label_end_ms=at + 2)
            kept[copies] += found is not None
    assert 5 < kept[1] < 55
    assert kept[5] == pytest.approx(kept[1], abs=3)


@pytest.mark.parametrize("batch", [1, 7])
def test_the_graph_draws_the_same_line(batch: int) -> None:
    said, came, _ = overconfident(5)
    curve = fit_calibration(said, came, np.ones(len(said)))
    assert curve is not None
    assert isinstance(curve, Calibration)
    nodes, constants = calibration_nodes(curve, "p", "calibrated")
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("calibrated", TensorProto.FLOAT, ["batch", 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.concatenate([[0.0, 1.0], said[:1_398]]).astype(np.float32).reshape(-1, 1)
    found = np.concatenate([session.run(None, {"p": x[i : i + batch]})[0] for i in range(0, len(x), batch)])
    assert np.abs(found - curve(x.astype(np.float64))).max() <= 1e-6


def test_a_sigmoid_is_the_maximum_of_the_likelihood_and_never_falls() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=20_000)
    came = rng.random(len(x)) < 1 / (1 + np.exp(-(1.3 * x - 0.7)))
    found = fit_sigmoid(x, came, np.ones(len(x)))
    assert found.slope == pytest.approx(1.3, abs=0.06)
    assert found.intercept == pytest.approx(-0.7, abs=0.06)
    assert found(x).mean() == pytest.approx(came.mean(), abs=1e-6)
    against = fit_sigmoid(-x, came, np.ones(len(x)))
    assert against.slope == 0.0
    assert against(x).mean() == pytest.approx(came.mean(), abs=1e-6)
