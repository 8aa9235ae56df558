"""Figures of the expected return, as a forecast of the price: beside no change at all (models.md section 6.3).

A price is ``c_t · (1 + expected)``. The error of a price in per cent says little: persistence's stands beside it.
"""

from __future__ import annotations

import numpy as np

from tradebot.evaluation.forecasts import diebold_mariano, rank, wilson
from tradebot.forecasters.base import Floats
from tradebot.registry import Metric
from tradebot.training.resampling import LEVEL, Resampled, correlation, ratio

PERSISTENCE = "persistence"


def return_figures(
    expected_bp: Floats, realised_bp: Floats, made: Resampled, *, horizon: int, cost_bp: float
) -> dict[str, Metric]:
    """``mase`` (mean absolute error over persistence's), ``skill_vs_persistence`` (1 − squared error over
    persistence's) with the Diebold–Mariano p-value, direction with a binomial interval over labels that do not
    overlap, also on moves beyond the cost, rank correlation (resamples weigh the ranks, they do not rank anew), and the
    price's error in per cent beside persistence's.
    """
    error, moved = realised_bp - expected_bp, np.abs(realised_bp)
    price = 1.0 + realised_bp / 1e4
    plain_mape = float(np.mean(np.abs(realised_bp / 1e4) / price)) * 100
    mape = float(np.mean(np.abs(error / 1e4) / price)) * 100
    return {
        "mase": made.metric(ratio(np.abs(error), moved), 1.0, PERSISTENCE),
        "skill_vs_persistence": made.metric(
            ratio(error**2, realised_bp**2, lambda share: 1.0 - share), 0.0, PERSISTENCE
        ),
        "diebold_mariano_p": Metric(
            value=diebold_mariano(expected_bp, realised_bp, horizon=horizon),
            baseline_name=PERSISTENCE,
            unit="probability",
        ),
        "direction_accuracy": _direction(expected_bp, realised_bp, np.abs(realised_bp) > 0, horizon),
        "direction_accuracy_beyond_cost": _direction(expected_bp, realised_bp, moved > cost_bp, horizon),
        "ic": made.metric(correlation(rank(expected_bp), rank(realised_bp)), 0.0, PERSISTENCE, within=(-1.0, 1.0)),
        "mape": Metric(value=mape, baseline=plain_mape, baseline_name=PERSISTENCE, unit="%"),
        "mape_persistence": Metric(value=plain_mape, unit="%"),
    }


def _direction(expected_bp: Floats, realised_bp: Floats, rows: np.ndarray, horizon: int) -> Metric:
    """Share of ``rows`` whose sign was said, no sign counting half; what always saying the commoner one reaches."""
    if not rows.any():
        return Metric(value=None, baseline_name="the commoner direction", unit="share")
    said, came = np.sign(expected_bp[rows]), np.sign(realised_bp[rows])
    right = float(np.where(said == 0, 0.5, said == came).mean())
    count = max(1.0, float(rows.sum()) / horizon)
    share = wilson(right, count, level=LEVEL)
    up = float((came > 0).mean())
    return Metric(
        value=right,
        low=share.low,
        high=share.high,
        level=LEVEL,
        baseline=max(up, 1.0 - up),
        baseline_name="the commoner direction",
        unit="share",
        blocks=count,
    )
