"""Faults in the exchange's own state: the contract and the account change without the client's doing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.sim.clients import Bench, Paced, Refused, bench
from tests.sim.faulty import faults, injected, pushes, walk
from tests.sim.walk import START_MS, WalkSource

WINDOW = {"from": "1m", "for": "1m"}


async def contract(b: Bench) -> dict[str, Any]:
    row: dict[str, Any] = (await b.rest.public("contracts", symbol="SOLUSDT"))[0]
    return row


async def refusal(b: Bench, side: str = "buy", **more: Any) -> str:
    """Code that an order is refused with, "" when it is accepted."""
    try:
        await b.rest.order(side, "1", **more)
    except Refused as refused:
        return str(refused.code)
    return ""


async def until(b: Bench, paced: Paced, after_ms: int) -> None:
    """Step to that time after the market's start: orders on their way make steps of their own."""
    while b.server.exchange.clock.now_ms < START_MS + after_ms:
        await paced.step()


async def at_the_fault(b: Bench) -> Paced:
    paced = await b.paced()
    await paced.attach()
    await until(b, paced, 60_000)
    return paced


@pytest.mark.parametrize(
    ("rule", "status", "moment", "opening", "closing"),
    [
        ({"kind": "maintenance"}, "maintain", "maintainTime", "40844", "40844"),
        ({"kind": "delisting"}, "limit_open", "limitOpenTime", "45119", ""),
        ({"kind": "delisting", "status": "off"}, "off", "offTime", "40845", "40845"),
    ],
)
async def test_a_contract_that_is_closed_for_a_time(
    rule: dict[str, Any], status: str, moment: str, opening: str, closing: str
) -> None:
    async with bench([WalkSource()], faults=faults({**rule, **WINDOW})) as b:
        await b.rest.order("buy", "2")
        before = await contract(b)
        paced = await at_the_fault(b)
        during = await contract(b)
        assert {name for name in before if before[name] != during[name]} == {"symbolStatus", moment}
        assert (during["symbolStatus"], during[moment]) == (status, str(START_MS + 60_000))
        assert await refusal(b) == opening
        assert await refusal(b, "sell", reduceOnly="YES") == closing
        await until(b, paced, 120_000)
        assert await contract(b) == before
        assert await refusal(b) == ""
        assert injected(b) == {(rule["kind"], "rest"): 1}


async def test_a_contract_that_is_gone_is_not_listed_for_a_time_and_takes_no_orders() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "delisting", "status": "gone", **WINDOW})) as b:
        before = await contract(b)
        paced = await at_the_fault(b)
        assert await b.rest.public("contracts") == []
        with pytest.raises(Refused, match="40034"):
            await contract(b)
        assert await refusal(b) == "40845"
        await until(b, paced, 120_000)
        assert await contract(b) == before
        assert await b.rest.public("contracts") == [before]
        assert await refusal(b) == ""


async def test_a_coarser_tick_is_told_and_enforced_while_older_orders_stand() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "tick_change", **WINDOW})) as b:
        await b.rest.order("buy", "1", price="145.001", clientOid="older")
        paced = await at_the_fault(b)
        row = await contract(b)
        assert Decimal(row["priceEndStep"]).scaleb(-int(row["pricePlace"])) == Decimal("0.005")
        assert await refusal(b, price="145.001") == "45115"
        assert await refusal(b, presetStopLossPrice="140.001") == "45115"
        assert await refusal(b, price="145.005") == ""
        listed = await b.rest.private("order/orders-pending", symbol="SOLUSDT")
        assert "older" in [order["clientOid"] for order in listed["entrustedList"]]
        await until(b, paced, 120_000)
        assert await refusal(b, price="145.001") == ""


async def leverage(b: Bench) -> str:
    row = await b.rest.private("account/account", symbol="SOLUSDT", marginCoin="USDT")
    return str(row["isolatedLongLever"])


async def test_leverage_changed_by_somebody_else_comes_back_afterwards() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "leverage_changed_outside", **WINDOW})) as b:
        before = await leverage(b)
        paced = await at_the_fault(b)
        assert await leverage(b) == "3" != before
        await until(b, paced, 120_000)
        assert await leverage(b) == before
        assert injected(b) == {("leverage_changed_outside", "rest"): 1}


async def test_leverage_is_changed_as_soon_as_open_orders_allow_it() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "leverage_changed_outside", "from": "1m"})) as b:
        await b.rest.order("buy", "1", price="145", clientOid="resting")
        before = await leverage(b)
        paced = await at_the_fault(b)
        assert await leverage(b) == before
        await b.rest.post("order/cancel-order", symbol="SOLUSDT", clientOid="resting")
        for _ in range(3):
            await paced.step()
        assert await leverage(b) == "3"


@pytest.mark.parametrize("by", ["liquidation", "person"])
async def test_a_position_is_closed_from_outside_once(by: str) -> None:
    async with bench([WalkSource()], faults=faults({"kind": "position_closed_outside", "by": by, "from": "1m"})) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.private_stream("orders", "positions")
        await walk(paced, stream, 4)
        assert injected(b) == {}, "there is nothing to close yet"
        await b.rest.order("buy", "2", clientOid="ours")
        told = await walk(paced, stream, 4)
        rows = [push["data"][0] for step in told for push in pushes(step, "orders")]
        foreign = [row for row in rows if row["clientOid"] != "ours"]
        assert {row["side"] for row in foreign} == {"sell"}
        assert foreign[-1]["status"] == "filled"
        if by == "liquidation":
            assert {(row["enterPointSource"], row["tradeSide"]) for row in foreign} == {("SYS", "burst_sell_single")}
        assert not b.server.exchange.venue.account.positions
        assert injected(b) == {("position_closed_outside", "private"): 1}
        await b.rest.order("buy", "2")
        await walk(paced, stream, 3)
        assert b.server.exchange.venue.account.positions
