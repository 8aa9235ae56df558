"""Bare clients of the embedded exchange for tests: a signed REST caller, a WebSocket reader and a paced client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tradebot.sim.server import EmbeddedExchange
from tradebot.sim.source import MarketSource

KEY, SECRET, PASSPHRASE = "demo-key", "demo-secret", "demo-pass"
PRODUCT = "USDT-FUTURES"
MIX = "/api/v2/mix/"


def sign(prehash: str) -> str:
    return base64.b64encode(hmac.new(SECRET.encode(), prehash.encode(), hashlib.sha256).digest()).decode()


class Refused(Exception):
    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.code = body["code"]
        self.body = body


class Rest:
    """REST calls; the answer is ``data``, a refusal is raised."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.last: dict[str, Any] = {}

    async def get(self, path: str, *, signed: bool = False, **query: Any) -> Any:
        target = path + ("?" + urlencode(query) if query else "")
        headers = await self._headers("GET", target, "") if signed else {}
        return await self._answer("GET", target, None, headers)

    async def public(self, name: str, **query: Any) -> Any:
        return await self.get(MIX + "market/" + name, productType=PRODUCT, **query)

    async def private(self, name: str, **query: Any) -> Any:
        return await self.get(MIX + name, signed=True, productType=PRODUCT, **query)

    async def post(self, name: str, **body: Any) -> Any:
        text = json.dumps({"productType": PRODUCT, "marginCoin": "USDT", **body})
        headers = await self._headers("POST", MIX + name, text)
        return await self._answer("POST", MIX + name, text, {**headers, "Content-Type": "application/json"})

    async def order(self, side: str, size: str, **more: Any) -> str:
        """Place an order on SOLUSDT and return its id."""
        kind = "limit" if "price" in more else "market"
        body = {"symbol": "SOLUSDT", "marginMode": "isolated", "orderType": kind, "side": side, "size": size, **more}
        return str((await self.post("order/place-order", **body))["orderId"])

    async def raw(self, method: str, target: str, headers: dict[str, str], body: str = "") -> tuple[int, Any]:
        async with self._session.request(method, self.url + target, headers=headers, data=body or None) as response:
            return response.status, await response.json()

    async def _headers(self, method: str, target: str, body: str) -> dict[str, str]:
        stamp = (await self._answer("GET", "/api/v2/public/time", None, {}))["serverTime"]
        return {
            "ACCESS-KEY": KEY,
            "ACCESS-TIMESTAMP": stamp,
            "ACCESS-PASSPHRASE": PASSPHRASE,
            "ACCESS-SIGN": sign(f"{stamp}{method}{target}{body}"),
        }

    async def _answer(self, method: str, target: str, body: str | None, headers: dict[str, str]) -> Any:
        async with self._session.request(method, self.url + target, headers=headers, data=body) as response:
            answer = await response.json()
            if answer["code"] != "00000":
                raise Refused(response.status, answer)
            assert (response.status, answer["msg"]) == (200, "success")
            self.last = answer
            return answer["data"]


class Stream:
    """A WebSocket client that keeps every text frame it got, as it got it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[str] = []
        self.conn_id = ""

    async def send(self, message: dict[str, Any] | str) -> None:
        await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def next(self) -> Any:
        """The next frame, decoded when it is JSON; None when the server closed the connection."""
        message = await asyncio.wait_for(self.socket.receive(), 10)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        self.frames.append(message.data)
        said = json.loads(message.data) if message.data.startswith("{") else message.data
        if isinstance(said, dict) and "connId" in said:
            self.conn_id = said["connId"]
        return said

    async def until(self, count: int) -> list[Any]:
        """Read up to ``count`` frames in all; returns the new ones."""
        return [await self.next() for _ in range(count - len(self.frames))]

    async def login(self, stamp_ms: int) -> Any:
        stamp = str(stamp_ms)
        arg = {"apiKey": KEY, "passphrase": PASSPHRASE, "timestamp": stamp, "sign": sign(stamp + "GET/user/verify")}
        await self.send({"op": "login", "args": [arg]})
        return await self.next()

    async def subscribe(self, *channels: str, symbol: str = "SOLUSDT") -> None:
        """Subscribe to public channels; the acks and first pushes are left to be read."""
        args = [{"instType": PRODUCT, "channel": channel, "instId": symbol} for channel in channels]
        await self.send({"op": "subscribe", "args": args})

    async def listen_privately(self, *channels: str) -> None:
        """Subscribe to private channels and read the acks and first pushes."""
        for channel in channels:
            target = {"coin": "default"} if channel == "account" else {"instId": "default"}
            await self.send({"op": "subscribe", "args": [{"instType": PRODUCT, "channel": channel, **target}]})
            assert (await self.next())["event"] == "subscribe"
            if channel in ("account", "positions"):
                assert (await self.next())["action"] == "snapshot"


class Paced:
    """The client side of ``/sim/clock``."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.now: dict[str, Any] = {}

    async def attach(self) -> dict[str, Any]:
        await self.socket.send_str('{"op":"attach"}')
        return await self.read()

    async def read(self) -> dict[str, Any]:
        message = await asyncio.wait_for(self.socket.receive(), 10)
        self.now = json.loads(message.data)
        return self.now

    async def ack(self, wake: int | None = None) -> None:
        await self.socket.send_str(json.dumps({"ack": self.now["step"], "wake": wake}))

    async def step(self, wake: int | None = None) -> dict[str, Any]:
        """Acknowledge the present step and wait for the next."""
        await self.ack(wake)
        return await self.read()


