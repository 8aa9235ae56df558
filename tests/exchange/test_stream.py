from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from tests.eventually import Steady, eventually
from tests.exchange.servers import Recorder, StreamServer, books, stream_server
from tradebot.errors import AuthRefused
from tradebot.exchange.bitget import connection
from tradebot.exchange.bitget.pacing import Backoff, Timing
from tradebot.exchange.bitget.signing import Credentials
from tradebot.exchange.bitget.stream import BitgetStream
from tradebot.exchange.bitget.subscription import Subscription, chunked

QUICK = Timing(ping=0.2, pong=60.0, ack=60.0, open=60.0, stable=60.0, first_wait=0.05, longest_wait=0.2)
"""Back soon after a loss, and patient with a busy machine: a test says itself what it wants to see run out of time."""
KEY = Credentials("key", "secret", "pass")


@asynccontextmanager
async def streaming(
    server: StreamServer, symbols: tuple[str, ...] = ("SOLUSDT",), heard: Recorder | None = None, **options: Any
) -> AsyncIterator[tuple[BitgetStream, Recorder]]:
    heard = heard or Recorder()
    stream = BitgetStream(
        server.url, symbols, heard, **{"timing": QUICK, "rng": random.Random(1), "channels": ("books",), **options}
    )
    task = asyncio.create_task(stream.run())
    try:
        yield stream, heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_stream_is_ready_when_every_channel_is_acknowledged() -> None:
    async with stream_server() as server, streaming(server, ("SOLUSDT", "BTCUSDT")) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        assert set(server.subscriptions()) == {
            (channel, symbol) for channel in ("books", "candle5m") for symbol in ("SOLUSDT", "BTCUSDT")
        }
        await eventually(lambda: {symbol for symbol, _, _ in heard.books} == {"SOLUSDT", "BTCUSDT"})
        assert heard.connections == [(0, True)]
        assert stream.connections[0].conn_id == "conn-1"
        assert stream.connections[0].received == 6


async def test_a_subscription_without_an_ack_is_sent_again(steady: Steady) -> None:
    async with stream_server() as server:
        server.deaf["candle5m"] = 1
        async with streaming(server) as (stream, heard):
            await eventually(lambda: heard.books)  # what was acknowledged came before
            assert ("candle5m", "SOLUSDT") in server.subscriptions()
            assert not stream.up
            steady.now += QUICK.ack
            await asyncio.wait_for(stream.ready(), 5)
            assert server.subscriptions().count(("candle5m", "SOLUSDT")) == 2
            assert server.subscriptions().count(("books", "SOLUSDT")) == 1


async def test_a_channel_the_exchange_does_not_know_is_told_and_does_not_hold_up_the_others(steady: Steady) -> None:
    timing = replace(QUICK, ack=1.0, refused=2.0)
    async with stream_server() as server:
        server.unknown.add("books")
        async with streaming(server, timing=timing) as (stream, heard):
            await asyncio.wait_for(stream.ready(), 5)
            assert heard.feed == [("SOLUSDT", False, "subscription refused: doesn't exist (code 30001)")]
            for pings in (1, 2, 3):  # what is overdue is asked for between the second and the third
                steady.now += timing.ack / 2
                await eventually(lambda n=pings: server.pings == n)
            assert server.subscriptions().count(("books", "SOLUSDT")) == 1


async def test_a_lost_connection_comes_back_and_subscribes_again() -> None:
    async with stream_server() as server, streaming(server) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        for times in (2, 3):
            server.live.transport.abort()
            await eventually(lambda times=times: len(server.sockets) == times and stream.up)
            assert server.subscriptions().count(("books", "SOLUSDT")) == times
        await eventually(lambda: len(heard.feed) == 5)
        assert heard.connections == [(0, True), (0, False), (0, True), (0, False), (0, True)]
        assert heard.feed[1:3] == [("SOLUSDT", False, "disconnected"), ("SOLUSDT", True, "")]
        assert stream.connections[0].conn_id == "conn-3"


