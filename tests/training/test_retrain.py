"""Whole retrainings on small made-up histories: real LightGBM, real ONNX, real store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from aiohttp import web

from tests.eventually import Work, presently
from tests.training import market
from tradebot.errors import BusyError, ModelError
from tradebot.forecasters.base import CandleColumns, family
from tradebot.jobs import JobCosts, JobQueue, JobResult, ParquetSource, RestSource, RetrainJob, job_id
from tradebot.registry import ModelKey, ModelStore
from tradebot.serving import Serving
from tradebot.training import retrain as pipeline
from tradebot.training.runner import drain, main, run_job

KEY = ModelKey("SOLUSDT", "lightgbm", "5m")
CHEAP = JobCosts(fee_bp=1.0, half_spread_bp=0.25, slippage_bp=0.25)


@pytest.fixture(scope="module")
def planted() -> CandleColumns:
    return market.candles(24_000, momentum=0.6, seed=2)


@pytest.fixture(scope="module")
def noise() -> CandleColumns:
    return market.candles(24_000, momentum=0.0, seed=3)


@pytest.fixture(scope="module")
def planted_file(planted: CandleColumns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market.write_parquet(tmp_path_factory.mktemp("data") / "planted.parquet", planted)


@pytest.fixture(scope="module")
def noise_file(noise: CandleColumns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market.write_parquet(tmp_path_factory.mktemp("data") / "noise.parquet", noise)


def job(path: Path, store: Path, columns: CandleColumns, **changes: Any) -> RetrainJob:
    as_of = changes.pop("as_of_ms", market.end_ms(columns))
    made = RetrainJob(
        id=job_id("SOLUSDT", "lightgbm", as_of),
        symbol="SOLUSDT",
        model="lightgbm",
        as_of_ms=as_of,
        declared_ms=60_000,
        days=90,
        source=ParquetSource(path=str(path)),
        store=str(store),
        trials=2,
        rounds=60,
        costs=CHEAP,
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture(scope="module")
def trained(
    planted_file: Path, planted: CandleColumns, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, JobResult]:
    store = tmp_path_factory.mktemp("store")
    return store, run_job(job(planted_file, store, planted))


def test_a_planted_signal_is_found_and_promoted(trained: tuple[Path, JobResult]) -> None:
    store, result = trained
    assert (result.verdict, result.promoted, result.version, result.exit_code) == ("promoted", True, "v0001", 0)
    figures = result.metrics
    assert figures["direction_auc"].low > 0.6  # type: ignore[operator]
    assert figures["log_loss_skill"].low > 0  # type: ignore[operator]
    assert figures["net_bp_per_trade"].low > 0  # type: ignore[operator]
    assert figures["trades"].value >= 30  # type: ignore[operator]
    manifest = ModelStore(store).verify(KEY, "v0001")
    assert manifest.gate.verdict == "promoted"
    assert not manifest.provisional
    assert {check.name for check in manifest.gate.checks} >= {"baseline", "calibration", "trades", "parity"}


def test_nothing_is_found_in_a_random_walk(noise_file: Path, noise: CandleColumns, tmp_path: Path) -> None:
    result = run_job(job(noise_file, tmp_path, noise))
    assert (result.verdict, result.promoted, result.exit_code) == ("refused", False, 3)
    figures = result.metrics
    assert figures["direction_auc"].low < 0.5 < figures["direction_auc"].high  # type: ignore[operator]
    assert figures["log_loss_skill"].low < 0.005  # type: ignore[operator]
    assert figures["net_bp_per_trade"].value is None or figures["net_bp_per_trade"].low < 0  # type: ignore[operator]
    assert ModelStore(tmp_path).champion(KEY) is None
    assert ModelStore(tmp_path).versions(KEY) == ["v0001"], "a refused version is kept with its verdict"


def test_intervals_of_noise_hold_one_half_about_as_often_as_they_say(tmp_path: Path) -> None:
    """Eight random walks: 95 % intervals may miss now and then, not more."""
    missed = promoted = 0
    for seed in range(8):
        columns = market.candles(12_000, seed=100 + seed)
        path = market.write_parquet(tmp_path / f"{seed}.parquet", columns)
        result = run_job(job(path, tmp_path / f"store{seed}", columns, trials=1, rounds=20))
        area = result.metrics["direction_auc"]
        missed += not area.low <= 0.5 <= area.high  # type: ignore[operator]
        promoted += result.promoted
    assert missed <= 2
    assert promoted == 0


def test_the_outcomes_of_the_test_slice_influence_no_choice(
    trained: tuple[Path, JobResult], planted: CandleColumns, tmp_path: Path
) -> None:
    """Prices mirrored from the test slice on: the same model, level and baseline, and another verdict's figures."""
    store, result = trained
    first = ModelStore(store).manifest(KEY, "v0001")
    lineage = first.lineage
    late = planted.open_ms >= lineage.test_from_ms
    pivot = planted.close[~late][-1] ** 2
    prices = {name: getattr(planted, name).copy() for name in ("open", "high", "low", "close")}
    for name, source in (("open", "open"), ("high", "low"), ("low", "high"), ("close", "close")):
        prices[name][late] = pivot / getattr(planted, source)[late]
    mirrored = replace(planted, **prices)
    again = run_job(job(market.write_parquet(tmp_path / "x.parquet", mirrored), tmp_path / "store", mirrored))
    second = ModelStore(tmp_path / "store").manifest(KEY, "v0001")
    assert again.sha256 == result.sha256
    assert second.entry_bp == first.entry_bp
    assert second.gate.baseline == first.gate.baseline
    assert second.lineage.fit_end_ms == lineage.fit_end_ms
    assert second.metrics["net_bp"] != first.metrics["net_bp"]


