"""A tradable contract and the one place where prices and sizes are rounded."""

from __future__ import annotations

from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

import msgspec

Side = Literal["buy", "sell"]

ZERO = Decimal(0)

ARITHMETIC = Context(prec=28, rounding=ROUND_HALF_EVEN)
"""Precision and rounding of everything that must come out the same again. The thread's own context is no base for
that: libraries change it behind one's back."""


def exact(value: float | int | str | Decimal) -> Decimal:
    """A number as the Decimal a person would write for it.

    A float becomes a Decimal exactly once, through its shortest representation.

    >>> exact(0.1)
    Decimal('0.1')
    """
    return value if isinstance(value, Decimal) else Decimal(repr(value) if isinstance(value, float) else value)


def to_multiple(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """``value`` as a multiple of ``step``; ``rounding`` is one of the ``decimal`` module's modes.

    The result carries the exponent of ``step``, so equal values print equally.

    >>> to_multiple(Decimal("1.37"), Decimal("0.05"), ROUND_FLOOR)
    Decimal('1.35')
    """
    return ((value / step).to_integral_value(rounding=rounding) * step).quantize(step)


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One USDT-margined perpetual contract (protocol section 6.2).

    Prices are in USDT, sizes in base coin, fees are fractions of notional, times are ms since the epoch (UTC).
    ``*_time_ms`` are announced moments, or None.
    """

    symbol: str
    tick: Decimal
    lot: Decimal
    min_qty: Decimal
    min_notional: Decimal = Decimal(5)
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0006")
    max_leverage: int = 75
    maintenance_rate: Decimal = Decimal("0.005")
    status: str = "normal"
    maintain_time_ms: int | None = None
    off_time_ms: int | None = None
    limit_open_time_ms: int | None = None
    funding_hours: int = 8
    max_qty: Decimal | None = None
    max_market_qty: Decimal | None = None

    def orderable(self, qty: Decimal, price: Decimal) -> bool:
        """Whether an order of ``qty`` (base coin, positive) at ``price`` is none that the exchange refuses as too small
        or between two lots. What is not can only be closed as a whole position (protocol section 8.11)."""
        return not qty % self.lot and qty >= self.min_qty and qty * price >= self.min_notional

    def qty_down(self, qty: Decimal) -> Decimal:
        """Size rounded towards zero to the lot: rounding never increases risk."""
        return to_multiple(qty, self.lot, ROUND_FLOOR)
