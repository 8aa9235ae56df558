"""What a rule can be about: members that its kind ignores, and names that nothing has, are mistakes.

A rule that can hit nothing would let a test pass that tested nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from tradebot.sim.channels import is_channel
from tradebot.sim.faults.kinds import CANDLES, Kind, Scope
from tradebot.sim.private import PRIVATE_CHANNELS

REPLY: Final = "reply"
CANDLE_ENDPOINTS: Final = ("candles", "history-candles")
PUBLIC_CHANNELS: Final = ("books", "books1", "books5", "books15", "books50", "trade", "ticker", "candle", "candle5m")
"""Examples of each sort of public channel, for messages."""

NO_CHANNEL: Final = "a channel is said for frames of the scopes public and private alone"
NO_ENDPOINT: Final = "an endpoint is said for requests (scope rest) alone"
NO_SYMBOL: Final = "it acts on all symbols: a connection or a clock is of none"


def mistakes(kind: Kind, scope: Scope, members: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Member and what is wrong with it, for the members that were written in a rule."""
    on_frames = kind.mechanism == "frame" and scope != "rest"
    on_requests = scope == "rest" and kind.mechanism in ("frame", "request") and kind.name != "clock_skew"
    if "channel" in members:
        wrong = _channel(kind, scope, str(members["channel"])) if on_frames else f"{_of(kind, scope)}: {NO_CHANNEL}"
        if wrong:
            yield "channel", wrong
    if "endpoint" in members:
        wrong = _endpoint(kind, str(members["endpoint"])) if on_requests else f"{_of(kind, scope)}: {NO_ENDPOINT}"
        if wrong:
            yield "endpoint", wrong
    if "symbol" in members and not (on_frames or on_requests or kind.mechanism == "exchange"):
        yield "symbol", f"{_of(kind, scope)}: {NO_SYMBOL}"


def unknown_symbol(symbol: str, traded: Collection[str]) -> str:
    """What is wrong with a rule's symbol at an exchange that trades some; empty when nothing is."""
    if not symbol or symbol in traded:
        return ""
    return f"no such symbol {symbol!r}; {_hint(symbol, traded)}this market has {', '.join(sorted(traded))}"


def endpoints() -> tuple[str, ...]:
    """Names of all requests: the last parts of their paths."""
    # the front knows every endpoint, and the exchange behind it knows the faults
    from tradebot.sim.front import ROUTES

    return tuple(sorted({path.rsplit("/", 1)[-1] for _, path in ROUTES.table}))


def _channel(kind: Kind, scope: Scope, channel: str) -> str:
    if kind.channels:
        known = kind.channels
        fits = any(channel.startswith(name) if scope == "public" else channel == name for name in known)
        # a kind may be about candles of every interval
        exists = channel in known or (is_channel(channel) if scope == "public" else channel in PRIVATE_CHANNELS)
        ok = fits and exists
    elif scope == "private":
        known = (*PRIVATE_CHANNELS, REPLY)
        ok = channel in known
    else:
        known = (*PUBLIC_CHANNELS, REPLY)
        ok = channel in (*CANDLES, REPLY) or is_channel(channel)
    if ok:
        return ""
    return f"{_of(kind, scope)} meets no channel {channel!r}; {_hint(channel, known)}there are {', '.join(known)}"


def _endpoint(kind: Kind, endpoint: str) -> str:
    known = CANDLE_ENDPOINTS if kind.channels == CANDLES else ("GET", "POST", *endpoints())
    if endpoint in known:
        return ""
    return f"{_of(kind, 'rest')} meets no request {endpoint!r}; {_hint(endpoint, known)}there are {', '.join(known)}"


def _of(kind: Kind, scope: Scope) -> str:
    return f"{kind.name} of {scope}"


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]}? " if close else ""
