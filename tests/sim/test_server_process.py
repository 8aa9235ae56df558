"""The exchange as a process, and what ends it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from decimal import Decimal

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.eventually import eventually
from tests.sim.clients import Stream, bench
from tests.sim.faulty import faults
from tests.sim.walk import WalkSource
from tradebot.errors import BusyError, ConfigError, DataError
from tradebot.sim.main import SimConfig, open_exchange, run_sim
from tradebot.sim.source import MarketStep

RUN = """
from decimal import Decimal
from tradebot.sim.main import SimConfig, run_sim
config = SimConfig(symbols=("SOLUSDT",), for_ms=3_600_000, history_days=1, speed=60.0, cash=Decimal(777))
raise SystemExit(run_sim(config))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_one_line_serves_a_generated_market_and_ends_with_0(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    urls = json.loads(line)
    assert set(urls) == {"rest", "ws"}
    async with aiohttp.ClientSession() as session:
        target = urls["rest"] + "/api/v2/mix/market/contracts?productType=USDT-FUTURES"
        async with session.get(target) as response:
            assert [row["symbol"] for row in (await response.json())["data"]] == ["SOLUSDT"]
        async with session.ws_connect(urls["ws"] + "/v2/ws/public") as raw:
            stream = Stream(raw)
            await stream.subscribe("books", "ticker")
            pushes = [await stream.next() for _ in range(8)]
            assert {push["arg"]["channel"] for push in pushes} == {"books", "ticker"}
            process.send_signal(number)
            rest, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, rest, errors) == (0, b"", b"")


def test_at_its_end_it_tells_how_often_faults_hit_and_which_rules_never_did() -> None:
    schedule = faults(
        {"kind": "maintenance"},
        {"kind": "drop", "scope": "private", "from": "59m"},
        {"kind": "duplicate"},
        {"kind": "tick_change", "nth": 2},
    )
    config = SimConfig(symbols=("SOLUSDT",), for_ms=3_600_000, history_days=1, speed=60.0, faults=schedule)
    said: list[str] = []
    run_sim(config, lambda line: signal.raise_signal(signal.SIGTERM), said.append)
    assert said == [
        "faults: drop of private 0, duplicate of public 0, maintenance of rest 1, tick_change of rest 0",
        "warning: rule 2: drop of private hit nothing: its time did not come",
        "warning: rule 3: duplicate of public hit nothing: it met nothing that it is about",
        "warning: rule 4: tick_change of rest hit nothing: it met 1 and was to hit none of them (probability, nth)",
    ]


def test_a_taken_port_is_one_busy_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=f"port {port} on 127.0.0.1 is in use"):
            run_sim(SimConfig(port=port, for_ms=3_600_000, history_days=1), lambda line: None)


def test_an_address_others_can_reach_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ConfigError, match="loopback"):
        open_exchange(SimConfig(host="0.0.0.0", market=("missing.parquet",)))


class _BrokenSource(WalkSource):
    def step(self) -> MarketStep:
        step = super().step()
        if self._next == 5:
            raise DataError("walk: row 5 is unusable")
        return step


async def test_a_market_that_breaks_is_reported_not_hidden() -> None:
    async with bench([_BrokenSource()], hold=False) as b:
        with pytest.raises(DataError, match="row 5"):
            await asyncio.wait_for(b.server.failed(), 10)
        assert (await b.rest.get("/api/v2/public/time"))["serverTime"]


async def test_stopping_closes_every_connection_and_frees_the_port() -> None:
    async with bench([WalkSource()]) as b:
        stream = await b.private_stream("orders")
        paced = await b.paced()
        await paced.attach()
        port = int(b.server.rest_url.rsplit(":", 1)[1])
        await asyncio.wait_for(b.server.stop(), 5)
        assert await stream.next() is None
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))


async def test_the_cash_is_what_was_asked_for() -> None:
    async with bench([WalkSource()], cash=Decimal("1234.5")) as b:
        (account,) = await b.rest.private("account/accounts")
        assert (account["accountEquity"], account["available"], account["maxTransferOut"]) == ("1234.5",) * 3


async def test_a_reader_that_stops_reading_does_not_stop_the_exchange_for_ever() -> None:
    # twelve thousand steps are far more than what sockets hold
    async with bench([WalkSource(steps=12_000)], hold=False) as b:
        hub = b.server.exchange.hub
        async with connect(b.server.ws_url + "/v2/ws/public", compression=None, max_queue=1, close_timeout=0.1) as lazy:
            channels = ("books", "trade", "ticker", "candle5m")
            args = [{"instType": "USDT-FUTURES", "channel": channel, "instId": "SOLUSDT"} for channel in channels]
            await lazy.send(json.dumps({"op": "subscribe", "args": args}))
            await eventually(lambda: hub.congested(0.0), within_s=30)
            assert not b.server.exchange.clock.ended
            # as if its patience had run out
            hub.congested(1e9)
            await eventually(lambda: not hub.counts())
        await eventually(lambda: b.server.exchange.clock.ended, within_s=60)
