"""Ensemble: several models in one opinion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.strategies.world import MODEL, Planted, World
from tradebot.errors import ConfigError

TWO: dict[str, float | None] = {"second": None, "third": None}


def three(first: float, second: float, third: float) -> dict[str, Planted]:
    return {MODEL: Planted(first), "second": Planted(second), "third": Planted(third)}


def test_the_mean_of_good_and_useless_models_earns_and_of_useless_ones_stays_out() -> None:
    rng = np.random.default_rng(5)
    world = World("ensemble", {"entry_bp": 20.0, "weights": {MODEL: 0.0}}, models=TWO)
    useless = World("ensemble", {"entry_bp": 20.0, "weights": {"second": 0.0, "third": 0.0}}, models=TWO)
    price = 100.0
    for side in rng.choice([-1, 1], 60):
        for known in (40.0 * side, 0.0):
            said = three(rng.normal(0, 5), known + rng.normal(0, 5), known + rng.normal(0, 5))
            world.close(price, said)
            useless.close(price, said)
            price *= 1 + 1e-4 * (20.0 * side + rng.normal(0, 5))
    assert world.earned > 30
    assert useless.orders == []


def test_the_mean_is_weighted_over_the_models_that_answered() -> None:
    weights = {MODEL: 3.0, "second": 1.0}
    for said, action in (
        (three(20.0, 0.0, 0.0), "enter_long"),  # 60 / 5
        (three(19.0, 0.0, 0.0), "hold"),
        ({MODEL: Planted(16.0), "second": Planted(0.0)}, "enter_long"),  # 48 / 4
        ({MODEL: Planted(15.0), "second": Planted(0.0)}, "hold"),
    ):
        world = World("ensemble", {"entry_bp": 12.0, "weights": weights}, models=TWO)
        assert world.close(100.0, said).action == action


def test_without_a_level_of_its_own_it_takes_those_that_the_models_learned() -> None:
    world = World("ensemble", {"weights": {MODEL: 0.0}}, models={"second": 10.0, "third": 20.0})
    assert world.close(100.0, three(99.0, 16.0, 13.9)).action == "hold"
    assert world.close(100.0, three(99.0, 16.0, 14.0)).action == "enter_long"
    unknown = World("ensemble", {}, models={"second": 10.0, "third": None})
    assert unknown.close(100.0, three(99.0, 99.0, 99.0)).action == "hold"


def test_a_majority_is_more_than_half_of_the_models_that_serve() -> None:
    for combine, said, action in (
        ("majority", three(9.0, 9.0, -50.0), "enter_long"),
        ("majority", three(-9.0, -9.0, 50.0), "enter_short"),
        ("majority", three(9.0, 0.0, 0.0), "hold"),
        ("majority", {MODEL: Planted(9.0)}, "hold"),  # the others may see it otherwise
        ("unanimous", three(9.0, 9.0, 7.9), "hold"),
        ("unanimous", three(-9.0, -9.0, -8.0), "enter_short"),
    ):
        world = World("ensemble", {"combine": combine, "entry_bp": 8.0}, models=TWO)
        assert world.close(100.0, said).action == action, (combine, said)


def test_a_stack_adds_log_odds() -> None:
    params = {"combine": "stack", "weights": {MODEL: 1.0, "second": 0.5}, "bias": 0.1, "min_p": 0.7}
    up, down = 0.5, 0.25
    said = {MODEL: Planted(0.0, up, down), "second": Planted(0.0, up, down), "third": Planted(0.0, 0.1, 0.8)}
    odds = np.exp(0.1) * (up / down) ** 1.5
    assert odds / (1 + odds) == pytest.approx(0.7576, abs=1e-4)
    assert World("ensemble", params, models=TWO).close(100.0, said).action == "enter_long"
    assert World("ensemble", {**params, "min_p": 0.757}, models=TWO).close(100.0, said).action == "enter_long"
    assert World("ensemble", {**params, "min_p": 0.758}, models=TWO).close(100.0, said).action == "hold"
    said |= {MODEL: Planted(0.0, 0.0, 0.9)}  # a probability of 0 is no reason to fail
    assert World("ensemble", params, models=TWO).close(100.0, said).action == "enter_short"


def test_a_stack_falls_back_to_ranks_while_a_model_with_a_weight_is_missing() -> None:
    params = {"combine": "stack", "weights": {MODEL: 1.0, "second": 1.0}, "min_rank": 0.9}
    world = World("ensemble", params, models=TWO)
    for k in range(110):
        assert world.close(100.0, three(0.1 * (k % 11), 0.0, 0.0)).action == "hold"
    decided = world.close(100.0, {MODEL: Planted(1.1), "third": Planted(0.0)})
    assert decided.action == "hold"  # the third model, without a weight in the stack, has one here
    world = World("ensemble", {**params, "weights": {MODEL: 1.0, "second": 1.0, "third": 0.0}}, models=TWO)
    for k in range(110):
        world.close(100.0, three(0.1 * (k % 11), 0.0, 0.0))
    assert world.close(100.0, {MODEL: Planted(1.1), "third": Planted(0.0)}).action == "enter_long"


def test_ranks_make_models_of_different_scales_comparable() -> None:
    rng = np.random.default_rng(6)
    world = World("ensemble", {"combine": "rank", "min_rank": 0.95}, models={"second": None})
    decided = [
        world.close(100.0, {MODEL: Planted(rng.normal(0, 1)), "second": Planted(rng.normal(0, 100))})
        for _ in range(120)
    ]
    assert {d.action for d in decided[:100]} == {"hold"}
    assert world.close(100.0, {MODEL: Planted(9.0), "second": Planted(-900.0)}).action != "enter_long"
    assert world.close(100.0, {MODEL: Planted(-9.0), "second": Planted(-900.0)}).action == "enter_short"


def test_equal_forecasts_share_their_rank() -> None:
    world = World("ensemble", {"combine": "rank", "min_rank": 0.1})
    for _ in range(100):
        world.close(100.0, Planted(1.0))
    assert world.close(100.0, Planted(1.0)).reason == "mean rank of 1 models +0.000, level 0.100"


def test_an_opposite_opinion_ends_a_position() -> None:
    world = World("ensemble", {"entry_bp": 8.0}, models=TWO)
    world.close(100.0, three(9.0, 9.0, 9.0))
    assert world.close(100.0, three(0.0, 0.0, 0.0)).action == "hold"
    world = World("ensemble", {"entry_bp": 8.0}, models=TWO)
    world.close(100.0, three(9.0, 9.0, 9.0))
    assert world.close(100.0, three(-9.0, -9.0, -9.0)).reason.startswith("signal turned short: mean of 3 models")


def test_the_size_follows_what_the_models_say_together() -> None:
    confident = {"kind": "confidence", "least": 0.4, "full": 0.6, "floor": 0.5}
    world = World("ensemble", {"entry_bp": 8.0, "size": confident, "weights": {"third": 0.0}}, models=TWO)
    up = {MODEL: Planted(9.0, 0.6, 0.1), "second": Planted(9.0, 0.4, 0.1), "third": Planted(9.0, 0.1, 0.8)}
    world.close(100.0, up)
    down = World("ensemble", {"entry_bp": 8.0, "size": confident, "weights": {"third": 0.0}}, models=TWO)
    down.close(100.0, {MODEL: Planted(-9.0, 0.1, 0.6), "second": Planted(-9.0, 0.1, 0.4), "third": Planted(0.0)})
    assert [float(w.entries[0].qty) for w in (world, down)] == [3.7, 3.7]  # three quarters of five coins


def test_too_few_answers_are_no_opinion_and_keep_a_position_for_its_time() -> None:
    world = World("ensemble", {"entry_bp": 8.0, "least": 2}, models={"second": None})
    assert world.close(100.0, {MODEL: Planted(50.0)}).reason.startswith("1 of 2 models answered, 2 are needed")
    world.close(100.0, {MODEL: Planted(9.0), "second": Planted(9.0)})
    assert world.qty > 0
    world.close(100.0, {MODEL: Planted(-50.0)})
    assert world.qty > 0


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"weights": {"m": -1.0}}, r"weights.*>= 0"),
        ({"combine": "stack"}, "weights: a stack needs"),
        ({"combine": "mode"}, "mode"),
        ({"entry_bp": 0.0}, "entry_bp"),
        ({"min_p": 0.4}, "min_p"),
        ({"min_rank": 0.0}, "min_rank"),
        ({"least": 0}, "least"),
        ({"exits": [{"kind": "time"}]}, r"exits\[0\]"),
    ],
)
def test_wrong_parameters_are_told_by_name(params: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        World("ensemble", params)
