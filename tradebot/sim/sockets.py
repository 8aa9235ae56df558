"""WebSocket endpoints: public, private and the paced clock (protocol sections 5.2 and 10)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from tradebot.sim.auth import check_login
from tradebot.sim.channels import open_view
from tradebot.sim.clock import PacedClient
from tradebot.sim.connection import Connection
from tradebot.sim.private import PRIVATE_CHANNELS
from tradebot.sim.wire import PRODUCT_TYPE, Refusal, decode, encode, text_frame

if TYPE_CHECKING:
    import asyncio

    from tradebot.sim.exchange import Exchange

SILENCE_S = 120.0
"""A client that says nothing for this long is disconnected; it is expected to ping every 30 s."""

MAX_MESSAGE_BYTES = 4096

_WELL_KNOWN = ("instType", "channel", "instId", "coin")


async def market_socket(request: web.Request, exchange: Exchange, *, private: bool) -> web.WebSocketResponse:
    """Serve one client of ``/v2/ws/public`` or ``/v2/ws/private`` until it leaves."""
    socket, transport = await _accept(request)
    connection = exchange.hub.open(transport, private=private)
    talk = _Conversation(exchange, connection)
    try:
        while True:
            message = await _next(socket, SILENCE_S)
            if message is None:
                break
            keep = talk.hear(message)
            connection.flush()
            if not keep:
                break
    finally:
        exchange.leave(connection)
        await socket.close()
    return socket


async def clock_socket(request: web.Request, exchange: Exchange) -> web.WebSocketResponse:
    """Serve one paced client of ``/sim/clock`` (see :mod:`tradebot.sim.clock`)."""
    socket, transport = await _accept(request)

    def tell(step: int, now_ms: int, counts: dict[str, int]) -> None:
        write({"step": step, "t": now_ms, "counts": counts})

    def tell_end(now_ms: int) -> None:
        write({"end": True, "t": now_ms})

    def write(message: dict[str, Any]) -> None:
        if not transport.is_closing():
            transport.write(text_frame(encode(message)))

    exchange.hub.track(transport)
    client = PacedClient(tell, tell_end)
    clock = exchange.clock
    try:
        while True:
            message = await _next(socket, None)
            if message is None:
                break
            try:
                said = decode(message)
            except msgspec.DecodeError:
                said = None
            if not isinstance(said, dict):
                write({"error": "not a JSON object"})
            elif said.get("op") == "attach":
                clock.attach(client)
            elif isinstance(said.get("ack"), int):
                wake = said.get("wake")
                clock.ack(client, said["ack"], wake if isinstance(wake, int) else None)
            else:
                write({"error": 'expected {"op":"attach"} or {"ack":n,"wake":ms|null}'})
    finally:
        clock.detach(client)
        exchange.hub.untrack(transport)
        await socket.close()
    return socket


async def _accept(request: web.Request) -> tuple[web.WebSocketResponse, asyncio.Transport]:
    # frames are written to the transport as they are, so no extension may be negotiated
    socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 20)
    await socket.prepare(request)
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left during the handshake")
    return socket, transport


async def _next(socket: web.WebSocketResponse, timeout_s: float | None) -> str | None:
    """The client's next text, or None when it left, fell silent or sent something else."""
    try:
        message: WSMessage = await socket.receive(timeout_s)
    except TimeoutError:
        return None
    return cast("str", message.data) if message.type == WSMsgType.TEXT else None


class _Conversation:
    """What one client says and what it is answered."""

    def __init__(self, exchange: Exchange, connection: Connection) -> None:
        self._exchange = exchange
        self._connection = connection

    def hear(self, text: str) -> bool:
        """Deal with one message; False when the connection must close."""
        if text == "ping":
            self._connection.send(b"pong")
            return True
        try:
            said = decode(text)
        except msgspec.DecodeError:
            said = None
        if not isinstance(said, dict) or len(text) > MAX_MESSAGE_BYTES:
            self._error("30003", "Invalid op")
            return True
        op = said.get("op")
        args = said.get("args")
        if op == "ping":
            self._connection.send(b"pong")
        elif op == "login":
            return self._login(args)
        elif op in ("subscribe", "unsubscribe") and isinstance(args, list) and args:
            for arg in args:
                self._subscription(op, arg)
        elif op in ("subscribe", "unsubscribe"):
            self._error("30016", "Param error", op=op)
        else:
            self._error("30003", "Invalid op")
        return True

    def _login(self, args: Any) -> bool:
        arg = args[0] if isinstance(args, list) and args and isinstance(args[0], dict) else {}
        try:
            check_login(self._exchange.credentials, arg, (self._exchange.now_ms, int(time.time() * 1000)))
        except Refusal as refusal:
            self._error(refusal.code, refusal.message)
            return False
        self._connection.logged_in = True
        self._answer({"event": "login", "code": 0})
        return True

    def _subscription(self, op: str, raw: Any) -> None:
        arg = {name: raw[name] for name in raw if name in _WELL_KNOWN} if isinstance(raw, dict) else {}
        channel = arg.get("channel")
        if not isinstance(channel, str):
            self._error("30016", "Param error", op=op)
            return
        known = self._private(op, channel, arg) if channel in PRIVATE_CHANNELS else self._public(op, channel, arg)
        if known is False:
            where = ",".join(f"{name}:{value}" for name, value in arg.items())
            self._error("30001", f"{where} doesn't exist", arg=arg, op=op)

    def _private(self, op: str, channel: str, arg: dict[str, Any]) -> bool:
        if not self._connection.private or arg.get("instType") != PRODUCT_TYPE:
            return False
        if not self._connection.logged_in:
            self._error("30004", "User needs to log in", arg=arg, op=op)
            return True
        target = arg.get("instId") or arg.get("coin")
        known = target == "default" or (target in self._exchange.markets if channel != "account" else target == "USDT")
        if not known:
            return False
        self._answer({"event": op, "arg": arg})
        feed = self._exchange.private
        if op == "subscribe":
            feed.subscribe(self._connection, arg, self._exchange.now_ms)
        else:
            feed.unsubscribe(self._connection, arg)
        return True

    def _public(self, op: str, channel: str, arg: dict[str, Any]) -> bool:
        symbol = arg.get("instId")
        if self._connection.private or arg.get("instType") != PRODUCT_TYPE or symbol not in self._exchange.markets:
            return False
        if open_view(channel) is None:
            return False
        self._answer({"event": op, "arg": arg})
        if op == "subscribe":
            self._exchange.subscribe(self._connection, channel, symbol)
        else:
            self._exchange.unsubscribe(self._connection, channel, symbol)
        return True

    def _answer(self, event: dict[str, Any]) -> None:
        self._connection.send(encode({**event, "connId": self._connection.conn_id}))

    def _error(self, code: str, message: str, *, arg: dict[str, Any] | None = None, op: str | None = None) -> None:
        event: dict[str, Any] = {"event": "error", "code": int(code), "msg": message}
        if arg is not None:
            event["arg"] = arg
        if op is not None:
            event["op"] = op
        self._connection.send(encode(event))
