"""What a ticker says of the last 24 hours equals what the candles say, however it is kept up to date."""

from __future__ import annotations

import pytest

from tests.sim.walk import BASE_MS, MOVE_MS, START_MS, WalkSource
from tradebot.market.candle import DAY_MS, HOUR_MS, Candle, interval_start
from tradebot.sim.day_stats import DayStats
from tradebot.sim.source import MarketSource

LAST = 151.25


def _from_all_candles(source: MarketSource, now_ms: int) -> dict[str, float]:
    """The same members from every candle there is, asked for anew."""
    block = interval_start(now_ms, BASE_MS)
    closed = source.candles("5m", block - DAY_MS, block - 1, now_ms)
    running = source.candles("5m", block, now_ms, now_ms)
    rows: list[Candle] = [*closed, *running]
    today = [row.open for row in closed if row.open_time_ms >= interval_start(now_ms, DAY_MS)]
    open_utc = today[0] if today else closed[-1].close
    return {
        "open24h": closed[0].open,
        "high24h": max(row.high for row in rows),
        "low24h": min(row.low for row in rows),
        "change24h": round(LAST / closed[0].open - 1, 6),
        "baseVolume": round(sum(row.volume for row in rows), 6),
        "quoteVolume": round(sum(row.quote_volume for row in rows), 4),
        "usdtVolume": round(sum(row.quote_volume for row in rows), 4),
        "openUtc": open_utc,
        "changeUtc24h": round(LAST / open_utc - 1, 6),
    }


def test_the_day_is_that_of_its_candles_at_every_step_and_after_a_pause() -> None:
    source = WalkSource(steps=700, start_ms=START_MS - 3 * HOUR_MS)
    stats = DayStats(source)
    for number in range(700):
        now_ms = START_MS - 3 * HOUR_MS + number * MOVE_MS
        stats.take(source.step().candles)
        if 200 < number < 300:
            continue  # nobody asks for 50 minutes
        told = {name: float(text) for name, text in stats.fields(now_ms, LAST).items()}
        assert told == pytest.approx(_from_all_candles(source, now_ms), rel=1e-9)


def test_open_interest_is_a_share_of_a_mean_day_and_moves_by_the_hour() -> None:
    source = WalkSource(steps=300)
    stats = DayStats(source)
    told = []
    for number in range(300):
        stats.take(source.step().candles)
        told.append(stats.open_interest(START_MS + number * MOVE_MS))
    hours = source.candles("1h", START_MS - 7 * DAY_MS, START_MS - 1, START_MS)
    assert float(told[0]) == pytest.approx(0.6 * 24 * sum(row.volume for row in hours) / len(hours), abs=1e-4)
    assert [len(set(told[first : first + 120])) for first in (0, 120, 240)] == [1, 1, 1]
    assert len(set(told)) == 3
