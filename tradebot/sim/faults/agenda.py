"""What is to happen at a later exchange time."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Act = Callable[[int], None]
"""Called with the exchange time, ms."""


class Agenda:
    """Acts by time; equal times in the order they were entered."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Act]] = []
        self._entered = 0

    def at(self, at_ms: int, act: Act) -> None:
        self._entered += 1
        heapq.heappush(self._heap, (at_ms, self._entered, act))

    def next_ms(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def run(self, now_ms: int) -> None:
        """Let everything due happen; what is entered meanwhile and due as well happens too."""
        while self._heap and self._heap[0][0] <= now_ms:
            heapq.heappop(self._heap)[2](now_ms)
