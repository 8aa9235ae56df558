"""Lorentzian: signals that stand until reversed, filtered and confirmed as in the written formulas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.strategies.world import Planted, World
from tests.trading.driver import BAR, MONDAY, wave
from tradebot.errors import ConfigError
from tradebot.events import Decision
from tradebot.features.catalogue import column

UP, DOWN, NONE = Planted(0.0, 0.5, 0.2), Planted(0.0, 0.2, 0.5), Planted(0.0, 0.3, 0.3)
BARE = {"kernel": False, "volatility": False, "regime": None}
Floats = NDArray[np.float64]


def actions(decided: Iterable[Decision]) -> list[str]:
    return [d.action for d in decided]


def test_it_enters_when_the_signal_changes_and_leaves_after_four_candles() -> None:
    world = World("lorentzian", BARE)
    said = [DOWN, DOWN, UP, UP, NONE, UP, UP, UP, DOWN]
    decided = actions(world.close(100.0, one) for one in said)
    assert decided == ["hold", "hold", "enter_long", "hold", "hold", "hold", "exit", "hold", "enter_short"]


def test_the_first_signal_after_a_start_is_no_change() -> None:
    world = World("lorentzian", BARE)
    assert actions(world.close(100.0, one) for one in [NONE, UP, UP, UP]) == ["hold"] * 4


def test_the_opposite_signal_ends_a_position_early() -> None:
    world = World("lorentzian", BARE)
    decided = [world.close(100.0, one) for one in [DOWN, UP, DOWN]]
    assert actions(decided) == ["hold", "enter_long", "exit"]
    assert decided[-1].reason.startswith("signal turned short")


def test_a_class_that_does_not_stand_out_changes_no_signal() -> None:
    world = World("lorentzian", {**BARE, "min_p": 0.45})
    weak = Planted(0.0, 0.44, 0.1)
    assert actions(world.close(100.0, one) for one in [DOWN, weak, UP]) == ["hold", "hold", "enter_long"]


def test_it_earns_on_trends_that_the_model_knows_and_stays_out_where_the_class_never_turns() -> None:
    """Trends of 40 candles; the class follows twelve candles after the turn, when the kernel has turned, too."""
    rng = np.random.default_rng(11)
    params = {"regime": None, "volatility": False}
    world, flat = World("lorentzian", params), World("lorentzian", params)
    price = 100.0
    for k in range(40 * 30):
        side = 1 if k // 40 % 2 else -1
        price *= 1 + 1e-4 * (10 * side + rng.normal(0, 4))
        world.close(price, UP if (k - 12) // 40 % 2 else DOWN)
        flat.close(price, UP)
    assert len(world.entries) > 20
    assert world.earned > 10
    assert flat.orders == []


def reference(
    candles: Floats, said: list[Planted | None], features: list[dict[str, float]], params: dict[str, Any]
) -> list[str]:
    """What a flat strategy wants at each of the last ``len(said)`` of the (n, 4) candles, from the formulas anew."""
    _, high, low, c = candles.T
    n, first = len(c), len(c) - len(said)
    price = candles.mean(axis=1)
    v1 = v2 = 0.0
    k = np.full(n, price[0])
    for t in range(n):
        v1 = 0.2 * (price[t] - price[t - 1] if t else 0.0) + 0.8 * v1
        v2 = 0.1 * (high[t] - low[t]) + 0.8 * v2
        w = abs(v1 / v2)
        a = (-(w**2) + np.sqrt(w**4 + 16 * w**2)) / 8
        k[t] = a * price[t] + (1 - a) * (k[t - 1] if t else price[0])
    slope = np.abs(np.diff(k, prepend=k[0]))
    before = np.concatenate([c[:1], c[:-1]])
    ranges = np.maximum(high, before) - np.minimum(low, before)
    average, ten = slope[0], ranges[0]
    averages, tens = [average], [ten]
    for t in range(1, n):
        averages.append(averages[-1] * 199 / 201 + slope[t] * 2 / 201)
        tens.append(tens[-1] * 0.9 + ranges[t] * 0.1)
    weights = (1 + np.arange(27.0) ** 2 / (2 * params["r"] * params["h"] ** 2)) ** -params["r"]
    estimate = np.array([np.average(c[t - 26 : t + 1][::-1], weights=weights) if t >= 26 else np.nan for t in range(n)])
    wanted, signal = [], 0
    for t in range(first, n):
        one, row = said[t - first], features[t - first]
        action = 0
        if one is not None:
            side = int(np.sign(one.p_up - one.p_down))
            passes = (
                ranges[t] > tens[t]
                and (slope[t] - averages[t]) / averages[t] >= params["regime"]
                and 100 * row["adx_14"] >= params["adx"]
                and (not params["sma_200"] or np.sign(row["sma_dist_200"]) == side)
            )
            was, signal = signal, side if passes and side else signal
            rises = int(np.sign(estimate[t] - estimate[t - 1]))
            action = signal if was and was != signal and rises == signal else 0
        wanted.append({1: "enter_long", -1: "enter_short", 0: "hold"}[action])
    return wanted


@pytest.mark.parametrize(
    "params",
    [
        {"regime": -0.1, "adx": 70.0, "sma_200": False, "h": 8.0, "r": 8.0},
        {"regime": 0.2, "adx": 0.0, "sma_200": True, "h": 6.0, "r": 4.0},
    ],
)
def test_every_decision_on_random_candles_is_that_of_the_formulas_written_anew(params: dict[str, Any]) -> None:
    world = World("lorentzian", params)
    rng = np.random.default_rng(12)
    seen = 1_000  # candles that the strategy is shown
    history = [wave(MONDAY - BAR * (seen - 1 - i)) for i in range(seen - 1)]
    rows = [(w.open, w.high, w.low, w.close) for w in history]
    said: list[Planted | None] = []
    features: list[dict[str, float]] = []
    decided: list[str] = []
    price, last = 100.0, 100.0
    for t in range(1_000):
        price *= 1 + 1e-4 * (8 * np.sign(np.sin(t / 40)) + rng.normal(0, 12))
        one = [UP, DOWN, NONE, None][rng.choice(4, p=[0.4, 0.4, 0.1, 0.1])]
        wanted = world.close(price, one).action
        rows.append((last, max(last, price) * 1.0002, min(last, price) * 0.9998, price))
        last = price
        values = world.driver.engine.symbols["SOLUSDT"].values(world.driver.engine.leaders)
        assert values is not None
        said.append(one)
        features.append({name: values[column(name)] for name in ("adx_14", "sma_dist_200")})
        decided.append(wanted)
        world.flatten()  # so that every candle meets a strategy that holds nothing
    expected = reference(np.array(rows), said, features, params)
    assert decided == expected
    assert min(decided.count("enter_long"), decided.count("enter_short")) >= 3


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"min_p": 2.0}, "min_p"),
        ({"adx": 101.0}, "adx"),
        ({"h": 0.0}, "h and r must be positive"),
        ({"lag": 9.0}, "lag in"),
    ],
)
def test_wrong_parameters_are_told_by_name(params: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        World("lorentzian", params)
