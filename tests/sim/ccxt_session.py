"""An unmodified ccxt.pro client at work on the embedded exchange, its steps counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import ccxt.pro

from tests.eventually import eventually
from tests.sim.ccxt_client import SPEED, SYMBOL, ccxt_client, settled
from tests.sim.clients import Bench, bench
from tests.sim.walk import MOVE_MS, START_MS, WalkSource
from tradebot.market.candle import HOUR_MS

OTHER = "BTC/USDT:USDT"
ISOLATED = {"marginMode": "isolated"}
Seen = dict[str, list[Any]]
"""What the private streams told, by stream."""


class Session:
    """One client's session; :meth:`step` numbers what it does and says where it broke."""

    def __init__(self, b: Bench, client: Any) -> None:
        self.b = b
        self.client = client
        self.steps = 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.steps += 1
        try:
            yield
        except Exception as error:
            error.add_note(f"in step {self.steps}: {what}")
            raise

    async def status(self, order: dict[str, Any]) -> str:
        """An order's status once it has acted."""
        await settled(self.b)
        return str((await self.client.fetch_order(order["id"], SYMBOL))["status"])

    async def fault(self, **rule: Any) -> None:
        answer = await self.b.session.post(f"{self.b.server.rest_url}/sim/faults", json={"rules": [rule]})
        assert answer.status == 200, await answer.text()

    async def wait(self, call: Awaitable[Any]) -> Any:
        return await asyncio.wait_for(call, 10)


@asynccontextmanager
async def open_session() -> AsyncIterator[Session]:
    # funding is settled at 08:00, soon after the market begins
    start_ms = START_MS + 8 * HOUR_MS - 40 * MOVE_MS
    sources = [WalkSource(steps=200_000, start_ms=start_ms), WalkSource("BTCUSDT", steps=200_000, start_ms=start_ms)]
    async with bench(sources, hold=False, speed=SPEED) as b, ccxt_client(b, ccxt.pro) as client:
        yield Session(b, client)


@asynccontextmanager
async def watching(session: Session) -> AsyncIterator[Seen]:
    """The private streams, followed for as long as the block lasts."""
    client = session.client
    seen: Seen = {"orders": [], "trades": [], "positions": [], "balances": []}

    async def watch(name: str, call: Callable[[], Awaitable[Any]]) -> None:
        while True:
            update = await call()
            # rows are copied, for the client goes on changing the ones it has given out
            seen[name] += [update] if name == "balances" else [dict(row) for row in update]

    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "orders": lambda: client.watch_orders(SYMBOL),
        "trades": lambda: client.watch_my_trades(SYMBOL),
        "positions": lambda: client.watch_positions([SYMBOL]),
        "balances": lambda: client.watch_balance({"type": "swap"}),
    }
    watchers = [asyncio.create_task(watch(name, call)) for name, call in calls.items()]
    try:
        with session.step("watch balance"):
            await eventually(lambda: seen["balances"])
            assert seen["balances"][0]["USDT"]["total"] == 10_000.0
        yield seen
        with session.step("watch orders"):
            assert {"open", "closed", "canceled"} <= {update["status"] for update in seen["orders"]}
        with session.step("watch my trades"):
            assert {trade["side"] for trade in seen["trades"]} == {"buy", "sell"}
        with session.step("watch positions"):
            assert any(update["side"] == "long" for update in seen["positions"])
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
