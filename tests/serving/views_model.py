"""A real, small ONNX model of any view: rows or windows of it."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.registry.tiny_model import graph as tiny_graph
from tests.registry.tiny_model import manifest as tiny_manifest
from tradebot.features.views import view
from tradebot.registry import Golden, Inputs, Manifest, ModelStore
from tradebot.registry.manifest import sha256_hex


def graph(shape: tuple[int, ...], gain: float = 1.0) -> bytes:
    """``rows (B, *shape) → probabilities (B, 3), expected_bp (B, 1)``: what is missing counts 0, the mean of everything
    between -1 and 1 tells the way."""
    axes = list(range(1, 1 + len(shape)))
    body = helper.make_graph(
        [
            helper.make_node("IsNaN", ["rows"], ["gone"]),
            helper.make_node("Where", ["gone", "zero", "rows"], ["there"]),
            helper.make_node("Clip", ["there", "low", "high"], ["held"]),
            helper.make_node("ReduceMean", ["held"], ["mean"], axes=axes, keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
            helper.make_node("MatMul", ["column", "ways"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("MatMul", ["probabilities", "returns"], ["expected_bp"]),
        ],
        "view",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", *shape])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("expected_bp", TensorProto.FLOAT, ["batch", 1]),
        ],
        [
            numpy_helper.from_array(np.float32(0.0), "zero"),
            numpy_helper.from_array(np.float32(-1.0), "low"),
            numpy_helper.from_array(np.float32(1.0), "high"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([[-gain, 0.0, gain]], dtype=np.float32), "ways"),
            numpy_helper.from_array(np.array([[-40.0], [0.0], [40.0]], dtype=np.float32), "returns"),
        ],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    return bytes(model.SerializeToString())


def manifest(model: bytes, name: str, view_name: str, steps: int = 1, symbol: str = "SOLUSDT") -> Manifest:
    """Of a model of windows of ``steps`` rows of a view (1: of rows)."""
    seen = view(view_name)
    shape = (len(seen.names),) if steps == 1 else (steps, len(seen.names))
    rows = np.random.default_rng(5).normal(size=(4, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    probabilities, expected = session.run(["probabilities", "expected_bp"], {"rows": rows})
    return msgspec.structs.replace(
        tiny_manifest(tiny_graph(), symbol=symbol),
        family=name,
        name=name,
        horizon_ms=600_000,
        inputs=Inputs(
            tensor="rows",
            features=seen.names,
            schema_hash=seen.schema_hash,
            interval=seen.interval,
            row_shape=shape,
            view=view_name,
        ),
        golden=Golden(
            count=len(rows),
            rows=rows.tobytes(),
            probabilities=tuple(tuple(map(float, p)) for p in probabilities),
            expected_bp=tuple(map(float, expected[:, 0])),
        ),
        sha256=sha256_hex(model),
    )


def plant(store: ModelStore, name: str, view_name: str, steps: int = 1, symbol: str = "SOLUSDT") -> Manifest:
    """A champion of that kind."""
    width = len(view(view_name).names)
    model = graph((width,) if steps == 1 else (steps, width))
    made = manifest(model, name, view_name, steps, symbol)
    version = store.add(made, {"model.onnx": model})
    store.promote(made.key, version, who="test", why="made for a test", verdict="promoted", at_ms=1)
    assert math.prod(made.inputs.row_shape) == steps * width
    return made
