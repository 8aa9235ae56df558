"""A stored version on any rows: its own graph, options, view, entry level and baselines, labels from the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from tradebot.errors import ConfigError, DataError, ModelError
from tradebot.evaluation.headline import ENOUGH_BLOCKS
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import family
from tradebot.jobs import JobCosts, ParquetSource
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.registry import Manifest, Metric, ModelKey, ModelStore
from tradebot.serving.forecaster import load_forecaster
from tradebot.training.baselines import BASELINES_FILE, ChosenBaselines
from tradebot.training.candles import Say, load_candles
from tradebot.training.dataset import build_dataset
from tradebot.training.evaluate import Predictions, evaluate
from tradebot.training.gate import in_batches
from tradebot.training.resampling import apart_rows
from tradebot.training.sides import absent
from tradebot.training.source_files import symbol_told

FAR_MS = 4_102_444_800_000
"""2100-01-01: a file is read to its end."""
ALL_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Scored:
    """``version`` on ``rows`` rows: closes from ``from_ms`` on, the last outcome known at ``to_ms``. ``seen`` of the
    rows are from before the end of what the version was fitted and chosen on."""

    manifest: Manifest
    version: str
    rows: int
    seen: int
    from_ms: int
    to_ms: int
    metrics: Mapping[str, Metric]


def score(
    store: ModelStore,
    key: ModelKey,
    data: Path,
    *,
    version: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    unseen: bool = False,
    days: int | None = None,
    share: float | None = None,
    made_with: Mapping[str, object] | None = None,
    costs: JobCosts | None = None,
    seed: int = 7,
    say: Say = lambda text: None,
) -> Scored:
    """Judge a version (the champion; where there is none, the newest) on the candles of ``data``.

    ``from_ms`` and ``to_ms`` bound the closes that count, the candles before them only warm the features up; ``unseen``
    leaves out rows from before the end of its fit. A file of another symbol is judged as what it is, with what lies
    beside it, and told. Raises ModelError when the version cannot be read or has no
    baselines, DataError when no row is left. Too few days to conclude anything from are told.
    """
    chosen = version or _chosen(store, key, say)
    manifest = store.manifest(key, chosen)
    _check_made_with(manifest, chosen, made_with or {})
    kind = family(manifest.family, manifest.options, manifest.inputs.interval)
    artefact = store.load(key, chosen, schema_hash=kind.schema_hash)
    stored = store.files(key, chosen).get(BASELINES_FILE)
    if stored is None:
        raise ModelError(f"{key} {chosen}: was trained before baselines were kept with a version; retrain it")
    baselines = msgspec.json.decode(stored, type=ChosenBaselines)
    bar_ms = INTERVAL_MS[kind.interval]
    symbol = (symbol_told(data) if data.is_file() else None) or key.symbol
    if symbol != key.symbol:
        say(f"{data}: candles of {symbol}; {key} is judged on another market than it was made for")
    candles = load_candles(
        ParquetSource(path=str(data)), symbol, kind.interval, as_of_ms=FAR_MS, days=ALL_DAYS, say=say
    )
    lacking = absent(candles)
    if lacking:
        say(f"nobody recorded {', '.join(lacking)} beside these candles; features made of them have no value")
    sample = build_dataset(kind, candles, to_learn=False).sample
    fit_end_ms = manifest.lineage.fit_end_ms
    keep = np.ones(len(sample), dtype=np.bool_)
    if from_ms is not None:
        keep &= sample.at_ms >= from_ms
    if to_ms is not None:
        keep &= sample.label_end_ms + bar_ms <= to_ms
    if unseen:
        keep &= sample.at_ms >= fit_end_ms
    if days is not None and len(sample):
        keep &= sample.at_ms > sample.at_ms[-1] - days * DAY_MS
    if share is not None and len(sample):
        keep &= sample.at_ms >= sample.at_ms[-1] - share * (sample.at_ms[-1] - sample.at_ms[0])
    test = sample.where(keep)
    if len(test) < 2:
        raise DataError(f"{data}: {len(sample)} usable rows, none of them in the time asked for; give another span")
    seen = int((test.at_ms < fit_end_ms).sum())
    p, bp = in_batches(load_forecaster(artefact), test.rows)
    said = Predictions(p.astype(np.float64), bp.astype(np.float64))
    spec = manifest.lineage.spec
    rule = TradeRule(hold_rows=kind.horizon_bars, cooldown_rows=int(spec.get("cooldown_rows", 2)))
    metrics = evaluate(
        said,
        test,
        baselines.say(test, tuple(kind.features)),
        cost_bp=(costs or JobCosts()).round_trip_bp,
        entry_bp=manifest.entry_bp,
        rule=rule,
        bar_ms=bar_ms,
        seed=seed,
    )
    _say_how_few(len(test), bar_ms, kind.horizon_bars, say)
    return Scored(manifest, chosen, len(test), seen, int(test.at_ms[0]), int(test.label_end_ms[-1]), metrics)


def _say_how_few(rows: int, bar_ms: int, label_rows: int, say: Say) -> None:
    """Rows of a few days, or hours, hold few outcomes that do not depend on each other."""
    blocks = rows / apart_rows(bar_ms, label_rows)
    lasting = f"the rows last {rows * bar_ms / DAY_MS:.2g} days"
    if blocks < 1.0:
        stretch = apart_rows(bar_ms, label_rows) * bar_ms / DAY_MS
        say(
            f"{lasting}, less than one stretch that may count as independent ({stretch:.2g} days): neither the figures "
            "nor their intervals mean anything, use more days"
        )
    elif blocks < ENOUGH_BLOCKS:
        say(
            f"{lasting}, {blocks:.1f} stretches that may count as independent: with fewer than {ENOUGH_BLOCKS:.0f} the "
            "intervals are rough, too; nothing can be concluded, use more days"
        )


def _check_made_with(manifest: Manifest, version: str, asked: Mapping[str, object]) -> None:
    own = {**manifest.lineage.params, **manifest.options}
    for name, value in asked.items():
        if name not in own:
            raise ConfigError(f"{manifest.key} {version} has no option {name!r}; it has: {', '.join(sorted(own))}")
        if not _same(own[name], value):
            said = f"{manifest.key} {version} was made with {name}={own[name]}, not {value}"
            raise ConfigError(f"{said}; train another version, or leave --set away")


def _same(own: object, asked: object) -> bool:
    """Whether a text says the same as a value.

    >>> _same(0.002, "2e-3"), _same(True, "true"), _same("5m", "1h")
    (True, True, False)
    """
    if isinstance(own, int | float) and not isinstance(own, bool):
        try:
            return float(str(asked)) == own
        except ValueError:
            return False
    return str(own).lower() == str(asked).lower()


def _chosen(store: ModelStore, key: ModelKey, say: Say) -> str:
    pointer = store.champion(key)
    if pointer is not None:
        return pointer.version
    versions = store.versions(key)
    if not versions:
        known = ", ".join(str(one) for one in store.keys()[:8]) or "none"
        raise ModelError(f"{store.root}: has no version of {key}; it has: {known}")
    say(f"{key} has no champion; judging its newest version, {versions[-1]}")
    return versions[-1]