def test_the_manifest_says_how_it_was_chosen_and_judged(trained: tuple[Path, JobResult]) -> None:
    manifest = ModelStore(trained[0]).manifest(KEY, "v0001")
    lineage, spec = manifest.lineage, manifest.lineage.spec
    assert lineage.train_to_ms < lineage.fit_end_ms <= lineage.test_from_ms == lineage.judged_from_ms
    assert lineage.test_from_ms - lineage.fit_end_ms == 59 * market.BAR_MS, (
        "embargo: 12 bars and a 4 h candle, less one"
    )
    assert lineage.judged_to_ms == lineage.data_to_ms
    assert lineage.earlier_verdicts == ()
    assert (spec["hold_rows"], spec["rest_rows"], spec["cooldown_rows"]) == (2, 1, 2)
    assert "|expected| >= entry" in str(spec["trade_rule"])
    assert (spec["max_bin"], spec["embargo_bars"]) == (127, 60)
    assert str(spec["search_validation"]).startswith("mean over 4 purged expanding folds")
    assert (manifest.gate.reused_verdicts, manifest.gate.required_probability) == (0, 0.9)
    assert manifest.gate.baseline in manifest.gate.reason
    assert manifest.metrics["direction_auc"].baseline_name
    assert manifest.metrics["direction_auc"].blocks == pytest.approx(manifest.metrics["rows"].value / 288)  # type: ignore[operator]


def test_a_second_candidate_on_the_same_rows_has_to_reach_more(
    planted_file: Path, planted: CandleColumns, tmp_path: Path
) -> None:
    run_job(job(planted_file, tmp_path, planted))
    run_job(job(planted_file, tmp_path, planted, id="again", seed=8))
    second = ModelStore(tmp_path).manifest(KEY, "v0002")
    first = ModelStore(tmp_path).manifest(KEY, "v0001").lineage
    assert second.lineage.earlier_verdicts == ((first.judged_from_ms, first.judged_to_ms),)
    assert (second.gate.reused_verdicts, second.gate.required_probability) == (1, 0.95)
    assert "1 earlier verdict(s)" in second.gate.reason


def test_without_a_champion_noise_may_serve_as_provisional_only_where_allowed(
    noise_file: Path, noise: CandleColumns, tmp_path: Path
) -> None:
    result = run_job(job(noise_file, tmp_path, noise, allow_provisional=True))
    assert (result.verdict, result.promoted) == ("provisional", True)
    store = ModelStore(tmp_path)
    assert store.champion(KEY).provisional  # type: ignore[union-attr]
    schema = family("lightgbm").schema_hash
    artefact = store.load(KEY, schema_hash=schema)
    assert Serving(allow_provisional=True).prepare(artefact).ref.provisional
    with pytest.raises(ModelError, match="demo and paper only"):
        Serving(allow_provisional=False).prepare(artefact)


def test_what_is_served_is_what_was_judged(trained: tuple[Path, JobResult], planted: CandleColumns) -> None:
    store, result = trained
    kind = family("lightgbm")
    artefact = ModelStore(store).load(KEY, schema_hash=kind.schema_hash)
    forecaster = Serving(allow_provisional=False).prepare(artefact)
    assert forecaster.ref.sha256 == result.sha256
    rows, usable = kind.rows(planted)
    forecasts = np.array([forecaster.forecast(row.tobytes())[:3] for row in rows[usable][-500:]])
    close = planted.close
    ahead = (close[2:] / close[:-2] - 1)[usable[:-2]][-498:]
    assert np.corrcoef(forecasts[:-2, 0][-498:], ahead)[0, 1] > 0.2
    total = forecasts[:, 1] + forecasts[:, 2]
    assert ((total > 0) & (total < 1)).all()


