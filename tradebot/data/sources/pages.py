"""What a source of candles offers, and which pages cover a stretch of days."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tradebot.data.partition import day_start
from tradebot.market.candle import DAY_MS, Candle, interval_start

SPARE_ROWS = 3
"""Rows of a page that are asked for twice: one of the older page, one of the newer, and the one at ``endTime``."""


class CandleHistory(Protocol):
    """An exchange's closed candles, page by page. Raises ExchangeError."""

    @property
    def exchange(self) -> str:
        """Its name in the store."""

    async def now_ms(self) -> int:
        """Its clock."""

    def page_rows(self, interval: str) -> int:
        """How many rows a page holds at most."""

    def per_second(self, channel: str) -> float:
        """Requests a second that its limits allow for a channel."""

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int, *, mark: bool) -> list[Candle]:
        """Closed candles with ``start_ms <= open time < end_ms``, oldest first; perhaps the one at ``end_ms``."""


def stretches(days: Iterable[str]) -> list[tuple[int, int]]:
    """Neighbouring days as stretches ``[start, end)`` in ms, newest first.

    >>> [(b - a) // DAY_MS for a, b in stretches(["2026-01-05", "2026-01-01", "2026-01-06"])]
    [2, 1]
    """
    found: list[tuple[int, int]] = []
    for begin in sorted((day_start(day) for day in set(days)), reverse=True):
        if found and found[-1][0] == begin + DAY_MS:
            found[-1] = (begin, found[-1][1])
        else:
            found.append((begin, begin + DAY_MS))
    return found


def page_windows(start_ms: int, end_ms: int, step_ms: int, page_rows: int) -> list[tuple[int, int]]:
    """Windows ``[start, end)`` of at most ``page_rows`` rows less the spare ones, newest first.

    >>> page_windows(0, 86_400_000, 300_000, 203)
    [(26400000, 86400000), (0, 26400000)]
    """
    start, end = interval_start(start_ms + step_ms - 1, step_ms), interval_start(end_ms + step_ms - 1, step_ms)
    length = max(1, page_rows - SPARE_ROWS) * step_ms
    windows = []
    while end > start:
        begin = max(start, end - length)
        windows.append((begin, end))
        end = begin
    return windows
