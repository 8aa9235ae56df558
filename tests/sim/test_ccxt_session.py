"""A whole session of an unmodified ccxt.pro client: every step is counted, checksum validation is on."""

from __future__ import annotations

from typing import Any

import ccxt
import pytest

from tests.sim import ccxt_trading as trading
from tests.sim.ccxt_client import SYMBOL, ccxt_client
from tests.sim.ccxt_session import ISOLATED, OTHER, Session, open_session, watching
from tests.sim.clients import bench
from tests.sim.walk import BASE_MS, START_MS, WalkSource
from tradebot.market.candle import DAY_MS, HOUR_MS
from tradebot.sim.limits import PER_SECOND, WireLimits

FEWEST_STEPS = 90


async def test_a_session_of_many_steps() -> None:
    async with open_session() as session:
        await _market_data(session)
        await _settings(session)
        async with watching(session):
            await _public_streams(session)
            await trading.plain_orders(session)
            await trading.time_in_force(session)
            await trading.batches(session)
            await trading.stops(session)
            await trading.closing(session)
        await trading.hedge_mode(session)
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
        assert now >= START_MS
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
        assert (rate["fundingRate"], rate["interval"]) == (0.0001, "1h")
    with step("funding rates"):
        assert set(await client.fetch_funding_rates()) == {SYMBOL, OTHER}
    with step("funding interval"):
        assert (await client.fetch_funding_interval(SYMBOL))["interval"] == "1h"
    with step("funding rate history"):
        history = await client.fetch_funding_rate_history(SYMBOL, limit=4)
        assert [row["timestamp"] % HOUR_MS for row in history] == [0, 0, 0, 0]
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
        assert 10 <= len(ledger) < 100
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
