"""The clients against the embedded exchange: the whole way over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.eventually import eventually
from tests.exchange.servers import Recorder
from tests.sim.clients import KEY, PASSPHRASE, SECRET, Bench, Paced, bench
from tests.sim.walk import BASE_MS, HISTORY_MS, START_MS, WalkSource
from tradebot.errors import AuthRefused, OutcomeUnknown, Rejected
from tradebot.events import (
    AccountUpdated,
    CancelOrder,
    CancelStop,
    ClosePosition,
    Filled,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    StopUpdated,
)
from tradebot.exchange.bitget.gate import PacedGate
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials
from tradebot.exchange.bitget.stream import BitgetStream
from tradebot.market.buffer import RollingBuffer
from tradebot.market.series import find_gaps, join

CREDENTIALS = Credentials(KEY, SECRET, PASSPHRASE)


class Session:
    """A paced bot without a brain."""

    def __init__(self, bench: Bench, stream: BitgetStream, heard: Recorder, paced: Paced, rest: BitgetRest) -> None:
        self.bench = bench
        self.stream = stream
        self.heard = heard
        self.paced = paced
        self.rest = rest

    async def settle(self) -> None:
        """Take in all frames of the present step."""
        await asyncio.wait_for(self.stream.gate.reach(self.paced.now["counts"], self.paced.now["t"]), 10)

    async def step(self, wake: int | None = None) -> None:
        await self.paced.step(wake)
        await self.settle()

    async def until_acted(self) -> None:
        """Let the exchange's time pass the latency of everything sent."""
        now = self.paced.now["t"]
        while self.paced.now["t"] < now + 100:
            await self.step(now + 100)


@asynccontextmanager
async def session(*sources: WalkSource, **options: Any) -> AsyncIterator[Session]:
    markets = sources or (WalkSource(),)
    heard = Recorder()
    async with bench(markets) as b:
        stream = BitgetStream(
            b.server.ws_url,
            [market.instrument.symbol for market in markets],
            heard,
            credentials=CREDENTIALS,
            now_ms=lambda: b.server.exchange.now_ms,
            gate=PacedGate(),
            **options,
        )
        task = asyncio.create_task(stream.run())
        await asyncio.wait_for(stream.ready(), 10)
        paced = await b.paced()
        await paced.attach()
        async with BitgetRest(b.server.rest_url, credentials=CREDENTIALS) as rest:
            one = Session(b, stream, heard, paced, rest)
            await one.settle()
            try:
                yield one
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def test_every_frame_of_every_step_is_heard_and_every_book_holds() -> None:
    async with session(WalkSource("SOLUSDT"), WalkSource("BTCUSDT", seed=2)) as s:
        for _ in range(120):
            await s.step()
        for connection in s.stream.connections:
            assert connection.received == s.paced.now["counts"][connection.conn_id]
        assert s.stream.feed.resyncs == s.stream.feed.unreadable == 0
        for symbol in ("SOLUSDT", "BTCUSDT"):
            assert s.stream.feed.sound(symbol)
            assert sum(heard == symbol for heard, *_ in s.heard.books) > 100
        assert {ticker.symbol for ticker in s.heard.tickers} == {"SOLUSDT", "BTCUSDT"}


async def test_what_is_heard_does_not_depend_on_the_machines_speed() -> None:
    transcripts = []
    for seed in (None, 1, 2):
        rng = random.Random(seed)
        async with session(WalkSource("SOLUSDT"), WalkSource("BTCUSDT", seed=2), channels_per_connection=4) as s:
            assert len(s.stream.connections) == 3
            for _ in range(40):
                if seed is not None:
                    await asyncio.sleep(rng.random() * 0.004)
                await s.step()
            transcripts.append((s.heard.books, s.heard.trades, s.heard.candles, s.heard.tickers, s.heard.private))
    assert transcripts[0] == transcripts[1] == transcripts[2]
    assert len(transcripts[0][0]) > 60


async def test_a_connection_lost_between_steps_comes_back_and_the_clock_goes_on() -> None:
    async with session() as s:
        for number, connection in enumerate(s.stream.connections):
            for _ in range(5):
                await s.step()
            connection.drop()
            for _ in range(5):
                await s.step()
            await asyncio.wait_for(s.stream.ready(), 10)
            await s.step()
            await s.step()
            assert connection.sessions == 2
            assert [up for rank, up in s.heard.connections if rank == number] == [True, False, True]
        assert s.heard.feed == [("SOLUSDT", True, ""), ("SOLUSDT", False, "disconnected"), ("SOLUSDT", True, "")]
        assert s.stream.feed.sound("SOLUSDT")


