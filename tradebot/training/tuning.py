"""A small, reproducible hyper-parameter search that can be interrupted.

The driver owns the study: it asks for parameters, fits, and tells what came of it. TPE over the family's space, seeded
by the number of trials told so far; the family's defaults are the first trial, so the search can only improve on them.
The objective is the mean loss over the folds. Successive halving stops poor trials early (performance.md section 2:
pruning does the work). There is no wall-time limit: the same rows and seed choose the same parameters on any machine,
and a search that went on after an interruption chooses what an uninterrupted one would have chosen.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from tradebot.errors import DataError
from tradebot.forecasters.base import Family, Params
from tradebot.registry.durable import locked
from tradebot.training.splits import Splits
from tradebot.training.study import StudyFile

PRUNE_EVERY = 5
"""Rounds between looks at the pruner; its bookkeeping costs more than a boosting round on few rows."""

OnTrial = Callable[[int, int, float], None]
"""Called after every trial with its number (from 1), the total and the best loss so far."""

OnStep = Callable[[], None]
"""Called every few rounds; raises to stop the search."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """``loss`` is the loss of the best trial, the mean over the folds; None where one trial was all
    and nothing had to be compared. ``resumed`` of the ``trials`` were told by an earlier run."""

    params: Params
    loss: float | None
    trials: int
    pruned: int
    resumed: int = 0
    losses: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a search is kept between runs, and of which search it must be (anything else there is thrown away)."""

    folder: Path
    fingerprint: str


def tune(
    family: Family,
    folds: Sequence[Splits],
    *,
    trials: int,
    rounds: int,
    seed: int,
    threads: int,
    fixed: Params | None = None,
    kept: Kept | None = None,
    on_trial: OnTrial | None = None,
    on_step: OnStep | None = None,
) -> Tuned:
    """Best parameters found in ``trials`` trials, each fitted on every fold; ``fixed`` ones are taken as they are.

    One trial is the family's defaults: they are given back without a fit, as there is nothing to choose between.
    Raises BusyError when another process works on the kept study, DataError when no trial gave a loss that is a number.
    """
    if trials == 1:
        return unsearched(family, rounds=rounds, fixed=fixed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _opened(kept) as file:
        study = optuna.create_study(
            direction="minimize",
            # each rung twice the folds (or rounds) of the one before; the best half of those that reached it goes on
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=1 if len(folds) > 1 else max(15, rounds // 8), reduction_factor=2
            ),
        )
        before = file.trials() if file is not None else []
        for trial in before[:trials]:
            study.add_trial(trial)
        prepared = [family.prepare(fold.train, fold.validation, seed=seed, threads=threads) for fold in folds]
        for number in range(len(before[:trials]), trials):
            study.sampler = optuna.samplers.TPESampler(seed=_seed(seed, number), n_startup_trials=max(3, trials // 3))
            if number == 0:
                study.enqueue_trial(family.defaults(rounds))
            _trial(study, family, prepared, rounds, fixed or {}, on_step)
            if file is not None:
                file.write(study.trials)
            if on_trial is not None:
                on_trial(number + 1, trials, min(_losses(study.trials), default=float("inf")))
    finished = [t for t in study.trials if t.state == TrialState.COMPLETE]
    if not finished:
        raise DataError(f"none of {trials} trials gave a loss that is a number; check the data, or lower the rate")
    best = min(finished, key=lambda t: (_value(t), t.number))
    return Tuned(
        params={**family.suggest(optuna.trial.FixedTrial(best.params), rounds), **(fixed or {})},
        loss=_value(best),
        trials=len(study.trials),
        pruned=sum(t.state == TrialState.PRUNED for t in study.trials),
        resumed=len(before[:trials]),
        losses=tuple(t.value if t.state == TrialState.COMPLETE else None for t in study.trials),
    )


def unsearched(family: Family, *, rounds: int, fixed: Params | None = None) -> Tuned:
    """The family's defaults for fits of at most ``rounds``, but for ``fixed`` ones; what one trial finds."""
    return Tuned({**family.defaults(rounds), **(fixed or {})}, loss=None, trials=1, pruned=0)


def _trial(
    study: optuna.Study,
    family: Family,
    prepared: Sequence[object],
    rounds: int,
    fixed: Params,
    on_step: OnStep | None,
) -> None:
    """One trial over all folds. Over several, trials are compared after each whole fold, so that slow learners are not
    stopped for being slow; over one, every few rounds."""
    trial = study.ask()
    params = {**family.suggest(trial, rounds), **fixed}
    done: list[float] = []
    pruned = False
    best = float("inf")

    def on_round(at: int, loss: float) -> bool:
        nonlocal best, pruned
        if on_step is not None:
            on_step()
        if math.isfinite(loss):
            best = min(best, loss)
        if len(prepared) == 1 and at % PRUNE_EVERY == 0 and best < float("inf"):
            trial.report(best, at)
            pruned = trial.should_prune()
        return pruned

    for number, rows in enumerate(prepared, start=1):
        try:
            fitted = family.fit(rows, params, rounds=rounds, on_round=on_round)
        except DataError:
            study.tell(trial, state=TrialState.FAIL)
            return
        if not math.isfinite(fitted.validation_loss):
            study.tell(trial, state=TrialState.FAIL)
            return
        done.append(fitted.validation_loss)
        if 1 < len(prepared) != number:
            trial.report(sum(done) / number, number)
            pruned = trial.should_prune()
        if pruned:
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, sum(done) / len(done))


@contextlib.contextmanager
def _opened(kept: Kept | None) -> Iterator[StudyFile | None]:
    if kept is None:
        yield None
        return
    kept.folder.mkdir(parents=True, exist_ok=True)
    with locked(kept.folder / "study.lock", wait_s=0.0, what=f"study {kept.folder}"):
        yield StudyFile(kept.folder / "study.json", kept.fingerprint)


def _seed(seed: int, number: int) -> int:
    """A seed for each trial, so that where a search was interrupted does not show."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _value(trial: FrozenTrial) -> float:
    return float("inf") if trial.value is None else float(trial.value)


def _losses(trials: Sequence[FrozenTrial]) -> list[float]:
    return [float(t.value) for t in trials if t.value is not None and t.state == TrialState.COMPLETE]
