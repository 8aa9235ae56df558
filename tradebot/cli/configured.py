"""How a bot trades, as its configuration says, for commands that try it on another time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli.options import settings_of

if TYPE_CHECKING:
    from tradebot.settings import Settings

STRATEGY = "threshold"

BotOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Trade as this bot: its trading, risk and strategy sections (and TRADEBOT_*)."
    ),
]


@dataclass(frozen=True, slots=True)
class Configured:
    """The strategy ``name`` of ``folder`` (None: the usual places), and the sections of the settings that hold."""

    name: str
    folder: Path | None
    sections: Mapping[str, Any]

    def onto(self, settings: Settings) -> Settings:
        """``settings`` with these sections in place of its own."""
        return settings.model_copy(update=dict(self.sections))


def check_strategy(settings: Settings) -> None:
    """Raises ConfigError for a strategy that cannot be loaded, and for parameters that it does not take."""
    from tradebot.settings import engine_config
    from tradebot.trading.loading import load_strategy
    from tradebot.trading.strategy import configure

    strategy, _ = load_strategy(settings.strategies_dir, settings.strategy.name)
    configure(strategy, engine_config(settings))


def configured(
    config: Path | None, strategy: str | None, params: Mapping[str, Any], extra: Mapping[str, Any] | None = None
) -> Configured:
    """What ``config`` says, or the defaults without one; ``strategy`` and ``params`` go above it. ``extra`` are
    parameters for when neither names a strategy. The file's parameters are those of its own strategy and of no other.

    Raises ConfigError.
    """
    from tradebot.settings import Settings

    if config is None:
        settings, given = Settings(), dict(extra or {}) if strategy is None else {}
        folder, sections = None, dict[str, Any]()
    else:
        settings = settings_of(config).settings
        given = dict(settings.strategy.params) if strategy in (None, settings.strategy.name) else {}
        folder, sections = settings.strategies_dir, {"trading": settings.trading, "risk": settings.risk}
    name = strategy or (settings.strategy.name if config is not None else STRATEGY)
    chosen = settings.strategy.model_copy(update={"name": name, "params": {**given, **params}})
    return Configured(name, folder, {**sections, "strategy": chosen})
