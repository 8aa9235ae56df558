"""Keeping the journal from growing for ever: snapshots to begin at, and the end of what is too old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from tradebot.daemon.kept import keep
from tradebot.errors import BusyError, DataError, JournalError
from tradebot.events import Booted
from tradebot.journal import OpenState
from tradebot.journal.expiry import Place, choose, expire
from tradebot.journal.snapshots import Snapshot, compressed, write_snapshot
from tradebot.journal.writer import SEGMENT_BYTES
from tradebot.trading.engine import Engine
from tradebot.trading.strategy import Strategy

log = structlog.get_logger(__name__)

LOOK_EVERY_MS = 600_000
"""How often is looked whether something has become too old or too much."""


class JournalKeeper:
    """A chore: a snapshot of ``engine`` every ``snapshot_ms`` of the bot's clock or ``snapshot_bytes`` of journal, each
    at the beginning of a segment; and what is older than ``keep_ms`` or more than ``max_bytes`` is let go, as far as
    ``projected`` says that the ledger has everything up to a record.

    A snapshot is taken between two events and written in a thread. An engine that cannot be kept, because of what its
    strategy remembers, is told once; the journal then begins where a run begins.
    """

    def __init__(
        self,
        opened: OpenState,
        engine: Engine,
        strategy: type[Strategy],
        now_ms: Callable[[], int],
        projected: Callable[[int], bool],
        *,
        keep_ms: int | None,
        max_bytes: int | None,
        snapshot_ms: int,
        snapshot_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._opened = opened
        self._engine = engine
        self._strategy = strategy
        self._now_ms = now_ms
        self._projected = projected
        self._keep_ms = keep_ms
        self._max_bytes = max_bytes
        self._snapshot_ms = snapshot_ms
        self._snapshot_bytes = snapshot_bytes
        self._booted: Booted | None = None
        self._snapshot_due_ms = 0
        self._snapshot_from = 0
        self._look_due_ms = 0
        self._possible = True

    def start(self, booted: Booted) -> None:
        """The run has begun, and what it took over is in the journal."""
        self._booted = booted
        now_ms = self._look_due_ms = self._now_ms()
        self._put_off(now_ms)

    def next_due_ms(self) -> int | None:
        return min(self._snapshot_due_ms, self._look_due_ms) if self._booted is not None else None

    async def tick(self) -> None:
        if self._booted is None:
            return
        now_ms = self._now_ms()
        much = self._opened.journal.appended_bytes - self._snapshot_from >= self._snapshot_bytes
        try:
            if self._possible and (much or now_ms >= self._snapshot_due_ms):
                await self._take_snapshot(self._booted, now_ms)
            if now_ms >= self._look_due_ms:
                self._look_due_ms = now_ms + LOOK_EVERY_MS
                await asyncio.to_thread(self._let_go, now_ms)
        except (BusyError, DataError, JournalError) as error:  # what is kept is kept a little longer
            log.warning("journal_not_kept_small", reason=str(error))

    async def _take_snapshot(self, booted: Booted, now_ms: int) -> None:
        self._put_off(now_ms)
        journal = self._opened.journal
        try:
            graph = keep(self._engine, self._strategy)
        except DataError as error:
            self._possible = False
            log.warning("journal_snapshot_impossible", reason=str(error), remedy="the journal expires by whole runs")
            return
        number = journal.begin_segment()
        taken = Snapshot(
            epoch=self._opened.epoch,
            number=number,
            first_seq=journal.next_seq,
            ts_ms=now_ms,
            booted=booted,
            durable=self._engine.state.snapshot(),
            engine=graph,
        )
        await asyncio.to_thread(_write, self._opened, taken)

    def _put_off(self, now_ms: int) -> None:
        self._snapshot_due_ms = now_ms + self._snapshot_ms
        self._snapshot_from = self._opened.journal.appended_bytes

    def _let_go(self, now_ms: int) -> None:
        places, total = self._opened.reader.places()
        allowed = [place for place in places if self._may_begin(place)]
        place = choose(allowed, total, now_ms=now_ms, keep_ms=self._keep_ms, max_bytes=self._max_bytes)
        if place is not None:
            expire(self._opened.reader.directory, place, self._opened.reader.files_before(place))
            log.info("journal_expired", epoch=place.epoch, before=place.seq, bytes=place.bytes_before)
        left = total - (place.bytes_before if place is not None else 0)
        if self._max_bytes is not None and left > self._max_bytes:
            log.warning("journal_too_large", bytes=left, allowed=self._max_bytes, reason="all of it is needed still")

    def _may_begin(self, place: Place) -> bool:
        """Whether the ledger has everything before ``place``: earlier runs were caught up at the start."""
        return place.epoch < self._opened.epoch or self._projected(place.seq - 1)


def _write(opened: OpenState, taken: Snapshot) -> None:
    whole = compressed(taken.engine)
    write_snapshot(opened.reader.directory, msgspec.structs.replace(taken, engine=whole))
