"""Waiting without guessing how long it takes: for a condition, or for what may happen at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def eventually(condition: Callable[[], object], within_s: float = 10.0, every_s: float = 0.01) -> None:
    """Return as soon as ``condition()`` is true; fail after ``within_s`` seconds of wall time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {within_s} s: {condition}")
        await asyncio.sleep(every_s)


def presently(condition: Callable[[], object], within_s: float = 30.0, every_s: float = 0.02) -> None:
    """The same where no event loop runs: another process or thread makes the condition true."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {within_s} s: {condition}")
        time.sleep(every_s)


class Steady:
    """A monotonic clock that only the test moves (s): ``monkeypatch.setattr(module, "monotonic", Steady())``."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def turns(count: int = 20) -> None:
    """Let the event loop turn: whatever waits for nothing has gone on."""
    for _ in range(count):
        await asyncio.sleep(0)
