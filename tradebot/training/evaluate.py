"""Honest figures of a model on rows that decided nothing, each with its interval and what a baseline reaches.

Neutral rows count like any other (they exist when serving). Intervals are stationary block bootstraps over blocks of
a day, because labels overlap and volatility clusters; they are widened for the number of blocks, which each figure
states. Baselines are the strongest known on the validation rows (``training.baselines``).

Figures named ``decided_…`` look only at rows that moved beyond the threshold, as the original system did; ``all_…`` at
every row, where a row that did not move is a wrong signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradebot.evaluation.baselines import STAY_OUT
from tradebot.evaluation.bootstrap import mean_interval
from tradebot.evaluation.classification import calibration_error
from tradebot.evaluation.trades import TradeRule, Trades, best_entry_bp, threshold_trades
from tradebot.forecasters.base import Fitted, Floats, Sample
from tradebot.registry import Metric
from tradebot.training.baselines import MIN_VALIDATION_TRADES, Baselines
from tradebot.training.evaluate_returns import return_figures
from tradebot.training.resampling import DRAWS, LEVEL, SHARE, Flags, Resampled, Statistic, area, ratio


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model says on a sample: probabilities (N, 3) in [down, neutral, up], expected return in bp (N,)."""

    probabilities: Floats
    expected_bp: Floats

    @property
    def p_up(self) -> Floats:
        return self.probabilities[:, 2]

    @property
    def p_move(self) -> Floats:
        return self.probabilities[:, 0] + self.probabilities[:, 2]

    @property
    def up_given_move(self) -> Floats:
        return np.asarray(self.probabilities[:, 2] / np.maximum(self.p_move, 1e-12), dtype=np.float64)


def predict(fitted: Fitted, sample: Sample) -> Predictions:
    return Predictions(*fitted.predict(sample.rows))


def entry_threshold(said: Predictions, validation: Sample, cost_bp: float, rule: TradeRule) -> float | None:
    """The |expected return| (bp) from which on acting earned most, or lost least, on the validation rows.

    None when no threshold made enough trades to tell.
    """
    for must_earn in (True, False):
        found = best_entry_bp(
            said.expected_bp,
            validation.traded_bp,
            cost_bp,
            min_trades=MIN_VALIDATION_TRADES,
            rule=rule,
            must_earn=must_earn,
        )
        if found is not None:
            return found
    return None


def traded(said: Predictions, sample: Sample, cost_bp: float, entry_bp: float | None, rule: TradeRule) -> Trades:
    """Trades of the threshold rule on a sample; none when there is no threshold."""
    threshold = np.inf if entry_bp is None else entry_bp
    return threshold_trades(said.expected_bp, sample.traded_bp, cost_bp, entry_bp=threshold, rule=rule)


def evaluate(
    said: Predictions,
    test: Sample,
    baselines: Baselines,
    *,
    cost_bp: float,
    entry_bp: float | None,
    rule: TradeRule,
    bar_ms: int,
    seed: int,
) -> dict[str, Metric]:
    """Figures on the test rows. The baseline of profit is the rule the gate uses, or staying out."""
    made = Resampled(len(test), bar_ms=bar_ms, label_rows=rule.hold_rows, seed=seed)
    return {
        **_orders(said, test, baselines, made),
        **_losses(said, test, baselines, made, seed),
        **_profit(said, test, baselines, made, cost_bp, entry_bp, rule),
        **return_figures(said.expected_bp, test.realised_bp, made, horizon=rule.hold_rows, cost_bp=cost_bp),
        "calibration_error": Metric(value=calibration_error(_share(said.p_up), test.classes == 2), unit="probability"),
        "neutral_share": Metric(value=float((test.classes == 1).mean()), unit="share"),
        "rows": Metric(value=float(len(test)), unit="count"),
    }


