"""Many symbols, some trouble: what ended stays, the rest goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training import load
from tradebot.jobs import JobProgress, JobQueue, JobResult, ParquetSource, RetrainJob
from tradebot.training import many

DIES = """
import os, sys
from tradebot.jobs import JobQueue
os._exit(1 if JobQueue(sys.argv[-1]).claim() else 0)
"""
"""A worker that ends by itself, without a signal, and leaves its job where it was."""


class Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def finished(self, job: RetrainJob, result: JobResult, done: int, total: int, eta_s: float | None) -> None:
        self.lines.append(result.reason)

    def step(self, job: RetrainJob, step: JobProgress, done: int, total: int, eta_s: float | None) -> None:
        pass

    def say(self, text: str) -> None:
        self.lines.append(text)


def one_job(folder: Path) -> RetrainJob:
    return RetrainJob(
        id="a", symbol="AUSDT", model="lightgbm", as_of_ms=0, declared_ms=0, days=1,
        source=ParquetSource(path=str(folder)), store=str(folder / "store"),
    )  # fmt: skip


def test_a_full_disk_and_killed_workers_cost_nothing_but_time(tmp_path: Path) -> None:
    load.check(load.run(tmp_path, 4, trials=1, rounds=15), 4)


def test_a_worker_that_ends_in_the_middle_without_a_signal_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.Popen

    def dying(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return real([sys.executable, "-c", DIES, command[-1]], **options)

    monkeypatch.setattr(many.subprocess, "Popen", dying)
    queue, heard, job = JobQueue(tmp_path / "queue"), Heard(), one_job(tmp_path)
    queue.enqueue(job)
    end = time.monotonic() + 120
    ended = many.run_all(queue, [job], workers=1, watcher=heard, stop=lambda: time.monotonic() > end)
    assert ended.results["a"].verdict == "failed"
    assert heard.lines[:2] == ["a worker ended in the middle (code 1); AUSDT is tried again"] * 2
    assert "died 3 times" in heard.lines[2]


def test_workers_that_are_killed_before_they_begin_end_the_training_instead_of_going_on_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.Popen

    def killed(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return real([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], **options)

    monkeypatch.setattr(many.subprocess, "Popen", killed)
    queue, heard, job = JobQueue(tmp_path / "queue"), Heard(), one_job(tmp_path)
    queue.enqueue(job)
    end = time.monotonic() + 120
    ended = many.run_all(queue, [job], workers=1, watcher=heard, stop=lambda: time.monotonic() > end)
    assert ended.exit_code == 75
    assert ended.why_not == "workers end without a result: one was killed (signal 9); --resume goes on with it"
    assert heard.lines == ["a worker was killed (signal 9) before it had taken a symbol"] * many.MOST_BARREN
    assert queue.state("a") == "pending"
