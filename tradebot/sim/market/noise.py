"""Noise that is a function of its key: the same key gives the same numbers, whatever was drawn before.

Path and book details are drawn per candle by this, so any candle can be made again without its predecessors, and two
processes agree. The mixer is SplitMix64 (Steele, Lea & Flood 2014), computed on whole arrays of uint64.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def stream_key(*parts: object) -> int:
    """A 63-bit key for a named stream of noise, for instance ``stream_key(seed, symbol, "path")``."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


def uniforms(key: int, counters: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), ``width`` for each counter; shape (counters, width).

    >>> uniforms(1, np.array([7]), 2).shape
    (1, 2)
    """
    rows = _mix(np.asarray(counters).astype(np.uint64) * _GOLDEN + np.uint64(key))
    columns = np.arange(1, width + 1, dtype=np.uint64) * _GOLDEN
    bits: NDArray[Any] = _mix(rows[:, None] + columns[None, :])
    return (bits >> _S11).astype(np.float64) * 2.0**-53
