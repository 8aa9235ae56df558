"""Compiling kernels with numba so that results are reproducible and cached code is never stale.

No fastmath and no parallel loops: a float operation gives the same bits in a loop of a million rows and in a single
live call. numba's disk cache notices changes of the file a function stands in, but not of the functions and constants
it uses from elsewhere; so the entry point carries a fingerprint of everything beneath it, which numba keys on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba import types

P = ParamSpec("P")
R = TypeVar("R")

OURS = "tradebot.features"


def part(function: Callable[P, R]) -> Callable[P, R]:
    """A function used inside kernels: compiled with its caller, counted in the caller's fingerprint."""
    return cast("Callable[P, R]", numba.njit(error_model="numpy", forceinline=True)(function))


def entry(signature: numba.core.typing.templates.Signature) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The function Python calls: compiled once for ``signature``, kept on disk, runs without the interpreter lock.

    Where no folder for the cache can be written, it is compiled anew in every process.
    """

    def compile_it(function: Callable[P, R]) -> Callable[P, R]:
        try:
            return cast("Callable[P, R]", numba.njit(signature, error_model="numpy", nogil=True, cache=True)(function))
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            return cast("Callable[P, R]", numba.njit(signature, error_model="numpy", nogil=True)(function))

    return compile_it


def read_only(dtype: types.Type) -> types.Type:
    """Type of a contiguous vector that the kernel only reads."""
    return types.Array(dtype, 1, "C", readonly=True)


def fingerprint(function: Callable[..., object]) -> int:
    """A number that changes when ``function``, any ``part`` beneath it, or a constant one of them uses, changes."""
    digest = hashlib.sha256()
    _count(cast("FunctionType", vars(function)["py_func"]), digest, set())
    return int.from_bytes(digest.digest()[:7], "big")


def _count(function: FunctionType, digest: hashlib._Hash, seen: set[FunctionType]) -> None:
    seen.add(function)
    code, known = function.__code__, function.__globals__
    modules = [value for value in known.values() if isinstance(value, ModuleType) and value.__name__.startswith(OURS)]
    digest.update(code.co_name.encode() + code.co_code + repr(code.co_consts).encode())
    for name in code.co_names:
        for value in (known.get(name), *(getattr(module, name, None) for module in modules)):
            if isinstance(value, int | float | str):
                digest.update(f"{name}={value!r}".encode())
            elif isinstance(value, np.ndarray):
                digest.update(name.encode() + value.tobytes())
            elif (below := getattr(value, "py_func", None)) is not None and below not in seen:
                _count(below, digest, seen)
