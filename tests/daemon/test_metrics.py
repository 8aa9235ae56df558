"""What is measured of a running bot, over its own endpoint and in its snapshot: a real daemon on a real exchange."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.eventually import eventually
from tests.faults.world import CREDENTIALS, LIMITS, markets, model_store, settings
from tradebot.daemon.app import Daemon
from tradebot.daemon.condition import obstacles
from tradebot.daemon.metric_table import renewed
from tradebot.daemon.metrics import DURATIONS, METRICS
from tradebot.errors import BusyError
from tradebot.events import AccountVerified, ClockMeasured, CommandOutcome, OperatorActed, OrderUpdated
from tradebot.exchange.bitget.feed import Trouble
from tradebot.journal import open_state
from tradebot.market.candle import MINUTE_MS
from tradebot.settings import Settings
from tradebot.sim.server import EmbeddedExchange


@asynccontextmanager
async def running(folder: Path, port: int = 0) -> AsyncIterator[Daemon]:
    """A daemon by real time on an exchange that runs by itself."""
    async with EmbeddedExchange(markets(3, 60 * MINUTE_MS), speed=1.0, limits=LIMITS) as exchange:
        tree: dict[str, Any] = settings(exchange, folder / "state", model_store(folder)).model_dump()
        tree["exchange"]["clock"] = "wall"
        tree["metrics"] = {"port": port}
        tree["risk"]["max_clock_offset"] = "3650d"  # the market is of another year than this machine
        # books come every half minute here, and how far behind them a busy machine is says nothing
        tree["feed"]["behind"] = tree["risk"]["max_book_age"] = "1h"
        with open_state(folder / "state") as opened:
            daemon = Daemon(Settings.model_validate(tree), CREDENTIALS, opened)
            task = asyncio.create_task(daemon.run())
            try:
                await asyncio.wait({asyncio.create_task(daemon.ready.wait()), task}, return_when="FIRST_COMPLETED")
                if task.done():
                    task.result()
                yield daemon
            finally:
                daemon.request_stop()
                await asyncio.gather(task, return_exceptions=True)


async def get(daemon: Daemon, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{daemon.metrics_port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_everything_measured_is_exposed_and_shown_in_the_status(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await eventually(lambda: not obstacles(daemon))
        rest = daemon.rest.http.answered
        frames, asked, asked_ms = daemon.stream.feed.frames, rest.count, rest.total
        status, text = await get(daemon, "/metrics")
        assert status == 200
        families = {family.name: family for family in text_string_to_metric_families(text)}
        names = {f"tradebot_{measured.name}" for measured in (*METRICS, *DURATIONS)}
        assert names | {"tradebot_info"} <= set(families)
        assert "process_resident_memory_bytes" in families

        def value(name: str, **labels: str) -> float:
            (found,) = [s.value for s in families[name].samples if s.labels == labels]
            return found

        assert value("tradebot_feed_ok", symbol="SOLUSDT") == 1
        assert value("tradebot_stream_up", side="private") == 1
        assert 0 < frames <= value("tradebot_stream_frames") <= daemon.stream.feed.frames
        assert value("tradebot_rest_requests") > 5
        answered = {s.name: s.value for s in families["tradebot_rest_seconds"].samples}
        assert 5 < asked <= answered["tradebot_rest_seconds_count"] <= rest.count
        assert 0 < asked_ms - 0.001 <= 1_000 * answered["tradebot_rest_seconds_sum"] <= rest.total + 0.001
        assert 0 < 1_000 * value("tradebot_clock_error_seconds") < rest.highest + 1.0
        counted = [s.value for s in families["tradebot_stream_wait_seconds"].samples if s.name.endswith("_count")]
        assert counted[0] > 0

        health = daemon.snapshot()["health"]
        assert set(health) == {measured.name for measured in (*METRICS, *DURATIONS)}
        assert health["feed_ok"] == {"ETHUSDT": 1.0, "SOLUSDT": 1.0}
        assert daemon.snapshot()["metrics_port"] == daemon.metrics_port


def test_every_metric_is_explained() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "market-data.md").read_text()
    assert page == renewed(page), "run: python -m tradebot.daemon.metric_table docs/market-data.md"
    assert all(f"| `{measured.name}`" in page and f"| {measured.text} |" in page for measured in (*METRICS, *DURATIONS))


async def test_a_bot_that_would_not_enter_is_alive_and_not_ready_and_says_why(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await eventually(lambda: not obstacles(daemon))
        assert await get(daemon, "/readyz") == (200, '{"ok":true,"reasons":[]}')
        daemon.operate(OperatorActed(action="halt", actor="test", reason="a look"))
        daemon.stream.feed.blame("ETHUSDT", "silence:books", Trouble("silence", "books silent for 61 s", 0))
        status, text = await get(daemon, "/readyz")
        assert status == 503
        assert "halted: test: a look" in text
        assert "ETHUSDT: books silent for 61 s" in text
        assert await get(daemon, "/livez") == (200, '{"ok":true,"reasons":[]}')


async def test_a_bot_without_a_model_or_with_other_settings_at_the_exchange_is_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await eventually(lambda: not obstacles(daemon))
        daemon.put(AccountVerified(symbol="SOLUSDT", position_mode="hedge_mode", margin_mode="isolated", leverage=2))
        daemon.engine.symbols["ETHUSDT"].models = {}
        status, text = await get(daemon, "/readyz")
        assert status == 503
        assert "SOLUSDT: position_mode hedge_mode (limit one_way_mode)" in text
        assert "ETHUSDT: no model serves this symbol" in text
        daemon.put(ClockMeasured(offset_ms=400_000_000_000))
        assert "every symbol: clock_offset_ms 400000000000 (limit 315360000000)" in obstacles(daemon)


async def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=rf"metrics.port: 127.0.0.1:{port} is in use"):
            async with running(tmp_path, port):
                pass


async def test_unknown_outcomes_count_as_resolved_once_the_exchange_tells_what_became_of_them(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        tally = daemon.tally
        for oid in ("a", "b"):
            tally(1, 1, CommandOutcome(client_oid=oid, symbol="SOLUSDT", command="place", outcome="unknown"))
        tally(1, 1, CommandOutcome(client_oid="a", symbol="SOLUSDT", command="place", outcome="accepted"))
        told = OrderUpdated(
            client_oid="b", order_id="1", symbol="SOLUSDT", side="buy", status="live", qty=1, filled_qty=0
        )
        tally(1, 1, told)
        tally(1, 1, told)
        assert daemon.snapshot()["health"]["commands_resolved"] == 2
        assert daemon.snapshot()["health"]["commands"] == {"accepted": 1.0, "unknown": 2.0}
