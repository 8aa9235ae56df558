"""How models are called: by family and, unless it is the family's own and that of the decisions, the length of the
candles they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tradebot.market.candle import INTERVAL_MS

T = TypeVar("T")

FAMILY_INTERVALS = {"lightgbm": "5m", "lorentzian": "15m", "lorentzian-net": "1h", "bilstm": "1h"}
"""Every family, and the candles that it reads where none are named."""


def model_name(family: str, interval: str, base: str) -> str:
    """What a model of ``family`` on candles of ``interval`` is called where decisions are made on ``base`` candles.

    >>> model_name("lightgbm", "5m", "5m"), model_name("bilstm", "1h", "5m"), model_name("bilstm", "5m", "5m")
    ('lightgbm', 'bilstm-1h', 'bilstm-5m')
    """
    return family if interval == base == FAMILY_INTERVALS.get(family, base) else f"{family}-{interval}"


def model_version(name: str, version: str) -> str:
    """A version as people are shown it: versions are counted model by model, so the number alone names none.

    >>> model_version("bilstm-1h", "v0001"), model_version("", "v0001"), model_version("", "")
    ('bilstm-1h/v0001', 'v0001', '')
    """
    return f"{name}/{version}" if name and version else version


def split_model(name: str, base: str) -> tuple[str, str]:
    """Family and candle interval of a model's name; one without an interval reads the candles of its family, and
    ``base`` candles where the family is not one of ours.

    >>> split_model("lorentzian-net-15m", "5m"), split_model("lorentzian-net", "5m"), split_model("mine", "5m")
    (('lorentzian-net', '15m'), ('lorentzian-net', '1h'), ('mine', '5m'))
    """
    family, _, interval = name.rpartition("-")
    return (family, interval) if family and interval in INTERVAL_MS else (name, FAMILY_INTERVALS.get(name, base))


def full_name(name: str, base: str) -> str:
    """A model's name with the length of its candles.

    >>> full_name("bilstm", "5m"), full_name("lightgbm-5m", "5m")
    ('bilstm-1h', 'lightgbm-5m')
    """
    return "-".join(split_model(name, base))


def of_model(given: Mapping[str, T], name: str, base: str) -> T | None:
    """What ``given`` says of a model: under its name with the length of its candles, or else under its family's.

    >>> given = {"bilstm": 1, "bilstm-1h": 2, "lightgbm-5m": 3}
    >>> [of_model(given, name, "5m") for name in ("bilstm", "bilstm-15m", "lightgbm", "lorentzian")]
    [2, 1, 3, None]
    """
    family, interval = split_model(name, base)
    return given.get(f"{family}-{interval}", given.get(family))
