"""Choosing symbols at the exchange: at the start, at every refresh, and what a change of them does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from decimal import Decimal as D
from pathlib import Path
from typing import Any, ClassVar, cast

import msgspec
import pytest

from tests.eventually import eventually
from tests.sim.clients import bench
from tests.sim.walk import WalkSource
from tradebot.daemon import run, universe
from tradebot.daemon.universe import AFTER_MS, UniverseWatch, choose, with_universe
from tradebot.errors import ConfigError, Unavailable
from tradebot.events import Booted, EngineConfig, Event, PositionState, Restored, UniverseChanged
from tradebot.events.state import DurableState
from tradebot.journal import open_state
from tradebot.market.candle import DAY_MS, Candle
from tradebot.market.day import DayTicker
from tradebot.market.instrument import Instrument
from tradebot.settings import Settings
from tradebot.settings.tree import contradictions
from tradebot.shell.clock import PacedClock
from tradebot.trading.universe import Rules

T0 = 1_767_571_200_000
RULES = Rules(top=2, max_spread_bp=5.0, min_volume=D(1))
AGE_MS = 30 * DAY_MS


class Venue:
    """An exchange: volume and days since listing by symbol."""

    def __init__(self, **volumes: int) -> None:
        self.volumes = volumes
        self.young: set[str] = set()

    async def contracts(self) -> list[Instrument]:
        one = Instrument(symbol="", tick=D("0.01"), lot=D(1), min_qty=D(1))
        return [msgspec.structs.replace(one, symbol=name) for name in self.volumes]

    async def day_tickers(self) -> list[DayTicker]:
        return [DayTicker(name, D(volume), D(100), D("100.01")) for name, volume in self.volumes.items()]

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> Sequence[Candle]:
        assert (interval, end_ms - start_ms) == ("1d", DAY_MS)
        return [] if symbol in self.young else [Candle(start_ms, 1.0, 1.0, 1.0, 1.0, 1.0)]


async def picked(venue: Venue, current: Sequence[str] = ()) -> tuple[str, ...]:
    return await choose(cast(Any, venue), RULES, now_ms=T0, min_age_ms=AGE_MS, current=current)


async def test_contracts_that_are_too_young_are_passed_over() -> None:
    venue = Venue(A=9, B=8, C=7, D=6)
    assert await picked(venue) == ("A", "B")
    venue.young = {"A", "C"}
    assert await picked(venue) == ("B", "D")
    venue.young = set("ABCD")
    assert await picked(venue) == ()


class Watched:
    """A run that listens to A, B and C and trades A and B."""

    def __init__(self, venue: Venue, traded: tuple[str, ...] = ("A", "B")) -> None:
        self.told: list[Event] = []
        self.anew = 0
        self.clock = PacedClock()
        self.clock.advance(T0 + 1)
        self.watch = UniverseWatch(
            cast(Any, venue), RULES, self.clock, self.told.append, self._on_new,
            every_ms=DAY_MS, min_age_ms=AGE_MS, watched=("A", "B", "C"), traded=traded,
        )  # fmt: skip
        self.watch.start()

    def _on_new(self) -> None:
        self.anew += 1

    async def at(self, ms: int) -> None:
        self.clock.advance(ms)
        await self.watch.tick()


async def test_a_refresh_tells_what_left_and_came_at_midnight() -> None:
    venue = Venue(A=9, B=1, C=8, X=2)
    w = Watched(venue)
    assert w.told == [UniverseChanged(symbols=("A", "B"), reason="left, but held: C")]
    assert w.watch.next_due_ms() == T0 + AFTER_MS
    await w.at(T0 + AFTER_MS)
    assert w.told[1:] == [UniverseChanged(symbols=("A", "C"), reason="came C; left B")]
    assert (w.anew, w.watch.next_due_ms()) == (0, T0 + DAY_MS + AFTER_MS)
    await w.at(T0 + DAY_MS)
    assert len(w.told) == 2


async def test_nothing_is_told_while_nothing_changes() -> None:
    w = Watched(Venue(A=9, B=8, C=7))
    await w.at(T0 + AFTER_MS)
    assert len(w.told) == 1


async def test_a_symbol_that_is_not_listened_to_begins_a_new_run() -> None:
    w = Watched(Venue(X=9, A=8, B=1, C=1, Y=2))
    await w.at(T0 + AFTER_MS)
    assert w.told[1:] == [UniverseChanged(symbols=("A",), reason="came X; left B")]
    assert w.anew == 1


async def test_an_exchange_that_is_away_is_asked_again() -> None:
    venue = Venue(A=9, C=8)
    w = Watched(venue)

    async def away() -> list[Instrument]:
        raise Unavailable("away")

    there, venue.contracts = venue.contracts, away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await w.at(T0 + AFTER_MS)
    venue.contracts = there  # type: ignore[method-assign]
    await w.at(T0 + AFTER_MS + 500)
    assert cast(UniverseChanged, w.told[1]).symbols == ("A", "C")


# --- the start ------------------------------------------------------------------------------------------------------


def settings(url: str, folder: Path, **rules: object) -> Settings:
    tree = {"top": 3, "min_volume": 1, "max_spread_bp": 50.0, "min_age": "1d", **rules}
    return Settings.model_validate({"state_dir": folder, "exchange": {"rest_url": url}, "universe": tree})


def ran_before(folder: Path, *symbols: str, held: str = "") -> None:
    position = PositionState(symbol=held, qty=D(1), entry_price=D(1))
    with open_state(folder, first_epoch=1) as opened:
        config = EngineConfig(mode="paper", symbols=symbols, strategy="threshold")
        opened.journal.append(
            "input", T0, Booted(epoch=1, config=config, settings_hash="", engine_hash="", strategy_hash="")
        )
        opened.journal.append("input", T0, Restored(state=DurableState(positions=(position,) if held else ())))
        opened.journal.sync()


async def test_at_the_start_the_exchange_s_list_is_chosen_from_and_what_is_held_is_watched(tmp_path: Path) -> None:
    ran_before(tmp_path, "OLDUSDT", held="OLDUSDT")
    async with bench([WalkSource()]) as b:
        with open_state(tmp_path, first_epoch=1) as opened:
            found, traded = await with_universe(settings(b.server.rest_url, tmp_path), opened)
    assert (found.symbols, traded) == (("SOLUSDT", "OLDUSDT"), ("SOLUSDT",))


async def test_rules_that_nothing_passes_are_a_mistake(tmp_path: Path) -> None:
    async with bench([WalkSource()]) as b:
        with open_state(tmp_path, first_epoch=1) as opened, pytest.raises(ConfigError, match="universe"):
            await with_universe(settings(b.server.rest_url, tmp_path, deny=["SOLUSDT"]), opened)


async def test_a_position_is_watched_though_nothing_passes_the_rules(tmp_path: Path) -> None:
    """An exchange in maintenance tells no bids: that must not keep the bot from what it holds."""
    ran_before(tmp_path, "SOLUSDT", held="SOLUSDT")
    async with bench([WalkSource()]) as b:
        with open_state(tmp_path, first_epoch=1) as opened:
            found, traded = await with_universe(settings(b.server.rest_url, tmp_path, deny=["SOLUSDT"]), opened)
    assert (found.symbols, traded) == (("SOLUSDT",), ())


async def test_listed_symbols_are_left_alone(tmp_path: Path) -> None:
    with open_state(tmp_path, first_epoch=1) as opened:
        listed = Settings.model_validate({"state_dir": tmp_path})
        assert await with_universe(listed, opened) == (listed, None)


async def test_without_the_exchange_the_last_run_s_symbols_are_traded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: object) -> int:
        raise Unavailable("away")

    monkeypatch.setattr(universe.BitgetRest, "server_time", away)
    with open_state(tmp_path / "new", first_epoch=1) as opened, pytest.raises(Unavailable):
        await with_universe(settings("http://127.0.0.1:9", tmp_path), opened)
    ran_before(tmp_path, "AUSDT", "BUSDT")
    with open_state(tmp_path, first_epoch=1) as opened:
        _, traded = await with_universe(settings("http://127.0.0.1:9", tmp_path), opened)
        _, fewer = await with_universe(settings("http://127.0.0.1:9", tmp_path, deny=["AUSDT"]), opened)
    assert (traded, fewer) == (("AUSDT", "BUSDT"), ("BUSDT",))


# --- one run after the other ----------------------------------------------------------------------------------------


class Run:
    """A run of the bot that ends at once; the first one because other symbols are to be traded."""

    made: ClassVar[list[Run]] = []

    def __init__(self, settings: Settings, credentials: object, opened: Any, *, universe: object) -> None:
        self.epoch = opened.epoch
        self.pressed: list[str] = []
        self.halt_switch = self
        self.stopped = False
        self.ready = asyncio.Event()
        self.begins_anew = len(self.made) == 0
        self.made.append(self)

    def press(self, actor: str, reason: str) -> None:
        self.pressed.append(actor)

    def request_stop(self) -> None:
        self.stopped = True

    async def run(self) -> None:
        if len(self.made) == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
            await eventually(lambda: self.pressed)


async def test_a_run_that_begins_anew_is_followed_by_another_under_a_new_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Run.made.clear()
    monkeypatch.setattr(run, "Daemon", Run)
    await run._Service(Settings.model_validate({"state_dir": tmp_path}), None).serve()
    first, second = Run.made
    assert second.epoch > first.epoch
    assert (first.pressed, second.pressed) == ([], ["signal"])


def test_a_paced_clock_and_a_hasty_refresh_do_not_go_with_a_chosen_universe() -> None:
    tree = {"universe": {"top": 2, "refresh": "30m"}, "exchange": {"clock": "paced"}}
    found = dict(contradictions(Settings.model_validate(tree)))
    assert {"universe.top", "universe.refresh"} <= found.keys()
