"""The part of the ccxt session that trades: every kind of order, stops, both position modes."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import pytest

from tests.eventually import eventually
from tests.sim.ccxt_client import SYMBOL, settled
from tests.sim.ccxt_session import ISOLATED, OTHER, Session


async def plain_orders(session: Session) -> None:
    client, step = session.client, session.step
    with step("limit order"):
        resting = await client.create_order(SYMBOL, "limit", "buy", 1, 146, {"clientOrderId": "s-1", **ISOLATED})
        await settled(session.b)
    with step("fetch order"):
        order = await client.fetch_order(resting["id"], SYMBOL)
        assert (order["status"], order["clientOrderId"], order["price"]) == ("open", "s-1", 146.0)
    with step("fetch order by client id"):
        assert (await client.fetch_order("", SYMBOL, {"clientOid": "s-1"}))["id"] == resting["id"]
    with step("open orders"):
        assert [row["id"] for row in await client.fetch_open_orders(SYMBOL)] == [resting["id"]]
    with step("edit order"):
        await client.edit_order(resting["id"], SYMBOL, "limit", "buy", 2, 145.5)
        await settled(session.b)
        (edited,) = await client.fetch_open_orders(SYMBOL)
        assert (edited["price"], edited["amount"]) == (145.5, 2)
        assert edited["id"] != resting["id"]
    with step("cancel order"):
        await client.cancel_order(edited["id"], SYMBOL)
        assert await session.status(edited) == "canceled"
    with step("market order"):
        bought = await client.create_order(SYMBOL, "market", "buy", 3, None, {"clientOrderId": "s-2", **ISOLATED})
        assert await session.status(bought) == "closed"
    with step("my trades"):
        trades = await client.fetch_my_trades(SYMBOL)
        assert {trade["order"] for trade in trades} == {bought["id"]}
        assert sum(trade["amount"] for trade in trades) == pytest.approx(3)
        assert all(trade["fee"]["cost"] > 0 for trade in trades)
    with step("positions"):
        (position,) = await client.fetch_positions([SYMBOL])
        assert (position["side"], position["contracts"], position["leverage"]) == ("long", 3.0, 5.0)
        assert (position["marginMode"], position["hedged"]) == ("isolated", False)
    with step("position"):
        assert 0 < (await client.fetch_position(SYMBOL))["liquidationPrice"] < 150
    with step("the fill was told by push"):
        await eventually(lambda: (bought["id"], "closed") in {(row["id"], row["status"]) for row in client.orders})
        await eventually(lambda: [row["contracts"] for row in session.told_positions()] == [3.0])
    with step("add margin"):
        before = position["initialMargin"]
        await client.add_margin(SYMBOL, 20, {"holdSide": "long"})
        assert (await client.fetch_position(SYMBOL))["initialMargin"] == pytest.approx(before + 20, abs=0.01)
    with step("reduce margin"):
        await client.reduce_margin(SYMBOL, -8, {"holdSide": "long"})
        assert (await client.fetch_position(SYMBOL))["initialMargin"] == pytest.approx(before + 12, abs=0.01)


async def time_in_force(session: Session) -> None:
    client, step = session.client, session.step

    async def place(price: float, amount: float, side: str = "buy", **params: Any) -> dict[str, Any]:
        order: dict[str, Any] = await client.create_order(SYMBOL, "limit", side, amount, price, {**ISOLATED, **params})
        return order

    with step("IOC that finds nothing"):
        assert await session.status(await place(146, 1, timeInForce="IOC")) == "canceled"
    with step("IOC that finds a part"):
        partial = await place(155, 100, timeInForce="IOC")
        assert await session.status(partial) == "canceled"
        assert 0 < (await client.fetch_order(partial["id"], SYMBOL))["filled"] < 100
    with step("what it took is sold again, as the book allows"):
        async with asyncio.timeout(10):
            while (more := (await client.fetch_position(SYMBOL))["contracts"] - 3) > 0.05:
                reduce = {"reduceOnly": True, **ISOLATED}
                await client.create_order(SYMBOL, "market", "sell", min(20, more), None, reduce)
                await settled(session.b)
    with step("FOK that cannot be filled"):
        refused = await place(152, 200, timeInForce="FOK")
        assert await session.status(refused) == "canceled"
        assert (await client.fetch_order(refused["id"], SYMBOL))["filled"] == 0
    with step("FOK that can"):
        assert await session.status(await place(155, 1, timeInForce="FOK")) == "closed"
    with step("post-only that rests"):
        rests = await place(145, 1, postOnly=True)
        assert await session.status(rests) == "open"
        await client.cancel_order(rests["id"], SYMBOL)
    with step("post-only that would cross"):
        assert await session.status(await place(155, 1, postOnly=True)) == "canceled"
    with step("reduce-only limit"):
        reducing = await place(156, 1, "sell", reduceOnly=True)
        assert await session.status(reducing) == "open"
        assert (await client.fetch_order(reducing["id"], SYMBOL))["reduceOnly"] is True
        await client.cancel_order(reducing["id"], SYMBOL)
    with step("reduce-only market"):
        before = (await client.fetch_position(SYMBOL))["contracts"]
        sold = await client.create_order(SYMBOL, "market", "sell", 1, None, {"reduceOnly": True, **ISOLATED})
        assert await session.status(sold) == "closed"
        assert (await client.fetch_position(SYMBOL))["contracts"] == pytest.approx(before - 1)


async def batches(session: Session) -> None:
    client, step = session.client, session.step
    asked = [
        {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 1, "price": price, "params": ISOLATED}
        for price in (147, 146, 145, 144)
    ]
    with step("batch of orders"):
        placed = await client.create_orders(asked)
        await settled(session.b)
        assert len(await client.fetch_open_orders(SYMBOL)) == 4
    with step("cancel some"):
        await client.cancel_orders([order["id"] for order in placed[:2]], SYMBOL)
        await settled(session.b)
        assert len(await client.fetch_open_orders(SYMBOL)) == 2
    with step("cancel all"):
        await client.cancel_all_orders(SYMBOL)
        await settled(session.b)
        assert await client.fetch_open_orders(SYMBOL) == []


async def stops(session: Session) -> None:
    client, step = session.client, session.step

    async def pending(plan_type: str) -> list[str]:
        await settled(session.b)
        params = {"trigger": True, "planType": plan_type}
        return [row["id"] for row in await client.fetch_open_orders(SYMBOL, None, None, params)]

    with step("stop loss"):
        stop = await client.create_order(SYMBOL, "market", "sell", 1, None, {"stopLossPrice": 130, "holdSide": "buy"})
        assert await pending("profit_loss") == [stop["id"]]
    with step("take profit"):
        take = await client.create_order(SYMBOL, "market", "sell", 1, None, {"takeProfitPrice": 170, "holdSide": "buy"})
        assert set(await pending("profit_loss")) == {stop["id"], take["id"]}
    with step("cancel a stop"):
        await client.cancel_order(take["id"], SYMBOL, {"trigger": True, "planType": "pos_profit"})
        assert await pending("profit_loss") == [stop["id"]]
    with step("order with take profit and stop loss"):
        covered = {"takeProfit": {"triggerPrice": 171}, "stopLoss": {"triggerPrice": 131}, **ISOLATED}
        bought = await client.create_order(SYMBOL, "market", "buy", 1, None, covered)
        assert await session.status(bought) == "closed"
        assert len(await pending("profit_loss")) == 3
    with step("trigger order"):
        trigger = await client.create_order(SYMBOL, "limit", "buy", 1, 160, {"triggerPrice": 165, **ISOLATED})
        assert await pending("normal_plan") == [trigger["id"]]
    with step("edit trigger order"):
        await client.edit_order(trigger["id"], SYMBOL, "limit", "buy", 2, 161, {"triggerPrice": 166})
        await settled(session.b)
        params = {"trigger": True, "planType": "normal_plan"}
        (edited,) = await client.fetch_open_orders(SYMBOL, None, None, params)
        assert (edited["triggerPrice"], edited["amount"]) == (166, 2)
    with step("trailing order"):
        trailing = {"trailingPercent": "5", "trailingTriggerPrice": 168, **ISOLATED}
        trail = await client.create_order(SYMBOL, "market", "sell", 1, None, trailing)
        assert await pending("track_plan") == [trail["id"]]
    with step("cancel trigger orders"):
        await client.cancel_order(trigger["id"], SYMBOL, {"trigger": True})
        await client.cancel_order(trail["id"], SYMBOL, {"trigger": True, "planType": "track_plan"})
        assert await pending("normal_plan") == await pending("track_plan") == []
    with step("cancel all stops"):
        await client.cancel_all_orders(SYMBOL, {"trigger": True, "planType": "loss_plan"})
        assert stop["id"] in await pending("profit_loss")


async def closing(session: Session) -> None:
    client, step = session.client, session.step
    with step("wait for funding"):
        bills: list[Any] = []
        async with asyncio.timeout(20):
            while not bills:
                bills = await client.fetch_funding_history(SYMBOL)
                await settled(session.b)
        assert bills[0]["amount"] < 0
    with step("close position"):
        await client.close_position(SYMBOL)
        await settled(session.b)
        assert await client.fetch_positions([SYMBOL]) == []
    with step("the flat position was told by push"):
        await eventually(lambda: client.myTrades[-1]["side"] == "sell" and not session.told_positions())
    with step("a short opened and all positions closed"):
        await client.create_order(SYMBOL, "market", "sell", 1, None, ISOLATED)
        await client.create_order(OTHER, "market", "buy", 1, None, ISOLATED)
        await settled(session.b)
        assert {position["side"] for position in await client.fetch_positions()} == {"short", "long"}
        await client.close_all_positions()
        await settled(session.b)
        assert await client.fetch_positions() == []


async def hedge_mode(session: Session) -> None:
    client, step = session.client, session.step
    hedged = {"hedged": True, **ISOLATED}
    with step("hedge mode"):
        await client.set_position_mode(True, SYMBOL)
    with step("leverage of one side"):
        await client.set_leverage(3, SYMBOL, {"holdSide": "long"})
        leverage = await client.fetch_leverage(SYMBOL)
        assert (leverage["longLeverage"], leverage["shortLeverage"]) == (3, 5)
    with step("both sides are held at once"):
        for side in ("buy", "sell"):
            await client.create_order(SYMBOL, "market", side, 1, None, hedged)
        await settled(session.b)
        positions = await client.fetch_positions([SYMBOL])
        assert {(row["side"], row["contracts"], row["hedged"]) for row in positions} == {
            ("long", 1.0, True),
            ("short", 1.0, True),
        }
    with step("a one-way order is refused"), pytest.raises(ccxt.InvalidOrder):
        await client.create_order(SYMBOL, "market", "buy", 1, None, ISOLATED)
    with step("each side is closed by its own order"):
        for side in ("sell", "buy"):
            closing = await client.create_order(SYMBOL, "market", side, 1, None, {**hedged, "reduceOnly": True})
            assert await session.status(closing) == "closed"
            assert (await client.fetch_order(closing["id"], SYMBOL))["side"] == side
        assert await client.fetch_positions([SYMBOL]) == []
    with step("back to one-way"):
        await client.set_position_mode(False, SYMBOL)