def _orders(said: Predictions, test: Sample, baselines: Baselines, made: Resampled) -> dict[str, Metric]:
    """Areas under curves; accuracy, precision, recall and F1 of the up side, on decided rows and on all."""
    moved, up = test.classes != 1, test.classes == 2
    move, direction, side = baselines.move, baselines.direction, baselines.side
    lean = said.probabilities[:, 2] - said.probabilities[:, 0]
    plain_lean = side.score - 0.5
    found = {
        "move_auc": made.metric(area(said.p_move, moved), made.value(area(move.score, moved)), move.name, within=SHARE),
        "direction_auc": made.metric(
            area(said.up_given_move, up, moved),
            made.value(area(direction.score, up, moved)),
            direction.name,
            within=SHARE,
        ),
        "decided_auc": made.metric(
            area(lean, up, moved), made.value(area(direction.score, up, moved)), direction.name, within=SHARE
        ),
        "all_auc": made.metric(
            area(said.p_up, up), made.value(area(direction.score, up)), direction.name, within=SHARE
        ),
    }
    everything = np.ones(len(test), dtype=np.bool_)
    for name, rows in (("decided", moved), ("all", everything)):
        ours, plain = _sided(lean, test.classes, rows), _sided(plain_lean, test.classes, rows)
        for figure, of in ours.items():
            found[f"{name}_{figure}"] = made.metric(of, made.value(plain[figure]), side.name, "share", SHARE)
    return found


def _sided(lean: Floats, classes: npt.NDArray[np.int8], rows: Flags) -> Mapping[str, Statistic]:
    """Figures of saying up where ``lean`` > 0 and down where < 0 (0: half of each). A signal is right when the move
    came: a neutral row has none."""
    among: Floats = rows.astype(np.float64)
    up: Floats = (rows & (classes == 2)).astype(np.float64)
    down: Floats = (rows & (classes == 0)).astype(np.float64)
    says_up: Floats = np.asarray((np.sign(lean) + 1) / 2, dtype=np.float64) * among
    hit = says_up * up
    return {
        "accuracy": ratio(hit + (among - says_up) * down, among),
        "precision": ratio(hit, says_up),
        "recall": ratio(hit, up),
        "f1": ratio(2 * hit, says_up + up),
    }


def _losses(said: Predictions, test: Sample, baselines: Baselines, made: Resampled, seed: int) -> dict[str, Metric]:
    base = baselines.log_loss
    loss = -np.log(np.clip(said.probabilities[made.rows, test.classes], 1e-7, 1.0))
    gain = mean_interval(base.score - loss, block=made.block, draws=DRAWS, seed=seed, level=LEVEL)
    unit = float(base.score.mean())
    return {
        "log_loss": Metric(value=float(loss.mean()), baseline=unit, baseline_name=base.name, unit="nats"),
        "log_loss_skill": Metric(
            value=gain.mean / unit,
            low=gain.low / unit,
            high=gain.high / unit,
            level=LEVEL,
            baseline=0.0,
            baseline_name=base.name,
            blocks=made.blocks,
        ),
    }


def _profit(
    said: Predictions,
    test: Sample,
    baselines: Baselines,
    made: Resampled,
    cost_bp: float,
    entry_bp: float | None,
    rule: TradeRule,
) -> dict[str, Metric]:
    """The threshold rule after costs."""
    trades = traded(said, test, cost_bp, entry_bp, rule)
    net, opened, won = trades.per_row_bp(), np.zeros(len(test)), np.zeros(len(test))
    opened[trades.row] = 1.0
    won[trades.row] = trades.net_bp > 0
    plain, plain_name = Trades.none(len(test)), STAY_OUT
    if baselines.rule is not None:
        plain_name = str(baselines.rule)
        plain = threshold_trades(
            baselines.rule_bp, test.traded_bp, cost_bp, entry_bp=baselines.rule.entry_bp, rule=rule
        )
    gross = net + opened * cost_bp
    return {
        "net_bp_per_trade": made.metric(ratio(net, opened), plain.mean_net_bp() or 0.0, plain_name, "bp"),
        "gross_bp_per_trade": made.metric(ratio(gross, opened), cost_bp, "cost of a round trip", "bp"),
        "win_rate": made.metric(ratio(won, opened), plain.win_rate(), plain_name, "share", SHARE),
        "net_bp": Metric(
            value=float(net.sum()), baseline=float(plain.net_bp.sum()), baseline_name=plain_name, unit="bp"
        ),
        "trades": Metric(value=float(len(trades)), baseline=float(len(plain)), baseline_name=plain_name, unit="count"),
        "coverage": Metric(value=float(opened.mean()), unit="share"),
    }


def _share(p: Floats) -> Floats:
    return np.clip(p, 0.0, 1.0)
