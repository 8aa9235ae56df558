"""``tradebot train``: one family, many symbols, several processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.cli import training_options
from tradebot.cli.bar import Bar, eta
from tradebot.cli.found import own_file, unrecorded
from tradebot.cli.log import quiet
from tradebot.cli.options import ConfigOption, JsonOption, StateOption, SymbolsOption, settings_of
from tradebot.cli.output import json_line, line, progress, table
from tradebot.cli.stopping import stoppable
from tradebot.cli.times import iso, parse_time, short_span, wall_ms
from tradebot.errors import DataError, TradebotError, UsageError

if TYPE_CHECKING:
    from tradebot.jobs import JobProgress, JobQueue, JobResult, RetrainJob
    from tradebot.settings import Settings
    from tradebot.training.many import Ended, TrainPlan

WORK = ".training"
"""Folder of the model store in which an unfinished training is kept."""
STILL_S = 30.0
"""Seconds after which the same stage is told again where there is no terminal."""
PLAN = "plan.json"


def train(
    symbols: SymbolsOption = None,
    every_symbol: Annotated[
        bool, typer.Option("--all", help="Every symbol of the settings; with --data every one that has candles there.")
    ] = False,
    symbols_file: Annotated[
        Path | None, typer.Option("--symbols-file", metavar="FILE", help="A candidates.txt, or a symbol on each line.")
    ] = None,
    model: training_options.ModelOption = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=64, help="Worker processes.")] = 1,
    list_only: Annotated[bool, typer.Option("--list-only", help="Only say what would be trained.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the last one: what ended stays, what failed is tried again."),
    ] = False,
    transfer: Annotated[
        bool,
        typer.Option("--transfer", help="Only compare one model of all symbols with one of each; nothing is stored."),
    ] = False,
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
    data: training_options.SourceOption = None,
    out: training_options.OutOption = None,
    set_: training_options.SetOption = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Train a family on many symbols: data, purged splits, search, fit, honest figures, ONNX, gate, store.

    One bad symbol never stops the rest. training_summary.json and .csv in the model store say what became of each, and
    of those that were trained before.
    Exit code 0: all serve now; 3: a gate refused one; otherwise that of the worst failure, 130 when stopped.
    """
    overrides = training_options.settings_overrides(
        days=days, test_size=test_size, epochs=epochs, lr=lr, batch_size=batch_size, trials=trials, rounds=rounds,
        threads=threads, seed=seed, device=device, out=out, state=state,
    )  # fmt: skip
    settings = settings_of(config, overrides).settings
    quiet(settings.mode)
    from tradebot.ops.files import make_private
    from tradebot.registry.durable import locked

    if transfer and (resume or data is None):
        raise UsageError("--transfer compares on recorded candles, from the start: give --data, and no --resume")
    work = settings.model_store / WORK
    plan = _unfinished(work) if resume else None
    if plan is None:
        if resume:
            progress(f"{settings.model_store}: there is no training to go on with; starting one")
        wanted = _symbols(settings, symbols, every_symbol, symbols_file, data)
        if transfer and len(wanted) < 2:
            raise UsageError(
                "--transfer compares one model of all symbols with one of each: give --all or more symbols"
            )
        options = training_options.pairs_of(set_)
        plan = _plan(settings, wanted, model or settings.retrain.model, data, as_of, options, work)
        training_options.check_asked(plan.jobs[0])
        resume = False
    if list_only:
        _list(plan, as_json)
        return
    if data is not None and not resume:
        for job in plan.jobs:
            if told := own_file(data, job.symbol, plan.interval, job.as_of_ms):
                progress(told)
    if transfer:
        from tradebot.cli.transfer import compare_transfer

        training_options.say_unused(
            "--transfer takes the family's defaults in one process",
            trials=trials, out=out, parallel=parallel if parallel > 1 else None,
        )  # fmt: skip
        compare_transfer(plan, as_json)
        return
    if resume:
        until = iso(plan.jobs[0].as_of_ms)
        progress(f"going on with the training on candles up to {until}; without --resume newer ones are used")
    make_private(work)
    with locked(work / "lock", wait_s=0.0, what=f"the training in {settings.model_store}"):
        ended = _run(plan, work, parallel, anew=not resume)
        code = _report(plan, ended, settings.model_store, as_json)
    raise typer.Exit(code)


