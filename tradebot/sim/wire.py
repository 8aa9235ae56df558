"""How the exchange writes things: envelopes, numbers as text, ids, WebSocket text frames."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder().decode

PRODUCT_TYPE: Final = "USDT-FUTURES"
MARGIN_COIN: Final = "USDT"

IDS_PER_MS: Final = 1_000_000


Row = dict[str, Any]
"""A JSON object of the API."""


class Refusal(Exception):
    """A request is answered with an error envelope (protocol section 5.1). ``http`` is the HTTP status."""

    def __init__(self, code: str, message: str, http: int = 400) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.http = http


def success(data: Any, now_ms: int) -> bytes:
    """The envelope of a successful answer (protocol section 2)."""
    return encode({"code": "00000", "msg": "success", "requestTime": now_ms, "data": data})


def failure(code: str, message: str, now_ms: int) -> bytes:
    """The envelope of a refused request: ``data`` is null."""
    return encode({"code": code, "msg": message, "requestTime": now_ms, "data": None})


@lru_cache(maxsize=4096)
def plain(value: Decimal) -> str:
    """A Decimal as the exchange writes it: no exponent, no trailing zeros.

    >>> plain(Decimal("150.1200")), plain(Decimal("1E+3")), plain(Decimal("-0.00"))
    ('150.12', '1000', '0')
    """
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def optional(value: Decimal | None) -> str:
    """A number, or "" for none."""
    return "" if value is None else plain(value)


def float_text(value: float) -> str:
    """A float as decimal text that reads back as the same float.

    >>> float_text(63989.0), float_text(0.1), float_text(1e-07)
    ('63989', '0.1', '0.0000001')
    """
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    return text if "e" not in text else plain(Decimal(text))


class Multiples(dict[int, str]):
    """Whole, non-negative multiples of a step as text, each written once while there are at most ``most``.

    >>> Multiples(Decimal("0.01"), 1000)[150]
    '1.5'
    """

    def __init__(self, step: Decimal, most: int) -> None:
        super().__init__()
        self._most = most
        exponent = step.normalize().as_tuple().exponent
        assert isinstance(exponent, int)
        self._decimals = max(0, -exponent)
        self._unit = int(step.scaleb(self._decimals))
        self._one = 10**self._decimals

    def numbers(self, counts: Iterable[int]) -> tuple[float, ...]:
        """What reading the texts gives.

        >>> Multiples(Decimal("0.05"), 1000).numbers([3, 20])
        (0.15, 1.0)
        """
        unit, one = self._unit, self._one
        return tuple([count * unit / one for count in counts])

    def __missing__(self, count: int) -> str:
        if len(self) >= self._most:
            self.clear()
        whole, rest = divmod(count * self._unit, self._one)
        text = f"{whole}.{rest:0{self._decimals}d}".rstrip("0") if rest else str(whole)
        self[count] = text
        return text


def text_frame(payload: bytes) -> bytes:
    """One unmasked, final WebSocket text frame (RFC 6455 section 5.2), as servers send them."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class Ids:
    """19-digit ids that grow with time, as the exchange's do, and are the same in every run.

    >>> ids = Ids()
    >>> ids.next(1_760_000_000_000), ids.next(1_760_000_000_000)
    ('1760000000000000001', '1760000000000000002')
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self, now_ms: int) -> str:
        self._last = max(self._last + 1, now_ms * IDS_PER_MS + 1)
        return str(self._last)
