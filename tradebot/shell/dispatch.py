"""Where the engine's commands go that leave it."""

from __future__ import annotations

from collections.abc import Callable

from tradebot.events import Command, RequestReconcile, SetTimer
from tradebot.execution.broker import ORDER_COMMANDS, OrderCommand
from tradebot.shell.alarms import Alarms


def dispatch(
    command: Command, submit: Callable[[OrderCommand], None], alarms: Alarms, ask: Callable[[str], None]
) -> None:
    """Orders and stops to the desk (``submit``), timers to ``alarms``; ``ask`` hears why the account is to be looked at
    as a whole. What is recorded only goes nowhere."""
    if isinstance(command, ORDER_COMMANDS):
        submit(command)
    elif isinstance(command, SetTimer):
        alarms.set(command)
    elif isinstance(command, RequestReconcile):
        ask(command.reason)
