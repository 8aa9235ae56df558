"""Reading decisions: real audit files, a real ledger."""

from __future__ import annotations

import json
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.conftest import Tradebot
from tradebot.cli import signals
from tradebot.events import Decision, Filled, ModelAnswer, OrderUpdated, PlaceOrder, PlaceStop, RiskCheck, StopUpdated
from tradebot.journal import JournalRecord
from tradebot.ledger import Ledger, Projector
from tradebot.ops.audit import AuditWriter

START = 1_762_351_200_000
"""2025-11-05 14:00:00 UTC"""
BAR = 300_000


def decision(number: int, **changes: Any) -> dict[str, Any]:
    """An audit row as the daemon writes it."""
    fields: dict[str, Any] = {
        "decision_id": f"1-{number}",
        "ts_ms": START + number * BAR,
        "symbol": "SOLUSDT",
        "mode": "paper",
        "strategy": "threshold",
        "action": "hold",
        "reason": "expected +1.00 bp within (-3.00, 3.00)",
        "verdict": "pass",
        "checks": (),
        "model": "lightgbm",
        "version": "v0001",
        "model_sha256": "ab" * 32,
        "row_hash": "0123456789abcdef",
        "expected_bp": 1.0,
        "p_up": 0.4,
        "p_down": 0.3,
        "provisional": True,
        "bid": 100.0,
        "ask": 100.1,
        "position_qty": Decimal(0),
        "qty": Decimal(0),
    }
    row: dict[str, Any] = msgspec.to_builtins(Decision(**fields | changes))
    names = ("name", "value", "limit", "verdict")
    row["checks"] = [dict(zip(names, check, strict=True)) for check in row["checks"]]
    return row | {"epoch": 1, "seq": number}


ENTRY = {"action": "enter_long", "qty": Decimal("5.0"), "client_oid": "oid-1"}
BLOCKED = {
    "action": "enter_short",
    "verdict": "block",
    "checks": (RiskCheck("feed", "down", "ok", "block"), RiskCheck("leverage", "2", "2", "pass")),
}


@pytest.fixture
def state(home: Path) -> Path:
    write(home / "state", [decision(1), decision(2, **ENTRY), decision(3, symbol="BTCUSDT", **BLOCKED), decision(4)])
    return home / "state"


def write(state: Path, rows: list[dict[str, Any]]) -> None:
    writer = AuditWriter(state / "audit" / "signals.jsonl")
    for row in rows:
        writer.write(row)
    writer.close()


def ids(output: str) -> list[str]:
    return [json.loads(line)["decision_id"] for line in output.splitlines()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["1-1", "1-2", "1-3", "1-4"]),
        (["-n", "2"], ["1-3", "1-4"]),
        (["--symbol", "BTCUSDT"], ["1-3"]),
        (["--symbol", "BTCUSDT", "SOLUSDT", "-n", "1"], ["1-4"]),
        (["--side", "long"], ["1-2"]),
        (["--side", "short"], ["1-3"]),
        (["--side", "hold"], ["1-1", "1-4"]),
        (["--acted"], ["1-2", "1-3"]),
        (["--verdict", "block"], ["1-3"]),
        (["--since", "2025-11-05 14:10"], ["1-2", "1-3", "1-4"]),
        (["--since", "2025-11-05 14:10", "--until", "2025-11-05 14:20"], ["1-2", "1-3"]),
    ],
)
def test_tail_shows_what_was_asked_for(
    tradebot: Tradebot, state: Path, options: list[str], expected: list[str]
) -> None:
    done = tradebot("signals", "tail", "--json", *options)
    assert (done.code, ids(done.out), done.err) == (0, expected, "")


def test_tail_says_why_a_signal_was_blocked_and_marks_provisional_models(tradebot: Tradebot, state: Path) -> None:
    lines = tradebot("signals", "tail").out.splitlines()
    assert lines[1].startswith("2025-11-05 14:10:00  SOLUSDT   enter_long  pass   ")
    assert "lightgbm/v0001          ~ 1-2 5.0  expected" in lines[1]
    assert lines[2].endswith("[blocked by feed]")


def test_tail_tells_versions_of_different_models_apart(tradebot: Tradebot, home: Path) -> None:
    write(home / "state", [decision(1), decision(2, model="lorentzian-net-1h"), decision(3, model="", version="")])
    lines = tradebot("signals", "tail").out.splitlines()
    shown = ["lightgbm/v0001", "lorentzian-net-1h/v0001", "-"]
    assert [line.partition("bp  ")[2].split()[0] for line in lines] == shown
    assert len({line.index(f"~ 1-{n} ") for n, line in enumerate(lines, 1)}) == 1, "in columns"


