"""Opening ONNX Runtime sessions so that one forecast costs tens of µs and never wakes a second thread."""

from __future__ import annotations

import logging
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import onnxruntime

from tradebot.errors import ConfigError, ModelError

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

onnxruntime.set_default_logger_severity(3)


def require_one_runtime() -> None:
    """Raise ConfigError when two ONNX Runtime packages are installed: they own the same module, so one is broken."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if len(found) > 1:
        raise ConfigError(
            f"{' and '.join(found)} are both installed and overwrite each other's files; "
            "remove both with pip, then install tradebot again"
        )


def providers(device: Literal["cpu", "any"]) -> list[str]:
    """Execution providers to ask for, best first.

    The GPU package lists CUDA on machines without a GPU too, so the device node is looked for as well.
    """
    has_gpu = os.path.exists("/dev/nvidiactl") and CUDA in onnxruntime.get_available_providers()
    return [CUDA, CPU] if device == "any" and has_gpu else [CPU]


def open_session(model: bytes, *, device: Literal["cpu", "any"] = "cpu", where: str = "model") -> Any:
    """An ``onnxruntime.InferenceSession`` with one thread. Raises ModelError when the graph cannot be loaded.

    One thread beats several at batch 1, and idle worker threads must not spin beside the event loop.
    """
    require_one_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, sess_options=options, providers=providers(device))
    except Exception as error:  # the binding raises a dozen unrelated classes, all of them meaning "not this graph"
        raise ModelError(f"{where}: ONNX Runtime cannot load it ({_first_line(error)})") from error
    log.info("%s: onnx session opened, providers %s", where, session.get_providers())
    return session


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
