"""What the exchange allows a client on the wire, and how it says no (protocol sections 3, 4, 5.2 and 10.1)."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventually import Steady, eventually
from tests.sim.clients import KEY, MIX, PASSPHRASE, PRODUCT, Refused, Stream, bench, sign
from tests.sim.walk import START_MS, WalkSource
from tradebot.sim import sockets
from tradebot.sim.limits import PER_SECOND, WireLimits
from tradebot.sim.throttle import RestThrottle, TooManyRequests, Window

BOOKS = {"instType": PRODUCT, "channel": "books", "instId": "SOLUSDT"}


# --- REST -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 0.4), max_size=40), st.integers(1, 5))
def test_no_second_ever_holds_more_than_a_window_allows(gaps: list[float], most: int) -> None:
    window = Window(most, 1.0)
    now, taken = 0.0, []
    for gap in gaps:
        now += gap
        if window.take(now):
            taken.append(now)
        else:
            assert sum(at > now - 1.0 for at in taken) == most
    assert all(sum(start <= at < start + 1.0 for at in taken) <= most for start in taken)


async def test_each_endpoint_has_its_own_limit_a_second_and_says_how_much_is_left() -> None:
    limits = WireLimits(per_second={**PER_SECOND, "/api/v2/public/time": 3})
    async with bench([WalkSource()], rate_limits=True, limits=limits) as b:
        left = []
        for _ in range(3):
            status, _, headers = await b.ask("/api/v2/public/time")
            assert status == 200
            left.append(headers["x-mbx-used-remain-limit"])
        assert left == ["2", "1", "0"]
        status, text, headers = await b.ask("/api/v2/public/time")
        body = json.loads(text)
        assert (status, body["code"], body["msg"], body["data"]) == (429, "429", "Too Many Requests", None)
        assert int(headers["X-BG-RESPONSE-COMPLETE-TIME"]) >= int(headers["X-BG-REQUEST-ACCEPT-TIME"]) >= START_MS
        contracts = f"{MIX}market/contracts?productType={PRODUCT}"
        assert (await b.ask(contracts))[0] == 200


async def test_private_endpoints_are_counted_per_account_after_the_signature() -> None:
    path = f"{MIX}position/all-position?productType={PRODUCT}"
    limits = WireLimits(per_second={f"{MIX}position/all-position": 2})
    async with bench([WalkSource()], rate_limits=True, limits=limits) as b:
        for _ in range(3):
            forged = {**b.signed(path), "ACCESS-SIGN": "x"}
            assert json.loads((await b.ask(path, **forged))[1])["code"] == "40009"
        statuses = [(await b.ask(path, **b.signed(path)))[0] for _ in range(3)]
        assert statuses == [200, 200, 429]


async def test_an_address_that_asks_too_much_gets_429_without_a_body_until_it_has_recovered() -> None:
    limits = WireLimits(per_minute=4, recovery_s=0.3)
    async with bench([WalkSource()], rate_limits=True, limits=limits) as b:
        answers = [await b.ask("/nowhere") for _ in range(6)]
        assert [status for status, _, _ in answers] == [404, 404, 404, 404, 429, 429]
        assert answers[-1][1] == ""


async def test_the_same_order_is_cancelled_once_a_second_however_it_is_named() -> None:
    async with bench([WalkSource()], rate_limits=True) as b:
        order = {"symbol": "SOLUSDT", "marginMode": "isolated", "side": "buy", "size": "1", "orderType": "limit"}
        ids = [
            (await b.rest.post("order/place-order", **order, price="140", clientOid=name))["orderId"] for name in "ab"
        ]
        cancel = "order/cancel-order"
        await b.rest.post(cancel, symbol="SOLUSDT", orderId=ids[0])
        with pytest.raises(Refused) as again:
            await b.rest.post(cancel, symbol="SOLUSDT", clientOid="a")
        assert again.value.code == "45129"
        listed = [{"orderId": ids[0]}, {"orderId": ids[1]}]
        answer = await b.rest.post("order/batch-cancel-orders", symbol="SOLUSDT", orderIdList=listed)
        assert [row["errorCode"] for row in answer["failureList"]] == ["45129"]
        assert [row["clientOid"] for row in answer["successList"]] == ["b"]
        everything = await b.rest.post("order/cancel-all-orders")
        assert everything["failureList"] == []


def test_an_endpoint_is_free_again_after_a_second_and_an_address_after_its_recovery() -> None:
    throttle = RestThrottle(WireLimits(other_per_second=1, per_minute=2, recovery_s=300.0))
    throttle.arrive("here", 0.0)
    assert throttle.admit("/a", "here", 0.0) == 0
    with pytest.raises(TooManyRequests) as endpoint:
        throttle.admit("/a", "here", 0.9)
    assert not endpoint.value.silent
    assert throttle.admit("/a", "here", 1.0) == throttle.admit("/b", "here", 1.0) == throttle.admit("/a", "there", 1.0)
    throttle.arrive("here", 1.0)
    for at in (2.0, 100.0, 301.9):
        with pytest.raises(TooManyRequests) as address:
            throttle.arrive("here", at)
        assert address.value.silent
    throttle.arrive("there", 2.0)
    throttle.arrive("here", 302.0)


@pytest.mark.parametrize(
    ("path", "rate"),
    [
        ("/api/v2/public/time", 20),
        (f"{MIX}market/history-candles", 20),
        (f"{MIX}market/fills-history", 10),
        (f"{MIX}market/query-position-lever", 10),
        (f"{MIX}order/place-order", 10),
        (f"{MIX}order/batch-place-order", 5),
        (f"{MIX}position/all-position", 5),
        (f"{MIX}position/history-position", 20),
        (f"{MIX}account/set-asset-mode", 2),
        (f"{MIX}order/close-positions", 1),
    ],
)
def test_the_limits_are_the_published_ones(path: str, rate: int) -> None:
    limits = WireLimits()
    assert limits.per_second.get(path, limits.other_per_second) == rate


async def test_requests_are_counted_at_the_pace_of_the_wall_clock_and_not_in_accelerated_time() -> None:
    one = WireLimits(per_second={"/api/v2/public/time": 1})
    for options, refused in (
        ({"speed": 1.0, "hold": False}, True),
        ({"speed": 1.0, "hold": True}, False),
        ({"speed": 60.0, "hold": False}, False),
        ({"speed": 60.0, "hold": False, "rate_limits": True}, True),
        ({"speed": 1.0, "hold": False, "rate_limits": False}, False),
    ):
        async with bench([WalkSource(steps=100_000)], limits=one, **options) as b:
            statuses = {(await b.ask("/api/v2/public/time"))[0] for _ in range(2)}
            assert (429 in statuses) == refused


# --- WebSocket ------------------------------------------------------------------------------------------------------


async def _errors(stream: Stream, count: int = 1) -> list[int]:
    codes = []
    for _ in range(count):
        answer = await stream.next()
        assert answer["event"] == "error"
        codes.append(int(answer["code"]))
    return codes


async def test_too_many_messages_in_a_second_end_the_connection() -> None:
    async with bench([WalkSource()], limits=WireLimits(messages_per_second=3)) as b:
        stream = await b.stream()
        for _ in range(4):
            await stream.send("ping")
        assert [await stream.next() for _ in range(3)] == ["pong"] * 3
        assert await _errors(stream) == [30007]
        assert await stream.next() is None
        await eventually(lambda: not b.server.exchange.hub.connections)


async def test_an_address_that_floods_again_and_again_is_banned() -> None:
    async with bench([WalkSource()], limits=WireLimits(messages_per_second=1, floods=2)) as b:
        for _ in range(2):
            stream = await b.stream()
            for _ in range(2):
                await stream.send("ping")
            assert await stream.next() == "pong"
            assert await _errors(stream) == [30007]
            assert await stream.next() is None
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await b.stream()


async def test_too_many_subscribe_requests_are_refused_and_unsubscribing_is_not() -> None:
    async with bench([WalkSource()], limits=WireLimits(subscribes_per_hour=2)) as b:
        stream = await b.stream()
        for channel in ("trade", "ticker"):
            await stream.subscribe(channel)
            assert (await stream.next())["event"] == "subscribe"
            await stream.next()
        await stream.subscribe("books")
        assert await _errors(stream) == [30006]
        await stream.send({"op": "unsubscribe", "args": [{**BOOKS, "channel": "trade"}]})
        assert (await stream.next())["event"] == "unsubscribe"


async def test_more_channels_than_allowed_end_the_connection() -> None:
    async with bench([WalkSource()], limits=WireLimits(channels=2)) as b:
        stream = await b.stream()
        await stream.subscribe("trade", "ticker", "trade")
        for _ in range(3):
            assert (await stream.next())["event"] == "subscribe"
            assert (await stream.next())["action"] == "snapshot"
        await stream.subscribe("books")
        assert await _errors(stream) == [30007]
        assert await stream.next() is None


async def test_connections_and_attempts_of_an_address_are_limited() -> None:
    async with bench([WalkSource()], limits=WireLimits(connections=2)) as b:
        first, _ = await b.stream(), await b.stream("private")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await b.stream()
        assert refused.value.status == 429
        await first.socket.close()
        await eventually(lambda: len(b.server.exchange.hub.connections) == 1)
        await b.stream()
    async with bench([WalkSource()], limits=WireLimits(connect_attempts=2)) as b:
        for _ in range(2):
            await (await b.stream()).socket.close()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await b.stream()


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> Steady:
    """The time by which the exchange counts what it heard of a client."""
    clock = Steady()
    monkeypatch.setattr(sockets, "time", SimpleNamespace(monotonic=clock))
    return clock


async def test_only_the_text_ping_keeps_a_connection_alive(steady: Steady) -> None:
    async with bench([WalkSource()], limits=WireLimits(ping_timeout_s=120.0)) as b:
        talking, pinging = await b.stream(), await b.stream()
        for channel in ("books", "ticker"):
            steady.now += 50
            await pinging.send("ping")
            assert await pinging.next() == "pong"
            await talking.socket.ping()
            await talking.subscribe(channel)
            assert (await talking.next())["event"] == "subscribe"
            assert (await talking.next())["action"] == "snapshot"
        steady.now += 50
        await pinging.send("ping")
        assert await pinging.next() == "pong"
        await talking.subscribe("trade")
        assert (await talking.next())["event"] == "subscribe"
        assert (await talking.next())["action"] == "snapshot"
        assert await talking.next() is None
        await pinging.send("ping")
        assert await pinging.next() == "pong"


async def test_a_connection_ends_after_its_day_however_lively(steady: Steady) -> None:
    async with bench([WalkSource()], limits=WireLimits(session_s=300.0)) as b:
        stream = await b.stream()
        for _ in range(3):
            steady.now += 100
            await stream.send("ping")
            assert await stream.next() == "pong"
        assert await stream.next() is None


@pytest.mark.parametrize("limits", [WireLimits(ping_timeout_s=0.3), WireLimits(session_s=0.3)])
async def test_a_connection_ends_by_the_clock_though_nothing_is_said(limits: WireLimits) -> None:
    async with bench([WalkSource()], limits=limits) as b:
        assert await (await b.stream()).next() is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not json", 30003),
        ("[1]", 30003),
        ('{"op":"order"}', 30003),
        ('{"op":"subscribe"}', 30016),
        ('{"op":"subscribe","args":[{"instType":"USDT-FUTURES"}]}', 30016),
        ('{"op":"subscribe","args":[{"channel":["books"],"instId":"SOLUSDT"}]}', 30016),
        (json.dumps({"op": "subscribe", "args": [{**BOOKS, "channel": "nosuch"}]}), 30001),
        (json.dumps({"op": "subscribe", "args": [{**BOOKS, "instId": "NOSUCHUSDT"}]}), 30001),
        (json.dumps({"op": "subscribe", "args": [BOOKS], "pad": "x" * 4096}), 30002),
        (b"binary", 30002),
    ],
)
async def test_each_mistake_has_its_code_and_the_connection_lives_on(message: str | bytes, code: int) -> None:
    async with bench([WalkSource()]) as b:
        stream = await b.stream()
        await (stream.socket.send_bytes(message) if isinstance(message, bytes) else stream.send(message))
        assert await _errors(stream) == [code]
        await stream.send({"op": "subscribe", "args": [{**BOOKS, "unknown": 1}], "url": "ignored"})
        ack = await stream.next()
        assert (ack["event"], ack["arg"]) == ("subscribe", BOOKS)
        assert (await stream.next())["arg"] == BOOKS


async def test_private_channels_need_a_login_and_echo_the_arg_as_it_was_sent() -> None:
    async with bench([WalkSource()]) as b:
        stream = await b.stream("private")
        arg = {"instType": PRODUCT, "channel": "positions", "coin": "default"}
        await stream.send({"op": "subscribe", "args": [arg]})
        assert await _errors(stream) == [30004]
        await stream.login(b.server.exchange.now_ms // 1000)
        await stream.send({"op": "subscribe", "args": [arg]})
        assert (await stream.next())["arg"] == arg
        assert (await stream.next())["arg"] == arg


def _login(change: dict[str, Any]) -> dict[str, Any]:
    stamp = str(change.get("timestamp", START_MS))
    arg = {"apiKey": KEY, "passphrase": PASSPHRASE, "timestamp": stamp, "sign": sign(stamp + "GET/user/verify")}
    return {"op": "login", "args": [{**arg, **change}]}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"op": "login"}, 30005),
        ({"op": "login", "args": ["key"]}, 30005),
        (_login({"apiKey": "other"}), 30011),
        (_login({"passphrase": "other"}), 30012),
        (_login({"timestamp": "soon"}), 30013),
        (_login({"timestamp": str(START_MS - 40_000)}), 30014),
        (_login({"sign": "other"}), 30015),
    ],
)
async def test_a_failed_login_says_why_and_closes(message: dict[str, Any], code: int) -> None:
    async with bench([WalkSource()]) as b:
        stream = await b.stream("private")
        await stream.send(message)
        assert await _errors(stream) == [code]
        assert await stream.next() is None


# --- account kinds --------------------------------------------------------------------------------------------------


async def test_a_unified_account_is_refused_by_classic_endpoints_and_answered_by_the_probe() -> None:
    async with bench([WalkSource()], account="unified") as b:
        with pytest.raises(Refused) as refused:
            await b.rest.private("account/accounts")
        assert (refused.value.status, refused.value.code) == (400, "40085")
        with pytest.raises(Refused) as refused:
            await b.rest.post("order/place-order", symbol="SOLUSDT")
        assert refused.value.code == "40085"
        settings = await b.rest.get("/api/v3/account/settings", signed=True)
        assert settings["accountMode"] == "unified"
        assert await b.rest.public("contracts")
    async with bench([WalkSource()]) as b:
        with pytest.raises(Refused) as refused:
            await b.rest.get("/api/v3/account/settings", signed=True)
        assert (refused.value.status, refused.value.code) == (400, "40084")
