"""The ledger is what the journal says: once, exactly, on both databases, however it got there."""

from __future__ import annotations

import math
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal.records import T0, book, booted, decision, order
from tests.ledger import story
from tradebot.errors import BusyError, ConfigError, DataError
from tradebot.events import ClosePosition, Filled, PlaceStop, PositionsReported, StopUpdated
from tradebot.journal import Journal, JournalReader, JournalRecord
from tradebot.ledger import (
    Ledger,
    LedgerWriter,
    Projector,
    last_balance,
    last_differences,
    last_fills,
    last_orders,
    last_signals,
    open_positions,
    orders_of,
    pnl,
    rebuild,
    schema,
    signal,
)
from tradebot.ledger.database import _MIGRATIONS
from tradebot.ledger.orders import FINAL, RANK
from tradebot.trading import orders as trading_orders


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    opened.upgrade()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite ledger with tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "ledger.sqlite"
    made = Ledger(f"sqlite:///{path}")
    made.upgrade()
    made.close()
    return path


@pytest.fixture
def journal(tmp_path: Path) -> JournalReader:
    """The story as epoch 1, and a second run that trades a little."""
    directory = tmp_path / "journal"
    directory.mkdir()
    for epoch in (1, 2):
        writer = Journal(directory, epoch, segment_bytes=4_000, chunk_bytes=500)
        for i, (kind, record) in enumerate(story.STORY if epoch == 1 else story.STORY[:10]):
            writer.append(kind, T0 + 1_000_000 * epoch + i, booted(2) if epoch == 2 and i == 0 else record)
        writer.close()
    return JournalReader(directory)


