"""One retraining, from candles to the champion pointer.

data → dataset → purged splits → tune → fit → evaluate → export → parity → gate → immutable version → pointer. Until
the last step the champion is not touched, and the last step is one rename: a failure anywhere leaves it serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from tradebot.data.columns import utc
from tradebot.errors import DataError, GateNotPassed
from tradebot.evaluation.gate import Criterion
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import CandleColumns, Family, Fitted, Params, Sample
from tradebot.jobs import JobResult, RetrainJob
from tradebot.jobs.job import JobMetric
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.registry import Artefact, Manifest, ModelKey, ModelStore
from tradebot.registry.manifest import encode, sha256_hex
from tradebot.serving.forecaster import load_forecaster, tolerance_of
from tradebot.training.asked import Asked, asked_for
from tradebot.training.baselines import BASELINES_FILE, choose_baselines
from tradebot.training.candles import load_candles
from tradebot.training.dataset import Dataset, build_dataset
from tradebot.training.evaluate import entry_threshold, evaluate, predict, traded
from tradebot.training.figures.draw import draw
from tradebot.training.gate import Decision, decide, earlier_verdicts, serving_champion
from tradebot.training.lineage import code_version
from tradebot.training.parity import MIN_ROWS, check_parity
from tradebot.training.progress import Progress
from tradebot.training.record import history, make_manifest
from tradebot.training.splits import Splits, embargo_bars, expanding_folds, require_moves, split_by_time, tuning_split
from tradebot.training.tuning import Kept, Tuned, tune, unsearched

VALIDATION_SHARE = 0.15
TUNING_FOLDS = 4
"""Purged expanding folds of the training slice that a family fitted by rounds is searched on (models.md 4.3)."""
MIN_FOLD_ROWS, MIN_FOLD_CLASS = 500, 20
"""Rows of a fold, and of each class among those it is fitted on, below which one slice is searched on instead."""
TUNING_SHARE = 0.5
"""Part of the training slice, the newest, that a net is searched on: one slice, four would take too long."""
TUNING_VALIDATION_SHARE = 0.25
MAX_LATENCY_MS, MAX_NET_LATENCY_MS = 5.0, 50.0
"""Median time of one forecast; far above what any model here takes, so that a slow machine changes no verdict."""
STALE_BARS = 12
"""Bars that the newest candle may lie before the job's moment, or a day if that is longer."""
KEEP_VERSIONS = 5
CANDIDATE = "candidate"


