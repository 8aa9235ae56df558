"""What the last bit of a forecast depends on besides model and row."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

import numpy
import onnxruntime

_CPU_INFO = Path("/proc/cpuinfo")
_TOLD = ("vendor_id", "model name", "flags", "CPU implementer", "CPU part", "Features")
"""Lines of the kernel's description that decide which instructions a graph is run with, on x86 and on Arm."""
SHAPE = "threads=1 batch=1"
"""How every session runs (``session.open_session``)."""


@cache
def fingerprint() -> str:
    """First 16 hex digits of a SHA-256 over processor, runtime versions and providers, threads and batch shape.

    Under an equal fingerprint the same model gives the same bits for the same row; under another one the order in which
    products are summed may differ, and the last bits with it.
    """
    parts = [
        platform.system(),
        platform.machine(),
        f"onnxruntime {onnxruntime.__version__}",
        f"numpy {numpy.__version__}",
        *onnxruntime.get_available_providers(),
        SHAPE,
        *_processor(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    try:
        first = _CPU_INFO.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return [platform.processor()]
    pairs = (line.partition(":") for line in first.splitlines())
    return sorted(f"{name.strip()}={text.strip()}" for name, _, text in pairs if name.strip() in _TOLD)
