"""May a new version serve? The arithmetic of the champion-challenger gate (docs/models: evaluation protocol, item 6).

Champion, challenger and baseline are judged on the same rows, after the same costs, by the same rule that trades them.
No model may have been fitted to the rows, and no threshold or baseline chosen on them. Where earlier verdicts were
already given on some of them, the champion among others was picked by these very rows, and a further candidate has one
more chance to be lucky: the probability it must reach is raised with their number (Bonferroni). What is not arithmetic
on rows (hashes, parity, latency) is judged by the caller and handed in as further criteria, so that one verdict holds
everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tradebot.errors import DataError
from tradebot.evaluation.baselines import STAY_OUT
from tradebot.evaluation.bootstrap import Floats, Interval, finite_vector, paired_difference
from tradebot.evaluation.classification import Flags, calibration_error
from tradebot.evaluation.performance import max_drawdown
from tradebot.evaluation.trades import RULE, TradeRule, Trades, threshold_trades

Verdict = Literal["promoted", "provisional", "refused"]

_WAIVED_FOR_PROVISIONAL: Final = frozenset({"baseline", STAY_OUT, "trades", "blocks"})


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Limits fixed before anything was seen; never retuned after a verdict.

    ``drawdown_floor`` (fraction of equity): a champion that hardly traded has no drawdown, and a multiple of nothing
    would refuse every challenger; the limit is never below it. ``min_blocks`` blocks of ``block_rows`` rows are the
    fewest from which the spread between blocks can be told, and so a probability.
    """

    p_better: float = 0.9
    calibration_slack: float = 0.01
    drawdown_ratio: float = 1.2
    drawdown_floor: float = 0.01
    min_trades: int = 30
    min_shadow_days: float = 7.0
    block_rows: int = 288
    min_blocks: float = 10.0
    draws: int = 2_000
    seed: int = 0

    def required_probability(self, reused_verdicts: int) -> float:
        """P(better) to reach on rows on which ``reused_verdicts`` earlier verdicts were given: 0.9, 0.95, 0.967, ..."""
        return 1.0 - (1.0 - self.p_better) / (1 + reused_verdicts)


@dataclass(frozen=True, slots=True)
class TestRows:
    """The rows to judge on, consecutive and oldest first, and the rule everybody trades them by.

    ``realised_bp``: raw return of a long position decided on at the row and held ``rule.hold_rows`` rows, before costs.
    ``cost_bp``: round trip, per row. ``happened``: whether the class that ``p_up`` speaks of occurred.
    ``reused_verdicts``: how many earlier verdicts were given on some of these rows.
    """

    __test__ = False

    realised_bp: Floats
    cost_bp: Floats
    happened: Flags
    rule: TradeRule = RULE
    reused_verdicts: int = 0


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What one model said on the test rows, and the threshold (bp) it acts beyond, chosen on its validation rows."""

    expected_bp: Floats
    p_up: Floats
    entry_bp: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a rule without a model says on the test rows, and its threshold; both chosen on validation rows."""

    name: str
    expected_bp: Floats
    entry_bp: float


