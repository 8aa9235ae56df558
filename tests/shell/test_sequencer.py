"""One order, one time, everything written down."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from tradebot.errors import BusyError, JournalError, ModelError
from tradebot.events import (
    Alert,
    Command,
    Event,
    ForecastFailed,
    ForecastReady,
    ModelRef,
    OperatorActed,
    PlaceStop,
    Record,
    RequestForecast,
    SetTimer,
    TimerFired,
)
from tradebot.journal import OpenState, open_state
from tradebot.serving import Forecast
from tradebot.shell.clock import PacedClock
from tradebot.shell.sequencer import Sequencer

REF = ModelRef(symbol="S", name="m", version="v1", sha256="ab", schema_hash="cd", horizon_ms=7)


class Scripted:
    """An engine that answers a named timer with prepared commands."""

    def __init__(self, answers: dict[str, list[Command]]) -> None:
        self.answers = answers
        self.seen: list[tuple[int, Event]] = []

    def handle(self, ts_ms: int, event: Event) -> Sequence[Command]:
        self.seen.append((ts_ms, event))
        return self.answers.get(event.name, []) if isinstance(event, TimerFired) else []


class Model:
    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def forecast(self, symbol: str, model: str, row: bytes) -> tuple[ModelRef, Forecast]:
        if self.fails:
            raise ModelError("broken")
        return REF, Forecast(1.5, 0.4, 0.2)


def rig(opened: OpenState, answers: dict[str, list[Command]], model: Model | None = None):  # type: ignore[no-untyped-def]
    clock, engine = PacedClock(), Scripted(answers)
    sent: list[Command] = []
    sequencer = Sequencer(engine, opened.journal, clock, model or Model(), sent.append)  # type: ignore[arg-type]
    return sequencer, engine, clock, sent


def asks(row: bytes = b"\0", request_id: str = "r") -> RequestForecast:
    return RequestForecast(
        request_id=request_id, symbol="S", model="m", as_of_ms=1, deadline_ms=2, row=row, row_hash="h"
    )


def test_inputs_and_recorded_outputs_are_journaled_in_order_and_timers_are_not(tmp_path: Path) -> None:
    alert = Alert(severity="info", code="x", message="y")
    with open_state(tmp_path) as opened:
        sequencer, _, clock, sent = rig(opened, {"a": [SetTimer(name="b", due_ms=9), alert]})
        clock.advance(5)
        sequencer.put(TimerFired(name="a", due_ms=5))
        opened.journal.sync()
        frames = list(opened.reader.frames())
    assert [(f.kind, f.ts_ms) for f in frames] == [("input", 5), ("output", 5)]
    assert frames[1].record == alert
    assert sent == [SetTimer(name="b", due_ms=9), alert]


def test_a_forecast_follows_its_request_before_anything_that_came_later(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        sequencer, engine, _, _ = rig(opened, {"a": [asks(request_id="1"), asks(request_id="2")]})
        sequencer.observe(lambda seq, ts, r: sequencer.put(OperatorActed(action="pause", actor="x"))
                          if isinstance(r, TimerFired) else None)  # fmt: skip
        sequencer.put(TimerFired(name="a", due_ms=0))
    seen = [event for _, event in engine.seen]
    assert [type(event) for event in seen] == [TimerFired, ForecastReady, ForecastReady, OperatorActed]
    ready = seen[1:3]
    assert [e.request_id for e in ready if isinstance(e, ForecastReady)] == ["1", "2"]
    first = ready[0]
    assert isinstance(first, ForecastReady)
    assert (first.model_sha256, first.row_hash, first.expected_bp, first.horizon_ms) == ("ab", "h", 1.5, 7)


def test_an_event_put_while_one_is_handled_waits_until_that_one_is_done(tmp_path: Path) -> None:
    alert = Alert(severity="info", code="x", message="y")
    told: list[str] = []
    with open_state(tmp_path) as opened:
        sequencer, engine, _, _ = rig(opened, {"a": [alert], "b": [alert]})

        def observer(seq: int, ts_ms: int, record: Record) -> None:
            told.append(f"{type(record).__name__} {seq}")
            if isinstance(record, TimerFired) and record.name == "a":
                sequencer.put(TimerFired(name="b", due_ms=0))

        sequencer.observe(observer)
        sequencer.put(TimerFired(name="a", due_ms=0))
        opened.journal.sync()
        kinds = [frame.kind for frame in opened.reader.frames()]
    assert told == ["TimerFired 1", "Alert 2", "TimerFired 3", "Alert 4"]
    assert kinds == ["input", "output", "input", "output"]
    assert [type(event) for _, event in engine.seen] == [TimerFired, TimerFired]


def test_a_model_that_fails_is_an_event_too(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        sequencer, engine, _, _ = rig(opened, {"a": [asks()]}, Model(fails=True))
        sequencer.put(TimerFired(name="a", due_ms=0))
    assert isinstance(engine.seen[-1][1], ForecastFailed)


def test_two_commands_of_one_event_under_one_id_stop_everything_before_either_is_sent(tmp_path: Path) -> None:
    one, other = (
        PlaceStop(client_oid="tb0-1-1-s", symbol=name, position_side="long", trigger_price=Decimal(98))
        for name in ("SOLUSDT", "BTCUSDT")
    )
    with open_state(tmp_path) as opened:
        sequencer, _, _, sent = rig(opened, {"a": [one, other]})
        with pytest.raises(JournalError, match=r"tb0-1-1-s was given twice"):
            sequencer.put(TimerFired(name="a", due_ms=0))
    assert sent == []


def test_time_never_runs_backwards(tmp_path: Path) -> None:
    class Jumping(PacedClock):
        times = iter([10, 8, 12])

        def now_ms(self) -> int:
            return next(self.times)

    with open_state(tmp_path) as opened:
        engine = Scripted({})
        sequencer = Sequencer(engine, opened.journal, Jumping(), Model(), lambda c: None)  # type: ignore[arg-type]
        for _ in range(3):
            sequencer.put(OperatorActed(action="pause", actor="x"))
    assert [ts for ts, _ in engine.seen] == [10, 10, 12]


def test_after_a_failed_journal_nothing_is_sequenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_state(tmp_path) as opened:
        sequencer, engine, _, sent = rig(opened, {"a": [Alert(severity="info", code="x", message="y")]})

        def full(kind: str, ts_ms: int, record: Record) -> int:
            raise BusyError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(opened.journal, "append", full)
            with pytest.raises(BusyError):
                sequencer.put(TimerFired(name="a", due_ms=0))
        with pytest.raises(BusyError):
            sequencer.put(TimerFired(name="a", due_ms=0))
    assert isinstance(sequencer.failure, BusyError)
    assert engine.seen == []
    assert sent == []
