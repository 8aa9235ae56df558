"""One window of a walk: fit, choose on its validation rows, say what it would do on its test rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import optuna
from optuna.trial import TrialState

from tradebot.errors import ConfigError, DataError
from tradebot.evaluation.walkforward import Window
from tradebot.forecasters.base import Family, Fitted, Floats, Params, Sample
from tradebot.training.advanced.adversarial import Drift, adversarial
from tradebot.training.splits import weighed, window_split
from tradebot.training.walk.plan import WalkPlan
from tradebot.training.walk.trading import Market, best_level, levels_of, score_of_enough

OnRound = Callable[[int, float], bool]


class WindowChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What was fitted in a window and why: the parameters, the level (bp) from which on it acts, how good both were on
    the validation rows, and every trial's score there. ``drift_auc``: of telling the newest third of the training rows
    from the others, where that was asked for, and the features that ``drifted`` most."""

    number: int
    train_from_ms: int
    validation_from_ms: int
    test_from_ms: int
    test_to_ms: int
    train_rows: int
    validation_rows: int
    test_rows: int
    params: dict[str, float | int | str | bool]
    level_bp: float
    validation_score: float | None
    validation_loss: float
    rounds: int
    trial_scores: tuple[float | None, ...]
    took_s: float
    drift_auc: float | None = None
    drifted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a window's model says of its test rows, and the signal that is traded (``Market.curve``)."""

    at_ms: np.ndarray
    probabilities: Floats
    expected_bp: Floats
    signal: Floats


def fit_window(
    plan: WalkPlan, kind: Family, sample: Sample, market: Market, window: Window, on_round: OnRound
) -> tuple[WindowChoice, Fitted, Said]:
    """Fit ``plan.trials`` parameter sets on the training rows, keep the one that traded the validation rows best.

    Raises DataError that names the window when a part holds no row, or too few.
    """
    try:
        return _fit_window(plan, kind, sample, market, window, on_round)
    except DataError as error:
        text = str(error).removeprefix(own := f"window {window.number}: ")
        text = text.replace("use longer parts or more days", "give it longer parts (--train, --test)")
        raise DataError(own + text.replace("use more days", "give it more --train days")) from error


def _fit_window(
    plan: WalkPlan, kind: Family, sample: Sample, market: Market, window: Window, on_round: OnRound
) -> tuple[WindowChoice, Fitted, Said]:
    began = time.monotonic()
    splits = window_split(sample, window, market.bar_ms)
    train, validation, test, drift = splits.train, splits.validation, splits.test, None
    if plan.adversarial:
        train, drift = _weighed_by_likeness(train, kind, plan)
    prepared = kind.prepare(train, validation, seed=plan.seed, threads=plan.threads)
    rows = market.rows_of(validation.at_ms)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=plan.seed))
    study.enqueue_trial(kind.defaults(plan.rounds))
    best: tuple[tuple[float, float], Params, Fitted, float, float | None] | None = None
    scores: list[float | None] = []
    for _ in range(plan.trials):
        trial = study.ask()
        params = kind.suggest(trial, plan.rounds) | plan.params
        fitted = kind.fit(prepared, params, rounds=plan.rounds, on_round=on_round)
        if plan.rule == "levels":
            held = levels_of(_rise(fitted, validation))
            level, found = 0.0, score_of_enough(market.curve(rows, held, "levels"), plan.metric)
        else:
            level, found = best_level(market, rows, fitted.predict(validation.rows)[1], plan.metric)
        scores.append(found)
        if found is None:
            study.tell(trial, state=TrialState.FAIL)  # too few trades say nothing, neither good nor bad
        else:
            study.tell(trial, found)
        rank = (-np.inf if found is None else found, -fitted.validation_loss)
        if best is None or rank > best[0]:
            best = rank, params, fitted, level, found
    assert best is not None
    _, params, fitted, level, found = best
    probabilities, expected = fitted.predict(test.rows)
    signal = levels_of(_rise(fitted, test)) if plan.rule == "levels" else expected / level
    choice = WindowChoice(
        number=window.number,
        train_from_ms=window.train_from_ms,
        validation_from_ms=window.validation_from_ms,
        test_from_ms=window.test_from_ms,
        test_to_ms=window.test_to_ms,
        train_rows=len(train),
        validation_rows=len(validation),
        test_rows=len(test),
        params=params,
        level_bp=level,
        validation_score=found,
        validation_loss=fitted.validation_loss,
        rounds=fitted.rounds,
        trial_scores=tuple(scores),
        took_s=time.monotonic() - began,
        drift_auc=None if drift is None else drift.auc,
        drifted=() if drift is None else drift.dropped,
    )
    return choice, fitted, Said(test.at_ms, probabilities, expected, signal)


def _weighed_by_likeness(train: Sample, kind: Family, plan: WalkPlan) -> tuple[Sample, Drift]:
    """The rows with the older two thirds weighed by how much they look like the newest one."""
    recent = train.at_ms >= train.at_ms[len(train) * 2 // 3]
    drift = adversarial(
        train.where(~recent), train.where(recent), tuple(kind.features), seed=plan.seed, threads=plan.threads
    )
    weight = train.weight.copy()
    weight[~recent] *= drift.weight
    return weighed(replace(train, weight=weight)), drift


def _rise(fitted: Any, sample: Sample) -> Floats:
    """The published net's own probability of a rise."""
    said = getattr(fitted, "rise", None)
    if said is None:
        raise ConfigError("rule levels is of lorentzian-net with kind published: its signals are 0.7 and 0.3")
    rise: Floats = said(sample.rows)
    return rise
