"""Signed requests and their answers; everything REST-specific that is not about one endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic, time_ns
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec

from tradebot.errors import (
    ConfigError,
    ExchangeError,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from tradebot.exchange.bitget.budget import RateBudget
from tradebot.exchange.bitget.errors import MEANING, SUCCESS, Meaning, Request, classify
from tradebot.exchange.bitget.naming import LOOPBACK
from tradebot.exchange.bitget.signing import Credentials, signed_headers

log = logging.getLogger(__name__)

Data = TypeVar("Data")

READ_ATTEMPTS = 4
CLOCK_SAMPLES = 5


class Answer(msgspec.Struct, gc=False):
    """The envelope around every answer. ``data`` is decoded when it is known to be there."""

    code: str | int
    msg: str | None = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class ServerTime(msgspec.Struct):
    serverTime: str


def wall_ms() -> int:
    """The machine's clock, ms since the epoch."""
    return time_ns() // 1_000_000


class HttpClient:
    """One session with the REST interface.

    Reads are tried again after 1, 2, 4 s when the exchange is unavailable or complains about the rate; order entry
    never is, except when the exchange refused a timestamp, which proves that nothing happened. ``limited`` off skips
    the rate budget (for an embedded exchange). ``offset_ms`` (exchange − local) is added to the timestamps signed.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        demo: bool = False,
        limited: bool = True,
        timeout_s: float = 10.0,
        local_ms: Callable[[], int] = wall_ms,
        first_retry_s: float = 1.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.offset_ms = 0
        self.budget = RateBudget() if limited else None
        self._credentials = credentials
        self._demo = demo
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._local_ms = local_ms
        self._first_retry_s = first_retry_s
        # a proxy of the environment is for the world, not for an exchange on this machine
        self._through_proxy = urlsplit(url).hostname not in LOOPBACK
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def now_ms(self) -> int:
        """The exchange's time as far as it was measured."""
        return self._local_ms() + self.offset_ms

    async def get(
        self, path: str, params: Mapping[str, object], into: type[Data], *, private: bool = False, urgent: bool = False
    ) -> Data:
        """A read. Parameters that are None or empty are left out."""
        for attempt in range(READ_ATTEMPTS):
            try:
                data = await self._call("GET", path, params, None, Request.READ, private, urgent)
                break
            except (Unavailable, RateLimited) as error:
                if attempt == READ_ATTEMPTS - 1:
                    raise
                wait = self._first_retry_s * 2**attempt
                log.warning("%s; trying again in %.1f s", error, wait)
                await asyncio.sleep(wait)
        try:
            return msgspec.json.decode(data if data is not None else b"null", type=into)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"Bitget's answer to {_named(path, params, None)} is unreadable: {error}") from error

    async def post(
        self, path: str, body: Mapping[str, object], into: type[Data], request: Request, *, urgent: bool = False
    ) -> Data | None:
        """A signed command. None when there was nothing left to do, or it succeeded without saying more."""
        data = await self._call("POST", path, {}, body, request, True, urgent)
        if data is None or data == b"null":
            return None
        try:
            return msgspec.json.decode(data, type=into)
        except msgspec.MsgspecError as error:
            raise OutcomeUnknown(
                f"Bitget accepted {_named(path, {}, body)} with an unreadable answer: {error}"
            ) from error

    async def measure_clock(self, samples: int = CLOCK_SAMPLES) -> int:
        """Offset of the exchange's clock (exchange − local, ms), from the exchange with the shortest round trip."""
        best: tuple[float, int] | None = None
        for _ in range(samples):
            began_ms, began = self._local_ms(), monotonic()
            reply = await self.get("/api/v2/public/time", {}, ServerTime)
            trip = monotonic() - began
            offset = int(reply.serverTime) - (began_ms + round(trip * 500))
            if best is None or trip < best[0]:
                best = (trip, offset)
        if best is None:
            raise ValueError("measuring a clock needs at least one sample")
        self.offset_ms = best[1]
        return self.offset_ms

    # --- one request ------------------------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        body: Mapping[str, object] | None,
        request: Request,
        private: bool,
        urgent: bool,
    ) -> bytes | None:
        for second_try in (False, True):
            if self.budget is not None:
                await self.budget.acquire(path, private=private, urgent=urgent)
            answer = await self._exchange(method, path, params, body, request, private)
            code = str(answer.code)
            if code == SUCCESS:
                if self.budget is not None:
                    self.budget.succeeded(path)
                return bytes(answer.data)
            if MEANING.get(code) is Meaning.CLOCK and not second_try:
                await self.measure_clock()
                continue
            if MEANING.get(code) is Meaning.LIMIT and self.budget is not None:
                self.budget.refused(path)
            error = classify(code, answer.msg or "", request, _named(path, params, body))
            if error is None:
                return None
            raise error
        raise AssertionError("unreachable")

    async def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        body: Mapping[str, object] | None,
        request: Request,
        private: bool,
    ) -> Answer:
        pairs = [(name, str(value)) for name, value in params.items() if value not in (None, "")]
        if private:
            pairs.sort()
        query = "&".join(f"{name}={value}" for name, value in pairs)
        payload = b"" if body is None else encode_body(body)
        headers = {"Content-Type": "application/json", "locale": "en-US"} if body is not None else {"locale": "en-US"}
        if self._demo:
            headers["paptrading"] = "1"
        if private:
            if self._credentials is None:
                raise ConfigError(f"{path} needs an API key and none is configured")
            headers |= signed_headers(self._credentials, self.now_ms(), method, path, query, payload)
        target = f"{self.url}{path}?{urlencode(pairs)}" if pairs else f"{self.url}{path}"
        what = _named(path, params, body)
        try:
            session = self._opened()
            async with session.request(method, target, data=payload or None, headers=headers) as response:
                status, content = response.status, await response.read()
        except aiohttp.ClientConnectorError as error:
            # the connection was never made, so nothing was sent
            raise Unavailable(f"Bitget is not reachable for {what}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silence(request, what, str(error) or type(error).__name__) from error
        try:
            return msgspec.json.decode(content, type=Answer)
        except msgspec.MsgspecError as error:
            if status == 429:
                return Answer(code="429", msg="too many requests")
            raise self._silence(request, what, f"HTTP {status} without an answer") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=self._through_proxy)
        return self._session

    @staticmethod
    def _silence(request: Request, what: str, reason: str) -> ExchangeError:
        if request is Request.READ:
            return Unavailable(f"Bitget did not answer {what}: {reason}")
        return OutcomeUnknown(f"Bitget did not answer {what}: {reason}; it may have been carried out")


def encode_body(body: Mapping[str, object]) -> bytes:
    """The bytes that are signed and sent: compact JSON, members in the order given, without those that are None."""
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


def _named(path: str, params: Mapping[str, object], body: Mapping[str, Any] | None) -> str:
    symbol = (body or params).get("symbol", "")
    return f"{path.rsplit('/', 1)[-1]} {symbol}".rstrip()
