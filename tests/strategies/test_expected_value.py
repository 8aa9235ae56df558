"""Expected value: enters when what a trade is worth exceeds its cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.strategies.world import Planted, World
from tradebot.errors import ConfigError

CLASSES = {"source": "classes", "up_bp": 60.0, "down_bp": 40.0, "flat_bp": 1.0}


def test_it_earns_where_the_classes_are_right_about_the_odds_and_stays_out_of_even_ones() -> None:
    """Moves of a pair of candles are drawn from the very probabilities that the model says."""
    rng = np.random.default_rng(8)
    world, even = World("expected_value", CLASSES), World("expected_value", CLASSES)
    price = 100.0
    for favoured in rng.choice([-1, 1], 120):
        p_up, p_down = (0.75, 0.1) if favoured > 0 else (0.1, 0.8)
        move = rng.choice([60.0, -40.0, 1.0], p=[p_up, p_down, 1 - p_up - p_down])
        world.close(price, Planted(0.0, p_up, p_down))
        even.close(price, Planted(0.0, 0.3, 0.4))
        price *= 1 + 0.5e-4 * move
        world.close(price, Planted(0.0, 0.2, 0.3))
        even.close(price, Planted(0.0, 0.3, 0.4))
        price *= 1 + 0.5e-4 * move
    assert len(world.entries) > 50
    assert world.earned > 20
    assert even.orders == []


def test_it_enters_exactly_where_the_expected_value_exceeds_cost_and_margin() -> None:
    cost = 14.0  # taker fees of both sides and two cents of 100 USDT
    for expected, action in ((cost + 2.1, "enter_long"), (cost + 1.9, "hold"), (-cost - 2.1, "enter_short")):
        assert World("expected_value", {"margin_bp": 2.0}).close(100.0, Planted(expected)).action == action


def test_a_maker_counts_with_makers_costs_and_rests_at_the_touch() -> None:
    world = World("expected_value", {"order": "maker", "margin_bp": 2.0, "wait_s": 15.0})
    assert world.close(100.0, Planted(6.1)).action == "enter_long"
    [order] = world.entries
    assert (order.order_type, order.tif, str(order.price)) == ("limit", "post_only", "99.99")
    assert world.qty == 0
    world.quote(99.98)
    assert world.qty > 0
    world = World("expected_value", {"order": "maker", "margin_bp": 2.0, "wait_s": 15.0})
    assert world.close(100.0, Planted(5.9)).action == "hold"


def test_an_entry_that_nobody_took_is_given_up() -> None:
    world = World("expected_value", {"order": "maker", "wait_s": 15.0})
    world.close(100.0, Planted(30.0))
    world.pass_time(world.driver.now_ms + 15_000)
    world.quote(99.0)
    assert world.qty == 0
    assert len(world.orders) == 1


def test_an_entry_may_take_what_was_not_offered() -> None:
    world = World("expected_value", {"order": "maker", "wait_s": 15.0, "fallback": "market"})
    world.close(100.0, Planted(30.0))
    world.pass_time(world.driver.now_ms + 14_000)
    world.quote(100.0)  # an order that takes needs a book that is not old
    assert world.fills == []
    world.pass_time(world.driver.now_ms + 1_000)
    assert [fill.maker for fill in world.fills] == [False]


def test_the_neutral_class_counts_with_its_mean_move() -> None:
    world = World("expected_value", {**CLASSES, "flat_bp": -20.0})
    said = world.close(100.0, Planted(0.0, 0.5, 0.25))  # 30 - 10 - 5
    assert said.reason.startswith("expected +15.00 bp")


def test_the_size_follows_the_expected_value_and_not_the_forecast_s_own_number() -> None:
    kelly = {"kind": "kelly", "fraction": 1.0, "full": 100.0}
    sizes = []
    for own in (1.0, 500.0):
        world = World("expected_value", {**CLASSES, "size": kelly})
        world.close(100.0, Planted(own, 0.8, 0.1))
        sizes.append(world.entries[0].qty)
    assert sizes[0] == sizes[1] < 5


def test_quantiles_are_averaged_whatever_the_forecast_s_own_number_says() -> None:
    symmetric = ((0.1, -50.0), (0.5, 0.0), (0.9, 50.0))
    skewed = ((0.1, -20.0), (0.5, 10.0), (0.9, 120.0))
    world = World("expected_value", {"source": "quantiles"})
    assert world.close(100.0, Planted(99.0, quantiles_bp=symmetric)).action == "hold"
    assert world.close(100.0, Planted(99.0)).reason == "the model gives no quantiles"
    assert world.close(100.0, Planted(-99.0, quantiles_bp=skewed)).action == "enter_long"
    crossing = ((0.1, 20.0), (0.5, -120.0), (0.9, -10.0))  # sorted: 0.1 * -120 + 0.4 * -65 + 0.4 * 5 + 0.1 * 20
    world = World("expected_value", {"source": "quantiles"})
    assert world.close(100.0, Planted(quantiles_bp=crossing)).reason.startswith("expected -34.00 bp")


def test_a_quantile_that_is_no_number_enters_nothing() -> None:
    world = World("expected_value", {"source": "quantiles"})
    assert world.close(100.0, Planted(0.0, quantiles_bp=((0.5, float("nan")),))).verdict == "block"
    assert world.orders == []


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"source": "classes"}, "up_bp is needed"),
        ({"source": "classes", "up_bp": 5.0}, "down_bp is needed"),
        ({"up_bp": -5.0}, "up_bp.*> 0"),
        ({"margin_bp": -1.0}, "margin_bp"),
        ({"wait_s": 0.0}, "wait_s"),
    ],
)
def test_wrong_parameters_are_told_by_name(params: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        World("expected_value", params)
