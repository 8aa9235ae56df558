"""Training models by hand, and the queue that the daemon and `tradebot retrain` share."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli import training_options
from tradebot.cli.bar import Bar, eta
from tradebot.cli.log import quiet
from tradebot.cli.options import (
    ConfigOption,
    JsonOption,
    StateOption,
    SymbolsOption,
    nothing_yet,
    settings_of,
    state_of,
)
from tradebot.cli.output import json_line, line, progress, table
from tradebot.cli.times import iso, parse_time, short_span, wall_ms
from tradebot.errors import DataError, UsageError

if TYPE_CHECKING:
    from tradebot.jobs import CandleSource, JobProgress, JobQueue, JobResult, JobState
    from tradebot.settings import Settings

app = typer.Typer(help="Retrain jobs.", no_args_is_help=True, rich_markup_mode=None)

WATCH_S = 0.5


def retrain(
    symbols: SymbolsOption = None,
    every_symbol: Annotated[bool, typer.Option("--all", help="Every symbol of the settings.")] = False,
    model: training_options.ModelOption = None,
    data: training_options.SourceOption = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="Use nothing later (default: now, or the data's end).")
    ] = None,
    days: training_options.DaysOption = None,
    test_size: training_options.TestSizeOption = None,
    epochs: training_options.EpochsOption = None,
    lr: training_options.RateOption = None,
    batch_size: training_options.BatchOption = None,
    trials: training_options.TrialsOption = None,
    rounds: training_options.RoundsOption = None,
    threads: training_options.ThreadsOption = None,
    seed: training_options.TrainSeedOption = None,
    device: training_options.DeviceOption = None,
    set_: training_options.SetOption = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Train here and report, or leave the job to a runner.")
    ] = True,
    as_json: JsonOption = False,
    out: training_options.OutOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Train a model, judge it against the champion on untouched rows, promote it if it is better.

    The same job as the daemon's schedule asks for. Exit code 0: it serves now, promoted or (in demo and paper, where
    no proven model serves) provisional. Exit code 3: the gate did not pass it, the champion stays.
    """
    overrides = training_options.settings_overrides(
        days=days, test_size=test_size, epochs=epochs, lr=lr, batch_size=batch_size, trials=trials, rounds=rounds,
        threads=threads, seed=seed, device=device, out=out, state=state,
    )  # fmt: skip
    overrides |= {"retrain.model": model, "retrain.models": None if model is None else [model]}
    settings = settings_of(config, overrides).settings
    quiet(settings.mode)
    wanted = list(symbols or (settings.symbols if every_symbol or len(settings.symbols) == 1 else ()))
    if not wanted:
        raise UsageError(f"name what to train: --symbol {settings.symbols[0]}, or --all")
    if data is not None and data.is_file() and len(wanted) > 1:
        raise UsageError("--data FILE is one symbol's candles; name one --symbol, or give a folder")
    results = train(settings, wanted, data, as_of, training_options.pairs_of(set_), wait=wait, as_json=as_json)
    raise typer.Exit(max((result.exit_code for result in results), default=0))


