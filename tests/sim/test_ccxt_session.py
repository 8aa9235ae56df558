"""A whole session of an unmodified ccxt.pro client: every step is counted, checksum validation is on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import ccxt
import ccxt.pro
import pytest

from tests.eventually import eventually
from tests.sim.ccxt_client import SPEED, SYMBOL, ccxt_client, settled
from tests.sim.clients import Bench, bench
from tests.sim.walk import BASE_MS, MOVE_MS, START_MS, WalkSource
from tradebot.market.candle import DAY_MS, HOUR_MS
from tradebot.sim.limits import PER_SECOND, WireLimits

OTHER = "BTC/USDT:USDT"
FEWEST_STEPS = 90


class Session:
    """One client's session; :meth:`step` numbers what it does and says where it broke."""

    def __init__(self, b: Bench, client: Any) -> None:
        self.b = b
        self.client = client
        self.steps = 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.steps += 1
        try:
            yield
        except Exception as error:
            error.add_note(f"in step {self.steps}: {what}")
            raise

    async def status(self, order: dict[str, Any]) -> str:
        """An order's status once it has acted."""
        await settled(self.b)
        return str((await self.client.fetch_order(order["id"], SYMBOL))["status"])

    async def fault(self, **rule: Any) -> None:
        answer = await self.b.session.post(f"{self.b.server.rest_url}/sim/faults", json={"rules": [rule]})
        assert answer.status == 200, await answer.text()

    async def wait(self, call: Awaitable[Any]) -> Any:
        return await asyncio.wait_for(call, 10)


@asynccontextmanager
async def _session() -> AsyncIterator[Session]:
    # funding is settled at 08:00, soon after the market begins
    start_ms = START_MS + 8 * HOUR_MS - 40 * MOVE_MS
    sources = [WalkSource(steps=200_000, start_ms=start_ms), WalkSource("BTCUSDT", steps=200_000, start_ms=start_ms)]
    async with bench(sources, hold=False, speed=SPEED) as b, ccxt_client(b, ccxt.pro) as client:
        yield Session(b, client)


async def test_a_session_of_many_steps() -> None:
    async with _session() as session:
        await _market_data(session)
        await _settings(session)
        async with _watching(session) as seen:
            await _public_streams(session)
            await _plain_orders(session, seen)
            await _time_in_force(session)
            await _batches(session)
            await _stops(session)
            await _closing(session, seen)
        await _hedge_mode(session)
        await _histories(session)
        await _refusals(session)
        assert session.steps >= FEWEST_STEPS


