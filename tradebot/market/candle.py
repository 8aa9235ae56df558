"""Candles and their intervals."""

from __future__ import annotations

import msgspec

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS

INTERVAL_MS: dict[str, int] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "1w": WEEK_MS,
}
"""Candle lengths in ms under this project's names. Boundaries are UTC-aligned (weeks on Monday)."""

MONDAY_MS = 4 * DAY_MS
"""The first Monday 00:00 UTC after the epoch (1970-01-05)."""


class Candle(msgspec.Struct, frozen=True, array_like=True):
    """Open, high, low, close and volume of one interval.

    ``open_time_ms`` is the start of the interval (ms, UTC); prices in USDT; ``volume`` in base coin;
    ``quote_volume`` in USDT. A candle is known only when its interval has ended.
    """

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float = 0.0


def interval_start(ts_ms: int, interval_ms: int) -> int:
    """Start of the UTC-aligned interval that holds ``ts_ms`` (weeks start on Monday).

    >>> interval_start(1_000_000, 300_000)
    900000
    """
    origin = MONDAY_MS if interval_ms % WEEK_MS == 0 else 0
    return (ts_ms - origin) // interval_ms * interval_ms + origin
