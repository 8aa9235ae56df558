"""Calibration: truthful where it has seen enough, rising everywhere, and left alone where it would only add noise."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

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
    kept, gain = keep_if_better(said, came, np.ones(len(said)), 2)
    assert kept is not None
    assert gain > 0.005
    kept, gain = keep_if_better(truth, came, np.ones(len(said)), 2)
    assert (kept, gain) == (None, 0.0), "what is right already is left as it is"
    assert keep_if_better(said[:3], came[:3], np.ones(3), 2) == (None, 0.0)
    assert keep_if_better(said, np.zeros(len(said), dtype=bool), np.ones(len(said)), 2) == (None, 0.0)


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