async def test_history_and_stream_join_into_one_row_of_candles() -> None:
    async with session() as s:
        history = await s.rest.candles("SOLUSDT", "5m", START_MS - HISTORY_MS, START_MS)
        assert len(history) == HISTORY_MS // BASE_MS
        for _ in range(60):
            await s.step()
        now = s.paced.now["t"]
        live = {
            row.open_time_ms: row
            for _, _, row in s.heard.candles
            if START_MS <= row.open_time_ms < now // BASE_MS * BASE_MS
        }
        joined = join(history, live.values(), BASE_MS)
        assert (joined.gaps, joined.revisions, joined.duplicates) == ((), 0, 0)
        buffer = RollingBuffer("5m", candles={"5m": len(joined.candles), "1h": len(joined.candles)})
        for candle in joined.candles:
            buffer.append_candle(candle)
        again = await s.rest.candles("SOLUSDT", "5m", START_MS - HISTORY_MS, now)
        assert tuple(again) == joined.candles
        assert [c.open_time_ms for c in again] == buffer.candles().open_time_ms.tolist()
        hourly = await s.rest.candles("SOLUSDT", "1h", START_MS - HISTORY_MS, START_MS)
        assert find_gaps(hourly, 12 * BASE_MS) == ()
        assert [c.close for c in hourly] == buffer.candles("1h").close.tolist()[: len(hourly)]


def entry(**more: Any) -> PlaceOrder:
    fields: dict[str, Any] = {
        "client_oid": "tb-1",
        "symbol": "SOLUSDT",
        "side": "buy",
        "order_type": "market",
        "qty": Decimal("2.0"),
        "purpose": "entry",
        "decision_id": "d",
    }
    return PlaceOrder(**{**fields, **more})


async def test_an_order_fills_and_streams_and_queries_agree() -> None:
    async with session() as s:
        order_id = await s.rest.place_order(entry(), "isolated")
        await s.until_acted()
        orders = [event for event in s.heard.private if isinstance(event, OrderUpdated)]
        fills = [event for event in s.heard.private if isinstance(event, Filled)]
        assert orders[0].status == "live"
        assert orders[-1].status == "filled"
        assert {order.order_id for order in orders} == {order_id}
        assert {order.client_oid for order in orders} == {"tb-1"}
        assert sum(fill.qty for fill in fills) == Decimal(2)
        assert all(fill.fee < 0 and fill.client_oid == "tb-1" for fill in fills)

        detail = await s.rest.order_detail("SOLUSDT", client_oid="tb-1")
        assert detail is not None
        assert (detail.order_type, detail.price, detail.created_ms) == ("market", None, START_MS)
        assert (detail.update.status, detail.update.filled_qty, detail.update.avg_price) == (
            "filled",
            Decimal(2),
            orders[-1].avg_price,
        )
        queried = await s.rest.fills("SOLUSDT", since_ms=START_MS)
        assert [(f.trade_id, f.price, f.qty, f.fee) for f in queried] == [
            (f.trade_id, f.price, f.qty, f.fee) for f in fills
        ]
        pushed = [event for event in s.heard.private if isinstance(event, PositionsReported)][-1]
        assert tuple(await s.rest.positions()) == pushed.positions
        assert pushed.positions[0].qty == Decimal(2)
        _, account = await s.rest.account("SOLUSDT")
        assert account.balance == [e for e in s.heard.private if isinstance(e, AccountUpdated)][-1].balance
        assert await s.rest.open_orders() == []
        assert [order.order_id for order in await s.rest.orders_history("SOLUSDT")] == [order_id]


async def test_a_resting_order_is_seen_and_cancelled() -> None:
    async with session() as s:
        resting = entry(order_type="limit", price=Decimal("140.000"), client_oid="tb-2", tif="post_only")
        order_id = await s.rest.place_order(resting, "isolated")
        await s.until_acted()
        (found,) = await s.rest.open_orders("SOLUSDT")
        assert (found.order_id, found.client_oid, found.status) == (order_id, "tb-2", "live")
        with pytest.raises(OutcomeUnknown) as caught:
            await s.rest.place_order(resting, "isolated")
        assert caught.value.code == "40786"
        assert await s.rest.cancel_order(CancelOrder(client_oid="tb-2", symbol="SOLUSDT")) == order_id
        await s.until_acted()
        assert await s.rest.open_orders("SOLUSDT") == []
        assert [e for e in s.heard.private if isinstance(e, OrderUpdated)][-1].status == "canceled"
        assert await s.rest.cancel_order(CancelOrder(client_oid="tb-2", symbol="SOLUSDT")) == ""
        assert await s.rest.order_detail("SOLUSDT", client_oid="never") is None


