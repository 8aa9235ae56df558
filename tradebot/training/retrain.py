"""One retraining, from candles to the champion pointer.

data → dataset → purged splits → tune → fit → evaluate → export → parity → gate → immutable version → pointer. Until
the last step the champion is not touched, and the last step is one rename: a failure anywhere leaves it serving.
"""

from __future__ import annotations

from tradebot.errors import DataError, GateNotPassed
from tradebot.evaluation.gate import Criterion
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import CLASS_NAMES, Exported, Family, Fitted, Params, family
from tradebot.jobs import JobResult, RetrainJob
from tradebot.jobs.job import JobMetric
from tradebot.market.candle import INTERVAL_MS
from tradebot.registry import Artefact, Inputs, Lineage, Manifest, Metric, ModelKey, ModelStore, Output
from tradebot.registry.libraries import installed_all
from tradebot.registry.manifest import encode, sha256_hex
from tradebot.serving.forecaster import load_forecaster
from tradebot.training.baselines import fit_baselines
from tradebot.training.candles import load_candles
from tradebot.training.dataset import Dataset, build_dataset
from tradebot.training.evaluate import entry_threshold, evaluate, predict
from tradebot.training.gate import Decision, Spans, decide, earlier_verdicts, serving_champion
from tradebot.training.lineage import LIBRARIES, code_version
from tradebot.training.parity import MIN_ROWS, TOLERANCE, Parity, check_parity
from tradebot.training.progress import Progress
from tradebot.training.splits import Splits, split_by_time, tuning_split
from tradebot.training.tuning import Tuned, tune

VALIDATION_SHARE = 0.15
EMBARGO_BARS = 12 + 48
"""The look-back that neighbouring rows share, and one 4 h candle: a row may still show the one it lies in."""
TUNING_SHARE = 0.5
"""Part of the training slice, the newest, that the search works on."""
TUNING_VALIDATION_SHARE = 0.25
MAX_LATENCY_MS = 5.0
"""Median time of one forecast; far above what any model here takes, so that a slow machine changes no verdict."""
KEEP_VERSIONS = 5
CANDIDATE = "candidate"


def retrain(job: RetrainJob, progress: Progress) -> JobResult:
    """Train, judge, store, and promote if the gate says so. The result of a refused candidate is a result, no error.

    Raises DataError, ExchangeError, ModelError, BusyError, ConfigError or Cancelled; the champion is then untouched.
    """
    kind = family(job.model, job.options, job.interval)
    key = ModelKey(job.symbol, kind.name, kind.interval)
    store = ModelStore(job.store)
    bar_ms = INTERVAL_MS[kind.interval]

    progress.at("data", f"{job.days} days of {key.symbol} {kind.interval} candles")
    candles = load_candles(job.source, job.symbol, kind.interval, as_of_ms=job.as_of_ms, days=job.days)
    progress.at("dataset", f"{len(candles)} candles")
    data = build_dataset(kind, candles)
    splits = split_by_time(
        data.sample,
        validation_share=VALIDATION_SHARE,
        test_share=job.test_share,
        bar_ms=bar_ms,
        embargo_bars=EMBARGO_BARS,
    )

    tuned = _tune(kind, splits, job, bar_ms, progress)
    progress.at("fit", f"{len(splits.train)} rows", 0, job.rounds)
    fitted = _fit(kind, splits, tuned.params, job, progress)

    progress.at("evaluate", f"{len(splits.test)} untouched rows, {fitted.rounds} rounds kept")
    cost_bp = job.costs.round_trip_bp
    on_validation, on_test = predict(fitted, splits.validation), predict(fitted, splits.test)
    rule = TradeRule(hold_rows=kind.horizon_bars, cooldown_rows=job.cooldown_rows)
    entry_bp = entry_threshold(on_validation, splits.validation, cost_bp, rule)
    baselines = fit_baselines(kind, splits, cost_bp=cost_bp, rule=rule)
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
    check_rows = data.sample.rows[-max(MIN_ROWS, len(splits.test)) :]
    if len(check_rows) < MIN_ROWS:
        raise DataError(f"{len(check_rows)} rows are too few to prove the export on ({MIN_ROWS}); use more days")
    exported = fitted.export(check_rows)
    parity = check_parity(fitted, exported.onnx, exported.input_name, check_rows, where=f"{key} {CANDIDATE}")

    progress.at("gate", "against the champion on the same rows")
    earlier = earlier_verdicts(store, key, splits.test_from_ms)
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
            Criterion("parity", parity.max_probability_error, TOLERANCE, "at most", hard=True),
            Criterion("latency_ms", parity.latency_ms, MAX_LATENCY_MS, "at most", hard=True),
        ),
        allow_provisional=job.allow_provisional,
    )
    manifest = _manifest(
        job, kind, data, splits, tuned, fitted, metrics, decision, earlier, rule, exported, parity, entry_bp
    )
    load_forecaster(Artefact(key=key, version=CANDIDATE, manifest=manifest, model=exported.onnx))

    progress.at("store", decision.gate.verdict)
    return _publish(job, store, manifest, exported, progress)


