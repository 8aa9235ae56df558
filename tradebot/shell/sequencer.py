"""One place gives every event its number and its time, writes it down, and hands it to the engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from tradebot.errors import JournalError
from tradebot.events import (
    RECORDED_OUTPUTS,
    ClosePosition,
    Command,
    Decision,
    Event,
    PlaceOrder,
    PlaceStop,
    RequestForecast,
)
from tradebot.journal import DecisionDigest, JournalRecord, Kind, RecordedOutput
from tradebot.serving import Serving, answer
from tradebot.shell.clock import Clock
from tradebot.trading.engine import Engine

Observer = Callable[[int, int, JournalRecord], None]
"""Called with (seq, ts_ms, record) for every input and every recorded output, after the engine has seen the input."""


_NAMED = (PlaceOrder, PlaceStop, ClosePosition)


class Log(Protocol):
    """Where inputs and recorded outputs are written down: the journal."""

    def append(self, kind: Kind, ts_ms: int, record: JournalRecord, /) -> int:
        """Keep a record and return its number. An output directly follows the input that caused it.

        Raises BusyError or JournalError when it cannot be kept.
        """


class Unkept:
    """A log that numbers records and keeps none: of a run that the same files, seed and code give again."""

    def __init__(self) -> None:
        self._next_seq = 1

    def append(self, kind: Kind, ts_ms: int, record: JournalRecord, /) -> int:
        seq = self._next_seq
        self._next_seq = seq + 1
        return seq


class Sequencer:
    """The engine's only door, in the daemon and in a back-test.

    ``put`` returns after the event and everything it caused inside the process (forecasts are computed inline: about
    30 µs, less than a hop to a thread) has been written to ``log`` and handed to the observers. Commands that leave the
    process go to ``dispatch``, which must not call ``put`` itself.
    """

    def __init__(
        self, engine: Engine, log: Log, clock: Clock, serving: Serving, dispatch: Callable[[Command], None]
    ) -> None:
        self._engine = engine
        self._log = log
        self._clock = clock
        self._serving = serving
        self._dispatch = dispatch
        self._observers: list[Observer] = []
        self._waiting: deque[Event] = deque()
        self._busy = False
        self._last_ms = 0
        self.failure: BaseException | None = None
        self.digest = DecisionDigest()
        self.events = 0

    def observe(self, observer: Observer) -> None:
        self._observers.append(observer)

    def put(self, event: Event) -> None:
        """Sequence one event. Calls made while one is handled wait their turn, in order.

        Raises BusyError or JournalError when the log cannot be written. ``failure`` keeps the first error, because
        a caller on the way may take it for its own; the run stops on it, and nothing is sequenced any more.
        """
        if self.failure is not None:
            raise self.failure
        self._waiting.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._handle(self._waiting.popleft())
        except BaseException as error:
            self.failure = self.failure or error
            raise
        finally:
            self._busy = False

    def _handle(self, event: Event) -> None:
        ts_ms = self._last_ms = max(self._last_ms, self._clock.now_ms())
        append = self._log.append
        seq = append("input", ts_ms, event)
        commands = self._engine.handle(ts_ms, event)
        self.events += 1
        outputs: list[tuple[int, RecordedOutput]] = []
        if commands:
            _require_new_ids(commands)
            outputs = [
                (append("output", ts_ms, command), command)
                for command in commands
                if isinstance(command, RECORDED_OUTPUTS)
            ]
        for observer in self._observers:
            observer(seq, ts_ms, event)
        if not commands:
            return
        for number, output in outputs:
            if isinstance(output, Decision):
                self.digest.update(output)
            for observer in self._observers:
                observer(number, ts_ms, output)
        forecasts: list[Event] = []
        for command in commands:
            if isinstance(command, RequestForecast):
                forecasts.append(answer(self._serving, command))
            else:
                self._dispatch(command)
        # a forecast follows its request at once: what came meanwhile must not be decided on before it
        self._waiting.extendleft(reversed(forecasts))


def _require_new_ids(commands: Sequence[Command]) -> None:
    """Raise JournalError when an event gave two commands one client order id (ids of different events differ by its
    number): the exchange would take the second for the first, and an order or a stop would be missing."""
    if len(commands) < 2:
        return
    ids = [command.client_oid for command in commands if isinstance(command, _NAMED)]
    if len(set(ids)) < len(ids):
        twice = sorted(oid for oid in set(ids) if ids.count(oid) > 1)
        raise JournalError(f"client order id {', '.join(twice)} was given twice: nothing of this event is sent")
