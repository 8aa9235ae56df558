"""The venue's arithmetic: one precision and one rounding, whatever the thread's decimal context has become.

Libraries change that context behind one's back, and a venue must give the same numbers again.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import wraps
from typing import ParamSpec, TypeVar

from tradebot.market.instrument import ARITHMETIC

P = ParamSpec("P")
R = TypeVar("R")

QUANTUM = Decimal("1e-12")


def exactly(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in the venue's own decimal context."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(ARITHMETIC):
            return function(*args, **kwargs)

    return inside


def quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    """A division in the venue's own decimal context."""
    return ARITHMETIC.divide(dividend, divisor)


def money(value: Decimal) -> Decimal:
    """USDT rounded half-even to 1e-12, so that sums of money stay exact."""
    exponent = value.as_tuple().exponent
    fine = isinstance(exponent, int) and exponent < -12
    return value.quantize(QUANTUM, ROUND_HALF_EVEN, ARITHMETIC) if fine else value
