"""What a person sets of a family, checked."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import msgspec.inspect

from tradebot.errors import ConfigError
from tradebot.forecasters.base import Options

T = TypeVar("T", bound=msgspec.Struct)


def options_of(kind: type[T], family: str, given: Options) -> T:
    """``given`` as a family's options. Text is read as what the option takes (``--set horizon=3``).

    Raises ConfigError that names the option and what it may be.

    >>> class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ...     horizon: int = 2
    >>> options_of(Size, "lightgbm", {"horizon": "3"}).horizon
    3
    """
    known = [field.name for field in msgspec.structs.fields(kind)]
    for name in given:
        if name not in known:
            raise ConfigError(f"{family} has no option {name!r}; it has: {', '.join(known) or 'none'}")
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("$.")[2].strip("`")
        allowed = _domain(kind, where)
        why = f"{given[where]!r} is none of {allowed}" if allowed else str(error).partition(" - at")[0]
        raise ConfigError(f"{family}: option {where}: {why}") from error


def _domain(kind: type[msgspec.Struct], name: str) -> str:
    """The values that an option takes, where they can be counted; else empty."""
    info = msgspec.inspect.type_info(kind)
    types = {field.name: field.type for field in info.fields} if isinstance(info, msgspec.inspect.StructType) else {}
    match types.get(name):
        case msgspec.inspect.LiteralType(values):
            return ", ".join(map(str, values))
        case msgspec.inspect.BoolType():
            return "true, false"
    return ""
