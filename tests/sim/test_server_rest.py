"""REST of the embedded exchange over real sockets: shapes, signatures, refusals."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.shared import shared_path
from tests.sim.clients import KEY, MIX, PASSPHRASE, PRODUCT, Bench, Refused, bench, sign
from tests.sim.walk import BASE_MS, MOVE_MS, START_MS, WalkSource
from tradebot.errors import BusyError, ConfigError
from tradebot.market.candle import DAY_MS, HOUR_MS
from tradebot.sim.rest_public import contract_row
from tradebot.sim.server import EmbeddedExchange


async def _refusal(call: Any) -> str:
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.body["data"] is None
    assert set(caught.value.body) == {"code", "msg", "requestTime", "data"}
    return str(caught.value.code)


async def _trade_a_little(b: Bench) -> None:
    """A position with a stop, a resting order, a canceled order, fills on both sides and a closed position."""
    paced = await b.paced()
    await paced.attach()
    await paced.step()
    for side in ("buy", "sell"):
        await b.rest.order(side, "2", clientOid=f"round-{side}")
        await paced.step()
    await b.rest.order("buy", "3", clientOid="entry")
    await paced.step()
    mark = float((await b.rest.public("symbol-price", symbol="SOLUSDT"))[0]["markPrice"])
    stop = {"planType": "pos_loss", "triggerPrice": f"{mark * 0.9:.3f}", "triggerType": "mark_price", "holdSide": "buy"}
    await b.rest.post("order/place-tpsl-order", symbol="SOLUSDT", clientOid="stop", **stop)
    await b.rest.order("buy", "1", price=f"{mark * 0.98:.3f}", clientOid="resting")
    await b.rest.order("buy", "1", price=f"{mark * 0.97:.3f}", clientOid="gone")
    await b.rest.post("order/cancel-order", symbol="SOLUSDT", clientOid="gone")
    for _ in range(4):
        await paced.step()


# --- signatures -----------------------------------------------------------------------------------------------------


async def test_signature_errors_come_in_the_documented_order() -> None:
    target = f"{MIX}account/accounts?productType={PRODUCT}"
    async with bench([WalkSource()]) as b:
        now = str(b.server.exchange.now_ms)
        headers: dict[str, str] = {}
        seen = []
        good = sign(f"{now}GET{target}")
        for name, bad in (
            ("ACCESS-KEY", "nobody"),
            ("ACCESS-SIGN", "AAAA"),
            ("ACCESS-TIMESTAMP", "soon"),
            ("ACCESS-PASSPHRASE", "wrong"),
        ):
            seen.append((await b.rest.raw("GET", target, headers))[1]["code"])
            headers[name] = bad
        fixes = (("ACCESS-TIMESTAMP", "1000"), ("ACCESS-TIMESTAMP", now), ("ACCESS-KEY", KEY))
        for name, value in (*fixes, ("ACCESS-PASSPHRASE", PASSPHRASE), ("ACCESS-SIGN", good)):
            seen.append((await b.rest.raw("GET", target, headers))[1]["code"])
            headers[name] = value
        status, answer = await b.rest.raw("GET", target, headers)
        assert seen == ["40001", "40002", "40005", "40011", "40005", "40008", "40006", "40012", "40009"]
        assert (status, answer["code"]) == (200, "00000")


async def test_a_timestamp_of_the_wall_clock_is_as_good_as_one_of_the_exchange() -> None:
    target = f"{MIX}account/accounts?productType={PRODUCT}"
    async with bench([WalkSource()]) as b:
        for offset_ms, code in ((0, "00000"), (-29_000, "00000"), (-31_000, "40008")):
            stamp = str(int(time.time() * 1000) + offset_ms)
            headers = {
                "ACCESS-KEY": KEY,
                "ACCESS-PASSPHRASE": PASSPHRASE,
                "ACCESS-TIMESTAMP": stamp,
                "ACCESS-SIGN": sign(f"{stamp}GET{target}"),
            }
            assert (await b.rest.raw("GET", target, headers))[1]["code"] == code


async def test_the_signature_may_cover_the_encoded_or_the_decoded_query() -> None:
    decoded = f"{MIX}order/detail?clientOid=a+b#c&productType={PRODUCT}&symbol=SOLUSDT"
    encoded = decoded.replace("+", "%2B").replace("#", "%23")
    async with bench([WalkSource()]) as b:
        now = str(b.server.exchange.now_ms)
        for form in (encoded, decoded):
            headers = {
                "ACCESS-KEY": KEY,
                "ACCESS-PASSPHRASE": PASSPHRASE,
                "ACCESS-TIMESTAMP": now,
                "ACCESS-SIGN": sign(f"{now}GET{form}"),
            }
            assert (await b.rest.raw("GET", encoded, headers))[1]["code"] == "40109"


async def test_the_body_is_part_of_what_is_signed() -> None:
    async with bench([WalkSource()]) as b:
        now = str(b.server.exchange.now_ms)
        target = MIX + "account/set-leverage"
        body = json.dumps({"symbol": "SOLUSDT", "productType": PRODUCT, "marginCoin": "USDT", "leverage": "3"})
        headers = {
            "ACCESS-KEY": KEY,
            "ACCESS-PASSPHRASE": PASSPHRASE,
            "ACCESS-TIMESTAMP": now,
            "ACCESS-SIGN": sign(f"{now}POST{target}{body}"),
            "Content-Type": "application/json",
        }
        assert (await b.rest.raw("POST", target, headers, body.replace('"3"', '"4"')))[1]["code"] == "40009"
        assert (await b.rest.raw("POST", target, headers, body))[1]["data"]["longLeverage"] == "3"


# --- public endpoints -----------------------------------------------------------------------------------------------


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
        row = contract_row(msgspec.structs.replace(source.instrument, tick=Decimal(tick)))
        assert Decimal(row["priceEndStep"]).scaleb(-int(row["pricePlace"])) == Decimal(tick)


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


# --- account, orders, positions -------------------------------------------------------------------------------------


def _sample(pages: dict[str, Any], page: str, *path: str) -> dict[str, Any]:
    """The first row of a documented answer."""
    answer = next(example["json"] for example in pages[page]["examples"] if example["kind"] == "response")
    data = answer["data"]
    for name in path:
        data = data[name]
    row = data[0] if isinstance(data, list) else data
    assert isinstance(row, dict)
    return row


async def test_answers_have_the_members_of_the_documented_samples() -> None:
    pages = json.loads(shared_path("data/bitget_fixtures/docs_samples.json").read_text())
    async with bench([WalkSource()]) as b:
        await _trade_a_little(b)
        private, public = b.rest.private, b.rest.public
        known = {"unionTotalMagin": "unionTotalMargin"}
        answers: list[tuple[dict[str, Any], dict[str, Any]]] = [
            (_sample(pages, "contract__account__Get-Account-List"), (await private("account/accounts"))[0]),
            (
                _sample(pages, "contract__account__Get-Single-Account"),
                await private("account/account", symbol="solusdt", marginCoin="usdt"),
            ),
            (
                _sample(pages, "contract__market__Get-All-Symbols-Contracts"),
                (await public("contracts", symbol="SOLUSDT"))[0],
            ),
            (_sample(pages, "contract__market__Get-Ticker"), (await public("ticker", symbol="SOLUSDT"))[0]),
            (_sample(pages, "contract__position__get-all-position"), (await private("position/all-position"))[0]),
            (
                _sample(pages, "contract__position__get-single-position"),
                (await private("position/single-position", symbol="SOLUSDT", marginCoin="USDT"))[0],
            ),
            (
                _sample(pages, "contract__position__Get-History-Position", "list"),
                (await private("position/history-position"))["list"][0],
            ),
            (
                _sample(pages, "contract__trade__Get-Orders-Pending", "entrustedList"),
                (await private("order/orders-pending"))["entrustedList"][0],
            ),
        ]
        for documented, ours in answers:
            assert {known.get(name, name) for name in documented} - set(ours) == set()


async def test_numbers_are_strings_and_the_fee_detail_is_only_in_fills() -> None:
    async with bench([WalkSource()]) as b:
        await _trade_a_little(b)
        private = b.rest.private
        detail = await private("order/detail", symbol="SOLUSDT", clientOid="entry")
        assert all(isinstance(value, str) for value in detail.values())
        assert (detail["state"], detail["priceAvg"] != "", detail["price"]) == ("filled", True, "")
        assert "feeDetail" not in detail
        assert "status" not in detail
        history = (await private("order/orders-history"))["entrustedList"]
        assert "feeDetail" not in history[0]
        assert {row["reduceOnly"] for row in history} == {"NO"}
        (position,) = await private("position/all-position")
        assert all(isinstance(value, str) for value in position.values())
        fills = (await private("order/fills"))["fillList"]
        assert all(float(row["feeDetail"][0]["totalFee"]) < 0 for row in fills)


async def test_what_has_ended_can_be_queried_and_paged() -> None:
    async with bench([WalkSource()]) as b:
        await _trade_a_little(b)
        private = b.rest.private
        first = await private("order/orders-history", limit=2)
        second = await private("order/orders-history", limit=2, idLessThan=first["endId"])
        states = [(row["clientOid"], row["status"]) for row in first["entrustedList"] + second["entrustedList"]]
        assert states == [("gone", "canceled"), ("entry", "filled"), ("round-sell", "filled"), ("round-buy", "filled")]
        assert await private("order/orders-history", limit=2, idLessThan=second["endId"]) == {
            "entrustedList": None,
            "endId": None,
        }
        (pending,) = (await private("order/orders-pending", symbol="SOLUSDT"))["entrustedList"]
        assert (pending["clientOid"], pending["status"], pending["priceAvg"], pending["fee"]) == (
            "resting",
            "live",
            "",
            "",
        )
        fills = (await private("order/fills"))["fillList"]
        page = (await private("order/fill-history", limit=1, idLessThan=fills[0]["tradeId"]))["fillList"]
        assert page == fills[1:2]
        (closed,) = (await private("position/history-position", symbol="SOLUSDT"))["list"]
        assert (closed["closeTotalPos"], closed["holdSide"]) == ("2", "long")
        (plan,) = (await private("order/orders-plan-pending", planType="profit_loss"))["entrustedList"]
        assert (plan["clientOid"], plan["planType"], plan["size"], plan["planStatus"]) == (
            "stop",
            "pos_loss",
            "3",
            "live",
        )


async def test_money_adds_up_between_account_bills_and_position() -> None:
    async with bench([WalkSource()]) as b:
        await _trade_a_little(b)
        private = b.rest.private
        (account,) = await private("account/accounts")
        (position,) = await private("position/all-position")
        bills = (await private("account/bill", limit=100))["bills"]
        cash = Decimal(account["accountEquity"]) - Decimal(account["unrealizedPL"])
        assert Decimal(bills[0]["balance"]) == cash
        moved = sum(Decimal(bill["amount"]) + Decimal(bill["fee"]) for bill in bills)
        assert Decimal(10_000) + moved == cash
        assert Decimal(position["unrealizedPL"]) == Decimal(account["unrealizedPL"])
        assert {bill["businessType"] for bill in bills} == {"buy", "sell"}


async def test_settings_are_changed_told_and_refused() -> None:
    async with bench([WalkSource()]) as b:
        post = b.rest.post
        answer = await post("account/set-margin-mode", symbol="SOLUSDT", marginMode="crossed")
        assert answer["marginMode"] == "crossed"
        answer = await post("account/set-leverage", symbol="SOLUSDT", leverage="5")
        assert (answer["longLeverage"], answer["crossMarginLeverage"]) == ("5", "5")
        assert await _refusal(post("account/set-leverage", symbol="SOLUSDT", leverage="5")) == "40814"
        assert await _refusal(post("account/set-leverage", symbol="SOLUSDT", leverage="500")) == "40797"
        assert await post("account/set-position-mode", posMode="one_way_mode") == {"posMode": "one_way_mode"}
        account = await b.rest.private("account/account", symbol="SOLUSDT", marginCoin="USDT")
        settings = ("crossedMarginLeverage", "isolatedLongLever", "marginMode", "posMode")
        assert [account[name] for name in settings] == ["5", "10", "crossed", "one_way_mode"]
        paced = await b.paced()
        await paced.attach()
        await b.rest.order("buy", "1", clientOid="one")
        await paced.step()
        assert await _refusal(post("account/set-margin-mode", symbol="SOLUSDT", marginMode="isolated")) == "45117"
        assert await _refusal(post("account/set-position-mode", posMode="hedge_mode")) == "40920"


async def test_orders_are_refused_at_reception_with_the_documented_codes() -> None:
    async with bench([WalkSource()]) as b:
        order = b.rest.order
        await order("buy", "1", price="148.5", clientOid="twice")
        assert await _refusal(order("buy", "1", price="148.5", clientOid="twice")) == "40786"
        assert await _refusal(order("sell", "1", reduceOnly="YES")) == "22002"
        assert await _refusal(order("buy", "9999999")) == "40762"
        assert await _refusal(order("buy", "0")) == "40020"
        assert await _refusal(order("buy", "1", price="148.50001")) == "45115"
        assert await _refusal(order("buy", "1", tradeSide="open")) == "40774"
        assert await _refusal(order("buy", "1", orderType="stop")) == "40020"
        assert await _refusal(b.rest.post("order/cancel-order", symbol="SOLUSDT", orderId="12345")) == "40768"
        assert await _refusal(b.rest.private("order/detail", symbol="SOLUSDT", clientOid="never")) == "40109"
        assert await _refusal(b.rest.post("order/close-positions", symbol="SOLUSDT")) == "22002"


async def test_enums_have_any_case_and_numbers_may_be_json_numbers() -> None:
    async with bench([WalkSource()]) as b:
        answer = await b.rest.post(
            "order/place-order",
            symbol="solusdt",
            marginMode="ISOLATED",
            orderType="Limit",
            side="BUY",
            size=1.5,
            price=148.5,
            force="GTC",
            clientOid="",
            reduceOnly="NO",
        )
        assert answer["clientOid"] != ""
        detail = await b.rest.private("order/detail", symbol="SOLUSDT", orderId=answer["orderId"])
        assert [detail[name] for name in ("size", "price", "force", "side")] == ["1.5", "148.5", "gtc", "buy"]


async def test_a_batch_answers_item_by_item() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        item = {"size": "1", "price": "148.5", "side": "buy", "orderType": "limit", "force": "gtc"}
        orders = [{**item, "clientOid": "a"}, {**item, "clientOid": "a"}, {**item, "clientOid": "b"}]
        answer = await b.rest.post("order/batch-place-order", symbol="SOLUSDT", marginMode="isolated", orderList=orders)
        assert [row["clientOid"] for row in answer["successList"]] == ["a", "b"]
        assert [row["errorCode"] for row in answer["failureList"]] == ["40786"]
        listed = [{"clientOid": "a"}, {"clientOid": "zzz"}]
        answer = await b.rest.post("order/batch-cancel-orders", symbol="SOLUSDT", orderIdList=listed)
        assert [row["clientOid"] for row in answer["successList"]] == ["a"]
        assert [row["errorCode"] for row in answer["failureList"]] == ["40768"]
        for _ in range(3):
            await paced.step()
        answer = await b.rest.post("order/cancel-all-orders")
        assert [row["clientOid"] for row in answer["successList"]] == ["b"]
        while (await paced.step())["t"] < START_MS + MOVE_MS:
            pass
        assert (await b.rest.private("order/orders-pending"))["entrustedList"] is None


async def test_a_modified_order_comes_back_under_its_new_client_id() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        old = await b.rest.order("buy", "1", price="148.5", clientOid="old")
        await paced.step()
        change = {"symbol": "SOLUSDT", "orderId": old, "newSize": "2", "newPrice": "148.4"}
        assert await _refusal(b.rest.post("order/modify-order", **change)) == "22003"
        assert await _refusal(b.rest.post("order/modify-order", **change, newClientOid="old")) == "40786"
        await b.rest.post("order/modify-order", **change, newClientOid="new")
        await paced.step()
        (pending,) = (await b.rest.private("order/orders-pending"))["entrustedList"]
        assert (pending["clientOid"], pending["size"], pending["price"]) == ("new", "2", "148.4")
        assert pending["orderId"] != old


async def test_close_positions_flattens_and_ends_the_stop() -> None:
    async with bench([WalkSource()]) as b:
        await _trade_a_little(b)
        paced = await b.paced()
        await paced.attach()
        answer = await b.rest.post("order/close-positions", symbol="SOLUSDT")
        assert [row["symbol"] for row in answer["successList"]] == ["SOLUSDT"]
        await paced.step()
        await paced.step()
        assert await b.rest.private("position/all-position") == []
        plans = await b.rest.private("order/orders-plan-pending", planType="profit_loss")
        assert plans["entrustedList"] is None
        (plan,) = (await b.rest.private("order/orders-plan-history", planType="profit_loss"))["entrustedList"]
        assert (plan["clientOid"], plan["planStatus"]) == ("stop", "cancelled")


async def test_a_closed_short_is_told_as_a_short() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        await b.rest.order("sell", "2", clientOid="short")
        await paced.step()
        await b.rest.order("buy", "2", clientOid="cover", reduceOnly="YES")
        await paced.step()
        (closed,) = (await b.rest.private("position/history-position"))["list"]
        members = ("holdSide", "openTotalPos", "closeTotalPos", "posMode")
        assert [closed[name] for name in members] == ["short", "2", "2", "one_way_mode"]
        sold, bought = Decimal(closed["openAvgPrice"]), Decimal(closed["closeAvgPrice"])
        assert Decimal(closed["pnl"]) == (sold - bought) * 2
        fees = Decimal(closed["openFee"]) + Decimal(closed["closeFee"])
        assert Decimal(closed["netProfit"]) == Decimal(closed["pnl"]) + fees


async def test_stops_are_placed_in_pairs_and_cancelled_by_id() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        await b.rest.order("sell", "2", clientOid="short")
        await paced.step()
        both = {"stopSurplusTriggerPrice": "140", "stopLossTriggerPrice": "160", "holdSide": "sell"}
        answer = await b.rest.post("order/place-pos-tpsl", symbol="SOLUSDT", **both, stopLossClientOid="sl")
        assert len(answer) == 2
        assert {row["stopLossClientOid"] for row in answer} == {"sl"}
        await paced.step()
        await paced.step()
        plans = (await b.rest.private("order/orders-plan-pending", planType="profit_loss"))["entrustedList"]
        assert {plan["planType"] for plan in plans} == {"pos_profit", "pos_loss"}
        (position,) = await b.rest.private("position/all-position")
        assert (position["takeProfit"], position["stopLoss"]) == ("140", "160")
        second = {"planType": "pos_loss", "triggerPrice": "165", "holdSide": "sell"}
        assert await _refusal(b.rest.post("order/place-tpsl-order", symbol="SOLUSDT", **second)) == "43031"
        answer = await b.rest.post("order/cancel-plan-order", symbol="SOLUSDT", orderIdList=[{"clientOid": "sl"}])
        assert [row["clientOid"] for row in answer["successList"]] == ["sl"]
        await paced.step()
        plans = (await b.rest.private("order/orders-plan-pending", planType="profit_loss"))["entrustedList"]
        assert [plan["planType"] for plan in plans] == ["pos_profit"]


# --- the server as such ---------------------------------------------------------------------------------------------


async def test_a_taken_port_and_a_public_address_are_refused_in_one_line() -> None:
    async with bench([WalkSource()]) as b:
        port = int(b.server.rest_url.rsplit(":", 1)[1])
        with pytest.raises(BusyError, match=f"port {port}") as caught:
            await EmbeddedExchange([WalkSource()], port=port).start()
        assert caught.value.exit_code == 75
    for host in ("0.0.0.0", "192.168.0.1", "example.com"):
        with pytest.raises(ConfigError, match="loopback"):
            EmbeddedExchange([WalkSource()], host=host)
