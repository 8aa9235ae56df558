"""One case in a process of its own: ``python -m benchmarks.results.run_case CASE.json OUT.json --data DIR``."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.results.cases import BAR_MS, CUT_MS, Case
from benchmarks.results.outcome import Outcome, code_sha256, data_sha256, keep
from tradebot.data.files import read_candles
from tradebot.errors import TradebotError
from tradebot.forecasters.base import FAMILIES, family
from tradebot.jobs import JobProgress, ParquetSource, RetrainJob
from tradebot.market.candle import DAY_MS
from tradebot.registry import Manifest, Metric, ModelKey, ModelStore
from tradebot.serving.forecaster import load_forecaster
from tradebot.training.candles import load_candles
from tradebot.training.dataset import build_dataset
from tradebot.training.runner import progress_line, run_job

THREADS = 2
LATENCY_RUNS = 300


def run(case: Case, data: Path, work: Path) -> Outcome:
    """What ``case`` comes to. Foreseeable failures are an outcome."""
    about = {"case": case, "code": code_sha256(case.family), "data_sha256": data_sha256(case, data)}
    if case.family not in FAMILIES:
        return Outcome(**about, status="absent", reason=f"this release has no family {case.family!r}")
    if not (data / case.file).is_file():
        return Outcome(**about, status="absent", reason=f"{data / case.file} is not there")
    folder = work / "cases" / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return Outcome(**about, status="done", **WAYS[case.way](case, data, folder))
    except (TradebotError, Wrong) as error:
        return Outcome(**about, status="failed", reason=str(error))


class Wrong(Exception):
    """A case that cannot be what it is meant to be."""


def _trained(case: Case, data: Path, folder: Path) -> dict[str, object]:
    """One version, fitted before the cut and measured after it by the pipeline itself."""
    path = data / case.file
    end_ms = read_candles(path).end_ms
    job = RetrainJob(
        id="results",
        symbol=case.symbol,
        model=case.family,
        as_of_ms=end_ms,
        declared_ms=0,
        days=case.days,
        source=ParquetSource(path=str(path.resolve())),
        store=str(folder / "store"),
        seed=case.seed,
        trials=case.trials,
        rounds=case.rounds,
        epochs=case.rounds if _counts(case) == "epochs" else None,
        threads=THREADS,
        options=case.options,
        params=case.params,
        interval=case.interval,
    )
    job = msgspec.structs.replace(job, test_share=_share_after_the_cut(job))
    result = run_job(job, _tell)
    if not result.version:
        raise Wrong(result.reason)
    store, key = ModelStore(folder / "store"), ModelKey(case.symbol, case.family, case.interval)
    manifest = store.manifest(key, result.version)
    _check_times(manifest, BAR_MS[case.interval])
    lineage = manifest.lineage
    served = _served(case, path, store, key, result.version) if case.strategy else {}
    return {
        "metrics": manifest.metrics | served,
        "rows": round(manifest.metrics["rows"].value or 0),
        "from_ms": lineage.test_from_ms,
        "to_ms": lineage.data_to_ms,
        "train_s": result.took_s,
        "latency_us": _latency_us(store, key, result.version),
        "verdict": manifest.gate.verdict,
        "verdict_reason": manifest.gate.reason,
        "absent": str(lineage.spec.get("absent", "")),
    }


def _counts(case: Case) -> str:
    return family(case.family, case.options, case.interval).counts


def _served(case: Case, path: Path, store: ModelStore, key: ModelKey, version: str) -> dict[str, Metric]:
    """What a strategy makes of the version in a back-test of every day after the cut: the bot as it would have run."""
    store.promote(key, version, who="results", why="to be measured", verdict="", at_ms=0)
    days = (read_candles(path).end_ms - CUT_MS) // DAY_MS
    command = ["backtest", "--data", str(path), "--symbol", case.symbol, "--for", f"{days}d", "--json",
               "--strategy", case.strategy, "--model-store", str(store.root)]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "tradebot", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(f"backtest: {(done.stderr.strip().splitlines() or [str(done.returncode)])[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["from"] < CUT_MS:
        raise Wrong(f"backtest: begins at {found['from']}, before the cut")
    net, before = float(found["net"]), float(found["equity"]) - float(found["net"])
    return {
        "strategy_net": Metric(value=net / before, unit="share"),
        "strategy_trades": Metric(value=float(found["trades"]), unit="count"),
        "strategy_forecasts": Metric(value=float(found["forecasts"]), unit="count"),
    }


def _share_after_the_cut(job: RetrainJob) -> float:
    """The share of the rows' time that lies after the cut, so that the test slice begins there."""
    kind = family(job.model, job.options, job.interval)
    candles = load_candles(job.source, job.symbol, kind.interval, as_of_ms=job.as_of_ms, days=job.days)
    sample = build_dataset(kind, candles).sample
    first, last = int(sample.at_ms[0]), int(sample.label_end_ms[-1])
    if not first < CUT_MS < last:
        raise Wrong("the candles do not reach from before the cut to after it")
    return (last - CUT_MS) / (last - first)


