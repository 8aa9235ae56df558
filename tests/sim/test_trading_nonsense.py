"""Whatever a client sends to a private endpoint, it gets an answer or a refusal with a code."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from tests.sim.trader import SYMBOL, trader
from tradebot.matching.orders import OrderRefused
from tradebot.sim.front import ROUTES
from tradebot.sim.params import Params
from tradebot.sim.wire import Refusal

NAMES = [
    "symbol",
    "productType",
    "marginCoin",
    "marginMode",
    "size",
    "price",
    "side",
    "tradeSide",
    "orderType",
    "force",
    "clientOid",
    "reduceOnly",
    "stpMode",
    "presetStopLossPrice",
    "presetStopSurplusPrice",
    "presetStopLossExecutePrice",
    "orderId",
    "newSize",
    "newPrice",
    "newClientOid",
    "newPresetStopLossPrice",
    "orderList",
    "orderIdList",
    "planType",
    "triggerPrice",
    "triggerType",
    "executePrice",
    "holdSide",
    "rangeRate",
    "callbackRatio",
    "stopLossTriggerPrice",
    "stopSurplusTriggerPrice",
    "stopLossSize",
    "newTriggerPrice",
    "newCallbackRatio",
    "leverage",
    "longLeverage",
    "shortLeverage",
    "posMode",
    "assetMode",
    "amount",
    "posSide",
    "openPrice",
    "idLessThan",
    "startTime",
    "endTime",
    "limit",
    "status",
    "businessType",
    "onlyFunding",
    "coin",
    "planStatus",
    "requestTime",
    "receiveWindow",
]
USUAL: dict[str, list[Any]] = {
    "symbol": [SYMBOL],
    "productType": ["USDT-FUTURES"],
    "marginCoin": ["USDT"],
    "marginMode": ["isolated", "crossed"],
    "side": ["buy", "sell"],
    "orderType": ["limit", "market"],
    "size": ["1", 2, "0.1"],
    "price": ["149", "151.5", 150],
    "triggerPrice": ["140", "160", 150.5],
    "planType": ["normal_plan", "track_plan", "pos_loss", "loss_plan", "moving_plan", "profit_loss"],
    "holdSide": ["buy", "sell", "long", "short"],
    "tradeSide": ["", "open", "close"],
    "posMode": ["one_way_mode", "hedge_mode"],
    "callbackRatio": ["1"],
    "rangeRate": ["1"],
    "posSide": ["long", "short"],
    "leverage": ["5", "20"],
    "clientOid": ["a", "b", "c"],
    "newClientOid": ["b", "d"],
    "newPrice": ["148"],
    "newSize": ["1"],
    "amount": ["1", "-1"],
}
NONSENSE: list[Any] = [
    "", "0", "-1", "NaN", "Infinity", "1e40", "1E-40", "9" * 30, "0.00001", "1,5", "ä", "\u0661", "null", "TRUE",
    "x" * 5000, None, True, 0, -1, 10**30, 1e300, 0.1, [], {}, [[]], [{}], [{"size": "1"}], ["a"], [None], {"a": 1},
]  # fmt: skip


def body(rng: random.Random) -> dict[str, Any]:
    """A request that is sensible here and there."""
    values = {name: rng.choice(choices) for name, choices in USUAL.items() if rng.random() < 0.9}
    for _ in range(rng.randrange(3)):
        values[rng.choice(NAMES)] = rng.choice(NONSENSE)
    return values


@pytest.mark.parametrize("seed", range(4))
async def test_nonsense_is_refused_and_breaks_nothing(seed: int) -> None:
    rng = random.Random(seed)
    private = sorted(key for key, route in ROUTES.table.items() if route.private)
    answered = 0
    async with trader() as t:
        for n in range(1500):
            method, path = rng.choice(private)
            if path.endswith("set-position-mode") and n % 5:
                continue
            values = body(rng)
            with suppress(Refusal, OrderRefused):
                ROUTES.table[(method, path)].endpoint(t.bench.server.exchange, Params(values))
                answered += 1
            if n % 40 == 0:
                await t.settle()
        await t.settle()
        summary = t.venue.summary()
        assert summary.equity == summary.cash + sum(r.unrealised for r in t.venue.positions())
        assert summary.cash == 10_000 + sum(b.amount + b.fee for b in t.venue.bills())
    assert answered > 300
