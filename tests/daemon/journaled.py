"""An engine driven by hand whose inputs and outputs go into a real journal, as the sequencer writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tests.trading.driver import STRATEGIES, Driver
from tradebot.events import RECORDED_OUTPUTS, Booted, Command, Decision, Event
from tradebot.journal import OpenState
from tradebot.trading.loading import engine_hash, load_strategy


class Journaled(Driver):
    """``decided`` are the ids of its decisions, in order. ``runtime`` is the fingerprint that the run tells of."""

    def __init__(self, opened: OpenState, *, runtime: str = "", **given: Any) -> None:
        self.opened = opened
        self.booted: Booted | None = None
        self.decided: list[str] = []
        self._runtime = runtime
        super().__init__(**given)

    def send(self, event: Event) -> Sequence[Command]:
        if isinstance(event, Booted):
            _, strategy = load_strategy(STRATEGIES, event.config.strategy)
            named = {"epoch": self.opened.epoch, "engine_hash": engine_hash(), "strategy_hash": strategy}
            event = self.booted = msgspec.structs.replace(event, fingerprint=self._runtime, **named)
        journal = self.opened.journal
        journal.append("input", self.now_ms, event)
        commands = list(self.engine.handle(self.now_ms, event))
        for command in commands:
            if isinstance(command, Decision):
                self.decided.append(command.decision_id)
            if isinstance(command, RECORDED_OUTPUTS):
                journal.append("output", self.now_ms, command)
        return commands
