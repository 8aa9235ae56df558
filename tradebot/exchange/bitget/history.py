"""The past over REST: which windows to ask for (protocol sections 6.5, 6.6, 7.8 and 8.10)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tradebot.exchange.bitget.naming import RECENT_MS
from tradebot.market.candle import DAY_MS, INTERVAL_MS, Candle, interval_start

RECENT_PATH = "/api/v2/mix/market/candles"
HISTORY_PATH = "/api/v2/mix/market/history-candles"
RECENT_LIMIT = 1_000
HISTORY_LIMIT = 200
LONGEST_SPAN_MS = 90 * DAY_MS
DEFAULT_RECENT_MS = 30 * DAY_MS

BILLS_SPAN_MS = 30 * DAY_MS
FILLS_SPAN_MS = 7 * DAY_MS
REACH_MS = 90 * DAY_MS
"""How far back the account's own past is told."""


class Window(msgspec.Struct, frozen=True):
    """One request: the candles with ``start_ms <= open_time_ms < end_ms``.

    The exchange has treated an aligned ``endTime`` as inclusive and as exclusive over the years, so the request asks up
    to ``end_ms`` itself and leaves room for the one row too many.
    """

    path: str
    start_ms: int
    end_ms: int
    limit: int


def windows(interval: str, start_ms: int, end_ms: int, now_ms: int) -> list[Window]:
    """Requests that cover ``start_ms <= open time < end_ms``, newest first.

    What is certainly recent comes from the endpoint with the long pages, the rest from the one with all history.

    >>> windows("5m", 0, 600_000, 600_000)
    [Window(path='/api/v2/mix/market/candles', start_ms=0, end_ms=600000, limit=1000)]
    """
    step = INTERVAL_MS[interval]
    recent_from = interval_start(now_ms - RECENT_MS.get(interval, DEFAULT_RECENT_MS) + DAY_MS, step)
    start = interval_start(start_ms + step - 1, step)
    end = interval_start(end_ms + step - 1, step)
    found = []
    while end > start:
        recent = end - step >= recent_from
        limit = RECENT_LIMIT if recent else HISTORY_LIMIT
        rows = min(limit - 2, (LONGEST_SPAN_MS - DAY_MS) // step)
        begin = max(start, end - rows * step, recent_from if recent else start)
        found.append(Window(RECENT_PATH if recent else HISTORY_PATH, begin, end, limit))
        end = begin
    return found


def closed(rows: Iterable[Candle], start_ms: int, end_ms: int, interval_ms: int, now_ms: int) -> list[Candle]:
    """Ascending candles without duplicates that lie in the range and had ended at ``now_ms``."""
    kept = {
        row.open_time_ms: row
        for row in rows
        if start_ms <= row.open_time_ms < end_ms and row.open_time_ms + interval_ms <= now_ms
    }
    return [kept[at] for at in sorted(kept)]


def earliest_ms(now_ms: int) -> int:
    """From when on the exchange tells the account's past, with a day to spare."""
    return now_ms - REACH_MS + DAY_MS


def spans(since_ms: int | None, until_ms: int | None, span_ms: int) -> list[dict[str, int]]:
    """Windows of at most ``span_ms`` from ``since_ms`` to the present moment ``until_ms``, as query parameters.

    The last is open at its end, so that nothing is missed that happens meanwhile. What is older than the exchange
    tells is not asked for: it would refuse.

    >>> spans(0, 15, 10)
    [{'startTime': 0, 'endTime': 10}, {'startTime': 10}]
    """
    if since_ms is None:
        return [{}]
    if until_ms is None:
        return [{"startTime": since_ms}]
    start = max(since_ms, earliest_ms(until_ms))
    found = []
    while start + span_ms < until_ms:
        found.append({"startTime": start, "endTime": start + span_ms})
        start += span_ms
    return [*found, {"startTime": start}]
