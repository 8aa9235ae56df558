from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchange.servers import Reply, rest_server, success
from tradebot.errors import ConfigError
from tradebot.exchange.bitget.history import HISTORY_PATH, LONGEST_SPAN_MS, RECENT_PATH, closed, windows
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.candle import DAY_MS, INTERVAL_MS, Candle
from tradebot.market.series import find_gaps

M5 = 300_000
NOW = 1_760_000_100_000
LISTED = NOW // M5 * M5 - 60 * DAY_MS


def venue(*, includes_end: bool, includes_start: bool, missing: range = range(0)) -> Callable[..., Reply]:
    """Candles from ``LISTED`` on, the open one included, under either reading of the boundaries."""

    def respond(method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        if path.endswith("/time"):
            return success({"serverTime": str(NOW)})
        start, end, limit = int(query["startTime"]), int(query["endTime"]), int(query["limit"])
        assert end - start <= LONGEST_SPAN_MS
        assert limit <= (1_000 if path == RECENT_PATH else 200)
        if path == RECENT_PATH:
            start = max(start, NOW - 30 * DAY_MS)
        first = start if includes_start else start + 1
        last = end if includes_end else end - 1
        newest = NOW if path == RECENT_PATH else NOW - M5
        rows = [
            [str(at), "1", "2", "0.5", "1.5", str((at - LISTED) // M5), "3"]
            for at in range(max(LISTED, (first + M5 - 1) // M5 * M5), min(last, newest) + 1, M5)
            if (at - LISTED) // M5 not in missing
        ]
        return success(rows[-limit:])

    return respond


@pytest.mark.parametrize("includes_end", [True, False])
async def test_history_has_every_closed_candle_once_however_boundaries_are_read(includes_end: bool) -> None:
    async with (
        rest_server(venue(includes_end=includes_end, includes_start=True)) as server,
        BitgetRest(server.url) as rest,
    ):
        start = NOW // M5 * M5 - 40 * DAY_MS
        candles = await rest.candles("SOLUSDT", "5m", start, NOW + DAY_MS)
    assert candles[0].open_time_ms == start
    assert candles[-1].open_time_ms == NOW // M5 * M5 - M5
    assert len(candles) == 40 * 288
    assert find_gaps(candles, M5) == ()
    assert {path for _, path, *_ in server.requests} >= {HISTORY_PATH, RECENT_PATH}


async def test_asking_stops_where_the_contract_began() -> None:
    async with rest_server(venue(includes_end=True, includes_start=True)) as server, BitgetRest(server.url) as rest:
        candles = await rest.candles("SOLUSDT", "5m", NOW - 400 * DAY_MS, NOW)
    assert candles[0].open_time_ms == LISTED
    assert len(server.requests) < 70


async def test_a_gap_of_the_exchange_is_a_gap_in_the_answer() -> None:
    respond = venue(includes_end=False, includes_start=True, missing=range(17_000, 17_003))
    async with rest_server(respond) as server, BitgetRest(server.url) as rest:
        candles = await rest.candles("SOLUSDT", "5m", NOW - 2 * DAY_MS, NOW)
    (gap,) = find_gaps(candles, M5)
    assert (gap.start_ms, gap.end_ms) == (LISTED + 17_000 * M5, LISTED + 17_003 * M5)


async def test_an_unknown_interval_is_refused_before_anything_is_sent() -> None:
    async with rest_server(venue(includes_end=True, includes_start=True)) as server, BitgetRest(server.url) as rest:
        with pytest.raises(ConfigError, match="7m"):
            await rest.candles("SOLUSDT", "7m", 0, NOW)
        assert server.requests == []


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(INTERVAL_MS)),
    st.integers(0, 500 * DAY_MS),
    st.integers(0, 400 * DAY_MS),
    st.integers(0, 999),
)
def test_windows_cover_the_range_without_overlap_and_within_every_limit(
    interval: str, back: int, length: int, odd: int
) -> None:
    start, step = NOW - back + odd, INTERVAL_MS[interval]
    end = min(NOW, start + length)
    asked = windows(interval, start, end, NOW)
    for newer, older in itertools.pairwise(asked):
        assert older.end_ms == newer.start_ms
        assert not (older.path == RECENT_PATH and newer.path == HISTORY_PATH)
    for window in asked:
        assert window.start_ms < window.end_ms
        assert (window.end_ms - window.start_ms) // step + 2 <= window.limit
        assert window.end_ms - window.start_ms < LONGEST_SPAN_MS
    if asked:
        assert asked[-1].start_ms - start in range(step + INTERVAL_MS["1w"])
        assert asked[0].end_ms >= end
    else:
        assert end - start < step + INTERVAL_MS["1w"]


def test_an_open_candle_and_rows_outside_the_range_are_left_out() -> None:
    rows = [Candle(i * M5, 1, 1, 1, 1, 1) for i in (3, 1, 2, 2, 0, 5)]
    kept = closed(rows, M5, 6 * M5, M5, 6 * M5 - 1)
    assert [row.open_time_ms // M5 for row in kept] == [1, 2, 3]
