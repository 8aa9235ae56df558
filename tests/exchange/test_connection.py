"""What one session leaves to the next, what is refused, and a reader that is held up: over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.eventually import Steady, eventually
from tests.exchange.servers import StreamServer, books, stream_server
from tests.exchange.test_stream import KEY, QUICK, streaming
from tradebot.exchange.bitget.connection import Connection
from tradebot.exchange.bitget.subscription import Subscription

SYMBOL = "SOLUSDT"
LOGIN = {"credentials": KEY, "now_ms": lambda: 1_760_000_000_000}


@asynccontextmanager
async def connected(server: StreamServer, *subscriptions: Subscription, **options: Any) -> AsyncIterator[Connection]:
    told = {"on_frame": lambda *_: None, "on_up": lambda *_: None, "timing": QUICK, "rng": random.Random(1)}
    connection = Connection(server.url, subscriptions, **{**told, **options})
    task = asyncio.create_task(connection.run())
    try:
        await eventually(lambda: connection.up)
        yield connection
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_pong_behind_frames_that_wait_to_be_handled_is_waited_for(steady: Steady) -> None:
    room = asyncio.Event()

    def take(connection: Connection, frame: bytes) -> Awaitable[object] | None:
        return room.wait() if b'"action":"update"' in frame else None

    async with (
        stream_server() as server,
        connected(server, Subscription("books", SYMBOL), on_frame=take) as connection,
    ):
        await server.push(books("update", SYMBOL, "99.5", "101", seq=server.seq + 1, pseq=server.seq))
        await eventually(lambda: connection._held_at == float("inf"))
        for pings in range(1, 5):  # much longer than a pong may take
            steady.now += QUICK.pong
            await eventually(lambda n=pings: server.pings == n)
        received = connection.received
        room.set()
        for pongs in range(4, 8):
            await eventually(lambda n=pongs: connection.received == received + n)
            steady.now += QUICK.pong / 2
        assert (len(server.sockets), connection.up) == (1, True)


async def test_a_pong_is_missed_again_after_a_session_that_ended_while_its_reader_was_held_up() -> None:
    def take(connection: Connection, frame: bytes) -> Awaitable[object] | None:
        return asyncio.Event().wait() if b'"action":"update"' in frame else None

    async with (
        stream_server() as server,
        connected(server, Subscription("books", SYMBOL), on_frame=take, timing=replace(QUICK, pong=0.1)) as connection,
    ):
        await server.push(books("update", SYMBOL, "99.5", "101", seq=server.seq + 1, pseq=server.seq))
        await eventually(lambda: connection._held_at == float("inf"))
        server.pongs = False
        connection.drop()
        await eventually(lambda: len(server.sockets) >= 3)


async def test_what_a_lost_session_had_still_to_say_is_not_said_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [Subscription("trade", f"COIN{n:03d}" + "X" * 60) for n in range(220)]
    slow = replace(QUICK, messages_per_second=4, ping=30.0)
    async with stream_server() as server:
        answer = server.answer

        def cut_at_the_fourth(said: dict[str, Any], conn_id: str) -> list[dict[str, Any]]:
            if len(server.heard) == 3:
                server.live.transport.abort()
            return answer(said, conn_id)

        monkeypatch.setattr(server, "answer", cut_at_the_fourth)
        connection = Connection(
            server.url, wanted, on_frame=lambda *_: None, on_up=lambda *_: None, timing=slow, rng=random.Random(1)
        )
        task = asyncio.create_task(connection.run())
        await eventually(lambda: connection.sessions == 2 and connection.up)
        before = sum(len(said["args"]) for said in server.heard[:4])
        assert before < len(wanted)
        assert Counter(server.subscriptions()[before:]) == Counter((s.channel, s.inst_id) for s in wanted)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_fresh_snapshot_that_was_planned_is_not_asked_for_in_the_next_session() -> None:
    books_of = Subscription("books", SYMBOL)
    async with stream_server() as server, connected(server, books_of) as connection:
        connection.resync(books_of)
        connection.resync(books_of)  # waits
        server.live.transport.abort()
        await eventually(lambda: len(server.sockets) == 2 and connection.up)
        asked, pings = len(server.subscriptions("unsubscribe")), server.pings
        await eventually(lambda: server.pings >= pings + 3)  # longer than it waited
        assert len(server.subscriptions("unsubscribe")) == asked


async def test_a_channel_that_was_refused_is_asked_for_in_the_next_session() -> None:
    async with stream_server() as server:
        server.unknown.add("books")
        async with streaming(server) as (stream, heard):
            await asyncio.wait_for(stream.ready(), 5)
            server.unknown.clear()
            server.live.transport.abort()
            await eventually(lambda: heard.feed and heard.feed[-1] == (SYMBOL, True, ""))


async def test_a_refused_public_channel_is_asked_for_again_after_a_while_and_on_its_own() -> None:
    timing = replace(QUICK, refused=0.1)
    async with stream_server() as server:
        server.unknown.add("books")
        async with streaming(server, timing=timing) as (stream, heard):
            await asyncio.wait_for(stream.ready(), 5)
            await eventually(lambda: server.subscriptions().count(("books", SYMBOL)) >= 3)
            assert heard.feed == [(SYMBOL, False, "subscription refused: doesn't exist (code 30001)")]
            server.unknown.clear()
            await eventually(lambda: heard.feed[-1] == (SYMBOL, True, ""))
            assert server.subscriptions().count(("candle5m", SYMBOL)) == 1
            assert (len(server.sockets), stream.up) == (1, True)


async def test_without_its_ticker_or_its_trades_a_symbol_is_not_traded_until_they_are_served() -> None:
    timing = replace(QUICK, refused=0.3)
    for channel in ("ticker", "trade"):
        async with stream_server() as server:
            server.unknown.add(channel)
            async with streaming(server, timing=timing, channels=("books", channel)) as (stream, heard):
                await asyncio.wait_for(stream.ready(), 5)
                await eventually(lambda s=stream: s.feed.sound(SYMBOL))
                assert heard.feed == [(SYMBOL, False, f"{channel} subscription refused: doesn't exist (code 30001)")]
                server.unknown.clear()
                await eventually(lambda h=heard: h.feed[1:] == [(SYMBOL, True, "")])


async def test_refused_candles_stop_nothing_they_are_read_back_by_rest() -> None:
    async with stream_server() as server:
        server.unknown.add("candle5m")
        async with streaming(server) as (stream, heard):
            await asyncio.wait_for(stream.ready(), 5)
            await eventually(lambda: heard.feed == [(SYMBOL, True, "")])


async def test_a_refused_private_channel_ends_the_session_and_is_told_until_it_is_served() -> None:
    async with stream_server() as server:
        server.unknown.add("orders")
        async with streaming(server, (), **LOGIN) as (stream, heard):
            await eventually(lambda: len(server.sockets) >= 3)
            assert not stream.up
            assert heard.connections == [(1, False)]
            assert set(heard.refused) == {("orders", "subscription refused: doesn't exist (code 30001)")}
            assert "orders refused" in stream.connections[0].last_error
            server.unknown.clear()
            await eventually(lambda: stream.up)
            assert heard.connections == [(1, False), (1, True)]