async def _market_data(session: Session) -> None:
    client, step = session.client, session.step
    with step("load markets"):
        assert set(await client.load_markets()) == {SYMBOL, OTHER}
        market = client.market(SYMBOL)
        assert (market["precision"]["price"], market["precision"]["amount"]) == (0.001, 0.1)
        assert (market["active"], market["linear"], market["limits"]["cost"]["min"]) == (True, True, 5.0)
    with step("time"):
        now = await client.fetch_time()
        assert now > START_MS
    with step("ticker"):
        ticker = await client.fetch_ticker(SYMBOL)
        assert ticker["bid"] < ticker["ask"]
        assert ticker["low"] <= ticker["last"] <= ticker["high"]
    with step("tickers"):
        assert set(await client.fetch_tickers()) == {SYMBOL, OTHER}
    with step("mark price"):
        assert (await client.fetch_mark_price(SYMBOL))["markPrice"] == pytest.approx(150, abs=3)
    with step("order book"):
        book = await client.fetch_order_book(SYMBOL, 5)
        assert [len(book["bids"]), len(book["asks"])] == [5, 5]
        assert book["bids"][0][0] < book["asks"][0][0]
    with step("trades"):
        trades = await client.fetch_trades(SYMBOL, limit=50)
        assert {trade["side"] for trade in trades} <= {"buy", "sell"}
        assert trades == sorted(trades, key=lambda trade: trade["timestamp"])
    with step("page candles"):
        rows: list[Any] = []
        since = START_MS - 2 * DAY_MS
        while len(rows) < 500:
            # of a window one row too long the rows nearest its end are kept, so it begins just before its first
            page = await client.fetch_ohlcv(SYMBOL, "5m", since - 1, 100)
            assert page[0][0] == since
            rows += page
            since = page[-1][0] + BASE_MS
        assert [row[0] for row in rows] == [START_MS - 2 * DAY_MS + i * BASE_MS for i in range(500)]
    with step("mark candles"):
        marks = await client.fetch_mark_ohlcv(SYMBOL, "5m", START_MS - DAY_MS, 20)
        assert {row[5] for row in marks} == {0.0}
    with step("index candles"):
        assert len(await client.fetch_index_ohlcv(SYMBOL, "5m", START_MS - DAY_MS, 20)) == 20
    with step("funding rate"):
        rate = await client.fetch_funding_rate(SYMBOL)
        assert (rate["fundingRate"], rate["interval"]) == (0.0001, "8h")
    with step("funding rates"):
        assert set(await client.fetch_funding_rates()) == {SYMBOL, OTHER}
    with step("funding interval"):
        assert (await client.fetch_funding_interval(SYMBOL))["interval"] == "8h"
    with step("funding rate history"):
        history = await client.fetch_funding_rate_history(SYMBOL, limit=4)
        assert [row["timestamp"] % (8 * HOUR_MS) for row in history] == [0, 0, 0, 0]
    with step("open interest"):
        assert (await client.fetch_open_interest(SYMBOL))["openInterestAmount"] > 0
    with step("tiers"):
        tiers = await client.fetch_market_leverage_tiers(SYMBOL)
        assert len(tiers) > 1
        assert [tiers[0]["maxLeverage"], tiers[0]["maintenanceMarginRate"]] == [75, 0.005]


async def _settings(session: Session) -> None:
    client, step = session.client, session.step
    with step("balance"):
        balance = await client.fetch_balance({"type": "swap"})
        assert (balance["USDT"]["total"], balance["USDT"]["free"]) == (10_000.0, 10_000.0)
    with step("trading fee"):
        fee = await client.fetch_trading_fee(SYMBOL)
        assert (fee["maker"], fee["taker"]) == (0.0002, 0.0006)
    with step("trading fees"):
        assert (await client.fetch_trading_fees({"type": "swap"}))[SYMBOL]["taker"] == 0.0006
    with step("position mode"):
        await client.set_position_mode(False, SYMBOL)
    with step("margin mode"):
        await client.set_margin_mode("isolated", SYMBOL)
        assert (await client.fetch_margin_mode(SYMBOL))["marginMode"] == "isolated"
    with step("leverage"):
        await client.set_leverage(5, SYMBOL)
        leverage = await client.fetch_leverage(SYMBOL)
        assert (leverage["longLeverage"], leverage["shortLeverage"]) == (5, 5)


@asynccontextmanager
async def _watching(session: Session) -> AsyncIterator[dict[str, list[Any]]]:
    """The private streams, followed for as long as the block lasts."""
    client = session.client
    seen: dict[str, list[Any]] = {"orders": [], "trades": [], "positions": [], "balances": []}

    async def watch(name: str, call: Callable[[], Awaitable[Any]]) -> None:
        while True:
            update = await call()
            # rows are copied, for the client goes on changing the ones it has given out
            seen[name] += [update] if name == "balances" else [dict(row) for row in update]

    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "orders": lambda: client.watch_orders(SYMBOL),
        "trades": lambda: client.watch_my_trades(SYMBOL),
        "positions": lambda: client.watch_positions([SYMBOL]),
        "balances": lambda: client.watch_balance({"type": "swap"}),
    }
    watchers = [asyncio.create_task(watch(name, call)) for name, call in calls.items()]
    try:
        with session.step("watch balance"):
            await eventually(lambda: seen["balances"])
            assert seen["balances"][0]["USDT"]["total"] == 10_000.0
        yield seen
        with session.step("watch orders"):
            assert {"open", "closed", "canceled"} <= {update["status"] for update in seen["orders"]}
        with session.step("watch my trades"):
            assert {trade["side"] for trade in seen["trades"]} == {"buy", "sell"}
        with session.step("watch positions"):
            assert any(update["side"] == "long" for update in seen["positions"])
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)


