"""Which faults are tried in which scope, with what parameters, and what may be expected of the bot meanwhile.

The market moves every 30 s here, and a candle lasts 5 minutes: delays are chosen to matter at that pace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tests.sim.faulty import faults
from tradebot.market.candle import MINUTE_MS
from tradebot.sim.faults import KINDS, Schedule
from tradebot.sim.faults.kinds import Scope

SCOPES: tuple[Scope, ...] = get_args(Scope)

Data = Literal["bad", "shaky", "good", "any"]
"""What the market data is meanwhile: of no use at all, of none now and then, sound, or not what this is about."""

CALM, QUICK = 3_000.0, 6_000.0
"""Exchange seconds per second: where pings and reconnects matter, and where a round trip does."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind in one scope. ``members`` go into its rule.

    The fault lasts from ``from_min`` for ``for_min`` minutes of a market of ``total_min``. ``speed`` as for the
    exchange. ``stops`` says why the bot must stop trading until a person has looked, which then happens; it
    ``may_halt`` where commands are lost: a stop and then a close that both do not arrive leave it nothing else. A fault
    that meets new connections only is met by those that are ``cut`` when it begins. A ``brisk`` bot notices soon that
    nobody answers. ``also`` are more rules of the same time, without which the fault would not be met.
    """

    kind: str
    scope: Scope
    members: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    data: Data = "good"
    from_min: int = 30
    for_min: int = 25
    total_min: int = 100
    speed: float | None = None
    stops: str = ""
    may_halt: bool = False
    cut: bool = False
    brisk: bool = False
    also: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.kind}{f' ({self.label})' if self.label else ''}"

    def offset_ms(self, seed: int) -> int:
        """Where in a candle the fault begins: another place for each seed."""
        return seed * 47_000 % (5 * MINUTE_MS)

    def start_ms(self, seed: int) -> int:
        """When it begins, since the market's start."""
        return self.from_min * MINUTE_MS + self.offset_ms(seed)

    def end_ms(self, seed: int) -> int:
        """When it is over, since the market's start."""
        return self.start_ms(seed) + self.for_min * MINUTE_MS

    def schedule(self, seed: int) -> Schedule:
        start_s = self.start_ms(seed) // 1_000
        window = {"from": f"{start_s}s", "for": f"{self.for_min}m"}
        cut = {"kind": "connection_drop", "scope": self.scope, "from": f"{start_s}s"}
        rule = {"kind": self.kind, "scope": self.scope, **window, **self.members}
        more = [{**window, **members} for members in self.also]
        return faults(rule, *([cut] if self.cut else []), *more, seed=seed)


NO_CANDLES = {"kind": "drop", "scope": "public", "channel": "candle"}
"""Candles are asked for by REST when the stream does not tell them."""

