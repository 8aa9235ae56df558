"""Rows of lists and pushes have the members of the documented samples and of recorded traffic."""

from __future__ import annotations

import decimal
import json
from typing import Any

import pytest

from tests.shared import shared_path
from tests.sim.trader import SYMBOL, Trader, trader

CHANNELS = {
    "orders": "Order-Channel",
    "positions": "Positions-Channel",
    "positions-history": "History-Positions-Channel",
    "account": "Account-Channel",
}
LISTS = {
    "contract__plan__orders-plan-history": ("order/orders-plan-history", {"planType": "profit_loss"}, "entrustedList"),
    "contract__position__Get-History-Position": ("position/history-position", {}, "list"),
    "contract__trade__Get-Orders-Pending": ("order/orders-pending", {}, "entrustedList"),
}
COMMENTS = {
    "fetch_canceled_and_closed_orders_03": ("order/orders-history", {}, "entrustedList"),
    "fetch_my_trades_02": ("order/fills", {}, "fillList"),
    "fetch_ledger_03": ("account/bill", {}, "bills"),
}
ALGO = (
    "instId orderId clientOid triggerPrice triggerType triggerTime planType price executePrice size "
    "actualSize orderType side tradeSide posSide marginCoin status posMode enterPointSource "
    "stopSurplusPrice stopSurplusTriggerPrice stopSurplusTriggerType stopLossPrice stopLossTriggerPrice "
    "stopLossTriggerType stpMode cTime uTime"
)
"""Members of a row of the ``orders-algo`` channel (protocol section 10.5)."""


async def trade(t: Trader) -> None:
    """Something of every list, of both sides."""
    await t.post("account/set-position-mode", posMode="hedge_mode")
    for side in ("buy", "sell"):
        await t.order(side, "2", tradeSide="open", presetStopLossPrice="140" if side == "buy" else "160")
    await t.post("order/close-positions", holdSide="short")
    await t.order("buy", "1", tradeSide="open", price="148")


def first_row(data: Any) -> dict[str, Any]:
    return dict(data[0] if isinstance(data, list) else data)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_pushes_have_the_documented_members(channel: str) -> None:
    pages = json.loads(shared_path("data/bitget_fixtures/docs_samples.json").read_text())
    examples = pages[f"contract__websocket__private__{CHANNELS[channel]}"]["examples"]
    documented = first_row(next(e["json"]["data"] for e in examples if e["kind"] == "ws_push"))
    async with trader() as t:
        stream = await t.listen(channel)
        await trade(t)
        rows = [row for _, rows in await t.heard(stream) for row in rows]
        assert rows
        assert all(set(documented) <= set(row) for row in rows)


async def test_a_trigger_order_is_pushed_with_all_its_members() -> None:
    async with trader() as t:
        stream = await t.listen("orders-algo")
        await trade(t)
        rows = [row for _, rows in await t.heard(stream) for row in rows]
        assert rows
        assert all(set(row) == set(ALGO.split()) for row in rows)


@pytest.mark.parametrize("page", LISTS)
async def test_lists_have_the_documented_members(page: str) -> None:
    pages = json.loads(shared_path("data/bitget_fixtures/docs_samples.json").read_text())
    name, query, member = LISTS[page]
    answer = next(e["json"] for e in pages[page]["examples"] if e["kind"] == "response")
    async with trader() as t:
        await trade(t)
        rows = (await t.get(name, **query))[member]
        assert set(first_row(answer["data"][member])) <= set(rows[0])


@pytest.mark.parametrize("sample", COMMENTS)
async def test_lists_have_the_members_of_live_answers(sample: str) -> None:
    comments = json.loads(shared_path("data/bitget_fixtures/ccxt_comments.json").read_text())
    name, query, member = COMMENTS[sample]
    async with trader() as t:
        await trade(t)
        rows = (await t.get(name, **query))[member]
        assert set(first_row(comments[sample]["json"]["data"][member])) <= set(rows[0])
        assert all(row["symbol"] == SYMBOL for row in rows)


async def told() -> list[Any]:
    """Everything the exchange tells of a short session."""
    async with trader() as t:
        stream = await t.listen(*CHANNELS)
        await trade(t)
        answers = [await t.positions(), await t.get("account/accounts"), await t.get("account/bill")]
        answers += [await t.get(name, **query) for name, query, _ in LISTS.values()]
        return [*answers, await t.heard(stream)]


async def test_the_decimal_context_of_the_thread_changes_no_answer() -> None:
    expected = await told()
    before = decimal.getcontext()
    decimal.setcontext(decimal.Context(prec=6, rounding=decimal.ROUND_UP, traps=[decimal.InvalidOperation]))
    try:
        assert await told() == expected
    finally:
        decimal.setcontext(before)
