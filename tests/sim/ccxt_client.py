"""An unmodified ccxt client pointed at the embedded exchange (protocol section 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ccxt.async_support

from tests.eventually import eventually
from tests.sim.clients import Bench
from tests.sim.walk import MOVE_MS

SYMBOL = "SOL/USDT:USDT"
STEPS_PER_SECOND = 40
SPEED = MOVE_MS / 1000 * STEPS_PER_SECOND
KEYS = {"apiKey": "demo-key", "secret": "demo-secret", "password": "demo-pass", "enableRateLimit": False}


def point_at(client: Any, b: Bench) -> None:
    for name, url in list(client.urls["api"].items()):
        if not isinstance(url, dict):
            client.urls["api"][name] = b.server.rest_url
    ws = b.server.ws_url + "/v2/ws/"
    streams = {"public": ws + "public", "private": ws + "private"}
    for name in ("ws", "demo"):
        client.urls["api"][name] = {**streams, "utaPublic": ws + "public", "utaPrivate": ws + "private"}


@asynccontextmanager
async def ccxt_client(b: Bench, module: Any = ccxt.async_support, **change: Any) -> AsyncIterator[Any]:
    client = module.bitget({**KEYS, **change, "options": {"defaultType": "swap"}})
    point_at(client, b)
    try:
        yield client
    finally:
        await client.close()


async def settled(b: Bench) -> None:
    """Wait until everything sent so far has acted."""
    clock = b.server.exchange.clock
    step = clock.step
    await eventually(lambda: clock.step >= step + 2)
