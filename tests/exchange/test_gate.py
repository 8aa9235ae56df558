from __future__ import annotations

import asyncio

from tests.eventually import eventually, turns
from tests.exchange.servers import Recorder
from tradebot.exchange.bitget.connection import Connection
from tradebot.exchange.bitget.feed import Feed
from tradebot.exchange.bitget.gate import PacedGate
from tradebot.exchange.bitget.listener import PRIVATE, PUBLIC


class Frames(Feed):
    """A feed that only writes down what it is given."""

    def __init__(self) -> None:
        super().__init__(Recorder(), (), lambda symbol: None)
        self.out: list[bytes] = []

    def process(self, frame: bytes, rank: int = PUBLIC) -> None:
        self.out.append(frame)


class Bench:
    """A gate with connections that are fed by hand."""

    def __init__(self) -> None:
        self.feed = Frames()
        self.out = self.feed.out
        self.gate = PacedGate()
        self.gate.opens_to(self.feed)
        self.private = self._connection(PRIVATE, 0, "b")
        self.public = self._connection(PUBLIC, 1, "a")

    def _connection(self, rank: int, index: int, name: str) -> Connection:
        one = Connection("ws://x", (), on_frame=self.gate.offer, on_up=lambda *_: None, rank=rank, index=index)
        one.conn_id = name
        self.gate.admit(one)
        return one

    def hear(self, connection: Connection, *frames: bytes) -> None:
        for frame in frames:
            connection.received += 1
            self.gate.offer(connection, frame)


async def test_frames_of_a_step_come_public_first_whatever_arrived_first() -> None:
    bench = Bench()
    bench.hear(bench.private, b"p1", b"p2")
    bench.hear(bench.public, b"1", b"2", b"3")
    assert bench.out == []
    assert await bench.gate.reach({"a": 2, "b": 1}, 1_000) == 3
    assert bench.out == [b"1", b"2", b"p1"]
    assert await bench.gate.reach({"a": 3, "b": 2}, 1_000) == 2
    assert bench.out[3:] == [b"3", b"p2"]


async def test_a_step_waits_for_its_last_frame() -> None:
    bench = Bench()
    waiting = asyncio.create_task(bench.gate.reach({"a": 2, "b": 0}, 1_000))
    bench.hear(bench.public, b"1")
    await turns()
    assert not waiting.done()
    bench.hear(bench.public, b"2")
    assert await waiting == 2


async def test_another_clients_connection_is_not_waited_for() -> None:
    bench = Bench()
    assert await bench.gate.reach({"a": 0, "b": 0, "stranger": 99}, 1_000) == 0


async def test_a_connection_that_does_not_know_its_name_yet_is_waited_for() -> None:
    bench = Bench()
    bench.public.conn_id = ""
    waiting = asyncio.create_task(bench.gate.reach({"a": 1, "b": 0}, 1_000))
    await turns()
    assert not waiting.done()
    bench.public.conn_id = "a"
    bench.hear(bench.public, b"ack")
    assert await waiting == 1


async def test_a_lost_connection_delivers_what_it_had_and_holds_nothing_up() -> None:
    bench = Bench()
    bench.hear(bench.public, b"1")
    waiting = asyncio.create_task(bench.gate.reach({"a": 5, "b": 0}, 1_000))
    await turns()
    bench.gate.lost(bench.public)
    bench.public.conn_id, bench.public.received = "a2", 0
    bench.hear(bench.public, b"ack")
    await eventually(waiting.done)
    assert bench.out == [b"1"]
    assert await bench.gate.reach({"a2": 1}, 1_000) == 1
