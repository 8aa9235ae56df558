"""A rule at work: its window in exchange time, its dice, and what it has done so far."""

from __future__ import annotations

import random
from typing import Any

from tradebot.sim.faults.rules import Rule


class Armed:
    """A rule from the moment it was given. ``met`` counts what it could have hit, ``injected`` what it did hit.

    ``number`` tells rules apart; with the seed it makes the dice, so that each rule has its own. ``place`` is what
    people call it by.
    """

    def __init__(self, number: int, rule: Rule, base_ms: int, seed: int, place: str) -> None:
        self.number = number
        self.place = place
        self.rule = rule
        self.from_ms = base_ms + rule.from_ms
        self.until_ms = None if rule.for_ms is None else self.from_ms + rule.for_ms
        self.met = 0
        self.injected = 0
        self.cleared = False
        self.dice = random.Random(f"{seed}/{number}/{rule.kind}")

    def active(self, now_ms: int) -> bool:
        """Whether its time is now. The moment it ends at does not belong to it."""
        return not self.cleared and self.from_ms <= now_ms and (self.until_ms is None or now_ms < self.until_ms)

    def covers(self, at_ms: int) -> bool:
        """Whether a moment, of whenever, lies in its window."""
        return self.from_ms <= at_ms and (self.until_ms is None or at_ms < self.until_ms)

    def strikes(self) -> bool:
        """Whether it hits the thing it has just met."""
        rule = self.rule
        self.met += 1
        drawn = self.dice.random() if rule.probability < 1 else 0.0
        if rule.nth and self.met != rule.nth:
            return False
        if (rule.times and self.injected >= rule.times) or drawn >= rule.probability:
            return False
        self.injected += 1
        return True

    def why_idle(self, now_ms: int) -> str:
        """Why it has hit nothing so far, in words; empty when it has."""
        if self.injected:
            return ""
        if now_ms < self.from_ms:
            return "its time did not come"
        if not self.met:
            return "it met nothing that it is about"
        return f"it met {self.met} and was to hit none of them (probability, nth)"

    def row(self, now_ms: int) -> dict[str, Any]:
        """What the control endpoint tells of it."""
        rule = self.rule
        return {
            "id": self.number,
            "place": self.place,
            "kind": rule.kind,
            "scope": rule.scope,
            "symbol": rule.symbol,
            "channel": rule.channel,
            "endpoint": rule.endpoint,
            "from": self.from_ms,
            "until": self.until_ms,
            "parameters": dict(rule.parameters),
            "active": self.active(now_ms),
            "met": self.met,
            "injected": self.injected,
        }
