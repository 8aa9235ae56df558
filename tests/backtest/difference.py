"""Two runs compared record by record: what a demo journaled against what a back-test's engine saw and answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

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
    """Up to the end of trading, and without what says where the run took place: hashes of settings with addresses,
    trainings named after where their candles came from."""
    for kind, ts_ms, record in lines:
        if isinstance(record, Leaving):  # what follows is a daemon that disconnects
            return
        if isinstance(record, RetrainEnded):
            continue
        if isinstance(record, Booted):
            record = Booted(epoch=0, config=record.config, settings_hash="", engine_hash="", strategy_hash="")
        elif isinstance(record, ModelSwapped):
            record = ModelSwapped(ref=record.ref)
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
