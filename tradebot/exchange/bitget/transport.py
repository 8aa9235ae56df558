"""REST requests through ccxt's raw endpoints: it signs, sends and keeps the connections; everything else is ours.

Importing this module imports ccxt (most of half a second): it is imported where a session with the exchange begins.
Nothing here calls ccxt's unified methods: they compute with floats and change the thread's decimal context.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import ccxt
import msgspec
from ccxt.async_support.bitget import bitget

from tradebot.exchange.bitget.answers import Answer, NotSent, Refused, Silent
from tradebot.exchange.bitget.errors import SUCCESS, TOO_MANY_REQUESTS
from tradebot.exchange.bitget.signing import Credentials

NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, socket.gaierror)
"""What a connection raises that was never made."""

AFFILIATE = "X-CHANNEL-API-CODE"
"""A header by which ccxt has orders counted for its own affiliate account; it is not sent."""

NOBODY = Credentials("", "", "")


class Transport(bitget):  # type: ignore[misc]
    """One session. ``now_ms`` gives the timestamps that are signed; ``proxy`` is the address of an HTTP proxy.

    ccxt's rate limiter and its repetitions are off, and its mapping of codes to exceptions, which takes 40010 (outcome
    unknown) for a wrong key, is replaced.
    """

    def __init__(
        self,
        url: str,
        now_ms: Callable[[], int],
        *,
        credentials: Credentials | None = None,
        demo: bool = False,
        timeout_s: float = 10.0,
        proxy: str | None = None,
    ) -> None:
        key = credentials or NOBODY
        super().__init__(
            {
                "enableRateLimit": False,
                "apiKey": key.key,
                "secret": key.secret,
                "password": key.passphrase,
                "timeout": round(timeout_s * 1000),
                "headers": {"locale": "en-US"},
                "aiohttp_proxy": proxy,
                "aiohttp_trust_env": False,  # it would ask the environment anew, in a thread, for every request
                "verify": url.startswith("https:"),
                "options": {"sandboxMode": demo},
            }
        )
        self.urls["api"] = {"any": url}
        self.timeout_on_exit = 0
        self.enableLastHttpResponse = self.enableLastJsonResponse = self.enableLastResponseHeaders = False
        self.logger = logging.getLogger("tradebot.ccxt")
        self.logger.setLevel(logging.INFO)  # at DEBUG it would log the headers, the passphrase among them
        self._now_ms = now_ms

    async def call(self, method: str, path: str, parameters: Mapping[str, object], *, private: bool) -> bytes:
        """One request to ``path`` (``/api/…``); returns the ``data`` of a success as it came.

        ``parameters`` are the query of a GET, the members of a POST's body in their order. Raises Refused, Silent or
        NotSent.
        """
        api = ["private" if private else "public", "any"]
        try:
            answer: Answer = await self.request(path.removeprefix("/api/"), api, method, dict(parameters))
        except (ccxt.BaseError, aiohttp.ClientError, TimeoutError, OSError) as error:
            cause = error.__cause__ or error
            reason = str(cause) or type(cause).__name__
            raise (NotSent(reason) if isinstance(cause, NEVER_SENT) else Silent(reason)) from error
        return bytes(answer.data)

    # --- what ccxt calls --------------------------------------------------------------------------------------------

    def milliseconds(self) -> int:
        return self._now_ms()

    def nonce(self) -> int:
        return self._now_ms()

    def sign(
        self, path: str, api: list[str] = [], method: str = "GET", params: dict[str, Any] = {}  # noqa: B006
    ) -> dict[str, Any]:  # fmt: skip
        request: dict[str, Any] = super().sign(path, api, method, params)
        if request["headers"]:
            request["headers"].pop(AFFILIATE, None)
        return request

    def parse_json(self, http_response: str) -> Answer | None:
        """The envelope; None for what is not one. ``data`` stays bytes: ids and money never become floats."""
        try:
            return msgspec.json.decode(http_response, type=Answer)
        except msgspec.MsgspecError:
            return None

    def handle_errors(
        self,
        code: int,
        reason: str,
        url: str,
        method: str,
        headers: dict[str, str],
        body: str,
        response: Answer | None,
        requestHeaders: dict[str, str],
        requestBody: str | None,
    ) -> None:
        """Raise Refused for every code that is no success, and Silent for what is no answer; the rest is one."""
        if response is None and code == 429:
            raise Refused(TOO_MANY_REQUESTS, "too many requests")
        if response is None:
            raise Silent(f"HTTP {code} without an answer")
        if str(response.code) != SUCCESS:
            raise Refused(str(response.code), response.msg or "")

    def handle_http_status_code(self, code: int, reason: str, url: str, method: str, body: str) -> None:
        """The answer's code decides, never the status (protocol section 2)."""