def retrain(job: RetrainJob, progress: Progress, work: Path | None = None) -> JobResult:
    """Train, judge, store, and promote if the gate says so. The result of a refused candidate is a result, no error.

    In ``work`` a search and a fit that were interrupted are found again and gone on with. Raises DataError,
    ExchangeError, ModelError, BusyError, ConfigError or Cancelled; the champion is then untouched.
    """
    asked = asked_for(job)
    kind = asked.kind
    key = ModelKey(job.symbol, kind.name, kind.interval)
    store = ModelStore(job.store)
    bar_ms = INTERVAL_MS[kind.interval]

    progress.at("data", f"{job.days} days of {key.symbol} {kind.interval} candles")
    candles = load_candles(
        job.source,
        job.symbol,
        kind.interval,
        as_of_ms=job.as_of_ms,
        days=job.days,
        say=lambda note: progress.at("data", note),
    )
    check_fresh(candles, job, bar_ms)
    if kind.name == "lightgbm" and kind.options["compat"]:
        raise GateNotPassed(_compared(kind, candles, job, progress))
    progress.at("dataset", f"{len(candles)} candles")
    data = build_dataset(kind, candles)
    embargo = embargo_bars(kind)
    splits = split_by_time(
        data.sample,
        validation_share=VALIDATION_SHARE,
        test_share=job.test_share,
        bar_ms=bar_ms,
        embargo_bars=embargo,
        test_from_ms=job.test_from_ms,
    )
    for slice_name, part in (("training", splits.train), ("validation", splits.validation), ("test", splits.test)):
        require_moves(part, slice_name)

    tuned, searched = _tune(asked, splits, data, job, bar_ms, embargo, progress, work)
    progress.at("fit", f"{len(splits.train)} rows", 0, asked.rounds)
    fitted = _fit(asked, splits, tuned.params, job, progress, work)

    progress.at("evaluate", f"{len(splits.test)} untouched rows, {fitted.rounds} {kind.counts} kept")
    cost_bp = job.costs.round_trip_bp
    on_validation, on_test = predict(fitted, splits.validation), predict(fitted, splits.test)
    rule = TradeRule(hold_rows=kind.horizon_bars, cooldown_rows=job.cooldown_rows)
    entry_bp = entry_threshold(on_validation, splits.validation, cost_bp, rule)
    chosen = choose_baselines(kind, splits, cost_bp=cost_bp, rule=rule)
    baselines = chosen.say(splits.test, tuple(kind.features))
    metrics = evaluate(
        on_test,
        splits.test,
        baselines,
        cost_bp=cost_bp,
        entry_bp=entry_bp,
        rule=rule,
        bar_ms=bar_ms,
        seed=job.seed,
    )

    progress.at("export", "ONNX and parity")
    check_rows = data.sample.rows[-(MIN_ROWS if kind.steps > 1 else max(MIN_ROWS, len(splits.test))) :]
    if len(check_rows) < MIN_ROWS:
        raise DataError(f"{len(check_rows)} rows are too few to prove the export on ({MIN_ROWS}); use more days")
    exported = fitted.export(check_rows)
    tolerance = tolerance_of(kind.name)
    parity = check_parity(
        fitted, exported.onnx, exported.input_name, check_rows, where=f"{key} {CANDIDATE}", tolerance=tolerance
    )

    progress.at("gate", "against the champion on the same rows")
    earlier = earlier_verdicts(store, key, splits.test_from_ms)
    latency_ms = MAX_LATENCY_MS if kind.counts == "rounds" else MAX_NET_LATENCY_MS
    decision = decide(
        on_test,
        entry_bp,
        splits.test,
        serving_champion(store, key, kind.schema_hash),
        baselines,
        earlier=earlier,
        cost_bp=cost_bp,
        rule=rule,
        bar_ms=bar_ms,
        further=(
            Criterion("parity", parity.max_probability_error, tolerance, "at most", hard=True),
            Criterion("latency_ms", parity.latency_ms, latency_ms, "at most", hard=True),
        ),
        allow_provisional=job.allow_provisional,
    )
    if kind.research_only:
        refused = replace(decision.gate, verdict="refused", reason=f"for research only: {kind.research_only}")
        decision = Decision(refused, decision.judged_from_ms, decision.judged_to_ms)
    manifest = make_manifest(
        job, kind, data, splits, tuned, searched, fitted, metrics, decision, earlier, rule, exported, parity, entry_bp
    )
    load_forecaster(Artefact(key=key, version=CANDIDATE, manifest=manifest, model=exported.onnx))

    progress.at("store", decision.gate.verdict)
    trades = traded(on_test, splits.test, cost_bp, entry_bp, rule)
    name = f"{job.symbol} {kind.name}-{kind.interval}"
    files = {
        BASELINES_FILE: encode(chosen),
        "history.json": history(kind, fitted, tuned),
        **draw(kind, fitted, on_test, splits.test, trades, name=name, losses=tuned.losses),
        **exported.files,
    }
    return _publish(job, store, manifest, exported.onnx, files, progress)


def _compared(kind: Family, candles: CandleColumns, job: RetrainJob, progress: Progress) -> str:
    """What the original LightGBM recipe scores beside the same with an honest split, in a line; nothing is kept."""
    from tradebot.forecasters.lightgbm_compat import compare

    def on_trial(done: int, total: int) -> None:
        progress.check()
        progress.at("tune", "the original recipe beside its honest twin", done, total)

    return compare(
        candles,
        horizon=kind.horizon_bars,
        threshold=float(kind.options["min_price_change"]),
        trials=job.trials,
        rounds=job.rounds,
        seed=job.seed,
        threads=job.threads,
        on_trial=on_trial,
    ).line()


def check_fresh(candles: CandleColumns, job: RetrainJob, bar_ms: int) -> None:
    """Raises DataError when the history ends long before the job's moment: such a model would serve a dead market."""
    end_ms = int(candles.open_ms[-1]) + bar_ms
    if job.as_of_ms - end_ms > max(DAY_MS, STALE_BARS * bar_ms):
        raise DataError(
            f"{job.symbol}: its candles end at {utc(end_ms)}, {(job.as_of_ms - end_ms) / DAY_MS:.1f} days before the "
            "job's moment: delisted, renamed or not fetched since; fetch them, or give --as-of that day"
        )


