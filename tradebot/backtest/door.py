"""The engine's door in a back-test: events in one order and with one time, as the daemon's sequencer gives them.

Nothing is journaled: the same files, seed and code give the same run again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tradebot.backtest.run import ModelUsed
from tradebot.events import (
    RECORDED_OUTPUTS,
    CandleClosed,
    Command,
    Decision,
    Event,
    ModelSwapped,
    Record,
    RequestForecast,
    TradeBooked,
)
from tradebot.journal import DecisionDigest
from tradebot.serving import Serving, answer
from tradebot.shell.clock import Clock
from tradebot.shell.tally import Tally
from tradebot.trading.engine import Engine

Witness = Callable[[str, int, Record], None]
"""Called with ``input`` or ``output``, the time and the record, for all that a journal would hold."""


class Door:
    """``put`` returns after the event and all that it caused in this process; what leaves it goes to ``dispatch``."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        serving: Serving,
        dispatch: Callable[[Command], None],
        decided: Callable[[Decision], None],
        booked: Callable[[TradeBooked], None],
        witness: Witness | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._serving = serving
        self._dispatch = dispatch
        self._decided = decided
        self._booked = booked
        self._witness = witness
        self._waiting: deque[Event] = deque()
        self._busy = False
        self._last_ms = 0
        self.digest = DecisionDigest()
        self.tally = Tally()
        self.events = 0
        self.served: list[ModelUsed] = []
        self.closed: list[str] = []
        """Symbols of which a candle closed since somebody emptied this."""

    def put(self, event: Event) -> None:
        """Hand one event to the engine. Calls made while one is handled wait their turn, in order."""
        waiting = self._waiting
        waiting.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while waiting:
                self._handle(waiting.popleft())
        finally:
            self._busy = False

    def _handle(self, event: Event) -> None:
        ts_ms = self._last_ms = max(self._last_ms, self._clock.now_ms())
        commands = self._engine.handle(ts_ms, event)
        self.events += 1
        self.tally(0, ts_ms, event)
        if isinstance(event, CandleClosed):
            self.closed.append(event.symbol)
        elif isinstance(event, ModelSwapped):
            ref = event.ref
            used = ModelUsed(symbol=ref.symbol, name=ref.name, version=ref.version, sha256=ref.sha256, since_ms=ts_ms)
            self.served.append(used)
        if self._witness is not None:
            self._witness("input", ts_ms, event)
        if not commands:
            return
        forecasts: list[Event] = []
        for command in commands:
            if isinstance(command, RECORDED_OUTPUTS):
                self._record(ts_ms, command)
        for command in commands:
            if isinstance(command, RequestForecast):
                forecasts.append(answer(self._serving, command))
            else:
                self._dispatch(command)
        # a forecast follows its request at once: what came meanwhile must not be decided on before it
        self._waiting.extendleft(reversed(forecasts))

    def _record(self, ts_ms: int, output: Command) -> None:
        if isinstance(output, Decision):
            self.digest.update(output)
            self._decided(output)
        elif isinstance(output, TradeBooked):
            self._booked(output)
        self.tally(0, ts_ms, output)
        if self._witness is not None:
            self._witness("output", ts_ms, output)
