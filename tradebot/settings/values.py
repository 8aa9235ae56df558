"""What one value of the settings may be: amounts, durations, addresses, symbols, names, dates.

Each type checks what it is given and says in a few words what was expected; the layers add where it was written.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, Strict

from tradebot.duration import Duration
from tradebot.events import REFERENCES, split_model
from tradebot.events.models import FAMILY_INTERVALS
from tradebot.market.instrument import exact

RECORDED_MODES = ("paper", "exchange-demo", "live")
VENUES = ("binance-spot", "binance-perp", "bybit-spot")
HISTORY_VENUES = ("bitget", "binance-perp", "binance-spot")
HISTORY_KINDS = ("candles", "mark", "funding", "open-interest", "books")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_SYMBOL = re.compile(r"[A-Z0-9]{2,30}")


def _amount(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("expected a number")
    try:
        number = exact(value)
    except InvalidOperation:
        raise ValueError("expected a number") from None
    if not number.is_finite():
        raise ValueError("expected a finite number")
    # 500, 500.0 and "500.00" are one setting and must hash and print as one
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()


def _fee(value: object) -> Decimal:
    fee = _amount(value)
    if abs(fee) > Decimal("0.01"):
        raise ValueError("expected a fraction of notional from -0.01 to 0.01, like 0.0006 for 6 bp")
    return fee


def _duration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected a duration with its unit, like {Duration.EXAMPLES}")
    try:
        return Duration.parse(value)
    except OverflowError:
        raise ValueError("longer than any duration can be") from None


def _grid(value: object) -> Duration:
    length = _duration(value)
    if not length.ms or length.ms % 1000 or 86_400_000 % length.ms:
        raise ValueError("expected whole seconds that divide a day, like 1s or 5s")
    return length


def _on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(value: object, encrypted: str, plain: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected an address like {encrypted}://...")
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port  # raises when it is none
    except ValueError:
        raise ValueError("not an address") from None
    if not value.isascii() or any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError("an address has no spaces and no characters beyond ASCII")
    if parts.scheme not in (encrypted, plain) or not host:
        raise ValueError(f"expected an address like {encrypted}://...")
    if parts.scheme == plain and not _on_this_machine(host):
        raise ValueError(f"{plain}:// is for an exchange on this machine only; write {encrypted}://")
    return value


def _rest_address(value: object) -> str:
    return _address(value, "https", "http")


def _ws_address(value: object) -> str:
    return _address(value, "wss", "ws")


def _symbols(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of symbols, like [SOLUSDT, BTCUSDT]")
    if not value:
        raise ValueError("at least one symbol is needed")
    for item in value:
        if not _SYMBOL.fullmatch(item):
            raise ValueError(f"{item!r} is not a symbol; write it as the exchange does, like SOLUSDT")
    if len(set(value)) != len(value):
        raise ValueError("a symbol is named twice")
    return tuple(value)


def _names(value: object, known: Sequence[str], what: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(item in known for item in value):
        raise ValueError(f"expected a list of {what} ({', '.join(known)}), like [{known[0]}], or []")
    if len(set(value)) != len(value):
        raise ValueError("one is named twice")
    return tuple(value)


def _models(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(
        isinstance(item, str) and _MODEL.fullmatch(item) for item in value
    ):
        raise ValueError("expected a list of model names, like [lightgbm], or []")
    if len(set(value)) != len(value):
        raise ValueError("one is named twice")
    return tuple(value)


def _family(value: object) -> str:
    if isinstance(value, str) and split_model(value, "5m")[0] in MODEL_FAMILIES:
        return value
    near = get_close_matches(str(value), MODEL_FAMILIES, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(
        f"expected one of {', '.join(MODEL_FAMILIES)}, like bilstm-15m on other candles than its own{hint}"
    )


def _families(value: object) -> tuple[str, ...]:
    return tuple(_family(name) for name in _models(value))


def _references(value: object) -> tuple[str, ...]:
    return _names(value, REFERENCES, "reference symbols")


def _modes(value: object) -> tuple[str, ...]:
    return _names(value, RECORDED_MODES, "modes")


def _venues(value: object) -> tuple[str, ...]:
    return _names(value, VENUES, "venues")


def _history_venues(value: object) -> tuple[str, ...]:
    return _names(value, HISTORY_VENUES, "venues")


def _history_kinds(value: object) -> tuple[str, ...]:
    return _names(value, HISTORY_KINDS, "kinds")


def _day(value: object) -> str:
    text = value.isoformat() if type(value) is date else value
    try:
        if isinstance(text, str) and date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise ValueError("expected a date like 2026-01-05")


def _latency(value: object) -> tuple[int, int]:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(isinstance(item, int) and not isinstance(item, bool) for item in value)
        or not 0 <= value[0] <= value[1] <= 60_000
    ):
        raise ValueError("expected two whole numbers of milliseconds, least and most, like [20, 80]")
    return value[0], value[1]


def _median_and_p99(value: object) -> tuple[int, int]:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(isinstance(item, int) and not isinstance(item, bool) for item in value)
        or not 0 < value[0] <= value[1] <= 60_000
    ):
        raise ValueError("expected two whole numbers of milliseconds, median and 99th percentile, like [30, 200]")
    return value[0], value[1]


def _parameter(value: object) -> object:
    """Numbers, texts, flags and null, also in lists and in sections of keys."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a finite number")
    if isinstance(value, list | tuple):
        return [_parameter(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _parameter(item) for key, item in value.items()}
    if value is None or isinstance(value, float | int | str | bool):
        return value
    raise ValueError("expected a number, text, true, false or null, or a list or section of them")


Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Whole = Annotated[int, Strict(), Field(ge=1)]
Amount = Annotated[Decimal, BeforeValidator(_amount), Field(gt=0)]
MAX_SEED = 2**32 - 1
"""The largest seed that every generator in use takes."""
Seed = Annotated[int, Strict(), Field(ge=0, le=MAX_SEED)]
MODEL_FAMILIES = tuple(FAMILY_INTERVALS)
"""Names of the families in ``tradebot.forecasters``, which is not imported here because that takes a second."""
ModelFamily = Annotated[str, BeforeValidator(_family)]
ModelFamilies = Annotated[tuple[str, ...], BeforeValidator(_families)]
RestAddress = Annotated[str, BeforeValidator(_rest_address)]
WsAddress = Annotated[str, BeforeValidator(_ws_address)]
Span = Annotated[Duration, PlainValidator(_duration, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
Grid = Annotated[Duration, PlainValidator(_grid, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"]
Symbols = Annotated[tuple[str, ...], BeforeValidator(_symbols)]
References = Annotated[tuple[str, ...], BeforeValidator(_references)]
Models = Annotated[tuple[str, ...], BeforeValidator(_models)]
Modes = Annotated[tuple[str, ...], BeforeValidator(_modes)]
VenueNames = Annotated[tuple[str, ...], BeforeValidator(_venues)]
HistoryVenues = Annotated[tuple[str, ...], BeforeValidator(_history_venues)]
HistoryKinds = Annotated[tuple[str, ...], BeforeValidator(_history_kinds)]
Day = Annotated[str, PlainValidator(_day, json_schema_input_type=str)]
Latency = Annotated[tuple[int, int], BeforeValidator(_latency)]
MedianAndP99 = Annotated[tuple[int, int], BeforeValidator(_median_and_p99)]
Fee = Annotated[Decimal, BeforeValidator(_fee)]
"""A fraction of notional; negative: it is paid to us."""
Parameter = Annotated[Any, PlainValidator(_parameter)]
