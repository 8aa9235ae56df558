"""All faults of one exchange: what is to go wrong, what is going wrong, and how often it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tradebot.errors import ConfigError
from tradebot.sim.connection import Connection
from tradebot.sim.faults import reach
from tradebot.sim.faults.acts import ExchangeFaults
from tradebot.sim.faults.agenda import Agenda
from tradebot.sim.faults.armed import Armed
from tradebot.sim.faults.frames import FrameFaults
from tradebot.sim.faults.links import LinkFaults
from tradebot.sim.faults.requests import RequestFaults
from tradebot.sim.faults.rules import Rule, Schedule

if TYPE_CHECKING:
    from tradebot.sim.exchange import Exchange


class Faults:
    """The faults of ``exchange``, whose market starts at ``start_ms``. Without rules nothing is touched.

    Raises ConfigError for a rule whose symbol is not traded there.
    """

    def __init__(self, exchange: Exchange, schedule: Schedule, start_ms: int) -> None:
        self._exchange = exchange
        self._seed = schedule.seed
        self._agenda = Agenda()
        self._armed: dict[int, Armed] = {}
        self._numbers = 0
        self.frames = FrameFaults(self._agenda, self._now_ms)
        self.links = LinkFaults(self._agenda, self._now_ms, lambda: exchange.hub.connections)
        self.requests = RequestFaults(self._now_ms)
        self.acts = ExchangeFaults(self._agenda, exchange)
        self._add(schedule.rules, start_ms, schedule.places)

    def _now_ms(self) -> int:
        return self._exchange.clock.now_ms

    def add(self, rules: Iterable[Rule]) -> list[int]:
        """More rules, their ``from`` counted from now. Returns their ids. Raises ConfigError for an unknown symbol;
        then none was added."""
        added = self._add(tuple(rules), self._now_ms())
        self._agenda.run(self._now_ms())
        self._exchange.clock.nudge()
        return added

    def clear(self, numbers: Iterable[int] | None = None) -> None:
        """End rules now, all of them by default. Raises ConfigError for an unknown id."""
        for number in list(self._armed) if numbers is None else numbers:
            armed = self._armed.get(number)
            if armed is None:
                raise ConfigError(f"there is no fault {number}; there are {list(self._armed) or 'none'}")
            if not armed.cleared:
                armed.cleared = True
                self.acts.end(armed, self._now_ms())

    def _add(self, rules: Sequence[Rule], base_ms: int, places: Sequence[str] = ()) -> list[int]:
        self.require_traded(rules, places)
        added = []
        for n, rule in enumerate(rules):
            self._numbers += 1
            place = places[n] if places else f"rule {self._numbers}"
            armed = self._armed[self._numbers] = Armed(self._numbers, rule, base_ms, self._seed, place)
            mechanism = "request" if rule.scope == "rest" and rule.sort.mechanism == "frame" else rule.sort.mechanism
            match mechanism:
                case "frame":
                    self.frames.arm(armed)
                case "connection":
                    self.links.arm(armed)
                case "request":
                    self.requests.arm(armed)
                case "exchange":
                    self.acts.arm(armed)
            added.append(self._numbers)
        return added

    def require_traded(self, rules: Sequence[Rule], places: Sequence[str] = ()) -> None:
        """Raises ConfigError with a line for every rule whose symbol is not traded here."""
        wrong = [
            f"{places[n] if places else f'rule {n + 1}'}: symbol: {what}"
            for n, rule in enumerate(rules)
            if (what := reach.unknown_symbol(rule.symbol, self._exchange.markets))
        ]
        if wrong:
            raise ConfigError("\n".join(wrong))

    # --- what the exchange asks -------------------------------------------------------------------------------------

    def next_ms(self) -> int | None:
        """When something happens by itself next."""
        return self._agenda.next_ms()

    def advance(self, now_ms: int) -> bool:
        """Let everything due at ``now_ms`` happen; false when nothing was."""
        due_ms = self._agenda.next_ms()
        due = due_ms is not None and due_ms <= now_ms
        if due:
            self._agenda.run(now_ms)
        return self.acts.advance(now_ms) or due

    def pass_on(self, connection: Connection, frame: bytes) -> None:
        """Say ``frame`` to a connection, or not, or otherwise."""
        if not self._armed:
            connection.emit(frame)
        elif not self.links.dead(connection):
            self.frames.pass_on(connection, frame)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self.frames.forget(connection)
        self.links.forget(connection)

    # --- what is told -----------------------------------------------------------------------------------------------

    def injected(self) -> Counter[tuple[str, str]]:
        """How often each kind hit in each scope."""
        counts: Counter[tuple[str, str]] = Counter()
        for armed in self._armed.values():
            counts[(armed.rule.kind, armed.rule.scope)] += armed.injected
        return counts

    def idle(self) -> list[str]:
        """The rules that have hit nothing so far, and why, in words."""
        now_ms = self._now_ms()
        return [
            f"{armed.place}: {armed.rule.kind} of {armed.rule.scope} hit nothing: {why}"
            for armed in self._armed.values()
            if (why := armed.why_idle(now_ms))
        ]

    def report(self) -> dict[str, Any]:
        """What ``GET /sim/faults`` answers: rules, counts by kind and scope, and what hit nothing."""
        counts: dict[str, dict[str, int]] = {}
        for (kind, scope), count in sorted(self.injected().items()):
            counts.setdefault(kind, {})[scope] = count
        return {
            "now": self._now_ms(),
            "seed": self._seed,
            "rules": [armed.row(self._now_ms()) for armed in self._armed.values()],
            "injected": counts,
            "idle": self.idle(),
        }
