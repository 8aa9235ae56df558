"""Requests and what their failures mean: repeated, raised, or nothing left to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from tradebot.errors import ConfigError, OutcomeUnknown, RateLimited, Unavailable, Unreadable
from tradebot.exchange.bitget.answers import NotSent, Refused, Silent
from tradebot.exchange.bitget.budget import RateBudget
from tradebot.exchange.bitget.errors import MEANING, Meaning, Request, classify
from tradebot.exchange.bitget.latency import Latency
from tradebot.exchange.bitget.signing import Credentials
from tradebot.exchange.loopback import on_loopback

if TYPE_CHECKING:
    from tradebot.exchange.bitget.transport import Transport

log = logging.getLogger(__name__)

Data = TypeVar("Data")

ATTEMPTS = 4
"""How often at most a read, or a command that may come late, is sent while nothing happens."""

TOLD_WITHIN_S = 1.0
"""Pauses of one endpoint that end this close to each other are told as one."""

ENTRY_WITHIN_S = 1.0
"""An entry that cannot be sent within this time is not sent: what was decided is over."""


class ServerTime(msgspec.Struct):
    serverTime: str


@dataclass(slots=True)
class Counts:
    """What happened since the start, for the metrics."""

    requests: int = 0
    """Sent, repetitions included."""
    retries: int = 0
    """Repetitions of requests that certainly did nothing."""
    rate_limited: int = 0
    """Answers 429."""
    unknown: int = 0
    """Commands of which it was not known whether they had been carried out."""
    clock_refused: int = 0
    """Timestamps refused; each makes the clock be measured."""


def wall_ms() -> int:
    """The machine's clock, ms since the epoch."""
    return time_ns() // 1_000_000


