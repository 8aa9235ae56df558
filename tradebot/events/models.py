"""How models are called: by family and, where it is not that of the decisions, the length of the candles they read."""

from __future__ import annotations

from tradebot.market.candle import INTERVAL_MS


def model_name(family: str, interval: str, base: str) -> str:
    """What a model of ``family`` on candles of ``interval`` is called where decisions are made on ``base`` candles.

    >>> model_name("lightgbm", "5m", "5m"), model_name("bilstm", "1h", "5m")
    ('lightgbm', 'bilstm-1h')
    """
    return family if interval == base else f"{family}-{interval}"


def model_version(name: str, version: str) -> str:
    """A version as people are shown it: versions are counted model by model, so the number alone names none.

    >>> model_version("bilstm-1h", "v0001"), model_version("", "v0001"), model_version("", "")
    ('bilstm-1h/v0001', 'v0001', '')
    """
    return f"{name}/{version}" if name and version else version


def split_model(name: str, base: str) -> tuple[str, str]:
    """Family and candle interval of a model's name; one without an interval reads ``base`` candles.

    >>> split_model("lorentzian-net-1h", "5m"), split_model("lorentzian-net", "5m")
    (('lorentzian-net', '1h'), ('lorentzian-net', '5m'))
    """
    family, _, interval = name.rpartition("-")
    return (family, interval) if family and interval in INTERVAL_MS else (name, base)