def test_tail_says_where_another_version_takes_over(tradebot: Tradebot, home: Path) -> None:
    other = {"symbol": "BTCUSDT", "version": "v0007"}
    newer = {"version": "v0002"}
    rows = [decision(1), decision(2, **other), decision(3, version=""), decision(4, **newer), decision(5, **newer)]
    write(home / "state", [*rows, decision(6, **other)])
    lines = tradebot("signals", "tail").out.splitlines()
    assert [n for n, line in enumerate(lines) if "from here on" in line] == [3]
    assert lines[3] == "2025-11-05 14:20:00  SOLUSDT   lightgbm/v0002 from here on, before it v0001"
    assert len(ids(tradebot("signals", "tail", "--json").out)) == 6


def test_a_takeover_is_told_with_its_own_time_however_few_decisions_are_shown(tradebot: Tradebot, home: Path) -> None:
    newer = {"version": "v0002"}
    other = {"symbol": "BTCUSDT", "version": "v0007"}
    rows = [decision(1, **ENTRY), decision(2, **newer), decision(3, **other), decision(4, **ENTRY | newer)]
    write(home / "state", [*rows, decision(5, **other | {"version": "v0008"}), decision(6, **newer)])

    def told(*options: str) -> list[str]:
        lines = tradebot("signals", "tail", *options).out.splitlines()
        return [line[11:] if "from here on" in line else line.split()[-1] for line in lines]

    takeover = "14:10:00  SOLUSDT   lightgbm/v0002 from here on, before it v0001"
    shown = tradebot("signals", "tail", "--acted").out.splitlines()
    assert [n for n, line in enumerate(shown) if "from here on" in line] == [1, 3]
    assert (shown[1][11:], shown[3][11:19]) == (takeover, "14:25:00")
    assert [line for line in told("--acted", "--symbol", "SOLUSDT") if "from here" in line] == [takeover]
    assert [line for line in told("--acted", "-n", "1", "--symbol", "SOLUSDT") if "from here" in line] == [takeover]
    assert not [line for line in told("--symbol", "SOLUSDT", "--since", "2025-11-05 14:12") if "from here" in line]
    assert not [line for line in told("--side", "short") if "from here" in line]


def test_nothing_that_matches_is_said_on_stderr_alone(tradebot: Tradebot, state: Path) -> None:
    done = tradebot("signals", "tail", "--symbol", "ETHUSDT", "--json")
    assert (done.code, done.out, done.err) == (0, "", "no decision matches\n")


def test_relative_times_in_a_demo_count_back_from_its_newest_decision(tradebot: Tradebot, home: Path) -> None:
    write(home / "state", [decision(n, mode="demo") for n in range(1, 5)])
    assert ids(tradebot("signals", "tail", "--json", "--since", "6 minutes ago").out) == ["1-3", "1-4"]


def test_in_paper_mode_they_count_back_from_now(tradebot: Tradebot, home: Path) -> None:
    now = time.time_ns() // 1_000_000
    write(home / "state", [decision(1, ts_ms=now - 7_200_000), decision(2, ts_ms=now - 60_000)])
    assert ids(tradebot("signals", "tail", "--json", "--since", "1h ago").out) == ["1-2"]


def test_what_is_no_time_is_told_before_what_is_not_there(tradebot: Tradebot) -> None:
    done = tradebot("signals", "tail", "--since", "teatime")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "'teatime' is not a time" in done.err


