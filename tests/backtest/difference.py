"""Two runs compared record by record: what a demo journaled against what a back-test's engine saw and answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tradebot.events import Booted, Leaving, ModelSwapped, Record, RetrainEnded
from tradebot.journal import JournalReader, journal_directory

Line = tuple[str, int, Record]
"""``input`` or ``output``, time (ms), record."""


def journaled(state: Path) -> Iterator[Line]:
    """The records of a state directory's last run."""
    reader = JournalReader(journal_directory(state))
    for frame in reader.frames(reader.epochs()[-1]):
        yield frame.kind, frame.ts_ms, frame.record


def comparable(lines: Iterable[Line]) -> Iterator[Line]:
    """Up to the end of trading, and without what says where the run took place: addresses in the settings' hash, jobs
    named after their sources."""
    for kind, ts_ms, record in lines:
        if isinstance(record, Leaving):  # what follows is a daemon that disconnects
            return
        if isinstance(record, Booted):
            record = msgspec.structs.replace(record, settings_hash="", fingerprint="", epoch=0)
        elif isinstance(record, RetrainEnded):
            record = msgspec.structs.replace(record, job_id=_unnamed(record.job_id))
        elif isinstance(record, ModelSwapped):
            record = msgspec.structs.replace(record, reason=_unnamed(record.reason))
        yield kind, ts_ms, record


def first_difference(demo: Iterable[Line], backtest: Iterable[Line]) -> str:
    """Where they part, in words; empty when they are equal from end to end."""
    left, right = iter(comparable(demo)), iter(comparable(backtest))
    for number, theirs in enumerate(left):
        ours = next(right, None)
        if theirs != ours:
            return f"record {number}:\n  demo     {theirs}\n  backtest {ours}"
    extra = next(right, None)
    return "" if extra is None else f"the back-test goes on: {extra}"


def _unnamed(text: str) -> str:
    """A job's id without the fingerprint of where its candles come from."""
    head, dash, tail = text.partition("lightgbm-")
    return f"{head}{dash}{tail[8:]}" if dash else text
