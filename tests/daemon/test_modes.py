"""A state directory belongs to one mode, however often somebody tries another."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from tests.eventually import ended
from tests.faults.world import CREDENTIALS, LIMITS, markets, model_store, timeouts
from tests.faults.world import settings as world_settings
from tradebot.daemon.app import Daemon
from tradebot.daemon.demo.asked import Demo
from tradebot.daemon.demo.run import _trade
from tradebot.errors import ConfigError, UsageError
from tradebot.events import OperatorActed, PositionsReported, PositionState
from tradebot.journal import open_state
from tradebot.market.candle import MINUTE_MS
from tradebot.settings import Settings
from tradebot.sim.server import EmbeddedExchange


async def test_another_mode_is_refused_every_time_and_the_right_one_goes_on(tmp_path: Path) -> None:
    store, state = model_store(tmp_path), tmp_path / "state"
    async with EmbeddedExchange(markets(1, 40 * MINUTE_MS), speed=None, hold=True, limits=LIMITS) as exchange:
        start_ms = exchange.exchange.clock.now_ms

        async def start(mode: str, minutes: int) -> Daemon:
            settings = Settings.model_validate({**world_settings(exchange, state, store).model_dump(), "mode": mode})
            with open_state(state) as opened:
                daemon = Daemon(
                    settings, CREDENTIALS, opened, stop_at_ms=start_ms + minutes * MINUTE_MS,
                    timeouts=timeouts(brisk=False),
                )  # fmt: skip
                await ended(daemon.run(), 40)
                return daemon

        first = await start("demo", 6)
        assert first.engine.state.portfolio.open_positions()
        for _ in range(2):
            with pytest.raises(ConfigError, match="belongs to mode demo"):
                await start("paper", 12)
        last = await start("demo", 12)
        assert last.engine.state.epoch == first.engine.state.epoch + 3


async def test_a_position_that_could_not_be_protected_is_not_taken_over(tmp_path: Path) -> None:
    theirs = PositionState(symbol="BTCUSDT", qty=Decimal(1), entry_price=Decimal(90_000))
    async with EmbeddedExchange(markets(1, 10 * MINUTE_MS), speed=None, hold=True, limits=LIMITS) as exchange:
        settings = world_settings(exchange, tmp_path / "state", model_store(tmp_path))
        with open_state(tmp_path / "state") as opened:
            daemon = Daemon(settings, CREDENTIALS, opened)
            daemon.engine.state.apply(1_000, PositionsReported(positions=(theirs,)))
            adopt = OperatorActed(action="adopt", actor="cli", symbol="BTCUSDT")
            with pytest.raises(UsageError, match="tradebot ignore BTCUSDT"):
                daemon.operate(adopt)
            daemon.engine.state.apply(2_000, PositionsReported(positions=()))
            assert daemon.operate(adopt) == "BTCUSDT: nothing foreign to adopt"


async def test_a_demo_that_is_stopped_before_its_daemon_began_ends_in_order(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    async with EmbeddedExchange(markets(1, 10 * MINUTE_MS), speed=None, hold=True, limits=LIMITS) as exchange:
        settings = world_settings(exchange, tmp_path / "state", model_store(tmp_path))
        demo = Demo(
            for_ms=None, seconds=None, speed="max", replay=[], symbols=[], seed=1, state_dir=tmp_path / "state",
            strategies_dir=settings.strategies_dir, faults=None, view=lambda snapshot: None,
        )  # fmt: skip
        now_ms = exchange.exchange.clock.now_ms
        result = await _trade(demo, settings, now_ms, now_ms + MINUTE_MS, stop)
    assert (result["from"], result["to"], result["replay"]) == (now_ms, now_ms, {"decisions": 0, "mismatches": 0})