def test_following_goes_on_with_what_is_written_later(
    tradebot: Tradebot, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def show(record: dict[str, Any]) -> None:
        seen.append(record["decision_id"])
        if record["decision_id"] == "1-7":
            raise KeyboardInterrupt
        if record["decision_id"] == "1-4":
            threading.Timer(0.1, write, (state, [decision(5), decision(6, **BLOCKED), decision(7, **ENTRY)])).start()

    monkeypatch.setattr(signals, "json_line", show)
    done = tradebot("signals", "tail", "-f", "-n", "1", "--json")
    assert (done.code, seen) == (130, ["1-4", "1-5", "1-6", "1-7"])


def test_show_prints_every_check_with_value_and_limit(tradebot: Tradebot, state: Path) -> None:
    text = tradebot("signals", "show", "1-3").out
    assert [line.split() for line in text.splitlines() if line.startswith(("feed ", "leverage "))] == [
        ["feed", "down", "ok", "block"], ["leverage", "2", "2", "pass"],
    ]  # fmt: skip
    assert "ab" * 32 in text
    record = json.loads(tradebot("signals", "show", "1-2", "--json").out)
    assert (record["qty"], record["client_oid"], record["orders"], record["fills"]) == ("5.0", "oid-1", [], [])


def test_show_names_every_model_of_several_and_why_one_is_missing(tradebot: Tradebot, home: Path) -> None:
    answers = (
        ModelAnswer(model="tree", version="v0002", sha256="cd" * 32, expected_bp=-1.5, p_up=0.25, p_down=0.5),
        ModelAnswer(model="deep", missing="forecast late"),
    )
    write(home / "state", [decision(1, models=answers, hook="on_forecast")])
    text = tradebot("signals", "show", "1-1").out
    rows = [line.split(maxsplit=3) for line in text.splitlines() if line.startswith(("tree ", "deep ", "asked "))]
    assert rows == [
        ["asked", "by", "on_forecast"],
        ["tree", "v0002", "cdcdcdcdcdcd", "-1.5000        0.2500  0.5000"],
        ["deep", "-", "-", "forecast late"],
    ]


def test_show_tells_what_became_of_the_order_and_of_every_stop(tradebot: Tradebot, state: Path) -> None:
    records: list[JournalRecord] = [
        PlaceOrder(
            client_oid="oid-1", symbol="SOLUSDT", side="buy", order_type="market", qty=Decimal("5.0"),
            purpose="entry", decision_id="1-2", preset_stop=Decimal("98.00"),
        ),
        Filled(
            trade_id="t1", order_id="77", client_oid="oid-1", symbol="SOLUSDT", side="buy", price=Decimal("100.10"),
            qty=Decimal("5.0"), fee=Decimal("-0.3"), realised=Decimal(0), maker=False, ts_exchange_ms=START,
        ),
        PlaceStop(client_oid="oid-s", symbol="SOLUSDT", position_side="long", trigger_price=Decimal("98.00")),
        stop_said("live"),
        OrderUpdated(
            client_oid="oid-1", order_id="77", symbol="SOLUSDT", side="buy", status="filled", qty=Decimal("5.0"),
            filled_qty=Decimal("5.0"), avg_price=Decimal("100.10"),
        ),
        stop_said("executed"),
    ]  # fmt: skip
    ledger = Ledger(f"sqlite:///{state / 'ledger.sqlite'}")
    ledger.upgrade()
    projector = Projector(ledger)
    for i, record in enumerate(records, start=1):
        projector.apply(1, i, START + i * 20, record)
    projector.commit()
    ledger.close()

    lines = tradebot("signals", "show", "1-2").out.splitlines()
    rows = [line.split() for line in lines[lines.index("ORDERS") + 2 :][:3]]
    at = "2025-11-05"
    assert rows == [
        ["entry", "buy", "market", "5.0", at, "14:00:00.020", "filled", "5.0", "100.10", "oid-1"],
        ["preset", "stop", "sell", "98.00", "all", "with", "the", "order", "not", "heard", "of"],
        ["position", "stop", "sell", "98.00", "all", at, "14:00:00.060", at, "14:00:00.080", "executed", at,
         "14:00:00.120", "oid-s"],
    ]  # fmt: skip
    told = json.loads(tradebot("signals", "show", "1-2", "--json").out)
    entry, stop = told["orders"]
    assert (entry["status"], entry["avg_price"], entry["preset_stop"]) == ("filled", "100.10", "98.00")
    assert (stop["trigger_price"], stop["status"], stop["confirmed_ms"]) == ("98.00", "executed", START + 80)
    assert [fill["trade_id"] for fill in told["fills"]] == ["t1"]
    assert "ORDERS" not in tradebot("signals", "show", "1-1").out


def stop_said(status: str) -> StopUpdated:
    return StopUpdated(
        order_id="78", client_oid="oid-s", symbol="SOLUSDT", plan="pos_loss", trigger_price=Decimal("98.00"),
        status=status,
    )  # fmt: skip


def test_an_unknown_decision_is_named(tradebot: Tradebot, state: Path) -> None:
    done = tradebot("signals", "show", "9-9")
    assert done.code == 65
    assert "no decision '9-9'" in done.err


def test_a_damaged_audit_line_is_named_by_file_and_line(tradebot: Tradebot, state: Path) -> None:
    with (state / "audit" / "signals.jsonl").open("a") as file:
        file.write("{half\n")
    done = tradebot("signals", "tail")
    assert done.code == 65
    assert "signals.jsonl:5: not a JSON object" in done.err


def test_a_missing_state_points_to_the_demos(tradebot: Tradebot, home: Path) -> None:
    done = tradebot("signals", "tail")
    assert (done.code, done.err) == (
        65, "tradebot: state: no decision has been recorded yet; 'tradebot run' records them\n"
    )  # fmt: skip
    write(home / "state" / "demo", [decision(1)])
    (home / "state" / "jobs").mkdir()  # a retrain by hand was there, no decision
    for command in (["tail"], ["show", "1-1"]):
        done = tradebot("signals", *command)
        assert done.code == 65
        assert done.err == (
            "tradebot: state: no decision has been recorded yet; to look at the demo add: --state state/demo\n"
        )
    assert ids(tradebot("signals", "tail", "--json", "--state", "state/demo").out) == ["1-1"]


def test_replay_without_a_journal_is_one_clear_line(tradebot: Tradebot, state: Path) -> None:
    for command in (["replay", "1-1"], ["verify"]):
        done = tradebot("signals", *command)
        assert (done.code, done.err.count("\n")) == (65, 1), done
        assert "journal" in done.err


def test_a_count_that_no_list_could_hold_names_its_option(tradebot: Tradebot, state: Path) -> None:
    told = tradebot("signals", "tail", "-n", "99999999999999999999")
    assert (told.code, told.out) == (2, "")
    assert "'--lines'" in told.err
