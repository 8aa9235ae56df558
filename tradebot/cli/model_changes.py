"""What a person does with versions: compare two, move the pointer, look at who moved it, take one elsewhere."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.cli.log import quiet
from tradebot.cli.models import (
    ModelArgument,
    StateOption,
    chosen,
    load_for_serving,
    metric_cells,
    model_of,
    named_store,
    named_version,
)
from tradebot.cli.options import ConfigOption, JsonOption, StoreOption, settings_of
from tradebot.cli.output import json_line, line, paint, progress, table
from tradebot.cli.times import iso, wall_ms
from tradebot.errors import GateNotPassed, UsageError

if TYPE_CHECKING:
    from tradebot.registry import Challenger, Champion, Manifest, ModelKey, ModelStore

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")]
ListOnlyOption = Annotated[bool, typer.Option("--list-only", help="Say what would be done, and do nothing.")]


def operator() -> str:
    """Who gives commands, for histories."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name
        return f"cli:{os.getuid()}"


def version_of(store: ModelStore, text: str, model: str | None) -> tuple[ModelKey, str]:
    """The version that ``text`` means: ``v0003``, ``champion``, ``challenger`` or ``previous`` of ``model`` (or of the
    only one), a model (its champion), or ``MODEL:`` before one of these. Raises ModelError."""
    before, colon, after = text.rpartition(":")
    name, which = (before, after) if colon else (model, text)
    if not colon and (("/" in text) or text in {key.symbol for key in store.keys()}):  # noqa: SIM118 (not a dict)
        name, which = text, "champion"
    key = model_of(store, name or None)
    return key, named_version(store, key, which)