def test_equal_jobs_give_equal_models_and_another_seed_another(
    trained: tuple[Path, JobResult], planted_file: Path, planted: CandleColumns, tmp_path: Path
) -> None:
    _, first = trained
    again = run_job(job(planted_file, tmp_path / "again", planted))
    other = run_job(job(planted_file, tmp_path / "other", planted, seed=8))
    assert again.sha256 == first.sha256
    assert again.metrics == first.metrics
    assert other.sha256 != first.sha256


def test_a_worse_candidate_does_not_replace_the_champion(
    planted_file: Path, planted: CandleColumns, tmp_path: Path
) -> None:
    """Champion trained with enough rounds; the challenger gets one round and sees nothing in it."""
    assert run_job(job(planted_file, tmp_path, planted)).promoted
    later = market.end_ms(planted)
    worse = run_job(job(planted_file, tmp_path, planted, as_of_ms=later, rounds=1, trials=1, id="worse"))
    assert worse.verdict == "refused"
    assert "champion" in worse.reason
    store = ModelStore(tmp_path)
    assert store.champion(KEY).version == "v0001"  # type: ignore[union-attr]
    assert store.manifest(KEY, "v0002").gate.champion == "v0001"


def test_a_better_candidate_replaces_a_provisional_champion(
    planted_file: Path, planted: CandleColumns, noise: CandleColumns, noise_file: Path, tmp_path: Path
) -> None:
    """The champion learnt from noise; the market turned predictable; the challenger proves itself and takes over."""
    assert run_job(job(noise_file, tmp_path, noise, allow_provisional=True)).verdict == "provisional"
    result = run_job(job(planted_file, tmp_path, planted, id="better"))
    assert (result.verdict, result.version, result.champion) == ("promoted", "v0002", "v0002")
    pointer = ModelStore(tmp_path).champion(KEY)
    assert pointer is not None
    assert not pointer.provisional
    assert pointer.previous == "v0001"


def test_the_gate_judges_only_rows_neither_model_has_seen(
    planted_file: Path, planted: CandleColumns, tmp_path: Path
) -> None:
    """The champion was fitted to the end of what the challenger calls its test: nothing is left to judge on."""
    assert run_job(job(planted_file, tmp_path, planted)).promoted
    earlier = market.end_ms(planted) - 13 * 86_400_000
    result = run_job(job(planted_file, tmp_path, planted, as_of_ms=earlier))
    assert result.verdict == "refused"
    assert "new to both" in result.reason
    assert ModelStore(tmp_path).champion(KEY).version == "v0001"  # type: ignore[union-attr]


def test_a_corrupt_champion_is_no_opponent_but_the_baseline_still_is(
    planted_file: Path, planted: CandleColumns, tmp_path: Path
) -> None:
    assert run_job(job(planted_file, tmp_path, planted)).promoted
    (tmp_path / "SOLUSDT" / "lightgbm-5m" / "v0001" / "model.onnx").write_bytes(b"\0" * 100)
    result = run_job(job(planted_file, tmp_path, planted, id="again"))
    assert (result.verdict, result.version) == ("promoted", "v0002")
    assert "cannot be served" in result.reason


@pytest.mark.parametrize(
    ("change", "exit_code", "reason"),
    [
        ({"days": 10}, 65, "warm-up"),
        ({"days": 1}, 65, "at least 1000"),
        ({"model": "nosuch"}, 78, "no model family 'nosuch'"),
        ({"symbol": "../up"}, 65, "cannot be part of a model's name"),
        ({"as_of_ms": 1_000_000_000_000}, 65, "holds no 5m candle"),
        ({"source": ParquetSource(path="/nonexistent/x.parquet")}, 65, "x.parquet"),
        ({"source": RestSource(url="http://127.0.0.1:9")}, 69, "127.0.0.1:9"),
        (
            {"options": {"num_leaves": 1}},
            78,
            "LightGBM does not take these parameters: Check failed: (num_leaves) > (1)",
        ),
        ({"options": {"learning_rate": 0.0}}, 78, "positive learning_rate"),
    ],
)
def test_foreseeable_trouble_is_one_line_with_its_exit_code(
    planted_file: Path, planted: CandleColumns, tmp_path: Path, change: dict[str, Any], exit_code: int, reason: str
) -> None:
    result = run_job(job(planted_file, tmp_path / "store", planted, **change))
    assert (result.verdict, result.exit_code, result.promoted) == ("failed", exit_code, False)
    assert reason in result.reason
    assert "\n" not in result.reason
    assert not list(tmp_path.glob("store/*/*/v*"))


