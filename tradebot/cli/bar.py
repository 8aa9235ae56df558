"""The bar with count and time left that long commands show on stderr, where that is a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from tradebot.cli.output import progress
from tradebot.cli.times import short_span

if TYPE_CHECKING:
    from rich.progress import Progress


def eta(left_s: float) -> str:
    """Time left, in words."""
    return f"eta {short_span(left_s)}"


class Bar:
    """Use as a context manager. ``shown`` is false inside it when stderr is no terminal; then ``show`` does nothing."""

    def __init__(self) -> None:
        self._rich: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._rich = Progress(
                TextColumn("{task.fields[what]:<9}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
                TextColumn("{task.fields[eta]:<10} {task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._rich.add_task("", total=1, what="", eta="")
            self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rich is not None:
            self._rich.stop()

    @property
    def shown(self) -> bool:
        return self._rich is not None

    def show(self, what: str, done: int, total: int, left_s: float | None, text: str) -> None:
        """``done`` of ``total`` steps of ``what`` are over; ``text`` says which was the last."""
        if self._rich is not None:
            self._rich.update(
                self._rich.task_ids[0], what=what, completed=done, total=max(total, 1),
                eta="" if left_s is None else eta(left_s), description=text,
            )  # fmt: skip

    def say(self, text: str) -> None:
        """A line in between."""
        if self._rich is not None:
            self._rich.console.print(text, markup=False, highlight=False)
        else:
            progress(text)
