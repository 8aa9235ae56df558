"""What a model store tells of its trainings: the newest of each symbol, model and interval."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest

from tradebot.errors import DataError
from tradebot.jobs import JobResult, ParquetSource, RetrainJob
from tradebot.jobs.job import JobMetric
from tradebot.training.summary import CSV_FILE, JSON_FILE, Summary, summarise, write_summary


def job(symbol: str, model: str = "lightgbm", as_of_ms: int = 1_000_000) -> RetrainJob:
    return RetrainJob(
        id=f"{symbol}-{model}", symbol=symbol, model=model, as_of_ms=as_of_ms, declared_ms=0, days=1,
        source=ParquetSource(path="/data"), store="/store",
    )  # fmt: skip


def result(asked: RetrainJob, version: str = "v0001") -> JobResult:
    return JobResult(
        id=asked.id, symbol=asked.symbol, model=asked.model, verdict="promoted", promoted=True, reason="better",
        exit_code=0, version=version, metrics={"move_auc": JobMetric(value=0.625)},
    )  # fmt: skip


def trained(
    folder: Path, *jobs: RetrainJob, at_ms: int, interval: str = "5m", version: str = "v0001", not_run: str = ""
) -> Summary:
    results = {one.id: result(one, version) for one in jobs if one.symbol != not_run}
    write_summary(summarise(jobs, results, "stopped", interval, at_ms), folder)
    return msgspec.json.decode((folder / JSON_FILE).read_bytes(), type=Summary)


def test_another_training_keeps_the_rows_of_the_others_and_replaces_its_own(tmp_path: Path) -> None:
    trained(tmp_path, job("AUSDT"), job("BUSDT"), at_ms=10)
    trained(tmp_path, job("AUSDT"), at_ms=20, interval="1h")
    trained(tmp_path, job("AUSDT", "bilstm"), at_ms=30)
    found = trained(tmp_path, job("BUSDT", as_of_ms=2_000_000), job("CUSDT"), at_ms=40, version="v0002")
    assert {symbol: (row.version, row.made_ms, row.as_of_ms) for symbol, row in found.symbols.items()} == {
        "BUSDT": ("v0002", 40, 2_000_000),
        "CUSDT": ("v0002", 40, 1_000_000),
    }
    assert found.counts == {"promoted": 2}
    assert [(row.symbol, row.model, row.interval, row.made_ms) for row in found.earlier] == [
        ("AUSDT", "bilstm", "5m", 30),
        ("AUSDT", "lightgbm", "1h", 20),
        ("AUSDT", "lightgbm", "5m", 10),
    ]
    table = list(csv.DictReader((tmp_path / CSV_FILE).open()))
    assert [(row["symbol"], row["model"], row["interval"], row["version"], row["move_auc"]) for row in table] == [
        ("BUSDT", "lightgbm", "5m", "v0002", "0.625"),
        ("CUSDT", "lightgbm", "5m", "v0002", "0.625"),
        ("AUSDT", "bilstm", "5m", "v0001", "0.625"),
        ("AUSDT", "lightgbm", "1h", "v0001", "0.625"),
        ("AUSDT", "lightgbm", "5m", "v0001", "0.625"),
    ]
    assert table[0]["as_of"].startswith("1970-01-01")


def test_a_training_gone_on_with_tells_when_each_symbol_was_made(tmp_path: Path) -> None:
    jobs = job("AUSDT"), job("BUSDT")
    stopped = trained(tmp_path, *jobs, at_ms=10, not_run="BUSDT")
    assert (stopped.symbols["BUSDT"].status, stopped.symbols["BUSDT"].reason) == ("not run", "stopped")
    done = trained(tmp_path, *jobs, at_ms=20)
    assert {symbol: (row.status, row.made_ms) for symbol, row in done.symbols.items()} == {
        "AUSDT": ("promoted", 10),
        "BUSDT": ("promoted", 20),
    }
    assert done.earlier == ()


def test_what_was_not_run_does_not_replace_what_ended(tmp_path: Path) -> None:
    jobs = job("AUSDT", as_of_ms=2_000_000), job("BUSDT", as_of_ms=2_000_000)
    trained(tmp_path, job("AUSDT"), job("BUSDT"), at_ms=10)
    stopped = trained(tmp_path, *jobs, at_ms=20, version="v0002", not_run="BUSDT")
    assert {symbol: (row.status, row.version) for symbol, row in stopped.symbols.items()} == {
        "AUSDT": ("promoted", "v0002"),
        "BUSDT": ("not run", ""),
    }
    assert [(row.symbol, row.status, row.version, row.made_ms) for row in stopped.earlier] == [
        ("BUSDT", "promoted", "v0001", 10)
    ]
    again = trained(tmp_path, *jobs, at_ms=30, version="v0002", not_run="BUSDT")
    assert again.earlier == stopped.earlier, "twice not run: what ended is still told"
    other = trained(tmp_path, job("CUSDT"), at_ms=35)
    assert [(row.symbol, row.status, row.version) for row in other.earlier] == [
        ("AUSDT", "promoted", "v0002"),
        ("BUSDT", "promoted", "v0001"),
    ]
    done = trained(tmp_path, *jobs, at_ms=40, version="v0002")
    assert done.symbols["BUSDT"].version == "v0002"
    assert [row.symbol for row in done.earlier] == ["CUSDT"]


def test_a_file_of_before_is_read_and_one_that_is_no_summary_is_left_alone(tmp_path: Path) -> None:
    old = {"model": "lightgbm", "interval": "15m", "as_of_ms": 7, "counts": {"failed": 1}, "symbols": {
        "AUSDT": {"symbol": "AUSDT", "model": "lightgbm", "status": "failed", "exit_code": 65}}}  # fmt: skip
    (tmp_path / JSON_FILE).write_bytes(msgspec.json.encode(old))
    (row,) = trained(tmp_path, job("AUSDT"), at_ms=10).earlier
    assert (row.interval, row.as_of_ms, row.made_ms, row.exit_code) == ("15m", 7, 0, 65)
    (tmp_path / JSON_FILE).write_text("[1]")
    with pytest.raises(DataError, match="is no summary"):
        trained(tmp_path, job("AUSDT"), at_ms=10)
    assert (tmp_path / JSON_FILE).read_text() == "[1]"