def _tune(kind: Family, splits: Splits, job: RetrainJob, bar_ms: int, progress: Progress) -> Tuned:
    progress.at("tune", f"{job.trials} trials", 0, job.trials)

    def on_trial(number: int, total: int, best: float) -> None:
        progress.at("tune", f"best log-loss {best:.5f}", number, total)

    return tune(
        kind,
        tuning_split(
            splits.train,
            share=TUNING_SHARE,
            validation_share=TUNING_VALIDATION_SHARE,
            bar_ms=bar_ms,
            embargo_bars=EMBARGO_BARS,
        ),
        trials=job.trials,
        rounds=job.rounds,
        seed=job.seed,
        threads=job.threads,
        on_trial=on_trial,
        on_step=progress.check,
    )


def _fit(kind: Family, splits: Splits, params: Params, job: RetrainJob, progress: Progress) -> Fitted:
    prepared = kind.prepare(splits.train, splits.validation, seed=job.seed, threads=job.threads)

    def on_round(done: int, loss: float) -> bool:
        progress.check()
        if done % 25 == 0:
            progress.at("fit", f"log-loss {loss:.5f}", done, job.rounds)
        return False

    return kind.fit(prepared, params, rounds=job.rounds, on_round=on_round)


def _manifest(
    job: RetrainJob,
    kind: Family,
    data: Dataset,
    splits: Splits,
    tuned: Tuned,
    fitted: Fitted,
    metrics: dict[str, Metric],
    decision: Decision,
    earlier: Spans,
    rule: TradeRule,
    exported: Exported,
    parity: Parity,
    entry_bp: float | None,
) -> Manifest:
    return Manifest(
        family=kind.name,
        name=kind.name,
        symbol=job.symbol,
        inputs=Inputs(
            tensor=exported.input_name,
            features=kind.features,
            schema_hash=kind.schema_hash,
            interval=kind.interval,
            row_shape=(len(kind.features),) if kind.steps == 1 else (kind.steps, len(kind.features)),
            view=kind.view,
        ),
        outputs=(
            Output(tensor="probabilities", columns=CLASS_NAMES, unit="probability"),
            Output(tensor="expected_bp", columns=("expected_bp",), unit="bp"),
        ),
        horizon_ms=kind.horizon_bars * INTERVAL_MS[kind.interval],
        lineage=Lineage(
            as_of_ms=job.as_of_ms,
            data_from_ms=data.data_from_ms,
            data_to_ms=data.data_to_ms,
            fit_end_ms=splits.fit_end_ms,
            test_from_ms=splits.test_from_ms,
            rows=len(data.sample),
            candles=data.candles,
            data_sha256=data.sha256,
            code_version=code_version(),
            seed=job.seed,
            params=tuned.params,
            spec={
                "days": job.days,
                "trials": job.trials,
                "rounds": job.rounds,
                "rounds_kept": fitted.rounds,
                "threads": job.threads,
                "train_rows": len(splits.train),
                "validation_rows": len(splits.validation),
                "test_rows": len(splits.test),
                "validation_log_loss": fitted.validation_loss,
                "tuning_log_loss": tuned.loss,
                "pruned_trials": tuned.pruned,
                "round_trip_bp": job.costs.round_trip_bp,
                "search_validation": f"one slice, the last {TUNING_VALIDATION_SHARE:.0%} of the newest "
                f"{TUNING_SHARE:.0%} of the training rows",
                "embargo_bars": EMBARGO_BARS,
                "trade_rule": str(rule),
                "hold_rows": rule.hold_rows,
                "rest_rows": rule.rest_rows,
                "cooldown_rows": rule.cooldown_rows,
                **kind.fixed,
            },
            libraries=installed_all(LIBRARIES),
            trials=tuned.trials,
            train_to_ms=int(splits.train.label_end_ms[-1]),
            judged_from_ms=decision.judged_from_ms,
            judged_to_ms=decision.judged_to_ms,
            earlier_verdicts=earlier,
        ),
        metrics=metrics,
        gate=decision.gate,
        golden=parity.golden,
        sha256=sha256_hex(exported.onnx),
        provisional=decision.gate.verdict != "promoted",
        entry_bp=entry_bp,
        device=kind.device,
        options=kind.options,
    )


def _publish(
    job: RetrainJob, store: ModelStore, manifest: Manifest, exported: Exported, progress: Progress
) -> JobResult:
    """Store the version and, unless the gate refused it, move the pointer."""
    gate = manifest.gate
    files = {
        "model.onnx": exported.onnx,
        "metrics.json": encode(manifest.metrics),
        "features.txt": "".join(f"{name}\n" for name in manifest.inputs.features).encode(),
        **exported.files,
    }
    version = store.add(manifest, files)
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
