"""Faults on requests: between a request and its answer (protocol sections 4, 5 and 8.3).

Time spent here is wall time: a paced client waits for its answer while the exchange's clock stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from tradebot.sim.faults import edits
from tradebot.sim.faults.armed import Armed
from tradebot.sim.faults.kinds import UNSURE_CODES, Scope
from tradebot.sim.faults.reach import CANDLE_ENDPOINTS
from tradebot.sim.granularity import GRANULARITIES
from tradebot.sim.wire import decode, failure

HTML: Final = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>Bad Gateway</body>\r\n</html>\r\n"
CANDLE_KINDS: Final = ("candle_gap", "late_candle", "duplicate_candle")
HANG_LOOK_S = 0.01
"""How often a request that is not answered looks whether its client has given up."""

CarryOut = Callable[[], web.Response]
"""Does what the request asks and makes its answer."""


class RequestFaults:
    """Answers requests the way the rules want it. ``now_ms`` is the exchange's time."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._rules: list[Armed] = []

    def arm(self, armed: Armed) -> None:
        self._rules.append(armed)

    def clock_ahead_ms(self) -> int:
        """How far ahead the exchange's clock is for whoever asks the time."""
        return sum(armed.rule.whole("skew") for armed in self._skews())

    def skew_ms(self, scope: Scope) -> int:
        """How far ahead it is for a signature to be checked now. There is one clock: the scope of a rule only says
        whether requests (``rest``) or logins (``private``) are counted as hit."""
        skews = self._skews()
        for armed in skews:
            if armed.rule.scope == scope:
                armed.strikes()
        return sum(armed.rule.whole("skew") for armed in skews)

    def _skews(self) -> list[Armed]:
        if not self._rules:
            return []
        now_ms = self._now_ms()
        return [armed for armed in self._rules if armed.rule.kind == "clock_skew" and armed.active(now_ms)]

    async def answer(self, request: web.Request, body: bytes, carry_out: CarryOut) -> web.Response:
        """The answer to a request. Every rule that hits slows it down; the first that does more decides it."""
        live = self._meant(request, body)
        if not live:
            return carry_out()
        slow_s = 0.0
        deciding: Armed | None = None
        for armed in live:
            if armed.rule.kind == "slow_rest":
                if armed.strikes():
                    slow_s += (armed.rule.whole("delay") + armed.dice.randint(0, armed.rule.whole("jitter"))) / 1000
            elif deciding is None and armed.rule.kind not in CANDLE_KINDS:
                deciding = armed if armed.strikes() else None

        def carried_out() -> web.Response:
            answer = carry_out()
            for armed in live:
                if armed.rule.kind in CANDLE_KINDS:
                    answer = self._candles(armed, request, answer)
            return answer

        answer = await self._decided(deciding, request, carried_out) if deciding is not None else carried_out()
        if slow_s:
            await asyncio.sleep(slow_s)
        return answer

    def _meant(self, request: web.Request, body: bytes) -> list[Armed]:
        if not self._rules:
            return []
        now_ms = self._now_ms()
        return [
            armed
            for armed in self._rules
            if armed.rule.scope == "rest"
            and armed.rule.kind != "clock_skew"
            and (armed.active(now_ms) or (armed.rule.kind == "candle_gap" and not armed.cleared))
            and _means(armed, request, body)
        ]

    async def _decided(self, armed: Armed, request: web.Request, carry_out: CarryOut) -> web.Response:
        parameters = armed.rule.parameters
        match armed.rule.kind:
            case "rate_limit_storm":
                return self._too_many(armed)
            case "server_error" | "html_page" | "empty_body":
                if parameters["effect"]:
                    carry_out()
                return _page(armed.rule.kind, parameters["status"])
            case "corrupt_json":
                return _with_body(carry_out(), edits.corrupted)
            case "truncated_frame":
                return _with_body(carry_out(), edits.truncated)
            case "failure_but_stands":
                code = parameters["code"] or armed.dice.choice(UNSURE_CODES)
                if parameters["effect"]:
                    carry_out()
                return _json(400, failure(code, "service returned an error", self._now_ms()))
            case _:  # answer_lost_after_accept, answer_lost_before
                if armed.rule.kind == "answer_lost_after_accept":
                    carry_out()
                return await _silence(request, hang=parameters["hang"])

    def _too_many(self, armed: Armed) -> web.Response:
        body = armed.rule.parameters["body"]
        if body == "empty" or (body == "both" and armed.injected % 2 == 0):
            return web.Response(status=429)
        return _json(429, failure("429", "Too Many Requests", self._now_ms()))

    def _candles(self, armed: Armed, request: web.Request, answer: web.Response) -> web.Response:
        """Candle rows taken away or doubled; an answer without rows to change is as it was."""
        assert isinstance(answer.body, bytes)
        payload = answer.body
        if answer.status != 200:
            return answer
        changed: bytes | None
        if armed.rule.kind == "duplicate_candle":
            changed = edits.doubled_candles(payload)
            gone = 1 if changed is not None else 0
        elif armed.rule.kind == "candle_gap":
            changed, gone = edits.without_candles(payload, armed.covers)
        else:
            known_ms = self._now_ms() - armed.rule.whole("delay")
            changed, gone = edits.without_candles(payload, lambda start_ms: start_ms + _length(request) > known_ms)
        return _json(200, changed) if gone and changed is not None and armed.strikes() else answer


def _length(request: web.Request) -> int:
    granularity = GRANULARITIES.get(request.query.get("granularity", ""))
    return (granularity.length_ms or 0) if granularity is not None else 0


def _means(armed: Armed, request: web.Request, body: bytes) -> bool:
    """Whether the rule is about this request: its method or the last part of its path, and its symbol."""
    rule = armed.rule
    name = request.path.rsplit("/", 1)[-1]
    if rule.sort.channels and name not in CANDLE_ENDPOINTS:
        return False
    if rule.endpoint and rule.endpoint not in (name, request.method):
        return False
    return not rule.symbol or rule.symbol == _symbol(request, body)


def _symbol(request: web.Request, body: bytes) -> str:
    if not body:
        return request.query.get("symbol", "").upper()
    try:
        said: Any = decode(body)
    except msgspec.DecodeError:
        return ""
    return str(said.get("symbol", "")).upper() if isinstance(said, dict) else ""


def _page(kind: str, status: int) -> web.Response:
    if kind == "html_page":
        return web.Response(status=status, body=HTML, content_type="text/html")
    if kind == "empty_body":
        return web.Response(status=status)
    return web.Response(status=status, text="Service Unavailable")


def _json(status: int, payload: bytes) -> web.Response:
    return web.Response(status=status, body=payload, content_type="application/json")


def _with_body(answer: web.Response, edit: Callable[[bytes], bytes]) -> web.Response:
    assert isinstance(answer.body, bytes)
    return _json(answer.status, edit(answer.body))


async def _silence(request: web.Request, *, hang: bool) -> web.Response:
    """No answer: the connection is cut, at once or when the client has given up waiting."""
    while hang and request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(HANG_LOOK_S)
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
