"""Small real servers that behave, or misbehave, as told."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tradebot.events import FeedStatus, TickerUpdated
from tradebot.exchange.bitget.listener import PrivateEvent
from tradebot.market.book import OrderBook
from tradebot.market.candle import Candle
from tradebot.market.trade import Trade


class Recorder:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.books: list[tuple[str, tuple[float, float] | None, int]] = []
        self.trades: list[tuple[str, Trade]] = []
        self.candles: list[tuple[str, str, Candle]] = []
        self.tickers: list[TickerUpdated] = []
        self.private: list[PrivateEvent] = []
        self.lost: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.missed: list[tuple[str, str, int]] = []
        self.feed: list[tuple[str, bool, str]] = []
        self.causes: list[tuple[str, int]] = []
        self.connections: list[tuple[int, bool]] = []

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        self.books.append((symbol, book.best(), ts_exchange_ms))

    def on_trades(self, symbol: str, rows: Any) -> None:
        self.trades += [(symbol, row) for row in rows]

    def on_candles(self, symbol: str, interval: str, rows: Any) -> None:
        self.candles += [(symbol, interval, row) for row in rows]

    def on_ticker(self, event: TickerUpdated) -> None:
        self.tickers.append(event)

    def on_private(self, event: PrivateEvent) -> None:
        self.private.append(event)

    def on_lost(self, reason: str) -> None:
        self.lost.append(reason)

    def on_refused(self, channel: str, reason: str) -> None:
        self.refused.append((channel, reason))

    def on_feed(self, event: FeedStatus) -> None:
        self.feed.append((event.symbol, event.ok, event.reason))
        self.causes.append((event.cause, event.since_ms))

    def on_missed(self, channel: str, symbol: str, since_ms: int) -> None:
        self.missed.append((channel, symbol, since_ms))

    def on_connection(self, rank: int, up: bool) -> None:
        self.connections.append((rank, up))


def books(action: str, symbol: str, bid: str, ask: str, *, seq: int, pseq: int = 0, ts: int = 0) -> dict[str, Any]:
    """A push with one level a side; one without a time says nothing of its age."""
    return {
        "action": action,
        "arg": {"instType": "USDT-FUTURES", "channel": "books", "instId": symbol},
        "data": [{"asks": [[ask, "1"]], "bids": [[bid, "1"]], "seq": seq, "pseq": pseq, "ts": str(ts)}],
        "ts": ts,
    }


class StreamServer:
    """The exchange's side of a stream: pongs, acks, a snapshot after each ``books`` subscription.

    Turn ``pongs`` off for a half-open socket; put channels into ``deaf`` to swallow so many of their subscriptions; put
    a reply into ``login_replies`` to refuse a login. (channel, instrument) in ``mute`` are acknowledged and say
    nothing; so many acks of the channels in ``garble`` cannot be read.
    """

    def __init__(self) -> None:
        self.sockets: list[ServerConnection] = []
        self.heard: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.pings = 0
        self.pongs = True
        self.deaf: dict[str, int] = {}
        self.login_replies: deque[dict[str, Any]] = deque()
        self.unknown: set[str] = set()
        self.mute: set[tuple[str, str]] = set()
        self.garble: dict[str, int] = {}
        self.url = ""
        self.seq = 100

    @property
    def live(self) -> ServerConnection:
        """The socket opened last."""
        return self.sockets[-1]

    async def push(self, message: dict[str, Any]) -> None:
        await self.live.send(json.dumps(message, separators=(",", ":")))

    async def talk(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        number = len(self.sockets)
        try:
            async for message in socket:
                if message == "ping":
                    self.pings += 1
                    if self.pongs:
                        await socket.send("pong")
                    continue
                self.sizes.append(len(message))
                for reply in self.answer(json.loads(message), f"conn-{number}"):
                    await socket.send(self.written(reply))
        except ConnectionClosed:
            pass

    def written(self, reply: dict[str, Any]) -> str:
        text = json.dumps(reply, separators=(",", ":"))
        channel = reply.get("arg", {}).get("channel", "")
        if "event" in reply and self.garble.get(channel, 0) > 0:
            self.garble[channel] -= 1
            return text[:-3]
        return text

    def answer(self, said: dict[str, Any], conn_id: str) -> list[dict[str, Any]]:
        self.heard.append(said)
        if said["op"] == "login":
            return [
                self.login_replies.popleft() if self.login_replies else {"event": "login", "code": 0, "connId": conn_id}
            ]
        replies: list[dict[str, Any]] = []
        for arg in said["args"]:
            channel = arg["channel"]
            if self.deaf.get(channel, 0) > 0:
                self.deaf[channel] -= 1
            elif channel in self.unknown:
                replies.append({"event": "error", "arg": arg, "code": 30001, "msg": "doesn't exist", "op": said["op"]})
            else:
                replies.append({"event": said["op"], "arg": arg, "connId": conn_id})
                mute = (channel, arg.get("instId", "")) in self.mute
                if said["op"] == "subscribe" and channel == "books" and not mute:
                    self.seq += 1
                    replies.append(books("snapshot", arg["instId"], "99", "101", seq=self.seq))
        return replies

    def subscriptions(self, op: str = "subscribe") -> list[tuple[str, str]]:
        """(channel, instrument) of every argument heard, in order."""
        return [
            (arg["channel"], arg.get("instId", "")) for said in self.heard if said["op"] == op for arg in said["args"]
        ]


@asynccontextmanager
async def stream_server() -> AsyncIterator[StreamServer]:
    venue = StreamServer()
    async with serve(venue.talk, "127.0.0.1", 0) as server:
        venue.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield venue


Reply = tuple[int, Any]
"""HTTP status and body: something for JSON, bytes as they are, None to cut the connection without an answer."""


class RestServer:
    """Answers by ``respond(method, path, query, body)`` and remembers what was asked."""

    def __init__(self, respond: Callable[[str, str, dict[str, str], bytes], Reply]) -> None:
        self._respond = respond
        self.requests: list[tuple[str, str, str, bytes, dict[str, str]]] = []
        self.delay_s = 0.0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path, request.query_string, body, dict(request.headers)))
        status, answer = self._respond(request.method, request.path, dict(request.query), body)
        await asyncio.sleep(self.delay_s)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer, bytes):
            return web.Response(status=status, body=answer)
        return web.json_response(answer, status=status)


def success(data: Any) -> Reply:
    return 200, {"code": "00000", "msg": "success", "requestTime": 1760000000123, "data": data}


def failure(code: str, status: int = 400) -> Reply:
    return status, {"code": code, "msg": "refused", "requestTime": 1760000000123, "data": None}


@asynccontextmanager
async def rest_server(respond: Callable[[str, str, dict[str, str], bytes], Reply]) -> AsyncIterator[RestServer]:
    venue = RestServer(respond)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    venue.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield venue
    finally:
        await runner.cleanup()
