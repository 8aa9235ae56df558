"""Many trainings at once: a queue of jobs, worker processes that take them, and what becomes of either.

A worker that dies loses its job's lock; the job is put back and another worker takes it up where its search and fit
were. A job that killed three workers is closed as failed. What ended stays ended: the same queue gone on with does only
the rest, and again what had failed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from tradebot.errors import BusyError
from tradebot.jobs import JobProgress, JobQueue, JobResult, RetrainJob
from tradebot.ops.process import die_with_parent

LOOK_S = 0.2
STOP_S = 20.0
MOST_BARREN = 3
"""Workers in a row that ended without finishing a job before the rest is given up."""


class TrainPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A training as it was asked for. ``url``: where candles are downloaded from first; empty: they are there."""

    interval: str
    url: str
    jobs: list[RetrainJob]


@dataclass(frozen=True, slots=True)
class Ended:
    """``results`` by job id; where some jobs did not run, ``why_not`` and the exit code that says so."""

    results: Mapping[str, JobResult]
    why_not: str = ""
    exit_code: int = 0


class Watcher(Protocol):
    """Told what happens."""

    def finished(self, job: RetrainJob, result: JobResult, done: int, total: int, eta_s: float | None) -> None: ...

    def step(self, job: RetrainJob, step: JobProgress, done: int, total: int, eta_s: float | None) -> None: ...

    def say(self, text: str) -> None: ...


def ask_again(queue: JobQueue, jobs: Sequence[RetrainJob]) -> int:
    """Ask for ``jobs``; those that failed or were cancelled before are asked for again. How many had ended well."""
    queue.recover()
    kept = 0
    for job in jobs:
        result = queue.result(job.id)
        if result is not None and result.verdict in ("failed", "cancelled"):
            queue.forget(job.id)
        elif result is not None:
            kept += 1
        queue.enqueue(job)
    return kept


def run_all(
    queue: JobQueue,
    jobs: Sequence[RetrainJob],
    *,
    workers: int,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run ``jobs``, which are in ``queue``, on ``workers`` processes, until all have ended or ``stop`` says so."""
    run = _Run(queue, jobs, workers, watcher)
    try:
        return run.loop(stop)
    finally:
        run.end_workers()


class _Run:
    def __init__(self, queue: JobQueue, jobs: Sequence[RetrainJob], workers: int, watcher: Watcher) -> None:
        self._queue, self._watcher = queue, watcher
        self._jobs = {job.id: job for job in jobs}
        self._limit = workers
        self._workers: dict[int, _Worker] = {}
        self._results: dict[str, JobResult] = {}
        self._started = time.monotonic()
        self._before = 0
        self._barren = 0
        self._number = 0
        self._killed = ""

    def loop(self, stop: Callable[[], bool]) -> Ended:
        self._collect(quietly=True)
        self._before = len(self._results)
        while len(self._results) < len(self._jobs):
            if stop():
                return Ended(self._results, "stopped; --resume goes on with it", 130)
            self._bury()
            if self._barren >= MOST_BARREN:
                return Ended(self._results, self._last_words(), BusyError.exit_code)
            self._hire()
            self._look()
            time.sleep(LOOK_S)
            self._collect()
        return Ended(self._results)

    def end_workers(self) -> None:
        """Jobs of workers that are still there go back to the queue."""
        for worker in self._workers.values():
            worker.process.terminate()
        deadline = time.monotonic() + STOP_S
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._queue.recover()

    def _bury(self) -> None:
        """Notice workers that ended; put back what dead ones held."""
        codes = {pid: code for pid, worker in self._workers.items() if (code := worker.process.poll()) is not None}
        if not codes:
            return
        self._collect()
        dead = sorted(f"was killed (signal {-code})" for code in codes.values() if code < 0)
        touched = self._queue.recover()
        for number, job_id in enumerate(touched):
            ended = dead[number] if number < len(dead) else f"ended in the middle (code {max(codes.values())})"
            if self._queue.state(job_id) == "pending":
                self._watcher.say(f"a worker {ended}; {self._symbol(job_id)} is tried again")
        for ended in dead[len(touched) :]:
            self._killed = f"one {ended}"
            self._watcher.say(f"a worker {ended} before it had taken a symbol")
        for pid in codes:
            finished = len(self._results) > self._workers.pop(pid).finished_before
            self._barren = 0 if finished or touched or not self._queue.ids("pending") else self._barren + 1

    def _hire(self) -> None:
        open_jobs = len(self._queue.ids("pending"))
        while len(self._workers) < self._limit and open_jobs > 0:
            self._number += 1
            worker = _Worker.start(self._queue, self._number, self._threads(), len(self._results))
            self._workers[worker.process.pid] = worker
            open_jobs -= 1

    def _threads(self) -> int:
        return max(job.threads for job in self._jobs.values())

    def _collect(self, *, quietly: bool = False) -> None:
        for job_id, job in self._jobs.items():
            if job_id not in self._results and (result := self._queue.result(job_id)) is not None:
                self._results[job_id] = result
                if not quietly:
                    self._watcher.finished(job, result, len(self._results), len(self._jobs), self._eta_s())

    def _look(self) -> None:
        for job_id in self._queue.ids("running"):
            step = self._queue.progress(job_id)
            if step is not None and job_id in self._jobs:
                self._watcher.step(self._jobs[job_id], step, len(self._results), len(self._jobs), self._eta_s())

    def _eta_s(self) -> float | None:
        done = len(self._results) - self._before
        left = len(self._jobs) - len(self._results)
        return (time.monotonic() - self._started) / done * left if done else None

    def _symbol(self, job_id: str) -> str:
        job = self._jobs.get(job_id)
        return job.symbol if job is not None else job_id

    def _last_words(self) -> str:
        logs = sorted((self._queue.root / "log").glob("worker-*.log"), key=lambda path: path.stat().st_mtime)
        lines = logs[-1].read_text(errors="replace").strip().splitlines() if logs else []
        reason = lines[-1] if lines else self._killed or "no reason given"
        return f"workers end without a result: {reason}; --resume goes on with it"


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    finished_before: int

    @classmethod
    def start(cls, queue: JobQueue, number: int, threads: int, finished: int) -> _Worker:
        caps = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        folder = queue.root / "log"
        with contextlib.ExitStack() as closing:
            try:
                folder.mkdir(exist_ok=True)
                log = closing.enter_context((folder / f"worker-{number}.log").open("wb"))
            except OSError:
                log = closing.enter_context(Path(os.devnull).open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", "tradebot.training.runner", "--no-recover", "--queue", str(queue.root)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **caps, "OMP_WAIT_POLICY": "passive"},
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        return cls(process, finished)
