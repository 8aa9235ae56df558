"""How long the strategy keeps everything else waiting: measured here, because the engine has no clock.

A hook that takes too long of the processor's time is told as an event, so that a replay pauses the strategy at the same
place. Processor time, because a machine that stands still must not pause anybody's strategy. A hook that does not
return at all is interrupted where it is; a replay interrupts it too.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import ClassVar

from tradebot.events import StrategyStalled
from tradebot.trading.hooks import Stuck
from tradebot.trading.strategy import Hook

STUCK_S = 5.0
"""Processor time after which a hook is taken for one that never returns: well below the service's watchdog."""
LOOK_S = 0.25
"""How often (wall time) a hook that still goes is looked at then; one that catches its interruption gets another."""


class _Interrupted(BaseException):
    """Raised inside a hook; no ``except Exception`` of a user's catches it."""


class HookWatch:
    """Carries out the calls of hooks; ``stalled`` hears of each that took more than ``limit_ms`` of processor time.

    In the main thread, where signals can interrupt, a call that has not returned after ``stuck_s`` of processor time
    raises Stuck.
    Without ``stalled`` nothing is told: a replay reads of it in its journal.
    """

    _until_ns: ClassVar[int] = 0
    """Processor time of the thread at which the hook that is going is interrupted; 0: none is going."""

    def __init__(
        self, limit_ms: int = 0, stalled: Callable[[StrategyStalled], None] | None = None, *, stuck_s: float = STUCK_S
    ) -> None:
        self._limit_ms = limit_ms
        self._stalled = stalled
        self._stuck_s = stuck_s
        self._interrupts = threading.current_thread() is threading.main_thread()
        if self._interrupts:
            signal.signal(signal.SIGALRM, _interrupt)

    def __call__(self, hook: Hook, symbol: str, call: Callable[[], object]) -> object:
        began_ns = time.thread_time_ns()
        try:
            return self._interruptible(call, began_ns) if self._interrupts else call()
        finally:
            took_ms = (time.thread_time_ns() - began_ns) // 1_000_000
            if self._stalled is not None and took_ms > self._limit_ms:
                self._stalled(StrategyStalled(hook=hook, symbol=symbol, took_ms=took_ms, limit_ms=self._limit_ms))

    def _interruptible(self, call: Callable[[], object], began_ns: int) -> object:
        HookWatch._until_ns = began_ns + int(self._stuck_s * 1e9)
        signal.setitimer(signal.ITIMER_REAL, self._stuck_s, LOOK_S)
        try:
            return call()
        except _Interrupted:
            raise Stuck from None
        finally:
            HookWatch._until_ns = 0
            signal.setitimer(signal.ITIMER_REAL, 0.0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if 0 < HookWatch._until_ns <= time.thread_time_ns():
        raise _Interrupted
