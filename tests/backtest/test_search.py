"""A search for parameters through the real engine: taken up where it was, every trial counted, the test span locked."""

from __future__ import annotations

import doctest
from pathlib import Path

import msgspec
import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from tests.backtest.market import BEGIN_MS, asked, random_walk
from tradebot.backtest import search as module
from tradebot.backtest.report import report_of
from tradebot.backtest.report.documents import TRIALS, Trials, read_beside
from tradebot.backtest.run import RunFolder
from tradebot.backtest.search import Asked, Search, space_of
from tradebot.backtest.single import Outcome, Spec, run_backtest
from tradebot.errors import ConfigError, DataError, UsageError
from tradebot.market.candle import DAY_MS, HOUR_MS


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return asked(random_walk(tmp_path_factory.mktemp("market"), days=14, reverting=0.6), entry_bp=30.0)


def begun(spec: Spec, out: Path, *names: str, seed: int = 1, key: str = "k") -> Search:
    train, test, end = (BEGIN_MS + 11 * DAY_MS + hours * HOUR_MS for hours in (0, 56, 60))
    span = Asked(asked=key, train_from_ms=train, train_to_ms=test, test_to_ms=end)
    return Search(spec, space_of(names or ["fade=true,false", "hold=1:3"]), out, span, seed=seed)


def test_ranges_are_read_and_what_is_none_is_named() -> None:
    assert doctest.testmod(module).attempted
    assert not doctest.testmod(module).failed
    assert space_of(["a=1:4", "b=0.5:2:log", "c=true,false", "d=long,short"]) == {
        "a": IntDistribution(1, 4),
        "b": FloatDistribution(0.5, 2.0, log=True),
        "c": CategoricalDistribution((True, False)),
        "d": CategoricalDistribution(("long", "short")),
    }
    for wrong in ("a", "a=", "a=1", "a=4:1", "a=0:4:log", "a=x:y", "a=1:2:3", "=1:2"):
        with pytest.raises(UsageError, match="NAME=LOW:HIGH"):
            space_of([wrong])
    with pytest.raises(UsageError, match="nothing to search"):
        space_of([])


def test_a_search_finds_what_works_counts_every_trial_and_opens_the_test_span_once(spec: Spec, tmp_path: Path) -> None:
    out = tmp_path / "search"
    told: list[int] = []
    first = begun(spec, out)
    assert first.run(2, on_trial=lambda number, value, best: told.append(number))
    taken_up = begun(spec, out)
    assert taken_up.run(4, on_trial=lambda number, value, best: told.append(number))
    assert told == [1, 2, 3, 4]
    found = taken_up.found()
    assert found.params["fade"] is True  # the market takes moves back
    assert found.sharpe is not None
    assert found.trials.count == 4
    assert found.failed == 0

    for _ in range(2):  # more trials may follow, and their best takes its place
        trained = taken_up.best_on_train()
        assert trained is not None
    assert read_beside(out / "train", TRIALS, Trials) == found.trials
    deflated = report_of(out / "train", draws=20).deflated
    assert deflated is None or deflated.trials == 4

    test = taken_up.unlock()
    assert test is not None
    run = RunFolder(out / "test").run()
    assert (run.from_ms, run.to_ms) == (BEGIN_MS + 11 * DAY_MS + 56 * HOUR_MS, BEGIN_MS + 11 * DAY_MS + 60 * HOUR_MS)
    assert run.config.strategy_params == {"entry_bp": 30.0, **found.params}
    for study in (taken_up, begun(spec, out)):
        with pytest.raises(ConfigError, match="was looked at with"):
            study.unlock()
    with pytest.raises(ConfigError, match="another search"):
        begun(spec, out, key="other")


def test_a_look_that_was_cut_short_is_taken_again_with_the_same_parameters_only(spec: Spec, tmp_path: Path) -> None:
    out = tmp_path / "s"
    study = begun(spec, out, "hold=1:2")
    assert study.run(1)
    study.asked = msgspec.structs.replace(study.asked, opened=study.found().params)  # it died before it had a result
    assert study.unlock() is not None
    (out / "test" / "run.json").unlink()
    study.asked = msgspec.structs.replace(study.asked, opened={"hold": 99})
    with pytest.raises(ConfigError, match="hold=99"):
        study.unlock()


def test_trials_beside_each_other_are_as_many_and_none_is_lost(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []

    def many(specs: list[Spec], jobs: int, *, stop: object) -> list[Outcome | None]:
        batches.append(len(specs))
        return [run_backtest(each) for each in specs]

    monkeypatch.setattr(module, "run_many", many)
    study = begun(spec, tmp_path / "s", "entry_bp=2000.0:3000.0")
    assert study.run(3, jobs=2)
    assert (len(study.finished), batches) == (3, [2, 1])
    assert len({trial.params["entry_bp"] for trial in study.finished}) == 3


def test_a_stopped_search_keeps_what_it_has(spec: Spec, tmp_path: Path) -> None:
    study = begun(spec, tmp_path / "s")
    assert not study.run(2, stop=lambda: True)
    with pytest.raises(DataError, match="no trial"):
        study.found()
    assert study.asked.opened is None


def test_trials_with_too_few_trades_win_nothing_however_well_they_did(spec: Spec, tmp_path: Path) -> None:
    study = begun(spec, tmp_path / "s", "entry_bp=40.0:45.0")
    assert study.run(2)
    assert all(0 < trial.user_attrs["result"]["trades"] < 30 for trial in study.finished)
    assert len(study.found().trials.sharpes) == 2  # they have one, and it does not count
    assert study.found().sharpe is None
    assert study.found().trials.count == 2
    with pytest.raises(DataError, match="no trial had 30 trades"):
        study.unlock()
    assert study.asked.opened is None  # the one look is not spent on nothing


def test_parameters_that_the_strategy_refuses_are_told_after_twenty(spec: Spec, tmp_path: Path) -> None:
    study = begun(spec, tmp_path / "s", "nonsense=1:5")
    with pytest.raises(ConfigError, match=r"all refused.*nonsense"):
        study.run(1)


def test_a_directory_with_something_else_in_it_is_left_alone(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    with pytest.raises(ConfigError, match="no search"):
        begun(spec, tmp_path)


def test_overfitting_is_told_of_trials_that_could_be_chosen(spec: Spec, tmp_path: Path) -> None:
    """One that never traded is best in every half of a losing search: it would hide that choosing was worth nothing."""
    search = begun(spec, tmp_path / "search")
    space = space_of(["fade=true,false", "hold=1:3"])
    rng = np.random.default_rng(0)
    tried = [(-1.0, rng.normal(-1.0, 1.0, 46)) for _ in range(8)] + [(module.TOO_FEW, np.zeros(46))]
    for value, daily in tried:
        search._study.add_trial(
            create_trial(
                params={"fade": True, "hold": 1},
                distributions=space,
                value=value,
                user_attrs={"daily": daily.tolist()},
            )
        )
    trials = search.found().trials
    assert trials.count == 9
    assert trials.overfitting is not None
    assert trials.overfitting > 0.2
