"""A ledger computed again is the same table by table, takes the old one's place at once, and shows what was changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.journal.records import T0, booted
from tests.ledger import story
from tests.ledger.test_ledger import contents
from tradebot.errors import DataError, JournalError
from tradebot.journal import Journal, JournalReader
from tradebot.ledger import Ledger, Projector, last_fills, rebuild, schema, verify


def write_run(directory: Path, epoch: int) -> None:
    directory.mkdir(exist_ok=True)
    writer = Journal(directory, epoch, segment_bytes=4_000, chunk_bytes=500)
    for i, (kind, record) in enumerate(story.STORY):
        writer.append(kind, T0 + 1_000_000 * epoch + i, booted(epoch) if i == 0 else record)
    writer.close()


@pytest.fixture
def journal(tmp_path: Path) -> JournalReader:
    for epoch in (1, 2):
        write_run(tmp_path / "journal", epoch)
    return JournalReader(tmp_path / "journal")


@pytest.fixture
def ledger(url: str, journal: JournalReader) -> Iterator[Ledger]:
    """What the daemon has written of the journal, batch by batch."""
    made = Ledger(url)
    made.upgrade()
    projector = Projector(made)
    for number, frame in enumerate(journal.frames()):
        projector.apply(frame.epoch, frame.seq, frame.ts_ms, frame.record)
        if number % 7 == 0:
            projector.commit()
    projector.commit()
    yield made
    made.close()


def test_a_rebuilt_ledger_has_the_same_rows_in_every_table(ledger: Ledger, journal: JournalReader) -> None:
    before = contents(ledger)
    assert all(before[name] for name in before), "a table without rows would prove nothing"
    with ledger.begin() as connection:
        connection.execute(schema.fills.delete())
        connection.execute(schema.trades.update().values(end="nonsense"))
    told: list[tuple[int, int]] = []
    count = rebuild(ledger, journal, progress=lambda done, total: told.append((done, total)))
    assert count == 2 * len(story.STORY)
    assert told[-1] == (count, count)
    assert contents(ledger) == before
    # and it is written on as if nothing had been
    assert Projector(ledger).catch_up(journal) == 0


def test_what_the_old_ledger_had_in_its_log_does_not_come_back(tmp_path: Path, journal: JournalReader) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(f"sqlite:///{path}")
    rebuild(ledger, journal)
    right = contents(ledger)
    with ledger.engine.connect() as other:  # keeps the log from being folded into the file
        other.exec_driver_sql("SELECT count(*) FROM fills")
        with ledger.begin() as connection:
            connection.execute(schema.fills.update().values(side="nonsense"))
        log = path.with_name("ledger.sqlite-wal")
        left = log.read_bytes()
    ledger.close()
    log.write_bytes(left)  # as a killed process leaves it
    rebuild(ledger, journal, forget=True)  # nothing is read of the old one
    assert contents(ledger) == right
    ledger.close()


def test_what_a_rebuild_makes_stands_alone_and_leaves_nothing_behind(tmp_path: Path, journal: JournalReader) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is no database" * 100)
    path.with_name("ledger.sqlite-wal").write_bytes(b"nor is this its log")
    ledger = Ledger(f"sqlite:///{path}")
    rebuild(ledger, journal)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["journal", "ledger.sqlite"]
    assert len(last_fills(ledger)) == 3
    ledger.close()


def test_a_rebuild_that_fails_leaves_the_old_ledger_as_it_is(ledger: Ledger, journal: JournalReader) -> None:
    before = contents(ledger)
    segment = sorted(journal.directory.glob("*.seg"))[0]
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    segment.write_bytes(damaged)
    with pytest.raises(JournalError):
        rebuild(ledger, journal)
    assert contents(ledger) == before
    assert not list(journal.directory.parent.glob(".*"))


def test_runs_that_the_journal_has_no_longer_are_not_forgotten_unasked(ledger: Ledger, journal: JournalReader) -> None:
    for segment in sorted(journal.directory.glob("00000001-*.seg")):
        segment.unlink()
    with pytest.raises(DataError, match=r"run 1 of which the journal .* --forget"):
        rebuild(ledger, journal)
    assert {row["epoch"] for row in contents(ledger)["meta"]} == {1, 2}
    found = verify(ledger, journal)
    assert found.mismatches == 0
    assert found.left_out > 0
    rebuild(ledger, journal, forget=True)
    assert {row["epoch"] for row in contents(ledger)["meta"]} == {2}


def test_verify_finds_each_kind_of_tampering_and_nothing_else(ledger: Ledger, journal: JournalReader) -> None:
    found = verify(ledger, journal)
    assert (found.mismatches, found.first, found.left_out) == (0, [], 0)
    assert found.rows == {name: len(rows) for name, rows in contents(ledger).items()}

    with ledger.begin() as connection:
        fee: Any = connection.execute(sa.select(schema.fills.c.fee).limit(1)).scalar_one()
        connection.execute(schema.fills.update().where(schema.fills.c.trade_id == "1").values(fee=fee + 1))
        connection.execute(schema.alerts.delete().where(schema.alerts.c.epoch == 2))
        row = {"bill_id": "b9", "epoch": 2, "seq": 9, "ts_ms": 1, "ts_exchange_ms": 1, "amount": fee}
        connection.execute(schema.transfers.insert().values(row))
    found = verify(ledger, journal)
    assert found.mismatches == 3
    by_table = {one.table: one for one in found.first}
    assert by_table["fills"].ledger == {"fee": fee + 1}
    assert by_table["fills"].journal == {"fee": fee}
    assert (by_table["alerts"].ledger, by_table["transfers"].journal) == (None, None)
    assert by_table["transfers"].key == {"bill_id": "b9"}


def test_a_ledger_that_is_behind_is_compared_as_far_as_it_has_read(url: str, journal: JournalReader) -> None:
    ledger = Ledger(url)
    ledger.upgrade()
    Projector(ledger).catch_up(journal, 1, upto=20)
    found = verify(ledger, journal)
    assert (found.records, found.mismatches) == (20, 0)
    ledger.close()
