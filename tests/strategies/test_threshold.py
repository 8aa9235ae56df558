"""Threshold: acts on expected returns that are large enough, and on nothing else."""

from __future__ import annotations

import numpy as np

from tests.strategies.world import Planted, World

LEVELS = {"entry_long_bp": 20.0, "entry_short_bp": 20.0}


def test_it_earns_on_a_planted_signal_and_loses_on_its_opposite() -> None:
    assert planted(World("threshold", LEVELS), sign=1).earned > 50
    assert planted(World("threshold", LEVELS), sign=-1).earned < -50


def planted(world: World, sign: int) -> World:
    """100 pairs of candles that move by 40 bp up or down with noise; the model knows each pair's mean."""
    rng = np.random.default_rng(3)
    price = 100.0
    for side in rng.choice([-1, 1], 100):
        world.close(price, Planted(sign * side * 40.0, 0.4, 0.4))
        price *= 1 + 1e-4 * (20.0 * side + rng.normal(0, 5))
        world.close(price, Planted())
        price *= 1 + 1e-4 * (20.0 * side + rng.normal(0, 5))
    return world


def test_it_stays_out_while_nothing_is_forecast() -> None:
    rng = np.random.default_rng(4)
    world = World("threshold", LEVELS)
    for _ in range(150):
        assert world.close(100 + rng.normal(0, 0.2), Planted(rng.normal(0, 5))).action == "hold"
    assert world.orders == []


def test_levels_of_the_two_sides_are_apart() -> None:
    world = World("threshold", {"entry_long_bp": 30.0, "entry_short_bp": 10.0})
    assert world.close(100.0, Planted(20.0)).action == "hold"
    assert world.close(100.0, Planted(-20.0)).action == "enter_short"


def test_an_improbable_direction_and_an_uncovered_cost_are_no_entry() -> None:
    for least, action in ((0.5, "enter_long"), (0.51, "hold")):
        assert World("threshold", {**LEVELS, "min_p": least}).close(100.0, Planted(30.0, 0.5, 0.4)).action == action
    for covers, action in ((False, "enter_short"), (True, "hold")):
        low = {"entry_long_bp": 5.0, "entry_short_bp": 5.0, "cover_cost": covers}
        assert World("threshold", low).close(100.0, Planted(-13.9)).action == action
        assert World("threshold", low).close(100.0, Planted(-14.1)).action == "enter_short"


def test_exits_and_size_are_those_that_were_configured() -> None:
    exits = [
        {"kind": "stop_loss", "bp": 50.0},
        {"kind": "take_profit", "bp": 80.0},
        {"kind": "trailing", "bp": 15.0},
    ]
    size = {"kind": "confidence", "least": 0.4, "full": 0.6, "floor": 0.5}
    world = World("threshold", {**LEVELS, "exits": exits, "size": size})
    assert world.close(100.0, Planted(30.0, p_up=0.39)).reason.endswith("nothing to stake on it")
    decided = world.close(100.0, Planted(30.0, p_up=0.5))
    [entry] = world.entries
    assert decided.action == "enter_long"
    assert float(entry.qty) * 100 == 370.0  # three quarters of 500 USDT, on the lot
    assert (float(entry.preset_stop or 0), float(entry.preset_take_profit or 0)) == (99.51, 100.82)
    assert world.close(100.30, Planted()).action == "hold"
    assert world.close(100.19, Planted()).action == "hold"
    # the candle's high was 100.32
    assert world.close(100.14, Planted()).reason.startswith("gain fell from 31.0")


def test_a_position_ends_after_its_horizon_although_no_forecast_comes() -> None:
    world = World("threshold", LEVELS)
    world.close(100.0, Planted(30.0))
    assert world.qty > 0
    world.close(100.0)
    assert world.qty > 0
    assert world.close(100.0).reason == "held 2 candles, horizon over (forecast late)"
    assert world.qty == 0