def train(
    settings: Settings,
    symbols: list[str],
    data: Path | None,
    as_of: str | None,
    options: Mapping[str, float | int | str | bool],
    *,
    wait: bool,
    as_json: bool,
) -> list[JobResult]:
    """Ask for one job a symbol and model and, with ``wait``, run or follow each of them to its end."""
    from tradebot.daemon.retraining import RetrainPlan
    from tradebot.jobs import JobQueue, ParquetSource, RestSource
    from tradebot.market.candle import INTERVAL_MS, interval_start
    from tradebot.ops.files import make_private

    source: CandleSource
    if data is None:
        source, now_ms = RestSource(url=settings.exchange.rest_url), wall_ms()
    else:
        asked = RetrainPlan.of(settings)
        bars = {asked.key(symbols[0], name).interval for name in asked.train}
        source = ParquetSource(path=os.path.abspath(data))
        now_ms = max(training_options.end_of(data, symbols, interval) for interval in bars)
    moment = parse_time(as_of, now_ms) if as_of is not None else now_ms
    moment = interval_start(moment, INTERVAL_MS[settings.trading.interval])
    plan = RetrainPlan.of(settings, source)
    if options:
        plan = dataclasses.replace(plan, options=training_options.set_of(settings, plan.options, options))
    jobs = [plan.job(symbol, moment, model=model) for symbol, model in product(symbols, plan.train)]
    for job in jobs[: len(plan.train)] if wait or options else ():
        training_options.check_asked(job)
    make_private(settings.state_dir)
    queue = JobQueue(settings.jobs_dir)
    results = []
    for job in jobs:
        new = queue.enqueue(job)
        if not wait:
            if as_json:
                json_line({"id": job.id, "symbol": job.symbol, "state": queue.state(job.id)})
            else:
                line(job.id)
            progress(
                "asked for; a runner will take it ('tradebot jobs run --drain')" if new else "was asked for before"
            )
            continue
        if not new and queue.result(job.id) is not None:
            progress(f"{job.id}: this job has run before (another --seed or --as-of is another job); its result:")
        result = finish(queue, job.id)
        results.append(result)
        report(result, as_json)
    return results


def finish(queue: JobQueue, job_id: str) -> JobResult:
    """Run a job here, or follow whoever has taken it, until its result is there."""
    from tradebot.training.runner import drain

    with Steps() as shown, _terminable():
        drain(queue, job_id, shown)
        while (result := queue.result(job_id)) is None:
            step = queue.progress(job_id)
            if step is not None:
                shown(step)
            if queue.state(job_id) is None:
                raise DataError(f"{job_id}: the job has disappeared from {queue.root}")
            time.sleep(WATCH_S)
            drain(queue, job_id, shown)
    return result


class Steps:
    """Progress of jobs on stderr: a bar on a terminal, elsewhere each new step as a line. Use as a context."""

    def __init__(self) -> None:
        self._last: tuple[str, int, str] | None = None
        self._bar = Bar()

    def __enter__(self) -> Steps:
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def __call__(self, step: JobProgress) -> None:
        now = (step.stage, step.done, step.message)
        if now == self._last:
            return
        self._last = now
        if self._bar.shown:
            self._bar.show(step.stage, step.done, step.total, step.eta_s, step.message)
            return
        count = f" {step.done}/{step.total}" if step.total > 1 else ""
        left = f", {eta(step.eta_s)}" if step.eta_s is not None else ""
        progress(f"{step.stage}{count}  {step.message}  ({short_span(step.elapsed_s)}{left})")


class _terminable:
    """SIGTERM inside the block ends the process as an exit, so that a claimed job goes back to the queue."""

    def __enter__(self) -> None:
        self._before: Any = signal.signal(signal.SIGTERM, self._exit)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _exit(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)


def report(result: JobResult, as_json: bool) -> None:
    """A finished job on stdout."""
    if as_json:
        json_line(result)
        return
    version = f" {result.version}" if result.version else ""
    line(f"{result.symbol} {result.model}{version}: {result.verdict} ({short_span(result.took_s)})")
    line(f"  {result.reason}")
    for name, metric in sorted(result.metrics.items()):
        if metric.value is None:
            continue
        spread = (
            f"  [{metric.low:.4g}, {metric.high:.4g}]" if metric.low is not None and metric.high is not None else ""
        )
        baseline = f"  baseline {metric.baseline:.4g}" if metric.baseline is not None else ""
        line(f"  {name} {metric.value:.4g}{' ' + metric.unit if metric.unit else ''}{spread}{baseline}")