async def _public_streams(session: Session) -> None:
    client, step, wait = session.client, session.step, session.wait
    client.options["watchOrderBook"] = {**client.options.get("watchOrderBook", {}), "checksum": True}
    with step("watch the book with checksums"):
        stamps = set()
        for _ in range(20):
            book = await wait(client.watch_order_book(SYMBOL))
            assert book["bids"][0][0] < book["asks"][0][0]
            stamps.add(book["timestamp"])
        assert len(stamps) > 10
    with step("stop watching the book"):
        await wait(client.un_watch_order_book(SYMBOL))
    with step("watch a shallow book"):
        for _ in range(3):
            assert len((await wait(client.watch_order_book(OTHER, 5)))["bids"]) == 5
    with step("watch ticker"):
        ticker = await wait(client.watch_ticker(SYMBOL))
        assert ticker["bid"] < ticker["ask"]
    with step("watch tickers"):
        assert OTHER in await wait(client.watch_tickers([OTHER]))
    with step("watch best bid and ask"):
        best = (await wait(client.watch_bids_asks([OTHER])))[OTHER]
        assert best["bid"] < best["ask"]
    with step("watch trades"):
        assert (await wait(client.watch_trades(SYMBOL)))[0]["symbol"] == SYMBOL
    with step("watch candles"):
        candles = await wait(client.watch_ohlcv(SYMBOL, "5m"))
        assert candles[-1][0] % BASE_MS == 0


async def _plain_orders(session: Session, seen: dict[str, list[Any]]) -> None:
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
        await eventually(lambda: any(row["id"] == bought["id"] and row["status"] == "closed" for row in seen["orders"]))
        await eventually(lambda: seen["positions"] and seen["positions"][-1]["contracts"] == 3.0)
    with step("add margin"):
        before = position["initialMargin"]
        await client.add_margin(SYMBOL, 20, {"holdSide": "long"})
        assert (await client.fetch_position(SYMBOL))["initialMargin"] == pytest.approx(before + 20, abs=0.01)
    with step("reduce margin"):
        await client.reduce_margin(SYMBOL, -8, {"holdSide": "long"})
        assert (await client.fetch_position(SYMBOL))["initialMargin"] == pytest.approx(before + 12, abs=0.01)


ISOLATED = {"marginMode": "isolated"}


async def _time_in_force(session: Session) -> None:
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


async def _batches(session: Session) -> None:
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


async def _stops(session: Session) -> None:
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


async def _closing(session: Session, seen: dict[str, list[Any]]) -> None:
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
        await eventually(lambda: seen["trades"][-1]["side"] == "sell")
    with step("a short opened and all positions closed"):
        await client.create_order(SYMBOL, "market", "sell", 1, None, ISOLATED)
        await client.create_order(OTHER, "market", "buy", 1, None, ISOLATED)
        await settled(session.b)
        assert {position["side"] for position in await client.fetch_positions()} == {"short", "long"}
        await client.close_all_positions()
        await settled(session.b)
        assert await client.fetch_positions() == []


async def _hedge_mode(session: Session) -> None:
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


