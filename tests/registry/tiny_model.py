"""A real, small ONNX model and its manifest, for tests of storing and serving."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tradebot.registry import Gate, Golden, Inputs, Lineage, Manifest, Metric, Output
from tradebot.registry.libraries import installed_all
from tradebot.registry.manifest import GateVerdict, sha256_hex

FEATURES = ("a", "b", "c", "d")
SCHEMA = "feedfacefeedface"


def graph(shift: float = 0.0, features: int = len(FEATURES)) -> bytes:
    """``row (B, F) → probabilities (B, 3), expected_bp (B, 1)``; What is not a number counts as
    0; ``shift`` tells models apart."""
    weights = np.linspace(-1.0, 1.0, features * 3).reshape(features, 3) + shift * np.array([-1.0, 0.0, 1.0])
    body = helper.make_graph(
        [
            helper.make_node("IsNaN", ["row"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "row"], ["known"]),
            helper.make_node("MatMul", ["known", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("MatMul", ["probabilities", "returns"], ["expected_bp"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", features])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("expected_bp", TensorProto.FLOAT, ["batch", 1]),
        ],
        [
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(np.array([[-40.0], [0.0], [40.0]], dtype=np.float32), "returns"),
        ],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    return bytes(model.SerializeToString())


def golden_rows(count: int = 8, features: int = len(FEATURES)) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, features)).astype(np.float32)


def manifest(
    model: bytes,
    *,
    symbol: str = "SOLUSDT",
    verdict: GateVerdict = "promoted",
    fit_end_ms: int = 1_000,
    schema_hash: str = SCHEMA,
) -> Manifest:
    rows = golden_rows()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    probabilities, expected = session.run(["probabilities", "expected_bp"], {"row": rows})
    return Manifest(
        family="tiny",
        name="tiny",
        symbol=symbol,
        inputs=Inputs(
            tensor="row", features=FEATURES, schema_hash=schema_hash, interval="5m", row_shape=(len(FEATURES),)
        ),
        outputs=(
            Output(tensor="probabilities", columns=("down", "neutral", "up"), unit="probability"),
            Output(tensor="expected_bp", columns=("expected_bp",), unit="bp"),
        ),
        horizon_ms=600_000,
        lineage=Lineage(
            as_of_ms=2_000,
            data_from_ms=0,
            data_to_ms=2_000,
            fit_end_ms=fit_end_ms,
            test_from_ms=fit_end_ms + 100,
            rows=100,
            candles=200,
            data_sha256="0" * 64,
            code_version="test",
            seed=7,
            params={"learning_rate": 0.1},
            spec={"rounds": 5},
            libraries=installed_all(("onnxruntime", "numpy")),
            trials=1,
        ),
        metrics={"move_auc": Metric(value=0.61, low=0.58, high=0.64, baseline=0.5)},
        gate=Gate(verdict=verdict, reason="made for a test"),
        golden=Golden(
            count=len(rows),
            rows=rows.tobytes(),
            probabilities=tuple(tuple(map(float, p)) for p in probabilities),
            expected_bp=tuple(map(float, expected[:, 0])),
        ),
        sha256=sha256_hex(model),
        provisional=verdict != "promoted",
        entry_bp=5.0,
    )
