"""An unmodified ccxt.pro client at work on the embedded exchange, its steps counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import ccxt.pro

from tests.eventually import eventually
from tests.sim.ccxt_client import SPEED, SYMBOL, ccxt_client, settled
from tests.sim.clients import PRODUCT, Bench, bench
from tests.sim.walk import WalkSource

OTHER = "BTC/USDT:USDT"
ISOLATED = {"marginMode": "isolated"}


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

    def told_positions(self) -> list[Any]:
        """The open positions as the last push told them."""
        return list(self.client.positions.get(PRODUCT, ()))

    async def wait(self, call: Awaitable[Any]) -> Any:
        return await asyncio.wait_for(call, 10)


@asynccontextmanager
async def open_session() -> AsyncIterator[Session]:
    # funding is settled every hour of the market, so within seconds of the test
    sources = [WalkSource(name, steps=200_000, funding_hours=1) for name in ("SOLUSDT", "BTCUSDT")]
    async with bench(sources, hold=False, speed=SPEED) as b, ccxt_client(b, ccxt.pro) as client:
        yield Session(b, client)


@asynccontextmanager
async def watching(session: Session) -> AsyncIterator[None]:
    """The private streams, followed for as long as the block lasts.

    ccxt tells a watcher of one push at a time and forgets those that come while nobody waits, but keeps the state that
    all of them made: that is what is looked at.
    """
    client = session.client
    statuses: set[str] = set()

    async def follow(call: Callable[[], Awaitable[Any]]) -> None:
        while True:
            await call()
            statuses.update(row["status"] for row in client.orders or ())

    calls: tuple[Callable[[], Awaitable[Any]], ...] = (
        lambda: client.watch_orders(SYMBOL),
        lambda: client.watch_my_trades(SYMBOL),
        lambda: client.watch_positions([SYMBOL]),
        lambda: client.watch_balance({"type": "swap"}),
    )
    followers = [asyncio.create_task(follow(call)) for call in calls]
    try:
        with session.step("watch balance"):
            await eventually(lambda: client.balance.get("USDT", {}).get("total") == 10_000.0)
        yield
        with session.step("watch orders"):
            assert {"open", "closed", "canceled"} <= statuses
        with session.step("watch my trades"):
            assert {trade["side"] for trade in client.myTrades} == {"buy", "sell"}
        with session.step("watch positions"):
            assert session.told_positions() == []
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
