"""What the exchange shows and our own executions do not explain.

Entries stop, in all symbols, until a person adopts or ignores it::

    position differs ──2 s──> still differs: ask for the whole view ──> a second view shows the same ──> foreign
    execution booked as our stop's ──2 s──> unreported: ask for the whole view ──2 s──> still unreported ──> foreign
    execution or resting order of another id ──> foreign

A position of ours that the exchange says it does not have is neither protected nor closed: nothing that is sent for it
can succeed. It is again as soon as the exchange, or an execution, shows it::

    a whole view without it, asked for after our last execution in it ──> nothing there
    a stop or a close refused because there is no position ──> entries wait, and the whole view is asked for
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from tradebot.events import Alert, RequestReconcile, SetTimer
from tradebot.events.state import position_differs
from tradebot.market.instrument import ZERO
from tradebot.trading.state import FOREIGN

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

GRACE_MS = 2_000
"""How long an execution may go unreported by its stop."""


class Discrepancies:
    """Compares, waits, asks, and then raises the alarm."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._suspected: dict[str, tuple[Decimal, Decimal]] = {}
        """Differences that one view showed: (ours, theirs)."""
        self._asked: set[str] = set()
        """Symbols for whose claim the whole view was already asked for."""
        self._alarmed: dict[str, set[str]] = {}
        """What was alarmed of, by symbol: the same is not said twice, nor again after a restart."""
        self._gone: set[str] = set()
        """Symbols of which a whole view of the exchange has no position on our side."""
        self._denied: set[str] = set()
        """Symbols of which a refusal said the same: only a view can prove it, and until then protection goes on."""
        self._executed_ms: dict[str, int] = {}
        """When an execution was last booked, by symbol: a view that was asked for earlier does not show it."""

    def describe(self) -> str:
        """What stands in the way of entries, in words; empty when nothing does."""
        checking = dict.fromkeys(self._denied, "the exchange says that nothing is held, being checked")
        checking |= dict.fromkeys(self._suspected, "position differs from our executions, being checked")
        return "; ".join(f"{s}: {why}" for s, why in sorted({**checking, **self._engine.state.foreign}.items()))

    def nothing_there(self, name: str) -> bool:
        """Whether the exchange's last whole view has no position on our side in ``name``."""
        return name in self._gone

    def theirs(self, name: str) -> Decimal | None:
        """The size that the exchange told of ``name`` where it is not ours, as far as a whole view showed it."""
        if name in self._suspected:
            return self._suspected[name][1]
        return self._engine.state.reported_qty(name) if name in self._gone else None

    def unsettled(self) -> set[str]:
        """Symbols in which something is held by our executions, is being checked, or is not ours."""
        state = self._engine.state
        held = {position.symbol for position in state.portfolio.open_positions()}
        return held | self._suspected.keys() | state.foreign.keys()

    def on_refused(self, name: str) -> None:
        """A stop or a close was refused because there is no position: the exchange's whole view says what is right."""
        if name not in self._gone and self._engine.state.portfolio.position(name).qty:
            self._denied.add(name)
            self._engine.emit(RequestReconcile(reason=f"the exchange says that nothing is held in {name}"))

    def on_positions(self) -> None:
        """Positions were reported."""
        back = {name for name in self._gone if not self._lacks(name)}
        self._gone -= back
        for name in sorted(back):
            if self._engine.state.portfolio.position(name).qty:
                self._engine.emit(RequestReconcile(reason=f"the position of {name} is there after all"))
                self._engine.protection.on_position(name)
        differences = self._differences()
        self._suspected = {n: p for n, p in self._suspected.items() if n in differences}
        if differences:
            self._engine.differences.look_again()

    def on_fill(self, name: str, booked: bool) -> None:
        """An execution came; ``booked`` is whether it was taken for ours."""
        state = self._engine.state
        if booked:
            self._gone.discard(name)
            self._denied.discard(name)
            self._executed_ms[name] = self._engine.now_ms
        if not booked and name in state.foreign:
            self._alarm(name, state.foreign[name], "foreign")
        elif booked and name in state.triggers.claimed:
            self._asked.discard(name)
            self._engine.emit(SetTimer(name=f"claim:{name}", due_ms=self._engine.now_ms + GRACE_MS))

    def on_reconciled(self, asked_ms: int) -> None:
        """The whole view that was asked for at ``asked_ms`` came. It can fall between an execution and the position it
        makes, so a difference counts when a second view shows the same one."""
        held = [position.symbol for position in self._engine.state.portfolio.open_positions()]
        self._gone = {name for name in held if self._lacks(name) and self._executed_ms.get(name, 0) < asked_ms}
        self._denied.clear()
        differences = self._differences()
        for name, (ours, theirs) in differences.items():
            if self._suspected.get(name) == (ours, theirs):
                self._alarm(name, position_differs(ours, theirs), "position", str(ours), str(theirs))
        self._suspected = differences
        for name, why in sorted(self._engine.state.foreign.items()):
            self._alarm(name, why, "foreign")
        if differences.keys() - self._engine.state.foreign.keys():
            self._engine.differences.look_again()

    def on_settled(self, name: str) -> None:
        """A person adopted or ignored what was foreign in ``name``."""
        self._alarmed.pop(name, None)
        self._suspected.pop(name, None)
        if not self._lacks(name):
            self._gone.discard(name)

    def on_timer(self, kind: str, name: str) -> None:
        if kind == "positions" and (self._differences() or self._engine.differences.suspected):
            self._engine.emit(RequestReconcile(reason="what the exchange shows differs from our executions"))
        elif kind == "claim" and name in self._engine.state.triggers.claimed:
            if name in self._asked:
                self._alarm(name, self._engine.state.triggers.claimed[name], "foreign")
                return
            self._asked.add(name)
            self._engine.emit(RequestReconcile(reason=f"{self._engine.state.triggers.claimed[name]} in {name}"))
            self._engine.emit(SetTimer(name=f"claim:{name}", due_ms=self._engine.now_ms + GRACE_MS))

    def _differences(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Symbols whose reported size differs from ours: (ours, reported)."""
        state = self._engine.state
        ours = {p.symbol: p.qty for p in state.portfolio.open_positions()}
        theirs = {name: p.qty for name, p in state.reported.items()}
        names = sorted((ours.keys() | theirs.keys()) - state.ignored)
        pairs = {name: (ours.get(name, ZERO), theirs.get(name, ZERO)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def _lacks(self, name: str) -> bool:
        """Whether what the exchange reported last has no position on our side."""
        ours = self._engine.state.portfolio.position(name).qty
        return ours != 0 and ours * self._engine.state.reported_qty(name) <= 0

    def _alarm(
        self, name: str, why: str, kind: Literal["position", "foreign"], ours: str = "none", theirs: str = ""
    ) -> None:
        """The alert is what the journal keeps of it, so a crash does not forget it. It is raised once."""
        on_record = self._engine.state.disputes.get(name)
        said = self._alarmed.setdefault(name, set() if on_record is None else {on_record.why})
        if why in said:
            return
        said.add(why)
        self._engine.differences.say_foreign(kind, name, ours, theirs or why)
        self._engine.emit(Alert(severity="critical", code=FOREIGN, message=why, symbol=name))
        self._engine.makers.withdraw(entry=True)
