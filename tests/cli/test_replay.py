"""`signals replay` and `signals verify` on a journal that the real engine wrote, with forecasts of a real model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Tradebot
from tests.trading.driver import STRATEGIES, Driver
from tradebot.daemon.app import engine_hash
from tradebot.events import RECORDED_OUTPUTS, Booted, Command, Decision, Event
from tradebot.journal import Journal, open_state
from tradebot.trading.loading import load_strategy


class Journaled(Driver):
    """A driver whose inputs and outputs go into a real journal, as the sequencer writes them.

    ``forge`` changes the reason of every decision after it was made, as a faulty log would. ``engine`` is the hash
    and ``strategy`` the name that the run says it was made by.
    """

    def __init__(self, journal: Journal, *, forge: bool, engine: str, strategy: str) -> None:
        self._log = journal
        self._strategy = strategy
        self._forge = forge
        self._engine_hash = engine or engine_hash()
        self.decided: list[str] = []
        super().__init__()

    def send(self, event: Event) -> Sequence[Command]:
        if isinstance(event, Booted):
            _, strategy = load_strategy(STRATEGIES, "threshold")
            config = msgspec.structs.replace(event.config, strategy=self._strategy)
            event = msgspec.structs.replace(event, config=config, engine_hash=self._engine_hash, strategy_hash=strategy)
        self._log.append("input", self.now_ms, event)
        commands = list(self.engine.handle(self.now_ms, event))
        for command in commands:
            if isinstance(command, Decision):
                self.decided.append(command.decision_id)
                if self._forge:
                    command = msgspec.structs.replace(command, reason="because")
            if isinstance(command, RECORDED_OUTPUTS):
                self._log.append("output", self.now_ms, command)
        return commands


def traded(
    state: Path, *, forge: bool = False, engine: str = "", candles: int = 2, strategy: str = "threshold"
) -> list[str]:
    """A state directory with a run that entered and decided at so many ``candles``; the ids of its decisions."""
    with open_state(state) as opened:
        driver = Journaled(opened.journal, forge=forge, engine=engine, strategy=strategy)
        driver.enter()
        for _ in range(candles - 1):
            driver.forecast(1.0)
        return driver.decided


def test_a_decision_is_recomputed_byte_for_byte(tradebot: Tradebot, home: Path) -> None:
    entry, hold = traded(home / "state")
    for decision_id, action in ((entry, "enter_long"), (hold, "hold")):
        done = tradebot("signals", "replay", decision_id, "--json")
        report = json.loads(done.out)
        assert (done.code, report["mismatches"], report["what_if"]) == (0, 0, "")
        assert report["recorded"] == report["replayed"]
        assert report["replayed"]["action"] == action
    assert "equal byte for byte" in tradebot("signals", "replay", entry).out


def test_verify_replays_every_run_of_the_journal(tradebot: Tradebot, home: Path) -> None:
    traded(home / "state")
    traded(home / "state")
    done = tradebot("signals", "verify", "--json")
    reports = [json.loads(line) for line in done.out.splitlines()]
    assert [(r["epoch"], r["decisions"], r["mismatches"]) for r in reports] == [(1, 2, 0), (2, 2, 0)]
    assert done.code == 0
    assert "2 runs, 4 decisions, 0 forecasts: 0 mismatches\n" in tradebot("signals", "verify").out


def test_verify_leaves_out_runs_that_were_over_by_then(tradebot: Tradebot, home: Path) -> None:
    traded(home / "state", candles=2)
    traded(home / "state", candles=4)
    for since, runs in (("2026-01-05T00:10", [1, 2]), ("2026-01-05T00:11", [2])):
        done = tradebot("signals", "verify", "--since", since, "--json")
        assert [json.loads(line)["epoch"] for line in done.out.splitlines()] == runs
    done = tradebot("signals", "verify", "--since", "2026-01-06")
    assert (done.code, done.err.count("\n")) == (65, 1)
    assert "no decisions since 2026-01-06" in done.err


@pytest.mark.parametrize(("engine", "code", "word"), [("", 1, "DIFFERS"), ("another engine", 0, "what-if")])
def test_a_difference_fails_unless_other_code_made_the_decision(
    tradebot: Tradebot, home: Path, engine: str, code: int, word: str
) -> None:
    traded(home / "state", forge=True, engine=engine)
    done = tradebot("signals", "verify")
    assert done.code == code
    assert f"run 1 of 2026-01-05 00:00:00: 2 decisions: {word} in 2 records" in done.out
    assert "recorded 'because'" in done.out
    assert ("run 1 differs: record" in done.err) == bool(code)


def test_runs_are_recomputed_whatever_strategy_is_configured_now(tradebot: Tradebot, home: Path) -> None:
    (entry, _) = traded(home / "state")
    (home / "strategies").mkdir()
    mine = (STRATEGIES / "threshold.py").read_text()
    (home / "strategies" / "my_idea.py").write_text(mine)
    (home / "config.yaml").write_text("strategy: {name: my_idea}\n")
    assert tradebot("signals", "replay", entry).code == 0
    assert "1 runs, 2 decisions, 0 forecasts: 0 mismatches\n" in tradebot("signals", "verify").out


def test_a_run_whose_strategy_is_gone_is_left_out_and_the_others_are_verified(tradebot: Tradebot, home: Path) -> None:
    (home / "strategies").mkdir()
    traded(home / "state", strategy="gone")
    traded(home / "state")
    done = tradebot("signals", "verify", "--json")
    first, second = (json.loads(line) for line in done.out.splitlines())
    assert "no strategy 'gone'" in first["left_out"]
    assert (second["decisions"], second["mismatches"]) == (2, 0)


def test_an_unknown_decision_is_named(tradebot: Tradebot, home: Path) -> None:
    traded(home / "state")
    done = tradebot("signals", "replay", "7-7")
    assert (done.code, done.err) == (65, "tradebot: the journal has no decision 7-7\n")
