"""Which code made a model."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tradebot

ROOMS = ("evaluation", "features", "forecasters", "training")
"""Rooms whose sources decide what a training run gives."""

LIBRARIES = ("lightgbm", "numpy", "onnx", "onnxmltools", "onnxruntime", "optuna", "torch")


@cache
def code_version() -> str:
    """Release and the first 12 hex digits of the SHA-256 over the sources that take part, as ``0.1.0+4fd21a90c3b7``."""
    digest = hashlib.sha256()
    root = Path(tradebot.__file__).parent
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    try:
        release = version("tradebot")
    except PackageNotFoundError:
        release = "unreleased"
    return f"{release}+{digest.hexdigest()[:12]}"
