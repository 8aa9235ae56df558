"""A bot that chooses its symbols, on real sockets: another choice is another run in the same process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.e2e.conftest import Sim
from tests.eventually import eventually
from tradebot.daemon.app import Daemon
from tradebot.daemon.run import _Service
from tradebot.events import Booted, UniverseChanged
from tradebot.journal import JournalReader, journal_directory
from tradebot.settings import Settings

STRATEGIES = Path(__file__).resolve().parents[2] / "strategies"


async def test_a_run_begins_anew_with_what_is_chosen_then_and_leaves_when_asked(free_sim: Sim, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "symbols": ["NOTTHEREUSDT"],
            "state_dir": tmp_path / "state",
            "model_store": tmp_path / "models",
            "strategies_dir": STRATEGIES,
            "universe": {"top": 3, "min_volume": 1, "max_spread_bp": 100.0, "min_age": "7d"},
            "retrain": {"enabled": False},
            "metrics": {"port": 0},
            "recorder": {"modes": []},
            "exchange": {"rest_url": free_sim.rest, "public_ws": f"{free_sim.ws}/v2/ws/public"},
        }
    )
    service = _Service(settings, None)
    serving = asyncio.create_task(service.serve())

    async def started(after: Daemon | None = None) -> Daemon:
        def up() -> bool:
            if serving.done():
                serving.result()
            return service._daemon is not None and service._daemon is not after and service._daemon.ready.is_set()

        await eventually(up, 60)
        assert service._daemon is not None
        return service._daemon

    first = await started()
    assert first.config.symbols == ("SOLUSDT",)
    assert first.universe is not None
    first.universe._on_new()
    second = await started(after=first)
    assert second.opened.epoch > first.opened.epoch
    assert second.engine.universe == {"SOLUSDT"}
    service._stop()
    await asyncio.wait_for(serving, 30)
    records = [frame.record for frame in JournalReader(journal_directory(tmp_path / "state")).frames()]
    assert [r.config.symbols for r in records if isinstance(r, Booted)] == [("SOLUSDT",)] * 2
    assert not any(isinstance(r, UniverseChanged) for r in records)
