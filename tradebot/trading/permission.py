"""Whether the bot as a whole may make entries, who or what stopped them, and what ends that::

active ──> reducing ──> halted      a person, a limit, or what went wrong; never back by itself, but for
reducing ──> active                 a limit that lifts by itself
reducing, halted ──> active         a person resumes
"""

from __future__ import annotations

from tradebot.events import Cause, Tradability

SEVERITY: dict[Tradability, int] = {"active": 0, "reducing": 1, "halted": 2}
LIFTS_BY_ITSELF: frozenset[Cause] = frozenset({"daily_loss"})
"""Limits whose restriction ends without a person: no such restriction takes the place of one that does not."""


class Permission:
    """``state``: active; reducing (no entries, exits go on); halted (the same, until a person resumes).

    ``reason`` says why in words; ``cause`` is the limit behind it, empty when it was no limit; ``since_ms`` is when.
    """

    def __init__(self, state: Tradability, reason: str, cause: Cause, since_ms: int) -> None:
        self.state = present(state)
        self.reason = reason
        self.cause = cause
        self.since_ms = since_ms

    def restrict(self, ts_ms: int, state: Tradability, reason: str, cause: Cause = "") -> None:
        """Stop entries; a halt is never weakened, and what waits for a person keeps waiting."""
        state = present(state)
        if SEVERITY[state] < SEVERITY[self.state]:
            return
        if state == self.state and self.cause not in LIFTS_BY_ITSELF:
            if cause in LIFTS_BY_ITSELF:
                return
            cause = cause or self.cause  # resuming settles the limit, too
        self.state, self.reason, self.cause, self.since_ms = state, reason, cause, ts_ms

    def lift(self, cause: Cause) -> None:
        """The limit ``cause`` stands in nobody's way any more."""
        if self.state == "reducing" and self.cause == cause:
            self.resume()

    def resume(self) -> None:
        """Entries are possible again."""
        self.state, self.reason, self.cause = "active", "", ""


def present(state: Tradability) -> Tradability:
    """The present word for a state that an older journal may name."""
    return "reducing" if state == "paused" else state
