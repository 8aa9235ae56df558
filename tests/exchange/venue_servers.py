"""Small real servers that speak as Binance and Bybit do, or misbehave as told."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

BELOW = [[str(price), "1"] for price in (98, 97, 96, 95)]
ABOVE = [[str(price), "1"] for price in (102, 103, 104, 105)]


class VenueServer:
    """What both have: sockets, what was heard on them, and pushes to the newest one.

    ``pongs``: the protocol's pings are answered; ``pings`` counts those of the newest socket. While ``gate`` is shut,
    snapshots are on their way.
    """

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.targets: list[str] = []
        self.heard: list[dict[str, Any]] = []
        self.url = ""
        self.pongs = True
        self.pings = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def push(self, message: dict[str, Any] | bytes) -> None:
        text = message.decode() if isinstance(message, bytes) else json.dumps(message, separators=(",", ":"))
        await self.sockets[-1].send_str(text)

    async def cut(self) -> None:
        """End the newest session without a farewell."""
        transport = self.sockets[-1]._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.sockets.append(socket)
        self.targets.append(request.path_qs)
        self.pings = 0
        async for message in socket:
            if message.type is WSMsgType.PING:
                self.pings += socket is self.sockets[-1]
                if self.pongs:
                    await socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                said = json.loads(message.data)
                self.heard.append(said)
                await self.answer(socket, said)
        return socket

    async def answer(self, socket: web.WebSocketResponse, said: dict[str, Any]) -> None:
        raise NotImplementedError

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError


class BinanceServer(VenueServer):
    """Books of five levels whose ids the test moves; snapshots of the present ids over REST.

    ``refusals`` are HTTP statuses (or bodies) that the next snapshot requests get instead. ``behind`` makes that many
    snapshots too old to join; ``stream`` is the recorded market, when there is one.
    """

    def __init__(self, market: str) -> None:
        super().__init__()
        self.market = market
        self.ids: Counter[str] = Counter()
        self.sizes: dict[str, str] = {}
        self.refusals: deque[int | bytes] = deque()
        self.behind = 0
        self.snapshots: list[str] = []
        self.recorded: bytes | None = None

    def routes(self) -> list[web.RouteDef]:
        depth = "/api/v3/depth" if self.market == "spot" else "/fapi/v1/depth"
        return [web.get("/stream", self.talk), web.get(depth, self.depth)]

    async def depth(self, request: web.Request) -> web.Response:
        symbol = request.query["symbol"]
        assert request.query["limit"] == "1000"
        self.snapshots.append(symbol)
        await self.gate.wait()
        if self.refusals:
            refusal = self.refusals.popleft()
            if isinstance(refusal, int):
                return web.Response(status=refusal, text="no")
            return web.Response(body=refusal)
        if self.recorded is not None:
            return web.Response(body=self.recorded)
        last = self.ids[symbol]
        if self.behind:
            self.behind -= 1
            last -= 5
        size = self.sizes.get(symbol, "1")
        book = {"lastUpdateId": last, "bids": [["99", size], *BELOW], "asks": [["101", size], *ABOVE]}
        return web.json_response(book)

    async def answer(self, socket: web.WebSocketResponse, said: dict[str, Any]) -> None:
        await socket.send_json({"result": None, "id": said["id"]})

    async def change(self, symbol: str, size: str, *, lost: bool = False) -> None:
        """The best bid and ask take a new size; ``lost``: nobody is told."""
        last = self.ids[symbol]
        self.ids[symbol] = last + 2
        self.sizes[symbol] = size
        if lost:
            return
        row = {"e": "depthUpdate", "E": 1, "s": symbol, "U": last + 1, "u": last + 2}
        if self.market == "perp":
            row["pu"] = last
        data = {**row, "b": [["99", size]], "a": [["101", size]]}
        await self.push({"stream": f"{symbol.lower()}@depth@100ms", "data": data})


class BybitServer(VenueServer):
    """Books of five levels; a snapshot after each subscription, unless the symbol is in ``deaf`` (so many times)."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.sizes: dict[str, str] = {}
        self.deaf: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v5/public/spot", self.talk)]

    async def answer(self, socket: web.WebSocketResponse, said: dict[str, Any]) -> None:
        await socket.send_json({"success": True, "ret_msg": said["op"], "conn_id": "c", "op": said["op"]})
        for topic in said.get("args", []) if said["op"] == "subscribe" else []:
            symbol = topic.rpartition(".")[2]
            if self.deaf[symbol] > 0:
                self.deaf[symbol] -= 1
                continue
            await self.gate.wait()
            size = self.sizes.get(symbol, "1")
            rows = {"s": symbol, "b": [["99", size], *BELOW], "a": [["101", size], *ABOVE]}
            await socket.send_json(self.message("snapshot", symbol, rows))

    def message(self, kind: str, symbol: str, rows: dict[str, Any]) -> dict[str, Any]:
        self.ids[symbol] += 1
        data = {**rows, "u": self.ids[symbol] + 100, "seq": 7 * self.ids[symbol]}
        return {"topic": f"orderbook.50.{symbol}", "ts": 1, "type": kind, "data": data, "cts": 1}

    async def change(self, symbol: str, size: str, *, lost: bool = False) -> None:
        self.sizes[symbol] = size
        message = self.message("delta", symbol, {"s": symbol, "b": [["99", size]], "a": [["101", size]]})
        if not lost:
            await self.push(message)


@asynccontextmanager
async def serving(*servers: VenueServer) -> AsyncIterator[None]:
    """Each on a port of its own."""
    runners = []
    for server in servers:
        app = web.Application()
        app.add_routes(server.routes())
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"127.0.0.1:{runner.addresses[0][1]}"
        runners.append(runner)
    try:
        yield
    finally:
        for runner in runners:
            await runner.cleanup()
