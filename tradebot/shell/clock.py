"""Where a shell takes its time from, and the moments that the engine asked to be woken at."""

from __future__ import annotations

import heapq
from typing import Protocol


class Clock(Protocol):
    """Where the daemon takes its time from; ms since the epoch, exchange time."""

    def now_ms(self) -> int: ...


class PacedClock:
    """Stands at the embedded exchange's current step; only the pacer moves it."""

    def __init__(self) -> None:
        self._now_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ts_ms: int) -> None:
        """Move to ``ts_ms``; never backwards."""
        self._now_ms = max(self._now_ms, ts_ms)


class Timers:
    """Named moments to wake at. Setting a name again moves it."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def set(self, name: str, due_ms: int) -> None:
        """Wake ``name`` at ``due_ms``; 0 takes it back."""
        if due_ms <= 0:
            self._due.pop(name, None)
        else:
            self._due[name] = due_ms
            heapq.heappush(self._heap, (due_ms, name))

    def next_due_ms(self) -> int | None:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_ms: int) -> list[tuple[str, int]]:
        """Names due at ``now_ms``, earliest first (equal moments by name), and forget them."""
        fired: list[tuple[str, int]] = []
        while (due := self.next_due_ms()) is not None and due <= now_ms:
            _, name = heapq.heappop(self._heap)
            del self._due[name]
            fired.append((name, due))
        return fired
