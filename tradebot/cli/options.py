"""Options that several commands share, and how they find the configuration and the state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.errors import ConfigError

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


def settings_of(config: Path | None, overrides: Mapping[str, object] | None = None) -> LoadedSettings:
    """All layers of the settings. Raises ConfigError."""
    from tradebot.settings import load_settings

    return load_settings(config, {key: value for key, value in (overrides or {}).items() if value is not None})


def state_of(state: Path | None, config: Path | None = None) -> Path:
    """The state directory that a reading command looks at.

    Raises ConfigError when there is none; the line says where a demo's state is, if there is one.
    """
    folder = state if state is not None else settings_of(config).settings.state_dir
    content = list(folder.iterdir()) if folder.is_dir() else []
    if [item for item in content if item.name != "demo"]:
        return folder
    demo = folder / "demo"
    if demo.is_dir() and any(demo.iterdir()):
        raise ConfigError(f"{_shown(folder)} holds no state of a bot; to look at the demo add: --state {_shown(demo)}")
    what = "is empty" if folder.is_dir() else "does not exist"
    raise ConfigError(f"{_shown(folder)} {what}: nothing has run there yet (state_dir, or --state DIR)")


def _shown(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
