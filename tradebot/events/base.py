"""The record, and the closed sets of words that records use."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["demo", "paper", "exchange-demo", "live"]
OrderType = Literal["market", "limit"]
TimeInForce = Literal["gtc", "ioc", "fok", "post_only"]
OrderStatus = Literal["live", "partially_filled", "filled", "canceled"]
OutcomeKind = Literal["accepted", "rejected", "unknown"]
Purpose = Literal["entry", "exit", "stop", "close"]
Verdict = Literal["pass", "shrink", "block"]
OperatorAction = Literal["halt", "pause", "resume", "flatten", "close", "adopt", "ignore"]
DifferenceKind = Literal[
    "order", "fill", "stop", "position", "foreign", "balance", "leverage", "margin_mode", "position_mode", "contract"
]
Tradability = Literal["active", "reducing", "halted", "paused"]
"""What the bot may do: everything; only what makes positions smaller; that, until a person resumes.

``paused`` is what older journals call ``reducing``.
"""
Cause = Literal["", "daily_loss", "drawdown", "losses_in_a_row", "liquidation_distance", "delisting"]
"""Which standing limit restricted trading; empty: a person, or something that is no limit."""


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Anything that travels through the journal."""
