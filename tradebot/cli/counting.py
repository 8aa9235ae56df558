"""How far a long command is: a bar with counts and time left on a terminal, plain lines elsewhere. On stderr."""

from __future__ import annotations

from time import monotonic
from typing import Self

from tradebot.cli.bar import Bar, eta
from tradebot.cli.output import progress

FIRST_S, EVERY_S = 2.0, 10.0


class Counting:
    """Counts ``total`` steps of ``what``. Use as a context manager; ``step`` after each."""

    def __init__(self, what: str, total: int) -> None:
        self.done = 0
        self._what, self._total = what, total
        self._began = monotonic()
        self._next = self._began + FIRST_S
        self._bar = Bar()

    def __enter__(self) -> Self:
        self._bar.__enter__()
        self._bar.show(self._what, 0, self._total, None, "")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def step(self, text: str = "") -> None:
        """One more is done; ``text`` says which."""
        self.done += 1
        self._total = max(self._total, self.done)
        now = monotonic()
        left = (now - self._began) / self.done * (self._total - self.done)
        if self._bar.shown:
            self._bar.show(self._what, self.done, self._total, left, text)
        elif now >= self._next:
            self._next = now + EVERY_S
            progress(f"{self._what}: {self.done:,}/{self._total:,}, {eta(left)} {text}".rstrip())

    def of(self, done: int, total: int) -> None:
        """``done`` of ``total`` steps are over."""
        self.done, self._total = done - 1, total
        self.step()

    def say(self, text: str) -> None:
        """A line in between."""
        self._bar.say(text)
