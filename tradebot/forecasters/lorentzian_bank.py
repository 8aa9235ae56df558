"""The memory of the ``lorentzian`` family and its graph: the k nearest of a fixed bank of rows, as votes.

Distances are ranked by ``Π_f (1 + |x_f − y_f|)``, the exponential of the Lorentzian distance, in float32 and in one
order of multiplication: a chain of exactly rounded operations, so that numpy and the graph pick the same neighbours to
the last bit, which logarithms of two libraries would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tradebot.forecasters.base import Floats, Rows
from tradebot.forecasters.score_calibration import Calibration

OPSET = 18
IR_VERSION = 8
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """``columns`` are those of a row that count; x = (value − ``low``) / ``span``, ``fill`` where it is missing. ``x``
    (M, D) the stored rows, ``outcomes`` (M, 3) one-hot in [down, neutral, up]. All float32."""

    columns: tuple[int, ...]
    fill: Rows
    low: Rows
    span: Rows
    x: Rows
    outcomes: Rows

    def __len__(self) -> int:
        return len(self.x)

    def votes(self, rows: Rows, k: int) -> Rows:
        """How many of the k nearest went down, nowhere and up (N, 3) float32. Of equal distances the first stored
        counts."""
        out = np.empty((len(rows), 3), dtype=np.float32)
        for begin in range(0, len(rows), _AT_ONCE):
            distance = self._distances(rows[begin : begin + _AT_ONCE])
            reach = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
            chosen = distance <= reach
            for i in np.flatnonzero(chosen.sum(axis=1) > k):
                chosen[i] = False
                chosen[i, np.argsort(distance[i], kind="stable")[:k]] = True
            out[begin : begin + len(distance)] = chosen.astype(np.float32) @ self.outcomes
        return out

    def _distances(self, rows: Rows) -> Rows:
        x = np.asarray(rows[:, self.columns], dtype=np.float32)
        x = (np.where(np.isnan(x), self.fill, x) - self.low) / self.span
        distance = np.float32(1.0) + np.abs(x[:, :1] - self.x[:, 0])
        for f in range(1, self.x.shape[1]):
            distance = distance * (np.float32(1.0) + np.abs(x[:, f : f + 1] - self.x[:, f]))
        found: Rows = distance
        return found


def bank_of(rows: Rows, classes: np.ndarray, columns: tuple[int, ...]) -> Bank:
    """A bank of these rows. Scales and fills are of the rows themselves: [0, 1] spans their 1st to 99th percentile."""
    own = np.asarray(rows[:, columns], dtype=np.float32)
    low, middle, high = np.nanpercentile(own, (1.0, 50.0, 99.0), axis=0).astype(np.float32)
    span = np.where(high > low, high - low, np.float32(1.0))
    x = (np.where(np.isnan(own), middle, own) - low) / span
    outcomes = np.eye(3, dtype=np.float32)[classes]
    return Bank(columns, middle, low, span, np.ascontiguousarray(x), outcomes)


def to_onnx(bank: Bank, k: int, calibration: Calibration, class_bp: Floats, features: int) -> bytes:
    """The graph ``row (B, features) → probabilities (B, 3), expected_bp (B, 1)``."""
    constants: dict[str, np.ndarray] = {
        "columns": np.array(bank.columns, dtype=np.int64),
        "fill": bank.fill,
        "low": bank.low,
        "span": bank.span,
        "one": np.array(1.0, dtype=np.float32),
        "k": np.array([k], dtype=np.int64),
        "outcomes": bank.outcomes,
        "axis": np.array([1], dtype=np.int64),
        "weights": calibration.weights.astype(np.float32),
        "biases": calibration.biases.astype(np.float32),
        "class_bp": class_bp.astype(np.float32).reshape(3, 1),
    }
    nodes = [
        helper.make_node("Gather", ["row", "columns"], ["raw"], axis=1),
        helper.make_node("IsNaN", ["raw"], ["missing"]),
        helper.make_node("Where", ["missing", "fill", "raw"], ["whole"]),
        helper.make_node("Sub", ["whole", "low"], ["above"]),
        helper.make_node("Div", ["above", "span"], ["x"]),
    ]
    for f in range(bank.x.shape[1]):
        constants[f"at_{f}"] = np.array([f], dtype=np.int64)
        constants[f"bank_{f}"] = np.ascontiguousarray(bank.x[:, f]).reshape(1, -1)
        nodes += [
            helper.make_node("Gather", ["x", f"at_{f}"], [f"x_{f}"], axis=1),
            helper.make_node("Sub", [f"x_{f}", f"bank_{f}"], [f"apart_{f}"]),
            helper.make_node("Abs", [f"apart_{f}"], [f"size_{f}"]),
            helper.make_node("Add", ["one", f"size_{f}"], [f"factor_{f}"]),
        ]
        if f:
            before = "factor_0" if f == 1 else f"distance_{f - 1}"
            nodes.append(helper.make_node("Mul", [before, f"factor_{f}"], [f"distance_{f}"]))
    last = f"distance_{bank.x.shape[1] - 1}" if bank.x.shape[1] > 1 else "factor_0"
    nodes += [
        helper.make_node("TopK", [last, "k"], ["reached", "nearest"], axis=1, largest=0, sorted=1),
        helper.make_node("Gather", ["outcomes", "nearest"], ["came"], axis=0),
        helper.make_node("ReduceSum", ["came", "axis"], ["votes"], keepdims=0),
        helper.make_node("MatMul", ["votes", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "biases"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("MatMul", ["probabilities", "class_bp"], ["expected_bp"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lorentzian",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", features])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("expected_bp", TensorProto.FLOAT, ["batch", 1]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="tradebot",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
