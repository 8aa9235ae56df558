"""May a new version serve? The arithmetic of the champion-challenger gate (docs/models: evaluation protocol, item 6).

Champion, challenger and baseline are judged on the same rows, after the same costs, by the same rule that trades them.
The rows must be ones that nobody has chosen anything on. What is not arithmetic on rows (hashes, parity, latency) is
judged by the caller and handed in as further criteria, so that one verdict holds everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, Interval, finite_vector, paired_difference
from tradebot.evaluation.classification import Flags, calibration_error
from tradebot.evaluation.performance import max_drawdown
from tradebot.evaluation.trades import Trades, threshold_trades

Verdict = Literal["promoted", "provisional", "refused"]
Baseline = Literal["stay out", "always long", "momentum"]

_WAIVED_FOR_PROVISIONAL: Final = frozenset({"baseline", "trades"})


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Limits fixed before anything was seen; never retuned after a verdict.

    ``drawdown_floor`` (fraction of equity): a champion that hardly traded has no drawdown, and a multiple of nothing
    would refuse every challenger; the limit is never below it.
    """

    p_better: float = 0.9
    calibration_slack: float = 0.01
    drawdown_ratio: float = 1.2
    drawdown_floor: float = 0.01
    min_trades: int = 30
    min_shadow_days: float = 7.0
    block_rows: int = 288
    draws: int = 2_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TestRows:
    """The untouched rows, consecutive and oldest first.

    ``realised_bp``: raw return of a long position opened on the row, held ``hold_rows`` rows, before costs.
    ``past_bp``: return over the ``hold_rows`` rows before, known at the row. ``cost_bp``: round trip, per row.
    ``happened``: whether the class that ``p_up`` speaks of occurred.
    """

    __test__ = False

    realised_bp: Floats
    past_bp: Floats
    cost_bp: Floats
    happened: Flags
    hold_rows: int = 2


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What one model said on the test rows, and the threshold (bp) it acts beyond, chosen on its validation rows."""

    expected_bp: Floats
    p_up: Floats
    entry_bp: float


@dataclass(frozen=True, slots=True)
class Criterion:
    """One check: a value, its limit, which side of it is good, and whether it held.

    ``limit`` None: measured only, nothing to compare with. ``hard``: not even a provisional version may fail it.
    """

    name: str
    value: float
    limit: float | None
    better: Literal["at least", "at most"]
    hard: bool = False

    @property
    def passed(self) -> bool:
        """A value that is not finite never passes a limit."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.better == "at least" else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The verdict, every criterion it rests on, and the figures behind. bp are of notional, per row or per trade.

    ``against`` is what the challenger's net had to beat; ``difference`` (bp per row) how far it did.
    ``independent_labels`` is how many labels do not overlap: the sample size to keep in mind.
    """

    verdict: Verdict
    criteria: tuple[Criterion, ...]
    against: str
    difference: Interval
    baseline: Baseline
    baseline_net_bp: float
    trades: int
    net_bp: float
    net_bp_per_trade: float | None
    champion_net_bp: float | None
    independent_labels: int

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the criteria that did not hold."""
        return tuple(criterion.name for criterion in self.criteria if not criterion.passed)


