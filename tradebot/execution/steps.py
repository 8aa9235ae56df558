"""Market numbers as whole ticks and lots.

A float counts as the decimal number that a person would write for it, so what a recording or a stream has as 150.12 is
exactly 15012 ticks of 0.01.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tradebot.market.instrument import Instrument, exact
from tradebot.matching.book import Levels

DIGITS = 10**15
"""Below it two decimal numbers are never the same float, so a division tells them apart."""


class Step:
    """Counts in multiples of ``step``, a positive decimal.

    >>> tick = Step(Decimal("0.05"))
    >>> tick.count(150.15, ROUND_FLOOR), tick.count(150.17, ROUND_FLOOR), tick.count("150.17", ROUND_CEILING)
    (3003, 3003, 3004)
    """

    def __init__(self, step: Decimal) -> None:
        exponent = step.as_tuple().exponent
        places = max(0, -exponent) if isinstance(exponent, int) else 0
        self._step = step
        self._scale = 10.0**places
        self._unit = int(step.scaleb(places))

    def count(self, value: float | str, rounding: str) -> int:
        """How many steps ``value`` is; ``rounding`` (a mode of the ``decimal`` module) says how one between two counts.

        Raises ValueError or OverflowError for what is not a finite number.
        """
        if isinstance(value, float):
            units = round(value * self._scale)
            if -DIGITS < units < DIGITS and units / self._scale == value:
                steps, rest = divmod(units, self._unit)
                if not rest or rounding == ROUND_FLOOR:
                    return steps
                if rounding == ROUND_CEILING:
                    return steps + 1
        return int((exact(value) / self._step).to_integral_value(rounding=rounding))


class Steps:
    """Tick and lot of a contract."""

    def __init__(self, instrument: Instrument) -> None:
        self.tick = Step(instrument.tick)
        self.lot = Step(instrument.lot)

    def levels(self, raw: Iterable[tuple[float | str, float | str]], rounding: str) -> Levels:
        """Levels in ticks and lots. ``rounding`` is for prices off the tick (away from the market: down for bids, up
        for asks; those that meet are one level); sizes below a lot drop out."""
        merged: dict[int, int] = {}
        for price, size in raw:
            lots = self.lot.count(size, ROUND_FLOOR)
            if lots > 0:
                ticks = self.tick.count(price, rounding)
                merged[ticks] = merged.get(ticks, 0) + lots
        return tuple(merged.items())
