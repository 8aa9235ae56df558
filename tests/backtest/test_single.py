"""What one back-test leaves and says, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.backtest import market
from tests.backtest.runs import asked, run
from tests.sim.recordings import candle_columns, write
from tradebot.backtest.desk import Desk
from tradebot.backtest.report import report_of
from tradebot.backtest.run import RunFolder
from tradebot.backtest.single import Progress, run_backtest
from tradebot.errors import ConfigError, DataError, JournalError
from tradebot.events import Command, Event, PlaceOrder, RiskLimits
from tradebot.trading.engine import Engine


def test_the_directory_holds_what_the_result_says(tmp_path: Path) -> None:
    outcome = run(asked(days=0.5, history_days=9, params={"move_bp": 8.0}), out=tmp_path / "run")
    folder, result = RunFolder(tmp_path / "run"), outcome.result
    read = folder.run()
    assert read == outcome.run
    assert not read.interrupted
    trades, curve = folder.trades(), folder.equity()
    closed = trades.closed_ms > 0
    assert int(closed.sum()) == result["trades"] > 3
    earned = Decimal(result["gross"]) + Decimal(result["fees"]) + Decimal(result["funding"])
    assert trades.net.sum() == pytest.approx(float(earned), abs=1e-9)
    assert curve.equity[0] == 10_000
    assert curve.equity[-1] == pytest.approx(float(result["equity"]))
    assert (curve.ts_ms[0], curve.ts_ms[-1]) == (result["from"], result["to"])
    assert set(map(int, curve.ts_ms[1:] - curve.ts_ms[:-1])) == {300_000}
    held = curve.gross > 0
    assert held.any()
    assert (abs(curve.net) == curve.gross).all()  # one symbol: all long or all short
    times, mids = folder.prices()
    assert times.tolist() == curve.ts_ms.tolist()
    assert (mids["SOLUSDT"][1:] > 0).all()
    decisions = [row for part in folder.decisions(("ts_ms", "action")) for row in zip(*part.values(), strict=True)]
    assert len(decisions) == result["candles"]
    assert sum(action != "hold" for _, action in decisions) == result["signals"]


def test_the_same_asked_again_is_the_same_and_anything_else_is_not(tmp_path: Path) -> None:
    spec = asked(days=0.1, history_days=9)
    first, again = run(spec), run(spec)
    assert first.run == again.run
    for other in (run(asked(days=0.1, history_days=9, seed=8)), run(replace(spec, break_days=5))):
        assert first.run.inputs_hash != other.run.inputs_hash
        assert first.run.data_hash != other.run.data_hash
        assert first.result["decisions_sha256"] != other.result["decisions_sha256"]


def test_stopped_in_the_middle_it_says_how_far_it_came(tmp_path: Path) -> None:
    told: list[Progress] = []
    outcome = run_backtest(
        asked(days=30, history_days=9), out=tmp_path / "run", on_progress=told.append, stop=lambda: len(told) > 2
    )
    assert outcome is not None
    assert outcome.run.interrupted
    assert outcome.run.from_ms < outcome.run.to_ms < outcome.run.asked_to_ms
    assert RunFolder(tmp_path / "run").run() == outcome.run
    assert all(outcome.result["reconcile"].values())
    assert 0 < told[1].share < 1
    assert told[1].eta_s is not None


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(ConfigError, match="not an empty directory"):
        run_backtest(asked(days=0.1, history_days=9), out=tmp_path)
    assert (tmp_path / "letter").read_text() == "dear"


def test_candles_coarser_than_those_decided_on_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "test_SOLUSDT_perp_1h.parquet", candle_columns(900, step_ms=3_600_000))
    with pytest.raises(DataError, match="coarser than the 5m candles"):
        run_backtest(asked(data=(file,)))


def test_a_strategy_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="no strategy 'nobody'"):
        run_backtest(asked("nobody"))


class NoTraining:
    """Models that nobody should have begun to train."""

    results = ()
    settings_hash = ""

    async def prepare(self, sources: object) -> bool:
        raise AssertionError("trained before the request was looked at")

    def attach(self, playback: object) -> Any:
        raise AssertionError


def test_what_is_wrong_with_a_request_is_told_before_models_are_trained(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes").write_text("x")
    with pytest.raises(ConfigError, match="nonsense"):
        run_backtest(asked(params={"nonsense": 1}), training=NoTraining())
    with pytest.raises(ConfigError, match="not an empty directory"):
        run_backtest(asked(), out=tmp_path / "used", training=NoTraining())
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["notes"]


class Busy:
    """A training that would go on after the run's end."""

    results = ()
    settings_hash = ""
    closed = 0

    async def prepare(self, sources: object) -> bool:
        return True

    def attach(self, playback: object) -> Any:
        return self.loaded, self

    async def loaded(self) -> None: ...

    def next_due_ms(self) -> int | None:
        return None

    async def tick(self) -> None: ...

    async def close(self) -> None:
        self.closed += 1


def test_what_trains_beside_a_run_ends_with_it() -> None:
    training = Busy()
    assert run_backtest(asked(days=0.1), training=training) is not None
    assert training.closed == 1


def test_a_run_whose_entries_a_limit_stopped_says_so_and_since_when(tmp_path: Path) -> None:
    spec = market.asked(market.random_walk(tmp_path, days=13), entry_bp=5.0)
    limited = replace(spec, config=msgspec.structs.replace(spec.config, risk=RiskLimits(max_losses_in_a_row=3)))
    run(limited, out=tmp_path / "run")
    told = report_of(tmp_path / "run", draws=2).cautions
    assert len(told) == 1
    assert "no entries from" in told[0]
    assert "3 losing trades in a row" in told[0]
    unlimited = replace(spec, config=msgspec.structs.replace(spec.config, risk=RiskLimits(max_losses_in_a_row=None)))
    assert run(unlimited).run.cautions == ()


def test_who_looks_inside_recorded_candles_is_told_that_they_are_made_up(tmp_path: Path) -> None:
    path = market.random_walk(tmp_path, days=11)
    found = run(market.asked(path, strategy="glance", for_ms=3_600_000)).run.cautions
    assert len(found) == 1
    assert "Glance looks inside candles (on_timer)" in found[0]
    assert run(market.asked(path, for_ms=3_600_000)).run.cautions == ()


def test_one_name_for_two_orders_ends_it_before_either_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Engine.handle
    sent: list[Command] = []

    def twice(engine: Engine, ts_ms: int, event: Event) -> list[Command]:
        commands = list(handle(engine, ts_ms, event))
        return commands + [command for command in commands if isinstance(command, PlaceOrder)]

    monkeypatch.setattr(Engine, "handle", twice)
    monkeypatch.setattr(Desk, "submit", lambda desk, command: sent.append(command))
    with pytest.raises(JournalError, match="was given twice"):
        run(asked(days=0.5, history_days=9, params={"move_bp": 8.0}))
    assert sent == []
