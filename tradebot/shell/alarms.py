"""The engine's timers: set by its commands, told to it when they are due."""

from __future__ import annotations

from collections.abc import Callable

from tradebot.events import Event, SetTimer, TimerFired
from tradebot.shell.clock import Clock, Timers


class Alarms:
    """A part that acts by the clock: ``put`` hears of every timer that is due, earliest first."""

    def __init__(self, clock: Clock, put: Callable[[Event], None]) -> None:
        self._clock = clock
        self._put = put
        self._timers = Timers()

    def set(self, command: SetTimer) -> None:
        self._timers.set(command.name, command.due_ms)

    def next_due_ms(self) -> int | None:
        return self._timers.next_due_ms()

    def on_time(self) -> None:
        for name, due_ms in self._timers.pop_due(self._clock.now_ms()):
            self._put(TimerFired(name=name, due_ms=due_ms))
