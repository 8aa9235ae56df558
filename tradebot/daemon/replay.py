"""Recomputing past decisions from the journal with today's code, and their forecasts from the models that made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tradebot.daemon.kept import take_up
from tradebot.daemon.recompute import Forecasts, Models, Recomputing
from tradebot.errors import ConfigError, DataError
from tradebot.events import Booted
from tradebot.journal import JournalReader, ReplayReport, find_decision, journal_directory
from tradebot.journal import replay as replay_epoch
from tradebot.journal.snapshots import read_snapshot
from tradebot.registry import ModelStore
from tradebot.serving.fingerprint import fingerprint
from tradebot.settings import strategies_folder
from tradebot.shell.hookwatch import HookWatch
from tradebot.trading.engine import Engine
from tradebot.trading.loading import engine_hash, load_strategy
from tradebot.trading.strategy import Strategy


class Replayed(ReplayReport, frozen=True, kw_only=True):
    """A report; when what was recomputed began (ms) and behind which record (0: with the run); what asking its models
    again came to; and what differs between the code and settings then and now (empty: the same; else *what-if*).

    ``left_out``: why nothing was recomputed, if so.
    """

    started_ms: int = 0
    after: int = 0
    forecasts: Forecasts = Forecasts()
    what_if: str = ""
    left_out: str = ""

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
    chosen, seq = epoch or epochs[-1], 0
    if decision_id is not None:
        chosen, seq = find_decision(reader, decision_id)
    beginning = _beginning(reader, chosen, seq, strategies)
    if beginning is None:
        raise DataError(f"{state}: epoch {chosen} has no decisions (it ended before it began)")
    if isinstance(beginning, str):
        raise DataError(f"{state}: {beginning}")
    models = Models(ModelStore(store)) if store is not None else None
    return _recompute(reader, beginning, models, decision_id)


def verify(
    state: Path,
    strategies: Path,
    store: Path,
    since_ms: int = 0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[Replayed]:
    """Recompute every run that lasted longer than ``since_ms``, whole and oldest first; one whose beginning has expired
    from its oldest snapshot on. A run that ended before it began is passed over, one whose strategy cannot be loaded is
    told as left out. Raises as :func:`replay` does."""
    reader = JournalReader(journal_directory(state))
    spans = {epoch: span for epoch in reader.epochs() if (span := reader.span_ms(epoch)) is not None}
    chosen = [epoch for epoch, (_, last_ms) in spans.items() if last_ms >= since_ms]
    sizes = {epoch: reader.size(epoch) for epoch in chosen}
    models, done, total = Models(ModelStore(store)), 0, sum(sizes.values())
    for epoch in chosen:
        tell = _teller(on_progress, done, sizes[epoch], total, epoch, spans[epoch])
        try:
            beginning = _beginning(reader, epoch, 0, strategies)
        except ConfigError as error:  # its strategy is gone or broken: the other runs are none the worse
            beginning = str(error)
        if isinstance(beginning, str):
            yield Replayed(
                epoch=epoch, inputs=0, decisions=0, mismatches=0, first_mismatch="", decisions_sha256="",
                started_ms=spans[epoch][0], left_out=beginning,
            )  # fmt: skip
        elif beginning is not None:
            yield _recompute(reader, beginning, models, None, tell)
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


@dataclass(frozen=True, slots=True)
class _Beginning:
    """An engine as it was behind record ``after`` of ``epoch``, at ``started_ms``, in the run that ``booted`` began."""

    epoch: int
    after: int
    started_ms: int
    booted: Booted
    engine: Engine
    what_if: str


def _beginning(reader: JournalReader, epoch: int, seq: int, strategies: Path) -> _Beginning | str | None:
    """Where to begin so that record ``seq`` comes by soon; 0: the whole epoch is wanted, or what is left of it.

    A str: why nothing of it can be recomputed. None: the run ended before it began.
    """
    snapshots = reader.snapshots(epoch)
    if reader.is_whole(epoch):
        booted = _booted(reader, epoch)
        if booted is None:
            return None
        fresh = _loaded(epoch, *booted, strategies)
        near = [path for first_seq, path in snapshots if first_seq <= seq]
        return _from_snapshot(near[-1], strategies) if near and not fresh.what_if else fresh
    near = [path for first_seq, path in snapshots if not seq or first_seq <= seq]
    if not near:
        return f"the beginning of epoch {epoch} has expired, and no snapshot is left to begin at"
    found = _from_snapshot(near[-1] if seq else near[0], strategies)
    if found.what_if:
        return f"the beginning of epoch {epoch} has expired, and its snapshots are of other code ({found.what_if})"
    return found


def _booted(reader: JournalReader, epoch: int) -> tuple[int, Booted] | None:
    found = ((frame.ts_ms, frame.record) for frame in reader.frames(epoch))
    return next(((ts_ms, record) for ts_ms, record in found if isinstance(record, Booted)), None)


def _loaded(epoch: int, started_ms: int, booted: Booted, strategies: Path) -> _Beginning:
    strategy, strategy_hash = _strategy(strategies, booted)
    changed = []
    if strategy_hash != booted.strategy_hash:
        changed.append(f"strategy {booted.config.strategy} was {booted.strategy_hash[:12]}, is {strategy_hash[:12]}")
    if (now := engine_hash()) != booted.engine_hash:
        changed.append(f"engine was {booted.engine_hash[:12]}, is {now[:12]}")
    return _Beginning(epoch, 0, started_ms, booted, Engine(strategy), "; ".join(changed))


def _strategy(strategies: Path, booted: Booted) -> tuple[type[Strategy], str]:
    """That of the run, from ``strategies`` or from those that come with tradebot, whatever is configured now."""
    name = booted.config.strategy
    return load_strategy(strategies_folder(strategies, name), name)


def _from_snapshot(path: Path, strategies: Path) -> _Beginning:
    """The engine of a snapshot, or a fresh one where code has changed since and it cannot be taken up."""
    snapshot = read_snapshot(path)
    fresh = _loaded(snapshot.epoch, snapshot.ts_ms, snapshot.booted, strategies)
    if fresh.what_if:
        return fresh
    strategy, _ = _strategy(strategies, snapshot.booted)
    return replace(fresh, after=snapshot.first_seq - 1, engine=take_up(snapshot.graph(), strategy))


def _recompute(
    reader: JournalReader,
    beginning: _Beginning,
    models: Models | None,
    decision_id: str | None,
    on_event: Callable[[int], None] = lambda ts_ms: None,
) -> Replayed:
    beginning.engine.decisions.hooks.watch = HookWatch()
    asking = None
    if models is not None:
        bitwise = beginning.booted.fingerprint == fingerprint()
        asking = Recomputing(beginning.engine, models, bitwise=bitwise, decision_id=decision_id, on_event=on_event)
    report = replay_epoch(reader, beginning.epoch, asking or beginning.engine, decision_id, after=beginning.after)
    return Replayed(
        **{name: getattr(report, name) for name in report.__struct_fields__},
        started_ms=beginning.started_ms,
        after=beginning.after,
        forecasts=asking.result() if asking is not None else Forecasts(),
        what_if=beginning.what_if,
    )
