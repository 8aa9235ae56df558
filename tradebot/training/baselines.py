"""What has to be beaten: rules and a small regression, fitted on training rows and chosen on validation rows.

For each figure the strongest of several is taken, strength measured on the validation rows alone; its value is then
read off the test rows once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradebot.evaluation.baselines import ChosenRule, choose_rule, past_return_rules
from tradebot.evaluation.classification import auc
from tradebot.evaluation.gate import Baseline
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import PAST_BARS, Family, Floats, Sample
from tradebot.forecasters.logistic import Logistic, fit_logistic
from tradebot.training.splits import Splits

LOGISTIC = "logistic regression"
BASE_RATES = "base rates of the training rows"
MAJORITY = "majority direction of the training rows"
MIN_VALIDATION_TRADES = 30


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A baseline of a figure: which one, and what it says per row."""

    name: str
    score: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """The rule chosen for the gate (None: none earned anything), and the baseline of each figure on the test rows.

    ``log_loss`` holds per-row losses in nats; ``move`` and ``direction`` scores whose order says how likely a move,
    and an up move, is; ``side`` 1 for up, 0 for down, 0.5 for neither.
    """

    rule: ChosenRule | None
    rule_bp: Floats
    log_loss: Named
    move: Named
    direction: Named
    side: Named

    def of_gate(self, rows: npt.NDArray[np.bool_]) -> Baseline | None:
        """The chosen rule on a selection of the test rows."""
        return None if self.rule is None else Baseline(self.rule.name, self.rule_bp[rows], self.rule.entry_bp)


def fit_baselines(family: Family, splits: Splits, *, cost_bp: float, rule: TradeRule) -> Baselines:
    """Fit on the training rows, choose on the validation rows, apply to the test rows."""
    train, validation, test = splits.train, splits.validation, splits.test
    logistic = fit_logistic(train, family.features, family.baseline_features)
    before, after = _Said.of(logistic, validation), _Said.of(logistic, test)
    chosen = choose_rule(before.trading, validation.traded_bp, cost_bp, min_trades=MIN_VALIDATION_TRADES, rule=rule)
    moved, up = validation.classes != 1, validation.classes == 2
    majority = 1.0 if (train.classes == 2).sum() >= (train.classes == 0).sum() else 0.0
    rates = np.bincount(train.classes, minlength=3) / len(train)

    def losses(said: _Said, sample: Sample) -> dict[str, Floats]:
        rows = np.arange(len(sample))
        return {
            LOGISTIC: -np.log(np.maximum(said.probabilities[rows, sample.classes], 1e-7)),
            BASE_RATES: -np.log(np.maximum(rates[sample.classes], 1e-7)),
        }

    def sides(said: _Said, sample: Sample) -> dict[str, Floats]:
        rules = {name: (np.sign(score) + 1) / 2 for name, score in said.direction.items()}
        return {MAJORITY: np.full(len(sample), majority), **rules}

    def area(of: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]) -> Callable[[Floats], float]:
        return lambda score: (auc(score[rows], of[rows]) if rows.any() else None) or 0.0

    everything = np.ones(len(validation), dtype=np.bool_)
    return Baselines(
        rule=chosen,
        rule_bp=np.zeros(len(test)) if chosen is None else after.trading[chosen.name],
        log_loss=_strongest(losses(before, validation), losses(after, test), lambda loss: -float(loss.mean())),
        move=_strongest(before.move, after.move, area(moved, everything)),
        direction=_strongest(before.direction, after.direction, area(up, moved)),
        side=_strongest(
            sides(before, validation),
            sides(after, test),
            lambda side: -float(np.abs(side[moved] - up[moved]).mean()) if moved.any() else 0.0,
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """Everything the candidates say on one slice, by name."""

    probabilities: Floats
    trading: dict[str, Floats]
    move: dict[str, Floats]
    direction: dict[str, Floats]

    @classmethod
    def of(cls, logistic: Logistic, sample: Sample) -> _Said:
        p, expected = logistic.predict(sample.rows)
        rules = past_return_rules(sample.past_bp, PAST_BARS)
        sizes = {f"size of the last {span}": np.abs(sample.past_bp[:, j]) for j, span in enumerate(PAST_BARS)}
        return cls(
            probabilities=p,
            trading={**rules, LOGISTIC: expected},
            move={LOGISTIC: p[:, 0] + p[:, 2], **sizes},
            direction={LOGISTIC: p[:, 2] / np.maximum(p[:, 0] + p[:, 2], 1e-12) - 0.5, **rules},
        )


def _strongest(before: Mapping[str, Floats], after: Mapping[str, Floats], strength: Callable[[Floats], float]) -> Named:
    """The candidate whose ``strength`` on the validation rows (``before``) is greatest; of equals the first."""
    name = max(before, key=lambda candidate: strength(before[candidate]))
    return Named(name, after[name])
