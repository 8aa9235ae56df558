"""A stream that goes wrong in ways that no closed socket tells: over real sockets, one symbol at a time."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tests.eventually import Steady, eventually, turns
from tests.exchange.samples import wire
from tests.exchange.servers import Recorder, books, stream_server
from tests.exchange.test_stream import KEY, QUICK, streaming
from tradebot.exchange.bitget.intake import Intake
from tradebot.exchange.bitget.pacing import Timing
from tradebot.exchange.bitget.stream import BitgetStream
from tradebot.market.book import OrderBook

TWO = ("SOLUSDT", "BTCUSDT")


class Clock:
    """The bot's time, moved by the test."""

    def __init__(self) -> None:
        self.ms = 1_760_000_000_000

    def __call__(self) -> int:
        return self.ms


def options(clock: Clock, **more: Any) -> dict[str, Any]:
    return {"now_ms": clock, "silence_ms": 60_000, "answer_ms": 10_000, "behind_ms": 2_000, **more}


async def test_a_symbol_that_falls_silent_is_out_and_renewed_and_the_other_is_not_touched() -> None:
    clock = Clock()
    async with stream_server() as server, streaming(server, TWO, **options(clock)) as (stream, heard):
        await eventually(lambda: len(heard.feed) == 2)
        clock.ms += 59_000
        await server.push(books("update", "BTCUSDT", "99.5", "101", seq=server.seq + 1, pseq=server.seq, ts=clock.ms))
        await eventually(lambda: len(heard.books) == 3)
        clock.ms += 1_000
        assert stream.next_due_ms() == clock.ms
        stream.on_time()
        assert heard.feed[2] == ("SOLUSDT", False, "books silent for 60 s")
        assert heard.causes[2] == ("silence", clock.ms - 60_000), "nothing at all was heard of it since"
        await eventually(lambda: len(heard.feed) == 4)  # the renewed subscription brings a snapshot
        assert heard.feed[3] == ("SOLUSDT", True, "")
        assert server.subscriptions("unsubscribe") == [("books", "SOLUSDT")]
        assert (stream.silences, stream.renewals, stream.given_up) == (1, 1, 0)
        assert stream.feed.resyncs_by_kind == {"silent": 1}


async def test_an_acknowledged_subscription_without_data_is_renewed_and_then_its_connection_left() -> None:
    clock = Clock()
    async with stream_server() as server:
        server.mute.add(("books", "SOLUSDT"))
        async with streaming(server, TWO, **options(clock)) as (stream, heard):
            await asyncio.wait_for(stream.ready(), 5)
            await eventually(lambda: ("BTCUSDT", True, "") in heard.feed)
            for renewals, wait_ms in ((1, 60_000), (2, 10_000)):
                clock.ms += wait_ms
                stream.on_time()
                await eventually(lambda n=renewals: server.subscriptions().count(("books", "SOLUSDT")) == n + 1)
            assert [feed[:2] for feed in heard.feed if feed[0] == "SOLUSDT"] == [("SOLUSDT", False)] * 2
            assert len(server.sockets) == 1
            server.mute.clear()
            clock.ms += 10_000
            stream.on_time()
            assert stream.given_up == 1
            await eventually(lambda: len(server.sockets) == 2 and stream.up and stream.feed.sound("SOLUSDT"))
            await eventually(lambda: heard.feed[-2:] == [(symbol, True, "") for symbol in TWO])


async def test_books_that_come_late_are_not_acted_on_until_they_come_in_time() -> None:
    clock = Clock()
    async with stream_server() as server, streaming(server, TWO, **options(clock)) as (stream, heard):
        await eventually(lambda: len(heard.feed) == 2)

        async def update(age_ms: int) -> None:
            server.seq += 1
            ts = clock.ms - age_ms
            await server.push(books("update", "BTCUSDT", "99.5", "101", seq=server.seq, pseq=server.seq - 1, ts=ts))

        for age_ms in (100, 2_500, 2_600, 1_900, 50):
            before = stream.feed.frames
            await update(age_ms)
            await eventually(lambda n=before: stream.feed.frames > n)
        assert heard.feed[2:] == [("BTCUSDT", False, "2.5 s behind"), ("BTCUSDT", True, "")]
        assert len([symbol for symbol, *_ in heard.books if symbol == "BTCUSDT"]) == 6, "the book itself goes on"
        assert stream.times_behind == 1


