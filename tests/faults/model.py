"""A model that costs nothing to make: the catalogue's rows in, probabilities and an expectation out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.registry import tiny_model
from tradebot.features.catalogue import NAMES, SCHEMA_HASH
from tradebot.registry import Golden, Inputs, ModelKey, ModelStore
from tradebot.registry.manifest import sha256_hex

WIDTH = len(NAMES)


def graph() -> bytes:
    """``row (B, F) → probabilities (B, 3), expected_bp (B, 1)``; what is not a number counts as 0."""
    rng = np.random.default_rng(5)
    weights = rng.normal(scale=0.3, size=(WIDTH, 3)).astype(np.float32)
    body = helper.make_graph(
        [
            helper.make_node("IsNaN", ["row"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "row"], ["known"]),
            helper.make_node("Clip", ["known", "low", "high"], ["bounded"]),
            helper.make_node("MatMul", ["bounded", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("MatMul", ["probabilities", "returns"], ["expected_bp"]),
        ],
        "planted",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", WIDTH])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("expected_bp", TensorProto.FLOAT, ["batch", 1]),
        ],
        [
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(-5), "low"),
            numpy_helper.from_array(np.float32(5), "high"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([[-40.0], [0.0], [40.0]], dtype=np.float32), "returns"),
        ],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    return bytes(model.SerializeToString())


def plant(folder: Path, symbols: tuple[str, ...]) -> None:
    """A store in ``folder`` in which this model serves ``symbols``."""
    store, model = ModelStore(folder), graph()
    rows = np.random.default_rng(3).normal(size=(8, WIDTH)).astype(np.float32)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    probabilities, expected = session.run(["probabilities", "expected_bp"], {"row": rows})
    golden = Golden(
        count=len(rows),
        rows=rows.tobytes(),
        probabilities=tuple(tuple(map(float, p)) for p in probabilities),
        expected_bp=tuple(map(float, expected[:, 0])),
    )
    inputs = Inputs(tensor="row", features=NAMES, schema_hash=SCHEMA_HASH, interval="5m", row_shape=(WIDTH,))
    for symbol in symbols:
        made = msgspec.structs.replace(
            tiny_model.manifest(tiny_model.graph(), symbol=symbol),
            family="lightgbm",
            name="lightgbm",
            inputs=inputs,
            golden=golden,
            sha256=sha256_hex(model),
        )
        version = store.add(made, {"model.onnx": model})
        key = ModelKey(symbol, "lightgbm", "5m")
        store.promote(key, version, who="fault matrix", why="planted", verdict="promoted", at_ms=1)
