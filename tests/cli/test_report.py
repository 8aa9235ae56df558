"""The books as people ask for them, and the ledger beside its journal, through the command line."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cli.conftest import Tradebot
from tests.ledger.test_books import DAY0, HOUR, Bot
from tests.ledger.test_rebuild import write_run
from tests.trading.test_trades import bill, filled
from tradebot.journal import JournalReader, state_lock
from tradebot.ledger import Ledger, Projector, schema
from tradebot.market.candle import DAY_MS


def ledger_at(home: Path) -> Ledger:
    (home / "state").mkdir(exist_ok=True)
    ledger = Ledger(f"sqlite:///{home / 'state' / 'ledger.sqlite'}")
    ledger.upgrade()
    return ledger


@pytest.fixture
def traded(home: Path) -> Path:
    """Two days of January 2026: a trade with funding that ends on the second."""
    ledger = ledger_at(home)
    bot = Bot(ledger)
    bot.now_ms = DAY0 + HOUR
    order = bot.enter("threshold", "v0001")
    bot.fill(order, filled(1, "buy", "2", "100.5", "-0.1206"))
    bot.now_ms = DAY0 + 8 * HOUR
    bot.pay(bill("b1", bot.now_ms, "-0.02"))
    bot.now_ms = DAY0 + DAY_MS + HOUR
    bot.fill(order, filled(2, "sell", "2", "101", "-0.1212"))
    bot.commit()
    ledger.close()
    return home


def test_a_month_is_told_table_by_table(tradebot: Tradebot, traded: Path) -> None:
    shown = tradebot("report", "--month", "2026-01")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("2026-01-05 00:00:00 to 2026-01-07 00:00:00 UTC, mode demo, USDT\n")
    assert "net +0.7382" in shown.out
    for name in ("DAYS", "STRATEGIES", "MODELS", "TRADES", "FEES", "FUNDING"):
        assert f"\n{name}\n" in shown.out
    assert tradebot("report").out == shown.out  # the newest month


def test_what_is_empty_says_why(tradebot: Tradebot, home: Path) -> None:
    """A strategy that asks no model has trades of its own, and a closed one is not open for want of a version."""
    ledger = ledger_at(home)
    bot = Bot(ledger)
    bot.now_ms = DAY0 + HOUR
    order = bot.enter("lob_scalper", "")
    bot.fill(order, filled(1, "buy", "2", "100.5", "-0.1206"))
    bot.fill(order, filled(2, "sell", "2", "101", "-0.1212"))
    bot.now_ms = DAY0 + 8 * HOUR
    bot.pay(bill("b1", bot.now_ms, "-0.02"))
    bot.commit()
    ledger.close()
    *_, trade = tradebot("report", "--table", "trades").out.splitlines()
    assert trade.split()[-1] == "-"
    assert "open" not in trade
    assert "(no model)" in tradebot("report", "--table", "models").out
    assert "open" not in tradebot("report", "--table", "models").out
    assert tradebot("report", "--table", "funding").out.split()[-1] == "-"


def test_a_trade_is_shown_with_the_model_whose_version_it_names(tradebot: Tradebot, traded: Path) -> None:
    *_, trade = tradebot("report", "--month", "2026-01", "--table", "trades").out.splitlines()
    assert trade.split()[-2:] == ["lightgbm-5m", "v0001"]


def test_versions_of_two_symbols_are_told_apart(tradebot: Tradebot, traded: Path) -> None:
    ledger = ledger_at(traded)
    bot = Bot(ledger, epoch=2)
    bot.now_ms = DAY0 + 2 * DAY_MS
    bot.fill(
        bot.enter("threshold", "v0001", symbol="XRPUSDT"), filled(3, "buy", "2", "2.5", "-0.003", symbol="XRPUSDT")
    )
    bot.commit()
    ledger.close()
    header, *rows = tradebot("report", "--month", "2026-01", "--table", "models").out.splitlines()[-3:]
    assert header.split()[:3] == ["NAME", "SYMBOL", "VERSION"]
    assert [row.split()[:4] for row in rows] == [
        ["lightgbm-5m", "SOLUSDT", "v0001", "1"], ["lightgbm-5m", "XRPUSDT", "v0001", "0"]
    ]  # fmt: skip


def test_json_has_plain_digits_and_nothing_is_0(tradebot: Tradebot, traded: Path) -> None:
    ledger = ledger_at(traded)
    with ledger.engine.begin() as connection:
        connection.execute(sa.update(schema.fills).values(fee=Decimal("-0.0000001")))
    ledger.close()
    rows = [json.loads(said) for said in tradebot("report", "--month", "2026-01", "--json").out.splitlines()]
    fees = [row["fee"] for row in rows if row["table"] == "fees"]
    assert fees == ["-0.0000002"]
    assert {row["transfers"] for row in rows if row["table"] == "total"} == {"0"}


def test_csv_has_every_column_exactly_and_one_table_alone_is_plain(tradebot: Tradebot, traded: Path) -> None:
    everything = tradebot("report", "--month", "2026-01", "--csv").out
    sections = [list(csv.DictReader(io.StringIO(part))) for part in everything.split("\n\n")]
    assert [rows[0]["table"] for rows in sections] == ["days", "strategies", "models", "trades", "fees", "funding"]
    days = list(csv.DictReader(io.StringIO(tradebot("report", "--csv", "--table", "days").out)))
    assert "table" not in days[0]
    assert [(row["from"], row["realised"], row["fees"], row["funding"], row["net"]) for row in days] == [
        ("2026-01-05 00:00:00", "0", "-0.1206", "-0.02", "-0.1406"),
        ("2026-01-06 00:00:00", "1.0", "-0.1212", "0", "0.8788"),
    ]
    (trade,) = sections[3]
    assert (trade["opened"], trade["closed"]) == ("2026-01-05 01:00:00", "2026-01-06 01:00:00")
    assert (trade["strategy"], trade["version"], trade["net"]) == ("threshold", "v0001", "0.7382")


def test_json_has_a_total_and_a_line_for_each_row(tradebot: Tradebot, traded: Path) -> None:
    total, *rows = map(json.loads, tradebot("report", "--day", "2026-01-06", "--json").out.splitlines())
    assert (total["table"], total["mode"], total["net"], total["from_ms"]) == ("total", "demo", "0.8788", DAY0 + DAY_MS)
    assert [row["table"] for row in rows] == ["days", "strategies", "models", "trades", "fees"]
    assert Decimal(total["balance_end"]) - Decimal(total["balance_start"]) == Decimal(total["net"])


def test_ranges_and_relative_days_count_from_the_newest_thing_in_the_ledger(tradebot: Tradebot, traded: Path) -> None:
    def days(*asked: str) -> list[str]:
        return [
            row["from"]
            for row in csv.DictReader(io.StringIO(tradebot("report", "--csv", "--table", "days", *asked).out))
        ]

    assert days("--day", "today") == ["2026-01-06 00:00:00"]
    assert days("--day", "yesterday") == ["2026-01-05 00:00:00"]
    assert days("--from", "2026-01-06") == ["2026-01-06 00:00:00"]
    assert days("--to", "2026-01-06") == ["2026-01-05 00:00:00"]
    assert days("--from", "20h ago", "--to", "now") == ["2026-01-05 05:00:00", "2026-01-06 00:00:00"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--month", "2026-13"), "'2026-13' is not a month; write it as 2026-10"),
        (("--month", "october"), "'october' is not a month; write it as 2026-10"),
        (("--day", "2026-01-05 12:00"), "'2026-01-05 12:00' is not a day; write '2026-10-05', 'today' or 'yesterday'"),
        (("--from", "2026-01-06", "--to", "2026-01-05"),
         "the range is empty: from 2026-01-06 00:00:00 to 2026-01-05 00:00:00"),
        (("--month", "2026-01", "--day", "today"), "name a month, a day, or a range with --from and --to"),
        (("--csv", "--json"), "--csv or --json, not both"),
    ],
)  # fmt: skip
def test_a_bad_question_is_one_line_and_exit_2(
    tradebot: Tradebot, traded: Path, asked: tuple[str, ...], said: str
) -> None:
    told = tradebot("report", *asked)
    assert (told.code, told.out) == (2, "")
    assert told.err == f"tradebot: {said}\n"


def test_a_month_without_data_a_missing_ledger_and_another_mode_are_told(tradebot: Tradebot, home: Path) -> None:
    missing = tradebot("report", "--month", "2026-10")
    assert (missing.code, missing.err) == (65, "tradebot: state: there is no ledger yet; 'tradebot run' writes it\n")
    Bot(ledger := ledger_at(home)).commit()
    ledger.close()
    quiet = tradebot("report", "--month", "2026-10")
    assert (quiet.code, quiet.out) == (65, "")
    assert quiet.err == (
        "tradebot: no data of 2026-10: the ledger reaches from 2026-01-05 00:00:00 to 2026-01-05 00:00:00\n"
    )
    assert tradebot("report", "--mode", "live").code == 65


def test_the_ledger_is_verified_and_rebuilt(tradebot: Tradebot, home: Path) -> None:
    assert tradebot("ledger", "verify").code == 65  # no journal
    ledger = ledger_at(home)
    write_run(home / "state" / "journal", 1)
    Projector(ledger).catch_up(JournalReader(home / "state" / "journal"))
    right = tradebot("ledger", "verify", "--json")
    assert (right.code, json.loads(right.out)["mismatches"]) == (0, 0)
    with ledger.begin() as connection:
        connection.execute(schema.fills.delete().where(schema.fills.c.trade_id == "7"))
    ledger.close()
    wrong = tradebot("ledger", "verify")
    assert wrong.code == 1
    assert "1 rows DIFFER" in wrong.out
    assert "trade_id=7" in wrong.out
    with state_lock(home / "state"):
        assert tradebot("ledger", "rebuild").code == 75  # the bot runs
    rebuilt = tradebot("ledger", "rebuild")
    assert rebuilt.code == 0
    assert "computed again from" in rebuilt.out
    assert tradebot("ledger", "verify").code == 0
    with Ledger(f"sqlite:///{home / 'state' / 'ledger.sqlite'}").read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.fills)).scalar_one() == 3
