"""Who may ask: signatures, timestamps, environments, permissions (protocol sections 1 and 3)."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.sim.clients import KEY, MIX, PASSPHRASE, PRODUCT, Refused, bench, sign
from tests.sim.walk import WalkSource
from tradebot.sim.auth import Credentials


async def test_signature_errors_come_in_the_documented_order() -> None:
    target = f"{MIX}account/accounts?productType={PRODUCT}"
    async with bench([WalkSource()]) as b:
        now = str(b.server.exchange.now_ms)
        headers: dict[str, str] = {}
        seen = []
        good = sign(f"{now}GET{target}")
        for name, bad in (
            ("ACCESS-KEY", "nobody"),
            ("ACCESS-SIGN", "AAAA"),
            ("ACCESS-TIMESTAMP", "soon"),
            ("ACCESS-PASSPHRASE", "wrong"),
        ):
            seen.append((await b.rest.raw("GET", target, headers))[1]["code"])
            headers[name] = bad
        fixes = (("ACCESS-TIMESTAMP", "1000"), ("ACCESS-TIMESTAMP", now), ("ACCESS-KEY", KEY))
        for name, value in (*fixes, ("ACCESS-PASSPHRASE", PASSPHRASE), ("ACCESS-SIGN", good)):
            seen.append((await b.rest.raw("GET", target, headers))[1]["code"])
            headers[name] = value
        status, answer = await b.rest.raw("GET", target, headers)
        assert seen == ["40001", "40002", "40005", "40011", "40005", "40008", "40006", "40012", "40009"]
        assert (status, answer["code"]) == (200, "00000")


async def test_a_timestamp_of_the_wall_clock_is_as_good_as_one_of_the_exchange() -> None:
    target = f"{MIX}account/accounts?productType={PRODUCT}"
    async with bench([WalkSource()]) as b:
        for offset_ms, code in ((0, "00000"), (-29_000, "00000"), (-31_000, "40008")):
            stamp = str(int(time.time() * 1000) + offset_ms)
            headers = {
                "ACCESS-KEY": KEY,
                "ACCESS-PASSPHRASE": PASSPHRASE,
                "ACCESS-TIMESTAMP": stamp,
                "ACCESS-SIGN": sign(f"{stamp}GET{target}"),
            }
            assert (await b.rest.raw("GET", target, headers))[1]["code"] == code


async def test_the_signature_may_cover_the_encoded_or_the_decoded_query() -> None:
    decoded = f"{MIX}order/detail?clientOid=a+b#c&productType={PRODUCT}&symbol=SOLUSDT"
    encoded = decoded.replace("+", "%2B").replace("#", "%23")
    async with bench([WalkSource()]) as b:
        now = str(b.server.exchange.now_ms)
        for form in (encoded, decoded):
            headers = {
                "ACCESS-KEY": KEY,
                "ACCESS-PASSPHRASE": PASSPHRASE,
                "ACCESS-TIMESTAMP": now,
                "ACCESS-SIGN": sign(f"{now}GET{form}"),
            }
            assert (await b.rest.raw("GET", encoded, headers))[1]["code"] == "40109"


async def test_the_body_is_part_of_what_is_signed() -> None:
    async with bench([WalkSource()]) as b:
        now = str(b.server.exchange.now_ms)
        target = MIX + "account/set-leverage"
        body = json.dumps({"symbol": "SOLUSDT", "productType": PRODUCT, "marginCoin": "USDT", "leverage": "3"})
        headers = {
            "ACCESS-KEY": KEY,
            "ACCESS-PASSPHRASE": PASSPHRASE,
            "ACCESS-TIMESTAMP": now,
            "ACCESS-SIGN": sign(f"{now}POST{target}{body}"),
            "Content-Type": "application/json",
        }
        assert (await b.rest.raw("POST", target, headers, body.replace('"3"', '"4"')))[1]["code"] == "40009"
        assert (await b.rest.raw("POST", target, headers, body))[1]["data"]["longLeverage"] == "3"


@pytest.mark.parametrize(
    ("key", "header", "code"),
    [
        ({"environment": "live"}, "1", "40099"),
        ({"environment": "demo"}, "0", "40099"),
        ({"environment": "live"}, "0", "00000"),
        ({"environment": "demo"}, "1", "00000"),
        ({"addresses": ("10.0.0.1",)}, "0", "40018"),
        ({"addresses": ("10.0.0.1", "127.0.0.1")}, "0", "00000"),
        ({"read_only": True}, "0", "00000"),
    ],
)
async def test_a_key_belongs_to_an_environment_and_to_addresses(key: dict[str, Any], header: str, code: str) -> None:
    path = f"{MIX}account/accounts?productType={PRODUCT}"
    async with bench([WalkSource()], credentials=Credentials(**key)) as b:
        _, text, _ = await b.ask(path, **b.signed(path), PAPTRADING=header)
        assert json.loads(text)["code"] == code


async def test_a_read_only_key_changes_nothing() -> None:
    async with bench([WalkSource()], credentials=Credentials(read_only=True)) as b:
        assert await b.rest.private("position/all-position") == []
        with pytest.raises(Refused) as refused:
            await b.rest.order("buy", "1")
        assert (refused.value.status, refused.value.code) == (400, "40014")


async def test_a_body_that_does_not_say_it_is_json_is_refused() -> None:
    async with bench([WalkSource()]) as b:
        path, body = f"{MIX}order/cancel-all-orders", json.dumps({"productType": PRODUCT})
        stamp = str(b.server.exchange.now_ms)
        headers = {**b.signed(path), "ACCESS-SIGN": sign(f"{stamp}POST{path}{body}"), "Content-Type": "text/plain"}
        status, answer = await b.rest.raw("POST", path, headers, body)
        assert (status, answer["code"]) == (400, "40007")
