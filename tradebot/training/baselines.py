"""What has to be beaten: rules and a small regression, fitted on training rows and chosen on validation rows.

For each figure the strongest of several is taken, strength measured on the validation rows alone. What was chosen is
then fitted again on training and validation rows together, since a model is stopped and calibrated on the latter and
knows their base rates; its value is read off the test rows once. What was chosen is stored with the version, so that it
can be set beside the model again on rows that neither saw, without the rows it was fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from tradebot.errors import ModelError
from tradebot.evaluation.baselines import ChosenRule, choose_rule, past_return_rules
from tradebot.evaluation.classification import auc
from tradebot.evaluation.gate import Baseline
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import PAST_BARS, Family, Floats, Sample
from tradebot.forecasters.logistic import Logistic, fit_logistic
from tradebot.training.splits import Splits, joined

LOGISTIC = "logistic regression"
BASE_RATES = "base rates of the rows before"
MAJORITY = "majority direction of the rows before"
MIN_VALIDATION_TRADES = 30
BASELINES_FILE = "baselines.json"


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A baseline of a figure: which one, and what it says per row."""

    name: str
    score: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """The rule chosen for the gate (None: none earned anything), and the baseline of each figure on the test rows.

    ``log_loss`` holds per-row losses in nats; ``move`` and ``direction`` scores whose order says how likely a move,
    and an up move, is; ``side`` 1 for up, 0 for down, 0.5 for neither; ``always_up`` whether most moves before were.
    """

    rule: ChosenRule | None
    rule_bp: Floats
    log_loss: Named
    move: Named
    direction: Named
    side: Named
    always_up: bool = True

    def of_gate(self, rows: npt.NDArray[np.bool_]) -> Baseline | None:
        """The chosen rule on a selection of the test rows."""
        return None if self.rule is None else Baseline(self.rule.name, self.rule_bp[rows], self.rule.entry_bp)


