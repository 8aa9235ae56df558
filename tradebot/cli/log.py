"""Logging of commands that are no daemon: warnings only, on stderr."""

from __future__ import annotations


def quiet(mode: str = "cli") -> None:
    """Keep informational log lines of the parts a command uses out of its output."""
    from tradebot.ops.logging import configure

    configure(mode, level="warning")
