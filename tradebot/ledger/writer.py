"""Writing the ledger beside the trading loop, which never waits for SQL."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from tradebot.errors import BusyError, DataError, TradebotError
from tradebot.journal import JournalReader, JournalRecord
from tradebot.ledger.batch import PROJECTED
from tradebot.ledger.database import Ledger
from tradebot.ledger.projector import Projector

CAPACITY = 20_000
_BATCH = 1_000
_POLL_S = 0.05
_RETRY_S = 1.0


class LedgerWriter:
    """A thread that projects the running epoch.

    ``put`` never waits and never loses: when the queue is full the thread reads what is missing from the journal.
    Nothing is written that the journal does not hold durably yet (the log is flushed before the page), so a ledger is
    never ahead of its journal; the loop therefore syncs the journal at least every second or so.

    While the database is not available the thread tries again every second and says so in ``trouble``. An error that
    trying again cannot mend ends it: ``failure`` is then its text, and the loop goes on without a ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        reader: JournalReader,
        epoch: int,
        durable: Callable[[], int],
        *,
        capacity: int = CAPACITY,
    ) -> None:
        """Upgrade the schema, catch up with earlier epochs, start the thread.

        ``durable`` tells how far the journal of ``epoch`` is synced (``lambda: journal.synced_seq``). Raises BusyError,
        DataError (also when the ledger holds a later epoch: it belongs to another state directory), JournalError.
        """
        ledger.upgrade()
        self._projector = Projector(ledger)
        self._ledger, self._reader, self._epoch, self._durable = ledger, reader, epoch, durable
        if self._projector.last_epoch >= epoch:
            raise DataError(
                f"the ledger {ledger} has records of epoch {self._projector.last_epoch}, this run is epoch {epoch}: it "
                "belongs to another state directory, or the file epoch was set back; use another ledger"
            )
        self._projector.catch_up(reader)
        self.trouble = ""
        self.failure = ""
        self._capacity = capacity
        self._queue: deque[tuple[int, int, JournalRecord]] = deque()
        self._lock = threading.Lock()
        self._behind = False
        self._last_put = 0
        self._read_upto = 0  # the thread is to read the journal up to here before it takes from the queue
        self._wake = threading.Event()
        self._closing = False
        self._advanced = threading.Condition(self._lock)
        self._through = 0
        self._taken = 0  # as _through, but perhaps not committed yet
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def put(self, seq: int, ts_ms: int, record: JournalRecord) -> None:
        """Hand over a record that was appended to the journal as ``seq``, in order. Never waits, never raises."""
        if type(record) not in PROJECTED:
            return
        with self._lock:
            self._last_put = seq
            if self._behind or len(self._queue) >= self._capacity:
                self._behind = True  # the journal has it
            else:
                self._queue.append((seq, ts_ms, record))

    @property
    def lag(self) -> int:
        """How far, in journal records, the ledger is behind what was put."""
        return max(0, self._last_put - self._through)

    def has(self, seq: int) -> bool:
        """Whether every record of this run up to ``seq`` that the ledger takes is committed."""
        return self._through >= min(seq, self._last_put)

    @property
    def alive(self) -> bool:
        """Whether the thread runs. The watchdog asks this."""
        return self._thread.is_alive()

    def flush(self, timeout_s: float = 10.0) -> None:
        """Wait until everything put and durable at this moment is committed.

        Raises BusyError when it is not within ``timeout_s``, DataError when the thread has failed.
        """
        target = min(self._last_put, self._durable())
        self._wake.set()
        with self._advanced:
            self._advanced.wait_for(lambda: self._through >= target or not self._thread.is_alive(), timeout_s)
        if self.failure:
            raise DataError(self.failure)
        if self._through < target:
            raise BusyError(self.trouble or f"the ledger {self._ledger} did not keep up within {timeout_s:g} s")

    def close(self, timeout_s: float = 10.0) -> None:
        """Commit what is durable (sync the journal before), end the thread. Raises as ``flush``; ends it anyway.

        What is not committed is caught up at the next start.
        """
        try:
            if self._thread.is_alive():
                self.flush(timeout_s)
        finally:
            self._closing = True
            self._wake.set()
            self._thread.join(timeout_s)
            self._ledger.close()

    def _run(self) -> None:
        try:
            while not self._closing:
                self._wake.clear()
                try:
                    busy = self._step()
                    self.trouble = ""
                except BusyError as error:
                    self.trouble, busy = str(error), False
                    self._wake.wait(_RETRY_S)
                if not busy:
                    self._wake.wait(_POLL_S)
        except TradebotError as error:
            self.failure = str(error)
        except Exception as error:
            self.failure = f"the ledger thread failed: {type(error).__name__}: {error}"
            raise
        finally:
            with self._advanced:
                self._advanced.notify_all()

    def _step(self) -> bool:
        """Project what has become durable; whether there may be more at once."""
        self._projector.commit()  # what an earlier step could not
        self._advance(self._taken)
        durable = self._durable()
        if self._read_upto:
            upto = min(self._read_upto, durable)
            if upto <= self._through:
                return False
            self._projector.catch_up(self._reader, self._epoch, upto=upto)
            if upto == self._read_upto:
                self._read_upto = 0
            self._taken = upto
            self._advance(upto)
            return True
        items: list[tuple[int, int, JournalRecord]] = []
        with self._lock:
            while self._queue and len(items) < _BATCH and self._queue[0][0] <= durable:
                items.append(self._queue.popleft())
            taken = self._queue[0][0] - 1 if self._queue else items[-1][0] if items else self._taken
            if self._behind and not self._queue:
                # from here on the queue takes records again; up to here the journal is read
                self._read_upto, self._behind = self._last_put, False
        for seq, ts_ms, record in items:
            self._projector.apply(self._epoch, seq, ts_ms, record)
        self._taken = taken
        self._projector.commit()
        self._advance(taken)
        return bool(items) or bool(self._read_upto)

    def _advance(self, through: int) -> None:
        if through != self._through:
            with self._advanced:
                self._through = through
                self._advanced.notify_all()
