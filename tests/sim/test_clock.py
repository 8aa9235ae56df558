"""The paced clock over real sockets."""

from __future__ import annotations

import asyncio
import time

from tests.eventually import eventually
from tests.sim.clients import Bench, bench
from tests.sim.walk import BASE_MS, MOVE_MS, START_MS, WalkSource
from tradebot.market.candle import HOUR_MS
from tradebot.sim.clock import ExchangeClock
from tradebot.sim.exchange import latency_ms
from tradebot.sim.market import open_market


async def told_times(b: Bench) -> set[int]:
    """Exchange times that 20 requests, each sent when the one before was answered, are told.

    At full speed a clock that nothing holds makes 16 steps between two of them.
    """
    return {int((await b.rest.get("/api/v2/public/time"))["serverTime"]) for _ in range(20)}


async def test_a_held_exchange_stands_still_until_a_paced_client_attaches() -> None:
    async with bench([WalkSource()]) as b:
        assert await told_times(b) == {START_MS}
        paced = await b.paced()
        first = await paced.attach()
        assert (first["step"], first["t"]) == (0, START_MS)
        assert (await paced.step())["t"] == START_MS + MOVE_MS


async def test_no_step_happens_without_an_ack() -> None:
    async with bench([WalkSource()], hold=False) as b:
        paced = await b.paced()
        await paced.attach()
        assert len(await told_times(b)) == 1
        step = await paced.step()
        assert await told_times(b) == {step["t"]}


async def test_every_attached_client_is_waited_for_until_it_leaves() -> None:
    async with bench([WalkSource()]) as b:
        one, two = await b.paced(), await b.paced()
        await one.attach()
        await two.attach()
        await one.ack()
        assert await told_times(b) == {START_MS}
        await two.ack()
        assert (await one.read())["step"] == 1
        await one.ack()
        await two.socket.close()
        assert (await one.read())["step"] == 2


async def test_counts_are_the_text_frames_sent_on_each_connection() -> None:
    async with bench([WalkSource(steps=60)]) as b:
        public, private = await b.stream(), await b.stream("private")
        paced = await b.paced()
        await paced.attach()
        await private.login(START_MS)
        await public.send("ping")
        assert await public.next() == "pong"
        await public.subscribe("books", "trade", "candle5m", "ticker")
        await public.until(1 + 8)
        await private.listen_privately("orders", "fill", "positions", "account")
        order_id = ""
        for _ in range(20):
            step = await paced.step()
            counts = step["counts"]
            await public.until(counts[public.conn_id])
            await private.until(counts[private.conn_id])
            if not order_id:
                order_id = await b.rest.order("buy", "1", clientOid="count-1")
        assert len(private.frames) > 10
        await public.send("ping")
        assert await public.next() == "pong"


async def test_an_order_acts_at_the_held_time_plus_its_latency() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        at_ms = (await paced.step())["t"]
        order_id = await b.rest.order("buy", "1", clientOid="lat-1")
        detail = await b.rest.private("order/detail", symbol="SOLUSDT", orderId=order_id)
        assert (detail["state"], detail["baseVolume"]) == ("live", "0")
        step = await paced.step()
        assert step["t"] == at_ms + latency_ms("lat-1")
        assert 20 <= latency_ms("lat-1") <= 80
        detail = await b.rest.private("order/detail", symbol="SOLUSDT", orderId=order_id)
        assert (detail["state"], detail["baseVolume"]) == ("filled", "1")
        (fill,) = (await b.rest.private("order/fills", orderId=order_id))["fillList"]
        assert fill["cTime"] == str(step["t"])
        assert (await paced.step())["t"] == at_ms + MOVE_MS


async def test_a_cancel_never_overtakes_its_order() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        await paced.step()
        order_id = await b.rest.order("buy", "1", price="148.5", clientOid="over-1")
        await b.rest.post("order/cancel-order", symbol="SOLUSDT", orderId=order_id)
        await paced.step()
        detail = await b.rest.private("order/detail", symbol="SOLUSDT", orderId=order_id)
        assert detail["state"] == "canceled"


async def test_a_wake_adds_a_step_at_exactly_that_time() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        step = await paced.step(wake=START_MS + 12_345)
        assert step["t"] == START_MS + 12_345
        assert (await paced.step(wake=START_MS))["t"] == START_MS + MOVE_MS


async def test_a_wake_that_is_not_asked_for_again_is_taken_back() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        step = await paced.step(wake=START_MS + MOVE_MS + 5_000)
        assert step["t"] == START_MS + MOVE_MS
        assert (await paced.step())["t"] == START_MS + 2 * MOVE_MS


async def test_funding_times_are_steps() -> None:
    start_ms = START_MS + 8 * HOUR_MS - MOVE_MS // 2
    async with bench([WalkSource(start_ms=start_ms, steps=10)]) as b:
        paced = await b.paced()
        await paced.attach()
        await b.rest.order("buy", "2", clientOid="fund-1")
        times = [(await paced.step())["t"] for _ in range(3)]
        assert times == [start_ms + latency_ms("fund-1"), START_MS + 8 * HOUR_MS, start_ms + MOVE_MS]
        (bill,) = (await b.rest.private("account/bill", businessType="contract_settle_fee"))["bills"]
        assert bill["cTime"] == str(START_MS + 8 * HOUR_MS)
        assert float(bill["amount"]) < 0
        settled, *_ = await b.rest.public("history-fund-rate", symbol="SOLUSDT")
        assert settled["fundingTime"] == str(START_MS + 8 * HOUR_MS)