CASES: tuple[Case, ...] = (
    Case("drop", "public", {"probability": 0.5}, data="shaky", speed=QUICK),
    Case("drop", "private", {"probability": 0.5}, speed=QUICK),
    Case("delay", "public", {"delay": "90s"}, data="bad", speed=QUICK),
    Case("delay", "private", {"delay": "90s"}, speed=QUICK),
    Case("jitter", "public", {"jitter": "90s"}, data="shaky", speed=QUICK),
    Case("jitter", "private", {"jitter": "90s"}, speed=QUICK),
    Case("duplicate", "public", speed=QUICK),
    Case("duplicate", "private"),
    Case("reorder", "public", data="shaky", speed=QUICK),
    Case("reorder", "private", speed=QUICK),
    Case("corrupt_json", "public", {"probability": 0.5}, data="shaky", speed=QUICK),
    Case("corrupt_json", "private", {"probability": 0.5}, speed=QUICK),
    Case("corrupt_json", "rest", {"probability": 0.3}, speed=QUICK, may_halt=True),
    Case("truncated_frame", "public", {"probability": 0.5}, data="shaky", speed=QUICK),
    Case("truncated_frame", "private", {"probability": 0.5}, speed=QUICK),
    Case("truncated_frame", "rest", {"probability": 0.3}, speed=QUICK, may_halt=True),
    Case("sequence_gap", "public", {"probability": 0.3}, data="shaky", speed=QUICK),
    Case("sequence_reset", "public", {"probability": 0.3}, data="shaky", speed=QUICK),
    Case("wrong_checksum", "public", {"probability": 0.3}, data="shaky", speed=QUICK),
    Case("silent_stream", "public", data="bad", speed=CALM),
    Case("silent_stream", "private", speed=CALM),
    Case("half_open", "public", data="shaky", speed=CALM, total_min=120, brisk=True),
    Case("half_open", "private", speed=CALM, total_min=120, brisk=True),
    Case("connection_drop", "public", {"every": "3m"}, data="shaky", speed=CALM),
    Case("connection_drop", "private", {"every": "3m"}, speed=CALM),
    Case("refused_connection", "public", data="shaky", speed=CALM, cut=True),
    Case("refused_connection", "private", {"status": 503}, speed=CALM, cut=True),
    Case("login_refused", "private", speed=CALM, cut=True),
    Case("slow_rest", "rest", {"delay": "20ms", "jitter": "20ms", "probability": 0.5}),
    Case("rate_limit_storm", "rest", {"probability": 0.5}, speed=QUICK, may_halt=True),
    Case("server_error", "rest", {"probability": 0.4}, speed=QUICK, may_halt=True),
    Case("server_error", "rest", {"probability": 0.4, "effect": True}, "done", speed=QUICK, may_halt=True),
    Case("html_page", "rest", {"probability": 0.4}, speed=QUICK, may_halt=True),
    Case("html_page", "rest", {"probability": 0.4, "effect": True}, "done", speed=QUICK, may_halt=True),
    Case("empty_body", "rest", {"probability": 0.4}, speed=QUICK, may_halt=True),
    Case("empty_body", "rest", {"probability": 0.4, "effect": True}, "done", speed=QUICK, may_halt=True),
    Case("clock_skew", "rest", speed=CALM),
    Case("clock_skew", "private", speed=CALM, cut=True),
    Case("answer_lost_after_accept", "rest", {"probability": 0.5}, speed=QUICK, may_halt=True),
    Case("answer_lost_after_accept", "rest", {"probability": 0.5, "hang": True}, "hangs", speed=QUICK, may_halt=True),
    Case("answer_lost_before", "rest", {"probability": 0.5}, speed=QUICK, may_halt=True),
    Case("failure_but_stands", "rest", {"probability": 0.5}, speed=QUICK, may_halt=True),
    Case("failure_but_stands", "rest", {"probability": 0.5, "effect": False}, "does not", speed=QUICK, may_halt=True),
    Case("fill_twice", "private"),
    Case("fills_out_of_order", "private", speed=QUICK),
    Case("push_missing", "private", speed=QUICK),
    Case("candle_gap", "public", for_min=10, speed=QUICK),
    Case("candle_gap", "rest", for_min=10, data="any", also=(NO_CANDLES,), speed=QUICK),
    Case("late_candle", "public", {"delay": "40s"}, speed=QUICK),
    Case("late_candle", "rest", {"delay": "40s"}, data="any", also=(NO_CANDLES,), speed=QUICK),
    Case("duplicate_candle", "public", speed=QUICK),
    Case("duplicate_candle", "rest", data="any", also=(NO_CANDLES,), speed=QUICK),
    Case("maintenance", "rest", from_min=50, total_min=160, speed=QUICK),
    Case("delisting", "rest", from_min=50, total_min=160, speed=QUICK),
    Case("delisting", "rest", {"status": "off"}, "off", from_min=50, total_min=160, speed=QUICK),
    Case("delisting", "rest", {"status": "gone"}, "gone", from_min=50, total_min=160, speed=QUICK),
    Case("tick_change", "rest", from_min=50, total_min=160, speed=QUICK),
    Case("leverage_changed_outside", "rest", speed=QUICK),
    Case(
        "position_closed_outside", "private", {"symbol": "SOLUSDT"}, stops="the exchange closed by force", speed=QUICK
    ),
    Case(
        "position_closed_outside", "private", {"symbol": "SOLUSDT", "by": "person"}, "by a person",
        stops="an execution that is not ours", speed=QUICK,
    ),
)  # fmt: skip

REASONS: dict[tuple[str, Scope], str] = {
    ("drop", "rest"): "a request that is lost is answer_lost_before or answer_lost_after_accept",
    ("delay", "rest"): "a late answer is slow_rest",
    ("jitter", "rest"): "answers of varying lateness are slow_rest with jitter",
    ("duplicate", "rest"): "HTTP pairs one answer with one request",
    ("reorder", "rest"): "HTTP pairs one answer with one request",
    ("half_open", "rest"): "a request that is never answered is answer_lost_* with hang",
    ("silent_stream", "rest"): "a request that is never answered is answer_lost_* with hang",
    ("connection_drop", "rest"): "a request whose connection is cut is answer_lost_*",
    ("refused_connection", "rest"): "requests and streams share a port; what does not arrive is answer_lost_before",
}


def reason(kind: str, scope: Scope) -> str:
    """Why a kind is not tried in a scope; empty when it is."""
    if scope in KINDS[kind].scopes:
        return ""
    return REASONS.get((kind, scope)) or f"it acts on {' and '.join(KINDS[kind].scopes)} by its nature"
