"""Asking for retrains by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Tradebot
from tradebot.daemon.retraining import RetrainPlan
from tradebot.jobs import JobQueue, ParquetSource
from tradebot.settings import Settings


@pytest.fixture
def candles(home: Path) -> Path:
    """Fifty flat 5m candles: far too few to train on. The last one ends at 2025-11-05 04:10 UTC."""
    open_time = 1_762_300_800_000 + 300_000 * np.arange(50, dtype=np.int64)
    flat = np.full(50, 100.0)
    table = pa.table({"open_time": open_time, **dict.fromkeys(("open", "high", "low", "close", "volume"), flat)})
    path = home / "few.parquet"
    pq.write_table(table, path)
    return path


def test_a_job_left_to_a_runner_is_written_once(tradebot: Tradebot, home: Path, candles: Path) -> None:
    done = tradebot("retrain", "--symbol", "SOLUSDT", "--candles", str(candles), "--no-wait", "--days", "30")
    assert done.code == 0
    job_id = done.out.strip()
    queue = JobQueue(home / "state" / "jobs")
    job = queue.job(job_id)
    assert (job.symbol, job.model, job.days, job.as_of_ms) == ("SOLUSDT", "lightgbm", 30, 1_762_315_800_000)
    assert job.source == ParquetSource(path=str(candles))
    assert job.allow_provisional
    again = tradebot("retrain", "--symbol", "SOLUSDT", "--candles", str(candles), "--no-wait", "--days", "30")
    assert (again.code, again.out.strip(), again.err) == (0, job_id, "was asked for before\n")
    rows = [json.loads(line) for line in tradebot("jobs", "ls", "--json").out.splitlines()]
    assert [(row["id"], row["state"], row["symbol"]) for row in rows] == [(job_id, "pending", "SOLUSDT")]
    assert tradebot("jobs", "cancel", job_id).out == f"{job_id}: cancelled\n"
    assert tradebot("jobs", "cancel", job_id).code == 65


def test_candles_as_long_as_the_model_reads_are_enough(tradebot: Tradebot, home: Path) -> None:
    """The trading interval is 5m; the model's is what its candles are asked for in."""
    open_time = 1_762_300_800_000 + 3_600_000 * np.arange(50, dtype=np.int64)
    flat = dict.fromkeys(("open", "high", "low", "close", "volume"), np.full(50, 100.0))
    pq.write_table(pa.table({"open_time": open_time, **flat}), home / "hours.parquet")
    asked = ("retrain", "--symbol", "SOLUSDT", "--model", "lorentzian-1h", "--data", "hours.parquet", "--no-wait")
    done = tradebot(*asked)
    assert done.code == 0, done.err
    job = JobQueue(home / "state" / "jobs").job(done.out.strip())
    assert (job.model, job.interval, job.as_of_ms) == ("lorentzian", "1h", 1_762_300_800_000 + 50 * 3_600_000)


def test_too_few_candles_fail_the_job_with_65_and_one_line_of_reason(tradebot: Tradebot, candles: Path) -> None:
    done = tradebot("retrain", "--symbol", "SOLUSDT", "--candles", str(candles), "--json")
    result = json.loads(done.out)
    assert (done.code, result["verdict"], result["promoted"]) == (65, "failed", False)
    assert "\n" not in result["reason"]
    assert "Traceback" not in done.err
    rows = [json.loads(line) for line in tradebot("jobs", "ls", "--json").out.splitlines()]
    assert rows[0]["state"] == "failed"
    assert rows[0]["what"] == result["reason"]
    assert result["reason"] in tradebot("jobs", "show", result["id"]).out


def test_drain_runs_what_is_pending_and_gives_its_exit_code(tradebot: Tradebot, candles: Path) -> None:
    tradebot("retrain", "--symbol", "SOLUSDT", "--candles", str(candles), "--no-wait")
    done = tradebot("jobs", "run", "--drain")
    assert done.code == 65
    assert done.out.startswith("SOLUSDT lightgbm: failed")
    done = tradebot("jobs", "run", "--drain")
    assert (done.code, done.err) == (0, "no pending job\n")


