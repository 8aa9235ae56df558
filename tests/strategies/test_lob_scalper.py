"""LOB scalper: leans with the book for seconds, makers first, never too much."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.strategies.world import World
from tradebot.errors import ConfigError

HEAVY, LIGHT, EVEN = [400.0] * 10, [60.0] * 10, [200.0] * 10


def test_it_earns_where_the_book_leads_the_price_and_stays_out_of_an_even_one() -> None:
    rng = np.random.default_rng(9)
    world = World("lob_scalper", {"hold_s": 20.0, "pause_s": 1.0})
    even = World("lob_scalper", {"hold_s": 20.0, "pause_s": 1.0})
    price = 100.0
    for side in rng.choice([-1, 1], 60):
        for second in range(40):
            price *= 1 + 1e-4 * (side * 1.5 + rng.normal(0, 1.0))
            bids, asks = (HEAVY, LIGHT) if side > 0 else (LIGHT, HEAVY)
            world.row(price, bids if second < 30 else EVEN, asks if second < 30 else EVEN)
            even.row(price, EVEN, EVEN)
    assert len(world.entries) > 60
    assert world.earned > 5
    assert even.orders == []


def test_pressure_must_last_and_the_book_be_narrow() -> None:
    world = World("lob_scalper", {"rows": 3})
    assert world.row(100.0, HEAVY, LIGHT) == []
    assert world.row(100.0, HEAVY, LIGHT) == []
    assert world.row(100.0, EVEN, EVEN) == []
    assert world.row(100.0, HEAVY, LIGHT) == []
    assert world.row(100.0, HEAVY, LIGHT) == []
    [entered] = world.row(100.0, HEAVY, LIGHT)
    assert (entered.action, entered.hook) == ("enter_long", "on_book")
    wide = World("lob_scalper", {"rows": 1, "max_spread_bp": 1.9})
    assert wide.row(100.0, HEAVY, LIGHT) == []


def test_depth_and_microprice_must_agree() -> None:
    world = World("lob_scalper", {"rows": 1})
    assert world.row(100.0, [50.0, *HEAVY[1:]], [300.0, *LIGHT[1:]]) == []
    assert world.row(100.0, [300.0, *LIGHT[1:]], [50.0, *HEAVY[1:]]) == []
    [entered] = world.row(100.0, LIGHT, HEAVY)
    assert entered.action == "enter_short"


def entered(**params: Any) -> World:
    world = World("lob_scalper", {"rows": 1, **params})
    world.row(100.0, HEAVY, LIGHT)
    [order] = world.entries
    assert (order.order_type, order.tif, str(order.price)) == ("limit", "post_only", "99.99")
    return world


def test_a_stale_or_empty_row_presses_nowhere() -> None:
    world = World("lob_scalper", {"rows": 1})
    assert world.row(100.0, HEAVY, LIGHT, stale=True) == []
    assert world.row(100.0, [0.0] * 10, [0.0] * 10) == []
    assert len(world.row(100.0, HEAVY, LIGHT)) == 1


def test_levels_size_and_offset_are_those_that_were_configured() -> None:
    bids, asks = [300.0, 300.0, 0.0, 0.0], [60.0, 60.0, 2_000.0, 2_000.0]
    world = World("lob_scalper", {"rows": 1, "levels": 2, "size": 0.5, "offset_ticks": 3})
    world.row(100.0, bids, asks)
    [order] = world.entries
    assert (str(order.price), float(order.qty)) == ("99.96", 2.5)


def test_an_exit_that_rests_is_not_asked_for_again() -> None:
    world = entered(wait_s=3.0)
    world.row(99.98, HEAVY, LIGHT)
    decided = [d for _ in range(3) for d in world.row(99.98, LIGHT, HEAVY)]
    assert [(d.action, d.verdict) for d in decided if d.hook == "on_book"] == [("exit", "pass")]


def test_nothing_is_entered_against_a_position() -> None:
    world = entered(exits=[])
    world.row(99.98, HEAVY, LIGHT)
    for _ in range(12):
        assert [d for d in world.row(99.98, LIGHT, HEAVY) if d.action == "enter_short"] == []
    assert world.qty > 0


def test_an_entry_rests_first_and_then_takes() -> None:
    world = entered(wait_s=3.0, pause_s=0.0)
    for _ in range(2):
        world.row(100.0, EVEN, EVEN)
        assert world.qty == 0
    world.row(100.0, EVEN, EVEN)
    assert world.qty > 0
    assert [fill.maker for fill in world.fills] == [False]


def test_an_entry_that_may_not_take_is_given_up_and_tried_again_while_the_pressure_lasts() -> None:
    world = entered(wait_s=3.0, fallback="cancel")
    for _ in range(5):
        assert world.row(100.0, HEAVY, LIGHT) == []
    assert world.qty == 0
    world.row(100.0, HEAVY, LIGHT)
    assert len(world.entries) == 2


def test_a_filled_entry_is_left_after_its_time_even_when_the_book_is_silent() -> None:
    world = entered(hold_s=20.0)
    world.row(99.98, EVEN, EVEN)
    assert [fill.maker for fill in world.fills] == [True]
    began = world.driver.now_ms
    world.pass_time(began + 19_999)
    assert len(world.orders) == 1
    world.pass_time(began + 20_000)
    assert world.orders[-1].reduce_only
    assert world.orders[-1].order_type == "limit"
    world.pass_time(began + 23_000)  # nobody took it
    assert world.qty == 0
    assert [fill.maker for fill in world.fills] == [True, False]


def test_the_time_of_a_position_begins_once() -> None:
    world = entered(exits=[], pause_s=0.0)
    for _ in range(12):
        world.row(99.98, HEAVY, LIGHT)
    assert len(world.fills) > 1
    assert [d.reason for d in world.decisions if d.hook == "on_fill"] == ["long for 30.0 s at most"]


def test_a_turned_book_ends_a_position_and_a_pause_follows() -> None:
    world = entered(pause_s=10.0, wait_s=3.0)
    world.row(99.98, HEAVY, LIGHT)
    assert world.qty > 0
    [turned, *_] = [d for _ in range(4) for d in world.row(99.98, LIGHT, HEAVY) if d.action == "exit"]
    assert turned.reason == "signal turned short"
    assert world.qty == 0
    orders = len(world.orders)
    for _ in range(9):
        world.row(99.98, LIGHT, HEAVY)
    assert len(world.orders) == orders
    world.row(99.98, LIGHT, HEAVY)
    assert world.entries[-1].side == "sell"


def test_nothing_is_added_beyond_the_inventory_limit() -> None:
    for inventory, entries in ((0.04, 1), (0.09, 2)):
        world = entered(inventory=inventory, hold_s=600.0)  # an order is 500 USDT of 10 000
        for _ in range(30):
            world.row(99.98, HEAVY, LIGHT)
        assert len([fill for fill in world.fills if fill.side == "buy"]) == entries


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"imbalance": 0.0}, "imbalance"),
        ({"inventory": 1.5}, "inventory"),
        ({"max_spread_bp": 0.0}, "max_spread_bp"),
        ({"hold_s": 0.0}, "hold_s"),
        ({"micro_bp": -1.0}, "micro_bp"),
        ({"levels": 11}, "levels"),
        ({"rows": 0}, "rows"),
        ({"fallback": "pray"}, "pray"),
    ],
)
def test_wrong_parameters_are_told_by_name(params: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        World("lob_scalper", params)