async def test_data_about_as_old_as_the_limit_are_one_episode() -> None:
    clock = Clock()
    async with stream_server() as server, streaming(server, TWO, **options(clock)) as (stream, heard):
        await eventually(lambda: len(heard.feed) == 2)
        for n in range(100):
            server.seq += 1
            ts = clock.ms - 2_000 - (1 if n % 2 else -1)
            await server.push(books("update", "BTCUSDT", "99.5", "101", seq=server.seq, pseq=server.seq - 1, ts=ts))
        await eventually(lambda: stream.feed.frames == 2 + 100)
        assert heard.feed[2:] == [("BTCUSDT", False, "2.0 s behind")]
        assert heard.causes[2] == ("behind", clock.ms)
        assert stream.times_behind == 1


def test_an_old_snapshot_is_not_trusted_until_something_comes_in_time() -> None:
    clock, heard = Clock(), Recorder()
    stream = BitgetStream("ws://x", TWO, heard, **options(clock))

    def take(action: str, seq: int, age_ms: int) -> None:
        message = books(action, "SOLUSDT", "99", "101", seq=seq, pseq=seq - 1, ts=clock.ms - age_ms)
        stream.feed.process(wire(message))

    take("snapshot", 100, 90_000)
    late = ("SOLUSDT", False, "90.0 s behind")
    assert heard.feed == [late], "a connection may come back late"
    take("update", 101, 5_000)
    take("snapshot", 200, 60_000)
    assert heard.feed == [late]
    take("snapshot", 300, 100)
    assert heard.feed == [late, ("SOLUSDT", True, "")]


async def test_an_update_in_time_does_not_end_the_lateness_while_others_wait_to_be_handled() -> None:
    clock, heard = Clock(), Recorder()
    stream = BitgetStream("ws://x", TWO, heard, **options(clock, behind_ms=20))

    def take(seq: int, age_ms: int) -> None:
        message = books("update", "SOLUSDT", "99", "101", seq=seq, pseq=seq - 1, ts=clock.ms - age_ms)
        stream.feed.process(wire(message))

    stream.feed.process(wire(books("snapshot", "SOLUSDT", "99", "101", seq=100, ts=clock.ms)))
    take(101, 5_000)
    stream.gate.offer(stream.connections[0], b"pong")
    await eventually(lambda: stream.gate.age_s() > 0.02)
    take(102, 0)
    assert heard.feed[1:] == [("SOLUSDT", False, "5.0 s behind")]
    stream.gate.lost(stream.connections[0])
    take(103, 0)
    assert heard.feed[2:] == [("SOLUSDT", True, "")]


async def test_a_book_that_is_silent_while_trades_go_on_is_out_alone() -> None:
    clock = Clock()
    async with stream_server() as server, streaming(server, **options(clock)) as (stream, heard):
        await eventually(lambda: len(heard.feed) == 1)
        last_ms = clock.ms
        clock.ms += 55_000
        arg = {"instType": "USDT-FUTURES", "channel": "trade", "instId": "SOLUSDT"}
        row = {"ts": "1", "price": "1", "size": "2", "side": "buy", "tradeId": "7"}
        await server.push({"action": "update", "arg": arg, "data": [row]})
        await eventually(lambda: len(heard.trades) == 1)
        clock.ms += 5_000
        server.mute.add(("books", "SOLUSDT"))
        stream.on_time()
        assert heard.causes[1] == ("book", last_ms)
        await eventually(lambda: server.subscriptions().count(("books", "SOLUSDT")) == 2)
        clock.ms += 10_000
        stream.on_time()
        assert heard.causes[2] == ("silence", last_ms + 55_000), "an acknowledgement is not data"


async def test_a_trade_message_that_cannot_be_read_makes_that_channel_be_subscribed_again() -> None:
    async with stream_server() as server, streaming(server, TWO, channels=("books", "trade")) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        arg = {"instType": "USDT-FUTURES", "channel": "trade", "instId": "SOLUSDT"}
        await server.push({"action": "update", "arg": arg, "data": [{"tradeId": 7}]})
        await eventually(lambda: server.subscriptions().count(("trade", "SOLUSDT")) == 2)
        assert server.subscriptions("unsubscribe") == [("trade", "SOLUSDT")]
        assert [missed[:2] for missed in heard.missed] == [("trade", "SOLUSDT")]
        assert [feed[1] for feed in heard.feed] == [True, True]


