"""Honest figures of a fitted model on rows that decided nothing, each with its interval and what a baseline reaches.

Neutral rows count like any other (they exist when serving). Intervals are stationary block bootstraps over blocks of
a day, because labels overlap and volatility clusters; they are widened for the number of blocks, which each figure
states. Baselines are the strongest known on the validation rows (``training.baselines``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tradebot.evaluation.baselines import STAY_OUT
from tradebot.evaluation.bootstrap import mean_interval, percentile_interval, stationary_rows
from tradebot.evaluation.classification import auc, calibration_error
from tradebot.evaluation.trades import TradeRule, Trades, best_entry_bp, threshold_trades
from tradebot.forecasters.base import Fitted, Floats, Sample
from tradebot.market.candle import DAY_MS
from tradebot.registry import Metric
from tradebot.training.baselines import MIN_VALIDATION_TRADES, Baselines

LEVEL = 0.95
MEAN_DRAWS = 2_000
STATISTIC_DRAWS = 200
"""Resamples of figures that are not means (areas under curves, ratios); each costs a sort of the test rows."""


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
    block = max(1.0, min(DAY_MS / bar_ms, len(test) / 4))
    blocks = len(test) / block
    moved, up = test.classes != 1, test.classes == 2
    trades = traded(said, test, cost_bp, entry_bp, rule)
    net, opened, won = trades.per_row_bp(), np.zeros(len(test)), np.zeros(len(test))
    opened[trades.row] = 1.0
    won[trades.row] = trades.net_bp > 0
    everything = np.arange(len(test))
    picks = stationary_rows(len(test), block=block, draws=STATISTIC_DRAWS, seed=seed)

    def statistic(
        of: Callable[[np.ndarray], float | None], baseline: float | None = None, name: str = "", unit: str = ""
    ) -> Metric:
        value = of(everything)
        draws = [drawn for rows in picks if (drawn := of(rows)) is not None]
        low = high = None
        if value is not None and len(draws) >= STATISTIC_DRAWS // 2:
            low, high = percentile_interval(draws, value, blocks=blocks, level=LEVEL)
        return Metric(
            value=value,
            low=low,
            high=high,
            level=LEVEL,
            baseline=baseline,
            baseline_name=name,
            unit=unit,
            blocks=blocks,
        )

    def direction_auc(score: Floats) -> Callable[[np.ndarray], float | None]:
        def of(rows: np.ndarray) -> float | None:
            own = rows[moved[rows]]
            return auc(score[own], up[own]) if len(own) else None

        return of

    def move_auc(score: Floats) -> Callable[[np.ndarray], float | None]:
        return lambda rows: auc(score[rows], moved[rows])

    def ratio(top: Floats, bottom: Floats) -> Callable[[np.ndarray], float | None]:
        def of(rows: np.ndarray) -> float | None:
            count = float(bottom[rows].sum())
            return float(top[rows].sum()) / count if count else None

        return of

    loss, base_loss = -np.log(np.clip(said.probabilities[everything, test.classes], 1e-7, 1.0)), baselines.log_loss
    gain = mean_interval(base_loss.score - loss, block=block, draws=MEAN_DRAWS, seed=seed, level=LEVEL)
    unit_loss = float(base_loss.score.mean())
    decided = moved.astype(np.float64)
    right = decided * _right(said.up_given_move, up)
    plain_right = decided * _right(baselines.side.score, up)
    plain, plain_name = Trades.none(len(test)), STAY_OUT
    if baselines.rule is not None:
        plain_name = str(baselines.rule)
        plain = threshold_trades(
            baselines.rule_bp, test.traded_bp, cost_bp, entry_bp=baselines.rule.entry_bp, rule=rule
        )
    return {
        "move_auc": statistic(move_auc(said.p_move), move_auc(baselines.move.score)(everything), baselines.move.name),
        "direction_auc": statistic(
            direction_auc(said.up_given_move),
            direction_auc(baselines.direction.score)(everything),
            baselines.direction.name,
        ),
        "decided_accuracy": statistic(
            ratio(right, decided), ratio(plain_right, decided)(everything), baselines.side.name, "share"
        ),
        "log_loss": Metric(value=float(loss.mean()), baseline=unit_loss, baseline_name=base_loss.name, unit="nats"),
        "log_loss_skill": Metric(
            value=gain.mean / unit_loss,
            low=gain.low / unit_loss,
            high=gain.high / unit_loss,
            level=LEVEL,
            baseline=0.0,
            baseline_name=base_loss.name,
            blocks=blocks,
        ),
        "net_bp_per_trade": statistic(ratio(net, opened), plain.mean_net_bp() or 0.0, plain_name, "bp"),
        "gross_bp_per_trade": statistic(ratio(net + opened * cost_bp, opened), cost_bp, "cost of a round trip", "bp"),
        "win_rate": statistic(ratio(won, opened), plain.win_rate(), plain_name, "share"),
        "net_bp": Metric(
            value=float(net.sum()), baseline=float(plain.net_bp.sum()), baseline_name=plain_name, unit="bp"
        ),
        "trades": Metric(value=float(len(trades)), baseline=float(len(plain)), baseline_name=plain_name, unit="count"),
        "coverage": Metric(value=float(opened.mean()), unit="share"),
        "calibration_error": Metric(value=calibration_error(_share(said.p_up), up), unit="probability"),
        "neutral_share": Metric(value=float(1.0 - decided.mean()), unit="share"),
        "rows": Metric(value=float(len(test)), unit="count"),
    }


def _share(p: Floats) -> Floats:
    return np.clip(p, 0.0, 1.0)


def _right(p_up: Floats, up: np.ndarray) -> Floats:
    """1 where the side leant to is the one that came, 0.5 where no side was leant to."""
    return np.where(p_up == 0.5, 0.5, (p_up > 0.5) == up)
