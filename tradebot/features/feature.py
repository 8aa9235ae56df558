"""What is said of one feature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

Unit = Literal["ln", "ratio", "share", "z", "t", "atr", "ln(1/USDT)", "corr", "rate", "USDT", "base"]

UNITS: Final[dict[Unit, str]] = {
    "ln": "natural logarithm of a price ratio, or a volatility of such, per candle",
    "ratio": "dimensionless",
    "share": "in [0, 1], or [-1, 1] where it has a sign",
    "z": "standard deviations",
    "t": "a t-statistic",
    "atr": "multiples of the average true range over 14 candles",
    "ln(1/USDT)": "logarithm of return per USDT traded",
    "corr": "a correlation in [-1, 1]",
    "rate": "a fraction of the position's value per funding settlement",
    "USDT": "a price; not free of scale, for nets that copy a published one only",
    "base": "an amount of the base coin; not free of scale, for nets that copy a published one only",
}


class Feature(msgspec.Struct, frozen=True):
    """One column. ``warmup`` is how many candles must come before the current one for the value to mean something.

    ``meaning`` says in one sentence what it tells; ``source`` who thought of it; ``needs`` which columns of
    ``features.side`` it reads: without them it is NaN.
    """

    name: str
    formula: str
    warmup: int
    unit: Unit
    meaning: str
    source: str
    needs: tuple[str, ...] = ()


def schema_hash(version: int, interval: str, features: Sequence[Feature]) -> str:
    """Names, formulas, interval and kernel version in one number (SHA-256, hex)."""
    content = [version, interval, [[feature.name, feature.formula] for feature in features]]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
