"""A daemon on an exchange that waits for nobody, with a journal that keeps two seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.conftest import STRATEGIES
from tests.eventually import eventually
from tests.faults.world import CREDENTIALS, LIMITS, markets, model_store, settings
from tradebot.daemon import journaling
from tradebot.daemon.app import Daemon
from tradebot.daemon.replay import verify
from tradebot.duration import Duration
from tradebot.journal import JournalReader, journal_directory, open_state
from tradebot.market.candle import MINUTE_MS
from tradebot.settings import Settings
from tradebot.sim.server import EmbeddedExchange


def short(base: Settings) -> Settings:
    kept = base.journal.model_copy(update={"keep": Duration(2_000), "snapshot": Duration(1_000)})
    free = base.exchange.model_copy(update={"clock": "wall"})
    return base.model_copy(update={"journal": kept, "exchange": free})


async def test_the_journal_of_a_running_daemon_loses_its_oldest_part_and_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaling, "LOOK_EVERY_MS", 500)
    store, state = model_store(tmp_path), tmp_path / "state"
    async with EmbeddedExchange(markets(3, 360 * MINUTE_MS), speed=120, limits=LIMITS) as exchange:
        for _ in range(2):
            with open_state(state) as opened:
                daemon = Daemon(short(settings(exchange, state, store)), CREDENTIALS, opened)
                running = asyncio.create_task(daemon.run())
                await daemon.ready.wait()
                await eventually(lambda opened=opened: not opened.reader.is_whole(opened.epoch), 30.0, 0.05)
                daemon.request_stop()
                await running
    reader = JournalReader(journal_directory(state))
    assert reader.epochs() == (2,)
    assert not reader.is_whole(2)
    reports = list(verify(state, STRATEGIES, store))
    assert [(report.mismatches, report.forecasts.differing, report.left_out) for report in reports] == [(0, 0, "")]
