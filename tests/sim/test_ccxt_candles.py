"""Candles as an unmodified ccxt client pages them (protocol sections 6.5, 6.6 and 12)."""

from __future__ import annotations

import time

from tests.eventually import eventually
from tests.sim.ccxt_client import SYMBOL, ccxt_client
from tests.sim.clients import bench
from tests.sim.walk import BASE_MS, START_MS, WalkSource
from tradebot.market.candle import DAY_MS, interval_start


async def test_candles_page_without_a_gap_or_a_duplicate() -> None:
    # ccxt pages towards its own clock, so this market trades today
    today = interval_start(int(time.time() * 1000), BASE_MS) - 10 * BASE_MS
    source = WalkSource(steps=100, start_ms=today)
    async with bench([source], hold=False) as b, ccxt_client(b) as client:
        await eventually(lambda: b.server.exchange.clock.ended)
        now = b.server.exchange.now_ms
        since = today - 2 * DAY_MS
        # rows nearest endTime are kept, so a window that begins on a boundary would lose its first row
        paged = await client.fetch_ohlcv(SYMBOL, "5m", since - 1, 450, {"paginate": True})
        recorded = source.candles("5m", since, now, now)[:450]
        assert [row[:6] for row in paged] == [
            [c.open_time_ms, c.open, c.high, c.low, c.close, c.volume] for c in recorded
        ]
        recent = await client.fetch_ohlcv(SYMBOL, "5m", limit=5)
        assert [row[0] for row in recent] == [interval_start(now, BASE_MS) - i * BASE_MS for i in (4, 3, 2, 1, 0)]


async def test_candles_of_a_market_long_ago_come_from_history() -> None:
    async with bench([WalkSource()]) as b, ccxt_client(b) as client:
        hours = await client.fetch_ohlcv(SYMBOL, "1h", START_MS - DAY_MS - 1, 20)
        assert [row[0] for row in hours] == [START_MS - DAY_MS + i * 12 * BASE_MS for i in range(20)]
        days = await client.fetch_ohlcv(SYMBOL, "1d", START_MS - 3 * DAY_MS - 1, 2)
        assert [row[0] for row in days] == [START_MS - 3 * DAY_MS, START_MS - 2 * DAY_MS]
