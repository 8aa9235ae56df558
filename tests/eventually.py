"""Waiting for a condition without guessing how long it takes."""

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
