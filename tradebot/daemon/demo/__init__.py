"""``tradebot demo``: the embedded exchange, a first model, the whole daemon, and an honest account of what happened."""

from __future__ import annotations

from tradebot.daemon.demo.folder import MARKER, STATE
from tradebot.daemon.demo.run import run_demo

__all__ = ["MARKER", "STATE", "run_demo"]