def contents(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    with ledger.read() as connection:
        return {
            name: [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()]
            for name, table in schema.metadata.tables.items()
        }


def copy_of(empty_file: Path) -> Ledger:
    copy = empty_file.with_name(f"{uuid.uuid4().hex}.sqlite")
    shutil.copyfile(empty_file, copy)
    return Ledger(f"sqlite:///{copy}")


def test_a_transaction_that_fails_leaves_no_table_behind(ledger: Ledger) -> None:
    def killed() -> None:
        with ledger.begin() as connection:
            connection.execute(sa.text("CREATE TABLE half (x INTEGER)"))
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        killed()
    with ledger.read() as connection:
        assert not sa.inspect(connection).has_table("half")


def test_the_migrations_make_exactly_the_tables_of_the_schema(ledger: Ledger) -> None:
    ledger.upgrade()  # again: nothing to do
    with ledger.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_a_ledger_of_the_first_version_is_brought_up_to_date_and_keeps_its_rows(url: str) -> None:
    ledger = Ledger(url)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    old: dict[str, Any] = {column.name: "" for column in schema.orders.c if not column.nullable}
    old |= {"order_key": "s1", "epoch": 1, "seq": 1, "ts_ms": 1, "updated_ms": 1, "reduce_only": True}
    old |= {"filled_qty": Decimal(0), "executed_qty": Decimal(0), "kind": "stop"}
    held = {"epoch": 1, "seq": 2, "ts_ms": 5, "decision_id": "1-2", "symbol": "BTCUSDT", "action": "hold"}
    checks = [["feed", "ok", "ok", "pass"], ["min_qty", "0", "0.1", "block"]]
    with ledger.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(schema.orders.insert().values(old))
        was = sa.Table("decisions", sa.MetaData(), autoload_with=connection)
        rest: dict[str, Any] = {
            column.name: "" for column in was.c if isinstance(column.type, sa.Text) and not column.nullable
        }
        rest |= {"position_qty": "0", "qty": "0", "decided_ms": 5, "provisional": False}
        for seq, told in ((2, checks), (3, [])):
            connection.execute(was.insert().values(rest | held | {"seq": seq, "checks": told}))
    ledger.upgrade()
    with ledger.read() as connection:
        moved = connection.execute(sa.select(schema.risk_checks)).mappings().all()
    names = ("epoch", "seq", "number", "decision_id", "action", "name", "seen", "allowed", "verdict")
    assert [tuple(row[name] for name in names) for row in moved] == [
        (1, 2, number, "1-2", "hold", *check) for number, check in enumerate(checks)
    ]
    (row,) = last_orders(ledger)
    assert (row.kind, row.confirmed_ms) == ("stop", None)
    ledger.close()


def test_orders_know_the_same_statuses_as_the_engine() -> None:
    assert RANK == trading_orders.RANK
    assert set(FINAL) >= trading_orders.FINAL


def test_a_run_reads_back_as_people_ask(ledger: Ledger, journal: JournalReader) -> None:
    projector = Projector(ledger)
    projector.catch_up(journal, 1)

    d2, d1 = last_signals(ledger)
    assert (d1.decision_id, d1.client_oid, d1.qty, d1.expected_bp) == ("d1", story.OID, Decimal("0.010"), 7.25)
    assert d1.checks == [["max_position_notional", "2500.00", "2000", "shrink"]]
    assert d2.checks == d1.checks
    assert (d1.hook, [(a.model, a.expected_bp, a.missing) for a in d1.models]) == (
        "on_forecast", [("lightgbm-5m", 7.25, ""), ("mlp-5m", None, "late")],
    )  # fmt: skip
    assert (d2.hook, d2.models) == ("", [])
    assert d2.expected_bp is None  # not a number
    assert signal(ledger, "d1") == d1
    assert signal(ledger, "d9") is None
    assert last_signals(ledger, verdict="block") == []
    assert [s.decision_id for s in last_signals(ledger, limit=1)] == ["d2"]

    orders = {row.client_oid or row.order_id: row for row in last_orders(ledger)}
    entry = orders[story.OID]
    assert (entry.status, entry.filled_qty, entry.avg_price) == ("filled", Decimal("0.010"), Decimal("93000.1"))
    assert (entry.order_id, entry.decision_id, entry.purpose) == ("11e", "d-tb0-1-2-e", "entry")
    assert (orders["tb0-1-4-s"].kind, orders["tb0-1-4-s"].status) == ("stop", "cancelled")
    refused = orders["tb0-1-9-x"]
    assert (refused.status, refused.code, refused.reason) == ("rejected", "40762", "said the exchange")
    assert orders["tb0-1-10-x"].status == "filled"  # by executions alone, before any answer
    assert (orders["999"].client_oid, orders["999"].filled_qty) == ("", Decimal("0.5"))
    assert [row.client_oid for row in last_orders(ledger, only_open=True)] == ["web-1"]

    fills = last_fills(ledger)
    assert [(f.trade_id, f.qty) for f in fills] == [
        ("7", Decimal("0.010")),
        ("2", Decimal("0.006")),
        ("1", Decimal("0.004")),
    ]
    assert [f.trade_id for f in last_fills(ledger, since_ms=T0 + 2, until_ms=T0 + 7)] == ["2"]
    (total,) = pnl(ledger)
    assert total.realised == Decimal("1.2345678901234567")
    assert total.fees == Decimal("-1.67400180")
    assert total.funding == Decimal("-0.0930001")
    assert total.net == Decimal("1.2345678901234567") - Decimal("1.67400180") - Decimal("0.0930001")
    assert total.fills == 3
    assert pnl(ledger, until_ms=T0) == []

    assert open_positions(ledger) == []  # reconciled flat at the end
    balance = last_balance(ledger)
    assert balance is not None
    assert (balance.equity, balance.balance) == (Decimal("9999.1"), Decimal(10_000))
    tables = contents(ledger)
    assert [row["qty"] for row in tables["positions"]] == [Decimal("0.010"), Decimal(0)]
    assert [str(row["equity"]) for row in tables["balances"]] == ["10000.00000001", "9999.1"]
    assert [row["kind"] for row in tables["model_events"]] == ["swap", "retrain"]
    assert [(row["actor"], row["action"]) for row in tables["operator_actions"]] == [
        ("cli:ann", "halt"), ("engine", "halted"), ("engine", "universe"),
    ]  # fmt: skip
    assert tables["operator_actions"][-1]["reason"] == "BTCUSDT, SOLUSDT: SOLUSDT came"
    assert [row["message"] for row in tables["alerts"]] == ["NUL \ufffd and ünïcode"]
    assert [row["ok"] for row in tables["feed_events"]] == [True, False]
    assert len(tables["funding"]) == 1
    assert [(row["bill_id"], row["amount"]) for row in tables["transfers"]] == [("b2", Decimal("-100.50"))]
    (difference,) = last_differences(ledger)
    assert (difference.kind, difference.ours, difference.theirs) == ("leverage", "2", "20")
    assert last_differences(ledger, symbol="SOLUSDT") == []
    (run,) = tables["meta"]
    assert (run["mode"], run["last_seq"], run["symbols"]) == ("demo", len(story.STORY), ["BTCUSDT"])


def test_what_blocked_and_what_trades_earned_can_be_asked_in_sql(ledger: Ledger, journal: JournalReader) -> None:
    Projector(ledger).catch_up(journal, 1)
    with ledger.read() as connection:
        shrunk = connection.exec_driver_sql(
            "SELECT name, count(*), min(seen), min(allowed) FROM risk_checks WHERE verdict <> 'pass' GROUP BY name"
        ).all()
        assert [tuple(row) for row in shrunk] == [("max_position_notional", 2, "2500.00", "2000")]
        (trade,) = connection.execute(sa.select(schema.trades)).mappings().all()
        booked = connection.execute(sa.select(schema.bookings).order_by(schema.bookings.c.seq)).mappings().all()
    ended = story.ENDED.trade
    assert {name: trade[name] for name in ended.__struct_fields__} == msgspec.structs.asdict(ended)
    assert (trade["entry_price"], trade["net"]) == (ended.entry_price, ended.realised + ended.fees + ended.funding)
    assert trade["net_bp"] == pytest.approx(float(trade["net"] / ended.entered_value) * 1e4)
    assert [(row["trade_id"], row["ref"], row["fee"]) for row in booked] == [
        ("BTCUSDT-1", "2", Decimal("-0.55800060")), ("BTCUSDT-1", "7", Decimal("-0.55800060")),
    ]  # fmt: skip


def test_an_order_s_intent_is_synced_to_the_disk_and_nothing_else_waits_for_that(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.upgrade()
    projector = Projector(ledger)
    levels: list[int] = []

    @sa.event.listens_for(ledger.engine, "commit")
    def look(connection: sa.Connection) -> None:
        raw: Any = connection.connection.driver_connection
        levels.append(raw.execute("PRAGMA synchronous").fetchone()[0])

    records: tuple[JournalRecord, ...] = (booted(), order(), decision())
    for seq, record in enumerate(records, 1):
        projector.apply(1, seq, T0, record)
        projector.commit()
    assert levels == [1, 2, 1]
    ledger.close()


def test_an_open_position_is_shown_until_it_is_reported_flat(ledger: Ledger) -> None:
    projector = Projector(ledger)
    for i, (_, record) in enumerate(story.STORY[:18], start=1):
        projector.apply(1, i, T0 + i, record)
    projector.commit()
    (position,) = open_positions(ledger)
    assert (position.symbol, position.qty, position.entry_price) == ("BTCUSDT", Decimal("0.010"), Decimal("93000.10"))


def place_stop(oid: str, trigger: str = "91140") -> PlaceStop:
    return PlaceStop(client_oid=oid, symbol="BTCUSDT", position_side="long", trigger_price=Decimal(trigger))


def stop_said(oid: str, status: str, plan: str = "pos_loss", order_id: str = "") -> StopUpdated:
    return StopUpdated(
        order_id=order_id or f"11{oid}",
        client_oid=oid,
        symbol="BTCUSDT",
        plan=plan,
        trigger_price=Decimal("91140.0"),
        status=status,
    )


def sold(trade: str, qty: str, oid: str = "x") -> Filled:
    return story.fill(trade, qty, side="sell", oid=oid)


def bought(trade: str, qty: str, oid: str) -> Filled:
    return story.fill(trade, qty, oid=oid)


Told = list[tuple[str, str, int | None]]


def told_of(ledger: Ledger, records: Sequence[JournalRecord], oid: str, cut: int | None = None) -> Told:
    projector = Projector(ledger)
    for i, record in enumerate(records, start=1):
        projector.apply(1, i, T0 + i, record)
        if i == cut:
            projector.commit()
    projector.commit()
    return [
        (row.client_oid or row.order_id, row.status, row.confirmed_ms and row.confirmed_ms - T0)
        for row in orders_of(ledger, oid)
    ]


@pytest.mark.parametrize("cut", [None, 4, 9])
def test_an_entry_is_told_with_the_stops_of_its_position_and_no_other(ledger: Ledger, cut: int | None) -> None:
    records: list[JournalRecord] = [
        order("a"), place_stop("a-s"), bought("1", "0.010", "a"), stop_said("a-s", "live"), sold("2", "0.010"),
        # the exchange never said what became of that stop
        order("b"), stop_said("", "live", "loss_plan", "77"), bought("3", "0.010", "b"), place_stop("b-1"),
        story.outcome("b-1", "place_stop", "rejected", code="45122"), place_stop("b-2"),
        story.outcome("b-2", "place_stop", "accepted", "11b-2"), stop_said("b-2", "live"), stop_said("b-2", "live"),
        stop_said("", "cancelled", "loss_plan", "77"), sold("4", "0.010"), stop_said("b-2", "cancelled"),
        order("c"), bought("5", "0.010", "c"), place_stop("c-s"), stop_said("c-s", "live"),
    ]  # fmt: skip
    assert told_of(ledger, records, "b", cut) == [
        ("b", "filled", None), ("77", "cancelled", 7), ("b-1", "rejected", None), ("b-2", "cancelled", 13),
    ]  # fmt: skip
    assert [row.client_oid for row in orders_of(ledger, "a")] == ["a", "a-s"]
    assert [row.client_oid for row in orders_of(ledger, "c")] == ["c", "c-s"], "the position is open"
    assert next(row.preset_stop for row in orders_of(ledger, "b")) == Decimal("91140.0")
    assert orders_of(ledger, "none") == []


def test_an_entry_into_a_position_is_told_with_the_stops_that_protected_it_already(ledger: Ledger) -> None:
    records: list[JournalRecord] = [
        order("a"), bought("1", "0.010", "a"), place_stop("a-s"), stop_said("a-s", "live"),
        order("b"), bought("2", "0.010", "b"), place_stop("b-s"), sold("3", "0.005"), place_stop("late"),
        sold("4", "0.015"), place_stop("after"),
    ]  # fmt: skip
    assert [name for name, _, _ in told_of(ledger, records, "b")] == ["b", "a-s", "b-s", "late"]


def test_a_missed_execution_ends_a_position_when_the_exchange_says_that_it_is_flat(ledger: Ledger) -> None:
    records: list[JournalRecord] = [
        order("a"), bought("1", "0.010", "a"), PositionsReported(positions=(story.held("0.010"),)), place_stop("a-s"),
        PositionsReported(positions=()), order("b"), bought("2", "0.010", "b"), place_stop("b-s"), sold("3", "0.010"),
        place_stop("after"),
    ]  # fmt: skip
    assert [name for name, _, _ in told_of(ledger, records, "a")] == ["a", "a-s"]
    assert [row.client_oid for row in orders_of(ledger, "b")] == ["b", "b-s"]


def test_an_entry_that_was_never_filled_has_no_stops(ledger: Ledger) -> None:
    records: list[JournalRecord] = [order("a"), story.outcome("a", "place", "rejected", code="1"), place_stop("s")]
    assert told_of(ledger, records, "a") == [("a", "rejected", None)]


def test_applying_anything_twice_changes_nothing(ledger: Ledger, journal: JournalReader) -> None:
    projector = Projector(ledger)
    assert projector.catch_up(journal) == len(story.STORY) + 10
    before = contents(ledger)
    assert projector.catch_up(journal) == 0
    for frame in journal.frames():
        assert not projector.apply(frame.epoch, frame.seq, frame.ts_ms, frame.record)
    projector.commit()
    assert Projector(ledger).catch_up(journal) == 0  # nor after a restart
    assert contents(ledger) == before


def test_a_rebuilt_ledger_equals_the_projected_one(ledger: Ledger, journal: JournalReader) -> None:
    projector = Projector(ledger)
    for frame in journal.frames():
        projector.apply(frame.epoch, frame.seq, frame.ts_ms, frame.record)
        projector.commit()
    before = contents(ledger)
    assert rebuild(ledger, journal) == len(story.STORY) + 10
    assert contents(ledger) == before


@settings(max_examples=30, deadline=None)
@given(cuts=st.sets(st.integers(1, len(story.STORY)), max_size=6), restarts=st.booleans())
def test_the_ledger_is_the_same_wherever_batches_end_and_restarts_happen(
    cuts: set[int], restarts: bool, empty_file: Path
) -> None:
    def project(cuts: set[int]) -> dict[str, list[dict[str, Any]]]:
        ledger = copy_of(empty_file)
        projector = Projector(ledger)
        for i, (_, record) in enumerate(story.STORY, start=1):
            projector.apply(1, i, T0 + i, record)
            if i in cuts:
                projector.commit()
                projector = Projector(ledger) if restarts else projector
        projector.commit()
        try:
            return contents(ledger)
        finally:
            ledger.close()

    assert project(cuts) == project(set())


def test_what_was_not_committed_is_caught_up_after_a_crash(ledger: Ledger, journal: JournalReader) -> None:
    projector = Projector(ledger)
    frames = list(journal.frames())
    for frame in frames[:20]:
        projector.apply(frame.epoch, frame.seq, frame.ts_ms, frame.record)
    projector.commit()
    for frame in frames[20:30]:
        projector.apply(frame.epoch, frame.seq, frame.ts_ms, frame.record)
    del projector  # died before the commit
    assert Projector(ledger).catch_up(journal) == len(frames) - 20
    by_catching_up = contents(ledger)
    rebuild(ledger, journal)
    assert contents(ledger) == by_catching_up


def test_both_databases_hold_the_same(journal: JournalReader, tmp_path: Path, postgres_url: str) -> None:
    tables = []
    for url in (f"sqlite:///{tmp_path / 'ledger.sqlite'}", postgres_url):
        ledger = Ledger(url)
        ledger.upgrade()
        Projector(ledger).catch_up(journal)
        tables.append((contents(ledger), pnl(ledger), last_orders(ledger), last_signals(ledger), last_fills(ledger)))
        ledger.close()
    assert tables[0] == tables[1]


def test_money_keeps_every_digit(ledger: Ledger) -> None:
    amounts = ["0.1", "-0.00000000000000000001", "123456789012345678901234567890.123456789", "1E-18", "0", "1E+9"]
    projector = Projector(ledger)
    for i, amount in enumerate(amounts, start=1):
        projector.apply(1, i, T0, story.fill(str(i), amount))
    projector.commit()
    assert [f.qty for f in reversed(last_fills(ledger))] == [Decimal(a) for a in amounts]


def test_a_writer_projects_beside_the_loop_and_never_ahead_of_the_journal(url: str, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    directory.mkdir()
    journal = Journal(directory, 1)
    ledger = Ledger(url)
    writer = LedgerWriter(ledger, JournalReader(directory), 1, lambda: journal.synced_seq)
    for kind, record in story.STORY[:6]:
        writer.put(journal.append(kind, T0, record), T0, record)
    writer.flush()
    time.sleep(0.15)  # the thread looks every 50 ms; it must find nothing it may take
    assert last_orders(ledger) == []
    assert writer.lag == 6
    journal.sync()
    writer.flush()
    assert [row.status for row in last_orders(ledger)] == ["intended"]
    assert (writer.lag, writer.trouble, writer.failure, writer.alive) == (0, "", "", True)
    for kind, record in story.STORY[6:]:
        writer.put(journal.append(kind, T0, record), T0, record)
    journal.close()
    writer.close()
    assert not writer.alive
    written = contents(ledger)
    rebuild(ledger, JournalReader(directory))
    rebuilt = contents(ledger)
    # the mark may stand at the last record with a trace, a rebuild puts it at the last record
    assert written.pop("meta")[0]["started_ms"] == rebuilt.pop("meta")[0]["started_ms"]
    assert written == rebuilt


def test_a_full_queue_loses_nothing_because_the_journal_has_it(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    directory.mkdir()
    journal = Journal(directory, 1)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    writer = LedgerWriter(ledger, JournalReader(directory), 1, lambda: journal.synced_seq, capacity=7)
    writer.put(journal.append("input", T0, booted()), T0, booted())
    count = 400
    for i in range(count):
        for record in (book(i), decision(f"d{i}", T0 + i)):
            writer.put(journal.append("output", T0 + i, record), T0 + i, record)
        if i % 90 == 0:
            journal.sync()
    journal.sync()
    writer.flush()
    for i in range(count, count + 5):  # and the queue is used again afterwards
        writer.put(journal.append("output", T0 + i, decision(f"d{i}", T0 + i)), T0 + i, decision(f"d{i}", T0 + i))
    journal.sync()
    writer.close()
    expected = [f"d{i}" for i in range(count + 5)]
    assert [row["decision_id"] for row in contents(ledger)["decisions"]] == expected
    journal.close()


def test_a_writer_catches_up_with_earlier_runs_first(journal: JournalReader, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    writer = LedgerWriter(ledger, journal, 3, lambda: 0)
    assert [row["epoch"] for row in contents(ledger)["meta"]] == [1, 2]
    writer.close()


def test_a_locked_database_is_trouble_that_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradebot.ledger.database._BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr("tradebot.ledger.writer._RETRY_S", 0.02)
    directory = tmp_path / "journal"
    directory.mkdir()
    journal = Journal(directory, 1)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    writer = LedgerWriter(ledger, JournalReader(directory), 1, lambda: journal.synced_seq)
    other = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with other.engine.connect() as connection:
        locker: Any = connection.connection.driver_connection
        locker.execute("BEGIN IMMEDIATE")
        for kind, record in story.STORY:
            writer.put(journal.append(kind, T0, record), T0, record)
        journal.sync()
        with pytest.raises(BusyError, match="locked") as caught:
            writer.flush(0.5)
        assert "\n" not in str(caught.value)
        assert writer.alive
        locker.execute("ROLLBACK")
    writer.flush()
    assert len(last_fills(ledger)) == 3
    writer.close()
    other.close()
    journal.close()


def test_a_ledger_of_another_state_directory_is_refused(url: str, journal: JournalReader, tmp_path: Path) -> None:
    ledger = Ledger(url)
    LedgerWriter(ledger, journal, 3, lambda: 0).close()
    (tmp_path / "fresh").mkdir()
    with pytest.raises(DataError, match="another state directory"):
        LedgerWriter(Ledger(url), JournalReader(tmp_path / "fresh"), 1, lambda: 0)
    other = Journal(tmp_path / "fresh", 1)
    other.append("input", T0 + 5, booted())
    other.close()
    with pytest.raises(DataError, match="another run under epoch 1"):
        Projector(ledger).catch_up(JournalReader(tmp_path / "fresh"))
    ledger.close()


def test_a_journal_without_its_first_segment_can_still_be_projected(ledger: Ledger, journal: JournalReader) -> None:
    min(journal.directory.glob("*.seg")).unlink()
    Projector(ledger).catch_up(journal)
    assert [row["mode"] for row in contents(ledger)["meta"]] == ["", "demo"]
    assert [fill.trade_id for fill in last_fills(ledger)][:1] == ["1"]


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("nonsense", ConfigError, "not a database URL"),
        ("mysql://x/y", ConfigError, "SQLite or Postgres"),
        ("quack://x", ConfigError, "must begin with sqlite"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_configuration_error(url: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        Ledger(url)
    assert "\n" not in str(caught.value)


def test_an_unreachable_server_is_busy_and_its_password_stays_secret() -> None:
    ledger = Ledger("postgresql://bot:hunter2@127.0.0.1:1/ledger")
    with pytest.raises(BusyError) as caught:
        ledger.upgrade()
    assert "hunter2" not in str(caught.value) + repr(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_a_missing_one_and_a_newer_one_are_one_line_each(tmp_path: Path) -> None:
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"this is not a database" * 100)
    with pytest.raises(DataError, match="not a database"):
        Ledger(f"sqlite:///{bad}").upgrade()
    with pytest.raises(DataError, match="there is no ledger at"):
        last_signals(Ledger(f"sqlite:///{tmp_path / 'none.sqlite'}"))
    assert not (tmp_path / "none.sqlite").exists()
    newer = Ledger(f"sqlite:///{tmp_path / 'newer.sqlite'}")
    newer.upgrade()
    with newer.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DataError, match="newer tradebot"):
        newer.upgrade()


@settings(max_examples=60, deadline=None)
@given(order_of_arrival=st.permutations(range(6)))
def test_an_order_ends_the_same_whatever_arrives_first(order_of_arrival: list[int], empty_file: Path) -> None:
    heard: list[JournalRecord] = [
        story.outcome(story.OID, "place", "accepted", "11e"),
        story.pushed("live", "0"),
        story.pushed("partially_filled", "0.004"),
        story.fill("1", "0.004"),
        story.fill("2", "0.006"),
        story.pushed("filled", "0.010"),
    ]
    ledger = copy_of(empty_file)
    projector = Projector(ledger)
    projector.apply(1, 1, T0, order(story.OID))
    for i, which in enumerate(order_of_arrival, start=2):
        projector.apply(1, i, T0, heard[which])
        projector.commit()
    (row,) = last_orders(ledger)
    assert (row.status, row.filled_qty, row.order_id) == ("filled", Decimal("0.010"), "11e")
    ledger.close()


def test_numbers_that_are_not_finite_are_null_on_both_databases(ledger: Ledger) -> None:
    projector = Projector(ledger)
    for i, value in enumerate((math.nan, math.inf, -math.inf, 0.1), start=1):
        projector.apply(1, i, T0, decision(f"d{i}", expected_bp=value))
    projector.commit()
    assert [row.expected_bp for row in reversed(last_signals(ledger))] == [None, None, None, 0.1]


@pytest.mark.parametrize("batches", [1, 7])
def test_a_flash_close_is_one_order_whatever_id_reports_of_it_carry(ledger: Ledger, batches: int) -> None:
    projector = Projector(ledger)
    theirs = "1471430749322903552"
    told: list[JournalRecord] = [
        booted(),
        ClosePosition(client_oid="tb0-1-5-f", symbol="BTCUSDT", reason="r"),
        story.pushed("live", "0", oid=theirs, order_id="88", side="sell"),
        msgspec.structs.replace(story.fill("4", "0.010", side="sell", oid=theirs), order_id="88"),
        story.outcome("tb0-1-5-f", "close_position", "accepted", "88"),
        msgspec.structs.replace(story.fill("4", "0.010", side="sell", oid="tb0-1-5-f"), order_id="88"),
        story.pushed("filled", "0.010", oid=theirs, order_id="88", side="sell"),
    ]
    for seq, record in enumerate(told, 1):
        projector.apply(1, seq, T0 + seq, record)
        if batches > 1:
            projector.commit()
    projector.commit()
    (order_row,) = last_orders(ledger)
    assert (order_row.client_oid, order_row.order_id, order_row.kind) == ("tb0-1-5-f", "88", "close")
    assert (order_row.status, order_row.filled_qty, order_row.side) == ("filled", Decimal("0.010"), "sell")
    assert len(last_fills(ledger)) == 1


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (
            [msgspec.structs.replace(story.pushed("filled", "0.010"), queried=True)],
            "answer lost; found filled by query",
        ),
        ([story.pushed("live", "0"), story.pushed("filled", "0.010")], "answer lost; found live by report"),
        ([story.fill("1", "0.010")], "answer lost; found filled by report"),
    ],
)
def test_an_order_that_was_found_does_not_keep_the_error_of_its_lost_answer(
    ledger: Ledger, told: list[JournalRecord], reason: str
) -> None:
    lost = msgspec.structs.replace(
        story.outcome(story.OID, "place", "unknown"), code="40725", message="service returned an error"
    )
    for heard_first in (False, True):
        oid = f"{story.OID}{heard_first:d}"
        renamed = [msgspec.structs.replace(one, client_oid=oid, order_id=oid) for one in (lost, *told)]
        projector = Projector(ledger)
        records: list[JournalRecord] = [order(oid), *(renamed[1:] + renamed[:1] if heard_first else renamed)]
        for seq, record in enumerate(records, 10 * heard_first + 1):
            if isinstance(record, Filled):
                record = msgspec.structs.replace(record, trade_id=oid)
            projector.apply(1, seq, T0 + seq, record)
            projector.commit()
    later, first = last_orders(ledger)
    assert (first.status, first.code, first.reason) == ("filled", "", reason)
    assert (later.status, later.code, later.reason) == ("filled", "", "answer lost; filled already")