async def test_a_farewell_of_the_exchange_is_a_lost_connection_like_any_other() -> None:
    async with stream_server() as server, streaming(server) as (stream, _):
        await asyncio.wait_for(stream.ready(), 5)
        await server.live.close(1001, "24 hours")
        await eventually(lambda: len(server.sockets) == 2 and stream.up)


async def test_pings_are_sent_and_answered() -> None:
    async with stream_server() as server, streaming(server) as (stream, _):
        await eventually(lambda: server.pings >= 3)
        assert len(server.sockets) == 1
        assert stream.up


async def test_a_socket_that_answers_no_ping_is_left() -> None:
    timing = replace(QUICK, pong=0.1)
    async with stream_server() as server, streaming(server, timing=timing) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        server.pongs = False
        await eventually(lambda: len(server.sockets) >= 2)
        server.pongs = True
        await eventually(lambda: stream.up and heard.feed[-1] == ("SOLUSDT", True, ""))
        assert (0, False) in heard.connections


async def test_a_gap_resubscribes_the_book_of_that_symbol_only() -> None:
    async with stream_server() as server, streaming(server, ("SOLUSDT", "BTCUSDT")) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        await eventually(lambda: len(heard.feed) == 2)
        await server.push(books("update", "SOLUSDT", "99.5", "101", seq=999, pseq=998))
        await eventually(lambda: len(heard.feed) == 4)
        assert heard.feed[2][:2] == ("SOLUSDT", False)
        assert heard.feed[3] == ("SOLUSDT", True, "")
        assert server.subscriptions("unsubscribe") == [("books", "SOLUSDT")]
        assert server.subscriptions().count(("books", "SOLUSDT")) == 2
        assert server.subscriptions().count(("books", "BTCUSDT")) == 1
        assert len(server.sockets) == 1


async def test_gaps_again_and_again_do_not_become_a_storm_of_subscriptions(steady: Steady) -> None:
    timing = replace(QUICK, longest_wait=30.0)
    async with stream_server() as server, streaming(server, timing=timing) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        await eventually(lambda: stream.feed.sound("SOLUSDT"))
        await server.push(books("update", "SOLUSDT", "99.5", "101", seq=999, pseq=998))
        await eventually(lambda: len(heard.feed) == 3)  # the first is mended at once
        for _ in range(10):
            before = stream.feed.frames
            await server.push(books("update", "SOLUSDT", "99.5", "101", seq=999, pseq=998))
            await eventually(lambda n=before: stream.feed.frames > n)
        steady.now += 0.4  # the first wait lasts from half a second to a whole one
        await eventually(lambda: server.pings)
        assert len(server.subscriptions("unsubscribe")) == 1
        assert heard.feed[-1][:2] == ("SOLUSDT", False)
        steady.now += 0.6
        await eventually(lambda: stream.feed.sound("SOLUSDT"))
        assert len(server.subscriptions("unsubscribe")) == 2


async def test_many_symbols_are_spread_over_connections_and_messages_stay_small_and_slow() -> None:
    symbols = tuple(f"COIN{i:03d}LONGNAMEUSDT" for i in range(120))
    timing = Timing(ping=30, pong=30, ack=30)
    async with stream_server() as server:
        async with streaming(server, symbols, timing=timing, channels_per_connection=200) as (stream, _):
            await asyncio.wait_for(stream.ready(), 20)
            assert len(stream.connections) == len(server.sockets) == 2
            assert set(server.subscriptions()) == {(c, s) for c in ("books", "candle5m") for s in symbols}
        assert max(server.sizes) <= 4096
        assert len(server.sizes) >= 5


