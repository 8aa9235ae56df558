"""The search: what it is judged on, what it keeps, and that an interruption does not show."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from tests.training import market
from tradebot.errors import BusyError, DataError
from tradebot.forecasters.base import FAMILIES, family
from tradebot.registry.durable import locked
from tradebot.training.dataset import build_dataset
from tradebot.training.splits import Splits, embargo_bars, expanding_folds
from tradebot.training.tuning import Kept, Tuned, tune

KIND = family("lightgbm")


@pytest.fixture(scope="module")
def folds() -> list[Splits]:
    sample = build_dataset(KIND, market.candles(9_000, momentum=0.6, seed=2)).sample
    return expanding_folds(sample, folds=2, bar_ms=market.BAR_MS, embargo_bars=embargo_bars(KIND))


def search(folds: list[Splits], kept: Kept | None = None, *, trials: int = 6, stop_after: int = 99) -> Tuned:
    def on_trial(number: int, total: int, best: float) -> None:
        if number == stop_after:
            raise KeyboardInterrupt

    return tune(KIND, folds, trials=trials, rounds=40, seed=3, threads=1, kept=kept, on_trial=on_trial)


def test_a_search_that_was_interrupted_ends_as_one_that_was_not(folds: list[Splits], tmp_path: Path) -> None:
    whole = search(folds)
    kept = Kept(tmp_path, "this one")
    with pytest.raises(KeyboardInterrupt):
        search(folds, kept, stop_after=3)
    resumed = search(folds, kept)
    assert (resumed.resumed, whole.resumed) == (3, 0)
    assert (resumed.params, resumed.loss, resumed.losses) == (whole.params, whole.loss, whole.losses)


def test_another_search_does_not_go_on_with_these_trials(folds: list[Splits], tmp_path: Path) -> None:
    search(folds, Kept(tmp_path, "one"), trials=2)
    assert search(folds, Kept(tmp_path, "other"), trials=2).resumed == 0
    (tmp_path / "study.json").write_bytes(b'{"cut off')
    assert search(folds, Kept(tmp_path, "other"), trials=2).resumed == 0


def test_a_study_that_another_process_works_on_is_busy_in_one_line(folds: list[Splits], tmp_path: Path) -> None:
    with locked(tmp_path / "study.lock", wait_s=0.0, what="it"), pytest.raises(BusyError) as caught:
        search(folds, Kept(tmp_path, "one"))
    assert "in use by another process" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_loss_is_the_mean_over_the_folds_and_the_first_trial_the_defaults(folds: list[Splits]) -> None:
    tuned = search(folds, trials=2)
    losses = []
    for fold in folds:
        prepared = KIND.prepare(fold.train, fold.validation, seed=3, threads=1)
        losses.append(KIND.fit(prepared, KIND.defaults(40), rounds=40).validation_loss)
    assert tuned.losses[0] == pytest.approx(np.mean(losses), abs=1e-12)


def test_one_trial_is_the_defaults_and_nothing_is_fitted(folds: list[Splits], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(KIND), "prepare", None)
    fixed = {"learning_rate": 0.123}
    found = tune(KIND, folds, trials=1, rounds=40, seed=3, threads=1, fixed=fixed)
    assert found == Tuned({**KIND.defaults(40), **fixed}, loss=None, trials=1, pruned=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_trial_is_the_defaults_to_the_last_bit(name: str) -> None:
    if name in ("bilstm", "lorentzian-net"):
        pytest.importorskip("torch")
    kind = family(name)
    trial = optuna.trial.FixedTrial(kind.defaults(40))
    assert kind.suggest(trial, 40) == kind.defaults(40)


def test_a_fixed_parameter_is_taken_as_it_is(folds: list[Splits]) -> None:
    found = tune(KIND, folds[:1], trials=3, rounds=20, seed=3, threads=1, fixed={"learning_rate": 0.123})
    assert found.params["learning_rate"] == 0.123


def refusing(monkeypatch: pytest.MonkeyPatch, *fits: int) -> None:
    """A family that refuses these fits, counted from 0."""
    real, count = type(KIND).fit, itertools.count()

    def fit(self: Any, *prepared: Any, **more: Any) -> Any:
        if next(count) in fits:
            raise DataError("these rows cannot be fitted")
        return real(self, *prepared, **more)

    monkeypatch.setattr(type(KIND), "fit", fit)


def test_a_trial_that_the_family_refuses_is_passed_over(folds: list[Splits], monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, 2)  # the second trial's first fold
    found = search(folds)
    assert found.losses[1] is None
    assert found.losses.count(None) == found.pruned + 1
    assert any(loss is not None for loss in found.losses[2:])


def test_a_search_of_which_no_trial_gave_a_loss_is_one_line(
    folds: list[Splits], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, *range(9))
    with pytest.raises(DataError, match="none of 2 trials gave a loss that is a number; check the data"):
        search(folds, trials=2)


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_trial_whose_loss_is_no_number_has_failed_and_the_search_is_found_again(
    folds: list[Splits], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    real, fits = type(KIND).fit, iter(range(99))

    def fit(self: Any, *prepared: Any, **more: Any) -> Any:
        fitted = real(self, *prepared, **more)
        if next(fits) == 2:  # the second trial's first fold
            fitted.validation_loss = loss
        return fitted

    monkeypatch.setattr(type(KIND), "fit", fit)
    kept = Kept(tmp_path, "this one")
    assert search(folds, kept, trials=3).losses[1] is None
    assert search(folds, kept, trials=4).resumed == 3
