"""Faults on frames: between what the exchange says and what a connection is given to send.

They act before a frame is counted for the paced clock: one that is lost is not waited for, one that comes twice counts
twice, and one that is late counts when it leaves, at an exchange time. So a paced client runs under them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tradebot.sim.connection import Connection
from tradebot.sim.faults import edits
from tradebot.sim.faults.agenda import Agenda
from tradebot.sim.faults.armed import Armed
from tradebot.sim.faults.edits import Said
from tradebot.sim.wire import text_frame

Key = tuple[Connection, str, str]
"""Connection, channel and symbol: what is said of one thing to one listener keeps its order when it is late."""

LOST: Final = frozenset({"drop", "silent_stream", "push_missing"})
TWICE: Final = frozenset({"duplicate", "fill_twice"})
LATE: Final = frozenset({"delay", "jitter", "late_candle"})
BROKEN: Final = frozenset({"corrupt_json", "truncated_frame"})
SWAPPED: Final = frozenset({"reorder", "fills_out_of_order"})
ALTERED: Final[dict[str, Callable[[bytes, Armed], bytes | None]]] = {
    "corrupt_json": lambda payload, armed: edits.corrupted(payload),
    "truncated_frame": lambda payload, armed: edits.truncated(payload),
    "sequence_gap": lambda payload, armed: edits.sequence_gap(payload, armed.rule.whole("gap")),
    "sequence_reset": lambda payload, armed: edits.sequence_reset(payload),
    "wrong_checksum": lambda payload, armed: edits.wrong_checksum(payload),
    "duplicate_candle": lambda payload, armed: edits.doubled_candles(payload),
}
"""The kinds that change a message's bytes; None: there was nothing to change."""


class FrameFaults:
    """Lets frames pass, alters, loses, doubles, delays or swaps them. ``now_ms`` is the exchange's time."""

    def __init__(self, agenda: Agenda, now_ms: Callable[[], int]) -> None:
        self._agenda = agenda
        self._now_ms = now_ms
        self._rules: list[Armed] = []
        self._late: dict[Key, int] = {}
        """When the last delayed frame of a key leaves."""
        self._held: dict[tuple[Key, int], bytes] = {}
        """A frame that waits for the next one, by what it is about and rule."""

    def arm(self, armed: Armed) -> None:
        self._rules.append(armed)
        # what others still have to read is broken last
        self._rules.sort(key=lambda rule: rule.rule.kind in BROKEN)

    def forget(self, connection: Connection) -> None:
        """The connection is gone, with everything that was to be said to it."""
        self._late = {key: at_ms for key, at_ms in self._late.items() if key[0] is not connection}
        self._held = {key: frame for key, frame in self._held.items() if key[0][0] is not connection}

    def pass_on(self, connection: Connection, frame: bytes) -> None:
        """Give ``frame`` to the connection the way the rules want it."""
        now_ms = self._now_ms()
        live = self._live(connection, now_ms)
        if not live and not self._late:
            connection.emit(frame)
            return
        payload = edits.payload_of(frame)
        said = edits.said_in(payload)
        leaving = [payload]
        late_ms = 0
        key = (connection, said.channel, said.symbol)
        for armed in live:
            if not leaving or not _means(armed, said, payload):
                continue
            kind = armed.rule.kind
            if kind in SWAPPED:
                leaving = self._swap(armed, key, leaving, now_ms)
            elif kind == "candle_gap":
                leaving = _without_candles(armed, leaving)
            elif kind in ALTERED:
                leaving = _altered(armed, leaving)
            elif armed.strikes():
                if kind in LOST:
                    leaving = []
                elif kind in TWICE:
                    leaving = leaving * 2
                elif kind in LATE:
                    late_ms = max(late_ms, _lateness(armed))
        leaves_ms = max(now_ms + late_ms, self._late.get(key, 0))
        for message in leaving:
            self._leave(key, frame if message is payload else text_frame(message), now_ms, leaves_ms)

    def _live(self, connection: Connection, now_ms: int) -> list[Armed]:
        scope = "private" if connection.private else "public"
        return [
            armed
            for armed in self._rules
            if armed.rule.scope == scope
            # a candle that never was is missing for good
            and (armed.active(now_ms) or (armed.rule.kind == "candle_gap" and not armed.cleared))
        ]

    def _leave(self, key: Key, frame: bytes, now_ms: int, leaves_ms: int) -> None:
        connection = key[0]
        if leaves_ms <= now_ms:
            self._late.pop(key, None)
            connection.emit(frame)
            return
        self._late[key] = leaves_ms

        def leave(at_ms: int) -> None:
            if self._late.get(key) == leaves_ms:
                del self._late[key]
            connection.emit(frame)

        self._agenda.at(leaves_ms, leave)

    def _swap(self, armed: Armed, about: Key, leaving: list[bytes], now_ms: int) -> list[bytes]:
        """Hold a message back until the next one of its kind has left, at most for ``hold``. Of executions that is any
        report of orders or fills, of all else a push of the same channel and symbol."""
        connection = about[0]
        key = ((connection, "", "") if armed.rule.kind == "fills_out_of_order" else about, armed.number)
        held = self._held.pop(key, None)
        if held is not None:
            return [*leaving, held]
        if not armed.strikes():
            return leaving
        self._held[key] = message = leaving[0]

        def give_up(at_ms: int) -> None:
            if self._held.get(key) is message:
                connection.emit(text_frame(self._held.pop(key)))

        self._agenda.at(now_ms + armed.rule.whole("hold"), give_up)
        return leaving[1:]


def _means(armed: Armed, said: Said, payload: bytes) -> bool:
    """Whether the rule is about this message: its channel (or its kind's) and its symbol."""
    rule = armed.rule
    wanted = (rule.channel,) if rule.channel else rule.sort.channels
    if wanted:
        if not any(said.channel == name or (name == "candle" and said.channel.startswith("candle")) for name in wanted):
            return False
    elif said.channel in ("reply", "pong"):
        return False
    if not rule.symbol or said.symbol == rule.symbol:
        return True
    return said.symbol in ("", "default") and rule.symbol in edits.symbols_in(payload)


def _lateness(armed: Armed) -> int:
    if armed.rule.kind == "jitter":
        return armed.dice.randint(0, armed.rule.whole("jitter"))
    return armed.rule.whole("delay")


def _altered(armed: Armed, leaving: list[bytes]) -> list[bytes]:
    alter = ALTERED[armed.rule.kind]
    changed = [alter(message, armed) for message in leaving]
    if all(message is None for message in changed) or not armed.strikes():
        return leaving
    return [old if new is None else new for old, new in zip(leaving, changed, strict=True)]


def _without_candles(armed: Armed, leaving: list[bytes]) -> list[bytes]:
    kept: list[bytes] = []
    for message in leaving:
        rest, gone = edits.without_candles(message, armed.covers)
        if not gone or not armed.strikes():
            kept.append(message)
        elif rest is not None:
            kept.append(rest)
    return kept