class Bench:
    """A running exchange with everything a test needs to talk to it."""

    def __init__(self, server: EmbeddedExchange, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.rest = Rest(session, server.rest_url)
        self.session = session

    async def ask(self, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers of a GET."""
        async with self.session.get(self.server.rest_url + path, headers=headers) as response:
            return response.status, await response.text(), dict(response.headers)

    def signed(self, path: str) -> dict[str, str]:
        """Headers that sign a GET."""
        stamp = str(self.server.exchange.now_ms)
        return {
            "ACCESS-KEY": KEY,
            "ACCESS-TIMESTAMP": stamp,
            "ACCESS-PASSPHRASE": PASSPHRASE,
            "ACCESS-SIGN": sign(f"{stamp}GET{path}"),
        }

    async def stream(self, kind: str = "public") -> Stream:
        return Stream(await self.session.ws_connect(f"{self.server.ws_url}/v2/ws/{kind}", max_msg_size=0))

    async def private_stream(self, *channels: str) -> Stream:
        stream = await self.stream("private")
        assert (await stream.login(self.server.exchange.now_ms))["code"] == 0
        await stream.listen_privately(*channels)
        return stream

    async def paced(self) -> Paced:
        return Paced(await self.session.ws_connect(self.server.ws_url + "/sim/clock"))


@asynccontextmanager
async def bench(sources: Sequence[MarketSource], **options: Any) -> AsyncIterator[Bench]:
    """A server on a free port with ``sources``; options as for EmbeddedExchange. It holds unless told otherwise."""
    async with (
        EmbeddedExchange(sources, **{"hold": True, **options}) as server,
        aiohttp.ClientSession() as session,
    ):
        yield Bench(server, session)


def checksum(bids: list[list[str]], asks: list[list[str]]) -> int:
    """Protocol section 11, written again from its text."""
    parts: list[str] = []
    for i in range(25):
        for side in (bids, asks):
            if i < len(side):
                parts += side[i][:2]
    value = zlib.crc32(":".join(parts).encode())
    return value - (1 << 32) if value & 0x80000000 else value


class LocalBook:
    """A book rebuilt from ``books`` pushes; raises AssertionError on any broken promise."""

    def __init__(self) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.seq = 0
        self.updates = 0

    def take(self, push: dict[str, Any]) -> None:
        row = push["data"][0]
        if push["action"] == "snapshot":
            assert row["pseq"] == 0
            assert "checksum" not in row
            self.bids, self.asks = dict(row["bids"]), dict(row["asks"])
        else:
            assert row["pseq"] == self.seq
            assert row["seq"] > row["pseq"]
            for side, changes in ((self.bids, row["bids"]), (self.asks, row["asks"])):
                for price, size in changes:
                    if size == "0":
                        del side[price]
                    else:
                        side[price] = size
            bids, asks = self.sorted()
            assert checksum(bids, asks) == row["checksum"]
            self.updates += 1
        self.seq = row["seq"]

    def sorted(self) -> tuple[list[list[str]], list[list[str]]]:
        bids = sorted(([p, s] for p, s in self.bids.items()), key=lambda level: -float(level[0]))
        return bids, sorted(([p, s] for p, s in self.asks.items()), key=lambda level: float(level[0]))
