"""What a version says about how it was made: its manifest, and the course of its search and fit."""

from __future__ import annotations

import math

import msgspec

from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import CLASS_NAMES, Exported, Family, Fitted
from tradebot.jobs import RetrainJob
from tradebot.market.candle import INTERVAL_MS
from tradebot.registry import Inputs, Lineage, Manifest, Metric, Output
from tradebot.registry.libraries import installed_all
from tradebot.registry.manifest import encode, sha256_hex
from tradebot.serving.forecaster import EXPECTED_BP, PROBABILITIES, QUANTILES
from tradebot.training.dataset import Dataset
from tradebot.training.gate import Decision, Spans
from tradebot.training.lineage import LIBRARIES, code_version
from tradebot.training.parity import Parity
from tradebot.training.splits import Splits, embargo_bars
from tradebot.training.tuning import Tuned


class PastRound(msgspec.Struct, frozen=True):
    """One round or epoch; None where a loss was not looked at."""

    number: int
    train_loss: float | None
    validation_loss: float | None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """``history.json``: the fit round by round (``counts`` says what they are, ``kept`` which one stands) and the loss
    of each trial of the search, None where it was stopped early."""

    counts: str
    kept: int
    validation_loss: float
    rounds: tuple[PastRound, ...]
    trials: tuple[float | None, ...]


def history(kind: Family, fitted: Fitted, tuned: Tuned) -> bytes:
    """The file of that name."""
    rounds = tuple(
        PastRound(one.number, _finite(one.train_loss), _finite(one.validation_loss)) for one in fitted.history
    )
    return encode(
        History(
            counts=kind.counts,
            kept=fitted.rounds,
            validation_loss=fitted.validation_loss,
            rounds=rounds,
            trials=tuned.losses,
        )
    )


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def outputs_of(exported: Exported) -> tuple[Output, ...]:
    """What a graph gives, as a manifest says it."""
    given = (
        Output(tensor=PROBABILITIES, columns=CLASS_NAMES, unit="probability"),
        Output(tensor=EXPECTED_BP, columns=(EXPECTED_BP,), unit="bp"),
    )
    if not exported.quantiles:
        return given
    return *given, Output(tensor=QUANTILES, columns=tuple(map(str, exported.quantiles)), unit="bp")


def make_manifest(
    job: RetrainJob,
    kind: Family,
    data: Dataset,
    splits: Splits,
    tuned: Tuned,
    searched: str,
    fitted: Fitted,
    metrics: dict[str, Metric],
    decision: Decision,
    earlier: Spans,
    rule: TradeRule,
    exported: Exported,
    parity: Parity,
    entry_bp: float | None,
) -> Manifest:
    """Everything needed to serve, judge and reproduce the version."""
    return Manifest(
        family=kind.name,
        name=kind.name,
        symbol=job.symbol,
        inputs=Inputs(
            tensor=exported.input_name,
            features=tuple(kind.features),
            schema_hash=kind.schema_hash,
            interval=kind.interval,
            row_shape=(len(kind.features),) if kind.steps == 1 else (kind.steps, len(kind.features)),
            view=kind.view,
        ),
        outputs=outputs_of(exported),
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
                **({"test_share": job.test_share} if job.test_from_ms is None else {}),
                "trials": job.trials,
                "rounds": job.rounds,
                "counts": kind.counts,
                "rounds_kept": fitted.rounds,
                "threads": job.threads,
                "train_rows": len(splits.train),
                "validation_rows": len(splits.validation),
                "test_rows": len(splits.test),
                "validation_log_loss": fitted.validation_loss,
                **({} if tuned.loss is None else {"tuning_log_loss": tuned.loss}),
                "pruned_trials": tuned.pruned,
                "round_trip_bp": job.costs.round_trip_bp,
                "search_validation": searched,
                "embargo_bars": embargo_bars(kind),
                "absent": ", ".join(data.absent),
                "parity_rows": parity.rows,
                "parity_error": parity.max_probability_error,
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
        options=dict(kind.options),
        research_only=kind.research_only,
    )
