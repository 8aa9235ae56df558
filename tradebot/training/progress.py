"""Where a training run is and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from tradebot.errors import TradebotError
from tradebot.jobs.job import JobProgress, Stage

SHARES: dict[Stage, float] = {
    "data": 0.06,
    "dataset": 0.04,
    "tune": 0.55,
    "fit": 0.15,
    "evaluate": 0.10,
    "export": 0.04,
    "gate": 0.04,
    "store": 0.02,
}
"""Share of a typical run's time, in order; only the estimate of the time left depends on it, and of that the part which
the pace of the stage at hand does not tell."""


class Cancelled(TradebotError):
    """Someone asked the job to stop. The champion goes on serving."""


class Progress:
    """Reports stages to ``publish`` and asks ``stop`` whether to go on. Wall time is for the estimate only."""

    def __init__(
        self,
        publish: Callable[[JobProgress], None],
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._stop = stop
        self._clock = clock
        self._started = clock()
        self._asked = self._started
        self._stage: tuple[Stage, float] = ("data", self._started)
        self._kept: int | None = None

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    def at(self, stage: Stage, message: str, done: int = 0, total: int = 1, *, every: int = 1) -> None:
        """Publish that ``done`` of ``total`` steps of ``stage`` are over, told after ``every`` of them.

        What the first told had done before it was kept from an interrupted run, and took no time. Raises Cancelled.
        """
        self.check(now=True)
        now = self._clock()
        if self._stage[0] != stage:
            self._stage, self._kept = (stage, now), None
        if done and self._kept is None:
            self._kept = max(0, done - every)
        elapsed, ended = now - self._started, done - (self._kept or 0)
        eta = self._left_s(stage, ended, total - done, elapsed, now - self._stage[1])
        self._publish(JobProgress(stage=stage, done=done, total=total, message=message, elapsed_s=elapsed, eta_s=eta))

    @staticmethod
    def _left_s(stage: Stage, ended: int, left: int, elapsed: float, within: float) -> float | None:
        """Seconds left, from what went before and, once steps of a stage have ended, from its pace (``within`` s)."""
        if stage not in SHARES:
            return 0.0 if stage == "done" else None
        names = list(SHARES)
        before = sum(SHARES[name] for name in names[: names.index(stage)])
        if ended:
            return (elapsed + within * left / ended) / (before + SHARES[stage]) - elapsed
        return elapsed * (1.0 - before) / before if before else None

    def check(self, *, now: bool = False) -> None:
        """Raise Cancelled when the job was asked to stop. Looks at most five times a second unless ``now``."""
        moment = self._clock()
        if not now and moment - self._asked < 0.2:
            return
        self._asked = moment
        if self._stop():
            raise Cancelled("cancelled on request; the champion goes on serving")
