"""Whether a running bot is well, for whoever supervises it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradebot.daemon.app import Daemon


def ailments(daemon: Daemon) -> list[str]:
    """Why the process should be restarted, in words."""
    return [] if daemon.ledger.alive else [f"ledger: {daemon.ledger.failure}"]


def obstacles(daemon: Daemon) -> list[str]:
    """Why no entry would be made now whatever the strategy says, in words."""
    state = daemon.engine.state
    found = ailments(daemon)
    if not daemon.ready.is_set():
        found.append(f"phase: {daemon.phase}")
    if not daemon.stream.up:
        found.append("streams: not every connection is up")
    if state.tradability != "active":
        found.append(f"{state.tradability}: {state.halt_reason}".removesuffix(": "))
    symbols = [daemon.engine.symbols[name] for name in daemon.config.symbols if name in daemon.engine.symbols]
    return found + [f"{symbol.name}: {symbol.feed_reason or 'no data yet'}" for symbol in symbols if not symbol.feed_ok]
