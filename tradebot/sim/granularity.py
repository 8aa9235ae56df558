"""Candle granularities under the exchange's names, built from what a market source serves (protocol section 6.5)."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from tradebot.market.candle import DAY_MS, HOUR_MS, INTERVAL_MS, MINUTE_MS, MONDAY_MS, WEEK_MS, Candle
from tradebot.sim.source import MarketSource

MONTH_MS = 31 * DAY_MS
"""The longest month: an upper bound where a length is needed."""


@dataclass(frozen=True, slots=True)
class Granularity:
    """One candle length. ``base`` is the source interval its rows are read or aggregated from.

    ``origin_ms`` is the phase of its boundaries; ``reach_ms`` how far back the endpoint ``candles`` goes.
    Calendar months have ``length_ms`` 0.
    """

    name: str
    base: str
    length_ms: int
    origin_ms: int = 0
    reach_ms: int = 30 * DAY_MS

    @property
    def direct(self) -> bool:
        """Whether source rows of ``base`` are already rows of this granularity."""
        return INTERVAL_MS[self.base] == self.length_ms

    def start(self, ts_ms: int) -> int:
        """Start of the candle that holds ``ts_ms``."""
        if self.length_ms:
            return (ts_ms - self.origin_ms) // self.length_ms * self.length_ms + self.origin_ms
        day = datetime.datetime.fromtimestamp((ts_ms - self.origin_ms) / 1000, datetime.UTC)
        first = day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int(first.timestamp()) * 1000 + self.origin_ms

    def next_start(self, start_ms: int) -> int:
        """Start of the candle after the one that starts at ``start_ms``."""
        return start_ms + self.length_ms if self.length_ms else self.start(start_ms + MONTH_MS)

    def rows(self, source: MarketSource, first_ms: int, last_ms: int, now_ms: int) -> Sequence[Candle]:
        """Candles with ``first_ms <= open time <= last_ms`` known at ``now_ms``, oldest first."""
        if last_ms < first_ms:
            return ()
        if self.direct:
            return source.candles(self.base, first_ms, last_ms, now_ms)
        begin = self.start(first_ms)
        if begin < first_ms:
            begin = self.next_start(begin)
        end = self.next_start(self.start(last_ms)) - 1
        if end < begin:
            return ()
        base = source.candles(self.base, begin, end, now_ms)
        return [_merge(start, rows) for start, rows in groupby(base, lambda row: self.start(row.open_time_ms))]


def _merge(start_ms: int, rows: Iterable[Candle]) -> Candle:
    parts = list(rows)
    return Candle(
        start_ms,
        parts[0].open,
        max(row.high for row in parts),
        min(row.low for row in parts),
        parts[-1].close,
        math.fsum(row.volume for row in parts),
        math.fsum(row.quote_volume for row in parts),
    )


_UTC8 = -8 * HOUR_MS
_SHORT = (
    ("1m", "1m", MINUTE_MS, 30),
    ("3m", "3m", 3 * MINUTE_MS, 30),
    ("5m", "5m", 5 * MINUTE_MS, 30),
    ("15m", "15m", 15 * MINUTE_MS, 52),
    ("30m", "30m", 30 * MINUTE_MS, 62),
    ("1H", "1h", HOUR_MS, 83),
    ("2H", "2h", 2 * HOUR_MS, 120),
    ("4H", "4h", 4 * HOUR_MS, 240),
)
_LONG = (
    ("6H", "6h", 6 * HOUR_MS, 360),
    ("12H", "12h", 12 * HOUR_MS, 720),
    ("1D", "1d", DAY_MS, 1440),
    ("3D", "1d", 3 * DAY_MS, 3 * 1440),
    ("1W", "1w", WEEK_MS, 7 * 1440),
    ("1M", "1d", 0, 31 * 1440),
)


def _table() -> dict[str, Granularity]:
    table = {name: Granularity(name, base, length, 0, days * DAY_MS) for name, base, length, days in _SHORT}
    for name, base, length, days in _LONG:
        origin = MONDAY_MS if length == WEEK_MS else 0
        table[name + "utc"] = Granularity(name + "utc", base, length, origin, days * DAY_MS)
        # without "utc" the long ones begin at midnight of UTC+8, so they are aggregated from hours
        table[name] = Granularity(name, "1h", length, origin + _UTC8, days * DAY_MS)
    return table


GRANULARITIES: dict[str, Granularity] = _table()
