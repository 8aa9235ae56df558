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
WORDS = ("champion", "challenger", "previous")
"""What stands for a version where one is named."""

VersionArgument = Annotated[str | None, typer.Argument(metavar="[VERSION]")]


def store_root(store: Path | None, state: Path | None, config: Path | None) -> Path:
    """Where the model store is, or is to be."""
    if store is not None and state is not None:
        raise UsageError("--store names the model store, --state DIR is short for --store DIR/model_store; choose one")
    named = store if store is not None else state / STORE if state is not None else None
    return named if named is not None else settings_of(config).settings.model_store


def named_store(store: Path | None, state: Path | None, config: Path | None) -> ModelStore:
    """The store to look into. Raises DataError when there is no model in it."""
    from tradebot.registry import ModelStore

    root = store_root(store, state, config)
    # looking must not make folders
    if not root.is_dir() or not ModelStore(root).keys():
        beside = settings_of(config).settings.state_dir if store is None and state is None else root.parent
        raise nothing_yet("there is no model yet", beside, STORE, "'tradebot retrain' trains one", at=root)
    return ModelStore(root)


@app.command("list")
def list_models(
    as_json: JsonOption = False, store: StoreOption = None, state: StateOption = None, config: ConfigOption = None
) -> None:
    """Every version: which serves, what its gate said, how it did on untouched rows."""
    listings = named_store(store, state, config).listings()
    if as_json:
        for item in listings:
            json_line(_listing(item))
        return
    rows = []
    for item in listings:
        entry = _listing(item)
        role = "champion" if item.champion else "previous" if item.previous else ""
        role += " (provisional)" if item.champion and entry["provisional"] else ""
        role = role or (f"challenger ({item.challenger})" if item.challenger else "")
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
        "challenger": item.challenger,
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


def model_of(store: ModelStore, model: str | None) -> ModelKey:
    """The model meant: the only one when none is named. Raises ModelError."""
    from tradebot.registry import ModelKey

    keys = store.keys()
    if model is not None:
        # SOLUSDT is enough where it names one model
        matching = [key for key in keys if model in (str(key), key.symbol)]
        if not matching:
            ModelKey.parse(model)
            raise ModelError(f"{store.root}: no model {model} (known: {', '.join(map(str, keys)) or 'none'})")
        keys = matching
    if len(keys) != 1:
        raise ModelError(f"{store.root}: say which model: {', '.join(map(str, keys)) or 'there is none yet'}")
    return keys[0]


def chosen(store: ModelStore, model: str | None, version: str | None) -> tuple[ModelKey, str]:
    """The version meant: of the only model when none is named, its champion (or newest) when no version is. Raises
    ModelError."""
    key = model_of(store, model)
    if version is not None:
        return key, named_version(store, key, version)
    champion = store.champion(key)
    versions = store.versions(key)
    if champion is None and not versions:
        raise ModelError(f"{key}: has no version yet")
    return key, champion.version if champion is not None else versions[-1]


def named_version(store: ModelStore, key: ModelKey, which: str) -> str:
    """``which`` itself, or the version that ``champion``, ``challenger`` or ``previous`` stands for. Raises ModelError
    when there is none."""
    if which not in WORDS:
        store.manifest(key, which)
        return which
    champion, challenger = store.champion(key), store.challenger(key)
    pointed = {
        "champion": champion.version if champion is not None else None,
        "previous": champion.previous if champion is not None else None,
        "challenger": challenger.version if challenger is not None else None,
    }[which]
    if pointed is None:
        raise ModelError(f"{key}: has no {which}")
    return pointed


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
    found = named_store(store, state, config)
    key, name = chosen(found, model, version)
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
    if manifest.research_only:
        line(paint(f"RESEARCH ONLY: never serves: {manifest.research_only}", "warn"))
    elif manifest.provisional:
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
            ("options", ", ".join(f"{k}={v}" for k, v in sorted(manifest.options.items())) or "none"),
            ("data", lineage.data_sha256),
            ("code", lineage.code_version),
            ("seed", f"{lineage.seed}, {lineage.trials} trials"),
            ("libraries", ", ".join(f"{name} {text}" for name, text in sorted(lineage.libraries.items()))),
        ]
    )  # fmt: skip
    line()
    table(
        ["metric", "value", "interval", "baseline", "unit"],
        [metric_cells(name, metric) for name, metric in sorted(manifest.metrics.items())],
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


def metric_cells(name: str, metric: Metric) -> tuple[str, str, str, str, str]:
    """Name, value, interval, baseline and unit of a metric as text."""
    value = "undefined" if metric.value is None else f"{metric.value:.5g}"
    spread = (
        f"[{metric.low:.4g}, {metric.high:.4g}] at {metric.level:.0%}"
        if metric.low is not None and metric.high is not None
        else ""
    )
    return name, value, spread, "" if metric.baseline is None else f"{metric.baseline:.5g}", metric.unit


def load_for_serving(store: ModelStore, key: ModelKey, version: str) -> None:
    """Load a version as the daemon does: files, feature schema, libraries, golden rows. Raises ModelError."""
    from tradebot.serving import require_schema
    from tradebot.serving.forecaster import load_forecaster

    artefact = store.load(key, version)
    require_schema(artefact)
    load_forecaster(artefact)


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
    found = named_store(store, state, config)
    targets = (
        [chosen(found, model, version)]
        if model is not None or version is not None
        else [(key, name) for key in found.keys() for name in found.versions(key)]  # noqa: SIM118 (not a dict)
    )
    quiet()

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

    sound = [check(key, name, partial(load_for_serving, found, key, name)) for key, name in targets]
    keys = dict.fromkeys(key for key, _ in targets) if model is not None or version is not None else found.keys()
    pointers = [check(key, "champion", partial(found.verify_pointer, key), silent=True) for key in keys]
    problems = []
    if bad := sound.count(False):
        problems.append(f"{bad} of {len(sound)} versions cannot serve")
    if pointers.count(False):
        problems.append("which version serves cannot be told")
    if problems:
        raise ModelError("; ".join(problems))
