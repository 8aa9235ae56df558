"""What is asked for: of each venue what it has, between the days named."""

from __future__ import annotations

from typing import Any

import pytest

from tradebot.data.plan import Series
from tradebot.data.request import HistoryRequest
from tradebot.data.sources.venues import Addresses, can_fetch, open_sources
from tradebot.errors import ConfigError
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.candle import DAY_MS

MONDAY = 1_767_571_200_000  # 2026-01-05 00:00 UTC
KEYLESS = Addresses(binance={"binance-perp": "http://127.0.0.1:9"}, tardis="http://127.0.0.1:9", tardis_key=None)
KEYED = Addresses(binance=KEYLESS.binance, tardis=KEYLESS.tardis, tardis_key="key")


def request(**more: Any) -> HistoryRequest:
    fields: dict[str, Any] = {"symbols": ["SOLUSDT"], "venues": ["bitget"], "kinds": ["candles"], "interval": "5m"}
    return HistoryRequest(**{**fields, "grid_ms": 5_000, "depth": 3, "start": None, "end": None, "days": 2, **more})


def test_of_each_venue_what_it_has() -> None:
    asked = request(venues=["bitget", "binance-spot"], kinds=["candles", "mark", "funding", "open-interest", "books"])
    assert [str(series) for series in asked.series()] == [
        "bitget/candle_5m/SOLUSDT",
        "bitget/mark_candle_5m/SOLUSDT",
        "bitget/funding/SOLUSDT",
        "bitget/open_interest/SOLUSDT",
        "bitget/book_5s_l3/SOLUSDT",
        "binance-spot/candle_5m/SOLUSDT",
        "binance-spot/book_5s_l3/SOLUSDT",
    ]
    with pytest.raises(ConfigError, match="binance-spot have no funding"):
        request(venues=["binance-spot"], kinds=["funding"]).series()


def test_days_are_counted_back_from_the_end_and_never_reach_into_the_future() -> None:
    now = MONDAY + 7 * 3_600_000
    assert request().span(now) == (MONDAY - DAY_MS, MONDAY)
    assert request(end="2026-01-02", days=1).span(now) == (MONDAY - 3 * DAY_MS, MONDAY - 3 * DAY_MS)
    assert request(start="2026-01-04", end="2027-01-01").span(now) == (MONDAY - DAY_MS, MONDAY)
    with pytest.raises(ConfigError, match="2026-01-06 is after the last, 2026-01-05"):
        request(start="2026-01-06").span(now)


@pytest.mark.parametrize(
    ("exchange", "channel", "addresses", "answer"),
    [
        ("bitget", "candle_5m", KEYLESS, True),
        ("bitget", "mark_candle_5m", KEYLESS, True),
        ("bitget", "funding", KEYLESS, True),
        ("bitget", "open_interest", KEYLESS, False),
        ("bitget", "trade", KEYED, False),
        ("binance-perp", "candle_5m", KEYLESS, True),
        ("binance-perp", "funding", KEYLESS, False),
        ("bybit-spot", "book_1s_l10", KEYLESS, False),
        ("bybit-spot", "book_1s_l10", KEYED, True),
        ("elsewhere", "book_1s_l10", KEYED, False),
    ],
)
def test_what_can_be_fetched_again(exchange: str, channel: str, addresses: Addresses, answer: bool) -> None:
    assert can_fetch(Series(exchange, channel, "SOLUSDT"), addresses) is answer


async def test_only_the_sources_that_are_needed_are_opened() -> None:
    wanted = [Series("binance-perp", "candle_5m", "SOLUSDT"), Series("bybit-spot", "book_1s_l10", "SOLUSDT")]
    rest = BitgetRest("http://127.0.0.1:9")
    async with open_sources(wanted, rest, KEYED, grid_ms=1_000, depth=10) as sources:
        assert list(sources.candles) == ["binance-perp"]
        assert sources.books is not None
        assert (await sources.clocks(["bybit-spot"]))["bybit-spot"] > MONDAY
    with pytest.raises(ConfigError, match="tardis_key"):
        async with open_sources(wanted, rest, KEYLESS, grid_ms=1_000, depth=10):
            pass
