"""Counting in ticks and lots is exact for every number that a stream or a recording can have."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from math import inf, nan

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tradebot.execution.steps import Step, Steps
from tradebot.market.instrument import Instrument, exact

STEPS = st.builds(
    lambda unit, places: Decimal(unit).scaleb(-places), st.sampled_from([1, 2, 5, 10, 25]), st.integers(0, 10)
)
ROUNDING = st.sampled_from([ROUND_FLOOR, ROUND_CEILING, ROUND_HALF_EVEN])
ODD = st.floats(min_value=0, max_value=1e12, allow_nan=False)
WRITTEN = st.builds(lambda units, places: float(f"{units}e-{places}"), st.integers(0, 10**15), st.integers(0, 12))


@settings(max_examples=500)
@given(st.one_of(ODD, WRITTEN), STEPS, ROUNDING)
@example(0.1 + 0.2, Decimal("0.1"), ROUND_CEILING)
@example(150.12, Decimal("0.01"), ROUND_FLOOR)
@example(0.285, Decimal("0.001"), ROUND_FLOOR)
def test_a_float_counts_as_the_number_that_a_person_would_write(value: float, step: Decimal, rounding: str) -> None:
    expected = int((exact(value) / step).to_integral_value(rounding=rounding))
    assert Step(step).count(value, rounding) == expected
    assert Step(step).count(repr(value), rounding) == expected


@pytest.mark.parametrize("value", [nan, inf])
def test_what_is_no_number_is_no_count(value: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        Step(Decimal("0.01")).count(value, ROUND_FLOOR)


def test_prices_that_meet_on_the_tick_are_one_level_and_crumbs_are_none() -> None:
    steps = Steps(Instrument(symbol="S", tick=Decimal("0.5"), lot=Decimal("0.1"), min_qty=Decimal("0.1")))
    raw = ((100.4, 1.0), (100.3, "0.25"), (100.0, 0.09), (99.5, 2.0))
    assert steps.levels(raw, ROUND_FLOOR) == ((200, 12), (199, 20))
    assert steps.levels(raw, ROUND_CEILING) == ((201, 12), (199, 20))
