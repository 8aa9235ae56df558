"""A strategy that blocks: measured by processor time, interrupted where it never returns, found again by a replay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.trading.driver import BAR, MONDAY, SOL, wave
from tradebot.events import (
    AccountUpdated,
    Alert,
    BookTop,
    Booted,
    CandleClosed,
    Command,
    Decision,
    EngineConfig,
    Event,
    InstrumentUpdated,
    StrategyStalled,
)
from tradebot.journal import open_state, replay
from tradebot.shell.clock import PacedClock
from tradebot.shell.hookwatch import HookWatch
from tradebot.shell.sequencer import Sequencer
from tradebot.trading.engine import Engine
from tradebot.trading.hooks import Stuck
from tradebot.trading.strategy import Intent, Strategy, View


def burn(seconds: float) -> None:
    """Use the processor for so long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_hook_that_uses_the_processor_too_long_is_told_with_what_it_took() -> None:
    told: list[StrategyStalled] = []
    watch = HookWatch(50, told.append)
    assert watch("on_book", "SOLUSDT", lambda: burn(0.08)) is None
    (event,) = told
    assert (event.hook, event.symbol, event.limit_ms) == ("on_book", "SOLUSDT", 50)
    assert 80 <= event.took_ms < 10_000


def test_a_machine_that_stands_still_pauses_nobody() -> None:
    told: list[StrategyStalled] = []
    watch = HookWatch(20, told.append, stuck_s=0.05)
    watch("on_book", "SOLUSDT", lambda: time.sleep(0.4))
    assert told == []


def test_a_hook_that_raises_after_too_long_is_told_as_well() -> None:
    told: list[StrategyStalled] = []

    def fails() -> None:
        burn(0.05)
        raise KeyError

    with pytest.raises(KeyError):
        HookWatch(10, told.append)("on_book", "SOLUSDT", fails)
    assert len(told) == 1


def endless() -> None:
    while True:
        with suppress(Exception):  # a user's net catches nothing of it
            burn(0.01)


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_a_hook_that_never_returns_is_interrupted_and_the_loop_goes_on(runner: Any) -> None:
    async def main() -> str:
        watch = HookWatch(1, stuck_s=0.1)
        with pytest.raises(Stuck):
            watch("on_book", "SOLUSDT", endless)
        await asyncio.sleep(0.15)  # what was armed does not strike afterwards
        return str(watch("on_book", "SOLUSDT", lambda: "on"))

    assert runner(main()) == "on"


def test_one_that_holds_on_is_interrupted_again() -> None:
    def stubborn() -> None:
        for _ in range(2):
            with suppress(BaseException):
                endless()
        endless()

    with pytest.raises(Stuck):
        HookWatch(1, stuck_s=0.1)("on_book", "SOLUSDT", stubborn)


class Slow(Strategy):
    """Its second candle takes too long."""

    def __init__(self, params: object) -> None:
        super().__init__(params)
        self.asked = 0

    def on_candle(self, view: View) -> Intent:
        self.asked += 1
        if self.asked == 2:
            burn(0.12)
        return Intent("hold", f"asked {self.asked}")


class Endless(Strategy):
    def on_candle(self, view: View) -> Intent:
        endless()
        raise AssertionError


def run_of(cls: type[Strategy], folder: Path, candles: int) -> tuple[list[Event], list[Command], Any]:
    """What a sequencer with a real journal tells of a run of ``cls``, and the report of replaying it."""
    inputs: list[Event] = []
    outputs: list[Command] = []
    with open_state(folder) as opened:
        engine, clock = Engine(cls), PacedClock()
        clock.advance(MONDAY)
        sequencer = Sequencer(engine, opened.journal, clock, None, lambda command: None)  # type: ignore[arg-type]
        engine.decisions.hooks.watch = HookWatch(100, sequencer.put, stuck_s=0.3)
        sequencer.observe(lambda seq, ts, r: (inputs if isinstance(r, Event) else outputs).append(r))  # type: ignore[arg-type]
        config = EngineConfig(mode="demo", symbols=("SOLUSDT",), strategy="slow")
        events: Sequence[Event] = [
            Booted(epoch=opened.epoch, config=config, settings_hash="", engine_hash="", strategy_hash=""),
            InstrumentUpdated(instrument=SOL),
            AccountUpdated(equity=Decimal(10_000), available=Decimal(10_000), balance=Decimal(10_000)),
            BookTop(symbol="SOLUSDT", ts_exchange_ms=MONDAY, bid=99.99, bid_size=5.0, ask=100.01, ask_size=5.0),
        ]
        for event in events:
            sequencer.put(event)
        for k in range(candles):
            clock.advance(MONDAY + BAR * (k + 1))
            sequencer.put(CandleClosed(symbol="SOLUSDT", interval="5m", candle=wave(MONDAY + BAR * k)))
        opened.journal.sync()
        again = Engine(cls)
        again.decisions.hooks.watch = HookWatch(stuck_s=0.3)
        return inputs, outputs, replay(opened.reader, opened.epoch, again)


def test_a_slow_strategy_is_paused_after_its_event_and_a_replay_pauses_it_there(tmp_path: Path) -> None:
    inputs, outputs, report = run_of(Slow, tmp_path, candles=4)
    assert [type(e) for e in inputs if isinstance(e, CandleClosed | StrategyStalled)] == [
        CandleClosed, CandleClosed, StrategyStalled, CandleClosed, CandleClosed,
    ]  # fmt: skip
    assert [d.reason for d in outputs if isinstance(d, Decision)] == [
        "asked 1", "asked 2", "strategy disabled", "strategy disabled",
    ]  # fmt: skip
    (alert,) = [a for a in outputs if isinstance(a, Alert)]
    assert "on_candle took" in alert.message
    assert "allowed are 100 (test_hookwatch.py:" in alert.message
    assert (report.mismatches, report.decisions) == (0, 4)


def test_a_strategy_that_never_returns_is_paused_and_a_replay_finds_the_same(tmp_path: Path) -> None:
    _, outputs, report = run_of(Endless, tmp_path, candles=2)
    reasons = [d.reason for d in outputs if isinstance(d, Decision)]
    assert "on_candle did not return (test_hookwatch.py:" in reasons[0]
    assert reasons[1] == "strategy disabled"
    assert (report.mismatches, report.decisions) == (0, 2)
