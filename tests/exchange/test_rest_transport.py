"""What is sent, repeated and counted, whatever the endpoint."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from decimal import getcontext
from time import monotonic
from typing import Any

import pytest

from tests.eventually import eventually
from tests.exchange.servers import Reply, failure, rest_server, success
from tests.exchange.signed import signed_headers
from tradebot.errors import OutcomeUnknown, RateLimited, Rejected, Unavailable
from tradebot.exchange.bitget.errors import Request
from tradebot.exchange.bitget.http import HttpClient, ServerTime
from tradebot.exchange.bitget.signing import Credentials

KEY = Credentials("key", "the-secret", "the-passphrase")
CLOCK_MS = 1760000000000
PLACE = "/api/v2/mix/order/place-order"
CANCEL = "/api/v2/mix/order/cancel-order"


def client(url: str, **more: Any) -> HttpClient:
    fields = {"credentials": KEY, "limited": False, "now_ms": lambda: CLOCK_MS, "first_retry_s": 0.01}
    return HttpClient(url, **{**fields, **more})


async def test_what_is_signed_is_what_is_sent() -> None:
    body = {"symbol": "SOLUSDT", "size": "1", "price": None, "clientOid": "tb0-1-2-e"}
    query = {"symbol": "SOLUSDT", "clientOid": "tb0-1-2-e", "productType": "USDT-FUTURES", "limit": 100, "endTime": ""}
    async with rest_server(lambda *_: success({})) as server:
        http = client(server.url, now_ms=lambda: CLOCK_MS + 7)
        await http.post(PLACE, body, object, Request.ENTRY)
        await http.get("/api/v2/mix/order/detail", query, object, private=True)
        await http.close()
    (_, path, _, sent, headers), (_, read_path, read_query, nothing, read_headers) = server.requests
    assert sent == b'{"symbol":"SOLUSDT","size":"1","clientOid":"tb0-1-2-e"}'
    assert {k: headers[k] for k in signed_headers(KEY, 0, "", "")} == signed_headers(
        KEY, CLOCK_MS + 7, "POST", path, body=sent
    )
    assert read_query == "clientOid=tb0-1-2-e&limit=100&productType=USDT-FUTURES&symbol=SOLUSDT"
    assert nothing == b""
    assert {k: read_headers[k] for k in signed_headers(KEY, 0, "", "")} == signed_headers(
        KEY, CLOCK_MS + 7, "GET", read_path, read_query
    )


async def test_nobody_else_earns_by_our_orders() -> None:
    async with rest_server(lambda *_: success({})) as server:
        http = client(server.url)
        await http.post(PLACE, {"symbol": "SOLUSDT"}, object, Request.ENTRY)
        await http.close()
    assert not [name for name in server.requests[0][4] if "channel" in name.lower()]


async def test_a_public_call_carries_no_key() -> None:
    async with rest_server(lambda *_: success({"serverTime": "7"})) as server:
        http = client(server.url)
        await http.get("/api/v2/public/time", {}, ServerTime)
        await http.close()
    assert not [name for name in server.requests[0][4] if name.upper().startswith("ACCESS")]


async def test_a_verbose_log_holds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with rest_server(lambda *_: success({})) as server:
            http = client(server.url)
            await http.post(PLACE, {"symbol": "SOLUSDT"}, object, Request.ENTRY)
            await http.close()
    assert "the-passphrase" not in caplog.text


async def test_ids_and_money_arrive_as_they_were_sent() -> None:
    body = b'{"code":"00000","msg":"success","data":{"id":1471430749318709251,"price":0.10000000000000000001}}'
    async with rest_server(lambda *_: (200, body)) as server:
        http = client(server.url)
        data = await http._transport().call("GET", "/api/v2/x", {}, private=True)
        await http.close()
    assert data == b'{"id":1471430749318709251,"price":0.10000000000000000001}'


async def test_the_environment_s_proxy_is_for_the_world_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with rest_server(lambda *_: success({"serverTime": "7"})) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        away = client("http://exchange.invalid")
        assert await away.get("/api/v2/public/time", {}, ServerTime) == ServerTime("7")
        await away.close()
        async with rest_server(lambda *_: success({"serverTime": "8"})) as server:
            here = client(server.url)
            assert await here.get("/api/v2/public/time", {}, ServerTime) == ServerTime("8")
            await here.close()
        monkeypatch.setenv("no_proxy", "exchange.invalid")
        away = client("http://exchange.invalid")
        with pytest.raises(Unavailable, match="not reachable"):
            await away.get("/api/v2/public/time", {}, ServerTime)
        await away.close()
    assert [headers["Host"] for *_, headers in proxy.requests] == ["exchange.invalid"]


async def test_arithmetic_around_a_request_is_untouched() -> None:
    before = getcontext().copy()
    async with rest_server(lambda *_: success({})) as server:
        http = client(server.url)
        await http.post(PLACE, {"symbol": "SOLUSDT"}, object, Request.ENTRY)
        await http.close()
    now = getcontext()
    assert (now.prec, now.rounding, now.traps) == (before.prec, before.rounding, before.traps)


def test_what_only_mentions_the_exchange_does_not_load_ccxt() -> None:
    code = (
        "import sys, tradebot.exchange.bitget.rest as rest; "
        "rest.BitgetRest('http://127.0.0.1:1'); sys.exit('ccxt' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- repeated, or not -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [failure("429", 429), (429, b""), failure("22043"), failure("40200")])
async def test_what_protects_or_closes_is_sent_again_while_nothing_happens(refused: Reply) -> None:
    replies = [refused, refused, success({"orderId": "1"})]
    async with rest_server(lambda *_: replies.pop(0)) as server:
        http = client(server.url)
        assert await http.post(CANCEL, {"symbol": "SOLUSDT"}, object, Request.CANCEL, urgent=True) == {"orderId": "1"}
        await http.close()
    assert (http.counts.requests, http.counts.retries) == (3, 2)
    assert http.counts.rate_limited == (2 if refused[0] == 429 else 0)


@pytest.mark.parametrize(("refused", "kind"), [(failure("429", 429), RateLimited), (failure("22043"), Unavailable)])
async def test_a_late_entry_is_not_what_was_decided(refused: Reply, kind: type[Exception]) -> None:
    async with rest_server(lambda *_: refused) as server:
        http = client(server.url)
        with pytest.raises(kind):
            await http.post(PLACE, {"symbol": "SOLUSDT"}, object, Request.ENTRY)
        await http.close()
    assert len(server.requests) == 1


async def test_an_entry_that_the_budget_would_keep_is_not_sent_and_a_close_is() -> None:
    async with rest_server(lambda *_: success({})) as server:
        http = client(server.url, limited=True)
        assert http.budget is not None
        for _ in range(2):
            http.budget.refused(PLACE, private=True, sent=monotonic())
        began = monotonic()
        with pytest.raises(RateLimited, match="not sent"):
            await http.post(PLACE, {"symbol": "SOLUSDT"}, object, Request.ENTRY)
        assert monotonic() - began < 1
        assert server.requests == []
        await http.post(CANCEL, {"symbol": "SOLUSDT"}, object, Request.CANCEL, urgent=True)
        await http.close()
    assert len(server.requests) == 1


async def test_an_entry_is_not_repeated_when_measuring_the_clock_took_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradebot.exchange.bitget.http.ENTRY_WITHIN_S", 0.0)

    async def measured() -> None:
        return

    async with rest_server(lambda *_: failure("40008")) as server:
        http = client(server.url, on_clock_refused=measured)
        with pytest.raises(Unavailable):
            await http.post(PLACE, {"symbol": "SOLUSDT"}, object, Request.ENTRY)
        await http.close()
    assert [path for _, path, *_ in server.requests].count(PLACE) == 1


@pytest.mark.parametrize("reply", [(200, None), (502, b"<html>"), (200, b""), (200, b"<html>"), failure("45001")])
@pytest.mark.parametrize("request_kind", [Request.ENTRY, Request.CANCEL, Request.ADJUST])
async def test_what_may_have_happened_is_never_sent_again(reply: Reply, request_kind: Request) -> None:
    async with rest_server(lambda *_: reply) as server:
        http = client(server.url)
        with pytest.raises(OutcomeUnknown):
            await http.post(PLACE, {"symbol": "SOLUSDT"}, object, request_kind, urgent=True)
        await http.close()
    assert len(server.requests) == 1
    assert (http.counts.requests, http.counts.retries, http.counts.unknown) == (1, 0, 1)


async def test_a_command_that_never_left_is_sent_again_only_where_it_may_come_late() -> None:
    async with rest_server(lambda *_: success({})) as server:
        url = server.url
    http = client(url)
    for urgent, requests in ((False, 1), (True, 5)):
        with pytest.raises(Unavailable, match="not reachable"):
            await http.post(PLACE, {"symbol": "SOLUSDT"}, object, Request.ENTRY, urgent=urgent)
        assert http.counts.requests == requests
    assert http.counts.unknown == 0
    await http.close()


async def test_a_refusal_is_not_repeated() -> None:
    async with rest_server(lambda *_: failure("40762")) as server:
        http = client(server.url)
        with pytest.raises(Rejected):
            await http.post(PLACE, {"symbol": "SOLUSDT"}, object, Request.ENTRY, urgent=True)
        await http.close()
    assert len(server.requests) == 1


async def test_a_pause_of_the_limits_is_told_once_and_as_long_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async with rest_server(lambda *_: failure("429", 429)) as server:
        http = client(server.url, limited=True)
        asked: list[asyncio.Task[object]] = []

        async def refused(name: str, times: int) -> None:
            before = http.counts.retries
            asked.extend(asyncio.create_task(http.get(f"/api/v2/mix/market/{name}", {}, object)) for _ in range(times))
            await eventually(lambda: http.counts.retries == before + times)

        with caplog.at_level(logging.WARNING):
            for name in ("ticker", "contracts", "candles"):
                await refused(name, times=2)
        told = [record.args[-1] for record in caplog.records if isinstance(record.args, tuple)]
        assert told == [pytest.approx(seconds, abs=0.2) for seconds in (1, 1, 60)]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await http.close()
