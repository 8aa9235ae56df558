"""Public REST endpoints: windows, reach, paging and the refusals of protocol section 6."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.sim.clients import MIX, Refused, bench
from tests.sim.walk import BASE_MS, MOVE_MS, START_MS, WalkSource
from tradebot.market.candle import DAY_MS, HOUR_MS
from tradebot.matching.settings import VenueLimits
from tradebot.sim.market import open_market
from tradebot.sim.rest_public import contract_row

SOL = {"symbol": "SOLUSDT"}


async def _refusal(call: Any) -> str:
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.body["data"] is None
    assert set(caught.value.body) == {"code", "msg", "requestTime", "data"}
    return str(caught.value.code)


async def test_an_unknown_path_is_404_with_an_envelope() -> None:
    async with bench([WalkSource()]) as b:
        status, answer = await b.rest.raw("GET", "/api/v2/mix/market/nothing", {})
        assert (status, answer["code"], answer["data"]) == (404, "40404", None)


async def test_bad_parameters_are_refused_with_their_code() -> None:
    async with bench([WalkSource()]) as b:
        public = b.rest.public
        assert await _refusal(public("ticker", symbol="NOSUCHUSDT")) == "40034"
        assert await _refusal(public("ticker")) == "40019"
        assert await _refusal(public("merge-depth", symbol="SOLUSDT", limit=7)) == "40020"
        assert await _refusal(public("candles", symbol="SOLUSDT", granularity="1h")) == "400171"
        window = {"startTime": START_MS - 91 * DAY_MS, "endTime": START_MS}
        assert await _refusal(public("candles", symbol="SOLUSDT", granularity="1H", **window)) == "00001"
        window = {"startTime": START_MS, "endTime": START_MS - 1}
        assert await _refusal(public("candles", symbol="SOLUSDT", granularity="1H", **window)) == "40707"
        assert await _refusal(b.rest.get("/api/v3/account/settings", signed=True)) == "40084"
        assert await _refusal(b.rest.get(MIX + "market/contracts")) == "40019"


async def test_other_product_types_have_no_contracts() -> None:
    async with bench([WalkSource()]) as b:
        for product in ("COIN-FUTURES", "usdc-futures", "SUSDT-FUTURES"):
            assert await b.rest.get(MIX + "market/contracts", productType=product) == []
        assert await b.rest.get(MIX + "account/accounts", signed=True, productType="USDC-FUTURES") == []


async def test_the_tick_is_price_end_step_times_ten_to_minus_price_place() -> None:
    source = WalkSource()
    for tick in ("0.001", "0.5", "1", "0.05", "10"):
        row = contract_row(msgspec.structs.replace(source.instrument, tick=Decimal(tick)), VenueLimits())
        assert Decimal(row["priceEndStep"]).scaleb(-int(row["pricePlace"])) == Decimal(tick)


def test_a_contract_tells_the_limits_that_the_venue_keeps() -> None:
    limits = VenueLimits(
        price_band=Decimal("0.02"),
        open_cost_up_ratio=Decimal("0.03"),
        max_symbol_orders=4,
        max_product_orders=5,
        max_positions=6,
    )
    row = contract_row(WalkSource().instrument, limits)
    told = "buyLimitPriceRatio sellLimitPriceRatio openCostUpRatio maxSymbolOrderNum maxProductOrderNum maxPositionNum"
    assert [row[name] for name in told.split()] == ["0.02", "0.02", "0.03", "4", "5", "6"]


async def test_public_rows_have_exactly_the_documented_members() -> None:
    async with bench([WalkSource()]) as b:
        public = b.rest.public
        documented = {
            "fills": "tradeId price size side ts symbol",
            "fills-history": "tradeId price size side ts symbol",
            "symbol-price": "symbol price indexPrice markPrice ts",
            "current-fund-rate": "symbol fundingRate fundingRateInterval nextUpdate minFundingRate maxFundingRate",
            "funding-time": "symbol nextFundingTime ratePeriod",
            "query-position-lever": "symbol level startUnit endUnit leverage keepMarginRate",
        }
        for name, members in documented.items():
            rows = await public(name, symbol="SOLUSDT")
            assert rows
            assert all(set(row) == set(members.split()) for row in rows)
        interest = await public("open-interest", symbol="SOLUSDT")
        assert set(interest) == {"openInterestList", "ts"}
        assert set(interest["openInterestList"][0]) == {"symbol", "size"}
        depth = await public("merge-depth", symbol="SOLUSDT", limit=5)
        assert set(depth) == {"asks", "bids", "ts", "scale", "precision", "isMaxPrecision"}
        assert all(isinstance(number, float) for level in depth["asks"] + depth["bids"] for number in level)
        assert [len(depth["asks"]), len(depth["bids"])] == [5, 5]
        assert depth["bids"][0][0] < depth["asks"][0][0]


async def test_a_market_that_has_not_begun_has_no_book_and_takes_no_order() -> None:
    async with bench([WalkSource(), WalkSource("BTCUSDT", start_ms=START_MS + HOUR_MS)]) as b:
        (row,) = await b.rest.public("ticker", symbol="BTCUSDT")
        assert (row["bidPr"], row["askPr"], row["markPrice"]) == ("", "", "0")
        depth = await b.rest.public("merge-depth", symbol="BTCUSDT")
        assert (depth["bids"], depth["asks"]) == ([], [])
        body = {"symbol": "BTCUSDT", "marginMode": "isolated", "orderType": "market", "side": "buy", "size": "1"}
        assert await _refusal(b.rest.post("order/place-order", **body)) == "22045"


async def test_candles_keep_the_rows_nearest_the_end_and_history_leaves_the_running_one_out() -> None:
    source = WalkSource(steps=400)
    async with bench([source], hold=False) as b:
        while not b.server.exchange.clock.ended:
            await b.rest.get("/api/v2/public/time")
        now = b.server.exchange.now_ms
        window = {"symbol": "SOLUSDT", "granularity": "5m", "startTime": START_MS, "endTime": now}
        rows = await b.rest.public("candles", limit=4, **window)
        starts = [int(row[0]) for row in rows]
        assert starts == [now // BASE_MS * BASE_MS - i * BASE_MS for i in (3, 2, 1, 0)]
        finished = await b.rest.public("history-candles", limit=4, symbol="SOLUSDT", granularity="5m")
        last = int(finished[-1][0])
        assert last + BASE_MS <= now < last + 2 * BASE_MS
        pages: list[Any] = []
        end = now
        window = {"symbol": "SOLUSDT", "granularity": "5m", "startTime": START_MS, "limit": 15}
        while end > START_MS:
            page = await b.rest.public("history-candles", endTime=end, **window)
            pages = page + pages
            end = int(page[0][0]) - 1
        expected = source.candles("5m", START_MS, now - BASE_MS, now)
        assert [int(row[0]) for row in pages] == [candle.open_time_ms for candle in expected]
        assert [float(row[4]) for row in pages] == [candle.close for candle in expected]
        assert all(len(row) == 7 for row in pages)


async def test_long_candles_without_utc_begin_at_midnight_of_utc_plus_8() -> None:
    async with bench([WalkSource()]) as b:
        utc = await b.rest.public("candles", symbol="SOLUSDT", granularity="1Dutc", limit=3)
        local = await b.rest.public("candles", symbol="SOLUSDT", granularity="1D", limit=3)
        assert {int(row[0]) % DAY_MS for row in utc} == {0}
        assert {int(row[0]) % DAY_MS for row in local} == {16 * HOUR_MS}


async def test_fills_history_pages_backwards_by_trade_id() -> None:
    async with bench([WalkSource(steps=30)], hold=False) as b:
        while not b.server.exchange.clock.ended:
            await b.rest.get("/api/v2/public/time")
        seen: list[str] = []
        page = await b.rest.public("fills-history", symbol="SOLUSDT", limit=12)
        while page:
            seen += [row["tradeId"] for row in page]
            page = await b.rest.public("fills-history", symbol="SOLUSDT", limit=12, idLessThan=seen[-1])
        assert len(seen) == len(set(seen)) == 30
        assert seen == sorted(seen, key=int, reverse=True)
        assert all(len(trade_id) == 19 for trade_id in seen)


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
