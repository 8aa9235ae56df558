"""Keeping the ledger equal to the journal."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from tradebot.errors import DataError
from tradebot.events import Booted, ClosePosition, PlaceOrder, PlaceStop, PositionState
from tradebot.journal import JournalReader, JournalRecord
from tradebot.ledger import schema
from tradebot.ledger.batch import POSITION, PROJECTED, Batch, Known
from tradebot.ledger.database import Ledger
from tradebot.ledger.queries import latest_positions

_BATCH = 2_000
INTENTS = (PlaceOrder, PlaceStop, ClosePosition)


class Projector:
    """Turns journal records into rows, batch by batch. One projector writes a ledger at a time.

    A record is named by (epoch, seq), and ``meta.last_seq`` moves in the same transaction as the rows: a record applied
    twice, in this process or after any crash, changes nothing.
    """

    def __init__(self, ledger: Ledger) -> None:
        """``ledger`` has been upgraded. Raises BusyError or DataError when it cannot be read."""
        self._ledger = ledger
        self._known: Known
        self._load()

    def last_seq(self, epoch: int) -> int:
        """The highest sequence number of ``epoch`` taken in, whether committed yet or not."""
        return self._last_seq.get(epoch, 0)

    @property
    def last_epoch(self) -> int:
        """The newest epoch that the ledger has records of; 0 when it is empty."""
        return max(self._known.runs, default=0)

    def apply(self, epoch: int, seq: int, ts_ms: int, record: JournalRecord) -> bool:
        """Take the next record of ``epoch`` in; False when it was known already. ``commit`` makes it visible."""
        if seq <= self.last_seq(epoch):
            return False
        if type(record) in PROJECTED:
            self._pending.append((epoch, seq, ts_ms, record))
        self._last_seq[epoch] = seq
        self._moved.add(epoch)
        return True

    def commit(self) -> None:
        """Write everything taken in, in one transaction.

        On BusyError nothing was written and nothing is forgotten: call it again later. Raises DataError when the
        database is damaged.
        """
        if not self._moved:
            return
        intends = any(isinstance(record, INTENTS) for _, _, _, record in self._pending)
        with self._ledger.begin(durable=intends) as connection:
            batch = Batch(connection, self._known)
            for epoch, seq, ts_ms, record in self._pending:
                batch.project(epoch, seq, ts_ms, record)
            known = batch.write({epoch: self._last_seq[epoch] for epoch in sorted(self._moved)})
        self._known = known
        self._pending.clear()
        self._moved.clear()

    def catch_up(
        self,
        reader: JournalReader,
        epoch: int | None = None,
        *,
        upto: int | None = None,
        told: Callable[[int], None] = lambda count: None,
    ) -> int:
        """Apply and commit what the journal has and the ledger lacks; returns how many records were read.

        All epochs, or one, and of that one optionally no record beyond ``upto``. ``told`` is called now and then with
        the number so far. Raises JournalError when the journal is damaged, DataError when ledger and journal do not
        belong together, BusyError.
        """
        count = 0
        for number in reader.epochs() if epoch is None else (epoch,):
            self._check_same_run(reader, number)
            for frame in reader.frames(number, after=self.last_seq(number)):
                if upto is not None and frame.seq > upto:
                    break
                self.apply(number, frame.seq, frame.ts_ms, frame.record)
                count += 1
                if count % _BATCH == 0:
                    told(count)
                if len(self._pending) >= _BATCH:
                    self.commit()
        self.commit()
        return count

    def _load(self) -> None:
        t = schema.balances.c
        newest = sa.select(t.equity, t.available, t.balance).order_by(t.epoch.desc(), t.seq.desc()).limit(1)
        with self._ledger.begin() as connection:
            rows = connection.execute(sa.select(schema.meta)).mappings()
            runs = {row["epoch"]: dict(row) for row in rows}
            positions = connection.execute(latest_positions()).mappings()
            balance = connection.execute(newest).first()
            self._known = Known(
                runs=runs,
                positions={row["symbol"]: PositionState(**{name: row[name] for name in POSITION}) for row in positions},
                balance=None if balance is None else (balance[0], balance[1], balance[2]),
            )
        self._last_seq: dict[int, int] = {epoch: run["last_seq"] for epoch, run in runs.items()}
        self._pending: list[tuple[int, int, int, JournalRecord]] = []
        self._moved: set[int] = set()

    def _check_same_run(self, reader: JournalReader, epoch: int) -> None:
        """An epoch's number alone does not name a run: a ledger on a server can outlive the state directory."""
        run = self._known.runs.get(epoch)
        if run is None:
            return
        first = next(reader.frames(epoch), None)
        if first is not None and isinstance(first.record, Booted) and first.ts_ms != run["started_ms"]:
            raise DataError(
                f"the ledger {self._ledger} holds another run under epoch {epoch} than {reader.directory}: it belongs "
                "to another state directory; give each its own ledger"
            )
