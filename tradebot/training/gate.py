"""Candidate against champion and baselines, on rows that neither model was fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradebot.errors import ModelError
from tradebot.evaluation.gate import Criterion, Forecasts, GateLimits, GateVerdict, TestRows, judge
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import Floats, Inputs, Sample, as_served
from tradebot.market.candle import DAY_MS
from tradebot.registry import Artefact, Gate, GateCheck, ModelKey, ModelStore
from tradebot.serving.forecaster import Forecaster, load_forecaster
from tradebot.training.baselines import Baselines
from tradebot.training.evaluate import Predictions

Spans = tuple[tuple[int, int], ...]
"""Moments (from, to) between which rows were judged, one pair for each verdict."""

AT_ONCE = 512
"""Windows that go through a champion's graph together: a batch of them all would need gigabytes."""


def limits_of(bar_ms: int, horizon_bars: int) -> GateLimits:
    """The gate's limits for candles of ``bar_ms``: blocks of a day, or of two labels where those are longer.

    >>> limits_of(300_000, 2).block_rows, limits_of(3_600_000, 24).block_rows
    (288, 48)
    """
    return GateLimits(block_rows=max(DAY_MS // bar_ms, 2 * horizon_bars))


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


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """A verdict and the span of the rows it rests on (first close, last outcome known; both 0: none were judged)."""

    gate: Gate
    judged_from_ms: int = 0
    judged_to_ms: int = 0


def earlier_verdicts(store: ModelStore, key: ModelKey, test_from_ms: int) -> Spans:
    """Spans of rows that versions of ``key`` were judged on and that reach beyond ``test_from_ms``, oldest first.

    The newest version that can be read knows those before it, also ones that were collected since.
    """
    for version in reversed(store.versions(key)):
        try:
            lineage = store.manifest(key, version).lineage
        except ModelError:
            continue
        own = ((lineage.judged_from_ms, lineage.judged_to_ms),) if lineage.judged_to_ms else ()
        return tuple(span for span in (*lineage.earlier_verdicts, *own) if span[1] > test_from_ms)
    return ()


def decide(
    said: Predictions,
    entry_bp: float | None,
    test: Sample,
    champion: Champion,
    baselines: Baselines,
    *,
    earlier: Spans,
    cost_bp: float,
    rule: TradeRule,
    bar_ms: int,
    further: tuple[Criterion, ...],
    allow_provisional: bool,
) -> Decision:
    """The verdict of ``evaluation.gate`` on rows that neither candidate nor champion was fitted to.

    The champion was chosen by the gate on the rows it was judged on, so rows after those are taken where they are
    enough. Where they are not (a retrain soon after the last one), all rows after both fits are taken; how many earlier
    verdicts were given on some of the rows is counted either way, recorded, and raises the probability to reach.

    Refuses when fewer rows than one bootstrap block are left.
    """
    limits = limits_of(bar_ms, rule.hold_rows)
    artefact = champion.artefact
    lineage = None if artefact is None or champion.forecaster is None else artefact.manifest.lineage
    chosen = np.ones(len(test), dtype=np.bool_)
    if lineage is not None:
        chosen = test.at_ms >= lineage.fit_end_ms
        fresh = chosen & (test.at_ms >= lineage.judged_to_ms)
        if int(fresh.sum()) >= limits.min_blocks * limits.block_rows:
            chosen = fresh
    version = None if artefact is None else artefact.version
    own = test.where(chosen)
    if len(own) < limits.block_rows:
        return Decision(
            Gate(
                verdict="refused",
                reason=f"only {len(own)} rows are new to both the candidate and champion {version}; at least "
                f"{limits.block_rows} are needed: wait for more data",
                champion=version,
                rows=len(own),
            )
        )
    opponent: Forecasts | None = None
    if artefact is not None and champion.forecaster is not None:
        probabilities, expected = in_batches(champion.forecaster, own.rows)
        opponent = _forecasts(
            expected.astype(np.float64), probabilities[:, 2].astype(np.float64), artefact.manifest.entry_bp
        )
    judged_from_ms, judged_to_ms = int(own.at_ms[0]), int(own.label_end_ms[-1]) + bar_ms
    verdict = judge(
        TestRows(
            realised_bp=own.traded_bp,
            cost_bp=np.full(len(own), cost_bp),
            happened=own.classes == 2,
            rule=rule,
            reused_verdicts=sum(from_ms < judged_to_ms and to_ms > judged_from_ms for from_ms, to_ms in earlier),
        ),
        _forecasts(said.expected_bp[chosen], said.p_up[chosen], entry_bp),
        opponent,
        baseline=baselines.of_gate(chosen),
        champion_provisional=artefact is not None and artefact.ref.provisional,
        allow_provisional=allow_provisional,
        further=further,
        limits=limits,
    )
    gate = Gate(
        verdict=verdict.verdict,
        reason=_reason(verdict, champion),
        checks=tuple(_check(criterion) for criterion in verdict.criteria),
        champion=version,
        rows=len(own),
        baseline=verdict.baseline,
        reused_verdicts=verdict.reused_verdicts,
        required_probability=verdict.required_probability,
    )
    return Decision(gate, judged_from_ms, judged_to_ms)


def in_batches(forecaster: Forecaster, rows: Inputs) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What a version says of many rows: probabilities (N, 3) and expected bp (N,)."""
    said = [forecaster.batch(as_served(rows[i : i + AT_ONCE])) for i in range(0, len(rows), AT_ONCE)]
    return np.concatenate([p for p, _ in said]), np.concatenate([bp for _, bp in said])


def _forecasts(expected_bp: Floats, p_up: Floats, entry_bp: float | None) -> Forecasts:
    threshold = float("inf") if entry_bp is None else entry_bp
    return Forecasts(expected_bp=expected_bp, p_up=np.clip(p_up, 0.0, 1.0), entry_bp=threshold)


def _check(criterion: Criterion) -> GateCheck:
    required = "" if criterion.limit is None else f"{criterion.better} {criterion.limit:.6g}"
    return GateCheck(name=criterion.name, passed=criterion.passed, value=f"{criterion.value:.6g}", required=required)


def _reason(verdict: GateVerdict, champion: Champion) -> str:
    per_trade = "no trades" if verdict.net_bp_per_trade is None else f"{verdict.net_bp_per_trade:+.2f} bp a trade"
    what = f"{verdict.trades} trades, {per_trade} net ({verdict.net_bp:+.0f} bp)"
    if verdict.champion_net_bp is not None:
        what += f", champion {verdict.champion_net_bp:+.0f} bp"
    what += f", best baseline: {verdict.baseline} ({verdict.baseline_net_bp:+.0f} bp)"
    if verdict.reused_verdicts:
        what += (
            f"; {verdict.reused_verdicts} earlier verdict(s) on some of these rows, so P(better) must be at least "
            f"{verdict.required_probability:.3f}"
        )
    failed = [c for c in verdict.criteria if not c.passed]
    why = "; ".join(
        f"{c.label or c.name} {c.value:.3g}, must be {c.better} {c.limit:.3g}" for c in failed if c.limit is not None
    )
    note = f" ({champion.problem})" if champion.problem else ""
    head = {
        "promoted": "passed every check",
        "provisional": "serves as provisional, in demo and paper only",
        "refused": "not good enough",
    }[verdict.verdict]
    return f"{head}: {what}{note}{'; failed: ' + why if why else ''}"