async def test_a_reply_that_cannot_be_read_is_asked_for_again_and_ends_nothing(steady: Steady) -> None:
    async with stream_server() as server:
        server.garble["candle5m"] = 1
        async with streaming(server) as (stream, heard):
            await eventually(lambda: heard.books and stream.connections[0].unreadable)
            steady.now += QUICK.ack
            await asyncio.wait_for(stream.ready(), 5)
            assert server.subscriptions().count(("candle5m", "SOLUSDT")) == 2
            assert sum(connection.unreadable for connection in stream.connections) == 1
            assert len(server.sockets) == 1


async def test_a_connection_that_used_up_its_subscribe_requests_is_replaced() -> None:
    timing = Timing(first_wait=0.05, longest_wait=0.05, stable=0.05, subscribes_per_hour=4)
    async with stream_server() as server, streaming(server, timing=timing) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        for n in range(5):
            await eventually(lambda: stream.up and stream.feed.sound("SOLUSDT"))
            before = len(server.subscriptions()), len(server.sockets)
            await server.push(books("update", "SOLUSDT", "99.5", "101", seq=9_999 + n, pseq=9_998 + n))
            await eventually(lambda b=before: (len(server.subscriptions()), len(server.sockets)) > b, within_s=5)
        await eventually(lambda: len(server.sockets) == 2 and stream.feed.sound("SOLUSDT"))
        assert [connection.worn_out for connection in stream.connections] == [1]
        assert heard.feed[-1] == ("SOLUSDT", True, "")


async def test_a_private_message_that_cannot_be_read_is_told_as_lost() -> None:
    login = {"credentials": KEY, "now_ms": lambda: 1_760_000_000_000}
    async with stream_server() as server, streaming(server, **login) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        arg = {"instType": "USDT-FUTURES", "channel": "orders", "instId": "default"}
        frame = json.dumps({"action": "snapshot", "arg": arg, "data": [{"orderId": 1}]})
        for socket in server.sockets:
            await socket.send(frame)
        await eventually(lambda: len(heard.lost) == 1)
        assert stream.feed.unreadable == 2
        assert stream.up


class Slow(Recorder):
    """A bot that needs a while for every book it looks at."""

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        time.sleep(0.001)
        super().on_book(symbol, book, ts_exchange_ms)


async def test_an_exchange_that_says_more_than_can_be_handled_waits_and_nothing_is_lost() -> None:
    """20,000 updates at once for a bot that could look at 1,000 books a second."""
    gate = Intake(bound=200)
    updates = 20_000
    slow = {"heard": Slow(), "gate": gate, "behind_ms": 2**60}
    async with stream_server() as server, streaming(server, TWO, **slow) as (stream, heard):
        await eventually(lambda: len(heard.feed) == 2)
        seqs = dict(zip(TWO, (101, 102), strict=True))
        server.seq = 200
        deepest = 0

        async def blast() -> None:
            for n in range(updates):
                symbol = TWO[n % 2]
                server.seq += 1
                bid = f"99.{server.seq % 1_000 + 1:04d}"
                await server.push(books("update", symbol, bid, "101", seq=server.seq, pseq=seqs[symbol]))
                seqs[symbol] = server.seq
            for symbol in TWO:
                row = {"ts": "1", "price": "1", "size": "2", "side": "buy", "tradeId": "7"}
                arg = {"instType": "USDT-FUTURES", "channel": "trade", "instId": symbol}
                await server.push({"action": "update", "arg": arg, "data": [row]})

        sending = asyncio.create_task(blast())
        while not (sending.done() and len(heard.trades) == 2):
            deepest = max(deepest, gate.depth)
            await turns(1)
        await sending
        assert deepest <= 200
        assert gate.held > 0
        assert stream.feed.resyncs == stream.feed.unreadable == 0
        assert stream.feed.frames == 2 + updates + 2
        told = len(heard.books) - 2
        assert told + stream.feed.merged == updates
        assert told < updates / 4