async def test_no_more_than_ten_messages_leave_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []
    send = connection.ClientConnection.send

    async def timed(self: Any, message: str) -> None:  # when they arrive is up to the machine
        left.append(monotonic())
        await send(self, message)

    monkeypatch.setattr(connection.ClientConnection, "send", timed)
    symbols = tuple(f"COIN{i:03d}" + "X" * 40 for i in range(400))
    async with stream_server() as server, streaming(server, symbols, channels_per_connection=900) as (stream, _):
        await eventually(lambda: len(server.heard) >= 12)
        assert len(stream.connections) == 1
        assert all(last - first >= 0.95 for first, last in zip(left, left[10:], strict=False))


async def test_the_private_side_logs_in_before_it_subscribes() -> None:
    login = {"credentials": KEY, "now_ms": lambda: 1_760_000_000_000}
    async with stream_server() as server, streaming(server, **login) as (stream, heard):
        await asyncio.wait_for(stream.ready(), 5)
        private = [said for said in server.heard if said["op"] == "login" or said["args"][0]["channel"] == "orders"]
        assert private[0]["args"] == [
            {
                "apiKey": "key",
                "passphrase": "pass",
                "timestamp": "1760000000",
                "sign": "Tn3aZRimO/Hyd+C9EOJ4Og2ljfpLXQpwpAR1iz4tT8M=",
            }
        ]
        assert {arg["channel"] for arg in private[1]["args"]} == {
            "orders",
            "fill",
            "positions",
            "account",
            "orders-algo",
        }
        assert sorted(heard.connections) == [(0, True), (1, True)]


async def test_a_refused_key_ends_the_stream() -> None:
    async with stream_server() as server:
        server.login_replies.append({"event": "error", "code": 30015, "msg": "Invalid sign"})
        stream = BitgetStream(server.url, [], Recorder(), credentials=KEY, now_ms=lambda: 1, timing=QUICK)
        with pytest.raises(AuthRefused, match="Invalid sign"):
            await asyncio.wait_for(stream.run(), 5)


async def test_a_refused_timestamp_synchronises_the_clock_and_logs_in_again() -> None:
    synchronised: list[int] = []

    async def synchronise() -> None:
        synchronised.append(1)

    async with stream_server() as server:
        server.login_replies.append({"event": "error", "code": "30014", "msg": "Request timestamp expired"})
        options = {"credentials": KEY, "now_ms": lambda: 1, "on_clock_refused": synchronise}
        async with streaming(server, (), **options) as (stream, _):
            await asyncio.wait_for(stream.ready(), 5)
            assert synchronised == [1]


async def test_an_exchange_that_is_away_is_tried_again() -> None:
    async with stream_server() as server:
        url = server.url
    heard = Recorder()
    stream = BitgetStream(url, ["SOLUSDT"], heard, timing=QUICK)
    task = asyncio.create_task(stream.run())
    await eventually(lambda: stream.connections[0]._backoff.attempts >= 3)
    assert stream.connections[0].last_error
    assert heard.connections == []
    await stream.close()
    await asyncio.wait_for(task, 5)


async def test_close_ends_run() -> None:
    async with stream_server() as server:
        stream = BitgetStream(server.url, ["SOLUSDT"], Recorder(), timing=QUICK)
        task = asyncio.create_task(stream.run())
        await asyncio.wait_for(stream.ready(), 5)
        await stream.close()
        await asyncio.wait_for(task, 5)
        assert len(server.sockets) == 1


def test_waits_double_from_none_to_thirty_seconds() -> None:
    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    backoff = Backoff(Longest())
    assert [backoff.next() for _ in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next() == 0


def test_waits_are_shortened_at_random() -> None:
    waits = set()
    for seed in range(20):
        backoff = Backoff(random.Random(seed))
        backoff.next()
        waits.add(backoff.next())
    assert len(waits) == 20
    assert all(0.5 <= wait <= 1.0 for wait in waits)


def test_messages_keep_every_argument_within_the_size_limit() -> None:
    arguments = [Subscription("candle5m", f"COIN{i}USDT").argument() for i in range(500)]
    messages = chunked("subscribe", arguments)
    assert max(map(len, messages)) <= 4096
    assert sum(message.count('"instId"') for message in messages) == 500
    assert chunked("subscribe", []) == []
