"""A small, reproducible hyper-parameter search.

TPE with a fixed seed over the family's space; the family's defaults are the first trial, so the search can only
improve on them. Successive halving stops poor trials early (performance.md section 2: pruning does the work). There is
no wall-time limit: the same rows and seed choose the same parameters on any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import optuna

from tradebot.forecasters.base import Family, Params
from tradebot.training.splits import Splits

PRUNE_EVERY = 5
"""Rounds between looks at the pruner; its bookkeeping costs more than a boosting round on few rows."""

OnTrial = Callable[[int, int, float], None]
"""Called after every trial with its number (from 1), the total and the best loss so far."""

OnStep = Callable[[], None]
"""Called every few rounds; raises to stop the search."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """``loss`` is the weighted log-loss of the best trial on the tuning validation rows."""

    params: Params
    loss: float
    trials: int
    pruned: int


def tune(
    family: Family,
    splits: Splits,
    *,
    trials: int,
    rounds: int,
    seed: int,
    threads: int,
    on_trial: OnTrial | None = None,
    on_step: OnStep | None = None,
) -> Tuned:
    """Best parameters found in ``trials`` fits on the given train and validation rows."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    prepared = family.prepare(splits.train, splits.validation, seed=seed, threads=threads)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, trials // 3)),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=max(15, rounds // 8), reduction_factor=2),
    )
    study.enqueue_trial(family.defaults(rounds))
    chosen: dict[int, Params] = {}
    for number in range(trials):
        trial = study.ask()
        params = family.suggest(trial, rounds)
        chosen[trial.number] = params
        best, pruned = float("inf"), False

        def on_round(done: int, loss: float, trial: optuna.Trial = trial) -> bool:
            nonlocal best, pruned
            if on_step is not None:
                on_step()
            best = min(best, loss)
            if done % PRUNE_EVERY == 0:
                trial.report(best, done)
                pruned = trial.should_prune()
            return pruned

        fitted = family.fit(prepared, params, rounds=rounds, on_round=on_round)
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, fitted.validation_loss)
        if on_trial is not None:
            complete = [t.value for t in study.trials if t.value is not None]
            on_trial(number + 1, trials, min(complete, default=float("inf")))
    finished = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    best_trial = min(finished, key=lambda t: (t.value, t.number))
    return Tuned(
        params=chosen[best_trial.number],
        loss=float(best_trial.value or 0.0),
        trials=len(study.trials),
        pruned=len(study.trials) - len(finished),
    )
