"""Candidate against champion, on the same rows, neither of which had a say in making either."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tradebot.errors import ModelError
from tradebot.evaluation.gate import Criterion, Forecasts, GateLimits, GateVerdict, TestRows, judge
from tradebot.forecasters.base import Floats, Sample
from tradebot.registry import Artefact, Gate, GateCheck, ModelKey, ModelStore
from tradebot.serving.forecaster import Forecaster, load_forecaster
from tradebot.training.evaluate import Predictions

LIMITS = GateLimits()


@dataclass(frozen=True, slots=True, eq=False)
class Champion:
    """The version that serves, ready to forecast, or why there is none to compare with."""

    artefact: Artefact | None
    forecaster: Forecaster | None
    problem: str


def serving_champion(store: ModelStore, key: ModelKey, schema_hash: str) -> Champion:
    """Load the champion. One that cannot be served is no opponent: the reason is kept for the verdict."""
    try:
        pointer = store.champion(key)
        if pointer is None:
            return Champion(None, None, "no champion yet")
        artefact = store.load(key, pointer.version, schema_hash=schema_hash)
        return Champion(artefact, load_forecaster(artefact), "")
    except ModelError as error:
        return Champion(None, None, f"the champion cannot be served ({error})")


def decide(
    said: Predictions,
    entry_bp: float | None,
    test: Sample,
    champion: Champion,
    *,
    cost_bp: float,
    hold_rows: int,
    further: tuple[Criterion, ...],
    allow_provisional: bool,
) -> Gate:
    """The verdict of ``evaluation.gate`` on rows after both models' last moment of fitting.

    Refuses when fewer rows than one bootstrap block are left that the champion has not seen.
    """
    untouched = np.ones(len(test), dtype=np.bool_)
    opponent: Forecasts | None = None
    artefact = champion.artefact
    if artefact is not None and champion.forecaster is not None:
        untouched = test.at_ms >= artefact.manifest.lineage.fit_end_ms
        if int(untouched.sum()) < LIMITS.block_rows:
            return Gate(
                verdict="refused",
                reason=f"only {int(untouched.sum())} rows are new to both the candidate and champion "
                f"{artefact.version}; at least {LIMITS.block_rows} are needed: wait for more data",
                champion=artefact.version,
                rows=int(untouched.sum()),
            )
        probabilities, expected = champion.forecaster.batch(test.rows[untouched])
        opponent = _forecasts(
            expected.astype(np.float64), probabilities[:, 2].astype(np.float64), artefact.manifest.entry_bp
        )
    own = test.where(untouched)
    verdict = judge(
        TestRows(
            realised_bp=own.traded_bp,
            past_bp=own.past_bp,
            cost_bp=np.full(len(own), cost_bp),
            happened=own.classes == 2,
            hold_rows=hold_rows,
        ),
        _forecasts(said.expected_bp[untouched], said.p_up[untouched], entry_bp),
        opponent,
        champion_provisional=artefact is not None and artefact.ref.provisional,
        allow_provisional=allow_provisional,
        further=further,
        limits=LIMITS,
    )
    version = artefact.version if artefact is not None else None
    return Gate(
        verdict=verdict.verdict,
        reason=_reason(verdict, champion),
        checks=tuple(_check(criterion) for criterion in verdict.criteria),
        champion=version,
        rows=len(own),
    )


def _forecasts(expected_bp: Floats, p_up: Floats, entry_bp: float | None) -> Forecasts:
    threshold = float("inf") if entry_bp is None else entry_bp
    return Forecasts(expected_bp=expected_bp, p_up=np.clip(p_up, 0.0, 1.0), entry_bp=threshold)


def _check(criterion: Criterion) -> GateCheck:
    required = "" if criterion.limit is None else f"{criterion.better} {criterion.limit:.6g}"
    return GateCheck(name=criterion.name, passed=criterion.passed, value=f"{criterion.value:.6g}", required=required)


def _reason(verdict: GateVerdict, champion: Champion) -> str:
    per_trade = "no trades" if verdict.net_bp_per_trade is None else f"{verdict.net_bp_per_trade:+.2f} bp a trade"
    what = f"{verdict.trades} trades, {per_trade} net, against {verdict.against}"
    failed = [c for c in verdict.criteria if not c.passed]
    why = "; ".join(f"{c.name} {c.value:.3g}, must be {c.better} {c.limit:.3g}" for c in failed if c.limit is not None)
    note = f" ({champion.problem})" if champion.problem else ""
    head = {
        "promoted": "passed every check",
        "provisional": "serves as provisional, in demo and paper only",
        "refused": "not good enough",
    }[verdict.verdict]
    return f"{head}: {what}{note}{'; failed: ' + why if why else ''}"
