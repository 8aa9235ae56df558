"""What the last run on this state directory left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tradebot.errors import ConfigError, JournalError
from tradebot.events import Booted, EngineConfig, Record, Restored
from tradebot.journal import JournalReader, OpenState
from tradebot.journal.pick import pick
from tradebot.journal.snapshots import read_snapshot
from tradebot.trading.state import FOLDED, TradingState


def read_last_run(opened: OpenState) -> list[tuple[int, Record]]:
    """What the last run's journal says of orders, positions and halts: ``(ts_ms, record)``.

    A run that died before it had written down what it took over adds to the one before it. Raises JournalError.
    """
    found: list[tuple[int, Record]] = []
    for epoch in reversed([e for e in opened.reader.epochs() if e < opened.epoch]):
        part = _of_run(opened.reader, epoch)
        found = [*part, *found]
        if any(isinstance(record, Restored) for _, record in part):
            break
    return found


def _of_run(reader: JournalReader, epoch: int) -> list[tuple[int, Record]]:
    """The records of one run; where its beginning has expired, its oldest snapshot stands for what came before."""
    if reader.is_whole(epoch):
        return list(pick(reader, epoch, FOLDED))
    snapshots = reader.snapshots(epoch)
    if not snapshots:
        raise JournalError(
            f"{reader.directory}: the beginning of epoch {epoch} is gone and no snapshot stands for it; restore it "
            "from a backup, or move the journal directory away (positions and orders are then taken from the exchange)"
        )
    first_seq, path = snapshots[0]
    snapshot = read_snapshot(path)
    begins: list[Record] = [snapshot.booted, Restored(state=snapshot.durable)]
    return [*((snapshot.ts_ms, record) for record in begins), *pick(reader, epoch, FOLDED, after=first_seq - 1)]


def require_same_bot(
    folder: Path, config: EngineConfig, found: Sequence[tuple[int, Record]], restored: TradingState
) -> None:
    """The state directory must be of this mode, and a position of ours must stay among the traded symbols.

    Raises ConfigError.
    """
    modes = [record.config.mode for _, record in found if isinstance(record, Booted)]
    if modes and modes[-1] != config.mode:
        raise ConfigError(f"state_dir: {folder} belongs to mode {modes[-1]}; choose another one for mode {config.mode}")
    left = {p.symbol for p in restored.portfolio.open_positions()} - set(config.symbols)
    if left:
        names = ", ".join(sorted(left))
        raise ConfigError(f"symbols: {names} has an open position of this bot; keep it listed until it is closed")
