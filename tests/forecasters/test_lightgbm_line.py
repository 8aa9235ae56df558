"""The line under the booster of volatility: right where the truth is a line, and the same in the graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tradebot.forecasters.lightgbm_line import SLOTS, Line, fit_line

FEATURES = ("rv_12", "ret_1", "vol_z_48", "hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "unused")


def rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Feature rows of candles five minutes apart, and what is to be found: ln(rv), the size of ret_1 and noon."""
    rng = np.random.default_rng(seed)
    minute = 5 * np.arange(count)
    day, hour = 2 * np.pi * (minute // 1_440 % 7) / 7, 2 * np.pi * (minute % 1_440) / 1_440
    x = np.stack(
        [
            np.exp(rng.normal(-6, 0.5, size=count)),
            rng.normal(0, 0.001, size=count),
            rng.normal(size=count),
            np.sin(hour),
            np.cos(hour),
            np.sin(day),
            np.cos(day),
            rng.normal(size=count),
        ],
        axis=1,
    ).astype(np.float32)
    noon = ((minute % 1_440) // 60 == 12) * 1.0
    truth = 0.8 * np.log(x[:, 0].astype(float)) + 0.3 * np.log(np.abs(x[:, 1].astype(float)) + 2e-4) + 0.5 * noon
    return x, truth + rng.normal(0, 0.3, size=count)


@pytest.fixture(scope="module")
def line() -> Line:
    x, y = rows(20_000, 1)
    return fit_line(x, y, np.ones(len(x)), FEATURES)


def test_slopes_and_the_shape_of_the_day_are_found(line: Line) -> None:
    natural = line.slope / line.deviation
    assert natural == pytest.approx([0.8, 0.3, 0.0], abs=0.03)
    monday = line.season[:SLOTS]
    assert monday[145:155].mean() - monday[100:130].mean() == pytest.approx(0.5, abs=0.06)
    x, y = rows(5_000, 2)
    assert np.std(y - line(x)) < 0.33


def test_the_moment_is_read_off_the_row(line: Line) -> None:
    x, _ = rows(7 * SLOTS, 3)
    np.testing.assert_array_equal(line.moment(x), np.arange(7 * SLOTS))


def test_what_is_missing_or_far_off_counts_as_the_mean_or_as_no_farther(line: Line) -> None:
    x, _ = rows(100, 4)
    holed = x.copy()
    holed[:, 1] = np.nan
    usual = x.copy()
    usual[:, 1] = np.exp(line.mean[1]) - 2e-4
    np.testing.assert_allclose(line(holed), line(usual), atol=1e-5)
    holed[:] = np.nan
    assert np.isfinite(line(holed)).all()
    x[:, 0] = 1e30
    assert np.isfinite(line(x)).all()


def test_a_feature_nobody_knew_in_training_changes_nothing_when_serving() -> None:
    x, y = rows(5_000, 5)
    x[:, 1] = np.nan
    blind = fit_line(x, y, np.ones(len(x)), FEATURES)
    fresh, _ = rows(200, 6)
    unknown = fresh.copy()
    unknown[:, 1] = np.nan
    np.testing.assert_allclose(blind(fresh), blind(unknown), atol=1e-9)


@pytest.mark.parametrize("batch", [1, 7])
def test_the_graph_draws_the_same_line(line: Line, batch: int) -> None:
    nodes, constants = line.nodes("row", "line")
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", len(FEATURES)])],
        [helper.make_tensor_value_info("line", TensorProto.DOUBLE, ["batch", 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x, _ = rows(1_400, 7)
    x[::5, 2] = np.nan
    x[::11, 3] = np.nan
    x[::50] = np.nan
    found = np.concatenate([session.run(None, {"row": x[i : i + batch]})[0] for i in range(0, len(x), batch)])
    assert np.abs(found[:, 0] - line(x)).max() <= 1e-12
