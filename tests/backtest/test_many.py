"""Many back-tests beside each other."""

from __future__ import annotations

import pytest

from tests.backtest.runs import asked, run
from tradebot.backtest.many import run_many
from tradebot.errors import ConfigError


def test_outcomes_stand_in_the_order_asked_for_and_equal_those_of_runs_alone() -> None:
    specs = [
        asked(days=0.1, history_days=9, seed=seed, params={"move_bp": move}) for seed, move in ((3, 6.0), (4, 9.0))
    ]
    done: dict[int, str] = {}
    many = run_many(specs, 2, on_done=lambda number, outcome: done.update({number: outcome.run.inputs_hash}))
    alone = [run(spec) for spec in specs]
    assert [one.run for one in many if one is not None] == [one.run for one in alone]
    assert done == {number: one.run.inputs_hash for number, one in enumerate(alone)}
    assert len(set(done.values())) == 2


def test_what_one_of_them_raises_is_raised() -> None:
    with pytest.raises(ConfigError, match="no such parameter"):
        run_many([asked(days=0.1, params={"nonsense": 1})], 2)


def test_asked_to_stop_they_end_early() -> None:
    outcomes = run_many([asked(days=200, history_days=9), asked(days=200, history_days=9)], 1, stop=lambda: True)
    assert all(one is None or one.run.interrupted for one in outcomes)
