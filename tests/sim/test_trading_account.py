"""Margin, liquidation and lists over REST (protocol sections 7 and 8)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.sim.trader import SYMBOL, trader
from tradebot.market.candle import DAY_MS


async def test_margin_is_added_to_an_isolated_position_and_taken_back() -> None:
    async with trader() as t:
        margin = {"holdSide": "long"}
        assert await t.refusal("account/set-margin", **margin, amount="10") == "22002"
        await t.order("buy", "2")
        (before,) = await t.positions()
        free = Decimal((await t.get("account/accounts"))[0]["isolatedMaxAvailable"])
        assert await t.post("account/set-margin", **margin, amount="10") == ""
        (after,) = await t.positions()
        assert Decimal(after["marginSize"]) == Decimal(before["marginSize"]) + 10
        assert Decimal(after["liquidationPrice"]) < Decimal(before["liquidationPrice"])
        assert Decimal(after["marginRatio"]) < Decimal(before["marginRatio"])
        assert Decimal((await t.get("account/accounts"))[0]["isolatedMaxAvailable"]) == free - 10
        assert await t.refusal("account/set-margin", **margin, amount="-11") == "40800"
        assert await t.refusal("account/set-margin", **margin, amount="1000000") == "43012"
        await t.post("account/set-margin", **margin, amount="-5")
        assert Decimal((await t.positions())[0]["marginSize"]) == Decimal(before["marginSize"]) + 5


async def test_leverage_is_refused_with_orders_and_without_the_margin_for_it() -> None:
    async with trader(cash="70") as t:
        assert await t.refusal("account/set-leverage") == "40019"
        assert await t.refusal("account/set-leverage", leverage="x") == "40020"
        await t.order("buy", "2")
        assert await t.refusal("account/set-leverage", leverage="2") == "40893"
        await t.order("buy", "0.1", price="148", clientOid="o")
        assert await t.refusal("account/set-leverage", leverage="9") == "40730"
        assert await t.refusal("account/set-margin-mode", marginMode="isolated") == "45117"


async def test_max_open_is_what_an_order_may_have() -> None:
    async with trader(cash="500") as t:
        query = {"symbol": SYMBOL, "marginCoin": "USDT", "orderType": "limit", "openPrice": "149"}
        most = Decimal((await t.get("account/max-open", **query, posSide="long"))["maxOpen"])
        assert await t.refused_order("buy", str(most + Decimal("0.1")), price="149") == "40762"
        await t.order("buy", str(most), price="149")
        assert await t.refused_query("account/max-open", symbol=SYMBOL, orderType="limit", posSide="long") == "40019"


async def test_the_tiers_that_are_told_decide_what_a_leverage_may_hold() -> None:
    async with trader(cash="100000000") as t:
        tiers = await t.bench.rest.public("query-position-lever", symbol=SYMBOL)
        assert len(tiers) > 1
        leverage = int(tiers[0]["leverage"])
        await t.post("account/set-leverage", leverage=str(leverage))
        price = Decimal(149)
        most = (Decimal(tiers[0]["endUnit"]) / price).quantize(Decimal("0.1"), "ROUND_FLOOR")
        assert await t.refused_order("buy", str(most + Decimal("0.1")), price=str(price)) == "40762"
        await t.order("buy", str(most), price=str(price))
        await t.post("order/cancel-all-orders")
        whole = Decimal(tiers[-1]["endUnit"]) / price
        await t.post("account/set-leverage", leverage="1")
        assert await t.refused_order("buy", str(whole.quantize(Decimal(1)) + 1), price=str(price)) == "40921"


async def test_a_liquidation_is_told_as_an_order_of_the_system() -> None:
    async with trader(cash="1000") as t:
        await t.post("account/set-leverage", leverage="50")
        await t.order("buy", "100")
        stop = {"planType": "pos_loss", "triggerPrice": "100", "holdSide": "buy"}
        await t.post("order/place-tpsl-order", **stop)
        (position,) = await t.positions()
        stream = await t.listen("orders", "fill", "positions", "account", "positions-history", "orders-algo")
        mark = Decimal(position["liquidationPrice"]).quantize(Decimal("0.001"), "ROUND_FLOOR")
        t.venue.set_mark(SYMBOL, mark, t.now_ms)
        await t.settle()
        pushes = await t.heard(stream)
        orders = [row for channel, rows in pushes if channel == "orders" for row in rows]
        assert {(o["enterPointSource"], o["tradeSide"], o["side"]) for o in orders} == {
            ("SYS", "burst_sell_single", "sell")
        }
        first = [channel for channel, _ in pushes[:3]]
        assert first == ["orders", "orders", "fill"]
        detail = await t.get("order/detail", symbol=SYMBOL, orderId=orders[0]["orderId"])
        assert (detail["orderSource"], detail["enterPointSource"]) == ("liquidation", "SYS")
        assert {b["businessType"] for b in (await t.get("account/bill"))["bills"]} == {"buy", "burst_sell"}


async def test_a_crossed_position_stands_on_the_whole_account() -> None:
    async with trader(cash="1000") as t:
        await t.post("account/set-margin-mode", marginMode="crossed")
        await t.order("buy", "20", marginMode="crossed")
        (position,) = await t.positions()
        account = (await t.get("account/accounts"))[0]
        assert position["marginMode"] == "crossed"
        assert position["marginRatio"] == account["crossedRiskRate"]
        size, entry = Decimal(20), Decimal(position["openPriceAvg"])
        cash = Decimal(account["accountEquity"]) - Decimal(account["unrealizedPL"])
        # equity at the price = maintenance and closing fee there
        price = (size * entry - cash) / (size * (1 - Decimal("0.0056")))
        assert abs(Decimal(position["liquidationPrice"]) - price) < Decimal("1e-6")
        assert await t.refusal("account/set-margin", holdSide="long", amount="1") == "40808"


@pytest.mark.parametrize(
    ("name", "query", "longest_days", "code"),
    [
        ("order/orders-history", {}, 90, "40705"),
        ("order/fill-history", {}, 7, "00001"),
        ("account/bill", {}, 30, "00001"),
        ("position/history-position", {}, 90, "40705"),
        ("order/orders-plan-history", {"planType": "normal_plan"}, 90, "40705"),
    ],
)
async def test_windows_of_what_has_ended(name: str, query: dict[str, str], longest_days: int, code: str) -> None:
    async with trader() as t:
        now = t.now_ms
        assert await t.refused_query(name, **query, startTime=now, endTime=now - 1) == "40707"
        assert await t.refused_query(name, **query, startTime=now - 91 * DAY_MS, endTime=now) == "40704"
        start = now - 60 * DAY_MS
        too_long = start + longest_days * DAY_MS + 1
        assert await t.refused_query(name, **query, startTime=start, endTime=too_long) == code
        listed = await t.get(name, **query, startTime=start, endTime=too_long - 1)
        assert set(listed.values()) == {None}


async def test_pending_and_past_orders_are_filtered() -> None:
    async with trader() as t:
        await t.order("buy", "1", clientOid="in")
        await t.order("buy", "1", price="148", clientOid="rests")
        await t.order("buy", "1", price="148", clientOid="gone")
        await t.post("order/cancel-order", clientOid="gone")
        rests = await t.detail("rests")

        async def names(list_: str, **query: str) -> list[str]:
            return [row["clientOid"] for row in (await t.get(f"order/{list_}", **query))["entrustedList"] or ()]

        assert await names("orders-pending") == ["rests"]
        assert await names("orders-pending", orderId=rests["orderId"]) == ["rests"]
        assert await names("orders-pending", clientOid="in") == []
        assert await names("orders-pending", status="partially_filled") == []
        assert await names("orders-history") == ["gone", "in"]
        assert await names("orders-history", orderSource="market") == ["in"]
        assert await names("orders-history", status="canceled") == ["gone"]
        assert await names("orders-history", limit="1") == ["gone"]
        assert await names("orders-history", idLessThan=rests["orderId"]) == ["in"]
        assert await names("orders-history", startTime=str(t.now_ms + 1)) == []


async def test_bills_are_filtered_and_paged() -> None:
    async with trader() as t:
        await t.order("buy", "1")
        await t.order("sell", "1")
        bills = (await t.get("account/bill"))["bills"]
        assert [b["businessType"] for b in bills[-1:]] == ["buy"]
        assert {b["businessType"] for b in (await t.get("account/bill", businessType="sell"))["bills"]} == {"sell"}
        assert (await t.get("account/bill", onlyFunding="yes"))["bills"] is None
        assert (await t.get("account/bill", coin="BTC"))["bills"] is None
        page = await t.get("account/bill", limit=1)
        rest = await t.get("account/bill", idLessThan=page["endId"])
        assert page["bills"] + (rest["bills"] or []) == bills
