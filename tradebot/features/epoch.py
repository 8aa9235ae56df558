"""The fixed epoch: where every running state starts, so that a restart or a longer history changes no feature.

Averages with infinite memory (EMA, Wilder) differ for ever when they start elsewhere. So the row of a candle is
computed from a state that started cold at the last Monday 00:00 UTC at least seven days before the candle's open
time, in training and live alike. A row therefore sees between 2 017 and 4 032 candles of 5 minutes, itself included.
"""

from __future__ import annotations

from tradebot.market.candle import INTERVAL_MS, MONDAY_MS, WEEK_MS, interval_start

INTERVAL = "5m"
BAR_MS = INTERVAL_MS[INTERVAL]
BARS_PER_WEEK = WEEK_MS // BAR_MS
MAX_HISTORY_BARS = 2 * BARS_PER_WEEK
"""The most candles any row needs, itself included."""

__all__ = [
    "BARS_PER_WEEK",
    "BAR_MS",
    "INTERVAL",
    "MAX_HISTORY_BARS",
    "MONDAY_MS",
    "WEEK_MS",
    "epoch_of",
    "history_bars_needed",
]


def epoch_of(open_time_ms: int) -> int:
    """Open time (ms) of the first candle that the row of the candle opening at ``open_time_ms`` depends on.

    >>> from datetime import UTC, datetime
    >>> def ms(text: str) -> int:
    ...     return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    >>> epoch_of(ms("2026-03-18 12:00")) == ms("2026-03-09 00:00")  # a Wednesday: Monday of the week before
    True
    >>> epoch_of(ms("2026-03-16 00:00")) == ms("2026-03-09 00:00")  # a Monday: exactly seven days
    True
    """
    return interval_start(open_time_ms, WEEK_MS) - WEEK_MS


def history_bars_needed(open_time_ms: int) -> int:
    """How many 5m candles, ending with the one that opens at ``open_time_ms``, make its row usable.

    >>> history_bars_needed(MONDAY_MS + WEEK_MS), history_bars_needed(MONDAY_MS + 2 * WEEK_MS - 1)
    (2017, 4032)
    """
    return (open_time_ms - epoch_of(open_time_ms)) // BAR_MS + 1
