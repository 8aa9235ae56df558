"""A trader on a paced exchange: requests are carried out before the next line of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.sim.clients import Bench, Paced, Refused, Stream, bench
from tests.sim.walk import WalkSource
from tradebot.matching.venue import Venue

SYMBOL = "SOLUSDT"


class Trader:
    """REST calls that wait until what they asked for has acted. ``venue`` is the one behind the socket."""

    def __init__(self, b: Bench, paced: Paced) -> None:
        self.bench = b
        self._paced = paced

    @property
    def venue(self) -> Venue:
        return self.bench.server.exchange.venue

    @property
    def now_ms(self) -> int:
        return self.bench.server.exchange.now_ms

    async def settle(self) -> None:
        """Step until every accepted request has acted, at least once."""
        until = self.now_ms + 100
        while True:
            await self._paced.step(wake=until)
            if self.now_ms >= until:
                return

    async def mark(self) -> Decimal:
        return Decimal((await self.bench.rest.public("symbol-price", symbol=SYMBOL))[0]["markPrice"])

    async def post(self, name: str, **body: Any) -> Any:
        answer = await self.bench.rest.post(name, **{"symbol": SYMBOL, **body})
        await self.settle()
        return answer

    async def order(self, side: str, size: str, **more: Any) -> Any:
        kind = "limit" if "price" in more else "market"
        body = {"marginMode": "isolated", "orderType": kind, "side": side, "size": size, **more}
        return await self.post("order/place-order", **body)

    async def get(self, name: str, **query: Any) -> Any:
        return await self.bench.rest.private(name, **query)

    async def detail(self, client_oid: str) -> Any:
        return await self.get("order/detail", symbol=SYMBOL, clientOid=client_oid)

    async def positions(self) -> list[Any]:
        found: list[Any] = await self.get("position/all-position")
        return found

    async def refusal(self, name: str, **body: Any) -> str:
        """Code with which a POST is refused."""
        with pytest.raises(Refused) as caught:
            await self.bench.rest.post(name, **{"symbol": SYMBOL, **body})
        return str(caught.value.code)

    async def refused_order(self, side: str, size: str, **more: Any) -> str:
        kind = "limit" if "price" in more else "market"
        body = {"marginMode": "isolated", "orderType": kind, "side": side, "size": size, **more}
        return await self.refusal("order/place-order", **body)

    async def refused_query(self, name: str, **query: Any) -> str:
        """Code with which a GET is refused."""
        with pytest.raises(Refused) as caught:
            await self.get(name, **query)
        return str(caught.value.code)

    async def listen(self, *channels: str) -> Stream:
        return await self.bench.private_stream(*channels)

    async def heard(self, stream: Stream) -> list[tuple[str, list[Any]]]:
        """Channel and rows of every push since the last call, in order."""
        frames = await stream.until(self._paced.now["counts"][stream.conn_id])
        return [(frame["arg"]["channel"], frame["data"]) for frame in frames if "data" in frame]


@asynccontextmanager
async def trader(*, cash: str = "10000", steps: int = 400) -> AsyncIterator[Trader]:
    """A trader with ``cash`` USDT on a small market that stands still between requests."""
    async with bench([WalkSource(steps=steps)], cash=Decimal(cash)) as b:
        paced = await b.paced()
        await paced.attach()
        yield Trader(b, paced)
