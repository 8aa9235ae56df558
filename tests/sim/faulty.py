"""A market and an account under faults, as a bare client hears them, step by step."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

from tests.sim.clients import Bench, Paced, Stream, bench
from tests.sim.walk import WalkSource
from tradebot.sim.faults import Schedule
from tradebot.sim.faults.rules import read_rule

Deed = Callable[[Bench], Coroutine[Any, Any, object]]


def faults(*rules: dict[str, Any], seed: int = 1) -> Schedule:
    """A schedule of rules written as in a file."""
    return Schedule(seed=seed, rules=tuple(read_rule(rule, lambda name: "test") for rule in rules))


def injected(b: Bench) -> dict[tuple[str, str], int]:
    """What the exchange counted, without zeros."""
    return {key: count for key, count in b.server.exchange.faults.injected().items() if count}


async def hear(stream: Stream, count: int) -> list[str]:
    """The texts up to frame ``count``, however broken; fewer when the connection ends."""
    heard: list[str] = []
    while len(stream.frames) < count:
        message = await asyncio.wait_for(stream.socket.receive(), 10)
        if message.type is not aiohttp.WSMsgType.TEXT:
            break
        stream.frames.append(message.data)
        heard.append(message.data)
    return heard


async def walk(paced: Paced, stream: Stream, steps: int) -> list[list[str]]:
    """The texts that each of some steps brought."""
    told: list[list[str]] = []
    for _ in range(steps):
        step = await paced.step()
        told.append(await hear(stream, step["counts"].get(stream.conn_id, 0)))
    return told


async def public_story(schedule: Schedule | None, *channels: str, steps: int = 40) -> tuple[list[list[str]], Any]:
    """What ``channels`` of SOLUSDT say at each step, and what was injected by kind and scope."""
    async with bench([WalkSource(), WalkSource("ETHUSDT")], faults=schedule) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.stream()
        await stream.subscribe(*channels)
        for _ in channels:
            assert (await stream.next())["event"] == "subscribe"
            assert (await stream.next())["action"] == "snapshot"
        return await walk(paced, stream, steps), injected(b)


async def private_story(schedule: Schedule | None, *channels: str, steps: int = 12) -> tuple[list[list[str]], Any]:
    """What ``channels`` of the account say at each step in which a position is opened and closed; what was injected."""
    async with bench([WalkSource(), WalkSource("ETHUSDT")], faults=schedule) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.private_stream(*channels)
        told = await walk(paced, stream, 2)
        await b.rest.order("buy", "1", clientOid="in")
        told += await walk(paced, stream, 3)
        await b.rest.order("sell", "1", clientOid="out", reduceOnly="YES")
        told += await walk(paced, stream, steps - 5)
        return told, injected(b)


def pushes(step: list[str], channel: str = "") -> list[dict[str, Any]]:
    """The decoded pushes of a step."""
    decoded = [json.loads(text) for text in step]
    return [push for push in decoded if not channel or push["arg"]["channel"] == channel]
