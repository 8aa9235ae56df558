"""Every recorded request of a known good client leaves ours with the same bytes and the same signature."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.exchange.sample_rows import messages
from tests.exchange.samples import fixture, wire
from tests.exchange.servers import rest_server, success
from tests.exchange.signed import signed_headers
from tests.shared import ROOT
from tradebot.exchange.bitget.signing import Credentials, login_argument, signature
from tradebot.exchange.bitget.subscription import Subscription, chunked
from tradebot.exchange.bitget.transport import Transport

GOLDEN = "ccxt_golden_requests"
THERE = (ROOT / "data/bitget_fixtures").exists()
SKIPPED = pytest.param("", marks=pytest.mark.skip(reason="needs recorded data: data/bitget_fixtures"))


@pytest.mark.parametrize("name", list(fixture(GOLDEN)) if THERE else [SKIPPED])
async def test_a_recorded_request_is_sent_with_the_same_bytes_and_signature(name: str) -> None:
    recorded = fixture(GOLDEN)[name]
    http, key = recorded["http"], recorded["credentials"] or {"key": "", "secret": "", "passphrase": ""}
    private = "ACCESS-KEY" in http["headers"]
    parameters = http["body"] if http["method"] == "POST" else dict(parse_qsl(http["query"]))
    async with rest_server(lambda *_: success({})) as server:
        transport = Transport(
            server.url,
            lambda: recorded["clock_ms"],
            credentials=Credentials(key["key"], key["secret"], key["passphrase"]),
        )
        await transport.call(http["method"], http["path"], parameters, private=private)
        await transport.close()
    ((method, path, query, body, headers),) = server.requests
    assert (method, path, query) == (http["method"], http["path"], http["query"])
    assert body == (wire(http["body"]) if http["body"] else b"")
    assert {name: headers.get(name) for name in http["headers"]} == http["headers"]
    if private:
        ours = signed_headers(
            Credentials(key["key"], key["secret"], key["passphrase"]), recorded["clock_ms"], method, path, query, body
        )
        assert {name: headers[name] for name in ours} == ours


@pytest.mark.parametrize(
    ("prehash", "expected"),
    [
        (
            "1760000000000GET/api/v2/mix/account/accounts?productType=USDT-FUTURES",
            "vryXHRmQdpFpvHStQY11PVXEXBD6TPS9fqVDmB5ACDU=",
        ),
        (
            '1760000000000POST/api/v2/mix/order/place-order{"symbol":"SOLUSDT","orderType":"market","force":"GTC",'
            '"marginCoin":"USDT","size":"1","productType":"USDT-FUTURES","marginMode":"crossed","side":"buy"}',
            "YmMWGnIHRpefRr3cg3Y5vwPq38IrQSFqV5LkQrv5l6w=",
        ),
        ("1760000000GET/user/verify", "Tn3aZRimO/Hyd+C9EOJ4Og2ljfpLXQpwpAR1iz4tT8M="),
        ("1760000000000GET/user/verify", "+sucNnusc8rXtqqpiDfjGH3CEJ3oWxQAhJRIYKTLC80="),
    ],
)
def test_the_protocol_s_vectors_are_signed_alike(prehash: str, expected: str) -> None:
    assert signature("secret", prehash.encode()) == expected


async def test_the_protocol_s_vectors_are_sent_alike() -> None:
    order = {
        "symbol": "SOLUSDT", "orderType": "market", "force": "GTC", "marginCoin": "USDT", "size": "1",
        "productType": "USDT-FUTURES", "marginMode": "crossed", "side": "buy",
    }  # fmt: skip
    async with rest_server(lambda *_: success({})) as server:
        transport = Transport(server.url, lambda: 1760000000000, credentials=Credentials("key", "secret", "pass"))
        accounts = {"productType": "USDT-FUTURES"}
        await transport.call("GET", "/api/v2/mix/account/accounts", accounts, private=True)
        await transport.call("POST", "/api/v2/mix/order/place-order", order, private=True)
        await transport.close()
    assert [headers["ACCESS-SIGN"] for *_, headers in server.requests] == [
        "vryXHRmQdpFpvHStQY11PVXEXBD6TPS9fqVDmB5ACDU=",
        "YmMWGnIHRpefRr3cg3Y5vwPq38IrQSFqV5LkQrv5l6w=",
    ]


def stream_requests() -> list[Any]:
    """Subscriptions of futures channels in the samples. (One source names ``coin`` where the others say ``instId``.)"""
    if not THERE:
        return [SKIPPED]
    found = []
    for message in messages():
        content = message.content
        if not isinstance(content, dict) or content.get("op") not in ("subscribe", "unsubscribe"):
            continue
        args = content["args"]
        if all(isinstance(arg, dict) and arg["instType"] == "USDT-FUTURES" for arg in args):
            found.append(pytest.param(content, id=message.where))
    return found


@pytest.mark.parametrize("request_", stream_requests())
def test_subscriptions_are_asked_for_as_others_ask(request_: dict[str, Any]) -> None:
    args = [arg for arg in request_["args"] if "coin" in arg or "instId" in arg]
    ours = [Subscription(arg["channel"], arg.get("instId", ""), arg.get("coin", "")).argument() for arg in args]
    assert ours == args
    if args:
        (sent,) = chunked(request_["op"], ours)
        assert json.loads(sent) == {"op": request_["op"], "args": args}


def test_a_login_has_the_members_that_others_send() -> None:
    if not THERE:
        pytest.skip("needs recorded data: data/bitget_fixtures")
    logins = [
        m.content["args"][0] for m in messages() if isinstance(m.content, dict) and m.content.get("op") == "login"
    ]
    ours = login_argument(Credentials("key", "secret", "pass"), 1760000000)
    assert logins
    assert all(login.keys() == ours.keys() for login in logins)
    assert ours["sign"] == "Tn3aZRimO/Hyd+C9EOJ4Og2ljfpLXQpwpAR1iz4tT8M="