def _run(plan: TrainPlan, work: Path, parallel: int, *, anew: bool) -> Ended:
    """Download, train, and leave behind what ``--resume`` needs."""
    import msgspec

    from tradebot.jobs import JobQueue
    from tradebot.ops.files import write_atomic
    from tradebot.training.many import ask_again, run_all

    if anew:
        for folder in ("queue", "candles"):
            shutil.rmtree(work / folder, ignore_errors=True)
    write_atomic(work / PLAN, msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")
    queue = JobQueue(work / "queue")
    kept = ask_again(queue, plan.jobs)
    if kept:
        progress(f"{kept} of {len(plan.jobs)} symbols are done already")
    with stoppable() as stopped, Shown() as shown:
        if plan.url:
            _download(plan, queue, work, shown, stopped)
        return run_all(queue, plan.jobs, workers=parallel, watcher=shown, stop=stopped)


def _download(plan: TrainPlan, queue: JobQueue, work: Path, shown: Shown, stop: Callable[[], bool]) -> None:
    """Candles of what is to be trained, into files. A symbol that cannot be had is closed with the reason."""
    from tradebot.market.candle import DAY_MS, INTERVAL_MS, interval_start
    from tradebot.training.download import download
    from tradebot.training.runner import closed

    todo = {job.symbol: job for job in plan.jobs if queue.state(job.id) != "done"}
    if not todo:
        return
    job = plan.jobs[0]
    end_ms = interval_start(job.as_of_ms, INTERVAL_MS[plan.interval])
    start_ms = end_ms - job.days * DAY_MS
    folder = work / "candles"
    failed = download(plan.url, list(todo), plan.interval, start_ms, end_ms, folder, shown.downloaded, stop)
    for symbol, error in failed.items():
        claim = queue.claim(todo[symbol].id)
        if claim is not None:
            with claim:
                claim.finish(closed(claim.job, "failed", str(error), error.exit_code, time.monotonic()))


def _symbols(
    settings: Settings, symbols: list[str] | None, every: bool, listed: Path | None, data: Path | None
) -> list[str]:
    if sum((bool(symbols), every, listed is not None)) > 1:
        raise UsageError("--symbol, --all and --symbols-file: give one of them")
    if symbols:
        return list(dict.fromkeys(symbols))
    if listed is not None:
        return _listed(listed)
    if every and data is not None and data.is_dir():
        from tradebot.training import source_files, source_store

        found = source_store.symbols_in(data) if source_store.is_store(data) else source_files.symbols_in(data)
        if not found:
            raise DataError(f"{data}: holds no candles of any symbol")
        return found
    if every or len(settings.symbols) == 1:
        return list(settings.symbols)
    raise UsageError(f"name what to train: --symbol {settings.symbols[0]}, --all or --symbols-file FILE")


def _listed(path: Path) -> list[str]:
    from tradebot.data.candidates import read_candidates

    try:
        words = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        words = []
    plain = [word[0] for word in words if word and not word[0].startswith("#")]
    if plain and all(len(word) == 1 for word in words if word and not word[0].startswith("#")):
        return list(dict.fromkeys(plain))
    return [one.symbol for one in read_candidates(path)]


def _plan(
    settings: Settings,
    symbols: Sequence[str],
    model: str,
    data: Path | None,
    as_of: str | None,
    options: dict[str, float | int | str | bool],
    work: Path,
) -> TrainPlan:
    import msgspec

    from tradebot.daemon.retraining import RetrainPlan
    from tradebot.forecasters.base import family
    from tradebot.jobs import ParquetSource
    from tradebot.market.candle import INTERVAL_MS, interval_start
    from tradebot.registry import ModelKey
    from tradebot.training.many import TrainPlan

    name, interval = training_options.name_and_interval(model)
    kind = family(name, {}, interval)
    for symbol in symbols:
        ModelKey(symbol, name, kind.interval)  # an impossible name is told before anything is read
    if data is None:
        now_ms, source, url = wall_ms(), work / "candles", settings.exchange.rest_url
    elif not data.exists():
        raise UsageError(f"--data {data}: there is no such file or folder")
    elif data.is_file() and len(symbols) > 1:
        raise UsageError("--data FILE is one symbol's candles; name one --symbol, or give a folder")
    else:
        now_ms, source, url = wall_ms(), data, ""
        with contextlib.suppress(DataError):  # candles of none can be read: each symbol says why by itself
            now_ms = training_options.end_of(data, symbols, kind.interval)
    moment = interval_start(parse_time(as_of, now_ms) if as_of else now_ms, INTERVAL_MS[kind.interval])
    asked = RetrainPlan.of(settings, ParquetSource(path=os.path.abspath(source)))
    jobs = []
    for symbol in symbols:
        job = asked.job(symbol, moment, model=f"{name}-{kind.interval}")
        mine = {**job.options, **options}
        jobs.append(msgspec.structs.replace(job, id=f"{symbol}-{name}-{kind.interval}", options=mine))
    return TrainPlan(interval=kind.interval, url=url, jobs=jobs)


def _unfinished(work: Path) -> TrainPlan | None:
    """The training that was begun last, or None. Raises DataError when it cannot be read."""
    import msgspec

    from tradebot.training.many import TrainPlan

    try:
        return msgspec.json.decode((work / PLAN).read_bytes(), type=TrainPlan)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{work / PLAN}: cannot be read ({error}); train without --resume") from error


def _list(plan: TrainPlan, as_json: bool) -> None:
    for job in plan.jobs:
        if as_json:
            json_line({"symbol": job.symbol, "model": job.model, "interval": plan.interval, "as_of": iso(job.as_of_ms),
                       "days": job.days, "options": job.options, "store": job.store})  # fmt: skip
        else:
            line(f"{job.symbol} {job.model}-{plan.interval}, {job.days} days before {iso(job.as_of_ms)}")


def _report(plan: TrainPlan, ended: Ended, store: Path, as_json: bool) -> int:
    """The summary, in files and on stdout; gives the exit code."""
    from tradebot.training.summary import summarise, write_summary

    summary = summarise(plan.jobs, ended.results, ended.why_not, plan.interval, wall_ms())
    code = max([ended.exit_code, *(result.exit_code for result in ended.results.values())])
    try:
        write_summary(summary, store)
    except TradebotError as error:
        progress(str(error))
        code = max(code, error.exit_code)
    rows = summary.symbols.values()
    if as_json:
        for row in rows:
            json_line(row)
        json_line({"model": summary.model, "interval": summary.interval, "as_of": iso(summary.as_of_ms),
                   "counts": summary.counts, "exit_code": code})  # fmt: skip
        return code
    table(
        ["symbol", "status", "version", "code", "took", "reason"],
        [(r.symbol, r.status, r.version, r.exit_code, short_span(r.took_s), r.reason) for r in rows],
        right=(3,),
    )
    counts = ", ".join(f"{count} {status}" for status, count in summary.counts.items())
    read = any(result.verdict in ("promoted", "provisional", "refused") for result in ended.results.values())
    line(f"{counts}; candles up to {iso(summary.as_of_ms)} UTC" if read else counts)
    if ended.why_not:
        progress(ended.why_not)
    return code


class Shown:
    """Progress of many symbols on stderr: a bar on a terminal, elsewhere a line for each symbol that ends, and one for
    each stage of one under way, again after ``STILL_S``. What is said of a symbol's data stays on a terminal too."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._bar = Bar()
        self._clock = clock
        self._told: dict[str, tuple[str, float]] = {}
        self._noted: set[tuple[str, str]] = set()

    def __enter__(self) -> Shown:
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def finished(self, job: RetrainJob, result: JobResult, done: int, total: int, eta_s: float | None) -> None:
        """A symbol has ended."""
        left = "" if eta_s is None else f", {eta(eta_s)}"
        took = short_span(result.took_s)
        if lacking := unrecorded(job, result):
            self._bar.say(lacking)
        self._bar.say(f"{done}/{total} {job.symbol}: {result.verdict} ({took}{left})  {result.reason}")

    def step(self, job: RetrainJob, step: JobProgress, done: int, total: int, eta_s: float | None) -> None:
        """A symbol is under way."""
        count = f" {step.done}/{step.total}" if step.total > 1 else ""
        for note in step.notes:
            if (job.id, note) not in self._noted:
                self._noted.add((job.id, note))
                self._bar.say(note if job.symbol in note else f"{job.symbol}: {note}")
        if self._bar.shown:
            self._bar.show("train", done, total, eta_s, f"{job.symbol} {step.stage}{count}")
            return
        stage, then = self._told.get(job.id, ("", 0.0))
        if stage == step.stage and self._clock() - then < STILL_S:
            return
        self._told[job.id] = (step.stage, self._clock())
        left = "" if step.eta_s is None else f"  {eta(step.eta_s)}"
        message = "" if step.message in step.notes else step.message
        self._bar.say(f"{done}/{total} {job.symbol}: {step.stage}{count}  {message}{left}".rstrip())

    def downloaded(self, symbol: str, done: int, total: int, problem: str) -> None:
        """A symbol's candles are there, or cannot be had."""
        if self._bar.shown and not problem:
            self._bar.show("download", done, total, None, symbol)
        else:
            self._bar.say(f"download {done}/{total} {symbol}{': ' + problem if problem else ''}")

    def say(self, text: str) -> None:
        """A line in between."""
        self._bar.say(text)
