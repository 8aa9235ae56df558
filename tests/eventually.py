"""Waiting without guessing how long it takes: for a condition, or for what may happen at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


async def eventually(condition: Callable[[], object], within_s: float = 30.0, every_s: float = 0.01) -> None:
    """Return as soon as ``condition()`` is true; fail after ``within_s`` seconds of wall time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {within_s} s: {condition}")
        await asyncio.sleep(every_s)


def presently(condition: Callable[[], object], within_s: float = 60.0, every_s: float = 0.02) -> None:
    """The same where no event loop runs: another process or thread makes the condition true."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {within_s} s: {condition}")
        time.sleep(every_s)


class Work:
    """Waiting for a process as long as it works: how fast it is, and how often it gets its turn, is up to the machine.

    Too long is ``cpu_s`` of processor time (its descendants' too), or none at all for ``idle_s`` of wall time.
    """

    def __init__(self, process: subprocess.Popen[str], cpu_s: float = 600.0, idle_s: float = 120.0) -> None:
        self._process, self._cpu_s, self._idle_s = process, cpu_s, idle_s
        self._used_s, self._since = -1.0, time.monotonic()

    def until(self, condition: Callable[[], object]) -> None:
        """Return as soon as ``condition()`` is true; fail when the process ends before that, or takes too long."""
        while not condition():
            assert self._process.poll() is None, f"ended with {self._process.returncode} before: {condition}"
            self._look()
            time.sleep(0.02)

    def result(self) -> tuple[str, str]:
        """What it wrote to its pipes, once it has ended; a process that takes too long is killed."""
        while True:
            try:
                return self._process.communicate(timeout=0.2)
            except subprocess.TimeoutExpired:
                self._look()

    def _look(self) -> None:
        used_s, now = _cpu_s(self._process.pid), time.monotonic()
        if used_s > self._used_s:
            self._used_s, self._since = used_s, now
        if used_s > self._cpu_s or now - self._since > self._idle_s:
            self._process.kill()
            raise AssertionError(f"killed after {used_s:.0f} s of processor time: {self._process.args!r}")


def _cpu_s(pid: int) -> float:
    """Processor time of a process, of its children that ended, and of those that have not (s)."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    own_s = sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
    return own_s + sum(_cpu_s(int(child)) for child in children)


class Steady:
    """A monotonic clock that only the test moves (s): ``monkeypatch.setattr(module, "monotonic", Steady())``."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def ended(work: Awaitable[T], cpu_s: float) -> T:
    """What ``work`` of this process comes to; TimeoutError once it took ``cpu_s`` of the process's time, or ten times
    as long by the clock on the wall (it waits for something that does not come)."""
    task = asyncio.ensure_future(work)
    began, used = time.monotonic(), time.process_time()
    try:
        while not (await asyncio.wait([task], timeout=0.2))[0]:
            if time.process_time() - used > cpu_s or time.monotonic() - began > 10 * cpu_s:
                raise TimeoutError(f"not over after {cpu_s:g} s of processor time")
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return task.result()


async def turns(count: int = 20) -> None:
    """Let the event loop turn: whatever waits for nothing has gone on."""
    for _ in range(count):
        await asyncio.sleep(0)
