"""Looking into the model store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli.log import quiet
from tradebot.cli.options import ConfigOption, JsonOption, StoreOption, nothing_yet, settings_of
from tradebot.cli.output import json_line, line, paint, pairs, table
from tradebot.cli.times import iso
from tradebot.errors import ModelError, UsageError

if TYPE_CHECKING:
    from tradebot.registry import Listing, Manifest, Metric, ModelKey, ModelStore

app = typer.Typer(help="Model versions.", no_args_is_help=True, rich_markup_mode=None)

ModelArgument = Annotated[str | None, typer.Argument(metavar="[SYMBOL/NAME-INTERVAL]")]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State directory whose model_store to look into.")
]
STORE = "model_store"

VersionArgument = Annotated[str | None, typer.Argument(metavar="[VERSION]")]


def _store(store: Path | None, state: Path | None, config: Path | None) -> ModelStore:
    """The store to look into. Raises DataError when there is no model in it."""
    from tradebot.registry import ModelStore

    if store is not None and state is not None:
        raise UsageError("--store names the model store, --state DIR is short for --store DIR/model_store; choose one")
    named = store if store is not None else state / STORE if state is not None else None
    root = named if named is not None else settings_of(config).settings.model_store
    # looking must not make folders
    if not root.is_dir() or not ModelStore(root).keys():
        beside = settings_of(config).settings.state_dir if named is None else root.parent
        raise nothing_yet("there is no model yet", beside, STORE, "'tradebot retrain' trains one", at=root)
    return ModelStore(root)


@app.command("list")
def list_models(
    as_json: JsonOption = False, store: StoreOption = None, state: StateOption = None, config: ConfigOption = None
) -> None:
    """Every version: which serves, what its gate said, how it did on untouched rows."""
    listings = _store(store, state, config).listings()
    if as_json:
        for item in listings:
            json_line(_listing(item))
        return
    rows = []
    for item in listings:
        entry = _listing(item)
        role = "champion" if item.champion else "previous" if item.previous else ""
        role += " (provisional)" if item.champion and entry["provisional"] else ""
        role = role or ("unknown" if item.pointer_problem else "")
        trained_to = iso(entry["data_to_ms"])[:16] if entry["data_to_ms"] else ""
        rows.append((entry["model"], item.version, role, entry["verdict"], trained_to, entry["rows"], entry["why"]))
    table(["model", "version", "serves", "gate", "data to (UTC)", "rows", "why"], rows, right=[5])
    for problem in dict.fromkeys(item.pointer_problem for item in listings if item.pointer_problem):
        line(paint(problem, "bad"))


def _listing(item: Listing) -> dict[str, Any]:
    manifest = item.manifest
    known = {
        "model": str(item.key),
        "version": item.version,
        "champion": item.champion,
        "previous": item.previous,
        "pointer_problem": item.pointer_problem,
        "verdict": "unreadable",
        "provisional": False,
        "why": item.problem,
        "rows": "",
        "sha256": "",
        "data_from_ms": 0,
        "data_to_ms": 0,
    }
    if manifest is not None:
        known |= {
            "verdict": manifest.gate.verdict,
            "provisional": manifest.provisional,
            "why": manifest.gate.reason,
            "rows": manifest.lineage.rows,
            "sha256": manifest.sha256,
            "data_from_ms": manifest.lineage.data_from_ms,
            "data_to_ms": manifest.lineage.data_to_ms,
        }
    return known


def _chosen(store: ModelStore, model: str | None, version: str | None) -> tuple[ModelKey, str]:
    """The version meant: the only model when none is named, its champion (or newest) when no version is."""
    from tradebot.registry import ModelKey

    keys = store.keys()
    if model is not None:
        # SOLUSDT or lightgbm-5m are enough where they name one model
        matching = [key for key in keys if model in (str(key), key.symbol)]
        if not matching:
            ModelKey.parse(model)
            raise ModelError(f"{store.root}: no model {model} (known: {', '.join(map(str, keys)) or 'none'})")
        keys = matching
    if len(keys) != 1:
        raise ModelError(f"{store.root}: say which model: {', '.join(map(str, keys)) or 'there is none yet'}")
    key = keys[0]
    if version is None:
        champion = store.champion(key)
        versions = store.versions(key)
        if champion is None and not versions:
            raise ModelError(f"{key}: has no version yet")
        version = champion.version if champion is not None else versions[-1]
    return key, version


@app.command("show")
def show_model(
    model: ModelArgument = None,
    version: VersionArgument = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """One version: where it comes from, its metrics with intervals and baselines, every condition of its gate."""
    found = _store(store, state, config)
    key, name = _chosen(found, model, version)
    manifest = found.manifest(key, name)
    if as_json:
        import msgspec

        json_line({"version": name, **msgspec.to_builtins(manifest)})
        return
    _describe(key, name, manifest, found)


def _describe(key: ModelKey, version: str, manifest: Manifest, store: ModelStore) -> None:
    champion = store.champion(key)
    serves = champion is not None and champion.version == version
    lineage = manifest.lineage
    line(paint(f"{key} {version}", "bold") + ("  serves" if serves else ""))
    if manifest.provisional:
        line(paint("PROVISIONAL: not proven better than the baseline net of costs; never serves in mode live", "warn"))
    pairs(
        [
            ("sha256", manifest.sha256),
            ("inputs", f"{len(manifest.inputs.features)} features of {manifest.inputs.interval} candles "
                       f"(schema {manifest.inputs.schema_hash[:12]})"),
            ("horizon", f"{manifest.horizon_ms // 60_000} min"),
            ("entry", "none" if manifest.entry_bp is None else f"|expected| >= {manifest.entry_bp:.2f} bp"),
            ("candles", f"{lineage.candles} from {iso(lineage.data_from_ms)} to {iso(lineage.data_to_ms)} UTC"),
            ("untouched", f"rows from {iso(lineage.test_from_ms)} UTC (nothing was chosen after "
                          f"{iso(lineage.fit_end_ms)})"),
            ("data", lineage.data_sha256),
            ("code", lineage.code_version),
            ("seed", f"{lineage.seed}, {lineage.trials} trials"),
            ("libraries", ", ".join(f"{name} {text}" for name, text in sorted(lineage.libraries.items()))),
        ]
    )  # fmt: skip
    line()
    table(
        ["metric", "value", "interval", "baseline", "unit"],
        [_metric(name, metric) for name, metric in sorted(manifest.metrics.items())],
        right=[1, 3],
    )
    line()
    line(f"gate: {manifest.gate.verdict}: {manifest.gate.reason}")
    if manifest.gate.checks:
        table(
            ["condition", "passed", "seen", "required"],
            [(c.name, "yes" if c.passed else "no", c.value, c.required) for c in manifest.gate.checks],
        )
    for record in store.history(key):
        if record.version == version:
            line(f"{iso(record.at_ms)} UTC  {record.action} by {record.who}: {record.why}")


def _metric(name: str, metric: Metric) -> tuple[str, str, str, str, str]:
    value = "undefined" if metric.value is None else f"{metric.value:.5g}"
    spread = (
        f"[{metric.low:.4g}, {metric.high:.4g}] at {metric.level:.0%}"
        if metric.low is not None and metric.high is not None
        else ""
    )
    return name, value, spread, "" if metric.baseline is None else f"{metric.baseline:.5g}", metric.unit


@app.command("verify")
def verify_models(
    model: ModelArgument = None,
    version: VersionArgument = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Whether models can serve: files against their recorded SHA-256, feature schema, library releases, golden rows.

    Also whether the pointer to the version that serves is sound. Without arguments: every version of every model. Exit
    code 65 when something is wrong.
    """
    found = _store(store, state, config)
    targets = (
        [_chosen(found, model, version)]
        if model is not None or version is not None
        else [(key, name) for key in found.keys() for name in found.versions(key)]  # noqa: SIM118 (not a dict)
    )
    quiet()
    from tradebot.features.catalogue import SCHEMA_HASH
    from tradebot.serving.forecaster import load_forecaster

    def check(key: ModelKey, what: str, run: Callable[[], object], silent: bool = False) -> bool:
        problem = ""
        try:
            run()
        except ModelError as error:
            problem = str(error)
        if silent and not problem:
            return True
        if as_json:
            json_line({"model": str(key), "version": what, "ok": not problem, "problem": problem})
        else:
            line(f"{key} {what}: {paint('ok', 'good') if not problem else paint(problem, 'bad')}")
        return not problem

    def serve(key: ModelKey, name: str) -> None:
        load_forecaster(found.load(key, name, schema_hash=SCHEMA_HASH))

    sound = [check(key, name, partial(serve, key, name)) for key, name in targets]
    keys = dict.fromkeys(key for key, _ in targets) if model is not None or version is not None else found.keys()
    pointers = [check(key, "champion", partial(found.verify_pointer, key), silent=True) for key in keys]
    problems = []
    if bad := sound.count(False):
        problems.append(f"{bad} of {len(sound)} versions cannot serve")
    if pointers.count(False):
        problems.append("which version serves cannot be told")
    if problems:
        raise ModelError("; ".join(problems))
