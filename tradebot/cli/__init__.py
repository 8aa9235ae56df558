"""The command line. Importing it is cheap; every command imports what it needs when it runs."""

from __future__ import annotations

from tradebot.cli.entry import main

__all__ = ["main"]
