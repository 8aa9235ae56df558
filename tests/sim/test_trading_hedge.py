"""Hedge mode over REST and the private channels (protocol sections 7 and 8.2)."""

from __future__ import annotations

from typing import Any

from tests.sim.trader import SYMBOL, trader


async def test_sides_are_named_by_position_in_orders_and_by_direction_in_fills() -> None:
    async with trader() as t:
        assert await t.post("account/set-position-mode", posMode="hedge_mode") == {"posMode": "hedge_mode"}
        assert await t.refused_order("buy", "1") == "40774"
        stream = await t.listen("orders", "fill", "positions", "positions-history")
        await t.order("buy", "3", tradeSide="Open", clientOid="long")
        await t.order("sell", "2", tradeSide="open", clientOid="short")
        await t.order("buy", "3", tradeSide="close", clientOid="out")
        long, short, out = [await t.detail(name) for name in ("long", "short", "out")]
        members = ("side", "tradeSide", "posSide", "posMode", "reduceOnly", "state")
        assert [long[m] for m in members] == ["buy", "open", "long", "hedge_mode", "NO", "filled"]
        assert [short[m] for m in members] == ["sell", "open", "short", "hedge_mode", "NO", "filled"]
        assert [out[m] for m in members] == ["buy", "close", "long", "hedge_mode", "YES", "filled"]
        fills = (await t.get("order/fills", orderId=out["orderId"]))["fillList"]
        assert {(f["side"], f["tradeSide"], f["posMode"]) for f in fills} == {("sell", "close", "hedge_mode")}
        (position,) = await t.positions()
        assert [position[m] for m in ("holdSide", "posMode", "total")] == ["short", "hedge_mode", "2"]
        (closed,) = (await t.get("position/history-position"))["list"]
        assert [closed[m] for m in ("holdSide", "posMode", "closeTotalPos")] == ["long", "hedge_mode", "3"]
        bills = (await t.get("account/bill"))["bills"]
        assert {b["businessType"] for b in bills} == {"open_long", "open_short", "close_long"}
        pushes = await t.heard(stream)
        orders = [row for channel, rows in pushes if channel == "orders" for row in rows if row["clientOid"] == "out"]
        assert {(r["side"], r["tradeSide"], r["posSide"]) for r in orders} == {("buy", "close", "long")}
        executed = [row for channel, rows in pushes if channel == "fill" for row in rows if row["clientOid"] == "out"]
        assert {(r["side"], r["tradeSide"]) for r in executed} == {("sell", "close")}
        (gone,) = [row for channel, rows in pushes if channel == "positions-history" for row in rows]
        assert (gone["holdSide"], gone["posMode"]) == ("long", "hedge_mode")
        complete = [rows for channel, rows in pushes if channel == "positions" and len(rows) == 2]
        assert {row["holdSide"] for row in complete[-1]} == {"long", "short"}


async def test_flash_close_takes_one_side_or_both() -> None:
    async with trader() as t:
        await t.post("account/set-position-mode", posMode="hedge_mode")
        assert await t.refusal("order/close-positions") == "22002"
        for side in ("buy", "sell", "buy", "sell"):
            await t.order(side, "1", tradeSide="open")
        answer = await t.post("order/close-positions", holdSide="long")
        assert [row["symbol"] for row in answer["successList"]] == [SYMBOL]
        assert {p["holdSide"] for p in await t.positions()} == {"short"}
        await t.order("buy", "1", tradeSide="open")
        answer = await t.post("order/close-positions")
        assert len(answer["successList"]) == 2
        assert await t.positions() == []
        answer = await t.bench.rest.post("order/close-positions")
        assert (answer["successList"], answer["failureList"]) == ([], [])


async def test_leverage_of_isolated_hedge_positions_has_three_forms() -> None:
    async with trader() as t:
        await t.post("account/set-position-mode", posMode="hedge_mode")
        assert await t.refusal("account/set-leverage", leverage="5") == "40808"
        answer = await t.post("account/set-leverage", leverage="5", holdSide="long")
        assert (answer["longLeverage"], answer["shortLeverage"]) == ("5", "10")
        answer = await t.post("account/set-leverage", longLeverage="6", shortLeverage="7")
        assert (answer["longLeverage"], answer["shortLeverage"], answer["crossMarginLeverage"]) == ("6", "7", "10")
        assert await t.refusal("account/set-leverage", longLeverage="6", shortLeverage="7") == "40814"
        assert await t.refusal("account/set-leverage", longLeverage="6", shortLeverage="76") == "40797"
        account = await t.get("account/account", symbol=SYMBOL, marginCoin="USDT")
        settings = ("crossedMarginLeverage", "isolatedLongLever", "isolatedShortLever", "posMode")
        assert [account[name] for name in settings] == ["10", "6", "7", "hedge_mode"]
        await t.order("sell", "1", tradeSide="open")
        assert [p["leverage"] for p in await t.positions()] == ["7"]
        assert await t.refusal("account/set-position-mode", posMode="one_way_mode") == "40920"


async def test_stops_name_their_position() -> None:
    async with trader() as t:
        await t.post("account/set-position-mode", posMode="hedge_mode")
        for side in ("buy", "sell"):
            await t.order(side, "2", tradeSide="open")
        stop: dict[str, Any] = {"planType": "pos_loss", "triggerPrice": "140", "clientOid": "stop"}
        assert await t.refusal("order/place-tpsl-order", **stop, holdSide="buy") == "43011"
        await t.post("order/place-tpsl-order", **stop, holdSide="long")
        (plan,) = (await t.get("order/orders-plan-pending", planType="profit_loss"))["entrustedList"]
        members = ("side", "posSide", "tradeSide", "posMode", "size")
        assert [plan[m] for m in members] == ["buy", "long", "close", "hedge_mode", "2"]
        stops = {p["holdSide"]: p["stopLoss"] for p in await t.positions()}
        assert stops == {"long": "140", "short": ""}
        await t.post("order/close-positions", holdSide="short")
        assert (await t.get("order/orders-plan-pending", planType="profit_loss"))["entrustedList"] is not None
        await t.post("order/close-positions", holdSide="long")
        assert (await t.get("order/orders-plan-pending", planType="profit_loss"))["entrustedList"] is None


async def test_one_way_stops_are_named_by_the_side_that_opened() -> None:
    async with trader() as t:
        await t.order("buy", "2")
        stop = {"planType": "pos_loss", "triggerPrice": "140"}
        assert await t.refusal("order/place-tpsl-order", **stop, holdSide="long") == "43011"
        assert await t.refusal("order/place-tpsl-order", **stop, holdSide="sell") == "43023"
        await t.post("order/place-tpsl-order", **stop, holdSide="buy")
