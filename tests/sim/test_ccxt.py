"""An unmodified ccxt and ccxt.pro client trades on the embedded exchange (protocol section 12)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from tests.eventually import eventually
from tests.sim.clients import Bench, bench
from tests.sim.walk import BASE_MS, MOVE_MS, START_MS, WalkSource
from tradebot.market.candle import DAY_MS, interval_start

SYMBOL = "SOL/USDT:USDT"
STEPS_PER_SECOND = 20
SPEED = MOVE_MS / 1000 * STEPS_PER_SECOND


def _point_at(client: Any, b: Bench) -> None:
    for name, url in list(client.urls["api"].items()):
        if not isinstance(url, dict):
            client.urls["api"][name] = b.server.rest_url
    ws = b.server.ws_url + "/v2/ws/"
    streams = {"public": ws + "public", "private": ws + "private"}
    for name in ("ws", "demo"):
        client.urls["api"][name] = {**streams, "utaPublic": ws + "public", "utaPrivate": ws + "private"}


KEYS = {"apiKey": "demo-key", "secret": "demo-secret", "password": "demo-pass", "enableRateLimit": False}


@asynccontextmanager
async def _client(b: Bench, module: Any = ccxt.async_support) -> AsyncIterator[Any]:
    client = module.bitget({**KEYS, "options": {"defaultType": "swap"}})
    _point_at(client, b)
    try:
        yield client
    finally:
        await client.close()


async def _settled(b: Bench) -> None:
    """Wait until everything sent so far has acted."""
    clock = b.server.exchange.clock
    step = clock.step
    await eventually(lambda: clock.step >= step + 2)


async def test_markets_time_and_market_data() -> None:
    source = WalkSource(steps=100)
    async with bench([source, WalkSource("BTCUSDT", steps=100)], hold=False) as b, _client(b) as client:
        await eventually(lambda: b.server.exchange.clock.ended)
        markets = await client.load_markets()
        assert set(markets) == {SYMBOL, "BTC/USDT:USDT"}
        market = client.market(SYMBOL)
        assert (market["precision"]["price"], market["precision"]["amount"]) == (0.001, 0.1)
        assert (market["active"], market["linear"], market["limits"]["cost"]["min"]) == (True, True, 5.0)
        now = await client.fetch_time()
        assert now == START_MS + 99 * MOVE_MS
        ticker = await client.fetch_ticker(SYMBOL)
        assert ticker["bid"] < ticker["ask"]
        assert ticker["last"] > 0
        assert SYMBOL in await client.fetch_tickers([SYMBOL])
        book = await client.fetch_order_book(SYMBOL, 5)
        assert [len(book["bids"]), len(book["asks"])] == [5, 5]
        assert (book["bids"][0][0], book["asks"][0][0]) == (ticker["bid"], ticker["ask"])
        trades = await client.fetch_trades(SYMBOL, limit=50)
        assert len(trades) == 50
        assert trades == sorted(trades, key=lambda trade: trade["timestamp"])
        rate = await client.fetch_funding_rate(SYMBOL)
        assert rate["fundingRate"] == 0.0001
        assert (await client.fetch_open_interest(SYMBOL))["openInterestAmount"] > 0
        assert (await client.fetch_mark_price(SYMBOL))["markPrice"] > 0
        assert (await client.fetch_market_leverage_tiers(SYMBOL))[0]["maxLeverage"] == 75


async def test_candles_page_without_a_gap_or_a_duplicate() -> None:
    # ccxt pages towards its own clock, so this market trades today
    today = interval_start(int(time.time() * 1000), BASE_MS) - 10 * BASE_MS
    source = WalkSource(steps=100, start_ms=today)
    async with bench([source], hold=False) as b, _client(b) as client:
        await eventually(lambda: b.server.exchange.clock.ended)
        now = b.server.exchange.now_ms
        since = today - 2 * DAY_MS
        # rows nearest endTime are kept, so a window that begins on a boundary would lose its first row
        paged = await client.fetch_ohlcv(SYMBOL, "5m", since - 1, 450, {"paginate": True})
        recorded = source.candles("5m", since, now, now)[:450]
        assert [row[:6] for row in paged] == [
            [c.open_time_ms, c.open, c.high, c.low, c.close, c.volume] for c in recorded
        ]
        recent = await client.fetch_ohlcv(SYMBOL, "5m", limit=5)
        assert [row[0] for row in recent] == [interval_start(now, BASE_MS) - i * BASE_MS for i in (4, 3, 2, 1, 0)]


async def test_candles_of_a_market_long_ago_come_from_history() -> None:
    async with bench([WalkSource()]) as b, _client(b) as client:
        hours = await client.fetch_ohlcv(SYMBOL, "1h", START_MS - DAY_MS - 1, 20)
        assert [row[0] for row in hours] == [START_MS - DAY_MS + i * 12 * BASE_MS for i in range(20)]
        days = await client.fetch_ohlcv(SYMBOL, "1d", START_MS - 3 * DAY_MS - 1, 2)
        assert [row[0] for row in days] == [START_MS - 3 * DAY_MS, START_MS - 2 * DAY_MS]


async def test_settings_orders_and_positions_over_rest() -> None:
    async with bench([WalkSource(steps=100_000)], hold=False, speed=SPEED) as b, _client(b) as client:
        await client.load_markets()
        balance = await client.fetch_balance({"type": "swap"})
        assert (balance["USDT"]["total"], balance["USDT"]["free"]) == (10_000.0, 10_000.0)
        await client.set_position_mode(False, SYMBOL)
        await client.set_margin_mode("isolated", SYMBOL)
        await client.set_leverage(5, SYMBOL)
        leverage = await client.fetch_leverage(SYMBOL)
        assert (leverage["longLeverage"], leverage["marginMode"]) == (5, "isolated")
        assert (await client.fetch_trading_fee(SYMBOL))["taker"] == 0.0006

        resting = await client.create_order(SYMBOL, "limit", "buy", 1, 148, {"clientOrderId": "c-1"})
        await _settled(b)
        fetched = await client.fetch_order(resting["id"], SYMBOL)
        assert (fetched["status"], fetched["clientOrderId"], fetched["price"]) == ("open", "c-1", 148.0)
        assert [order["id"] for order in await client.fetch_open_orders(SYMBOL)] == [resting["id"]]
        await client.cancel_order(resting["id"], SYMBOL)
        await _settled(b)
        assert await client.fetch_open_orders(SYMBOL) == []
        assert [order["id"] for order in await client.fetch_canceled_orders(SYMBOL)] == [resting["id"]]

        bought = await client.create_order(SYMBOL, "market", "buy", 2, None, {"marginMode": "isolated"})
        await _settled(b)
        filled = await client.fetch_order(bought["id"], SYMBOL)
        assert (filled["status"], filled["filled"]) == ("closed", 2.0)
        trades = await client.fetch_my_trades(SYMBOL)
        assert {trade["order"] for trade in trades} == {bought["id"]}
        assert sum(trade["amount"] for trade in trades) == pytest.approx(2.0)
        assert all(trade["fee"]["cost"] > 0 for trade in trades)
        (position,) = await client.fetch_positions([SYMBOL])
        assert (position["side"], position["contracts"], position["leverage"]) == ("long", 2.0, 5.0)
        assert (await client.fetch_position(SYMBOL))["marginMode"] == "isolated"
        stop = await client.create_order(SYMBOL, "market", "sell", 2, None, {"stopLossPrice": 130, "holdSide": "buy"})
        await _settled(b)
        plans = await client.fetch_open_orders(SYMBOL, None, None, {"trigger": True, "planType": "profit_loss"})
        assert [plan["id"] for plan in plans] == [stop["id"]]
        with pytest.raises(ccxt.InsufficientFunds):
            await client.create_order(SYMBOL, "market", "buy", 100_000)
        with pytest.raises(ccxt.OrderNotFound):
            await client.fetch_order("1", SYMBOL)
        await client.close_position(SYMBOL)
        await _settled(b)
        assert await client.fetch_positions([SYMBOL]) == []
        closed = await client.fetch_closed_orders(SYMBOL)
        assert [order["id"] for order in closed][:1] == [bought["id"]]
        assert len(await client.fetch_positions_history([SYMBOL])) == 1
        assert len(await client.fetch_ledger("USDT", params={"type": "swap"})) >= 2


async def test_a_limit_order_is_placed_edited_and_cancelled_with_all_others() -> None:
    async with bench([WalkSource(steps=100_000)], hold=False, speed=SPEED) as b, _client(b) as client:
        first = await client.create_order(SYMBOL, "limit", "buy", 1, 148, {"postOnly": True})
        await client.create_orders(
            [{"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 1, "price": price} for price in (147, 146)]
        )
        await _settled(b)
        await client.edit_order(first["id"], SYMBOL, "limit", "buy", 2, 147.5)
        await _settled(b)
        orders = await client.fetch_open_orders(SYMBOL)
        assert sorted((order["price"], order["amount"]) for order in orders) == [(146, 1), (147, 1), (147.5, 2)]
        await client.cancel_all_orders(SYMBOL)
        await _settled(b)
        assert await client.fetch_open_orders(SYMBOL) == []


async def test_wrong_credentials_are_an_authentication_error() -> None:
    async with bench([WalkSource()]) as b:
        for change in ({"apiKey": "x"}, {"secret": "x"}, {"password": "x"}):
            client = ccxt.async_support.bitget({**KEYS, **change, "options": {"defaultType": "swap"}})
            _point_at(client, b)
            try:
                with pytest.raises(ccxt.AuthenticationError):
                    await client.fetch_balance({"type": "swap"})
            finally:
                await client.close()


async def test_public_streams_with_checksum_validation() -> None:
    async with bench([WalkSource(steps=100_000)], hold=False, speed=SPEED) as b, _client(b, ccxt.pro) as client:
        await client.load_markets()
        client.options["watchOrderBook"] = {**client.options.get("watchOrderBook", {}), "checksum": True}
        seen = set()
        for _ in range(15):
            book = await asyncio.wait_for(client.watch_order_book(SYMBOL), 10)
            assert book["bids"][0][0] < book["asks"][0][0]
            seen.add(book["timestamp"])
        assert len(seen) > 10
        trades = await asyncio.wait_for(client.watch_trades(SYMBOL), 10)
        assert trades[0]["symbol"] == SYMBOL
        ticker = await asyncio.wait_for(client.watch_ticker(SYMBOL), 10)
        assert ticker["bid"] < ticker["ask"]
        candles = await asyncio.wait_for(client.watch_ohlcv(SYMBOL, "5m"), 10)
        assert candles[-1][0] % BASE_MS == 0
        candles = await asyncio.wait_for(client.watch_ohlcv(SYMBOL, "1h"), 10)
        assert candles[-1][0] % (12 * BASE_MS) == 0
    async with bench([WalkSource(steps=100_000)], hold=False, speed=SPEED) as b, _client(b, ccxt.pro) as client:
        for _ in range(3):
            shallow = await asyncio.wait_for(client.watch_order_book(SYMBOL, 5), 10)
            assert len(shallow["bids"]) == 5


async def test_private_streams_follow_an_order_to_a_position() -> None:
    # ccxt tells a watcher of one push at a time: at the exchange's own pace they do not come together
    async with bench([WalkSource(steps=100_000)], hold=False, speed=1.0) as b, _client(b, ccxt.pro) as client:
        await client.load_markets()
        seen: dict[str, list[Any]] = {"orders": [], "trades": [], "positions": [], "balances": []}

        async def watch(name: str, call: Callable[[], Awaitable[Any]]) -> None:
            while True:
                update = await call()
                seen[name] += [update] if name == "balances" else list(update)

        watchers = [
            asyncio.create_task(watch("orders", lambda: client.watch_orders(SYMBOL))),
            asyncio.create_task(watch("trades", lambda: client.watch_my_trades(SYMBOL))),
            asyncio.create_task(watch("positions", lambda: client.watch_positions([SYMBOL]))),
            asyncio.create_task(watch("balances", lambda: client.watch_balance({"type": "swap"}))),
        ]
        try:
            # the account's first push shows that the connection is logged in and listens
            await eventually(lambda: seen["balances"])
            order = await client.create_order(SYMBOL, "market", "buy", 1, None, {"clientOrderId": "pro-1"})
            await eventually(lambda: any(update["status"] == "closed" for update in seen["orders"]))
            await eventually(lambda: seen["positions"] and seen["trades"] and len(seen["balances"]) > 1)
        finally:
            for watcher in watchers:
                watcher.cancel()
        assert {(update["id"], update["clientOrderId"]) for update in seen["orders"]} == {(order["id"], "pro-1")}
        assert (seen["orders"][-1]["status"], seen["orders"][-1]["filled"]) == ("closed", 1.0)
        assert sum(trade["amount"] for trade in seen["trades"]) == 1.0
        assert seen["trades"][0]["order"] == order["id"]
        assert (seen["positions"][-1]["side"], seen["positions"][-1]["contracts"]) == ("long", 1.0)
        assert 9_990 < seen["balances"][-1]["USDT"]["total"] < 10_000
