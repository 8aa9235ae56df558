"""Trigger and TP/SL orders over REST (protocol section 9)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.sim.trader import SYMBOL, Trader, trader

CONDITIONAL = {"planType": "normal_plan", "orderType": "market", "marginMode": "isolated", "size": "1"}


async def pending(t: Trader, group: str) -> list[Any]:
    return (await t.get("order/orders-plan-pending", planType=group))["entrustedList"] or []


async def history(t: Trader, group: str, **query: Any) -> list[Any]:
    return (await t.get("order/orders-plan-history", planType=group, **query))["entrustedList"] or []


def shift(t: Trader, percent: str) -> None:
    """Move the mark of the market by so many percent."""
    mark = t.venue.mark(SYMBOL)
    assert mark is not None
    moved = mark * (1 + Decimal(percent) / 100)
    t.venue.set_mark(SYMBOL, moved.quantize(t.venue.instruments[SYMBOL].tick), t.now_ms)


async def test_each_kind_is_listed_in_its_group() -> None:
    async with trader() as t:
        await t.order("buy", "4")
        await t.post("order/place-plan-order", **CONDITIONAL, side="buy", triggerPrice=155.5, clientOid="if")
        trailing = {**CONDITIONAL, "planType": "track_plan", "callbackRatio": "2", "reduceOnly": "YES"}
        await t.post("order/place-plan-order", **trailing, side="sell", triggerPrice="155", clientOid="trail")
        protections: list[dict[str, str]] = [
            {"planType": "pos_profit", "triggerPrice": "170"},
            {"planType": "pos_loss", "triggerPrice": "130"},
            {"planType": "profit_plan", "triggerPrice": "169", "size": "1", "executePrice": "168"},
            {"planType": "loss_plan", "triggerPrice": "131", "size": "1"},
            {"planType": "moving_plan", "triggerPrice": "160", "size": "1", "rangeRate": "1"},
        ]
        for protection in protections:
            await t.post("order/place-tpsl-order", **protection, holdSide="buy")
        assert [p["clientOid"] for p in await pending(t, "normal_plan")] == ["if"]
        (trail,) = await pending(t, "track_plan")
        members = ("planType", "callbackRatio", "triggerPrice", "orderSource", "planStatus", "side")
        assert [trail[m] for m in members] == ["track_plan", "2", "155", "track_market", "live", "sell"]
        kinds = {p["planType"]: p["orderType"] for p in await pending(t, "profit_loss")}
        assert kinds == {
            "pos_profit": "market",
            "pos_loss": "market",
            "profit_plan": "limit",
            "loss_plan": "market",
            "moving_plan": "market",
        }
        (moving,) = [p for p in await pending(t, "profit_loss") if p["planType"] == "moving_plan"]
        assert (moving["callbackRatio"], moving["size"]) == ("1", "1")


async def test_refusals_of_trigger_orders() -> None:
    async with trader() as t:
        stop = {"planType": "pos_loss", "triggerPrice": "130", "holdSide": "buy"}
        assert await t.refusal("order/place-tpsl-order", **stop) == "43023"
        await t.order("buy", "2")
        place = "order/place-tpsl-order"
        assert await t.refusal(place, **{**stop, "triggerPrice": "170"}) == "40917"
        assert await t.refusal(place, **{**stop, "planType": "pos_profit"}) == "40915"
        assert await t.refusal(place, **{**stop, "planType": "loss_plan"}) == "40019"
        assert await t.refusal(place, **{**stop, "planType": "loss_plan", "size": "3"}) == "40891"
        assert await t.refusal(place, **{**stop, "planType": "normal_plan"}) == "40020"
        await t.post(place, **stop)
        assert await t.refusal(place, **stop) == "43031"
        await t.post(place, **{**stop, "planType": "pos_profit", "triggerPrice": "170"})
        assert await t.refusal(place, **{**stop, "planType": "pos_profit", "triggerPrice": "171"}) == "43030"
        trail = {**CONDITIONAL, "planType": "track_plan", "side": "sell", "triggerPrice": "155"}
        assert await t.refusal("order/place-plan-order", **trail) == "40019"
        assert await t.refusal("order/place-plan-order", **trail, callbackRatio="10.5") == "43011"
        assert await t.refused_query("order/orders-plan-pending") == "40019"
        assert await t.refused_query("order/orders-plan-history", planType="all") == "40020"


async def test_take_profit_and_stop_loss_are_placed_together_or_not_at_all() -> None:
    async with trader() as t:
        await t.order("buy", "2")
        both = {"stopSurplusTriggerPrice": "170", "stopLossTriggerPrice": "171", "holdSide": "buy"}
        assert await t.refusal("order/place-pos-tpsl", **both) == "40917"
        assert await pending(t, "profit_loss") == []
        partly = {**both, "stopLossTriggerPrice": "130", "stopLossSize": "1", "stopLossTriggerType": "fill_price"}
        answer = await t.post("order/place-pos-tpsl", **partly, stopLossClientOid="sl")
        assert {row["stopLossClientOid"] for row in answer} == {"sl"}
        kinds = {p["planType"]: (p["size"], p["triggerType"]) for p in await pending(t, "profit_loss")}
        assert kinds == {"pos_profit": ("2", "mark_price"), "loss_plan": ("1", "fill_price")}


async def test_a_stop_is_changed_in_place() -> None:
    async with trader() as t:
        await t.order("buy", "2")
        stream = await t.listen("orders-algo")
        placed = await t.post(
            "order/place-tpsl-order", planType="loss_plan", triggerPrice="130", size="1", holdSide="buy", clientOid="s"
        )
        modify = "order/modify-tpsl-order"
        changed = await t.post(modify, orderId=placed["orderId"], triggerPrice="131", executePrice="129", size="2")
        assert changed == placed
        (plan,) = await pending(t, "profit_loss")
        members = ("orderId", "triggerPrice", "executePrice", "size", "stopLossTriggerPrice", "stopLossExecutePrice")
        assert [plan[m] for m in members] == [placed["orderId"], "131", "129", "2", "131", "129"]
        await t.post(modify, clientOid="s", executePrice="0")
        assert (await pending(t, "profit_loss"))[0]["orderType"] == "market"
        assert await t.refusal(modify, clientOid="s", triggerPrice="170") == "40917"
        assert await t.refusal(modify, clientOid="s", triggerPrice="131") == "40923"
        assert await t.refusal(modify, clientOid="nobody", triggerPrice="132") == "43025"
        assert await t.refusal("order/modify-plan-order", clientOid="s", newTriggerPrice="132") == "43025"
        told = [row for _, rows in await t.heard(stream) for row in rows]
        assert [(row["status"], row["triggerPrice"]) for row in told] == [("live", p) for p in ("130", "131", "131")]
        assert {row["planType"] for row in told} == {"sl"}


async def test_a_conditional_order_is_changed_in_place() -> None:
    async with trader() as t:
        body = {**CONDITIONAL, "orderType": "limit", "price": "156", "side": "buy", "triggerPrice": "155"}
        presets = {"stopLossTriggerPrice": "150", "stopSurplusTriggerPrice": "165"}
        await t.post("order/place-plan-order", **body, **presets, clientOid="if")
        modify = "order/modify-plan-order"
        new = {"newTriggerPrice": "154", "newPrice": "155", "newSize": "2", "newStopSurplusTriggerPrice": "0"}
        await t.post(modify, clientOid="if", **new)
        (plan,) = await pending(t, "normal_plan")
        members = ("triggerPrice", "price", "size", "stopLossTriggerPrice", "stopSurplusTriggerPrice")
        assert [plan[m] for m in members] == ["154", "155", "2", "150", ""]
        assert await t.refusal("order/modify-tpsl-order", clientOid="if", triggerPrice="153") == "43025"
        trail = {**CONDITIONAL, "planType": "track_plan", "side": "sell", "triggerPrice": "155", "callbackRatio": "1"}
        await t.post("order/place-plan-order", **trail, clientOid="trail")
        await t.post(modify, clientOid="trail", newCallbackRatio="3")
        assert (await pending(t, "track_plan"))[0]["callbackRatio"] == "3"


async def test_cancel_forms() -> None:
    async with trader() as t:
        await t.order("buy", "2")
        for name, price in (("a", "155"), ("b", "156"), ("c", "157")):
            await t.post("order/place-plan-order", **CONDITIONAL, side="buy", triggerPrice=price, clientOid=name)
        await t.post("order/place-tpsl-order", planType="pos_loss", triggerPrice="130", holdSide="buy", clientOid="sl")
        cancel = "order/cancel-plan-order"
        answer = await t.post(cancel, planType="normal_plan", orderIdList=[{"clientOid": "sl"}, {"clientOid": "zz"}])
        assert [row["clientOid"] for row in answer["successList"]] == ["sl"], "found whatever kind is named"
        assert [row["errorCode"] for row in answer["failureList"]] == ["43025"]
        answer = await t.post(cancel, clientOid="a")
        assert [row["clientOid"] for row in answer["successList"]] == ["a"]
        assert (await t.post(cancel, planType="profit_loss"))["successList"] == []
        answer = await t.post(cancel)
        assert {row["clientOid"] for row in answer["successList"]} == {"b", "c"}
        ended = {p["clientOid"]: p["planStatus"] for p in await history(t, "normal_plan")}
        assert ended == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}
        assert await t.refusal(cancel, orderIdList=[{"orderId": str(n)} for n in range(51)]) == "40912"


async def test_history_tells_what_a_fired_order_came_to() -> None:
    async with trader() as t:
        await t.order("buy", "2")
        stream = await t.listen("orders-algo")
        stop = {"planType": "loss_plan", "triggerPrice": "145", "size": "1", "holdSide": "buy", "clientOid": "sl"}
        await t.post("order/place-tpsl-order", **stop)
        await t.post("order/place-plan-order", **{**CONDITIONAL, "size": "9000"}, side="buy", triggerPrice="146")
        shift(t, "-4")
        await t.settle()
        told = [
            (row["planType"], row["status"], row["actualSize"]) for _, rows in await t.heard(stream) for row in rows
        ]
        assert told == [
            ("sl", "live", "0"),
            ("pl", "live", "0"),
            ("sl", "executing", "0"),
            ("sl", "executed", "1"),
            ("pl", "executing", "0"),
            ("pl", "fail_execute", "0"),
        ]
        (executed,) = await history(t, "profit_loss", planStatus="executed")
        sent = await t.get("order/detail", symbol=SYMBOL, orderId=executed["executeOrderId"])
        assert (sent["orderSource"], sent["state"], sent["baseVolume"]) == ("loss_market", "filled", "1")
        assert (executed["baseVolume"], executed["priceAvg"]) == ("1", sent["priceAvg"])
        (failed,) = await history(t, "normal_plan", planStatus="fail_execute")
        assert (failed["executeOrderId"], failed["baseVolume"]) == ("", "0")
        assert await history(t, "profit_loss", planStatus="cancelled") == []