def _check_times(manifest: Manifest, bar_ms: int) -> None:
    """That the split lies where this page says it does."""
    lineage = manifest.lineage
    if abs(lineage.test_from_ms - CUT_MS) > bar_ms or lineage.fit_end_ms > CUT_MS:
        raise Wrong(f"fitted until {lineage.fit_end_ms}, measured from {lineage.test_from_ms}, the cut is {CUT_MS}")


def _latency_us(store: ModelStore, key: ModelKey, version: str) -> float:
    """Median time of one forecast as the daemon makes it."""
    artefact = store.load(key, version)
    forecaster = load_forecaster(artefact)
    golden = artefact.manifest.golden
    row = golden.rows[: len(golden.rows) // golden.count]
    times = []
    for _ in range(LATENCY_RUNS):
        start = time.perf_counter()
        forecaster.forecast(row)
        times.append(time.perf_counter() - start)
    return sorted(times)[LATENCY_RUNS // 2] * 1e6


def _walked(case: Case, data: Path, folder: Path) -> dict[str, object]:
    """A walk: 30 days to learn from, 7 to forecast, and on; figures of the forecast days put together."""
    try:
        from tradebot.training.walk.plan import WalkPlan
        from tradebot.training.walk.results import result_of
        from tradebot.training.walk.run import walk
    except ModuleNotFoundError:
        raise Wrong("walk-forwards of forecasters are not in this release") from None
    path = data / case.file
    plan = WalkPlan(
        model=case.family,
        symbol=case.symbol,
        source=ParquetSource(path=str(path.resolve())),
        as_of_ms=read_candles(path).end_ms,
        interval=case.interval,
        options=case.options,
        params=case.params,
        days=case.days,
        rule=case.rule,
        trials=case.trials,
        rounds=case.rounds,
        seed=case.seed,
        threads=THREADS,
    )
    started = time.monotonic()
    done = walk(plan, folder / "walk", on_window=lambda window, over: print(f"  {window.number} {over}", flush=True))
    result, _ = result_of(plan, done, tried=case.tried)
    figures = {
        name: Metric(value=found.value, low=found.low, high=found.high) for name, found in result.figures.items()
    }
    figures["sharpe"] = msgspec.structs.replace(
        figures["sharpe"], baseline=result.hold_sharpe, baseline_name="buying and holding"
    )
    figures |= {
        "trades": Metric(value=float(result.trades)),
        "windows": Metric(value=float(result.windows)),
        "deflated_sharpe": Metric(value=result.deflated_sharpe),
    }
    return {
        "metrics": figures,
        "rows": len(done.said.at_ms),
        "from_ms": result.from_ms,
        "to_ms": result.to_ms,
        "train_s": time.monotonic() - started,
    }


def _compared(case: Case, data: Path, folder: Path) -> dict[str, object]:
    """The published recipe scored by its own shuffled split, and scored on the newest rows, which decided nothing."""
    try:
        from tradebot.forecasters.lightgbm_compat import compare
    except ModuleNotFoundError:
        raise Wrong("the published recipe is not in this release") from None
    path = data / case.file
    end_ms = read_candles(path).end_ms
    source = ParquetSource(path=str(path.resolve()))
    candles = load_candles(source, case.symbol, case.interval, as_of_ms=end_ms, days=case.days)
    started = time.monotonic()
    found = compare(
        candles, horizon=2, threshold=0.002, trials=case.trials, rounds=case.rounds, seed=case.seed, threads=THREADS,
        on_trial=lambda done, total: print(f"  {done}/{total}", flush=True),
    )  # fmt: skip
    figures = {}
    for name, scores in (("shuffled", found.shuffled), ("honest", found.chronological)):
        figures[f"{name}_accuracy"] = Metric(value=scores.accuracy, unit="share")
        figures[f"{name}_f1"] = Metric(value=scores.f1, unit="share")
        figures[f"{name}_auc"] = Metric(value=scores.auc)
        figures[f"{name}_rows"] = Metric(value=float(scores.rows), unit="count")
    return {
        "metrics": figures,
        "rows": found.chronological.rows,
        "from_ms": int(candles.open_ms[-len(candles) // 5]),
        "to_ms": end_ms,
        "train_s": time.monotonic() - started,
    }


WAYS: dict[str, Callable[[Case, Path, Path], dict[str, object]]] = {
    "train": _trained,
    "walk": _walked,
    "compat": _compared,
}


def _tell(step: JobProgress) -> None:
    print(f"  {progress_line(step)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="one case of the results page")
    parser.add_argument("case", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    case = msgspec.json.decode(asked.case.read_bytes(), type=Case)
    keep(asked.out, run(case, asked.data, asked.work))


if __name__ == "__main__":
    main()
