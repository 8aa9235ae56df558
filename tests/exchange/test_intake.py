"""Frames that come faster than they are handled: bounded queues, private ones first, books merged, nothing dropped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.eventually import eventually, turns
from tests.exchange.samples import wire
from tests.exchange.servers import Recorder, books
from tradebot.events import FeedStatus
from tradebot.exchange.bitget.connection import Connection
from tradebot.exchange.bitget.feed import Feed
from tradebot.exchange.bitget.intake import Intake
from tradebot.exchange.bitget.listener import PRIVATE, PUBLIC
from tradebot.market.book import OrderBook

SYMBOL = "SOLUSDT"


class Slow(Recorder):
    """A listener that takes its time over every book and order."""

    def __init__(self, pause_s: float = 0.0) -> None:
        super().__init__()
        self.pause_s = pause_s
        self.order: list[str] = []

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        time.sleep(self.pause_s)
        super().on_book(symbol, book, ts_exchange_ms)
        self.order.append("book")

    def on_trades(self, symbol: str, rows: Any) -> None:
        super().on_trades(symbol, rows)
        self.order.append("trade")

    def on_private(self, event: Any) -> None:
        super().on_private(event)
        self.order.append("private")


class Bench:
    """An intake whose slices end with its backlog, unless a test says how long one lasts: how much is merged would
    otherwise depend on how busy the machine is."""

    def __init__(self, *, bound: int = 1_024, slice_s: float = 60.0, pause_s: float = 0.0) -> None:
        self.heard = Slow(pause_s)
        self.feed = Feed(self.heard, [SYMBOL, "BTCUSDT"], lambda channel, symbol: None)
        self.intake = Intake(bound, slice_s)
        self.intake.opens_to(self.feed)
        self.public = self._connection(PUBLIC)
        self.private = self._connection(PRIVATE)
        self.seq = 0

    def _connection(self, rank: int) -> Connection:
        one = Connection("ws://x", (), on_frame=self.intake.offer, on_up=lambda *_: None, rank=rank)
        self.intake.admit(one)
        return one

    def snapshot(self, symbol: str = SYMBOL) -> None:
        self.seq += 1
        self.intake.offer(self.public, wire(books("snapshot", symbol, "99", "101", seq=self.seq)))

    def update(self, bid: str = "99.5", symbol: str = SYMBOL) -> Any:
        self.seq += 1
        frame = wire(books("update", symbol, bid, "101", seq=self.seq, pseq=self.seq - 1))
        return self.intake.offer(self.public, frame)

    def trade(self, number: int) -> None:
        row = {"ts": str(number), "price": "1", "size": "2", "side": "buy", "tradeId": str(number)}
        arg = {"instType": "USDT-FUTURES", "channel": "trade", "instId": SYMBOL}
        self.intake.offer(self.public, wire({"action": "update", "arg": arg, "data": [row]}))

    def position(self) -> None:
        arg = {"instType": "USDT-FUTURES", "channel": "positions", "instId": "default"}
        self.intake.offer(self.private, wire({"action": "snapshot", "arg": arg, "data": []}))

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.intake.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_frame_is_handled_when_it_comes() -> None:
    bench = Bench()
    async with bench.working():
        bench.snapshot()
        await eventually(lambda: len(bench.heard.books) == 1)
        bench.update()
        await eventually(lambda: len(bench.heard.books) == 2)
    assert (bench.feed.merged, bench.intake.held, bench.intake.depth) == (0, 0, 0)
    assert bench.intake.waited.count == 2


async def test_the_time_that_a_listener_takes_over_a_book_is_part_of_what_its_frame_waited() -> None:
    bench = Bench(pause_s=0.03)
    async with bench.working():
        bench.snapshot()
        await eventually(lambda: bench.intake.waited.count == 1)
    assert bench.intake.waited.highest >= 30.0


async def test_updates_of_one_book_that_wait_together_are_all_applied_and_told_once() -> None:
    bench = Bench()
    bench.snapshot()
    for n in range(200):
        bench.update(f"99.{n + 100}")
    bench.snapshot("BTCUSDT")
    async with bench.working():
        await eventually(lambda: bench.intake.depth == 0)
    assert [best for _, best, _ in bench.heard.books] == [(99.299, 101.0), (99.0, 101.0)]
    assert bench.feed.merged == 200
    assert bench.feed.resyncs == 0, "no update may be passed over"


async def test_trades_are_never_merged_and_find_the_book_as_it_was_before_them() -> None:
    bench = Bench()
    bench.snapshot()
    for n in range(50):
        bench.update(f"99.{n + 10}")
        bench.update(f"99.{n + 11}")
        bench.trade(n + 1)
    async with bench.working():
        await eventually(lambda: bench.intake.depth == 0)
    assert len(bench.heard.trades) == 50
    assert bench.heard.order == ["book", "trade"] * 50
    assert bench.feed.merged == 51


async def test_private_messages_go_before_market_data_that_came_earlier() -> None:
    bench = Bench()
    for n in range(20):
        bench.trade(n + 1)
    for _ in range(3):
        bench.position()
    async with bench.working():
        await eventually(lambda: bench.intake.depth == 0)
    assert bench.heard.order == ["private"] * 3 + ["trade"] * 20


async def test_a_connection_with_too_many_frames_waiting_is_not_read_on_until_half_are_handled() -> None:
    bench = Bench(bound=10, slice_s=0.0005, pause_s=0.001)
    bench.snapshot()
    waits = [bench.update() for _ in range(9)]
    assert [wait is None for wait in waits] == [True] * 8 + [False]
    reading = asyncio.ensure_future(waits[-1])
    await turns()
    assert not reading.done()
    async with bench.working():
        await asyncio.wait_for(reading, 5)
        assert bench.intake.depth <= 5
    assert bench.intake.held == 1


async def test_a_book_that_breaks_in_the_middle_of_a_backlog_is_not_told() -> None:
    bench = Bench()
    bench.snapshot()
    bench.update()
    bench.seq += 5  # a gap
    bench.update()
    bench.update()
    async with bench.working():
        await eventually(lambda: bench.intake.depth == 0)
    assert bench.heard.books == []
    assert bench.heard.feed[-1][:2] == (SYMBOL, False)


async def test_others_get_their_turn_while_a_backlog_is_worked_off() -> None:
    bench = Bench(slice_s=0.005, pause_s=0.002)
    bench.snapshot()
    for n in range(100):
        bench.trade(n + 1)
        bench.update()
    slices = 0
    async with bench.working():
        while bench.intake.depth:
            await turns(1)
            slices += 1
    assert slices >= 10, "100 books of 2 ms in slices of 5 ms"
    assert 0.1 < bench.intake.waited.highest / 1_000 < 10


async def test_how_long_the_oldest_frame_waits_can_be_asked() -> None:
    bench = Bench()
    assert bench.intake.age_s() == 0.0
    bench.update()
    await eventually(lambda: bench.intake.age_s() > 0.02)


async def test_what_a_lost_connection_delivered_is_still_handled() -> None:
    bench = Bench()
    bench.snapshot()
    bench.trade(1)
    bench.intake.lost(bench.public)
    assert (len(bench.heard.books), len(bench.heard.trades)) == (1, 1)


async def test_what_a_listener_raises_ends_the_work_and_is_told() -> None:
    class Broken(Recorder):
        def on_feed(self, event: FeedStatus) -> None:
            raise RuntimeError("a defect")

    intake = Intake()
    intake.opens_to(Feed(Broken(), [SYMBOL], lambda channel, symbol: None))
    connection = Connection("ws://x", (), on_frame=intake.offer, on_up=lambda *_: None)
    intake.admit(connection)
    intake.offer(connection, wire(books("snapshot", SYMBOL, "99", "101", seq=1)))
    with pytest.raises(RuntimeError, match="a defect"):
        await intake.run()
