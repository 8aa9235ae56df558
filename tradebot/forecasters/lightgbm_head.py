"""From what boosters say to probabilities, expected return and quantiles: once in double precision, once as a graph.

Every kind ends in the same two numbers, ``q = P(move)`` and ``u = P(up | move)``, each calibrated on its own; the
three probabilities are ``[q (1 − u), 1 − q, q u]``, so they add up to 1 whatever the calibrations do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tradebot.forecasters.base import Floats
from tradebot.forecasters.calibration import Calibration, Sigmoid, calibration_nodes
from tradebot.forecasters.lightgbm_line import Line

CLASSES: Final = "classes"
"""Booster of the three classes at once: probabilities (N, 3)."""
SIZE: Final = "size"
"""Booster of the size of what comes: standardised ln(highest / lowest) over the horizon (N,), less the line."""
LINE: Final = "line"
"""What the booster of size starts from (``lightgbm_line``)."""
MOVE: Final = "move"
"""Booster of P(move) (N,)."""
DIRECTION: Final = "direction"
"""Booster of P(up | move) (N,)."""
QUANTILES: Final = ("quantile_low", "quantile_high")
"""Boosters of quantiles of the return in bp (N,)."""
LEVELS: Final = (0.1, 0.9)

_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """``class_bp``: mean return of each class (bp). ``line`` and ``sigmoid``: from the size booster's value to q.
    ``move_rate``: q where no booster tells it. ``move`` and ``direction``: calibrations of q and u, None where they did
    not help."""

    class_bp: Floats
    line: Line | None = None
    sigmoid: Sigmoid | None = None
    move_rate: float = 0.0
    move: Calibration | None = None
    direction: Calibration | None = None

    def pair(self, said: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """q and u (N,) before calibration."""
        if CLASSES in said:
            p = said[CLASSES]
            q = 1.0 - p[:, 1]
            return q, np.asarray(p[:, 2] / np.maximum(p[:, 0] + p[:, 2], _TINY), dtype=np.float64)
        u = said[DIRECTION]
        if SIZE in said and self.sigmoid is not None:
            return self.sigmoid(said[LINE] + said[SIZE]), u
        return (said[MOVE] if MOVE in said else np.full(len(u), self.move_rate)), u

    def __call__(self, said: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Probabilities (N, 3) in [down, neutral, up] and expected return in bp (N,)."""
        q, u = self.pair(said)
        if CLASSES in said and self.move is None and self.direction is None:
            p = said[CLASSES]
        else:
            q = q if self.move is None else self.move(q)
            u = u if self.direction is None else self.direction(u)
            up = q * u
            p = np.stack([q - up, 1.0 - q, up], axis=1)
        return p, p @ self.class_bp

    def quantiles(self, said: Mapping[str, Floats]) -> Floats:
        """Quantiles of the return (N, 2) in bp, in order."""
        return np.sort(np.stack([said[name] for name in QUANTILES], axis=1), axis=1)

    def nodes(self, outputs: Mapping[str, str]) -> tuple[list[Any], list[Any], list[Any]]:
        """Nodes, initialisers and graph outputs, from the tensors that the tree nodes give (by booster)."""
        graph = _Graph()
        if CLASSES in outputs and self.move is None and self.direction is None:
            graph.add("Identity", [outputs[CLASSES]], "probabilities")
        else:
            q, u = self._pair(graph, outputs)
            q, u = graph.calibrated(self.move, q, "move"), graph.calibrated(self.direction, u, "direction")
            graph.add("Mul", [q, u], "up")
            graph.add("Sub", [q, "up"], "down")
            graph.add("Sub", [graph.constant("one", [[1.0]]), q], "neutral")
            graph.add("Concat", ["down", "neutral", "up"], "probabilities", axis=1)
        graph.add("MatMul", ["probabilities", graph.constant("class_bp", self.class_bp.reshape(-1, 1))], "expected_bp")
        gives = [("probabilities", len(self.class_bp)), ("expected_bp", 1)]
        if QUANTILES[0] in outputs:
            low, high = (outputs[name] for name in QUANTILES)
            graph.add("Min", [low, high], "lower")
            graph.add("Max", [low, high], "upper")
            graph.add("Concat", ["lower", "upper"], "quantiles", axis=1)
            gives.append(("quantiles", len(LEVELS)))
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in gives]
        return graph.all_nodes, graph.constants, values

    def _pair(self, graph: _Graph, outputs: Mapping[str, str]) -> tuple[str, str]:
        if CLASSES in outputs:
            p = [graph.column(outputs[CLASSES], k, f"class_{k}") for k in range(3)]
            graph.add("Add", [p[0], p[2]], "moves")
            graph.add("Max", ["moves", graph.constant("tiny", [[_TINY]])], "some_move")
            graph.add("Div", [p[2], "some_move"], "u")
            graph.add("Sub", [graph.constant("whole", [[1.0]]), p[1]], "q")
            return "q", "u"
        u = graph.column(outputs[DIRECTION], 1, "u")
        if SIZE in outputs and self.line is not None and self.sigmoid is not None:
            graph.extend(*self.line.nodes("row", LINE))
            graph.add("Cast", [outputs[SIZE]], "rest", to=TensorProto.DOUBLE)
            graph.add("Add", [LINE, "rest"], "size")
            graph.add("Mul", ["size", graph.double("slope", [[self.sigmoid.slope]])], "sloped")
            graph.add("Add", ["sloped", graph.double("intercept", [[self.sigmoid.intercept]])], "logit")
            graph.add("Sigmoid", ["logit"], "wide_q")
            return graph.add("Cast", ["wide_q"], "q", to=TensorProto.FLOAT), u
        if MOVE in outputs:
            return graph.column(outputs[MOVE], 1, "q"), u
        graph.add("Mul", [u, graph.constant("nothing", [[0.0]])], "zero")
        graph.add("Add", ["zero", graph.constant("move_rate", [[self.move_rate]])], "q")
        return "q", u


class _Graph:
    """Nodes and constants in the order in which they are needed."""

    def __init__(self) -> None:
        self.all_nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, takes: list[str], gives: str, **attributes: Any) -> str:
        self.all_nodes.append(helper.make_node(kind, takes, [gives], name=gives, **attributes))
        return gives

    def constant(self, name: str, values: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
        return name

    def double(self, name: str, values: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=np.float64), name))
        return name

    def extend(self, nodes: list[Any], constants: list[Any]) -> None:
        self.all_nodes += nodes
        self.constants += constants

    def column(self, source: str, which: int, gives: str) -> str:
        self.constants.append(numpy_helper.from_array(np.array([which], dtype=np.int64), f"{gives}_at"))
        return self.add("Gather", [source, f"{gives}_at"], gives, axis=1)

    def calibrated(self, calibration: Calibration | None, source: str, name: str) -> str:
        if calibration is None:
            return source
        self.extend(*calibration_nodes(calibration, source, f"{name}_calibrated"))
        return f"{name}_calibrated"
