"""Orders over REST: what can be asked, how it is answered and refused (protocol section 8)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from tests.sim.trader import SYMBOL, trader


async def test_presets_are_told_with_their_execute_prices_and_become_limit_stops() -> None:
    async with trader() as t:
        presets = {
            "presetStopLossPrice": "145",
            "presetStopLossExecutePrice": "144.5",
            "presetStopSurplusPrice": "160",
        }
        await t.order("buy", "1", price="151", clientOid="entry", **presets)
        detail = await t.detail("entry")
        members = ("presetStopLossPrice", "presetStopLossExecutePrice", "presetStopSurplusExecutePrice")
        assert [detail[m] for m in members] == ["145", "144.5", ""]
        assert (detail["presetStopLossType"], detail["presetStopSurplusType"]) == ("mark_price", "mark_price")
        plans = (await t.get("order/orders-plan-pending", planType="profit_loss"))["entrustedList"]
        told = {p["planType"]: (p["triggerPrice"], p["executePrice"], p["orderType"]) for p in plans}
        assert told == {"loss_plan": ("145", "144.5", "limit"), "profit_plan": ("160", "0", "market")}


async def test_modify_answers_with_the_new_client_id_and_refuses_what_it_cannot_change() -> None:
    async with trader() as t:
        await t.order("buy", "1", price="148", clientOid="a", presetStopLossPrice="140")
        modify = "order/modify-order"
        assert await t.refusal(modify, clientOid="a", newSize="2", newClientOid="b") == "40925"
        assert await t.refusal(modify, clientOid="a", newSize="2", newPrice="147") == "22003"
        assert await t.refusal(modify, clientOid="a", newSize="1", newPrice="148", newClientOid="b") == "40923"
        assert await t.refusal(modify, clientOid="a") == "40923"
        assert await t.refusal(modify, clientOid="a", newSize="2", newPrice="147", newClientOid="a") == "40786"
        assert await t.refusal(modify, clientOid="a", newSize="2", newPrice="147", newClientOid="ä") == "40017"
        assert await t.refusal(modify, clientOid="x", newSize="2", newPrice="147", newClientOid="b") == "40768"
        assert await t.refusal(modify, newSize="2", newPrice="147", newClientOid="b") == "40924"
        # only one preset given: the other one is taken away, the order stays
        before = await t.detail("a")
        await t.post(modify, clientOid="a", newPresetStopSurplusPrice="160")
        after = await t.detail("a")
        assert (after["orderId"], after["presetStopSurplusPrice"], after["presetStopLossPrice"]) == (
            before["orderId"],
            "160",
            "",
        )
        await t.post(modify, clientOid="a", newPresetStopSurplusPrice="0", newPresetStopLossPrice="141")
        assert (await t.detail("a"))["presetStopLossPrice"] == "141"
        answer = await t.post(modify, clientOid="a", newSize="2", newPrice="147", newClientOid="b")
        assert answer["clientOid"] == "b"
        old, new = await t.detail("a"), await t.detail("b")
        assert (old["state"], old["cancelReason"]) == ("canceled", "modify_cancel")
        assert (new["state"], new["size"], new["price"], new["presetStopLossPrice"]) == ("live", "2", "147", "141")
        assert new["orderId"] != old["orderId"]
        assert await t.refusal(modify, clientOid="a", newSize="3", newPrice="147", newClientOid="c") == "22001"


async def test_an_order_that_makes_older_closing_orders_give_way_is_answered_without_its_id() -> None:
    async with trader() as t:
        await t.order("buy", "2")
        close = {"reduceOnly": "YES", "price": "153"}
        first = await t.order("sell", "2", **close, clientOid="first")
        assert first["orderId"]
        second = await t.order("sell", "2", **close, clientOid="second")
        assert second == {"orderId": None, "clientOid": "second"}
        assert (await t.detail("first"))["cancelReason"] == "reduce_only_cancel"
        assert (await t.detail("second"))["state"] == "live"
        (position,) = await t.positions()
        assert [position[m] for m in ("total", "available", "locked")] == ["2", "0", "2"]


async def test_batches_are_bounded() -> None:
    async with trader() as t:
        order = {"size": "1", "price": "148", "side": "buy", "orderType": "limit"}
        many = [{**order, "clientOid": f"n{n}"} for n in range(51)]
        assert await t.refusal("order/batch-place-order", marginMode="isolated", orderList=many) == "40912"
        assert await t.refusal("order/batch-place-order", marginMode="isolated", orderList=[]) == "40019"
        mixed = [order, {**order, "size": "0.05"}, {**order, "side": "hold"}, {**order, "size": "0.1", "price": "1"}]
        answer = await t.post("order/batch-place-order", marginMode="isolated", orderList=mixed)
        assert len(answer["successList"]) == 1
        assert [row["errorCode"] for row in answer["failureList"]] == ["22038", "40020", "45110"]
        ids = [{"orderId": str(n)} for n in range(51)]
        assert await t.refusal("order/batch-cancel-orders", orderIdList=ids) == "40912"


async def test_an_empty_list_of_orders_to_cancel_is_refused_and_cancels_nothing() -> None:
    async with trader() as t:
        await t.order("buy", "1", price="148", clientOid="a")
        for name in ("batch-cancel-orders", "cancel-plan-order"):
            assert await t.refusal(f"order/{name}", orderIdList=[]) == "40019"
        assert (await t.detail("a"))["state"] == "live"
        await t.post("order/batch-cancel-orders")
        assert (await t.detail("a"))["state"] == "canceled"


async def test_cancel_all_leaves_trigger_orders_alone_and_knows_a_request_that_waited_too_long() -> None:
    async with trader() as t:
        await t.order("buy", "1", price="148", clientOid="a")
        conditional = {"planType": "normal_plan", "orderType": "market", "marginMode": "isolated", "side": "buy"}
        await t.post("order/place-plan-order", **conditional, size="1", triggerPrice="155")
        late = {"requestTime": str(t.now_ms - 5000), "receiveWindow": "4000"}
        assert await t.refusal("order/cancel-all-orders", **late) == "40008"
        answer = await t.post("order/cancel-all-orders", marginCoin="USDT")
        assert [row["clientOid"] for row in answer["successList"]] == ["a"]
        assert (await t.get("order/orders-plan-pending", planType="normal_plan"))["entrustedList"] is not None
        again = await t.post("order/cancel-all-orders")
        assert (again["successList"], again["failureList"]) == ([], [])


async def test_backhand_turns_a_position_around() -> None:
    async with trader() as t:
        assert await t.refusal("order/click-backhand") == "22002"
        await t.order("buy", "2")
        answer = await t.post("order/click-backhand", size="1", clientOid="turn")
        assert answer["clientOid"] == "turn"
        (position,) = await t.positions()
        assert (position["holdSide"], position["total"]) == ("short", "1")
        await t.post("order/click-backhand")
        (position,) = await t.positions()
        assert (position["holdSide"], position["total"]) == ("long", "1")


async def test_refusals_by_price_size_and_coin() -> None:
    async with trader() as t:
        mark = await t.mark()
        high = f"{mark * Decimal('1.06'):.3f}"
        assert await t.refused_order("buy", "1", price=high) == "43008"
        assert await t.refused_order("buy", "1", price=high, tradeSide="close") == "40774"
        assert await t.refused_order("buy", "1", price="148", presetStopLossPrice="149") == "40917"
        assert await t.refused_order("buy", "1", price="148", presetStopLossExecutePrice="1.00001") == "45115"
        assert await t.refused_order("buy", "1", marginCoin="BTC") == "40020"
        assert await t.refused_order("buy", "1", stpMode="later") == "40020"
        assert await t.refused_order("buy", "0.05") == "22038"
        assert await t.refused_order("buy", "100000") == "40762"


async def test_what_a_contract_does_not_allow_has_its_code() -> None:
    async with trader() as t:
        await t.order("buy", "2")
        contract = t.venue.instruments[SYMBOL]
        codes: dict[str, str] = {}
        for status in ("maintain", "limit_open", "restrictedAPI", "off"):
            t.venue.set_instrument(replace(contract, status=status), t.now_ms)
            codes[status] = await t.refused_order("buy", "1")
        assert codes == {"maintain": "40844", "limit_open": "45119", "restrictedAPI": "22004", "off": "40845"}
        t.venue.set_instrument(replace(contract, status="limit_open"), t.now_ms)
        await t.order("sell", "2", reduceOnly="YES")
        assert await t.positions() == []


async def test_pushes_of_an_execution_come_as_orders_fill_positions_account() -> None:
    async with trader() as t:
        stream = await t.listen("orders", "fill", "positions", "account", "positions-history")
        await t.order("buy", "1", clientOid="in")
        await t.order("sell", "1", clientOid="out", reduceOnly="YES")
        pushes = await t.heard(stream)
        accepted = ["orders", "positions", "account"]
        filled = ["orders", "fill", "positions"]
        names = [channel for channel, _ in pushes]
        assert names == [*accepted, *filled, "account", *accepted, *filled, "positions-history", "account"]
        states = [row["status"] for channel, rows in pushes if channel == "orders" for row in rows]
        assert states == ["live", "filled", "live", "filled"]
        sets = [len(rows) for channel, rows in pushes if channel == "positions"]
        assert sets == [0, 1, 1, 0]
        flat: Any = pushes[-1][1][0]
        assert flat["unrealizedPL"] == ""
