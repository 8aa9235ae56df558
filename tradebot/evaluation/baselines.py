"""Rules without a model that a model has to beat, fed as well as the model is.

Each candidate is a score per row; its threshold is chosen on validation rows by the same search as a model's, and so is
the candidate itself. What was chosen is then judged once, on the test rows: picking the best of several on those would
compare the model with the luckiest of them, and picking a weak one with nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from numpy.typing import ArrayLike

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats
from tradebot.evaluation.trades import RULE, TradeRule, best_entry_bp, threshold_trades

STAY_OUT: Final = "stay out"


@dataclass(frozen=True, slots=True)
class ChosenRule:
    """The candidate that earned most on the validation rows, its threshold (bp of its score), and what it earned."""

    name: str
    entry_bp: float
    validation_net_bp: float

    def __str__(self) -> str:
        return f"{self.name} at {self.entry_bp:.1f} bp"


def past_return_rules(past_bp: Floats, bars: Sequence[int]) -> dict[str, Floats]:
    """Momentum and reversal of every past return: column ``j`` of ``past_bp`` (N, K) spans ``bars[j]`` bars.

    >>> import numpy as np
    >>> {name: score.tolist() for name, score in past_return_rules(np.array([[3.0], [-4.0]]), [2]).items()}
    {'momentum of 2 bars': [3.0, -4.0], 'reversal of 2 bars': [-3.0, 4.0]}
    """
    if past_bp.ndim != 2 or past_bp.shape[1] != len(bars):
        raise DataError(f"past returns over {len(bars)} spans need a column for each, got shape {past_bp.shape}")
    rules: dict[str, Floats] = {}
    for j, span in enumerate(bars):
        word = "bar" if span == 1 else "bars"
        rules[f"momentum of {span} {word}"] = past_bp[:, j]
        rules[f"reversal of {span} {word}"] = -past_bp[:, j]
    return rules


def choose_rule(
    candidates: Mapping[str, Floats],
    realised_bp: ArrayLike,
    cost_bp: ArrayLike,
    *,
    min_trades: int,
    rule: TradeRule = RULE,
) -> ChosenRule | None:
    """The candidate that, at its best threshold, earned most on these (validation) rows; None when none earned.

    Of equal sums the first wins.
    """
    best: ChosenRule | None = None
    for name, score in candidates.items():
        entry = best_entry_bp(score, realised_bp, cost_bp, min_trades=min_trades, rule=rule)
        if entry is None:
            continue
        net = float(threshold_trades(score, realised_bp, cost_bp, entry_bp=entry, rule=rule).net_bp.sum())
        if best is None or net > best.validation_net_bp:
            best = ChosenRule(name, entry, net)
    return best