async def _histories(session: Session) -> None:
    client, step = session.client, session.step
    with step("closed orders"):
        closed = await client.fetch_closed_orders(SYMBOL)
        assert {order["status"] for order in closed} == {"closed"}
    with step("canceled orders"):
        assert {order["status"] for order in await client.fetch_canceled_orders(SYMBOL)} == {"canceled"}
    with step("closed and canceled orders, in pages"):
        both = await client.fetch_canceled_and_closed_orders(SYMBOL)
        page = await client.fetch_canceled_and_closed_orders(SYMBOL, limit=3)
        assert [order["id"] for order in page] == [order["id"] for order in both][-3:]
    with step("closed trigger orders"):
        params = {"trigger": True, "planType": "normal_plan"}
        assert len(await client.fetch_canceled_orders(SYMBOL, None, None, params)) == 1
    with step("positions history"):
        assert {row["side"] for row in await client.fetch_positions_history([SYMBOL])} == {"long", "short"}
    with step("ledger"):
        ledger = await client.fetch_ledger("USDT", None, 100, {"type": "swap"})
        assert len(ledger) >= 10
        assert {entry["currency"] for entry in ledger} == {"USDT"}
    with step("the money adds up"):
        balance = await client.fetch_balance({"type": "swap"})
        assert balance["USDT"]["total"] == pytest.approx(10_000 + sum(_signed(entry) for entry in ledger), abs=1e-6)


def _signed(entry: dict[str, Any]) -> float:
    sign = 1 if entry["direction"] == "in" else -1
    return float(sign * abs(entry["amount"]) - (entry["fee"] or {"cost": 0})["cost"])


async def _refusals(session: Session) -> None:
    client, step, b = session.client, session.step, session.b
    for name, change in (("key", "apiKey"), ("secret", "secret"), ("passphrase", "password")):
        with step(f"wrong {name}"):
            async with ccxt_client(b, **{change: "wrong"}) as stranger:
                with pytest.raises(ccxt.AuthenticationError):
                    await stranger.fetch_balance({"type": "swap"})
    with step("stale timestamp"):
        async with ccxt_client(b) as late:
            late.nonce = lambda: START_MS - DAY_MS
            late.milliseconds = late.nonce
            with pytest.raises(ccxt.InvalidNonce):
                await late.fetch_balance({"type": "swap"})
    with step("unknown symbol"):
        with pytest.raises(ccxt.BadSymbol):
            await client.fetch_ticker("NOSUCH/USDT:USDT")
        with pytest.raises(ccxt.ExchangeError, match="40034"):
            await client.fetch_ticker(SYMBOL, {"symbol": "NOSUCHUSDT"})
    with step("too much for the margin"), pytest.raises(ccxt.InsufficientFunds):
        await client.create_order(SYMBOL, "market", "buy", 5_000, None, ISOLATED)
    with step("too small"), pytest.raises(ccxt.InvalidOrder):
        await client.create_order(SYMBOL, "limit", "buy", 0.1, 20, {**ISOLATED, "size": "0.1", "price": "20"})
    with step("duplicate client id"):
        again = {"clientOrderId": "twice", **ISOLATED}
        await client.create_order(SYMBOL, "limit", "buy", 1, 146, again)
        with pytest.raises(ccxt.ExchangeError, match="40786"):
            await client.create_order(SYMBOL, "limit", "buy", 1, 146, again)
    with step("order that does not exist"), pytest.raises(ccxt.OrderNotFound):
        await client.fetch_order("1", SYMBOL)
    with step("cancel of an order that does not exist"), pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order("1", SYMBOL)
    with step("hedge-shaped order in one-way mode"), pytest.raises(ccxt.InvalidOrder):
        await client.create_order(SYMBOL, "market", "buy", 1, None, {"hedged": True, **ISOLATED})
    with step("server error"):
        await session.fault(kind="server_error", endpoint="time", times=1)
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await client.fetch_time()
    with step("page of HTML"):
        await session.fault(kind="html_page", endpoint="time", times=1)
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await client.fetch_time()
    with step("works again"):
        assert await client.fetch_time() > START_MS


async def test_both_forms_of_429_raise_what_a_ccxt_user_expects() -> None:
    limits = WireLimits(per_second={**PER_SECOND, "/api/v2/public/time": 1}, per_minute=3)
    async with bench([WalkSource()], rate_limits=True, limits=limits) as b, ccxt_client(b) as client:
        await client.fetch_time()
        with pytest.raises(ccxt.DDoSProtection):
            await client.fetch_time()
        with pytest.raises(ccxt.DDoSProtection):
            await client.fetch_time()
        with pytest.raises(ccxt.RateLimitExceeded):
            await client.fetch_time()