def test_one_of_several_symbols_must_be_named(tradebot: Tradebot, home: Path, candles: Path) -> None:
    (home / "config.yaml").write_text("symbols: [SOLUSDT, BTCUSDT]\n")
    assert tradebot("retrain", "--no-wait").code == 2
    assert tradebot("retrain", "--all", "--candles", str(candles), "--no-wait").code == 2
    done = tradebot("retrain", "--all", "--no-wait", "--json")
    assert [json.loads(line)["symbol"] for line in done.out.splitlines()] == ["SOLUSDT", "BTCUSDT"]


def test_damaged_candles_are_refused_before_a_job_exists(tradebot: Tradebot, home: Path) -> None:
    (home / "bad.parquet").write_bytes(b"not parquet")
    done = tradebot("retrain", "--symbol", "SOLUSDT", "--candles", "bad.parquet")
    assert done.code == 65
    assert "not a readable parquet file" in done.err
    assert not (home / "state").exists()


def test_looking_at_jobs_makes_no_folders(tradebot: Tradebot, home: Path) -> None:
    for command in (["ls"], ["show", "x"], ["cancel", "x"]):
        done = tradebot("jobs", *command)
        assert (done.code, done.out) == (65, "")
        assert done.err == "tradebot: state: no job has been asked for yet; 'tradebot retrain' asks for one\n"
    assert list(home.iterdir()) == []


def test_where_only_a_demo_has_jobs_they_are_pointed_to(tradebot: Tradebot, home: Path, candles: Path) -> None:
    line = ["retrain", "--symbol", "SOLUSDT", "--candles", str(candles), "--no-wait", "--state", "state/demo"]
    job_id = tradebot(*line).out.strip()
    assert tradebot("jobs", "ls").err == (
        "tradebot: state: no job has been asked for yet; to look at the demo add: --state state/demo\n"
    )
    rows = [json.loads(line) for line in tradebot("jobs", "ls", "--json", "--state", "state/demo").out.splitlines()]
    assert [(row["id"], row["symbol"], row["model"]) for row in rows] == [(job_id, "SOLUSDT", "lightgbm")]
    assert (home / "state").stat().st_mode & 0o777 == 0o700


def test_other_flags_make_another_job_and_the_same_ones_the_same(tradebot: Tradebot, candles: Path) -> None:
    def ask(*flags: str) -> str:
        return tradebot("retrain", "--symbol", "SOLUSDT", "--candles", str(candles), "--no-wait", *flags).out.strip()

    asked = [ask(), ask("--seed", "8"), ask("--days", "30"), ask("--trials", "2"), ask("--store", "other")]
    assert len(set(asked)) == len(asked)
    assert ask("--seed", "8") == asked[1]


def test_a_job_that_has_run_is_not_run_again_and_says_so(tradebot: Tradebot, candles: Path) -> None:
    line = ["retrain", "--symbol", "SOLUSDT", "--candles", str(candles), "--json"]
    first, again = tradebot(*line), tradebot(*line)
    assert "this job has run before" in again.err
    assert again.out == first.out
    other = tradebot(*line, "--seed", "8")
    assert "has run before" not in other.err
    assert json.loads(other.out)["id"] != json.loads(first.out)["id"]


def test_the_port_of_an_exchange_on_this_machine_is_no_part_of_the_id() -> None:
    def job_id(url: str) -> str:
        settings = Settings.model_validate({"exchange": {"rest_url": url}})
        return RetrainPlan.of(settings).job("SOLUSDT", 1_700_000_000_000).id

    assert job_id("http://127.0.0.1:4001") == job_id("http://127.0.0.1:4002")
    assert job_id("http://127.0.0.1:4001") != job_id("https://api.bitget.com")
