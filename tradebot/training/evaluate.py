"""Honest figures of a fitted model on rows that decided nothing, each with its interval and what a plain rule reaches.

Neutral rows count like any other (they exist when serving). Intervals are stationary block bootstraps over blocks of
a day, because labels overlap and volatility clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tradebot.evaluation.bootstrap import mean_interval, stationary_rows
from tradebot.evaluation.classification import auc, calibration_error
from tradebot.evaluation.trades import Trades, best_entry_bp, threshold_trades
from tradebot.forecasters.base import Fitted, Floats, Sample
from tradebot.market.candle import DAY_MS
from tradebot.registry import Metric

LEVEL = 0.95
MEAN_DRAWS = 2_000
STATISTIC_DRAWS = 200
"""Resamples of figures that are not means (areas under curves, ratios); each costs a sort of the test rows."""

MIN_VALIDATION_TRADES = 30


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


def entry_threshold(said: Predictions, validation: Sample, cost_bp: float, hold_rows: int) -> float | None:
    """The |expected return| (bp) beyond which acting earned most, or lost least, on the validation rows.

    None when no threshold made enough trades to tell.
    """
    for must_earn in (True, False):
        found = best_entry_bp(
            said.expected_bp,
            validation.traded_bp,
            cost_bp,
            min_trades=MIN_VALIDATION_TRADES,
            hold_rows=hold_rows,
            must_earn=must_earn,
        )
        if found is not None:
            return found
    return None


def traded(said: Predictions, sample: Sample, cost_bp: float, entry_bp: float | None, hold_rows: int) -> Trades:
    """Trades of the threshold rule on a sample; none when there is no threshold."""
    threshold = np.inf if entry_bp is None else entry_bp
    return threshold_trades(said.expected_bp, sample.traded_bp, cost_bp, entry_bp=threshold, hold_rows=hold_rows)


def evaluate(
    said: Predictions,
    test: Sample,
    train: Sample,
    validation: Sample,
    *,
    cost_bp: float,
    entry_bp: float | None,
    hold_rows: int,
    bar_ms: int,
    seed: int,
) -> dict[str, Metric]:
    """Figures on the test rows.

    Baselines: chance or base rates of the training rows for probabilities; for areas under curves the size and the
    sign (momentum or reversal, whichever held on the validation rows) of the past return; staying out for profit.
    """
    block = max(1.0, min(DAY_MS / bar_ms, len(test) / 4))
    moved, up = test.classes != 1, test.classes == 2
    trades = traded(said, test, cost_bp, entry_bp, hold_rows)
    net = trades.per_row_bp()
    opened = np.zeros(len(test))
    opened[trades.row] = 1.0
    side = _momentum_sign(validation)
    picks = stationary_rows(len(test), block=block, draws=STATISTIC_DRAWS, seed=seed)

    def statistic(of: Callable[[np.ndarray], float | None], baseline: float | None, unit: str = "") -> Metric:
        everything = np.arange(len(test))
        draws = [value for rows in picks if (value := of(rows)) is not None]
        low, high = _quantiles(draws)
        return Metric(value=of(everything), low=low, high=high, level=LEVEL, baseline=baseline, unit=unit)

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

    everything = np.arange(len(test))
    loss, base_loss = _log_losses(said, test, train)
    gain = mean_interval(base_loss - loss, block=block, draws=MEAN_DRAWS, seed=seed, level=LEVEL)
    unit_loss = float(base_loss.mean())
    decided = moved.astype(np.float64)
    right = decided * np.where(said.up_given_move == 0.5, 0.5, (said.up_given_move > 0.5) == up)
    won = np.zeros(len(test))
    won[trades.row] = trades.net_bp > 0
    return {
        "move_auc": statistic(move_auc(said.p_move), move_auc(np.abs(test.past_bp))(everything)),
        "direction_auc": statistic(direction_auc(said.up_given_move), direction_auc(side * test.past_bp)(everything)),
        "decided_accuracy": statistic(ratio(right, decided), _majority(train, up[moved]), "share"),
        "log_loss": Metric(value=float(loss.mean()), baseline=unit_loss, level=LEVEL, unit="nats"),
        "log_loss_skill": Metric(
            value=gain.mean / unit_loss, low=gain.low / unit_loss, high=gain.high / unit_loss, level=LEVEL, baseline=0.0
        ),
        "net_bp_per_trade": statistic(ratio(net, opened), 0.0, "bp"),
        "gross_bp_per_trade": statistic(ratio(net + opened * cost_bp, opened), cost_bp, "bp"),
        "win_rate": statistic(ratio(won, opened), None, "share"),
        "net_bp": Metric(value=float(net.sum()), baseline=0.0, unit="bp"),
        "trades": Metric(value=float(len(trades)), unit="count"),
        "coverage": Metric(value=float(opened.mean()), unit="share"),
        "calibration_error": Metric(value=calibration_error(_share(said.p_up), up), unit="probability"),
        "neutral_share": Metric(value=float(1.0 - decided.mean()), unit="share"),
        "rows": Metric(value=float(len(test)), unit="count"),
    }


def _share(p: Floats) -> Floats:
    return np.clip(p, 0.0, 1.0)


def _quantiles(draws: list[float]) -> tuple[float | None, float | None]:
    if len(draws) < STATISTIC_DRAWS // 2:
        return None, None
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _log_losses(said: Predictions, test: Sample, train: Sample) -> tuple[Floats, Floats]:
    rows = np.arange(len(test))
    p = np.clip(said.probabilities[rows, test.classes], 1e-7, 1.0)
    base = np.bincount(train.classes, minlength=3) / len(train)
    return -np.log(p), -np.log(np.clip(base[test.classes], 1e-7, 1.0))


def _momentum_sign(validation: Sample) -> float:
    moved = validation.classes != 1
    area = auc(validation.past_bp[moved], validation.classes[moved] == 2) if moved.any() else None
    return 1.0 if area is None or area >= 0.5 else -1.0


def _majority(train: Sample, up: np.ndarray) -> float | None:
    """Accuracy on the test moves of always naming the direction more frequent in training."""
    if not len(up):
        return None
    ups, downs = int((train.classes == 2).sum()), int((train.classes == 0).sum())
    return float(up.mean() if ups >= downs else 1.0 - up.mean())