def diff(
    a: Annotated[
        str, typer.Argument(metavar="A", help="VERSION, champion, challenger or previous; with MODEL: before it.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The version it is compared with, named likewise.")],
    model: Annotated[str | None, typer.Option("--model", metavar="SYMBOL/NAME-INTERVAL")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """What two versions were made from, differently, and their metrics side by side with intervals."""
    from tradebot.registry.diff import differences

    found = named_store(store, state, config)
    (key_a, version_a), (key_b, version_b) = version_of(found, a, model), version_of(found, b, model)
    result = differences(found.manifest(key_a, version_a), found.manifest(key_b, version_b))
    if as_json:
        json_line({"a": f"{key_a}:{version_a}", "b": f"{key_b}:{version_b}", "diff": result})
        return
    names = (version_a, version_b) if key_a == key_b else (f"{key_a} {version_a}", f"{key_b} {version_b}")
    rows = [(c.section, c.name, _cell(c.a), _cell(c.b)) for c in result.changes]
    if rows:
        table(["part", "what", *names], rows)
    else:
        line("the manifests say the same")
    line()
    metrics = []
    for pair in result.metrics:
        ours, theirs = (("", "", "") if m is None else metric_cells(pair.name, m)[1:4] for m in (pair.a, pair.b))
        metrics.append((pair.name, *ours, *theirs))
    table(["metric", names[0], "interval", "baseline", names[1], "interval", "baseline"], metrics, right=[1, 3, 4, 6])
    if result.caution:
        progress(paint(f"caution: {result.caution}", "warn"))


def _cell(text: str | None) -> str:
    shown = "-" if text is None else text
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def promote(
    model: Annotated[str, typer.Argument(metavar="SYMBOL/NAME-INTERVAL")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Or: challenger, previous.")],
    reason: ReasonOption,
    list_only: ListOnlyOption = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Let a version serve. A running daemon takes it up within seconds.

    The version is loaded and its stored forecasts are made again first. One that its gate did not promote is
    provisional: it serves in demo and paper, and is refused where the settings say another mode. One that is for
    research only is always refused.
    """
    found = named_store(store, state, config)
    key = model_of(found, model)
    name = named_version(found, key, version)
    if not reason.strip():
        raise UsageError("--reason says nothing; it is what the history keeps")
    manifest = _able(found, key, name, config)
    champion = found.champion(key)
    if champion is not None and champion.version == name:
        line(f"{key} {name} serves already; nothing is changed")
        return
    if list_only:
        line(f"would promote {key} {name}{f' in place of {champion.version}' if champion is not None else ''}")
        return
    pointer = found.promote(
        key, name, who=operator(), why=reason.strip(), verdict=manifest.gate.verdict, at_ms=wall_ms()
    )
    _tell(key, pointer, as_json)


def _able(store: ModelStore, key: ModelKey, version: str, config: Path | None) -> Manifest:
    """The manifest of a version that may serve in the mode of the settings, and was loaded as the daemon loads it."""
    from tradebot.trading.risk import PROVISIONAL_MODES

    manifest = store.manifest(key, version)
    if manifest.research_only:
        raise GateNotPassed(f"{key} {version}: is for research only and never serves: {manifest.research_only}")
    mode = settings_of(config).settings.mode
    if manifest.provisional and mode not in PROVISIONAL_MODES:
        raise GateNotPassed(
            f"{key} {version}: its gate says {manifest.gate.verdict}, so it never serves in mode {mode}; "
            "train one that is promoted, or use mode paper"
        )
    quiet()
    load_for_serving(store, key, version)
    return manifest


def rollback(
    model: ModelArgument = None,
    reason: ReasonOption = "rolled back by hand",
    list_only: ListOnlyOption = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Let the version serve again that served before, after loading it. A running daemon takes it up within seconds."""
    found = named_store(store, state, config)
    key = model_of(found, model)
    name = named_version(found, key, "previous")
    _able(found, key, name, config)
    if list_only:
        line(f"would go back to {key} {name}")
        return
    _tell(key, found.rollback(key, who=operator(), why=reason.strip(), at_ms=wall_ms()), as_json)


def _tell(key: ModelKey, pointer: Champion, as_json: bool) -> None:
    if as_json:
        _json(key, pointer)
        return
    before = f" (before: {pointer.previous})" if pointer.previous else ""
    line(f"{key} {pointer.version} serves{before}")
    if pointer.provisional:
        line(paint("provisional: in demo and paper only, never in mode live", "warn"))


def _json(key: ModelKey, record: Champion | Challenger, **more: str) -> None:
    import msgspec

    json_line({"model": str(key), **more, **msgspec.to_builtins(record)})


def history(
    model: ModelArgument = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Every promotion and rollback with who and why, oldest first; and the challenger, if there is one."""
    found = named_store(store, state, config)
    keys = [model_of(found, model)] if model is not None else found.keys()
    rows = []
    for key in keys:
        for record in found.history(key):
            if as_json:
                _json(key, record)
            act = record.action + (" (provisional)" if record.provisional else "")
            rows.append((iso(record.at_ms)[:19], str(key), act, record.version, record.previous or "", record.who,
                         record.why))  # fmt: skip
        if (waiting := found.challenger(key)) is not None:
            if as_json:
                _json(key, waiting, action="challenger")
            act = f"challenger ({waiting.state})"
            rows.append((iso(waiting.at_ms)[:19], str(key), act, waiting.version, "", "", waiting.why))
    if not as_json:
        table(["time (UTC)", "model", "act", "version", "before", "who", "why"], rows)


def export(
    to: Annotated[str, typer.Option("--to", metavar="DIR|FILE.tar|mlflow[:DIR]", help="Where to.")],
    model: ModelArgument = None,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Default: the champion.")] = None,
    list_only: ListOnlyOption = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Write a verified version with its model card: to a new folder, a tar file, or laid out as MLflow keeps models."""
    from tradebot.registry.export import export_version

    found = named_store(store, state, config)
    key, name = chosen(found, model, version)
    layout, _, folder = to.partition(":")
    mlflow = layout == "mlflow"
    target = Path(folder or f"mlflow/{key.symbol}-{key.name}-{key.interval}-{name}") if mlflow else Path(to)
    if list_only:
        line(f"would write {key} {name} to {target}")
        return
    files = export_version(found, key, name, target, mlflow=mlflow)
    if as_json:
        json_line({"model": str(key), "version": name, "to": str(target), "files": files})
    else:
        line(f"{key} {name}: {len(files)} files in {target}")
