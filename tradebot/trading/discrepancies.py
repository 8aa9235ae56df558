"""What the exchange shows and our own executions do not explain.

Entries stop, in all symbols, until a person adopts or ignores it::

    position differs ──2 s──> still differs: ask for the whole view ──> a second view shows the same ──> foreign
    execution booked as our stop's ──2 s──> no stop has reported it ──> foreign
    execution or resting order of another id ──> foreign
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tradebot.events import Alert, RequestReconcile, SetTimer
from tradebot.market.instrument import ZERO
from tradebot.trading.state import FOREIGN

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

GRACE_MS = 2_000
"""How long the exchange's position may differ from our executions, and an execution go unreported by its stop."""


class Discrepancies:
    """Compares, waits, asks, and then raises the alarm."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._suspected: dict[str, tuple[Decimal, Decimal]] = {}
        """Differences that one view showed: (ours, theirs)."""

    def describe(self) -> str:
        """What stands in the way of entries, in words; empty when nothing does."""
        checking = dict.fromkeys(self._suspected, "position differs from our executions, being checked")
        return "; ".join(f"{s}: {why}" for s, why in sorted({**checking, **self._engine.state.foreign}.items()))

    def on_positions(self) -> None:
        """Positions were reported."""
        if self._differences():
            self._look_again()

    def on_fill(self, name: str, booked: bool) -> None:
        """An execution came; ``booked`` is whether it was taken for ours."""
        state = self._engine.state
        if not booked and name in state.foreign:
            self._alarm(name, state.foreign[name])
        elif booked and name in state.claimed:
            self._engine.emit(SetTimer(name=f"claim:{name}", due_ms=self._engine.now_ms + GRACE_MS))

    def on_reconciled(self) -> None:
        """The whole view came. It can fall between an execution and the position it makes, so a difference counts when
        a second view shows the same one."""
        differences = self._differences()
        for name, (ours, theirs) in differences.items():
            if self._suspected.get(name) == (ours, theirs):
                self._alarm(name, f"position is {theirs} on the exchange, {ours} by our executions")
        self._suspected = differences
        if differences.keys() - self._engine.state.foreign.keys():
            self._look_again()

    def on_timer(self, kind: str, name: str) -> None:
        if kind == "positions" and self._differences():
            self._engine.emit(RequestReconcile(reason="positions differ from executions"))
        elif kind == "claim" and name in self._engine.state.claimed:
            self._alarm(name, self._engine.state.claimed[name])

    def _look_again(self) -> None:
        self._engine.emit(SetTimer(name="positions", due_ms=self._engine.now_ms + GRACE_MS))

    def _differences(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Symbols whose reported size differs from ours: (ours, reported)."""
        state = self._engine.state
        ours = {p.symbol: p.qty for p in state.portfolio.open_positions()}
        theirs = {name: p.qty for name, p in state.reported.items()}
        names = sorted((ours.keys() | theirs.keys()) - state.ignored)
        pairs = {name: (ours.get(name, ZERO), theirs.get(name, ZERO)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def _alarm(self, name: str, why: str) -> None:
        """The alert is what the journal keeps of it, so a crash does not forget it."""
        self._engine.emit(Alert(severity="critical", code=FOREIGN, message=why, symbol=name))
