"""Options that several commands share, and how they find the configuration and the state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.errors import DataError

if TYPE_CHECKING:
    from tradebot.settings import LoadedSettings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (default: ./config.yaml if any).")
]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State directory (default: state_dir of the settings).")
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="Model store (default: model_store of the settings).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on each line of stdout.")]
SymbolsOption = Annotated[list[str] | None, typer.Option("--symbol", "--symbols", metavar="SYMBOL…")]

MAX_SEED = 2**32 - 1
"""As in ``tradebot.settings.values``, which costs too much time to import for a ``--help``."""


def settings_of(config: Path | None, overrides: Mapping[str, object] | None = None) -> LoadedSettings:
    """All layers of the settings. Raises ConfigError."""
    from tradebot.settings import load_settings

    return load_settings(config, {key: value for key, value in (overrides or {}).items() if value is not None})


def state_of(state: Path | None, config: Path | None = None) -> Path:
    """The state directory that a reading command looks at."""
    return state if state is not None else settings_of(config).settings.state_dir


def nothing_yet(what: str, state: Path, part: str, remedy: str, at: Path | None = None) -> DataError:
    """The error of a command that finds nothing to read.

    ``part`` is what it looked for below a state directory: where a demo below ``state`` has it, the line says so
    instead of ``remedy``. ``at``: the place that the line names, if not ``state``.
    """
    demo = state / "demo"
    hint = f"to look at the demo add: --state {_shown(demo)}" if (demo / part).exists() else remedy
    return DataError(f"{_shown(at or state)}: {what}; {hint}")


def _shown(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