@app.command("run")
def run_jobs(
    drain_all: Annotated[bool, typer.Option("--drain", help="Run every pending job, then end.")] = False,
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="Run only this one.")] = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Run pending jobs in this process (what tradebot-retrain.service does)."""
    if drain_all == (job is not None):
        raise UsageError("say which jobs: --drain for all pending ones, or --job ID")
    queue = _queue(state, config)
    if queue is None:
        if job is not None:
            raise DataError(f"{job}: no pending job of that id; no job has been asked for")
        progress("no pending job")
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    quiet()
    from tradebot.training.runner import drain

    with Steps() as shown, _terminable():
        results = drain(queue, job, shown)
    for result in results:
        report(result, as_json)
    if not results:
        if job is not None:
            raise DataError(f"{job}: no pending job of that id in {queue.root}")
        progress("no pending job")
    raise typer.Exit(max((result.exit_code for result in results), default=0))


@app.command("ls")
def list_jobs(as_json: JsonOption = False, state: StateOption = None, config: ConfigOption = None) -> None:
    """Every job: pending, running and done."""
    queue = _known_queue(state, config)
    states: tuple[JobState, ...] = ("done", "running", "pending")
    rows = [_row(queue, name, job_id) for name in states for job_id in queue.ids(name)]
    rows.sort(key=lambda row: str(row["id"]))
    if as_json:
        for row in rows:
            json_line(row)
        return
    table(
        ["as of (UTC)", "symbol", "model", "state", "version", "what"],
        [(row["as_of"], row["symbol"], row["model"], row["state"], row["version"], row["what"]) for row in rows],
    )


def _row(queue: JobQueue, state: str, job_id: str) -> dict[str, Any]:
    moment = job_id.partition("-")[0]
    as_of = iso(int(moment)) if moment.isdigit() else ""
    row: dict[str, Any] = {
        "id": job_id, "as_of": as_of, "symbol": "", "model": "", "state": state, "version": "", "what": ""
    }  # fmt: skip
    try:
        result = queue.result(job_id)
        asked = result if result is not None else queue.job(job_id)
    except DataError as error:
        return {**row, "state": "damaged", "what": str(error)}
    row |= {"symbol": asked.symbol, "model": asked.model}
    if result is not None:
        row |= {"state": result.verdict, "version": result.version, "what": result.reason}
    elif state == "running":
        step = queue.progress(job_id)
        if step is not None:
            left = f", about {short_span(step.eta_s)} left" if step.eta_s is not None else ""
            row["what"] = f"{step.stage} {step.done}/{step.total} {step.message}{left}"
    return row


@app.command("show")
def show_job(
    job_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """One job with its result and metrics."""
    queue = _known_queue(state, config)
    found = queue.state(job_id)
    if found is None:
        raise DataError(f"{queue.root}: no job {job_id!r} (see 'tradebot jobs ls')")
    result = queue.result(job_id)
    if result is not None:
        report(result, as_json)
        return
    row = _row(queue, found, job_id)
    if as_json:
        json_line(row)
    else:
        line(f"{row['symbol']} {row['model']}: {row['state']} {row['what']}".rstrip())


@app.command("cancel")
def cancel_job(
    job_id: Annotated[str, typer.Argument(metavar="ID")], state: StateOption = None, config: ConfigOption = None
) -> None:
    """Stop a job: a pending one at once, a running one at its next step."""
    queue = _known_queue(state, config)
    if not queue.cancel(job_id):
        raise DataError(f"{queue.root}: no unfinished job {job_id!r} (see 'tradebot jobs ls')")
    line(f"{job_id}: {'cancelled' if queue.state(job_id) == 'done' else 'asked to stop'}")


def _queue(state: Path | None, config: Path | None) -> JobQueue | None:
    """The queue, or None where nothing was ever asked for: looking at it must not make its folders."""
    from tradebot.jobs import JobQueue

    folder = state / "jobs" if state is not None else settings_of(config).settings.jobs_dir
    return JobQueue(folder) if folder.is_dir() else None


def _known_queue(state: Path | None, config: Path | None) -> JobQueue:
    """The queue. Raises DataError when no job was ever asked for."""
    queue = _queue(state, config)
    states: tuple[JobState, ...] = ("pending", "running", "done")
    if queue is None or not any(queue.ids(name) for name in states):
        folder = state_of(state, config)
        raise nothing_yet("no job has been asked for yet", folder, "jobs", "'tradebot retrain' asks for one")
    return queue
