"""Faults on requests and connections: a bare client sees exactly the fault, for its time, and nothing else."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from time import monotonic
from typing import Any

import aiohttp
import pytest

from tests.eventually import eventually
from tests.sim.clients import KEY, MIX, PASSPHRASE, Bench, Refused, Stream, bench, sign
from tests.sim.faulty import faults, hear, injected
from tests.sim.walk import BASE_MS, MOVE_MS, START_MS, WalkSource

ORDER = {"symbol": "SOLUSDT", "marginMode": "isolated", "orderType": "market", "side": "buy", "size": "1"}
WINDOW = {"from": "5m", "for": "5m"}


async def get(b: Bench, path: str = "/api/v2/public/time") -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(b.server.rest_url + path) as answer:
        return answer.status, await answer.read()


async def at_step(b: Bench, number: int) -> None:
    """Let exchange time come to that step, and stand there."""
    paced = await b.paced()
    await paced.attach()
    while b.server.exchange.clock.now_ms < START_MS + number * MOVE_MS:
        await paced.step()


def orders(b: Bench) -> list[str]:
    venue = b.server.exchange.venue
    return [order.client_oid for order in (*venue.open_orders(), *venue.past_orders())]


async def test_before_and_after_its_time_a_request_fault_does_nothing() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "server_error", **WINDOW})) as b:
        paced = await b.paced()
        await paced.attach()
        seen = []
        for _ in range(25):
            seen.append((await get(b))[0])
            await paced.step()
        assert seen == [200] * 10 + [503] * 10 + [200] * 5
        assert injected(b) == {("server_error", "rest"): 10}


async def test_a_storm_of_429_has_both_forms_of_its_body() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "rate_limit_storm"})) as b:
        answers = [await get(b) for _ in range(4)]
        assert [status for status, _ in answers] == [429] * 4
        assert [bool(body) for _, body in answers] == [True, False, True, False]
        assert json.loads(answers[0][1])["code"] == "429"
    for form, there in (("json", True), ("empty", False)):
        async with bench([WalkSource()], faults=faults({"kind": "rate_limit_storm", "body": form})) as b:
            assert [bool((await get(b))[1]) for _ in range(3)] == [there] * 3


@pytest.mark.parametrize(
    ("kind", "status", "start"),
    [("server_error", 503, b"Service"), ("html_page", 502, b"<html>"), ("empty_body", 200, b"")],
)
async def test_an_answer_that_is_none(kind: str, status: int, start: bytes) -> None:
    async with bench([WalkSource()], faults=faults({"kind": kind})) as b:
        given, body = await get(b)
        assert given == status
        assert body.startswith(start)
        assert bool(body) == bool(start)
        assert injected(b) == {(kind, "rest"): 1}


@pytest.mark.parametrize("kind", ["server_error", "html_page", "empty_body", "failure_but_stands"])
@pytest.mark.parametrize("effect", [True, False])
async def test_with_effect_a_command_was_carried_out(kind: str, effect: bool) -> None:
    rule = {"kind": kind, "endpoint": "place-order", "effect": effect}
    async with bench([WalkSource()], faults=faults(rule)) as b:
        with pytest.raises((Refused, aiohttp.ContentTypeError, json.JSONDecodeError)):
            await b.rest.post("order/place-order", **ORDER, clientOid="maybe")
        assert orders(b) == (["maybe"] if effect else [])


async def test_an_unsure_failure_says_one_of_the_unsure_codes_or_the_one_asked_for() -> None:
    for code, said in (("", {"40725", "45001", "40010", "40015"}), ("45001", {"45001"})):
        rule = {"kind": "failure_but_stands", "effect": False} | ({"code": code} if code else {})
        async with bench([WalkSource()], faults=faults(rule)) as b:
            codes = set()
            for number in range(24):
                with pytest.raises(Refused) as refused:
                    await b.rest.post("order/place-order", **ORDER, clientOid=f"c{number}")
                codes.add(refused.value.code)
            assert codes == said
            await b.rest.public("ticker", symbol="SOLUSDT")  # questions are answered


@pytest.mark.parametrize(("kind", "there"), [("answer_lost_after_accept", True), ("answer_lost_before", False)])
async def test_a_lost_answer_tells_nothing_of_whether_the_order_exists(kind: str, there: bool) -> None:
    async with bench([WalkSource()], faults=faults({"kind": kind})) as b:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await b.rest.post("order/place-order", **ORDER, clientOid="lost")
        assert orders(b) == (["lost"] if there else [])
        assert injected(b) == {(kind, "rest"): 1}


async def test_a_hanging_answer_keeps_the_client_waiting_until_it_gives_up() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "answer_lost_after_accept", "hang": True})) as b:
        asking = asyncio.create_task(b.rest.post("order/place-order", **ORDER, clientOid="hung"))
        await eventually(lambda: orders(b) == ["hung"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asking, 0.2)


async def test_slow_answers_are_right_and_late() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "slow_rest", "delay": "150ms", "endpoint": "time"})) as b:
        began = monotonic()
        status, body = await get(b)
        assert monotonic() - began >= 0.15
        assert (status, json.loads(body)["code"]) == (200, "00000")
        await b.rest.public("ticker", symbol="SOLUSDT")
        assert injected(b) == {("slow_rest", "rest"): 1}


@pytest.mark.parametrize("kind", ["corrupt_json", "truncated_frame"])
async def test_an_answer_can_be_broken_after_the_request_was_carried_out(kind: str) -> None:
    rule = {"kind": kind, "scope": "rest", "endpoint": "place-order"}
    async with bench([WalkSource()], faults=faults(rule)) as b:
        with pytest.raises(json.JSONDecodeError):
            await b.rest.post("order/place-order", **ORDER, clientOid="broken")
        assert orders(b) == ["broken"]


async def signed_with(b: Bench, stamp_ms: int) -> str:
    target = f"{MIX}account/accounts?productType=USDT-FUTURES"
    headers = {
        "ACCESS-KEY": KEY,
        "ACCESS-PASSPHRASE": PASSPHRASE,
        "ACCESS-TIMESTAMP": str(stamp_ms),
        "ACCESS-SIGN": sign(f"{stamp_ms}GET{target}"),
    }
    return str((await b.rest.raw("GET", target, headers))[1]["code"])


async def test_a_skewed_clock_refuses_the_right_time_and_takes_its_own() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "clock_skew", "skew": "45s"})) as b:
        now = b.server.exchange.now_ms
        assert int(json.loads((await get(b))[1])["data"]["serverTime"]) == now + 45_000
        assert await signed_with(b, now) == "40008"
        assert await signed_with(b, now + 45_000) == "00000"
        assert injected(b)[("clock_skew", "rest")] == 2
        assert ("clock_skew", "private") not in injected(b)
    rule = {"kind": "clock_skew", "scope": "private", "skew": "-2m"}
    async with bench([WalkSource()], faults=faults(rule)) as b:
        now = b.server.exchange.now_ms
        stream = await b.stream("private")
        assert (await stream.login(now))["code"] == 30014
        assert await stream.next() is None
        again = await b.stream("private")
        assert (await again.login(now - 120_000))["code"] == 0
        assert await signed_with(b, now) == "40008", "there is one clock"
        assert injected(b) == {("clock_skew", "private"): 2}


@pytest.mark.parametrize(
    ("kind", "rows"), [("candle_gap", "gone"), ("duplicate_candle", "twice"), ("late_candle", "late")]
)
async def test_candles_by_rest_are_as_wrong_as_those_of_the_stream(kind: str, rows: str) -> None:
    rule = {"kind": kind, "scope": "rest"} | ({"from": "5m", "for": "5m"} if kind == "candle_gap" else {})
    rule |= {"delay": "1m"} if kind == "late_candle" else {}

    async def asked(*rules: dict[str, Any]) -> list[str]:
        async with bench([WalkSource()], faults=faults(*rules)) as b:
            await at_step(b, 31)  # half a minute after the end of the third candle
            listed = await b.rest.public("candles", symbol="SOLUSDT", granularity="5m", startTime=START_MS, limit=9)
            return [row[0] for row in listed]

    clean = [str(START_MS + n * BASE_MS) for n in range(4)]
    assert await asked() == clean
    expected = {
        "gone": [clean[0], *clean[2:]],
        "twice": [row for row in clean for _ in range(2)],
        "late": clean[:2],
    }[rows]
    assert await asked(rule) == expected


async def test_candles_can_be_wrong_and_their_answer_broken() -> None:
    rules = [
        {"kind": "corrupt_json", "scope": "rest", "endpoint": "candles"},
        {"kind": "duplicate_candle", "scope": "rest"},
    ]
    async with bench([WalkSource()], faults=faults(*rules)) as b:
        with pytest.raises(json.JSONDecodeError):
            await b.rest.public("candles", symbol="SOLUSDT", granularity="5m", limit=9)
        assert injected(b) == {("corrupt_json", "rest"): 1, ("duplicate_candle", "rest"): 1}


# --- connections ----------------------------------------------------------------------------------------------------


async def test_a_cut_hits_those_connected_and_no_others() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "connection_drop", "from": "1m"})) as b:
        paced = await b.paced()
        await paced.attach()
        public, private = await b.stream(), await b.private_stream("orders")
        await paced.step()
        await public.send("ping")
        assert await public.next() == "pong"
        await paced.step()
        assert await public.next() is None
        await private.send("ping")
        assert await private.next() == "pong"
        again = await b.stream()
        await paced.step()
        await again.send("ping")
        assert await again.next() == "pong"
        assert injected(b) == {("connection_drop", "public"): 1}


async def test_cuts_can_be_repeated_while_they_last() -> None:
    rule = {"kind": "connection_drop", "from": "1m", "for": "2m", "every": "30s"}
    async with bench([WalkSource()], faults=faults(rule)) as b:
        paced = await b.paced()
        await paced.attach()
        await paced.step()
        survived = []
        for _ in range(7):
            stream = await b.stream()
            await stream.send("ping")
            assert await stream.next() == "pong"
            await paced.step()
            with suppress(aiohttp.ClientConnectionResetError):
                await stream.send("ping")
            survived.append(await stream.next() == "pong")
        assert survived == [False] * 4 + [True] * 3


async def test_a_half_open_connection_neither_hears_nor_speaks_and_new_ones_live() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "half_open", "from": "1m", "for": "1m"})) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.stream()
        await stream.subscribe("books")
        step = await paced.step()
        await hear(stream, step["counts"][stream.conn_id or "sim-000001"])
        heard = len(stream.frames)
        for _ in range(6):
            step = await paced.step()
        assert step["counts"]["sim-000001"] == heard, "what is not sent is not counted"
        await stream.send("ping")
        fresh = await b.stream()
        await fresh.send("ping")
        assert await fresh.next() == "pong"
        assert len(stream.frames) == heard
        assert injected(b) == {("half_open", "public"): 1}


@pytest.mark.parametrize(
    ("status", "refusal"), [(None, aiohttp.ServerDisconnectedError), (503, aiohttp.WSServerHandshakeError)]
)
async def test_new_connections_are_refused_for_a_time(status: int | None, refusal: type[Exception]) -> None:
    rule: dict[str, Any] = {"kind": "refused_connection", "for": "1m"} | ({"status": status} if status else {})
    async with bench([WalkSource()], faults=faults(rule)) as b:
        with pytest.raises(refusal):
            await b.stream()
        await b.private_stream("orders")
        await at_step(b, 2)
        await (await b.stream()).send("ping")
        assert set(injected(b)) == {("refused_connection", "public")}


async def test_a_login_is_refused_with_the_code_asked_for() -> None:
    async with bench([WalkSource()], faults=faults({"kind": "login_refused", "code": 30014, "times": 1})) as b:
        stream = await b.stream("private")
        assert (await stream.login(b.server.exchange.now_ms))["code"] == 30014
        assert await stream.next() is None
        again = await b.stream("private")
        assert (await again.login(b.server.exchange.now_ms))["code"] == 0
        assert injected(b) == {("login_refused", "private"): 1}


# --- the control endpoint -------------------------------------------------------------------------------------------


async def control(b: Bench, body: object) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(b.server.rest_url + "/sim/faults", json=body) as answer:
        return answer.status, await answer.json()


async def test_faults_are_added_and_cleared_while_the_exchange_runs() -> None:
    async with bench([WalkSource()]) as b:
        assert json.loads((await get(b, "/sim/faults"))[1])["rules"] == []
        await at_step(b, 3)
        status, said = await control(b, {"rules": [{"kind": "server_error"}, {"kind": "drop", "from": "10m"}]})
        assert status == 200
        now = b.server.exchange.now_ms
        assert [(r["id"], r["kind"], r["from"], r["active"]) for r in said["rules"]] == [
            (1, "server_error", now, True),
            (2, "drop", now + 600_000, False),
        ]
        assert (await get(b))[0] == 503
        _, said = await control(b, {"clear": [1]})
        assert said["injected"] == {"drop": {"public": 0}, "server_error": {"rest": 1}}
        assert (await get(b))[0] == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"rules": [{"kind": "dorp"}]}, "did you mean drop"),
        ({"rules": [{"kind": "drop"}, {"kind": "delay", "delay": 5}]}, "rule 2: delay: expected a duration"),
        ({"clear": [9]}, "there is no fault 9"),
        ({"clear": "x"}, "clear: expected"),
        ({"stop": 1}, "expected {"),
        ({"rules": 1}, "expected a list"),
        ([], "expected {"),
    ],
)
async def test_a_mistake_is_one_line_and_changes_nothing(body: object, words: str) -> None:
    async with bench([WalkSource()]) as b:
        status, said = await control(b, body)
        assert status == 400
        assert words in said["error"]
        assert "\n" not in said["error"]
        assert json.loads((await get(b, "/sim/faults"))[1])["rules"] == []


async def test_without_faults_a_stream_ends_only_by_its_client() -> None:
    async with bench([WalkSource()]) as b:
        stream: Stream = await b.stream()
        await stream.socket.close()
        await eventually(lambda: not b.server.exchange.hub.connections)
        assert injected(b) == {}