@pytest.mark.parametrize(("still", "where"), [(slice(6_500, None), "validation"), (slice(7_700, None), "test")])
def test_a_market_that_stands_still_in_a_part_is_told_and_nothing_is_stored(
    tmp_path: Path, still: slice, where: str
) -> None:
    moving = market.candles(9_000, momentum=0.6, seed=4)
    columns: dict[str, Any] = {name: getattr(moving, name).copy() for name in ("open", "high", "low", "close")}
    price = moving.close[still.start - 1]
    for column in columns.values():
        column[still] = price
    halted = replace(moving, **columns)
    path = market.write_parquet(tmp_path / "SOLUSDT.parquet", halted)
    result = run_job(job(path, tmp_path / "store", halted))
    assert (result.verdict, result.exit_code) == ("failed", 65)
    assert f"rows of the {where} slice" in result.reason
    assert not list(tmp_path.glob("store/*/*/v*"))


@pytest.mark.parametrize("step", ["load_candles", "tune", "check_parity", "load_forecaster"])
def test_a_failure_at_any_step_leaves_the_champion_serving(
    planted_file: Path, planted: CandleColumns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    assert run_job(job(planted_file, tmp_path, planted)).promoted
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def broken(*_: object, **__: object) -> None:
        raise ModelError("made to fail here") if step != "tune" else ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(pipeline, step, broken)
    result = run_job(job(planted_file, tmp_path, planted, id="second"))
    assert result.verdict == "failed"
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_full_disk_at_the_last_step_is_busy_and_the_champion_stays(
    planted_file: Path, planted: CandleColumns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_job(job(planted_file, tmp_path, planted)).promoted
    monkeypatch.setattr(ModelStore, "add", lambda *_: (_ for _ in ()).throw(BusyError("no space left")))
    result = run_job(job(planted_file, tmp_path, planted, id="second"))
    assert (result.verdict, result.exit_code) == ("failed", 75)
    assert ModelStore(tmp_path).load(KEY).version == "v0001"


def test_a_job_cancelled_while_it_runs_stops_soon_and_stores_nothing(
    planted_file: Path, planted: CandleColumns, tmp_path: Path
) -> None:
    queue = JobQueue(tmp_path / "queue")
    asked = job(planted_file, tmp_path / "store", planted, trials=50, rounds=2_000)
    queue.enqueue(asked)
    done: list[JobResult] = []
    worker = threading.Thread(target=lambda: done.extend(drain(queue)))
    worker.start()
    presently(lambda: (seen := queue.progress(asked.id)) is not None and seen.stage == "tune", 60)
    assert queue.cancel(asked.id)
    worker.join()
    assert [r.verdict for r in done] == ["cancelled"]
    assert not list((tmp_path / "store").glob("*/*/v*"))


def _child(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tradebot.training.runner", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_the_runner_as_a_child_process_takes_a_job_and_reports_on_stderr(
    planted_file: Path, planted: CandleColumns, tmp_path: Path
) -> None:
    queue = JobQueue(tmp_path / "queue")
    asked = job(planted_file, tmp_path / "store", planted)
    queue.enqueue(asked)
    child = _child("--queue", str(tmp_path / "queue"), "--job", asked.id)
    out, err = Work(child).result()
    assert (child.returncode, out) == (0, "")
    assert "tune 1/2" in err
    assert f"{asked.id}: promoted" in err
    result = queue.result(asked.id)
    assert result is not None
    assert result.promoted
    assert queue.progress(asked.id).stage == "done"  # type: ignore[union-attr]
    assert ModelStore(tmp_path / "store").load(KEY).manifest.sha256 == result.sha256


@pytest.mark.parametrize(
    ("number", "exit_code", "state"), [(signal.SIGINT, 130, "done"), (signal.SIGTERM, 143, "pending")]
)
def test_a_runner_stopped_by_a_signal_leaves_nothing_half_written(
    planted_file: Path, planted: CandleColumns, tmp_path: Path, number: int, exit_code: int, state: str
) -> None:
    queue = JobQueue(tmp_path / "queue")
    asked = job(planted_file, tmp_path / "store", planted, trials=500, rounds=2_000)
    queue.enqueue(asked)
    child = _child("--queue", str(tmp_path / "queue"))
    work = Work(child)
    work.until(lambda: (seen := queue.progress(asked.id)) is not None and seen.stage == "tune")
    child.send_signal(number)
    _, err = work.result()
    assert child.returncode == exit_code
    assert "Traceback" not in err
    assert queue.state(asked.id) == state
    assert not list((tmp_path / "store").glob("*/*/*"))


def test_a_queue_that_is_no_folder_and_an_unknown_job_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)
    (tmp_path / "file").write_text("not a folder")
    assert main(["--queue", str(tmp_path / "file")]) == 65
    assert main(["--queue", str(tmp_path / "queue"), "--job", "nobody"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert "nobody: is not pending" in lines[1]


def test_candles_come_from_rest_as_of_the_job_s_moment(
    planted: CandleColumns, planted_file: Path, tmp_path: Path
) -> None:
    """A real server that has newer candles too: the job must not see them."""
    as_of = market.end_ms(planted) - 3 * 86_400_000 + 1
    ready = threading.Event()
    stop = asyncio.Event()
    running: list[tuple[int, asyncio.AbstractEventLoop]] = []

    async def page(request: web.Request) -> web.Response:
        if request.query["symbol"] != "SOLUSDT":
            return web.json_response({"code": "40034", "msg": "no such symbol", "data": None}, status=400)
        start, end, limit = (int(request.query[name]) for name in ("startTime", "endTime", "limit"))
        own = request.query["symbol"] == KEY.symbol  # nothing is known of BTC and ETH, as beside the file
        keep = np.flatnonzero(own & (planted.open_ms >= start) & (planted.open_ms < end))[-limit:]
        columns = (planted.open, planted.high, planted.low, planted.close, planted.volume)
        data = [[str(planted.open_ms[i]), *(repr(float(c[i])) for c in columns), "0"] for i in keep]
        return web.json_response({"code": "00000", "msg": "success", "requestTime": 1, "data": data})

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/api/v2/mix/market/candles", page)
        app.router.add_get("/api/v2/mix/market/history-candles", page)
        app.router.add_get("/api/v2/mix/market/history-fund-rate", lambda _: _json([]))
        app.router.add_get(
            "/api/v2/public/time",
            lambda _: _json({"serverTime": str(market.end_ms(planted))}),
        )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        running.append((runner.addresses[0][1], asyncio.get_running_loop()))
        ready.set()
        await stop.wait()
        await runner.cleanup()

    async def _json(data: object) -> web.Response:
        return web.json_response({"code": "00000", "msg": "success", "requestTime": 1, "data": data})

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    port, loop = running[0]
    try:
        source = RestSource(url=f"http://127.0.0.1:{port}")
        over_rest = run_job(job(planted_file, tmp_path / "rest", planted, source=source, as_of_ms=as_of))
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
    from_file = run_job(job(planted_file, tmp_path / "file", planted, as_of_ms=as_of))
    assert over_rest.sha256 == from_file.sha256 != ""
    lineage = ModelStore(tmp_path / "rest").manifest(KEY, "v0001").lineage
    assert as_of - 300_000 < lineage.data_to_ms <= as_of


def test_files_of_a_version_are_readable_by_people(trained: tuple[Path, JobResult]) -> None:
    store, _ = trained
    folder = store / "SOLUSDT" / "lightgbm-5m" / "v0001"
    assert sorted(p.name for p in folder.iterdir()) == [
        "MANIFEST.sha256",
        "baselines.json",
        "direction.txt",
        "features.txt",
        "figures",
        "history.json",
        "manifest.json",
        "metrics.json",
        "model.onnx",
        "model.txt",
    ]
    assert folder.joinpath("features.txt").read_text().splitlines() == list(family("lightgbm").features)
    assert json.loads(folder.joinpath("metrics.json").read_text())["direction_auc"]["value"] > 0.6
    assert folder.joinpath("model.txt").read_text().startswith("tree\n")
    manifest = json.loads(folder.joinpath("manifest.json").read_text())
    assert manifest["lineage"]["fit_end_ms"] <= manifest["lineage"]["test_from_ms"]
    assert manifest["golden"]["count"] >= 8
    history = json.loads(folder.joinpath("history.json").read_text())
    best = min(history["rounds"], key=lambda one: one["validation_loss"])
    assert (history["counts"], history["kept"]) == ("rounds", best["number"])
    assert len(history["trials"]) == 2
