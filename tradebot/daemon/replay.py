"""Recomputing past decisions from the journal with today's code, and their forecasts from the models that made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tradebot.daemon.recompute import Forecasts, Models, Recomputing
from tradebot.errors import DataError
from tradebot.events import Booted
from tradebot.journal import JournalReader, ReplayReport, find_decision, journal_directory
from tradebot.journal import replay as replay_epoch
from tradebot.registry import ModelStore
from tradebot.serving.fingerprint import fingerprint
from tradebot.shell.hookwatch import HookWatch
from tradebot.trading.engine import Engine
from tradebot.trading.loading import engine_hash, load_strategy


class Replayed(ReplayReport, frozen=True, kw_only=True):
    """A report; when the run began (ms); what asking its models again came to; and what differs between the code and
    settings then and now (empty: the same; else *what-if*)."""

    started_ms: int = 0
    forecasts: Forecasts = Forecasts()
    what_if: str = ""

    @property
    def differs(self) -> bool:
        """Whether something is not as it was, and nothing explains it."""
        return not self.what_if and bool(self.mismatches or self.forecasts.differing)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is: bytes of the journal, and the epoch in hand."""

    done: float
    total: int
    epoch: int


def replay(
    state: Path,
    strategies: Path,
    decision_id: str | None = None,
    epoch: int | None = None,
    *,
    store: Path | None = None,
) -> Replayed:
    """Recompute one decision, or all of ``epoch`` (the last one by default), and compare byte for byte; with ``store``
    its forecasts, too.

    Raises DataError when there is no such decision or no journal, JournalError when the journal cannot be read,
    ConfigError when the strategy of that run cannot be loaded.
    """
    reader = JournalReader(journal_directory(state))
    epochs = reader.epochs()
    if not epochs:
        raise DataError(f"{state} has no journal")
    chosen = find_decision(reader, decision_id) if decision_id is not None else epoch or epochs[-1]
    booted = _booted(reader, chosen)
    if booted is None:
        raise DataError(f"{state}: epoch {chosen} has no decisions (it ended before it began)")
    models = Models(ModelStore(store)) if store is not None else None
    return _recompute(reader, chosen, booted, strategies, models, decision_id)


def verify(
    state: Path,
    strategies: Path,
    store: Path,
    since_ms: int = 0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[Replayed]:
    """Recompute every run that lasted longer than ``since_ms``, whole and oldest first. A run that ended before it
    began is passed over. Raises as :func:`replay` does."""
    reader = JournalReader(journal_directory(state))
    spans = {epoch: span for epoch in reader.epochs() if (span := reader.span_ms(epoch)) is not None}
    chosen = [epoch for epoch, (_, last_ms) in spans.items() if last_ms >= since_ms]
    sizes = {epoch: reader.size(epoch) for epoch in chosen}
    models, done, total = Models(ModelStore(store)), 0, sum(sizes.values())
    for epoch in chosen:
        tell = _teller(on_progress, done, sizes[epoch], total, epoch, spans[epoch])
        booted = _booted(reader, epoch)
        if booted is not None:
            yield _recompute(reader, epoch, booted, strategies, models, None, tell)
        done += sizes[epoch]


def _teller(
    on_progress: Callable[[Progress], None], done: int, size: int, total: int, epoch: int, span_ms: tuple[int, int]
) -> Callable[[int], None]:
    """What tells how far a run is by the time of its events. ``done`` bytes of ``total`` come before its ``size``."""
    first_ms, last_ms = span_ms

    def tell(ts_ms: int) -> None:
        part = (ts_ms - first_ms) / max(last_ms - first_ms, 1)
        on_progress(Progress(done + part * size, total, epoch))

    return tell


def _booted(reader: JournalReader, epoch: int) -> tuple[int, Booted] | None:
    found = ((frame.ts_ms, frame.record) for frame in reader.frames(epoch))
    return next(((ts_ms, record) for ts_ms, record in found if isinstance(record, Booted)), None)


def _recompute(
    reader: JournalReader,
    epoch: int,
    began: tuple[int, Booted],
    strategies: Path,
    models: Models | None,
    decision_id: str | None,
    on_event: Callable[[int], None] = lambda ts_ms: None,
) -> Replayed:
    started_ms, booted = began
    strategy, strategy_hash = load_strategy(strategies, booted.config.strategy)
    changed = []
    if strategy_hash != booted.strategy_hash:
        changed.append(f"strategy {booted.config.strategy} was {booted.strategy_hash[:12]}, is {strategy_hash[:12]}")
    if (now := engine_hash()) != booted.engine_hash:
        changed.append(f"engine was {booted.engine_hash[:12]}, is {now[:12]}")
    engine = Engine(strategy)
    engine.decisions.hooks.watch = HookWatch()
    asking = None
    if models is not None:
        bitwise = booted.fingerprint == fingerprint()
        asking = Recomputing(engine, models, bitwise=bitwise, decision_id=decision_id, on_event=on_event)
    report = replay_epoch(reader, epoch, asking or engine, decision_id)
    return Replayed(
        **{name: getattr(report, name) for name in report.__struct_fields__},
        started_ms=started_ms,
        forecasts=asking.result() if asking is not None else Forecasts(),
        what_if="; ".join(changed),
    )
