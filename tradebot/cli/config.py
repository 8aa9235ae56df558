"""The configuration: is it right, what is in force, and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli.configured import check_strategy
from tradebot.cli.options import ConfigOption, JsonOption, settings_of
from tradebot.cli.output import json_line, line, progress, table
from tradebot.errors import ConfigError

if TYPE_CHECKING:
    from tradebot.settings import LoadedSettings

app = typer.Typer(help="Settings.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def check(config: ConfigOption = None) -> None:
    """Find everything that is wrong, strategy included. Exit code 78 when something is.

    With retrain.executor files a library that trains may be missing here; options of its families are not checked then.
    """
    loaded = settings_of(config)
    from tradebot.cli.training_options import check_models
    from tradebot.settings import load_credentials

    settings = loaded.settings
    check_strategy(settings)
    missing = check_models(settings)
    if missing and settings.retrain.executor == "process":
        raise ConfigError("; ".join(missing))
    for text in missing:
        progress(f"{text} (where it is trained; its options were not checked here)")
    load_credentials()
    line(f"{loaded.path or 'defaults'}: ok (mode {settings.mode}, {settings.traded})")


@app.command()
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Also where each value comes from.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Every setting in force. Secrets are masked."""
    loaded = settings_of(config)
    rows = effective(loaded)
    if as_json:
        for key, value, layer, where in rows:
            json_line({"key": key, "value": value} | ({"layer": layer, "where": where} if origin else {}))
        return
    from tradebot.cli.template import written

    header = ["key", "value", "layer", "where"] if origin else ["key", "value"]
    table(
        header,
        [
            (key, written(value), layer, "" if where == layer else where)[: len(header)]
            for key, value, layer, where in rows
        ],
    )


def effective(loaded: LoadedSettings) -> list[tuple[str, Any, str, str]]:
    """(dotted key, value, layer, place) of every setting and credential, secrets masked."""
    from tradebot.settings import credential_origins, mask

    flat = _flat(loaded.settings.model_dump(mode="json"))
    rows: list[tuple[str, Any, str, str]] = []
    for key, origin in loaded.origins.items():
        if key not in flat:  # strategy.params, which is shown by its parameters
            continue
        value = flat[key]
        rows.append((key, mask(value) if isinstance(value, str) else value, origin.layer, origin.where))
    for name, where in credential_origins().items():
        rows.append((f"exchange.{name}", "***", "credential", where))
    return rows


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and prefix != "strategy.params.":  # a parameter may be a section: one value
            flat |= _flat(value, f"{prefix}{name}.") or {prefix + name: {}}
        else:
            flat[prefix + name] = value
    return flat


@app.command()
def schema() -> None:
    """The JSON Schema of the configuration file, for editors."""
    from tradebot.settings import Settings

    json_line(Settings.model_json_schema())


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="- for stdout.")] = Path("config.yaml"),
) -> None:
    """Write a commented configuration file with every default. Never overwrites one that says something else."""
    from tradebot.cli.template import default_config

    if str(path) == "-":
        line(default_config().rstrip("\n"))
        return
    if path.exists():
        if path.is_file() and path.read_bytes() == default_config().encode():
            line(f"{path}: is there already; every key is at its default")
            return
        raise ConfigError(f"{path}: exists already and is not the default one; name another file")
    from tradebot.ops.files import write_atomic

    write_atomic(path, default_config().encode())
    line(f"{path}: written; every key is at its default")
