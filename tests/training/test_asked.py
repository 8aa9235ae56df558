"""What a person asks reaches the family, under the family's own names."""

from __future__ import annotations

from typing import Any

import pytest

from tradebot.errors import ConfigError
from tradebot.jobs import ParquetSource, RetrainJob
from tradebot.training.asked import Asked, asked_for


def asked(model: str, **given: Any) -> Asked:
    job = RetrainJob(
        id="x", symbol="SOLUSDT", model=model, as_of_ms=0, declared_ms=0, days=90, store="s",
        source=ParquetSource(path="x"), **given,
    )  # fmt: skip
    return asked_for(job)


def test_options_and_parameters_are_told_apart_and_read_as_what_they_are() -> None:
    found = asked("lightgbm", options={"horizon": "3", "num_leaves": "9", "lambda_l1": "1"}, lr=0.07, rounds=11)
    assert found.kind.horizon_bars == 3
    assert found.fixed == {"num_leaves": 9, "lambda_l1": 1.0, "learning_rate": 0.07}
    assert found.rounds == 11


def test_what_is_both_an_option_and_searched_is_set_and_not_searched() -> None:
    found = asked("lorentzian", options={"k": "12"})
    assert (found.kind.options["k"], found.fixed, found.rounds) == (12, {"k": 12}, 1)


def test_epochs_and_batch_size_are_a_net_s() -> None:
    found = asked("bilstm", epochs=3, batch_size=64, lr=0.002, interval="1h")
    assert found.rounds == 3
    assert found.fixed == {"learning_rate": 0.002, "batch_size": 64}
    assert asked("bilstm").rounds >= 20, "a net that is told nothing has its own number of epochs, not a booster's"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"options": {"num_leaves": "many"}}, "num_leaves is like"),
        ({"options": {"learning_rate": "nan"}}, "learning_rate is a number"),
        ({"options": {"lambda_l2": "inf"}}, "lambda_l2 is a number"),
        ({"options": {"horizon": "9"}}, "option horizon: '9' is none of 1, 2, 3"),
        ({"options": {"labels": "triple"}}, "option labels: 'triple' is none of threshold, triple-barrier"),
        ({"options": {"quantiles": "some"}}, "option quantiles: 'some' is none of true, false"),
        ({"options": {"members": 9}}, "option members: Expected `int` <= 8"),
        ({"options": {"none": 1}}, "has no option 'none'; it has: horizon, "),
        ({"epochs": 3}, "--rounds instead"),
        ({"device": "cuda"}, "fitted on the CPU"),
    ],
)
def test_what_the_family_does_not_have_is_said_in_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked("lightgbm", **given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
