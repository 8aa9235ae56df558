"""What a ticker says of the last 24 hours, and of the open interest (protocol sections 6.3 and 10.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from tradebot.market.candle import DAY_MS, HOUR_MS, MINUTE_MS, Candle, interval_start
from tradebot.sim.source import MarketSource
from tradebot.sim.wire import float_text

_BLOCK_MS = 5 * MINUTE_MS

OPEN_INTEREST_DAYS = 7
OPEN_INTEREST_SHARE = 0.6
"""Open interest in days of mean volume: large perpetuals hold between a third and one and a half of a day's."""


class DayStats:
    """Open, high, low and volume of the last 24 h: whole 5-minute candles, carried on by the running ones.

    Each candle is asked for once: a new one joins and the oldest leaves.
    """

    def __init__(self, source: MarketSource) -> None:
        self._source = source
        self._block = -1
        self._until = 0
        self._running: dict[int, Candle] = {}
        self._starts: list[int] = []
        self._open: list[float] = []
        self._high: list[float] = []
        self._low: list[float] = []
        self._base: list[float] = []
        self._quote: list[float] = []
        self._closed: tuple[float, float, float, float, float, float] | None = None
        self._texts = ("", "")
        self._last_close = 0.0
        self._interest_hour = -1
        self._interest = "0"

    def take(self, candles: tuple[Candle, ...]) -> None:
        """Remember the running candles as they stand."""
        for candle in candles:
            self._running[candle.open_time_ms] = candle

    def fields(self, now_ms: int, last: float) -> Mapping[str, str]:
        """The ticker's members about the last 24 h and the UTC day, given the last price."""
        block = interval_start(now_ms, _BLOCK_MS)
        if block != self._block:
            self._refresh(block, now_ms)
        if self._closed is None:
            open24, high, low, base, quote, open_utc = last, last, last, 0.0, 0.0, last
            open24_text = open_utc_text = float_text(last)
        else:
            open24, high, low, base, quote, open_utc = self._closed
            open24_text, open_utc_text = self._texts
        running = [row for start, row in self._running.items() if start >= block]
        if running:
            high = max(high, max(row.high for row in running))
            low = min(low, min(row.low for row in running))
            base += sum(row.volume for row in running)
            quote += sum(row.quote_volume for row in running)
        turnover = float_text(round(quote, 4))
        return {
            "open24h": open24_text,
            "high24h": float_text(high),
            "low24h": float_text(low),
            "change24h": _change(last, open24),
            "baseVolume": float_text(round(base, 6)),
            "quoteVolume": turnover,
            "usdtVolume": turnover,
            "openUtc": open_utc_text,
            "changeUtc24h": _change(last, open_utc),
        }

    def _refresh(self, block: int, now_ms: int) -> None:
        self._block = block
        self._running = {start: row for start, row in self._running.items() if start >= block}
        since = block - DAY_MS
        rows = [row for row in self._source.candles("5m", max(self._until, since), block - 1, now_ms) if row.open > 0]
        self._until = block
        if rows:
            self._last_close = rows[-1].close
        gone = bisect_left(self._starts, since)
        for column, fresh in (
            (self._open, [row.open for row in rows]),
            (self._high, [row.high for row in rows]),
            (self._low, [row.low for row in rows]),
            (self._base, [row.volume for row in rows]),
            (self._quote, [row.quote_volume for row in rows]),
        ):
            del column[:gone]
            column += fresh
        del self._starts[:gone]
        self._starts += [row.open_time_ms for row in rows]
        if not self._starts:
            self._closed = None
            return
        today = bisect_left(self._starts, interval_start(now_ms, DAY_MS))
        open_utc = self._open[today] if today < len(self._open) else self._last_close
        day = (self._open[0], max(self._high), min(self._low), sum(self._base), sum(self._quote), open_utc)
        self._closed = day
        self._texts = (float_text(day[0]), float_text(open_utc))

    def open_interest(self, now_ms: int) -> str:
        """Base coin held in open positions.

        No source records it, so it is modelled: :data:`OPEN_INTEREST_SHARE` of the mean daily volume of the last
        :data:`OPEN_INTEREST_DAYS` days, renewed every hour. It moves slowly, as open interest does.
        """
        hour = interval_start(now_ms, HOUR_MS)
        if hour != self._interest_hour:
            self._interest_hour = hour
            rows = self._source.candles("1h", hour - OPEN_INTEREST_DAYS * DAY_MS, hour - 1, now_ms)
            if rows:
                daily = sum(row.volume for row in rows) * DAY_MS / (len(rows) * HOUR_MS)
                self._interest = float_text(round(OPEN_INTEREST_SHARE * daily, 4))
        return self._interest


def _change(last: float, before: float) -> str:
    """Relative change, "0" where there is nothing to compare with."""
    return float_text(round(last / before - 1.0, 6)) if before else "0"
