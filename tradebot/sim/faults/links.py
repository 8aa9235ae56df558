"""Faults on connections: cut, refused, half open, a login that is not accepted (protocol sections 10.1 and 10.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tradebot.sim.connection import Connection
from tradebot.sim.faults.agenda import Agenda
from tradebot.sim.faults.armed import Armed
from tradebot.sim.faults.kinds import Scope

LOGIN_WORDS: Final = {
    "30005": "Login failed",
    "30007": "Request over limit, connection will be closed",
    "30011": "Invalid ACCESS_KEY",
    "30012": "Invalid ACCESS_PASSPHRASE",
    "30014": "Request timestamp expired",
    "30015": "Invalid sign",
}


class LinkFaults:
    """What becomes of connections. ``connections`` are those open now, ``now_ms`` the exchange's time."""

    def __init__(
        self, agenda: Agenda, now_ms: Callable[[], int], connections: Callable[[], Iterable[Connection]]
    ) -> None:
        self._agenda = agenda
        self._now_ms = now_ms
        self._connections = connections
        self._rules: list[Armed] = []
        self._dead: dict[Connection, Armed] = {}

    def arm(self, armed: Armed) -> None:
        self._rules.append(armed)
        if armed.rule.kind == "connection_drop":
            self._agenda.at(armed.from_ms, lambda now_ms: self._cut(armed, now_ms))
        elif armed.rule.kind == "half_open":
            self._agenda.at(armed.from_ms, lambda now_ms: self._deaden(armed))

    def forget(self, connection: Connection) -> None:
        self._dead.pop(connection, None)

    def dead(self, connection: Connection) -> bool:
        """Whether nothing goes through this connection any more, in either direction."""
        return connection in self._dead

    def refusal(self, *, private: bool) -> int | None:
        """How a new connection is refused: an HTTP status, 0 for a cut, None when it is not."""
        scope: Scope = "private" if private else "public"
        for armed in self._of("refused_connection", scope):
            if armed.strikes():
                return armed.rule.whole("status")
        return None

    def login_refusal(self) -> tuple[str, str] | None:
        """Code and words a login is refused with, or None."""
        for armed in self._of("login_refused", "private"):
            if armed.strikes():
                code = str(armed.rule.parameters["code"])
                return code, LOGIN_WORDS.get(code, "Login failed")
        return None

    def _of(self, kind: str, scope: Scope) -> list[Armed]:
        now_ms = self._now_ms()
        return [a for a in self._rules if a.rule.kind == kind and a.rule.scope == scope and a.active(now_ms)]

    def _meant(self, armed: Armed) -> list[Connection]:
        private = armed.rule.scope == "private"
        return [connection for connection in self._connections() if connection.private == private]

    def _cut(self, armed: Armed, now_ms: int) -> None:
        if not armed.active(now_ms):
            return
        for connection in self._meant(armed):
            if armed.strikes():
                connection.abort()
        every_ms = armed.rule.whole("every")
        if every_ms:
            self._agenda.at(now_ms + every_ms, lambda later_ms: self._cut(armed, later_ms))

    def _deaden(self, armed: Armed) -> None:
        if armed.cleared:
            return
        for connection in self._meant(armed):
            if armed.strikes():
                self._dead[connection] = armed