def judge(
    rows: TestRows,
    challenger: Forecasts,
    champion: Forecasts | None = None,
    *,
    champion_provisional: bool = False,
    allow_provisional: bool = False,
    shadow_days: float = 0.0,
    further: tuple[Criterion, ...] = (),
    limits: GateLimits | None = None,
) -> GateVerdict:
    """Promote, accept provisionally, or refuse.

    With a proven champion: P(challenger's net > champion's) must reach the limit, the net must not be below the best
    baseline's, calibration and drawdown must not be worse than the champion's by more than the slack, and there must be
    enough trades (or days of shadow forecasts). Without one, the best baseline stands in for it. A provisional champion
    counts as none for promotion, but must still be beaten to be replaced.

    Where ``allow_provisional`` (demo and paper) and there is no proven champion, failing only against the baseline or
    for lack of trades gives ``provisional``. ``further`` are the caller's own criteria. Raises DataError when the rows
    of the arguments differ or hold values that are not finite.
    """
    limits = limits or GateLimits()
    _check_rows(rows, challenger, champion)
    ours = _trade(rows, challenger)
    net = ours.per_row_bp()
    baseline, baseline_net = best_baseline(rows)
    against, other = ("best baseline: " + baseline, baseline_net)
    theirs: Floats | None = None
    if champion is not None:
        theirs = _trade(rows, champion).per_row_bp()
        against, other = ("champion", theirs)
    difference = _difference(net, other, limits)
    criteria: list[Criterion] = []
    if champion is not None:
        criteria.append(Criterion("champion", difference.p_positive, limits.p_better, "at least"))
    if champion is None or champion_provisional:
        better = difference.p_positive if champion is None else _difference(net, baseline_net, limits).p_positive
        criteria.append(Criterion("baseline", better, limits.p_better, "at least"))
    else:
        criteria.append(Criterion("baseline", float(net.mean()), float(baseline_net.mean()), "at least"))
    error, drawdown = calibration_error(challenger.p_up, rows.happened), max_drawdown(net / 1e4)
    error_limit = drawdown_limit = None
    if champion is not None and theirs is not None:
        error_limit = calibration_error(champion.p_up, rows.happened) + limits.calibration_slack
        drawdown_limit = max(limits.drawdown_ratio * max_drawdown(theirs / 1e4), limits.drawdown_floor)
    criteria.append(Criterion("calibration", error, error_limit, "at most"))
    criteria.append(Criterion("drawdown", drawdown, drawdown_limit, "at most"))
    if len(ours) < limits.min_trades and shadow_days >= limits.min_shadow_days:
        criteria.append(Criterion("shadow days", shadow_days, limits.min_shadow_days, "at least"))
    else:
        criteria.append(Criterion("trades", len(ours), limits.min_trades, "at least"))
    criteria.extend(further)
    proven = champion is not None and not champion_provisional
    return GateVerdict(
        verdict=_verdict(criteria, provisional_possible=allow_provisional and not proven),
        criteria=tuple(criteria),
        against=against,
        difference=difference,
        baseline=baseline,
        baseline_net_bp=float(baseline_net.sum()),
        trades=len(ours),
        net_bp=float(net.sum()),
        net_bp_per_trade=ours.mean_net_bp(),
        champion_net_bp=None if theirs is None else float(theirs.sum()),
        independent_labels=-(-len(net) // rows.hold_rows),
    )


def best_baseline(rows: TestRows) -> tuple[Baseline, Floats]:
    """The rule without a model that earned most on these rows, and its net bp per row.

    Stay out earns 0. Always long buys once, holds to the end and pays one round trip. Momentum goes with the sign of
    the past return whenever no position is open, and pays every time.
    """
    n = len(rows.realised_bp)
    long = np.zeros(n)
    long[:: rows.hold_rows] = rows.realised_bp[:: rows.hold_rows]
    long[0] -= rows.cost_bp[0]
    momentum = threshold_trades(
        rows.past_bp, rows.realised_bp, rows.cost_bp, entry_bp=0.0, hold_rows=rows.hold_rows
    ).per_row_bp()
    rules: tuple[tuple[Baseline, Floats], ...] = (
        ("stay out", np.zeros(n)),
        ("always long", long),
        ("momentum", momentum),
    )
    return max(rules, key=lambda rule: float(rule[1].sum()))


def _verdict(criteria: list[Criterion], *, provisional_possible: bool) -> Verdict:
    failed = [criterion for criterion in criteria if not criterion.passed]
    if not failed:
        return "promoted"
    waived = all(criterion.name in _WAIVED_FOR_PROVISIONAL and not criterion.hard for criterion in failed)
    return "provisional" if provisional_possible and waived else "refused"


def _trade(rows: TestRows, model: Forecasts) -> Trades:
    return threshold_trades(
        model.expected_bp, rows.realised_bp, rows.cost_bp, entry_bp=model.entry_bp, hold_rows=rows.hold_rows
    )


def _difference(a: Floats, b: Floats, limits: GateLimits) -> Interval:
    return paired_difference(a, b, block=limits.block_rows, draws=limits.draws, seed=limits.seed)


def _check_rows(rows: TestRows, challenger: Forecasts, champion: Forecasts | None) -> None:
    n = len(finite_vector(rows.realised_bp, "realised_bp"))
    columns = {"past_bp": rows.past_bp, "cost_bp": rows.cost_bp, "happened": rows.happened}
    for who, model in (("challenger", challenger), ("champion", champion)):
        if model is not None:
            columns |= {f"{who} expected_bp": model.expected_bp, f"{who} p_up": model.p_up}
    for name, column in columns.items():
        if len(finite_vector(column, name)) != n:
            raise DataError(f"{name} has {len(column)} rows, the test rows are {n}; judge all on the same rows")