async def test_a_position_is_protected_and_closed() -> None:
    async with session() as s:
        await s.rest.place_order(entry(preset_stop=Decimal("140.000")), "isolated")
        await s.until_acted()
        stop = PlaceStop(client_oid="tb-s", symbol="SOLUSDT", position_side="long", trigger_price=Decimal("141.000"))
        stop_id = await s.rest.place_stop(stop)
        await s.until_acted()
        plans = {plan.plan: plan for plan in await s.rest.plan_orders("SOLUSDT")}
        assert (plans["pos_loss"].order_id, plans["pos_loss"].client_oid) == (stop_id, "tb-s")
        assert plans["pos_loss"] in [e for e in s.heard.private if isinstance(e, StopUpdated)]
        preset = plans["loss_plan"]
        assert preset.trigger_price == Decimal(140)
        await s.rest.cancel_stop(CancelStop(client_oid="", symbol="SOLUSDT", order_id=preset.order_id))
        await s.until_acted()
        assert [plan.plan for plan in await s.rest.plan_orders("SOLUSDT")] == ["pos_loss"]
        await s.rest.close_position(ClosePosition(client_oid="tb-c", symbol="SOLUSDT", reason="test"))
        await s.until_acted()
        assert await s.rest.positions() == []
        assert [e for e in s.heard.private if isinstance(e, PositionsReported)][-1].positions == ()
        assert await s.rest.plan_orders("SOLUSDT") == []
        assert await s.rest.close_position(ClosePosition(client_oid="tb-d", symbol="SOLUSDT", reason="again")) == ""


async def test_settings_are_read_and_changed() -> None:
    async with session() as s:
        await s.rest.set_position_mode("one_way_mode")
        await s.rest.set_margin_mode("SOLUSDT", "isolated")
        await s.rest.set_leverage("SOLUSDT", 3)
        settings, money = await s.rest.account("SOLUSDT")
        assert (settings.position_mode, settings.margin_mode, settings.leverage) == ("one_way_mode", "isolated", 3)
        assert money.equity == money.balance == Decimal(10_000)
        with pytest.raises(Rejected):
            await s.rest.set_leverage("SOLUSDT", 1_000)


async def test_public_queries_need_no_key() -> None:
    async with bench([WalkSource()]) as b, BitgetRest(b.server.rest_url) as rest:
        assert await rest.server_time() == START_MS
        (instrument,) = await rest.contracts()
        assert instrument.symbol == "SOLUSDT"
        assert (instrument.tick, instrument.lot) == (Decimal("0.001"), Decimal("0.1"))
        ticker = await rest.ticker("SOLUSDT")
        assert abs(ticker.mark - 150) < 1


async def test_a_wrong_key_is_refused_on_both_sides() -> None:
    wrong = Credentials(KEY, "wrong-secret", PASSPHRASE)
    async with bench([WalkSource()]) as b:
        async with BitgetRest(b.server.rest_url, credentials=wrong) as rest:
            with pytest.raises(AuthRefused):
                await rest.positions()
        stream = BitgetStream(
            b.server.ws_url, ["SOLUSDT"], Recorder(), credentials=wrong, now_ms=lambda: b.server.exchange.now_ms
        )
        with pytest.raises(AuthRefused):
            await asyncio.wait_for(stream.run(), 10)


async def test_a_free_running_exchange_is_heard_without_a_clock() -> None:
    heard = Recorder()
    async with bench([WalkSource(steps=200)], hold=False, speed=6_000.0) as b:
        stream = BitgetStream(b.server.ws_url, ["SOLUSDT"], heard, behind_ms=2**60)
        task = asyncio.create_task(stream.run())
        await asyncio.wait_for(stream.ready(), 10)
        await eventually(lambda: len(heard.books) >= 50)
        assert stream.feed.resyncs == 0
        assert heard.feed == [("SOLUSDT", True, "")]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
