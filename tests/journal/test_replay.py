"""An epoch recomputed by the same engine is equal byte for byte; by another one, the first difference is named."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.journal.records import T0, booted, decision, ends, order, timer
from tradebot.errors import DataError
from tradebot.events import Booted, Command, Decision, Event, SetTimer, TimerFired
from tradebot.journal import DecisionDigest, Journal, JournalReader, find_decision, is_recorded, replay


class EchoEngine:
    """Decides on every timer; every third decision places an order, after a timer that is not recorded. ``flawed_at``
    and ``silent_at`` count inputs."""

    def __init__(self, *, flawed_at: int = 0, silent_at: int = 0) -> None:
        self.flawed_at, self.silent_at = flawed_at, silent_at

    def handle(self, ts_ms: int, event: Event) -> Sequence[Command]:
        at = ts_ms - T0
        if not isinstance(event, TimerFired) or at == self.silent_at:
            return ()
        verdict = decision(f"d{at}", ts_ms, expected_bp=0.1 * at + (1e-12 if at == self.flawed_at else 0.0))
        extra = (SetTimer(name="again", due_ms=ts_ms + 1), order(f"o{at}")) if event.name == "t0" else ()
        return (verdict, *extra)


def record(directory: Path, inputs: int, epoch: int = 1) -> DecisionDigest:
    """Run the engine as the daemon does; returns the digest it kept."""
    journal, engine, digest = Journal(directory, epoch), EchoEngine(), DecisionDigest()
    for i in range(inputs):
        event = booted(epoch) if i == 0 else timer(i % 3)
        journal.append("input", T0 + i, event)
        for command in engine.handle(T0 + i, event):
            if is_recorded(command):
                journal.append("output", T0 + i, command)
            if isinstance(command, Decision):
                digest.update(command)
    journal.close()
    return digest


def test_the_same_engine_gives_the_same_bytes_and_digest(tmp_path: Path) -> None:
    digest = record(tmp_path, 50)
    report = replay(JournalReader(tmp_path), 1, EchoEngine())
    assert (report.inputs, report.decisions, report.mismatches, report.unrecorded) == (50, 49, 0, 0)
    assert report.first_mismatch == ""
    assert report.decisions_sha256 == digest.hexdigest()
    assert digest.count == 49


def test_the_digest_is_the_sha256_of_the_decisions_in_order() -> None:
    digest, parts = DecisionDigest(), [decision("a"), decision("b", expected_bp=None)]
    for part in parts:
        digest.update(part)
    assert digest.hexdigest() == hashlib.sha256(b"".join(map(msgspec.msgpack.encode, parts))).hexdigest()
    other = DecisionDigest()
    for part in reversed(parts):
        other.update(part)
    assert other.hexdigest() != digest.hexdigest()


def test_a_difference_in_the_last_bit_is_found_and_named(tmp_path: Path) -> None:
    record(tmp_path, 50)
    seq = [f.seq for f in JournalReader(tmp_path).frames(1) if f.kind == "input"][20]
    report = replay(JournalReader(tmp_path), 1, EchoEngine(flawed_at=20))
    assert report.mismatches == 1
    assert report.first_mismatch.startswith(f"record {seq} (TimerFired): Decision.expected_bp: recorded ")


def test_missing_and_additional_outputs_are_mismatches(tmp_path: Path) -> None:
    record(tmp_path, 50)
    seq = next(f.seq for f in JournalReader(tmp_path).frames(1) if isinstance(f.record, TimerFired))
    report = replay(JournalReader(tmp_path), 1, EchoEngine(silent_at=1))
    assert (report.mismatches, report.first_mismatch) == (1, f"record {seq} (TimerFired): replay lacks Decision d1")

    class Chatty(EchoEngine):
        def handle(self, ts_ms: int, event: Event) -> Sequence[Command]:
            extra = (order("more"),) if isinstance(event, Booted) else ()
            return (*super().handle(ts_ms, event), *extra)

    report = replay(JournalReader(tmp_path), 1, Chatty())
    assert (report.mismatches, report.first_mismatch) == (1, "record 1 (Booted): replay adds PlaceOrder")


def test_outputs_that_a_crash_cut_off_the_end_are_no_mismatch(tmp_path: Path) -> None:
    record(tmp_path, 4)  # the last input, a t0, has a decision and an order
    segment = next(tmp_path.glob("*.seg"))
    segment.write_bytes(segment.read_bytes()[: ends(segment)[-1] - 1])
    report = replay(JournalReader(tmp_path), 1, EchoEngine())
    assert (report.mismatches, report.unrecorded, report.decisions) == (0, 1, 3)


def test_one_decision_is_replayed_by_its_id(tmp_path: Path) -> None:
    record(tmp_path, 30)
    record(tmp_path, 30, epoch=2)
    reader = JournalReader(tmp_path)
    seq, wanted = [(f.seq, f.record) for f in reader.frames(2) if isinstance(f.record, Decision)][10]
    assert find_decision(reader, wanted.decision_id) == (2, seq)
    report = replay(reader, 2, EchoEngine(), wanted.decision_id)
    assert (report.decisions, report.mismatches) == (1, 0)
    assert report.recorded == report.replayed == wanted
    at = int(wanted.decision_id[1:])
    report = replay(reader, 2, EchoEngine(flawed_at=at), wanted.decision_id)
    assert report.mismatches == 1
    assert "expected_bp" in report.first_mismatch
    assert report.recorded != report.replayed
    report = replay(reader, 2, EchoEngine(silent_at=at), wanted.decision_id)
    assert (report.mismatches, report.replayed) == (1, None)


def test_an_unknown_decision_or_epoch_is_an_error(tmp_path: Path) -> None:
    record(tmp_path, 5)
    reader = JournalReader(tmp_path)
    with pytest.raises(DataError, match="epoch 1 has no decision nope"):
        replay(reader, 1, EchoEngine(), "nope")
    with pytest.raises(DataError, match="the journal has no decision nope"):
        find_decision(reader, "nope")
    with pytest.raises(DataError, match="no records of epoch 9"):
        replay(reader, 9, EchoEngine())
