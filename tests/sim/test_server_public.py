"""Public REST endpoints: windows, reach, paging and the refusals of protocol section 6."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from tests.sim.clients import MIX, Refused, bench
from tests.sim.walk import BASE_MS, MOVE_MS, START_MS, WalkSource
from tradebot.market.candle import DAY_MS, HOUR_MS
from tradebot.sim.market import open_market

SOL = {"symbol": "SOLUSDT"}


async def _refusal(call: Any) -> str:
    with pytest.raises(Refused) as refused:
        await call
    assert refused.value.status == 400
    return str(refused.value.code)


async def test_all_tiers_are_served_by_position_value() -> None:
    async with bench([WalkSource()]) as b:
        rows = await b.rest.public("query-position-lever", **SOL)
        assert len(rows) > 1
        assert [row["level"] for row in rows] == [str(i + 1) for i in range(len(rows))]
        assert rows[0]["startUnit"] == "0"
        assert [row["endUnit"] for row in rows[:-1]] == [row["startUnit"] for row in rows[1:]]
        assert (rows[0]["leverage"], rows[0]["keepMarginRate"]) == ("75", "0.005")
        for narrow, wide in itertools.pairwise(rows):
            assert int(narrow["leverage"]) > int(wide["leverage"])
            assert Decimal(narrow["keepMarginRate"]) < Decimal(wide["keepMarginRate"])


async def test_depth_is_merged_to_coarser_prices_away_from_the_market() -> None:
    async with bench([WalkSource(spread=6)]) as b:
        whole = await b.rest.public("merge-depth", limit="max", **SOL)
        for scale in (1, 2, 3):
            depth = await b.rest.public("merge-depth", limit="max", precision=f"scale{scale}", **SOL)
            step = Decimal("0.001") * 10**scale
            assert Decimal(depth["scale"]) == step
            for side, beyond in (("bids", 1), ("asks", -1)):
                prices = [Decimal(str(price)) for price, _ in depth[side]]
                assert all(price % step == 0 for price in prices)
                assert prices == sorted(set(prices), reverse=beyond == 1)
                assert sum(size for _, size in depth[side]) == pytest.approx(sum(size for _, size in whole[side]))
            assert depth["bids"][0][0] <= whole["bids"][0][0] < whole["asks"][0][0] <= depth["asks"][0][0]
        assert len((await b.rest.public("merge-depth", limit=1, **SOL))["asks"]) == 1
        for wrong in ({"limit": 20}, {"precision": "scale4"}):
            assert await _refusal(b.rest.public("merge-depth", **SOL, **wrong)) == "40020"


async def test_mark_and_index_candles_have_prices_and_no_volume() -> None:
    async with bench([WalkSource()]) as b:
        traded = await b.rest.public("history-candles", granularity="5m", limit=5, **SOL)
        for name, options in (
            ("history-mark-candles", {}),
            ("history-index-candles", {}),
            ("history-candles", {"kLineType": "MARK"}),
            ("history-candles", {"kLineType": "index"}),
        ):
            rows = await b.rest.public(name, granularity="5m", limit=5, **SOL, **options)
            assert rows == [[*row[:5], "0", "0"] for row in traded]
        recent = await b.rest.public("candles", granularity="5m", kLineType="MARK", **SOL)
        assert {(row[5], row[6]) for row in recent} == {("0", "0")}
        assert await _refusal(b.rest.public("candles", granularity="5m", kLineType="LAST", **SOL)) == "40020"


async def test_recent_candles_reach_a_month_back_and_history_all_the_way() -> None:
    (source,) = open_market((), ["SOLUSDT"], 3, for_ms=HOUR_MS, history_days=200)
    async with bench([source]) as b:
        now = b.server.exchange.now_ms
        old = {"startTime": now - 40 * DAY_MS, "endTime": now - 39 * DAY_MS, "limit": 100, **SOL}
        assert await b.rest.public("candles", granularity="5m", **old) == []
        assert len(await b.rest.public("candles", granularity="1H", **old)) == 25
        assert len(await b.rest.public("history-candles", granularity="5m", **old)) == 100
        month = await b.rest.public("candles", granularity="1m", startTime=now - 31 * DAY_MS, limit=1000, **SOL)
        assert len(month) == 1000
        edge = {"startTime": now - 30 * DAY_MS - 2 * HOUR_MS, "endTime": now - 30 * DAY_MS + HOUR_MS, **SOL}
        rows = await b.rest.public("candles", granularity="5m", **edge)
        assert int(rows[0][0]) == now - 30 * DAY_MS
        for name, most in (("candles", 1000), ("history-candles", 200)):
            rows = await b.rest.public(name, granularity="5m", limit=5000, **SOL)
            assert len(rows) == most


async def test_a_candle_window_includes_both_ends_and_may_be_too_short_for_a_row() -> None:
    async with bench([WalkSource()]) as b:
        window = {"granularity": "5m", "startTime": START_MS - 3 * BASE_MS, "endTime": START_MS - BASE_MS, **SOL}
        rows = await b.rest.public("history-candles", **window)
        assert [int(row[0]) for row in rows] == [START_MS - i * BASE_MS for i in (3, 2, 1)]
        window |= {"startTime": START_MS - 3 * BASE_MS + 1, "endTime": START_MS - BASE_MS - 1}
        rows = await b.rest.public("history-candles", **window)
        assert [int(row[0]) for row in rows] == [START_MS - 2 * BASE_MS]
        window |= {"startTime": START_MS - BASE_MS + 1, "endTime": START_MS - BASE_MS + 5}
        assert await b.rest.public("history-candles", **window) == []


async def test_trades_are_asked_for_in_windows_of_a_week_within_ninety_days() -> None:
    async with bench([WalkSource(steps=60)], hold=False) as b:
        while not b.server.exchange.clock.ended:
            await b.rest.get("/api/v2/public/time")
        window = {"startTime": START_MS + 10 * MOVE_MS, "endTime": START_MS + 19 * MOVE_MS, **SOL}
        rows = await b.rest.public("fills-history", **window)
        assert [int(row["ts"]) for row in rows] == [START_MS + i * MOVE_MS for i in range(19, 9, -1)]
        assert {row["side"] for row in rows} == {"Buy", "Sell"}
        recent = await b.rest.public("fills", limit=5, **SOL)
        assert {row["side"] for row in recent} <= {"buy", "sell"}
        assert len(await b.rest.public("fills", limit=500, **SOL)) == 60
        for code, options in (
            ("00001", {"startTime": START_MS - 8 * DAY_MS, "endTime": START_MS}),
            ("40707", {"startTime": START_MS, "endTime": START_MS - 1}),
            ("40704", {"startTime": START_MS - 91 * DAY_MS}),
            ("40020", {"startTime": "yesterday"}),
        ):
            assert await _refusal(b.rest.public("fills-history", **SOL, **options)) == code


async def test_funding_history_reaches_into_the_time_before_and_is_paged_by_number() -> None:
    async with bench([WalkSource()]) as b:
        first = await b.rest.public("history-fund-rate", pageSize=4, **SOL)
        second = await b.rest.public("history-fund-rate", pageSize=4, pageNo=2, **SOL)
        times = [int(row["fundingTime"]) for row in first + second]
        assert times == [START_MS - i * 8 * HOUR_MS for i in range(8)]
        assert {row["fundingRate"] for row in first} == {"0.0001"}
        assert await b.rest.public("history-fund-rate", pageSize=4, pageNo=9, **SOL) == []


async def test_other_product_types_have_nothing_and_unknown_ones_are_refused() -> None:
    async with bench([WalkSource()]) as b:
        for product in ("COIN-FUTURES", "usdc-futures", "SUSDT-FUTURES", "SCOIN-FUTURES", "SUSDC-FUTURES"):
            for name in ("contracts", "ticker", "tickers", "current-fund-rate"):
                assert await b.rest.get(f"{MIX}market/{name}", productType=product) == []
        assert await _refusal(b.rest.get(f"{MIX}market/tickers", productType="SPOT")) == "40020"
        elsewhere = b.rest.get(f"{MIX}market/merge-depth", productType="COIN-FUTURES", symbol="SOLUSDT")
        assert await _refusal(elsewhere) == "40034"


async def test_what_ccxt_asks_at_start_up_is_answered() -> None:
    async with bench([WalkSource()]) as b:
        (coin,) = await b.rest.get("/api/v2/spot/public/coins")
        assert coin["coin"] == "USDT"
        assert await b.rest.get("/api/v2/spot/public/symbols") == []
        assert await b.rest.get("/api/v2/margin/currencies") == []
