"""The directory of a run: what is written is read back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from tradebot.backtest.run import DecisionFile, EquityCurve, Run, RunFolder, Trades, write_run
from tradebot.errors import DataError
from tradebot.events import Decision, EngineConfig, RiskCheck

TEXTS = ("symbol", "side", "end", "strategy", "model", "version", "entry_decision", "exit_decision")


def a_run() -> Run:
    return Run(
        name="r", source="test", files=("a.parquet",), symbols=("SOLUSDT",), seed=7, from_ms=0, to_ms=600_000,
        asked_to_ms=600_000, interrupted=False, config=EngineConfig(mode="demo", symbols=("SOLUSDT",), strategy="t"),
        settings_hash="s", strategy_hash="t", engine_hash="e", data_hash="d", inputs_hash="i", models=(),
        start_equity=10_000.0, result={"trades": 2},
    )  # fmt: skip


def some_trades(n: int) -> Trades:
    columns = {
        name: np.array([f"{name}{i}" for i in range(n)], dtype=np.str_)
        if name in TEXTS
        else np.arange(n, dtype=np.int64 if name.endswith("_ms") else np.float64)
        for name in Trades.__dataclass_fields__
    }
    return Trades(**columns)


def a_decision(number: int) -> Decision:
    return Decision(
        decision_id=f"1-{number}", ts_ms=300_000 * number, symbol="SOLUSDT", mode="demo", strategy="t",
        action="enter_long", reason="because", verdict="block",
        checks=(RiskCheck("spread_bp", "3", "2", "block"), RiskCheck("feed", "ok", "ok", "pass")), model="m",
        version="v0001", model_sha256="", row_hash="", expected_bp=1.5, p_up=0.5, p_down=0.25, provisional=False,
        bid=99.5, ask=100.5, position_qty=Decimal("-1.25"), qty=Decimal(0),
    )  # fmt: skip


@pytest.mark.parametrize("count", [0, 3])
def test_what_was_written_is_read_back(tmp_path: Path, count: int) -> None:
    steps = np.arange(3, dtype=np.int64) * 300_000
    curve = EquityCurve(steps, np.array([1.0, 2.0, 3.0]), np.ones(3), np.zeros(3), np.zeros(3))
    trades = some_trades(count)
    decisions = DecisionFile(tmp_path)
    for number in range(count):
        decisions.add(a_decision(number))
    decisions.close()
    write_run(tmp_path, a_run(), curve, {"SOLUSDT": np.array([np.nan, 5.0, 6.0])}, trades)

    folder = RunFolder(tmp_path)
    assert folder.run() == a_run()
    assert folder.equity().equity.tolist() == [1.0, 2.0, 3.0]
    times, prices = folder.prices()
    assert times.tolist() == steps.tolist()
    assert prices["SOLUSDT"].tolist()[1:] == [5.0, 6.0]
    read = folder.trades()
    assert len(read) == count
    for name in Trades.__dataclass_fields__:
        assert getattr(read, name).tolist() == getattr(trades, name).tolist()
    rows = [
        row
        for part in folder.decisions(("decision_id", "blocked_by", "model", "version", "position_qty"))
        for row in zip(*part.values(), strict=True)
    ]
    assert rows == [(f"1-{number}", "spread_bp", "m", "v0001", -1.25) for number in range(count)]


def test_decisions_of_an_older_release_lack_a_column_by_name(tmp_path: Path) -> None:
    decisions = DecisionFile(tmp_path)
    decisions.add(a_decision(1))
    decisions.close()
    file = tmp_path / "decisions.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["model"]), file)
    assert [list(part) for part in RunFolder(tmp_path).decisions(("version",))] == [["version"]]
    with pytest.raises(DataError, match=r"decisions\.parquet: lacks model; run the back-test again"):
        list(RunFolder(tmp_path).decisions())


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the directory of a back-test"):
        RunFolder(tmp_path).run()


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(a_run()).replace(b'"format":1', b'"format":99'))
    with pytest.raises(DataError, match="of format 99"):
        RunFolder(tmp_path).run()