class HttpClient:
    """One session with the REST interface.

    Reads, and commands that are ``urgent`` (they protect or close), are sent again after 1, 2, 4 s when the exchange
    certainly did nothing: not reached, unavailable, too many requests. Other commands are not, a late entry is not
    what was decided: one that the rate budget keeps for more than 1 s raises RateLimited, and only a refused timestamp
    is answered at once by one repetition with the clock measured anew. What may have been carried out is never sent
    again: it raises OutcomeUnknown. ``limited`` off skips the rate budget (for an embedded exchange). ``now_ms``,
    the exchange's time, signs; ``on_clock_refused`` measures it anew.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        demo: bool = False,
        limited: bool = True,
        timeout_s: float = 10.0,
        now_ms: Callable[[], int] = wall_ms,
        on_clock_refused: Callable[[], Awaitable[object]] | None = None,
        first_retry_s: float = 1.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.budget = RateBudget() if limited else None
        self.counts = Counts()
        self.answered = Latency()
        """How long requests took, answered or given up."""
        self._credentials = credentials
        self._demo = demo
        self._timeout_s = timeout_s
        self._now_ms = now_ms
        self._on_clock_refused = on_clock_refused
        self._first_retry_s = first_retry_s
        self._opened: Transport | None = None
        self._told_until: dict[str, float] = {}
        """Until when each endpoint's pause was told to last."""

    async def close(self) -> None:
        """Close the session."""
        transport, self._opened = self._opened, None
        if transport is not None:
            await transport.close()

    async def get(
        self, path: str, params: Mapping[str, object], into: type[Data], *, private: bool = False, urgent: bool = False
    ) -> Data:
        """A read. Parameters that are None or empty are left out."""
        query = {name: value for name, value in params.items() if value not in (None, "")}
        data = await self._patiently("GET", path, query, Request.READ, private, urgent, ATTEMPTS)
        try:
            return msgspec.json.decode(data or b"null", type=into)
        except msgspec.MsgspecError as error:
            raise Unreadable(f"Bitget's answer to {_named(path, params)} is unreadable: {error}") from error

    async def post(
        self, path: str, body: Mapping[str, object], into: type[Data], request: Request, *, urgent: bool = False
    ) -> Data | None:
        """A signed command; members that are None are left out. None when there was nothing left to do, or it
        succeeded without saying more."""
        members = {name: value for name, value in body.items() if value is not None}
        try:
            data = await self._patiently("POST", path, members, request, True, urgent, ATTEMPTS if urgent else 1)
            return msgspec.json.decode(data, type=into) if data and data != b"null" else None
        except OutcomeUnknown:
            self.counts.unknown += 1
            raise
        except msgspec.MsgspecError as error:
            self.counts.unknown += 1
            said = f"Bitget accepted {_named(path, body)} with an unreadable answer: {error}"
            raise OutcomeUnknown(said) from error

    # --- one request ------------------------------------------------------------------------------------------------

    async def _patiently(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, object],
        request: Request,
        private: bool,
        urgent: bool,
        attempts: int,
    ) -> bytes | None:
        for attempt in range(attempts):
            try:
                return await self._call(method, path, parameters, request, private, urgent)
            except (Unavailable, RateLimited) as error:
                if attempt == attempts - 1:
                    raise
                wait = self._first_retry_s * 2**attempt
                self.counts.retries += 1
                rest = self.budget.rest(path, private=private, urgent=urgent) if self.budget is not None else 0.0
                self._tell(error, path, max(wait, rest))
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    def _tell(self, error: Unavailable | RateLimited, path: str, wait: float) -> None:
        """Say when it is tried again; of a pause of the request limits once, however many requests wait for its end."""
        now = monotonic()
        if isinstance(error, RateLimited):
            if now + wait <= self._told_until.get(path, 0.0) + TOLD_WITHIN_S:
                return
            self._told_until[path] = now + wait
        log.warning("%s; trying again in %.1f s", error, wait)

    async def _call(
        self, method: str, path: str, parameters: Mapping[str, object], request: Request, private: bool, urgent: bool
    ) -> bytes | None:
        if private and self._credentials is None:
            raise ConfigError(f"{path} needs an API key and none is configured")
        what = _named(path, parameters)
        is_entry = request is Request.ENTRY and not urgent
        latest = monotonic() + (ENTRY_WITHIN_S if is_entry else inf)
        sent = 0.0
        for second_try in (False, True):
            if self.budget is not None:
                within_s = latest - monotonic()
                sent = await self.budget.acquire(path, private=private, urgent=urgent, within_s=within_s)
            self.counts.requests += 1
            try:
                data = await self._answered(method, path, parameters, private)
            except NotSent as error:
                raise Unavailable(f"Bitget is not reachable for {what}: {error}") from error
            except Silent as error:
                if request is Request.READ:
                    raise Unavailable(f"Bitget did not answer {what}: {error}") from error
                raise OutcomeUnknown(f"Bitget did not answer {what}: {error}; it may have been carried out") from error
            except Refused as refusal:
                if MEANING.get(refusal.code) is Meaning.CLOCK and self._on_clock_refused and not second_try:
                    self.counts.clock_refused += 1
                    await self._on_clock_refused()
                    if monotonic() <= latest:
                        continue
                if MEANING.get(refusal.code) is Meaning.LIMIT:
                    self.counts.rate_limited += 1
                    if self.budget is not None:
                        self.budget.refused(path, private=private, sent=sent)
                failure = classify(refusal.code, refusal.message, request, what)
                if failure is None:
                    return None
                raise failure from None
            if self.budget is not None:
                self.budget.succeeded(path)
            return data
        raise AssertionError("unreachable")

    async def _answered(self, method: str, path: str, parameters: Mapping[str, object], private: bool) -> bytes | None:
        began = monotonic()
        try:
            return await self._transport().call(method, path, parameters, private=private)
        finally:
            self.answered.add((monotonic() - began) * 1_000)

    def _transport(self) -> Transport:
        if self._opened is None:
            # ccxt is heavy: what only mentions the exchange need not pay for it
            from tradebot.exchange.bitget.transport import Transport

            self._opened = Transport(
                self.url,
                self._now_ms,
                credentials=self._credentials,
                demo=self._demo,
                timeout_s=self._timeout_s,
                proxy=_proxy(self.url),
            )
        return self._opened


def _proxy(url: str) -> str | None:
    """The environment's proxy for an address. It is for the world, not for an exchange on this machine."""
    parts = urlsplit(url)
    return None if on_loopback(url) or proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _named(path: str, parameters: Mapping[str, Any]) -> str:
    return f"{path.rsplit('/', 1)[-1]} {parameters.get('symbol', '')}".rstrip()