async def test_markets_of_several_symbols_share_one_time() -> None:
    sources = [WalkSource("SOLUSDT", steps=5), WalkSource("BTCUSDT", steps=8, start_ms=START_MS + 10_000)]
    async with bench(sources) as b:
        paced = await b.paced()
        await paced.attach()
        times = []
        while "end" not in (step := await paced.step()):
            times.append(step["t"])
        expected = {START_MS + i * MOVE_MS for i in range(1, 5)} | {START_MS + 10_000 + i * MOVE_MS for i in range(8)}
        assert times == sorted(expected)


async def test_the_end_is_told_and_the_exchange_goes_on_answering() -> None:
    async with bench([WalkSource(steps=3)]) as b:
        paced = await b.paced()
        await paced.attach()
        await paced.step()
        await paced.step()
        assert await paced.step() == {"end": True, "t": START_MS + 2 * MOVE_MS}
        order_id = await b.rest.order("buy", "1", clientOid="late-1")
        filled = b.server.exchange.venue.order
        await eventually(lambda: filled(order_id=order_id).status == "filled")
        history = await b.rest.private("order/orders-history", symbol="SOLUSDT")
        assert [row["orderId"] for row in history["entrustedList"]] == [order_id]


async def test_a_client_that_attaches_after_the_end_is_told_so() -> None:
    async with bench([WalkSource(steps=2)], hold=False) as b:
        await eventually(lambda: b.server.exchange.clock.ended)
        assert (await (await b.paced()).attach())["end"] is True


async def test_free_running_at_max_reaches_the_end_and_at_a_speed_keeps_to_it() -> None:
    async with bench([WalkSource(steps=500)], hold=False) as b:
        await eventually(lambda: b.server.exchange.clock.ended)
        assert b.server.exchange.clock.now_ms == START_MS + 499 * MOVE_MS
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with bench([WalkSource(steps=500)], hold=False, speed=MOVE_MS / 1000 * 50) as b:
        await eventually(lambda: b.server.exchange.clock.step >= 10)
        assert loop.time() - begun >= 0.195


async def test_requests_of_a_free_running_exchange_see_time_pass_between_steps() -> None:
    async with bench([WalkSource()], hold=False, speed=20.0) as b:
        seen = {(await b.rest.get("/api/v2/public/time"))["serverTime"] for _ in range(20)}
        assert len(seen) > 3
        assert all(START_MS <= int(text) <= START_MS + BASE_MS for text in seen)


async def test_at_real_speed_a_delayed_exchange_catches_up_with_the_wall_clock() -> None:
    sources = open_market((), ["SOLUSDT"], 1, for_ms=HOUR_MS, history_days=8, book_interval_ms=20)
    async with bench(sources, hold=False, speed=1.0) as b:
        clock, loop = b.server.exchange.clock, asyncio.get_running_loop()
        await eventually(lambda: clock.step > 2)

        def ahead_ms() -> float:
            return clock.now_ms - loop.time() * 1000

        before_ms = ahead_ms()
        for _ in range(10):  # the machine may be busy now and then anyhow
            await asyncio.sleep(0.01)
            before_ms = max(before_ms, ahead_ms())
        time.sleep(0.8)  # noqa: ASYNC251 - the machine was busy
        assert ahead_ms() < before_ms - 600
        await eventually(lambda: ahead_ms() > before_ms - 100)


class _Crowded:
    """A stage with a step every 10 ms of exchange time and a reader that is always behind."""

    def __init__(self) -> None:
        self.now_ms = 0

    def next_ms(self) -> int:
        return self.now_ms + 10

    def advance(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def congested(self) -> bool:
        return True

    def counts(self) -> dict[str, int]:
        return {}


async def test_time_waits_for_slow_readers_when_it_is_accelerated_and_not_at_real_speed() -> None:
    stages: dict[float | None, _Crowded] = {speed: _Crowded() for speed in (1.0, 60.0, None)}
    clocks = [ExchangeClock(stage, 0, speed=speed) for speed, stage in stages.items()]
    for clock in clocks:
        clock.start()
    await eventually(lambda: stages[1.0].now_ms >= 200)
    assert (stages[60.0].now_ms, stages[None].now_ms) == (0, 0)
    for clock in clocks:
        clock.stop()


async def test_a_paced_exchange_with_a_speed_keeps_to_the_wall_clock_too() -> None:
    async with bench([WalkSource()], speed=MOVE_MS / 1000 * 50) as b:
        paced = await b.paced()
        begun = asyncio.get_running_loop().time()
        await paced.attach()
        for _ in range(10):
            await paced.step()
        assert asyncio.get_running_loop().time() - begun >= 0.195


async def test_nonsense_on_the_clock_connection_is_answered_with_an_error() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.socket.send_str("what time is it")
        assert "error" in await paced.read()
        await paced.socket.send_str('{"op":"hurry"}')
        assert "error" in await paced.read()
