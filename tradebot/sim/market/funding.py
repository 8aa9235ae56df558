"""Funding rates over time: recorded settlements, or the constant base rate."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal

from tradebot.market.candle import HOUR_MS
from tradebot.market.instrument import exact

BASE_RATE = Decimal("0.0001")
"""0.01 % per 8 h: the interest part of the usual formula, paid when the perpetual trades at its index."""


class FundingSchedule:
    """The rate shown at a time is the one that the next settlement (at or after it) will charge.

    Venues publish a running estimate of it; recordings hold the settled value only. Before the first and after the
    last recorded settlement, and where none lies within the next period, the rate is ``BASE_RATE``.
    """

    def __init__(self, at_ms: Sequence[int] = (), rates: Sequence[float] = (), hours: int = 8) -> None:
        self._at = [int(at) for at in at_ms]
        self._rates = [exact(float(rate)) for rate in rates]
        self._period_ms = hours * HOUR_MS

    def rate_at(self, ts_ms: int) -> Decimal:
        """Fraction of notional that longs pay shorts at the settlement at or next after ``ts_ms``."""
        i = bisect_left(self._at, ts_ms)
        if i < len(self._at) and self._at[i] - ts_ms < self._period_ms:
            return self._rates[i]
        return BASE_RATE

    def settlements(self, first_ms: int, last_ms: int) -> list[tuple[int, Decimal]]:
        """Times (multiples of the period, ``first_ms`` ≤ time ≤ ``last_ms``) and rates, oldest first."""
        begin = -(-first_ms // self._period_ms) * self._period_ms
        return [(at_ms, self.rate_at(at_ms)) for at_ms in range(begin, last_ms + 1, self._period_ms)]
