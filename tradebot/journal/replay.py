"""Recomputing an epoch: the journaled inputs through an engine, its outputs against the journaled outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec

from tradebot.errors import DataError
from tradebot.events import Command, Decision, Event
from tradebot.journal.expiry import read_expired
from tradebot.journal.frames import (
    JournalRecord,
    RawFrame,
    RecordedOutput,
    decode_record,
    encode_record,
    is_recorded,
)
from tradebot.journal.reader import JournalReader


class ReplayEngine(Protocol):
    """What replay needs of the engine: the same object that ran live, fresh."""

    def handle(self, ts_ms: int, event: Event) -> Sequence[Command]: ...


class DecisionDigest:
    """SHA-256 over the msgpack encoding of every decision in order: equal digests mean equal decisions.

    The daemon keeps one while it runs, replay computes another; both see the same decisions.
    """

    __slots__ = ("_hash", "count")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def update(self, decision: Decision) -> None:
        """Take the next decision in."""
        self._hash.update(encode_record(decision))
        self.count += 1

    def hexdigest(self) -> str:
        """Digest of the decisions so far, 64 hex digits."""
        return self._hash.hexdigest()


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found.

    ``mismatches`` counts outputs (of any recorded type) that differ, are missing or are too many;
    ``first_mismatch`` describes the first, empty when there is none. ``decisions_sha256`` is over the recomputed
    decisions. ``unrecorded`` counts outputs of the epoch's very last input that the journal no longer holds because
    the process died between writing the two; they are no mismatch. ``recorded`` and ``replayed`` are the two versions
    of the decision that was asked for.
    """

    epoch: int
    inputs: int
    decisions: int
    mismatches: int
    first_mismatch: str
    decisions_sha256: str
    unrecorded: int = 0
    recorded: Decision | None = None
    replayed: Decision | None = None


class _Step(msgspec.Struct, frozen=True):
    """One input with the outputs that were recorded for it."""

    frame: RawFrame
    outputs: tuple[RawFrame, ...]
    last: bool


def replay(
    reader: JournalReader, epoch: int, engine: ReplayEngine, decision_id: str | None = None, *, after: int = 0
) -> ReplayReport:
    """Recompute ``epoch`` and compare its outputs byte for byte.

    ``engine`` is fresh and built like the one that ran, or is as that was ``after`` that record. With ``decision_id``
    the replay ends at that decision, counts it alone and returns both of its versions. Raises JournalError when the
    journal cannot be read, DataError when the epoch has no records or no such decision.
    """
    digest = DecisionDigest()
    inputs = mismatches = unrecorded = 0
    first_mismatch = ""
    for step in _steps(reader, epoch, after):
        event = decode_record(step.frame.payload)
        inputs += 1
        commands = engine.handle(step.frame.ts_ms, event)  # type: ignore[arg-type]  # inputs are events
        replayed = [(command, encode_record(command)) for command in commands if is_recorded(command)]
        recorded = [raw.payload for raw in step.outputs]
        if decision_id is not None:
            old = _decision(recorded, decision_id)
            new = _decision([payload for _, payload in replayed], decision_id)
            if old is None and new is None:
                continue
            differs = _difference(old and old[0], new and new[0])
            if new is not None:
                digest.update(new[1])
            return ReplayReport(
                epoch=epoch,
                inputs=inputs,
                decisions=1,
                mismatches=int(bool(differs)),
                first_mismatch=differs and f"record {step.frame.seq} ({type(event).__name__}): {differs}",
                decisions_sha256=digest.hexdigest(),
                recorded=old and old[1],
                replayed=new and new[1],
            )
        for command, _ in replayed:
            if isinstance(command, Decision):
                digest.update(command)
        if step.last and len(recorded) < len(replayed):
            unrecorded = len(replayed) - len(recorded)
            del replayed[len(recorded) :]
        for i in range(max(len(recorded), len(replayed))):
            differs = _difference(
                recorded[i] if i < len(recorded) else None, replayed[i][1] if i < len(replayed) else None
            )
            if differs:
                mismatches += 1
                first_mismatch = first_mismatch or f"record {step.frame.seq} ({type(event).__name__}): {differs}"
    if not inputs:
        raise DataError(f"{reader.directory} has no records of epoch {epoch}")
    if decision_id is not None:
        raise DataError(f"epoch {epoch} has no decision {decision_id}")
    return ReplayReport(
        epoch=epoch,
        inputs=inputs,
        decisions=digest.count,
        mismatches=mismatches,
        first_mismatch=first_mismatch,
        decisions_sha256=digest.hexdigest(),
        unrecorded=unrecorded,
    )


class Found(NamedTuple):
    """Where a decision lies in the journal."""

    epoch: int
    seq: int


def find_decision(reader: JournalReader, decision_id: str) -> Found:
    """Where a decision lies, newest epochs first. Raises DataError when there is none (it says so of one that has
    expired), JournalError."""
    needle = decision_id.encode()
    for epoch in reversed(reader.epochs()):
        for raw in reader.raw_frames(epoch):
            # the bytes are looked at first: decoding every record of a long epoch takes minutes
            if raw.kind == "output" and needle in raw.payload:
                record = decode_record(raw.payload)
                if isinstance(record, Decision) and record.decision_id == decision_id:
                    return Found(epoch, raw.seq)
    expired = read_expired(reader.directory)
    number = decision_id.partition("-")[0]
    if expired is not None and number.isdecimal() and expired.covers(int(number)):
        raise DataError(
            f"decision {decision_id} cannot be recomputed any more: records of before {_day(expired.before_ms)} have "
            "expired (journal.keep, journal.max_bytes)"
        )
    raise DataError(f"the journal has no decision {decision_id}")


def _steps(reader: JournalReader, epoch: int, after: int) -> Iterator[_Step]:
    current: RawFrame | None = None
    outputs: list[RawFrame] = []
    for raw in reader.raw_frames(epoch, after=after):
        if raw.kind == "output":
            if current is None:
                raise DataError(
                    f"{reader.directory}: epoch {epoch} begins with an output; its first segment is missing"
                )
            outputs.append(raw)
            continue
        if current is not None:
            yield _Step(current, tuple(outputs), last=False)
        current, outputs = raw, []
    if current is not None:
        yield _Step(current, tuple(outputs), last=True)


def _decision(outputs: Sequence[bytes], decision_id: str) -> tuple[bytes, Decision] | None:
    for payload in outputs:
        record = decode_record(payload)
        if isinstance(record, Decision) and record.decision_id == decision_id:
            return payload, record
    return None


def _difference(recorded: bytes | None, replayed: bytes | None) -> str:
    """What differs between two outputs, in words; empty when they are equal byte for byte."""
    if recorded == replayed:
        return ""
    before = None if recorded is None else decode_record(recorded)
    after = None if replayed is None else decode_record(replayed)
    if before is None:
        return f"replay adds {_name(after)}"
    if after is None:
        return f"replay lacks {_name(before)}"
    if type(before) is not type(after):
        return f"recorded {_name(before)}, replayed {_name(after)}"
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if repr(old) != repr(new):
            return f"{type(before).__name__}.{name}: recorded {old!r}, replayed {new!r}"
    return f"{type(before).__name__}: equal values in different bytes"


def _day(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _name(record: JournalRecord | RecordedOutput | None) -> str:
    if isinstance(record, Decision):
        return f"Decision {record.decision_id}"
    return type(record).__name__
