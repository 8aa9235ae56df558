"""The commented configuration file with every key at its default, made from the settings tree itself."""

from __future__ import annotations

import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tradebot.duration import Duration
from tradebot.settings import Settings

HEADER = """\
# Configuration of tradebot. Every key stands here with its default; keys that are left out keep it.
# Layers: these defaults < this file < environment (TRADEBOT_RISK__MAX_LEVERAGE=2) < command line.
# `tradebot config check` names every mistake by line and column; `tradebot config show --origin` what is in force.
# Money in USDT, fractions as 0.02 for 2 %, durations with their unit (10s, 20m, 36h, 7d), times in UTC.
# Never write a key, secret or passphrase here: systemd credentials or TRADEBOT_EXCHANGE__KEY, __SECRET, __PASSPHRASE.
"""


def default_config() -> str:
    """The text of ``config.yaml``."""
    return HEADER + "\n" + "\n".join(_lines(Settings, Settings(), ""))


def _lines(model: type[BaseModel], values: BaseModel, indent: str) -> list[str]:
    lines: list[str] = []
    for name, field in model.model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            lines += ["", *_comment((type(value).__doc__ or "").strip(), indent), f"{indent}{name}:"]
            lines += _lines(type(value), value, indent + "  ")
        else:
            lines += [*_comment(field.description or "", indent), f"{indent}{name}: {written(value)}"]
    return [*lines, ""] if not indent else lines


def _comment(text: str, indent: str) -> list[str]:
    words = " ".join(text.replace("`", "'").split())
    return [f"{indent}# {row}" for row in textwrap.wrap(words, 112 - len(indent))]


def written(value: Any) -> str:
    """A value as it stands in YAML.

    >>> written((20, 80)), written(None), written(Duration(90_000)), written({})
    ('[20, 80]', 'null', '1m30s', '{}')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(written(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Decimal | Duration | Path | int | float):
        return str(value)
    return str(value) if value and not set(value) & set("#{}[],&*!|>%@`\"'") else repr(value)
