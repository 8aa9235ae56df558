from __future__ import annotations

import re

import lightgbm
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebot.errors import ModelError
from tradebot.forecasters.calibration import Calibration, Sigmoid
from tradebot.forecasters.lightgbm_export import exact_float32, floor_float32, to_onnx
from tradebot.forecasters.lightgbm_head import CLASSES, DIRECTION, LINE, MOVE, QUANTILES, SIZE, Head
from tradebot.forecasters.lightgbm_line import Line

FIXED = {"verbosity": -1, "deterministic": True, "force_row_wise": True, "num_threads": 1, "seed": 1}
RETURNS = np.array([-40.0, 0.5, 41.0])


def rows(count: int, width: int = 12, seed: int = 0) -> np.ndarray:
    """Prices on a decimal grid: features whose midpoints, the thresholds, are rarely float32 values."""
    return np.round(np.random.default_rng(seed).normal(size=(count, width)), 2).astype(np.float32)


def booster(x: np.ndarray, rounds: int = 60, **params: object) -> lightgbm.Booster:
    rng = np.random.default_rng(5)
    score = np.nan_to_num(x[:, 0]) + 0.5 * np.nan_to_num(x[:, 1]) ** 2 + rng.normal(scale=0.5, size=len(x))
    y = np.digitize(score, [-0.3, 0.9])
    options = FIXED | {"objective": "multiclass", "num_class": 3, "num_leaves": 63, "min_data_in_leaf": 5} | params
    return lightgbm.train(options, lightgbm.Dataset(x, y), num_boost_round=rounds)


def exported(fitted: lightgbm.Booster, exact: lightgbm.Booster, check: np.ndarray) -> bytes:
    return to_onnx(boosters={CLASSES: (fitted, exact)}, head=Head(RETURNS), features=12, check=check)


