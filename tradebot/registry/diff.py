"""What two versions were made from and how they did, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from tradebot.registry.manifest import Manifest, Metric

Section = Literal["model", "features", "data", "options", "parameters", "training", "libraries", "gate"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the manifests say differently; None where a version does not have it."""

    section: Section
    name: str
    a: str | None
    b: str | None


class MetricPair(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of both versions, each on its own untouched rows."""

    name: str
    a: Metric | None
    b: Metric | None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """``caution`` says why the metrics cannot be compared as they stand; empty when they can."""

    changes: tuple[Change, ...]
    metrics: tuple[MetricPair, ...]
    caution: str


def differences(a: Manifest, b: Manifest) -> Diff:
    """Everything two manifests say differently, and all metrics of either.

    >>> from tests.registry.tiny_model import graph, manifest
    >>> made = manifest(graph())
    >>> differences(made, made).changes
    ()
    """
    changes = [
        Change(section=section, name=name, a=left.get(name), b=right.get(name))
        for (section, left), (_, right) in zip(_facts(a), _facts(b), strict=True)
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]
    metrics = tuple(
        MetricPair(name=name, a=a.metrics.get(name), b=b.metrics.get(name))
        for name in sorted(a.metrics.keys() | b.metrics.keys())
    )
    return Diff(changes=tuple(changes), metrics=metrics, caution=_caution(a, b))


def _caution(a: Manifest, b: Manifest) -> str:
    if a.key != b.key:
        return "these are different models: their metrics answer different questions"
    if (a.horizon_ms, a.options) != (b.horizon_ms, b.options):
        return "their labels differ: their metrics answer different questions"
    ours = [(m.lineage.test_from_ms, m.lineage.data_to_ms, m.lineage.data_sha256) for m in (a, b)]
    if ours[0] != ours[1]:
        return "each was measured on rows of its own; 'tradebot evaluate' measures both on the same ones"
    return ""


def _facts(manifest: Manifest) -> Iterator[tuple[Section, Mapping[str, str]]]:
    lineage, inputs, gate = manifest.lineage, manifest.inputs, manifest.gate
    yield (
        "model",
        _texts(
            model=manifest.key,
            sha256=manifest.sha256,
            horizon_min=manifest.horizon_ms // 60_000,
            entry_bp=manifest.entry_bp,
            provisional=manifest.provisional,
            research_only=manifest.research_only,
            outputs=", ".join(output.tensor for output in manifest.outputs),
        ),
    )
    yield (
        "features",
        {
            **_texts(view=inputs.view, interval=inputs.interval, steps=inputs.steps, schema_hash=inputs.schema_hash),
            **dict.fromkeys(inputs.features, "yes"),
        },
    )
    yield (
        "data",
        _texts(
            from_=_day(lineage.data_from_ms),
            to=_day(lineage.data_to_ms),
            sha256=lineage.data_sha256,
            candles=lineage.candles,
            rows=lineage.rows,
            untouched_from=_day(lineage.test_from_ms),
        ),
    )
    yield "options", _texts(**manifest.options)
    yield "parameters", _texts(**lineage.params)
    spec = {name: value for name, value in lineage.spec.items() if name not in ("code", "seed", "trials")}
    yield "training", _texts(code=lineage.code_version, seed=lineage.seed, trials=lineage.trials, **spec)
    yield "libraries", dict(lineage.libraries)
    yield "gate", _texts(verdict=gate.verdict, champion=gate.champion, rows=gate.rows, baseline=gate.baseline)


def _texts(**values: object) -> dict[str, str]:
    return {
        name.rstrip("_"): f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in values.items()
        if value is not None and value != ""
    }


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