def _tune(
    asked: Asked,
    splits: Splits,
    data: Dataset,
    job: RetrainJob,
    bar_ms: int,
    embargo: int,
    progress: Progress,
    work: Path | None,
) -> tuple[Tuned, str]:
    """The best parameters, and in words on which rows they were searched."""
    if job.trials == 1:
        return unsearched(asked.kind, rounds=asked.rounds, fixed=asked.fixed), "nothing was searched: the defaults"
    progress.at("tune", f"{job.trials} trials", 0, job.trials)

    def on_trial(number: int, total: int, best: float) -> None:
        progress.at("tune", f"best loss {best:.5f}", number, total)

    kind = asked.kind
    folds, searched = _folds(kind, splits.train, bar_ms, embargo)
    tuned = tune(
        kind,
        folds,
        trials=job.trials,
        rounds=asked.rounds,
        seed=job.seed,
        threads=job.threads,
        fixed=asked.fixed,
        kept=None if work is None else Kept(work / "search", _fingerprint(asked, data, job)),
        on_trial=on_trial,
        on_step=progress.check,
    )
    return tuned, searched


def _folds(kind: Family, train: Sample, bar_ms: int, embargo: int) -> tuple[list[Splits], str]:
    """The rows a search is judged on, and in words which they are: folds for a family fitted by rounds whose every fold
    holds enough of each class, one slice for others."""
    if kind.counts == "rounds" and len(train) >= MIN_FOLD_ROWS * (TUNING_FOLDS + 1):
        folds = expanding_folds(train, folds=TUNING_FOLDS, bar_ms=bar_ms, embargo_bars=embargo)
        moving = all(np.any(fold.validation.classes != 1) for fold in folds)
        if moving and all(np.bincount(fold.train.classes, minlength=3).min() >= MIN_FOLD_CLASS for fold in folds):
            return folds, f"mean over {TUNING_FOLDS} purged expanding folds of the training rows"
    one = tuning_split(
        train, share=TUNING_SHARE, validation_share=TUNING_VALIDATION_SHARE, bar_ms=bar_ms, embargo_bars=embargo
    )
    require_moves(one.train, "tuning")
    require_moves(one.validation, "tuning's validation")
    where = f"the last {TUNING_VALIDATION_SHARE:.0%} of the newest {TUNING_SHARE:.0%} of the training rows"
    return [one], f"one purged slice, {where}"


def _fingerprint(asked: Asked, data: Dataset, job: RetrainJob) -> str:
    """What a search depends on: another one does not go on with its trials."""
    kind = asked.kind
    made_of = (data.sha256, kind.name, kind.interval, kind.options, kind.fixed, asked.fixed, asked.rounds)
    told = msgspec.json.encode(
        (*made_of, job.seed, job.trials, job.test_share, job.test_from_ms, code_version()), order="deterministic"
    )
    return sha256_hex(told)


def _fit(
    asked: Asked, splits: Splits, params: Params, job: RetrainJob, progress: Progress, work: Path | None
) -> Fitted:
    kind = asked.kind
    prepared = kind.prepare(splits.train, splits.validation, seed=job.seed, threads=job.threads)
    every = 1 if kind.counts == "epochs" else 25

    def on_round(done: int, loss: float) -> bool:
        progress.check()
        if done % every == 0:
            progress.at("fit", f"loss {loss:.5f}", done, asked.rounds, every=every)
        return False

    folder = None
    if work is not None:
        folder = work / "fit"
        folder.mkdir(parents=True, exist_ok=True)
    return kind.fit(prepared, params, rounds=asked.rounds, on_round=on_round, work=folder)


def _publish(
    job: RetrainJob,
    store: ModelStore,
    manifest: Manifest,
    onnx: bytes,
    files: Mapping[str, bytes],
    progress: Progress,
) -> JobResult:
    """Store the version and, unless the gate refused it, move the pointer."""
    gate = manifest.gate
    own = {
        "model.onnx": onnx,
        "metrics.json": encode(manifest.metrics),
        "features.txt": "".join(f"{name}\n" for name in manifest.inputs.features).encode(),
    }
    version = store.add(manifest, {**own, **files})
    promoted = gate.verdict != "refused"
    if promoted:
        store.promote(manifest.key, version, who="retrain", why=gate.reason, verdict=gate.verdict, at_ms=job.as_of_ms)
    store.collect(manifest.key, keep=KEEP_VERSIONS)
    pointer = store.champion(manifest.key)
    progress.at("done", f"{version} {gate.verdict}")
    return JobResult(
        id=job.id,
        symbol=job.symbol,
        model=job.model,
        verdict=gate.verdict,
        promoted=promoted,
        reason=f"{version}: {gate.reason}",
        exit_code=0 if promoted else GateNotPassed.exit_code,
        version=version,
        sha256=manifest.sha256,
        champion=pointer.version if pointer is not None else "",
        metrics={
            name: JobMetric(
                value=m.value, low=m.low, high=m.high, baseline=m.baseline, baseline_name=m.baseline_name, unit=m.unit
            )
            for name, m in manifest.metrics.items()
        },
        took_s=progress.elapsed_s,
        interval=manifest.inputs.interval,
    )
