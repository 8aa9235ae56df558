"""Whether a running bot is well, for whoever supervises it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradebot.exchange.bitget.listener import PRIVATE
from tradebot.trading.exposure import obstacles as entry_obstacles

if TYPE_CHECKING:
    from tradebot.daemon.app import Daemon


def ailments(daemon: Daemon) -> list[str]:
    """Why the process should be restarted, in words."""
    return [] if daemon.ledger.alive else [f"ledger: {daemon.ledger.failure}"]


def obstacles(daemon: Daemon) -> list[str]:
    """Why an entry would not be made now whatever the strategy says, in words: of the whole bot, and of each symbol."""
    state = daemon.engine.state
    found = ailments(daemon)
    if not daemon.ready.is_set():
        found.append(f"phase: {daemon.phase}")
    down = [connection for connection in daemon.stream.connections if not connection.up]
    if any(connection.rank == PRIVATE for connection in down):
        found.append("private stream: not connected")
    if any(connection.rank != PRIVATE for connection in down):
        found.append("public streams: not every connection is up")
    if state.tradability != "active":
        found.append(f"{state.tradability}: {state.halt_reason}".removesuffix(": "))
    by_symbol = {
        name: entry_obstacles(daemon.engine, name) for name in daemon.config.symbols if name in daemon.engine.universe
    }
    everywhere = set.intersection(*map(set, by_symbol.values())) if len(by_symbol) > 1 else set()
    found += [f"every symbol: {why}" for why in sorted(everywhere)]
    return found + [f"{name}: {why}" for name, all_ in by_symbol.items() for why in all_ if why not in everywhere]
