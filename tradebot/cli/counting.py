"""How far a long command is: a bar with counts and time left on a terminal, plain lines elsewhere. On stderr."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Self

from tradebot.cli.output import progress
from tradebot.cli.times import short_span

if TYPE_CHECKING:
    from rich.progress import Progress

FIRST_S, EVERY_S = 2.0, 10.0


class Counting:
    """Counts ``total`` steps of ``what``. Use as a context manager; ``step`` after each."""

    def __init__(self, what: str, total: int) -> None:
        self.done = 0
        self._what, self._total = what, total
        self._began = monotonic()
        self._next = self._began + FIRST_S
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.fields[what]}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
                TextColumn("{task.fields[eta]:<10} {task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", total=max(self._total, 1), what=self._what, eta="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, text: str = "") -> None:
        """One more is done; ``text`` says which."""
        self.done += 1
        self._total = max(self._total, self.done)
        now = monotonic()
        left = (now - self._began) / self.done * (self._total - self.done)
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=self.done,
                total=self._total,
                description=text,
                eta=f"eta {short_span(left)}",
            )
        elif now >= self._next:
            self._next = now + EVERY_S
            progress(f"{self._what}: {self.done:,}/{self._total:,}, eta {short_span(left)} {text}".rstrip())

    def of(self, done: int, total: int) -> None:
        """``done`` of ``total`` steps are over."""
        self.done, self._total = done - 1, total
        self.step()

    def say(self, text: str) -> None:
        """A line in between."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            progress(text)