class Regression(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted logistic regression as numbers. ``features`` by name; the rest as in ``forecasters.logistic``."""

    features: tuple[str, ...]
    logged: tuple[bool, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]
    class_bp: tuple[float, ...]

    @classmethod
    def of(cls, fitted: Logistic, names: tuple[str, ...]) -> Regression:
        return cls(
            features=names,
            logged=fitted.logged,
            mean=tuple(fitted.mean.tolist()),
            deviation=tuple(fitted.deviation.tolist()),
            coefficients=tuple(tuple(row) for row in fitted.coefficients.tolist()),
            class_bp=tuple(fitted.class_bp.tolist()),
        )

    def on(self, names: tuple[str, ...]) -> Logistic:
        """The regression for rows whose columns are ``names``. Raises ModelError when a feature is missing."""
        missing = [name for name in self.features if name not in names]
        if missing:
            raise ModelError(f"the stored baseline needs feature {', '.join(missing)}, which the rows do not have")
        return Logistic(
            columns=tuple(names.index(name) for name in self.features),
            logged=self.logged,
            mean=np.array(self.mean),
            deviation=np.array(self.deviation),
            coefficients=np.array(self.coefficients).reshape(-1, 2),
            class_bp=np.array(self.class_bp),
        )


class ChosenBaselines(msgspec.Struct, frozen=True, kw_only=True):
    """``baselines.json`` of a version: which baseline each figure is set beside, and what they need.

    ``rates`` are the classes' shares among training and validation rows, on which ``regression`` is fitted; ``rule``
    (None: none earned) with the threshold in bp of its score and what it earned on the validation rows.
    """

    regression: Regression
    rates: tuple[float, float, float]
    always_up: bool
    rule: str | None
    rule_entry_bp: float
    rule_validation_net_bp: float
    log_loss: str
    move: str
    direction: str
    side: str

    def say(self, sample: Sample, features: tuple[str, ...]) -> Baselines:
        """What they say of the rows of ``sample``, whose columns are ``features``."""
        said = _Said.of(self.regression.on(features), sample)
        rule = None
        if self.rule is not None:
            rule = ChosenRule(self.rule, self.rule_entry_bp, self.rule_validation_net_bp)
        return Baselines(
            rule=rule,
            rule_bp=np.zeros(len(sample)) if rule is None else said.trading[rule.name],
            log_loss=Named(self.log_loss, said.losses(np.array(self.rates))[self.log_loss]),
            move=Named(self.move, said.move[self.move]),
            direction=Named(self.direction, said.direction[self.direction]),
            side=Named(self.side, said.sides(self.always_up)[self.side]),
            always_up=self.always_up,
        )


def choose_baselines(family: Family, splits: Splits, *, cost_bp: float, rule: TradeRule) -> ChosenBaselines:
    """Fit on the training rows, choose on the validation rows, fit again on both."""
    train, validation = splits.train, splits.validation
    logistic = fit_logistic(train, family.features, family.baseline_features)
    said = _Said.of(logistic, validation)
    chosen = choose_rule(said.trading, validation.traded_bp, cost_bp, min_trades=MIN_VALIDATION_TRADES, rule=rule)
    moved, up = validation.classes != 1, validation.classes == 2
    always_up, rates = _up_mostly(train), _rates(train)
    before = joined(train, validation)
    again = fit_logistic(before, family.features, family.baseline_features)

    def area(of: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]) -> Callable[[Floats], float]:
        return lambda score: (auc(score[rows], of[rows]) if rows.any() else None) or 0.0

    everything = np.ones(len(validation), dtype=np.bool_)
    known = _rates(before)
    return ChosenBaselines(
        regression=Regression.of(again, tuple(family.baseline_features)),
        rates=(float(known[0]), float(known[1]), float(known[2])),
        always_up=_up_mostly(before),
        rule=None if chosen is None else chosen.name,
        rule_entry_bp=0.0 if chosen is None else chosen.entry_bp,
        rule_validation_net_bp=0.0 if chosen is None else chosen.validation_net_bp,
        log_loss=_strongest(said.losses(rates), lambda loss: -float(loss.mean())),
        move=_strongest(said.move, area(moved, everything)),
        direction=_strongest(said.direction, area(up, moved)),
        side=_strongest(
            said.sides(always_up),
            lambda side: -float(np.abs(side[moved] - up[moved]).mean()) if moved.any() else 0.0,
        ),
    )


def fit_baselines(family: Family, splits: Splits, *, cost_bp: float, rule: TradeRule) -> Baselines:
    """``choose_baselines``, applied to the test rows."""
    chosen = choose_baselines(family, splits, cost_bp=cost_bp, rule=rule)
    return chosen.say(splits.test, tuple(family.features))


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """Everything the candidates say on one slice, by name."""

    classes: npt.NDArray[np.int8]
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
            classes=sample.classes,
            probabilities=p,
            trading={**rules, LOGISTIC: expected},
            move={LOGISTIC: p[:, 0] + p[:, 2], **sizes},
            direction={LOGISTIC: p[:, 2] / np.maximum(p[:, 0] + p[:, 2], 1e-12) - 0.5, **rules},
        )

    def losses(self, rates: Floats) -> dict[str, Floats]:
        rows = np.arange(len(self.classes))
        return {
            LOGISTIC: -np.log(np.maximum(self.probabilities[rows, self.classes], 1e-7)),
            BASE_RATES: -np.log(np.maximum(rates[self.classes], 1e-7)),
        }

    def sides(self, always_up: bool) -> dict[str, Floats]:
        rules = {name: (np.sign(score) + 1) / 2 for name, score in self.direction.items()}
        return {MAJORITY: np.full(len(self.classes), 1.0 if always_up else 0.0), **rules}


def _rates(sample: Sample) -> Floats:
    return np.asarray(np.bincount(sample.classes, minlength=3) / len(sample), dtype=np.float64)


def _up_mostly(sample: Sample) -> bool:
    return bool((sample.classes == 2).sum() >= (sample.classes == 0).sum())


def _strongest(said: Mapping[str, Floats], strength: Callable[[Floats], float]) -> str:
    """The candidate whose ``strength`` is greatest; of equals the first."""
    return max(said, key=lambda candidate: strength(said[candidate]))
