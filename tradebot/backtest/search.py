"""Search for parameters of a strategy on one span of time, and one look at another that nobody has seen.

The study lies in a file and is taken up where it was left. Every trial counts: against the Sharpe of the best stands
what so many tries give by luck. The test span stays locked until it is asked for; what was found there is on record,
and a second look is refused, for then it would be one more span to choose on.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from tradebot.backtest.many import run_many
from tradebot.backtest.report.documents import TRIALS, Trials, write_beside
from tradebot.backtest.report.facts import trips_of
from tradebot.backtest.run import RUN
from tradebot.backtest.single import Outcome, Progress, Spec, run_backtest
from tradebot.errors import ConfigError, DataError, UsageError
from tradebot.evaluation.bootstrap import Floats
from tradebot.evaluation.headline import Headline, measure
from tradebot.evaluation.overfitting import overfitting
from tradebot.evaluation.performance import sharpe
from tradebot.evaluation.periods import days_of
from tradebot.evaluation.round_trips import ENOUGH_TRADES
from tradebot.ops.files import make_private, write_atomic
from tradebot.trading.loading import load_strategy
from tradebot.trading.strategy import configure

STUDY: Final = "study.journal"
SEARCH: Final = "search.json"
TEST: Final = "test"
TRAIN_BEST: Final = "train"
TOO_FEW: Final = -1e3
"""Value of a trial with too few trades to tell anything: below whatever a Sharpe ratio can be."""


GIVE_UP: Final = 20


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a search was begun with (``search.json``). ``asked`` tells one search from another.

    ``opened``: the parameters with which the test span was looked at, None while it is locked.
    """

    asked: str
    train_from_ms: int
    train_to_ms: int
    test_to_ms: int
    opened: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The best parameters so far, their Sharpe (annualised, None: too few trades in every trial), and the count."""

    params: dict[str, Any]
    sharpe: float | None
    trials: Trials
    failed: int


def space_of(texts: Sequence[str]) -> dict[str, BaseDistribution]:
    """``NAME=LOW:HIGH`` (``:log`` for powers, whole numbers where both ends are), ``NAME=A,B,C`` as ranges to search.

    Raises UsageError.

    >>> sorted(space_of(["entry_bp=2.0:30.0:log", "hold=1:6", "side=long,short"]).items())[1]
    ('hold', IntDistribution(high=6, log=False, low=1, step=1))
    """
    space: dict[str, BaseDistribution] = {}
    for text in texts:
        name, given, wanted = text.partition("=")
        try:
            if not (given and name and wanted):
                raise ValueError
            space[name] = _distribution(wanted)
        except (ValueError, msgspec.DecodeError):
            raise UsageError(f"--search {text}: expected NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C") from None
    if not space:
        raise UsageError("nothing to search: give at least one --search NAME=LOW:HIGH")
    return space


def _distribution(text: str) -> BaseDistribution:
    ends = text.split(":")
    if len(ends) == 1:
        choices = [_value(part) for part in text.split(",")]
        if len(choices) < 2:
            raise ValueError
        return CategoricalDistribution(choices)
    log = len(ends) == 3 and ends[2] == "log"
    if len(ends) > 3 or (len(ends) == 3 and not log):
        raise ValueError
    low, high = (msgspec.json.decode(end, type=int | float) for end in ends[:2])
    if not low < high or (log and low <= 0):
        raise ValueError
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


class Search:
    """A study in a directory. ``spec`` is what every trial runs, with other parameters; its store's models."""

    def __init__(
        self, spec: Spec, space: Mapping[str, BaseDistribution], out: Path, asked: Asked, *, seed: int
    ) -> None:
        """Begin or take up. Raises ConfigError when another search lies there."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec = spec
        self._space = dict(space)
        self._out = out
        self.asked = _begun(out, asked)
        self._study = optuna.create_study(
            study_name="strategy",
            storage=JournalStorage(JournalFileBackend(str(out / STUDY))),
            direction="maximize",
            load_if_exists=True,
        )
        # a study that is taken up goes on with other random numbers than it began with, else it repeats itself
        seen = len(self._study.trials)
        self._study.sampler = optuna.samplers.TPESampler(seed=seed + seen, n_startup_trials=10)
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)  # its process is gone

    @property
    def finished(self) -> list[FrozenTrial]:
        """Trials that have a value."""
        return self._study.get_trials(states=(TrialState.COMPLETE,))

    def run(
        self,
        trials: int,
        *,
        jobs: int = 1,
        on_trial: Callable[[int, float | None, float | None], None] = lambda number, value, best: None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Try until ``trials`` have been finished in all, ``jobs`` at a time. False when it was stopped.

        ``on_trial``: finished trials, the newest one's Sharpe and the best so far (None: too few trades). A set of
        parameters that the strategy refuses counts as failed, and as tried. The same ``seed`` and ``jobs`` try the
        same. Raises ConfigError when all were refused.
        """
        strategy, _ = load_strategy(self._spec.strategies_dir, self._spec.config.strategy)
        while (missing := trials - len(self.finished)) > 0:
            if stop():
                return False
            asked = [self._study.ask(self._space) for _ in range(min(jobs, missing))]
            accepted: list[tuple[optuna.Trial, Spec]] = []
            for trial in asked:
                spec = self._with(trial.params, self.asked.train_from_ms, self.asked.train_to_ms)
                try:
                    configure(strategy, spec.config)
                except ConfigError as error:
                    self._study.tell(trial, state=TrialState.FAIL)
                    if not self.finished and len(self._study.trials) >= GIVE_UP:
                        raise ConfigError(
                            f"{GIVE_UP} sets of parameters, all refused by the strategy: {error}"
                        ) from None
                else:
                    accepted.append((trial, spec))
            outcomes = _outcomes([spec for _, spec in accepted], jobs, on_progress, stop)
            for (trial, _), outcome in zip(accepted, outcomes, strict=True):
                self._tell(trial, outcome, on_trial)
            if any(outcome is None or outcome.run.interrupted for outcome in outcomes):
                return False
        return True

    def found(self) -> Found:
        """The best of all trials so far. Raises DataError when there is none."""
        finished = self.finished
        if not finished:
            raise DataError(f"{self._out}: no trial has been finished")
        best = max(finished, key=lambda trial: (trial.value or 0.0, -trial.number))
        value = best.value if best.value is not None and best.value > TOO_FEW else None
        return Found(dict(best.params), value, self._trials(), len(self._study.trials) - len(finished))

    def best_on_train(self) -> Outcome | None:
        """Run the best parameters on the train span again and leave the run, with what was tried, in ``train``."""
        return self._kept(TRAIN_BEST, self.asked.train_from_ms, self.asked.train_to_ms)

    def unlock(self) -> Outcome | None:
        """Look at the test span, once: run the best parameters there and leave the run in ``test``. None: stopped.

        Raises ConfigError when it was looked at before, DataError when no trial had enough trades. A look that was
        stopped before it had a result is taken again, with the same parameters only.
        """
        found = self.found()
        best = found.params
        seen = self.asked.opened is not None and (self._out / TEST / RUN).exists()
        if seen or self.asked.opened not in (None, best):
            raise ConfigError(
                f"{self._out}: the test span was looked at with {_said(self.asked.opened or {})}; what was found lies "
                f"in {TEST}. Another look would be choosing on it; take newer data"
            )
        if found.sharpe is None:
            raise DataError(
                f"{self._out}: no trial had {ENOUGH_TRADES} trades, so there is nothing to look at; "
                "the test span stays locked"
            )
        # on record before anybody has seen a figure
        self.asked = msgspec.structs.replace(self.asked, opened=best)
        _write(self._out, self.asked)
        return self._kept(TEST, self.asked.train_to_ms, self.asked.test_to_ms)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _tell(
        self, trial: optuna.Trial, outcome: Outcome | None, on_trial: Callable[[int, float | None, float | None], None]
    ) -> None:
        if outcome is None or outcome.run.interrupted:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        value, returns = _judged(outcome)
        trial.set_user_attr("daily", returns.tolist())
        trial.set_user_attr("result", {k: outcome.result[k] for k in ("trades", "net", "decisions_sha256")})
        self._study.tell(trial, TOO_FEW if value is None else value)
        best = self._study.best_value
        on_trial(len(self.finished), value, None if best <= TOO_FEW else best)

    def _with(self, params: Mapping[str, Any], from_ms: int, to_ms: int) -> Spec:
        config = self._spec.config
        config = msgspec.structs.replace(config, strategy_params={**config.strategy_params, **params})
        return replace(self._spec, config=config, start_ms=from_ms, for_ms=to_ms - from_ms)

    def _kept(self, name: str, from_ms: int, to_ms: int) -> Outcome | None:
        folder = self._out / name
        shutil.rmtree(folder, ignore_errors=True)
        outcome = run_backtest(self._with(self.found().params, from_ms, to_ms), out=folder)
        if outcome is not None:
            write_beside(folder, TRIALS, self._trials())
        return outcome

    def _trials(self) -> Trials:
        finished = self.finished
        daily = [np.array(trial.user_attrs["daily"]) for trial in finished]
        # what has too few trades is never chosen, so it tells nothing about choosing
        eligible = [own for trial, own in zip(finished, daily, strict=True) if (trial.value or 0.0) > TOO_FEW]
        sharpes = [value for returns in daily if (value := sharpe(returns)) is not None]
        begin, end = self.asked.train_from_ms, self.asked.train_to_ms
        return Trials(
            count=len(self._study.trials),
            sharpes=tuple(sharpes),
            overfitting=_overfitting(eligible),
            span=f"chosen on {(end - begin) / 86_400_000:.1f} days before the test span",
        )


