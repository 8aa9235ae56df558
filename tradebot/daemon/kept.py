"""The engine on disk and back: what a snapshot of it must be told of the code around it."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from tradebot.journal.graph import Instead, capture, restore
from tradebot.trading.engine import Engine
from tradebot.trading.hooks import Hooks, unwatched
from tradebot.trading.strategy import Strategy

_OF_THE_SHELL: Instead = {(Hooks, "watch"): unwatched}
"""What the shell has put into the engine, and what is there without a shell."""


def keep(engine: Engine, strategy: type[Strategy]) -> bytes:
    """Everything the engine knows. Raises DataError that names what cannot be kept, in the strategy's own state for
    one."""
    return capture(engine, local=_names_of(strategy), instead=_OF_THE_SHELL)


def take_up(data: bytes, strategy: type[Strategy]) -> Engine:
    """The engine that goes on where the kept one was. Code and strategy must be the same. Raises DataError."""
    engine: Engine = restore(data, local=_names_of(strategy))
    return engine


def _names_of(strategy: type[Strategy]) -> Mapping[str, Mapping[str, Any]]:
    """A strategy's file is no module that can be imported by its name."""
    functions = (value for kind in strategy.__mro__ for value in vars(kind).values() if isinstance(value, FunctionType))
    own = (function.__globals__ for function in functions if function.__module__ == strategy.__module__)
    return {strategy.__module__: next(own, {})}
