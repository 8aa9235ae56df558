"""How long a command takes from the bot to the book, where no real exchange says it.

A latency is a function of a name, so that the same command takes as long again in every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import exp, log
from statistics import NormalDist

Latency = Callable[[str], int]
"""Milliseconds by the name of a command."""


def uniform(least_ms: int, most_ms: int) -> Latency:
    """Every whole millisecond from ``least_ms`` to ``most_ms`` is as likely. Raises ValueError.

    >>> 20 <= uniform(20, 80)("PlaceOrder:tb0-1-1-e") <= 80
    True
    """
    if not 0 <= least_ms <= most_ms:
        raise ValueError(f"latency must be 0 <= least <= most, got {(least_ms, most_ms)}")
    return lambda name: least_ms + _number(name) % (most_ms - least_ms + 1)


def lognormal(median_ms: int, p99_ms: int) -> Latency:
    """Log-normal with this median and 99th percentile: most commands are quick, a few take many times as long.
    Raises ValueError.

    >>> took = sorted(lognormal(30, 200)(f"PlaceOrder:tb0-1-{k}-e") for k in range(10_000))
    >>> took[5_000], 190 < took[9_900] < 210
    (30, True)
    """
    if not 0 < median_ms <= p99_ms:
        raise ValueError(f"latency must be 0 < median <= p99, got {(median_ms, p99_ms)}")
    normal = NormalDist()
    spread = log(p99_ms / median_ms) / normal.inv_cdf(0.99)
    # the middle of one of 2^52 equal parts of (0, 1): neither end is reached
    return lambda name: round(median_ms * exp(spread * normal.inv_cdf((_number(name) >> 12) / 2**52 + 2**-53)))


def _number(name: str) -> int:
    """The first 64 bits of the SHA-256 of ``name``."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
