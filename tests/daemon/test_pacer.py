"""Keeping step over a real socket: what is acknowledged and when, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.eventually import eventually
from tradebot.daemon.pacer import Pacer
from tradebot.errors import Unavailable


class Exchange:
    """Sends its steps one after the other, each after the last was acknowledged, then ``last`` or nothing more."""

    def __init__(self, steps: list[int], last: dict[str, Any] | None) -> None:
        self.steps = [{"step": n, "t": t, "counts": {"a": n}} for n, t in enumerate(steps)]
        self.last = last
        self.heard: list[dict[str, Any]] = []
        self.url = ""
        self.cut = asyncio.Event()

    async def talk(self, socket: ServerConnection) -> None:
        self.heard.append(json.loads(await socket.recv()))
        for step in self.steps:
            await socket.send(json.dumps(step))
            self.heard.append(json.loads(await socket.recv()))
        if self.last is not None:
            await socket.send(json.dumps(self.last))
        await self.cut.wait()


@asynccontextmanager
async def exchange(*steps: int, end: bool = True) -> AsyncIterator[Exchange]:
    venue = Exchange(list(steps), {"end": True, "t": 99} if end else None)
    async with serve(venue.talk, "127.0.0.1", 0) as server:
        venue.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield venue
        venue.cut.set()


def never() -> bool:
    return False


async def test_each_step_is_acknowledged_when_it_was_dealt_with_and_says_when_to_wake() -> None:
    seen: list[tuple[int, dict[str, int]]] = []

    async def on_step(ts_ms: int, counts: dict[str, int]) -> int | None:
        seen.append((ts_ms, counts))
        assert len(venue.heard) == len(seen)  # nothing is acknowledged before it was dealt with
        return None if ts_ms == 20 else ts_ms + 5

    async with exchange(10, 20, 30) as venue:
        pacer = Pacer(venue.url)
        assert await pacer.attach() == 10
        assert venue.heard == [{"op": "attach"}]
        await pacer.run(on_step, never)
        assert pacer.ended
        await pacer.close()
    assert seen == [(10, {"a": 0}), (20, {"a": 1}), (30, {"a": 2})]
    assert venue.heard[1:] == [{"ack": 0, "wake": 15}, {"ack": 1, "wake": None}, {"ack": 2, "wake": 35}]


async def test_between_two_steps_nothing_of_ours_is_under_way() -> None:
    dealing, go_on = asyncio.Event(), asyncio.Event()

    async def on_step(ts_ms: int, counts: dict[str, int]) -> int | None:
        dealing.set()
        await go_on.wait()
        return None

    async with exchange(10, end=False) as venue:
        pacer = Pacer(venue.url)
        await pacer.attach()
        running = asyncio.create_task(pacer.run(on_step, never))
        await dealing.wait()
        assert not pacer.waiting
        go_on.set()
        await eventually(lambda: pacer.waiting)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await pacer.close()


@pytest.mark.parametrize(("stops_after", "acks"), [(0, 0), (1, 0), (2, 1)])
async def test_whoever_is_asked_to_stop_does_not_acknowledge_the_step_in_hand(stops_after: int, acks: int) -> None:
    seen: list[int] = []

    async def on_step(ts_ms: int, counts: dict[str, int]) -> int | None:
        seen.append(ts_ms)
        return None

    async with exchange(10, 20, 30) as venue:
        pacer = Pacer(venue.url)
        await pacer.attach()
        await pacer.run(on_step, lambda: len(seen) >= stops_after)
        assert not pacer.ended
        await pacer.close()
    assert len(seen) == stops_after
    assert len(venue.heard) == 1 + acks


async def ignore(ts_ms: int, counts: dict[str, int]) -> int | None:
    return None


async def test_a_clock_that_goes_away_is_one_clear_error() -> None:
    async with exchange(10, 20, end=False) as venue:
        venue.cut.set()
        pacer = Pacer(venue.url)
        await pacer.attach()
        with pytest.raises(Unavailable, match="went away") as caught:
            await pacer.run(ignore, never)
        assert venue.url in str(caught.value)
        assert not pacer.ended
        await pacer.close()


async def test_an_answer_that_cannot_be_read_is_one_clear_error() -> None:
    async with exchange(10) as venue:
        venue.last = {"end": "yes"}
        pacer = Pacer(venue.url)
        await pacer.attach()
        with pytest.raises(Unavailable, match="went away"):
            await pacer.run(ignore, never)
        await pacer.close()


async def test_what_fails_while_a_step_is_dealt_with_is_not_the_clocks_fault() -> None:
    async def on_step(ts_ms: int, counts: dict[str, int]) -> int | None:
        raise FileNotFoundError("gone")

    async with exchange(10) as venue:
        pacer = Pacer(venue.url)
        await pacer.attach()
        with pytest.raises(FileNotFoundError):
            await pacer.run(on_step, never)
        await pacer.close()


@pytest.mark.parametrize("call", [lambda p: p.attach(), lambda p: p.run(ignore, never)])
async def test_without_an_exchange_there_is_no_clock(call: Callable[[Pacer], Any]) -> None:
    async with exchange() as venue:
        url = venue.url
    with pytest.raises(Unavailable):
        await call(Pacer(url))
    await Pacer(url).close()