def served(onnx: bytes, x: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    parts = [session.run(["probabilities", "expected_bp"], {"row": x[i : i + batch]}) for i in range(0, len(x), batch)]
    return np.concatenate([p for p, _ in parts]), np.concatenate([bp for _, bp in parts])


@settings(max_examples=300, deadline=None)
@given(st.floats(-1e30, 1e30))
def test_the_floor_is_the_largest_float32_not_above(value: float) -> None:
    floor = floor_float32(np.array([value]))[0]
    assert floor <= value
    assert floor == np.float64(np.float32(floor))
    assert np.float64(np.nextafter(np.float32(floor), np.float32(np.inf))) > value


def test_moving_thresholds_changes_nothing_in_lightgbm_and_every_threshold_fits_float32() -> None:
    x = rows(3_000)
    fitted = booster(x)
    exact = lightgbm.Booster(model_str=exact_float32(fitted.model_to_string()))
    fresh = rows(5_000, seed=9)
    fresh[::9] = np.nan
    np.testing.assert_array_equal(fitted.predict(fresh), exact.predict(fresh))

    def thresholds(node: dict[str, object]) -> list[float]:
        if "threshold" not in node:
            return []
        return [float(node["threshold"]), *thresholds(node["left_child"]), *thresholds(node["right_child"])]  # type: ignore[arg-type]

    def moved(model: lightgbm.Booster) -> int:
        found = [t for tree in model.dump_model()["tree_info"] for t in thresholds(tree["tree_structure"])]
        assert len(found) > 1_000
        return sum(t != float(np.float32(t)) for t in found)

    assert moved(fitted) > 100, "the data must be such that the remedy is needed"
    assert moved(exact) == 0


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("missing_in_training", [False, True])
def test_the_graph_gives_lightgbm_s_probabilities_also_for_missing_values(
    batch: int, missing_in_training: bool
) -> None:
    x = rows(3_000)
    if missing_in_training:
        x[::5, 0] = np.nan
        x[3::7, 1:4] = np.nan
    fitted = booster(x)
    exact = lightgbm.Booster(model_str=exact_float32(fitted.model_to_string()))
    fresh = rows(1_500, seed=11)
    fresh[::3, 0] = np.nan
    fresh[1::4, 2] = np.nan
    fresh[::50] = np.nan
    fresh[7::50] = 0.0
    onnx = exported(fitted, exact, fresh)
    probabilities, expected = served(onnx, fresh, batch)
    wanted = exact.predict(fresh)
    assert np.abs(probabilities - wanted).max() <= 1e-6
    assert np.abs(expected[:, 0] - wanted @ RETURNS).max() <= 1e-4
    assert expected.shape == (1_500, 1)


def test_a_missing_value_nobody_saw_in_training_goes_where_zero_goes_whatever_the_stored_flag() -> None:
    """LightGBM ignores ``default_left`` at splits without missing values; the converter does not."""
    x = rows(3_000)
    text = booster(x).model_to_string()
    flipped = re.sub(r"(?m)^decision_type=.*$", lambda line: line[0].replace("2", "0"), text)
    assert flipped != text
    fitted = lightgbm.Booster(model_str=re.sub(r"(?m)^tree_sizes=.*\n", "", flipped))
    exact = lightgbm.Booster(model_str=exact_float32(flipped))
    fresh = rows(1_000, seed=12)
    fresh[::2, ::3] = np.nan
    onnx = exported(fitted, exact, fresh)
    assert np.abs(served(onnx, fresh, 7)[0] - exact.predict(fresh)).max() <= 1e-6


def test_without_the_remedy_the_same_model_flips_splits() -> None:
    """The reason for ``exact_float32``: rows that lie on a grid meet thresholds that round up past them."""
    x = rows(3_000)
    fitted = booster(x, num_leaves=127, learning_rate=0.3)
    text = fitted.model_to_string()
    naive = exported(fitted, fitted, x)
    exact = lightgbm.Booster(model_str=exact_float32(text))
    right = exported(fitted, exact, x)
    thresholds = np.array(
        [float(t) for line in text.splitlines() if line.startswith("threshold=") for t in line[10:].split()]
    )
    up = thresholds[np.float64(np.float32(thresholds)) > thresholds].astype(np.float32)
    assert len(up) > 100
    trap = np.tile(np.unique(up)[:2_000, None], (1, 12)).astype(np.float32)  # values exactly on rounded-up thresholds
    wanted = fitted.predict(trap)
    assert np.abs(served(naive, trap, 7)[0] - wanted).max() > 1e-4
    assert np.abs(served(right, trap, 7)[0] - wanted).max() <= 1e-6


def test_a_booster_that_found_nothing_still_exports() -> None:
    x = rows(400)
    fitted = booster(x, rounds=2, min_data_in_leaf=1_000)
    exact = lightgbm.Booster(model_str=exact_float32(fitted.model_to_string()))
    onnx = exported(fitted, exact, x)
    probabilities, _ = served(onnx, x, 7)
    assert np.abs(probabilities - exact.predict(x)).max() <= 1e-6


def test_a_changed_model_and_a_categorical_split_are_refused() -> None:
    x = rows(3_000)
    fitted = booster(x)
    other = booster(x, rounds=3)
    with pytest.raises(ModelError, match="changed LightGBM's own output"):
        exported(fitted, other, x)
    x[:, 0] = np.random.default_rng(1).integers(0, 8, size=len(x))
    y = np.isin(x[:, 0], (1, 4, 6)).astype(int) + (x[:, 1] > 0)
    categorical = lightgbm.train(
        FIXED | {"objective": "multiclass", "num_class": 3},
        lightgbm.Dataset(x, y, categorical_feature=[0]),
        num_boost_round=3,
    )
    with pytest.raises(ModelError, match="categorical"):
        exact_float32(categorical.model_to_string())


def test_equal_boosters_export_equal_bytes() -> None:
    x = rows(2_000)
    graphs = []
    for _ in range(2):
        fitted = booster(x, rounds=10)
        exact = lightgbm.Booster(model_str=exact_float32(fitted.model_to_string()))
        graphs.append(exported(fitted, exact, x))
    assert graphs[0] == graphs[1]


CURVE = Calibration(np.array([0.0, 0.1, 0.3, 0.6, 1.0]), np.array([0.0, 0.05, 0.45, 0.5, 1.0]))

LEVEL = Line(
    logged=(0,),
    sized=(1,),
    plain=(2, 3),
    mean=np.array([-1.0, -1.0, 0.1, -0.1]),
    deviation=np.array([2.0, 1.5, 1.0, 0.5]),
    slope=np.array([0.3, -0.2, 0.5, 0.1]),
    clock=(4, 5),
    week=(6, 7),
    season=np.linspace(-1.0, 1.0, 7 * 288),
)


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize(
    ("names", "head"),
    [
        ((CLASSES,), Head(RETURNS, move=CURVE)),
        ((CLASSES,), Head(RETURNS, move=CURVE, direction=CURVE)),
        ((SIZE, DIRECTION), Head(RETURNS, line=LEVEL, sigmoid=Sigmoid(1.7, -0.8), direction=CURVE)),
        ((SIZE, DIRECTION), Head(RETURNS, line=LEVEL, sigmoid=Sigmoid(1.7, -0.8), move=CURVE)),
        ((MOVE, DIRECTION), Head(RETURNS, move=CURVE, direction=CURVE)),
        ((DIRECTION,), Head(RETURNS, move_rate=0.27, direction=CURVE)),
        ((SIZE, DIRECTION, *QUANTILES), Head(RETURNS, line=LEVEL, sigmoid=Sigmoid(1.7, -0.8))),
    ],
)
def test_every_head_is_in_the_graph(names: tuple[str, ...], head: Head, batch: int) -> None:
    x = rows(3_000)
    rng = np.random.default_rng(5)
    score = np.nan_to_num(x[:, 0]) + 0.5 * np.nan_to_num(x[:, 1]) ** 2 + rng.normal(scale=0.5, size=len(x))
    boosters = {}
    for name in names:
        target = {CLASSES: np.digitize(score, [-0.3, 0.9]), MOVE: score > 0.5, DIRECTION: score > 0}.get(name, score)
        options = {
            CLASSES: {"objective": "multiclass", "num_class": 3},
            MOVE: {"objective": "binary"},
            DIRECTION: {"objective": "binary"},
            QUANTILES[0]: {"objective": "quantile", "alpha": 0.1},
            QUANTILES[1]: {"objective": "quantile", "alpha": 0.9},
        }.get(name, {"objective": "regression"})
        fitted = lightgbm.train(FIXED | options | {"num_leaves": 31}, lightgbm.Dataset(x, target), num_boost_round=80)
        boosters[name] = fitted, lightgbm.Booster(model_str=exact_float32(fitted.model_to_string()))
    fresh = rows(1_400, seed=11)
    fresh[::3, 0] = np.nan
    fresh[::50] = np.nan
    said = {name: exact.predict(fresh) for name, (_, exact) in boosters.items()}
    said[LINE] = LEVEL(fresh)
    wanted, expected = head(said)
    onnx = to_onnx(boosters=boosters, head=head, features=12, check=fresh)
    probabilities, bp = served(onnx, fresh, batch)
    assert np.abs(probabilities - wanted).max() <= 1e-6
    assert np.abs(bp[:, 0] - expected).max() <= 1e-4
    if QUANTILES[0] in names:
        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        found = session.run(["quantiles"], {"row": fresh})[0]
        assert found.shape == (1_400, 2)
        assert (found[:, 0] <= found[:, 1]).all()
        assert np.abs(found - head.quantiles(said)).max() <= 1e-4
