"""WebSocket endpoints: public, private and the paced clock (protocol section 10)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from tradebot.sim.clock import PacedClient
from tradebot.sim.conversation import Conversation
from tradebot.sim.limits import WireLimits
from tradebot.sim.throttle import Door
from tradebot.sim.wire import decode, encode, text_frame

if TYPE_CHECKING:
    import asyncio

    from tradebot.sim.exchange import Exchange

MOST_BYTES = 1 << 20
"""A message longer than this ends the connection unread; what is merely too long is answered (section 5.2)."""


async def market_socket(
    request: web.Request, exchange: Exchange, door: Door, limits: WireLimits, *, private: bool
) -> web.StreamResponse:
    """Serve one client of ``/v2/ws/public`` or ``/v2/ws/private`` until it leaves, falls silent or its day is over.

    An address with too many attempts or connections is refused with HTTP 429.
    """
    address = request.remote or ""
    if not door.enter(address, time.monotonic()):
        return web.Response(status=429)
    try:
        return await _serve(request, exchange, door, limits, private=private)
    finally:
        door.leave(address)


async def _serve(
    request: web.Request, exchange: Exchange, door: Door, limits: WireLimits, *, private: bool
) -> web.StreamResponse:
    refused = exchange.faults.links.refusal(private=private)
    if refused is not None:
        if not refused and request.transport is not None:
            request.transport.abort()
        return web.Response(status=refused or 503)
    socket, transport = await _accept(request)
    connection = exchange.hub.open(transport, private=private)
    opened_s = time.monotonic()
    talk = Conversation(exchange, connection, limits, opened_s)
    try:
        while True:
            left_s = min(talk.pinged_s + limits.ping_timeout_s, opened_s + limits.session_s) - time.monotonic()
            message = await _next(socket, left_s) if left_s > 0 else None
            if message is None:
                break
            keep = talk.hear(message, time.monotonic())
            connection.flush()
            if not keep:
                break
        if talk.flooded:
            door.flooded(request.remote or "", time.monotonic())
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
    socket = web.WebSocketResponse(compress=False, max_msg_size=MOST_BYTES)
    await socket.prepare(request)
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left during the handshake")
    return socket, transport


async def _next(socket: web.WebSocketResponse, timeout_s: float | None) -> str | bytes | None:
    """The client's next message, or None when it left or said nothing in time."""
    try:
        message: WSMessage = await socket.receive(timeout_s)
    except TimeoutError:
        return None
    if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
        said: str | bytes = message.data
        return said
    return None
