"""REST of the embedded exchange over real sockets: account, orders, positions."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.shared import shared_path
from tests.sim.clients import Bench, Refused, bench
from tests.sim.walk import MOVE_MS, START_MS, WalkSource
from tradebot.errors import BusyError, ConfigError
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
