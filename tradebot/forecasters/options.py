"""What a person sets of a family, checked."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tradebot.choices import choices
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
        why, _, where = str(error).rpartition(" - at `$.")
        where = where.rstrip("`")
        if not why:  # said of several options together
            raise ConfigError(f"{family}: {error}") from error
        if allowed := choices(kind, where):
            why = f"{given[where]!r} is none of {allowed}"
        raise ConfigError(f"{family}: option {where}: {why}") from error