def _outcomes(
    specs: Sequence[Spec], jobs: int, on_progress: Callable[[Progress], None], stop: Callable[[], bool]
) -> Sequence[Outcome | None]:
    if jobs == 1:
        return [run_backtest(spec, on_progress=on_progress, stop=stop) for spec in specs]
    return run_many(specs, jobs, stop=stop)


def _begun(out: Path, asked: Asked) -> Asked:
    file = out / SEARCH
    try:
        before = msgspec.json.decode(file.read_bytes(), type=Asked)
    except FileNotFoundError:
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"--out {out}: exists and holds no search; choose another directory") from None
        make_private(out)
        _write(out, asked)
        return asked
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); choose another directory") from None
    if msgspec.structs.replace(before, opened=None) != msgspec.structs.replace(asked, opened=None):
        raise ConfigError(f"--out {out}: another search was begun there; choose another directory")
    return before


def _write(out: Path, asked: Asked) -> None:
    write_atomic(out / SEARCH, msgspec.json.format(msgspec.json.encode(asked), indent=1) + b"\n")


def _judged(outcome: Outcome) -> tuple[float | None, Floats]:
    """Annualised Sharpe of daily returns, None with too few trades, and those returns."""
    found: Headline = measure(outcome.equity.ts_ms, outcome.equity.equity, trips_of(outcome.trades), draws=1)
    returns = days_of(outcome.equity.ts_ms, outcome.equity.equity).returns
    value = found.value("sharpe")
    return (value if found.trades >= ENOUGH_TRADES and value is not None and math.isfinite(value) else None), returns


def _overfitting(daily: Sequence[Floats]) -> float | None:
    """Of trials that could be chosen, by as many blocks as their days allow (at most 16); None: too few of either."""
    days = min((len(returns) for returns in daily), default=0)
    blocks = min(16, days // 2 // 2 * 2)
    if len(daily) < 2 or blocks < 4:
        return None
    return overfitting(np.stack([returns[:days] for returns in daily], axis=1), blocks=blocks).probability


def _said(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items())
