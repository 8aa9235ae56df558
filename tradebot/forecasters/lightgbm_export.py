"""LightGBM → ONNX without a single flipped split (models.md section 8).

ONNX tree ensembles store float32 thresholds. Rounding a double threshold *up* past a feature value flips
``x <= threshold``. For float32 features nothing is lost by replacing each threshold by the largest float32 that is
not above it: no float32 lies between the two. LightGBM itself then gives exactly what it gave before.

The other trap is a missing value at a split that saw none in training: LightGBM reads it as 0, ONNX follows a stored
flag. The flag LightGBM ignores there (``default_left``) is set to the side on which 0 falls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from tradebot.errors import ModelError
from tradebot.forecasters.base import Floats, Rows
from tradebot.forecasters.lightgbm_head import Head

OPSET = 15
ML_OPSET = 1
IR_VERSION = 8
"""Understood by every ONNX Runtime this project accepts (1.28 and later), and by older ones."""

_CATEGORICAL, _DEFAULT_LEFT, _MISSING_MASK = 1, 2, 12


def exact_float32(text: str) -> str:
    """The model text with every numeric threshold replaced by the largest float32 that is not above it.

    Raises ModelError for categorical splits, whose thresholds mean something else.
    """
    parts = re.split(r"(?m)^(?=Tree=\d+$)", text)
    parts[0] = re.sub(r"(?m)^tree_sizes=.*\n", "", parts[0])
    return parts[0] + "".join(_exact_tree(part) for part in parts[1:])


def floor_float32(values: Floats) -> Floats:
    """Largest float32 not above each value, as doubles.

    >>> bool(floor_float32(np.array([0.1]))[0] <= 0.1)
    True
    """
    rounded = values.astype(np.float32)
    above = rounded.astype(np.float64) > values
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded.astype(np.float64)


def to_onnx(*, boosters: Mapping[str, tuple[Any, Any]], head: Head, features: int, check: Rows) -> bytes:
    """The graph ``row (B, F) → probabilities (B, 3), expected_bp (B, 1)`` and, with quantile boosters, ``quantiles``.

    ``boosters`` gives for each name of ``lightgbm_head`` the booster as it was fitted and the same after
    ``exact_float32``; both must agree to the last bit on the ``check`` rows. Raises ModelError.
    """
    for fitted, exact in boosters.values():
        if not np.array_equal(fitted.predict(check, num_threads=1), exact.predict(check, num_threads=1)):
            raise ModelError("moving thresholds to float32 changed LightGBM's own output; the model is not exported")
    try:
        trees = [_tree_node(name, exact, features) for name, (_, exact) in boosters.items()]
        nodes, constants, gives = head.nodes({name: f"{name}_said" for name in boosters})
        graph = helper.make_graph(
            [*trees, *nodes],
            "lightgbm",
            [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", features])],
            gives,
            constants,
        )
        model = helper.make_model(
            graph,
            producer_name="tradebot",
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content
    except (RuntimeError, ValueError, TypeError, NotImplementedError, onnx.checker.ValidationError) as error:
        raise ModelError(f"LightGBM model cannot be written as ONNX: {error}") from error


def _tree_node(name: str, booster: Any, features: int) -> Any:
    """The converter's tree ensemble alone, taking ``row`` and giving ``NAME_said``."""
    converted = convert_lightgbm(
        booster,
        name=name,
        initial_types=[("row", FloatTensorType([None, features]))],
        target_opset=OPSET,
        zipmap=False,
    )
    (trees,) = (node for node in converted.graph.node if node.op_type.startswith("TreeEnsemble"))
    labels = [f"{name}_label"] if trees.op_type == "TreeEnsembleClassifier" else []
    del trees.input[:]
    del trees.output[:]
    trees.input.append("row")
    trees.output.extend([*labels, f"{name}_said"])
    trees.name = f"{name}_trees"
    return trees


def _exact_tree(tree: str) -> str:
    fields = dict(re.findall(r"(?m)^(threshold|decision_type)=(.*)$", tree))
    if not fields.get("threshold", "").strip():
        return tree  # a single leaf
    kinds = [int(kind) for kind in fields["decision_type"].split()]
    if any(kind & _CATEGORICAL for kind in kinds):
        raise ModelError("categorical splits cannot be moved to float32; use numeric features only")
    thresholds = floor_float32(np.array(fields["threshold"].split(), dtype=np.float64))
    for i, kind in enumerate(kinds):
        if not kind & _MISSING_MASK:
            kinds[i] = kind | _DEFAULT_LEFT if thresholds[i] >= 0.0 else kind & ~_DEFAULT_LEFT
    tree = re.sub(r"(?m)^threshold=.*$", "threshold=" + " ".join(map(repr, thresholds.tolist())), tree)
    return re.sub(r"(?m)^decision_type=.*$", "decision_type=" + " ".join(map(str, kinds)), tree)