@dataclass(frozen=True, slots=True)
class Criterion:
    """One check: a value, its limit, which side of it is good, and whether it held.

    ``limit`` None: measured only, nothing to compare with. ``hard``: not even a provisional version may fail it.
    ``label`` says in words what the value is.
    """

    name: str
    value: float
    limit: float | None
    better: Literal["at least", "at most"]
    hard: bool = False
    label: str = ""

    @property
    def passed(self) -> bool:
        """A value that is not finite never passes a limit."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.better == "at least" else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The verdict, every criterion it rests on, and the figures behind. bp are of notional, per row or per trade.

    ``against`` is what the challenger's net had to beat; ``difference`` (bp per row) how far it did;
    ``required_probability`` what P(better) had to reach where a probability was asked for.
    """

    verdict: Verdict
    criteria: tuple[Criterion, ...]
    against: str
    difference: Interval
    required_probability: float
    reused_verdicts: int
    baseline: str
    baseline_net_bp: float
    trades: int
    net_bp: float
    net_bp_per_trade: float | None
    champion_net_bp: float | None

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the criteria that did not hold."""
        return tuple(criterion.name for criterion in self.criteria if not criterion.passed)


def judge(
    rows: TestRows,
    challenger: Forecasts,
    champion: Forecasts | None = None,
    *,
    baseline: Baseline | None = None,
    champion_provisional: bool = False,
    allow_provisional: bool = False,
    shadow_days: float = 0.0,
    further: tuple[Criterion, ...] = (),
    limits: GateLimits | None = None,
) -> GateVerdict:
    """Promote, accept provisionally, or refuse.

    With a proven champion: P(challenger's net > champion's) must reach the limit, the net must not be below the
    baseline's nor below that of staying out, calibration and drawdown must not be worse than the champion's by more
    than the slack, and there must be enough trades (or days of shadow forecasts) and enough blocks of rows. Without
    one, the probability of beating the baseline, and that of beating staying out, must each reach the limit. A
    provisional champion counts as none for promotion, but must still be beaten to be replaced.

    ``baseline`` None: no rule earned anything on the validation rows, staying out is the best known. Where
    ``allow_provisional`` (demo and paper) and there is no proven champion, failing only against the baselines or for
    lack of trades or blocks gives ``provisional``. ``further`` are the caller's own criteria. Raises DataError when
    the rows of the arguments differ or hold values that are not finite.
    """
    limits = limits or GateLimits()
    _check_rows(rows, challenger, champion, baseline)
    ours = _trade(rows, challenger)
    net, nothing = ours.per_row_bp(), np.zeros(len(rows.realised_bp))
    plain = nothing if baseline is None else _trade(rows, baseline).per_row_bp()
    plain_name = STAY_OUT if baseline is None else f"{baseline.name} at {baseline.entry_bp:.1f} bp"
    rules = {"baseline": plain} if baseline is None else {"baseline": plain, STAY_OUT: nothing}
    theirs = None if champion is None else _trade(rows, champion).per_row_bp()
    against, other = ("best baseline: " + plain_name, plain) if theirs is None else ("champion", theirs)
    difference = _difference(net, other, limits)
    required = limits.required_probability(rows.reused_verdicts)
    proven = champion is not None and not champion_provisional
    criteria: list[Criterion] = []
    if theirs is not None:
        criteria.append(
            Criterion("champion", difference.p_positive, required, "at least", label="P(better than champion)")
        )
    for name, rule_net in rules.items():
        if proven:
            label = f"mean net bp a row, against {name}'s,"
            criteria.append(Criterion(name, float(net.mean()), float(rule_net.mean()), "at least", label=label))
        else:
            p_better = _difference(net, rule_net, limits).p_positive
            criteria.append(Criterion(name, p_better, required, "at least", label=f"P(better than {name})"))
    error, drawdown = calibration_error(challenger.p_up, rows.happened), max_drawdown(net / 1e4)
    error_limit = drawdown_limit = None
    if champion is not None and theirs is not None:
        error_limit = calibration_error(champion.p_up, rows.happened) + limits.calibration_slack
        drawdown_limit = max(limits.drawdown_ratio * max_drawdown(theirs / 1e4), limits.drawdown_floor)
    criteria.append(Criterion("calibration", error, error_limit, "at most"))
    criteria.append(Criterion("drawdown", drawdown, drawdown_limit, "at most"))
    days = len(net) / limits.block_rows
    criteria.append(Criterion("blocks", days, limits.min_blocks, "at least", label="independent days judged"))
    if len(ours) < limits.min_trades and shadow_days >= limits.min_shadow_days:
        criteria.append(Criterion("shadow days", shadow_days, limits.min_shadow_days, "at least"))
    else:
        criteria.append(Criterion("trades", len(ours), limits.min_trades, "at least"))
    criteria.append(Criterion("independent labels", -(-len(net) // rows.rule.hold_rows), None, "at least"))
    criteria.append(Criterion("always long bp", _always_long_bp(rows), None, "at least"))
    criteria.extend(further)
    return GateVerdict(
        verdict=_verdict(criteria, provisional_possible=allow_provisional and not proven),
        criteria=tuple(criteria),
        against=against,
        difference=difference,
        required_probability=required,
        reused_verdicts=rows.reused_verdicts,
        baseline=plain_name,
        baseline_net_bp=float(plain.sum()),
        trades=len(ours),
        net_bp=float(net.sum()),
        net_bp_per_trade=ours.mean_net_bp(),
        champion_net_bp=None if theirs is None else float(theirs.sum()),
    )


def _always_long_bp(rows: TestRows) -> float:
    """What buying once and holding to the end would have earned: a figure to know, no rule to beat row by row."""
    return float(rows.realised_bp[:: rows.rule.hold_rows].sum() - rows.cost_bp[0])


def _verdict(criteria: list[Criterion], *, provisional_possible: bool) -> Verdict:
    failed = [criterion for criterion in criteria if not criterion.passed]
    if not failed:
        return "promoted"
    waived = all(criterion.name in _WAIVED_FOR_PROVISIONAL and not criterion.hard for criterion in failed)
    return "provisional" if provisional_possible and waived else "refused"


def _trade(rows: TestRows, model: Forecasts | Baseline) -> Trades:
    return threshold_trades(model.expected_bp, rows.realised_bp, rows.cost_bp, entry_bp=model.entry_bp, rule=rows.rule)


def _difference(a: Floats, b: Floats, limits: GateLimits) -> Interval:
    return paired_difference(a, b, block=limits.block_rows, draws=limits.draws, seed=limits.seed)


def _check_rows(rows: TestRows, challenger: Forecasts, champion: Forecasts | None, baseline: Baseline | None) -> None:
    n = len(finite_vector(rows.realised_bp, "realised_bp"))
    columns = {"cost_bp": rows.cost_bp, "happened": rows.happened}
    for who, model in (("challenger", challenger), ("champion", champion)):
        if model is not None:
            columns |= {f"{who} expected_bp": model.expected_bp, f"{who} p_up": model.p_up}
    if baseline is not None:
        columns["baseline expected_bp"] = baseline.expected_bp
    for name, column in columns.items():
        if len(finite_vector(column, name)) != n:
            raise DataError(f"{name} has {len(column)} rows, the test rows are {n}; judge all on the same rows")
