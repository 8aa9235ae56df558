"""The main job, end to end, as a user starts it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import Work, eventually
from tests.shared import shared_path
from tests.sim.recordings import candle_columns, write
from tradebot.daemon.demo import MARKER
from tradebot.events import Decision
from tradebot.journal import JournalReader, journal_directory
from tradebot.ledger import Ledger, statement, verify
from tradebot.registry import ModelKey, ModelStore
from tradebot.sim.faults.document import SCHEDULE

KEYS = {
    "mode", "source", "symbols", "from", "to", "decisions_sha256", "events", "book_updates", "candles", "forecasts",
    "late_forecasts", "dropped_events", "signals", "blocked", "orders", "fills", "retrains", "promotions", "swaps",
    "served", "equity", "replay", "reconcile", "trades", "gross", "fees", "funding", "net", "net_bp_per_trade",
    "positions",
}  # fmt: skip

BUSY = "15"
"""Seed of a market with something to trade in the first 18 hours, before the retrain and after it."""


def demo(state: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tradebot", "demo", "--json", "--state", str(state), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said, errors = Work(process).result()
    assert process.returncode == 0, errors[-2_000:]
    assert "Traceback" not in errors
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    return result


def decisions(state: Path) -> list[Decision]:
    """In the order in which they were made."""
    frames = JournalReader(journal_directory(state)).frames()
    return [frame.record for frame in frames if isinstance(frame.record, Decision)]


def assert_sound(result: dict[str, Any]) -> None:
    assert set(result) >= KEYS
    assert result["dropped_events"] == 0
    assert result["late_forecasts"] == 0
    assert result["replay"] == {"decisions": result["candles"], "mismatches": 0}
    assert result["reconcile"] == {"positions_equal": True, "balance_equal": True, "orders_equal": True}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    state = tmp_path_factory.mktemp("demo") / "state"
    return state, demo(state, "--for", "18h", "--speed", "max", "--seed", BUSY)


def test_the_generated_demo_trades_retrains_and_accounts_for_everything(
    generated: tuple[Path, dict[str, Any]],
) -> None:
    state, result = generated
    assert_sound(result)
    assert result["source"].startswith("MADE-UP market, seed ")
    assert result["to"] - result["from"] == 18 * 3_600_000
    assert result["candles"] == 18 * 12 - 1  # the last one closes as the run ends
    assert result["signals"] > 0
    assert result["orders"] > 0
    assert result["fills"] > 0
    assert result["trades"] > 0
    open_profit = sum(Decimal(position["unrealised"]) for position in result["positions"])
    earned = Decimal(result["gross"]) + Decimal(result["fees"]) + Decimal(result["funding"])
    assert Decimal(result["net"]) == earned
    assert abs(10_000 + earned + open_profit - Decimal(result["equity"])) < Decimal("0.01")
    store = ModelStore(state / "model_store")
    key = ModelKey(result["symbols"][0], "lightgbm", "5m")
    verdicts = [v for v in result["gate"] if v["verdict"] in ("promoted", "provisional", "refused")]
    assert len(verdicts) == 1 + result["retrains"]
    assert store.versions(key) == ["v0001", "v0002"]
    for version in store.versions(key):
        store.verify(key, version)


def test_after_the_break_the_retrained_model_is_promoted_and_decides_from_its_swap_on(
    generated: tuple[Path, dict[str, Any]],
) -> None:
    state, result = generated
    assert "broken on purpose after the first training" in result["source"]
    assert (result["retrains"], result["promotions"], result["swaps"]) == (1, 1, 1)
    _, retrained = result["gate"]
    assert retrained["verdict"] == "promoted"
    gate = ModelStore(state / "model_store").manifest(ModelKey("SOLUSDT", "lightgbm", "5m"), "v0002").gate
    assert (gate.verdict, gate.champion) == ("promoted", "v0001")
    (better,) = [check for check in gate.checks if check.name == "champion"]
    assert float(better.value) >= gate.required_probability >= 0.9
    assert gate.rows >= 10 * 288
    before, after = result["served"]
    assert (before["version"], before["since"], after["version"]) == ("v0001", result["from"], "v0002")
    asked = [(d.ts_ms, d.version) for d in decisions(state) if d.version]
    assert {version for at_ms, version in asked if at_ms < after["since"]} == {"v0001"}
    assert {version for at_ms, version in asked if at_ms > after["since"]} == {"v0002"}
    assert before["trades"] > 0
    assert after["trades"] > 0
    assert before["trades"] + after["trades"] == result["trades"]
    assert sum(Decimal(service["net"]) for service in result["served"]) == Decimal(result["net"])


def test_where_the_market_does_not_change_a_retrained_model_that_is_no_better_is_refused(tmp_path: Path) -> None:
    result = demo(tmp_path / "state", "--for", "6h", "--speed", "max", "--seed", "7", "--steady")
    assert_sound(result)
    assert "broken" not in result["source"]
    assert (result["retrains"], result["promotions"], result["swaps"]) == (1, 0, 0)
    refused = result["gate"][-1]
    assert (refused["version"], refused["verdict"]) == ("v0002", "refused")
    assert "P(better than champion)" in refused["reason"]
    assert [service["version"] for service in result["served"]] == ["v0001"]
    assert {d.version for d in decisions(tmp_path / "state") if d.version} == {"v0001"}


def test_ledger_and_books_of_the_demo_are_what_its_journal_and_its_result_say(
    generated: tuple[Path, dict[str, Any]],
) -> None:
    state, result = generated
    ledger = Ledger(f"sqlite:///{state / 'ledger.sqlite'}")
    found = verify(ledger, JournalReader(journal_directory(state)))
    assert (found.mismatches, found.left_out) == (0, 0)
    assert all(found.rows[name] for name in ("decisions", "risk_checks", "orders", "fills", "trades", "bookings"))
    books = statement(ledger, result["from"], result["to"])
    total = books.total
    for name, told in (("realised", "gross"), ("fees", "fees"), ("funding", "funding")):
        assert getattr(total, name) == Decimal(result[told])
    assert total.balance_end - total.balance_start == Decimal(result["net"])
    assert (total.other, total.transfers, total.fills) == (0, 0, result["fills"])
    ended = [trade for trade in books.trades if trade.closed_ms]
    assert len(ended) == result["trades"]
    assert all(trade.strategy and trade.model and trade.entry_decision for trade in books.trades)
    assert all(trade.best_bp is not None and trade.end != "unknown" for trade in ended)
    assert [share.name for share in books.strategies] == ["threshold"]
    assert sum(share.net for share in books.models) == Decimal(result["net"])
    entered = sum(trade.entry_price * trade.entered_qty for trade in ended)
    assert float(sum(trade.net for trade in ended) / entered) * 1e4 == pytest.approx(result["net_bp_per_trade"])
    ledger.close()


def test_decisions_do_not_depend_on_the_machine_s_speed(generated: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    _, at_max = generated
    paced = demo(tmp_path / "state", "--for", "18h", "--speed", "5000", "--seed", BUSY)
    assert paced["decisions_sha256"] == at_max["decisions_sha256"]
    assert paced["events"] == at_max["events"]


def test_recorded_candles_of_two_symbols(tmp_path: Path) -> None:
    files = [str(shared_path(f"data/market/candles/bybit_{s}USDT_perp_5m.parquet")) for s in ("SOL", "ETH")]
    result = demo(tmp_path / "state", "--replay", *files, "--for", "6h", "--speed", "max")
    assert_sound(result)
    assert result["symbols"] == ["SOLUSDT", "ETHUSDT"]
    assert result["candles"] == 2 * 71


def test_recorded_books_with_the_history_of_a_candle_file(tmp_path: Path) -> None:
    books = shared_path("data/market/lob/standx_BTCUSD_perp_20260105_1s_l10.parquet")
    candles = shared_path("data/market/candles/bybit_BTCUSDT_perp_5m.parquet")
    result = demo(tmp_path / "state", "--replay", str(books), str(candles), "--for", "1h", "--speed", "max")
    assert_sound(result)
    assert result["symbols"] == ["BTCUSDT"]
    assert result["book_updates"] > 2_000


def test_a_seconds_cap_ends_the_run_early_and_in_order(tmp_path: Path) -> None:
    result = demo(tmp_path / "state", "--for", "30d", "--speed", "max", "--seconds", "45")
    assert_sound(result)
    assert result["to"] - result["from"] < 30 * 86_400_000


def test_a_demo_under_the_documented_faults_stays_sound_and_tells_what_hit(tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_text(SCHEDULE)
    result = demo(tmp_path / "state", "--for", "5h", "--seed", BUSY, "--faults", str(tmp_path / "faults.yaml"))
    assert_sound(result)
    assert result["faults"]["idle"] == []
    assert {kind: list(scopes) for kind, scopes in result["faults"]["injected"].items()} == {
        "answer_lost_after_accept": ["rest"], "drop": ["private"], "maintenance": ["rest"], "sequence_gap": ["public"],
    }  # fmt: skip


def test_a_second_demo_on_the_same_state_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tradebot", "demo", "--for", "30d", "--state", "state/demo"]
    # the first one is still training: it has no daemon yet that would own the directory
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as first:
        state = tmp_path / "state" / "demo"
        asyncio.run(eventually(lambda: any(state.glob("jobs/*/*.json")), within_s=60, every_s=0.05))
        made = (state / MARKER).stat()
        second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert first.poll() is None
        assert (second.returncode, second.stdout) == (75, "")
        assert "tradebot: state/demo is in use by another demo" in second.stderr
        assert "Traceback" not in second.stderr
        now = (state / MARKER).stat()
        assert (now.st_ino, now.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == 0, first.stderr.read() if first.stderr else ""
    assert [path.stat().st_mode & 0o777 for path in (state.parent, state)] == [0o700, 0o700]


def test_a_directory_of_something_else_is_never_cleared(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    command = [sys.executable, "-m", "tradebot", "demo", "--state", "mine"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert "not an old demo's directory" in done.stderr
    assert (tmp_path / "mine" / "letter").read_text() == "dear"


def test_candles_coarser_than_the_models_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "SOLUSDT_15m.parquet"
    write(path, candle_columns(3_000, step_ms=900_000))
    command = [sys.executable, "-m", "tradebot", "demo", "--for", "6h", "--replay", str(path), "--state", "state/demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (65, "")
    assert done.stderr.splitlines()[1:] == [
        "tradebot: the recorded candles of SOLUSDT (15m) are coarser than the 5m candles that the models read, and "
        "what happened between them is not known; give files of 5m or less"
    ]


def test_what_the_exchange_says_of_a_bad_file_is_the_demo_s_error_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "SOLUSDT_5m.parquet").write_bytes(b"no parquet")
    command = [sys.executable, "-m", "tradebot", "demo", "--replay", "SOLUSDT_5m.parquet", "--state", "state/demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (65, "")
    (line,) = done.stderr.splitlines()[1:]
    assert line.startswith("tradebot: SOLUSDT_5m.parquet: not a readable parquet file")
    kept = tmp_path / "state" / "demo" / "logs" / "exchange.log"
    assert kept.read_text() == line + "\n"
    assert [path.stat().st_mode & 0o777 for path in (kept.parent, kept)] == [0o700, 0o600]


def test_a_killed_demo_leaves_no_exchange_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tradebot", "demo", "--for", "30d", "--state", "state/demo"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as started:
        state = tmp_path / "state" / "demo"
        try:
            asyncio.run(eventually(lambda: any(state.glob("jobs/*/*.json")), within_s=60, every_s=0.05))
            children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
            exchanges = [pid for pid in children if b"\0sim\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        finally:
            started.kill()
    assert len(exchanges) == 1
    asyncio.run(eventually(lambda: not any(map(_runs, exchanges)), within_s=20))


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_journal_of_a_demo_can_be_read_whole(generated: tuple[Path, dict[str, Any]]) -> None:
    state, result = generated
    reader = JournalReader(journal_directory(state))
    assert sum(f.kind == "input" for f in reader.frames()) == result["events"]
