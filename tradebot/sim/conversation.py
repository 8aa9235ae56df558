"""What one WebSocket client says and what it is answered (protocol sections 5.2 and 10.1 to 10.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tradebot.sim.auth import check_login
from tradebot.sim.channels import is_channel
from tradebot.sim.connection import Connection
from tradebot.sim.limits import WireLimits
from tradebot.sim.private import PRIVATE_CHANNELS
from tradebot.sim.throttle import HOUR_S, Window
from tradebot.sim.wire import PRODUCT_TYPE, Refusal, decode, encode

if TYPE_CHECKING:
    from tradebot.sim.exchange import Exchange

_WELL_KNOWN = ("instType", "channel", "instId", "coin")


class Conversation:
    """One connection's requests, its limits and its errors.

    Which limit gives which code is not documented. Here: too long a message is an illegal request (30002), too many
    subscribe requests are refused (30006), too many messages or channels end the connection (30007).
    ``pinged_s`` is when the client said ``ping`` last: nothing else keeps the connection alive.
    ``flooded`` says that there were too many messages.
    """

    def __init__(self, exchange: Exchange, connection: Connection, limits: WireLimits, now_s: float) -> None:
        self.pinged_s = now_s
        self.flooded = False
        self._exchange = exchange
        self._connection = connection
        self._limits = limits
        self._messages = Window(limits.messages_per_second, 1.0)
        self._subscribes = Window(limits.subscribes_per_hour, HOUR_S)
        self._subscribed: set[bytes] = set()

    def hear(self, message: str | bytes, now_s: float) -> bool:
        """Deal with one message; False when the connection must close."""
        if self._exchange.faults.links.dead(self._connection):
            return True
        if not self._messages.take(now_s):
            self.flooded = True
            return self._close("too many messages")
        if message == "ping":
            self.pinged_s = now_s
            self._connection.send(b"pong")
            return True
        size = len(message) if isinstance(message, bytes) else len(message.encode())
        if isinstance(message, bytes) or size > self._limits.message_bytes:
            self._error("30002", "Illegal request")
            return True
        try:
            said = decode(message)
        except msgspec.DecodeError:
            said = None
        if not isinstance(said, dict):
            self._error("30003", "Invalid op")
            return True
        op, args = said.get("op"), said.get("args")
        if op == "login":
            return self._login(args)
        if op not in ("subscribe", "unsubscribe"):
            self._error("30003", "Invalid op")
            return True
        if not isinstance(args, list) or not args:
            self._error("30016", "Param error", op=op)
            return True
        if op == "subscribe" and not self._subscribes.take(now_s):
            self._error("30006", "Request too many", op=op)
            return True
        return all(self._subscription(op, arg) for arg in args)

    def _login(self, args: Any) -> bool:
        exchange = self._exchange
        try:
            if not (isinstance(args, list) and args and isinstance(args[0], dict)):
                raise Refusal("30005", "Login failed")
            refused = exchange.faults.links.login_refusal()
            if refused is not None:
                raise Refusal(*refused)
            check_login(exchange.credentials, args[0], exchange.stamps_ms("private"))
        except Refusal as refusal:
            self._error(refusal.code, refusal.message)
            return False
        self._connection.logged_in = True
        self._answer({"event": "login", "code": 0})
        return True

    def _subscription(self, op: str, raw: Any) -> bool:
        """One arg of a request: acknowledged or answered with one error. False when the connection must close."""
        arg = {name: raw[name] for name in raw if name in _WELL_KNOWN} if isinstance(raw, dict) else {}
        channel = arg.get("channel")
        if channel is None or not all(isinstance(value, str) for value in arg.values()):
            self._error("30016", "Param error", op=op)
            return True
        private = channel in PRIVATE_CHANNELS
        if not (self._is_private(channel, arg) if private else self._is_public(channel, arg)):
            where = ",".join(f"{name}:{value}" for name, value in arg.items())
            self._error("30001", f"{where} doesn't exist", arg=arg, op=op)
            return True
        if private and not self._connection.logged_in:
            self._error("30004", "User needs to log in", arg=arg, op=op)
            return True
        if op == "subscribe":
            self._subscribed.add(encode(arg))
            if len(self._subscribed) > self._limits.channels:
                return self._close("too many channels")
        else:
            self._subscribed.discard(encode(arg))
        self._answer({"event": op, "arg": arg})
        if private:
            self._private(op, arg)
        else:
            self._public(op, channel, arg["instId"])
        return True

    def _is_private(self, channel: str, arg: dict[str, Any]) -> bool:
        if not self._connection.private or arg.get("instType") != PRODUCT_TYPE:
            return False
        target = arg.get("instId") or arg.get("coin")
        if target == "default":
            return True
        return target == "USDT" if channel == "account" else target in self._exchange.markets

    def _is_public(self, channel: str, arg: dict[str, Any]) -> bool:
        if self._connection.private or arg.get("instType") != PRODUCT_TYPE:
            return False
        return arg.get("instId") in self._exchange.markets and is_channel(channel)

    def _private(self, op: str, arg: dict[str, Any]) -> None:
        feed = self._exchange.private
        if op == "subscribe":
            feed.subscribe(self._connection, arg, self._exchange.now_ms)
        else:
            feed.unsubscribe(self._connection, arg)

    def _public(self, op: str, channel: str, symbol: str) -> None:
        if op == "subscribe":
            self._exchange.subscribe(self._connection, channel, symbol)
        else:
            self._exchange.unsubscribe(self._connection, channel, symbol)

    def _close(self, why: str) -> bool:
        self._error("30007", f"Over the limit ({why}), the connection will be closed")
        return False

    def _answer(self, event: dict[str, Any]) -> None:
        self._connection.named = True
        self._connection.send(encode({**event, "connId": self._connection.conn_id}))

    def _error(self, code: str, message: str, *, arg: dict[str, Any] | None = None, op: str | None = None) -> None:
        event: dict[str, Any] = {"event": "error", "code": int(code), "msg": message}
        if arg is not None:
            event["arg"] = arg
        if op is not None:
            event["op"] = op
        self._connection.send(encode(event))
