"""Strategies: which there are, what their parameters mean, and a new one to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli.options import ConfigOption, JsonOption, settings_of
from tradebot.cli.output import json_line, line, paint, table
from tradebot.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from tradebot.trading.described import Description

app = typer.Typer(help="Strategies.", no_args_is_help=True, rich_markup_mode=None)

DirOption = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Folder of strategies (default: yours, and those of tradebot)."),
]


@app.command("list")
def list_strategies(folder: DirOption = None, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Every strategy that a configuration can name, or those of a folder, with parameters, defaults and what they
    mean. Exit code 78 when one cannot be loaded."""
    from tradebot.trading.described import describe
    from tradebot.trading.loading import strategy_names

    folders = [folder] if folder else _folders(config)
    found_in: dict[str, Path] = {}
    for where in folders:
        for name in strategy_names(where):
            found_in.setdefault(name, where)
    if not found_in:
        where = folders[0]
        raise ConfigError(f"{where}: no strategies there; `tradebot strategy new NAME --dir {where}` writes one")
    broken: list[str] = []
    for name, where in sorted(found_in.items()):
        try:
            found = describe(where, name)
        except ConfigError as error:
            broken.append(str(error))
            if as_json:
                json_line({"name": name, "file": str(where / f"{name}.py"), "problem": str(error)})
            continue
        if as_json:
            json_line(found)
        else:
            _print(found)
    if broken:
        raise ConfigError("\n".join(broken))


def _folders(config: Path | None) -> list[Path]:
    """Where a configuration's strategy is looked for, first ones first (as ``strategies_folder`` does)."""
    from tradebot.settings import shipped_strategies

    loaded = settings_of(config)
    chosen, shipped = loaded.settings.strategies_dir, shipped_strategies()
    own = (loaded.path.resolve().parent if loaded.path else Path.cwd()) / "strategies"
    return [own, shipped] if chosen in (own, shipped) else [chosen]


def _print(found: Description) -> None:
    line(f"{paint(found.name, 'bold')}  {found.summary}")
    line(paint(f"{found.file}  {found.sha256[:12]}  {', '.join(found.hooks)}", "dim"))
    if found.parameters:
        rows = ((p.name, "required" if p.required else _text(p.default), p.meaning) for p in found.parameters)
        table(["parameter", "default", "meaning"], rows)
    line()


def _text(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


@app.command("new")
def new_strategy(
    name: Annotated[str, typer.Argument(help="Name of the strategy and of its file, like my_idea.")],
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Folder of strategies; the test goes into DIR/tests.")
    ] = Path("strategies"),
) -> None:
    """Write a commented skeleton that works, and its test. Nothing is overwritten."""
    from tradebot.cli.skeleton import written
    from tradebot.ops.files import disk_error, write_atomic
    from tradebot.settings import shipped_strategies
    from tradebot.trading.loading import is_strategy_name, strategy_names

    if not is_strategy_name(name):
        raise UsageError(f"{name!r} cannot name a strategy: lower-case letters, digits and _, like my_idea")
    path, test = folder / f"{name}.py", folder / "tests" / f"test_{name}.py"
    there = [str(p) for p in (path, test) if p.exists()]
    if there:
        raise UsageError(f"{' and '.join(there)}: there already; choose another name, or remove it first")
    if name in strategy_names(shipped_strategies()):
        raise UsageError(f"{name}: comes with tradebot, and yours would be run instead of it; choose another name")
    try:
        test.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error("create", test.parent, error) from error
    code, check = written(name, str(test))
    write_atomic(path, code.encode())
    write_atomic(test, check.encode())
    line(f"{path}: written; to run it: strategy.name: {name} in config.yaml")
    line(f"{test}: written; to run it: python -m pytest {test} (pytest beside tradebot: pip install pytest)")
