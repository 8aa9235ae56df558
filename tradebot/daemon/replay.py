"""Recomputing past decisions from the journal with today's code."""

from __future__ import annotations

from pathlib import Path

from tradebot.errors import DataError
from tradebot.events import Booted
from tradebot.journal import JournalReader, ReplayReport, find_decision, journal_directory
from tradebot.journal import replay as replay_epoch
from tradebot.trading.engine import Engine
from tradebot.trading.loading import engine_hash, load_strategy


class Replayed(ReplayReport, frozen=True, kw_only=True):
    """A report, and what differs between the code and settings then and now (empty: the same; else *what-if*)."""

    what_if: str = ""


def replay(state: Path, strategies: Path, decision_id: str | None = None, epoch: int | None = None) -> Replayed:
    """Recompute one decision, or all of ``epoch`` (the last one by default), and compare byte for byte.

    Raises DataError when there is no such decision or no journal, JournalError when the journal cannot be read,
    ConfigError when the strategy of that run cannot be loaded.
    """
    reader = JournalReader(journal_directory(state))
    epochs = reader.epochs()
    if not epochs:
        raise DataError(f"{state} has no journal")
    chosen = find_decision(reader, decision_id) if decision_id is not None else epoch or epochs[-1]
    booted = next((f.record for f in reader.frames(chosen) if isinstance(f.record, Booted)), None)
    if booted is None:
        raise DataError(f"{state}: epoch {chosen} has no decisions (it ended before it began)")
    strategy, strategy_hash = load_strategy(strategies, booted.config.strategy)
    changed = []
    if strategy_hash != booted.strategy_hash:
        changed.append(f"strategy {booted.config.strategy} was {booted.strategy_hash[:12]}, is {strategy_hash[:12]}")
    if (now := engine_hash()) != booted.engine_hash:
        changed.append(f"engine was {booted.engine_hash[:12]}, is {now[:12]}")
    report = replay_epoch(reader, chosen, Engine(strategy), decision_id)
    return Replayed(**{name: getattr(report, name) for name in report.__struct_fields__}, what_if="; ".join(changed))
