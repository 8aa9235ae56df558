"""Rounding: one function, never towards more risk."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from hypothesis import given
from hypothesis import strategies as st

from tradebot.market.instrument import exact, to_multiple

steps = st.sampled_from([Decimal(s) for s in ("0.001", "0.05", "0.1", "0.5", "1", "5", "0.00001")])
values = st.decimals("0", "1000000", places=8)


@given(values, steps)
def test_a_size_is_rounded_down_to_the_lot_and_by_less_than_one(value: Decimal, step: Decimal) -> None:
    rounded = to_multiple(value, step, ROUND_FLOOR)
    assert rounded <= value < rounded + step
    assert rounded % step == 0
    assert rounded.as_tuple().exponent == step.as_tuple().exponent


@given(values, steps)
def test_rounding_up_is_the_mirror_of_rounding_down(value: Decimal, step: Decimal) -> None:
    assert to_multiple(value, step, ROUND_CEILING) == -to_multiple(-value, step, ROUND_FLOOR)


@given(values, steps, st.sampled_from([ROUND_FLOOR, ROUND_CEILING]))
def test_a_rounded_value_stays_as_it_is(value: Decimal, step: Decimal, how: str) -> None:
    once = to_multiple(value, step, how)
    assert to_multiple(once, step, how) == once


@given(st.floats(1e-6, 1e6))
def test_a_float_becomes_the_decimal_a_person_would_write(value: float) -> None:
    assert float(exact(value)) == value
    assert str(exact(0.1)) == "0.1"
