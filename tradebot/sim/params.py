"""What a request asked for: names looked up, numbers and enums read leniently, mistakes refused with their code."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tradebot.sim.wire import PRODUCT_TYPE, Refusal

PRODUCT_TYPES: Final = frozenset(f"{demo}{coin}-FUTURES" for demo in ("", "S") for coin in ("USDT", "USDC", "COIN"))

MOST_DIGITS: Final = 12
MOST_DECIMALS: Final = 18
"""Numbers beyond these are mistakes, not prices or sizes: digits before the point less one, and after it."""


class Params:
    """Members of a query or a JSON body. Enum values have any case, numbers may be text, "" is absent (section 8.1)."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """The member as text, or ``default`` when it is absent, null or empty."""
        value = self._values.get(name)
        if value is None or value == "" or isinstance(value, dict | list):
            return default
        if isinstance(value, bool):
            return "true" if value else "false"
        return repr(value) if isinstance(value, float) else str(value)

    def required(self, name: str) -> str:
        """The member as text; 40019 when it is absent."""
        text = self.text(name)
        if not text:
            raise Refusal("40019", f"Parameter {name} cannot be empty")
        return text

    def lower(self, name: str, default: str = "") -> str:
        return self.text(name, default).lower()

    def upper(self, name: str, default: str = "") -> str:
        return self.text(name, default).upper()

    def choice(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """One of ``allowed`` in lower case; 40019 when absent without a default, 40020 for anything else."""
        text = (self.text(name, default) if default is not None else self.required(name)).lower()
        if text not in allowed:
            raise Refusal("40020", f"Parameter {name} error")
        return text

    def number(self, name: str) -> Decimal | None:
        """The member as a finite Decimal of a sensible size, None when absent; 40020 for anything else."""
        text = self.text(name)
        if not text:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise Refusal("40020", f"Parameter {name} error") from None
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -MOST_DECIMALS or value.adjusted() > MOST_DIGITS:
            raise Refusal("40020", f"Parameter {name} error")
        return value

    def required_number(self, name: str) -> Decimal:
        self.required(name)
        value = self.number(name)
        assert value is not None
        return value

    def positive_or_none(self, name: str) -> Decimal | None:
        """A price or size where 0 means "none"."""
        value = self.number(name)
        return value if value is not None and value > 0 else None

    def integer(self, name: str, default: int | None = None) -> int | None:
        """The member as an int; 40020 when it is not a whole number."""
        text = self.text(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise Refusal("40020", f"Parameter {name} error") from None

    def limit(self, default: int, most: int) -> int:
        """``limit``, at least 1 and at most ``most``."""
        value = self.integer("limit", default)
        assert value is not None
        return max(1, min(value, most))

    def rows(self, name: str) -> list[Params] | None:
        """The member as a list of objects, None when absent."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise Refusal("40020", f"Parameter {name} error")
        return [Params(row) for row in value]

    def product_is_ours(self) -> bool:
        """Whether ``productType`` (required, any case) is the one product this exchange has markets in.

        40020 for what is no product type.
        """
        product = self.required("productType").upper()
        if product not in PRODUCT_TYPES:
            raise Refusal("40020", "Parameter productType error")
        return product == PRODUCT_TYPE
