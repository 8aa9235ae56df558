"""Versions of installed libraries, read from their metadata without importing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from tradebot.errors import ModelError

SERVING = ("onnxruntime",)
"""Libraries whose major release decides whether a stored graph can be served."""

_DISTRIBUTIONS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")}


def installed(library: str) -> str | None:
    """Installed version of a library under any of its distribution names, or None."""
    for distribution in _DISTRIBUTIONS.get(library, (library,)):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def installed_all(libraries: Iterable[str]) -> dict[str, str]:
    """The installed ones among ``libraries`` with their versions."""
    return {name: found for name in libraries if (found := installed(name)) is not None}


def require_major(recorded: Mapping[str, str], where: str) -> None:
    """Raise ModelError when a serving library differs in its major release from the one recorded."""
    for name in SERVING:
        if name not in recorded:
            continue
        have = installed(name)
        if have is None or have.split(".")[0] != recorded[name].split(".")[0]:
            raise ModelError(f"{where}: made with {name} {recorded[name]}, installed is {have or 'none'}; retrain it")
