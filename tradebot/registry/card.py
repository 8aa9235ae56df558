"""Model cards: what a version is for, what it learned from, how it did, and where it ends. Made from its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from tradebot.registry.manifest import Manifest, Metric, ModelKey

LICENCE = (
    "The program that trained it is under the Apache License 2.0. The market data it learned from belongs to the venue "
    "it came from, whose terms apply. No licence for the weights is given here: choose one before publishing them."
)
NO_ADVICE = (
    "Not investment advice. Figures describe the past rows named here and promise nothing for other rows; trading "
    "perpetual futures can lose more than planned."
)


def model_card(manifest: Manifest, version: str, *, serves: bool = False) -> str:
    """Markdown for one version, with the metadata block that the HuggingFace Hub reads.

    ``serves``: whether the version is its model's champion. Deterministic: equal manifests give equal cards.
    """
    lineage, inputs = manifest.lineage, manifest.inputs
    shape = "one row" if inputs.steps == 1 else f"a window of {inputs.steps} rows"
    outputs = ", ".join(f"`{o.tensor}` ({', '.join(o.columns)}; {o.unit})" for o in manifest.outputs)
    metrics = (_metric(name, metric) for name, metric in sorted(manifest.metrics.items()))
    sections = [
        _front_matter([manifest.family, manifest.symbol, inputs.interval]),
        f"# {manifest.key} {version}",
        _status(manifest, serves),
        "## Intended use",
        f"Forecasts {manifest.symbol} {manifest.horizon_ms // 60_000} minutes ahead from closed {inputs.interval} "
        "candles, as one input of a strategy that checks every order against its own risk limits. It is served by "
        "`tradebot`, which computes the inputs bit for bit as in training; nothing else computes them. "
        f"`model.onnx` takes `{inputs.tensor}` (float32, {shape} of {len(inputs.features)} columns of the view "
        f"`{inputs.view}`, NaN where unknown, in the order of `features.txt`, schema `{inputs.schema_hash[:16]}`) and "
        f"gives {outputs}.",
        "## Data",
        _table(
            ("what", "value"),
            [
                ("candles", f"{lineage.candles} of {manifest.symbol} {inputs.interval}, "
                            f"{_day(lineage.data_from_ms)} to {_day(lineage.data_to_ms)} UTC"),
                ("SHA-256 of the candles", f"`{lineage.data_sha256}`"),
                ("rows", str(lineage.rows)),
                ("nothing was chosen on rows after", f"{_day(lineage.fit_end_ms)} UTC"),
                ("untouched rows from", f"{_day(lineage.test_from_ms)} UTC"),
                ("options", _options(manifest.options)),
                ("parameters", _options(lineage.params)),
                ("seed, trials", f"{lineage.seed}, {lineage.trials}"),
                ("code", f"`{lineage.code_version}`"),
                ("libraries", ", ".join(f"{k} {v}" for k, v in sorted(lineage.libraries.items()))),
                ("SHA-256 of model.onnx", f"`{manifest.sha256}`"),
            ],
        ),
        "## Metrics",
        "On untouched rows, after costs where money is meant. Intervals are block bootstraps; a baseline is what the "
        "simplest known rule reaches on the same rows.",
        _table(("metric", "value", "interval", "baseline", "unit"), metrics),
        "## Gate",
        f"**{manifest.gate.verdict}** on {manifest.gate.rows} rows: {manifest.gate.reason}",
        _table(
            ("condition", "passed", "seen", "required"),
            [(c.name, "yes" if c.passed else "no", c.value, c.required) for c in manifest.gate.checks],
        ),
        "## Limits",
        _limits(manifest),
        "## Licence",
        LICENCE,
    ]  # fmt: skip
    return "\n\n".join(section for section in sections if section) + "\n"


def index_card(title: str, versions: Iterable[tuple[ModelKey, str, Manifest]]) -> str:
    """Markdown for a folder of several models: one line each, with the figures that its gate looked at."""
    known = list(versions)
    rows = [
        (
            f"[{key}]({key}/{version}/README.md)",
            version,
            manifest.gate.verdict,
            f"{_day(manifest.lineage.data_from_ms)[:10]} to {_day(manifest.lineage.data_to_ms)[:10]}",
            _short(manifest.metrics.get("net_bp_per_trade")),
            _short(manifest.metrics.get("log_loss_skill")),
        )
        for key, version, manifest in known
    ]
    sections = [
        _front_matter(sorted({m.family for _, _, m in known})),
        f"# {title}",
        "Forecasters of `tradebot`, one folder for each version as in its model store. `tradebot models pull` checks "
        "every file against `MANIFEST.sha256` before a version is stored; none serves until it is promoted.",
        _table(("model", "version", "gate", "data (UTC)", "net bp a trade", "log-loss skill"), rows),
        LICENCE,
        NO_ADVICE,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(tags: Iterable[str]) -> str:
    listed = "\n".join(f"- {tag}" for tag in ("tradebot", "finance", *tags))
    return f"---\nlibrary_name: onnx\npipeline_tag: time-series-forecasting\ntags:\n{listed}\n---"


def _status(manifest: Manifest, serves: bool) -> str:
    if manifest.research_only:
        return f"**For research only; never serves:** {manifest.research_only}"
    place = "Champion of its model. " if serves else ""
    if manifest.provisional:
        return f"{place}**Provisional: not proven better than its baseline net of costs; never serves in mode live.**"
    return f"{place}Passed its gate."


def _limits(manifest: Manifest) -> str:
    absent = manifest.lineage.spec.get("absent")
    notes = [
        f"Knows {manifest.symbol} of the days above only; markets change, so it is to be retrained.",
        f"Judged for trades with costs of {manifest.lineage.spec.get('round_trip_bp', 'unstated')} bp a round trip.",
        "No threshold made enough trades to tell an entry level."
        if manifest.entry_bp is None
        else f"Acts from |expected return| >= {manifest.entry_bp:.2f} bp, chosen on validation rows.",
        f"These inputs were unknown throughout its training: {absent}." if absent else "",
        NO_ADVICE,
    ]
    return "\n".join(f"- {note}" for note in notes if note)


def _metric(name: str, metric: Metric) -> tuple[str, str, str, str, str]:
    value = "undefined" if metric.value is None else f"{metric.value:.5g}"
    spread = "" if metric.low is None or metric.high is None else f"{metric.low:.4g} to {metric.high:.4g}"
    level = f" ({metric.level:.0%})" if spread else ""
    baseline = "" if metric.baseline is None else f"{metric.baseline:.5g}"
    named = f" ({metric.baseline_name})" if baseline and metric.baseline_name else ""
    return name, value, spread + level, baseline + named, metric.unit


def _short(metric: Metric | None) -> str:
    if metric is None or metric.value is None:
        return ""
    spread = "" if metric.low is None or metric.high is None else f" [{metric.low:.3g}, {metric.high:.3g}]"
    return f"{metric.value:.3g}{spread}"


def _options(values: dict[str, float | int | str | bool]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items())) or "none"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    if not body:
        return ""
    return "\n".join(f"| {line} |" for line in (" | ".join(header), " | ".join("---" for _ in header), *body))


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
