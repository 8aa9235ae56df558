"""A net as one ONNX file: raw rows in, ``probabilities`` and ``expected_bp`` out (models.md section 8)."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from torch import nn

from tradebot.errors import ModelError
from tradebot.forecasters.base import Floats, Inputs, as_served

OPSET = 20
INPUT = "rows"
OUTPUTS = ("probabilities", "expected_bp")
AT_ONCE = 256


def to_onnx(graph: nn.Module, check: Inputs) -> bytes:
    """The graph of a module ``(B, F) or (B, steps, F) → (B, 3), (B, 1)``, any batch, weights inside.

    Equal modules give equal bytes: the exporter's notes on source lines are left out. Raises ModelError.
    """
    example = torch.from_numpy(np.ascontiguousarray(as_served(check[:2])))
    if len(example) < 2:
        raise ModelError("two rows are needed to export a net")
    graph = graph.eval().to("cpu")
    try:
        with _quiet():
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                external_data=False,
                verbose=False,
            )
        model = program.model_proto  # type: ignore[union-attr]
    except Exception as error:  # the exporter raises whatever its stages raise
        raise ModelError(f"the net cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    _strip(model)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@torch.inference_mode()
def run(graph: nn.Module, inputs: Inputs) -> tuple[Floats, Floats]:
    """Probabilities (N, 3) and expected return in bp (N,) of a served module."""
    graph.eval()
    p, bp = [np.zeros((0, 3))], [np.zeros(0)]
    for start in range(0, len(inputs), AT_ONCE):
        part = torch.from_numpy(np.ascontiguousarray(as_served(inputs[start : start + AT_ONCE]), dtype=np.float32))
        probabilities, expected = graph(part)
        p.append(probabilities.numpy().astype(np.float64))
        bp.append(expected.numpy().astype(np.float64)[:, 0])
    return np.concatenate(p), np.concatenate(bp)


def _strip(model: onnx.ModelProto) -> None:
    """Drop what tells of this machine (paths, source lines) or of the run, and names that differ between runs."""
    model.producer_name, model.producer_version = "tradebot", ""
    model.graph.name = "net"
    del model.metadata_props[:]
    for part in (model.graph, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        first = value.type.tensor_type.shape.dim[0]
        first.dim_param = "batch"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks on both streams and through loggers; none of it is for a person who trains."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
