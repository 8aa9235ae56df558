"""What a strategy's file says of itself, for lists and documentation."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec

from tradebot.trading.loading import load_strategy
from tradebot.trading.strategy import Hook, hooks_of


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: its ``default`` as JSON can say it (None where ``required``), what its docstring says."""

    name: str
    default: Any
    required: bool
    meaning: str


class Description(msgspec.Struct, frozen=True):
    """A strategy: the first line of its docstring, its hooks, its parameters; ``sha256`` is that of its file."""

    name: str
    summary: str
    hooks: tuple[Hook, ...]
    parameters: tuple[Parameter, ...]
    file: str
    sha256: str


def describe(folder: Path, name: str) -> Description:
    """What ``folder/name.py`` is. Raises ConfigError when it cannot be loaded."""
    cls, digest = load_strategy(folder, name)
    text = inspect.getdoc(cls) if cls.__doc__ else ""
    meanings = _meanings(cls.Params)
    return Description(
        name=name,
        summary=(text or "").partition("\n\n")[0].replace("\n", " "),
        hooks=tuple(sorted(hooks_of(cls))),
        parameters=tuple(
            Parameter(field.encode_name, _default(field), field.required, meanings.get(field.name, ""))
            for field in msgspec.structs.fields(cls.Params)
        ),
        file=str(folder / f"{name}.py"),
        sha256=digest,
    )


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default_factory())
    return None


def _meanings(params: type[msgspec.Struct]) -> dict[str, str]:
    """What the docstring says behind ````name``:`` of each parameter, up to the next one or the paragraph's end.

    >>> class Params(msgspec.Struct, frozen=True):
    ...     '''How far.
    ...
    ...     ``near``: one thing. ``far``: another
    ...     thing, in bp.
    ...     '''
    ...     near: int = 1
    ...     far: int = 2
    >>> _meanings(Params)
    {'near': 'one thing.', 'far': 'another thing, in bp.'}
    """
    names = "|".join(re.escape(field.name) for field in msgspec.structs.fields(params))
    if not names or not params.__doc__:
        return {}
    found: dict[str, str] = {}
    for paragraph in (inspect.getdoc(params) or "").split("\n\n"):
        parts = re.split(rf"``({names})``: ", " ".join(paragraph.split()))
        found |= {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return found
