"""Carry: is paid at settlements, or stays out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.strategies.world import World
from tests.trading.driver import BAR, MONDAY
from tradebot.errors import ConfigError
from tradebot.events import Decision, InstrumentUpdated

HOUR = 12 * BAR
SETTLED = MONDAY + 8 * HOUR


def until(world: World, moment_ms: int, price: float = 100.0) -> list[Decision]:
    """Close candles until ``moment_ms``; settlements are every eight hours."""
    decided = []
    while world.driver.now_ms < moment_ms:
        end = world.driver.now_ms + BAR
        world.next_funding_ms = (
            SETTLED if end < SETTLED else SETTLED + (end - SETTLED) // (8 * HOUR) * 8 * HOUR + 8 * HOUR
        )
        decided.append(world.close(price))
    return decided


def paying(rate_bp: float, **params: Any) -> World:
    world = World("carry", {"order": "market", **params})
    world.funding_rate = rate_bp / 1e4
    return world


@pytest.mark.parametrize(("rate_bp", "side"), [(30.0, "enter_short"), (-30.0, "enter_long")])
def test_it_takes_the_side_that_is_paid_shortly_before_the_settlement_and_leaves_after_it(
    rate_bp: float, side: str
) -> None:
    world = paying(rate_bp)
    before = until(world, SETTLED - BAR)
    [entered] = [d for d in before if d.action != "hold"]
    assert (entered.action, entered.verdict, entered.ts_ms) == (side, "pass", SETTLED - HOUR)
    held = world.qty
    assert (held < 0) == (rate_bp > 0)
    after = until(world, SETTLED + BAR)
    assert [d.action for d in after] == ["hold", "exit"]
    assert world.qty == 0
    income = float(abs(held)) * 100 * 30e-4
    assert world.earned + income > 0  # what a flat market costs, 14 bp, is less than what was paid


def test_it_stays_out_of_what_does_not_pay_its_cost() -> None:
    cost = 14.0
    for rate_bp in (0.0, 1.0, cost + 1.9, -cost - 1.9):
        world = paying(rate_bp, margin_bp=2.0)
        until(world, SETTLED + HOUR)
        assert world.orders == []
    world = paying(cost + 2.1, margin_bp=2.0)
    until(world, SETTLED)
    assert len(world.entries) == 1


def test_it_is_never_entered_just_before_a_settlement() -> None:
    for clear_min, entries in ((5.0, 1), (5.1, 0)):
        world = paying(0.0, clear_min=clear_min)
        until(world, SETTLED - 2 * BAR)
        world.funding_rate = 50e-4
        until(world, SETTLED)
        assert len(world.entries) == entries


def test_several_settlements_count_what_is_left_of_the_rate() -> None:
    for persistence, entries in ((0.5, 1), (0.2, 0)):
        world = paying(11.0, settlements=2, persistence=persistence)  # 16.5 or 13.2 bp, cost and margin are 16
        until(world, SETTLED)
        assert len(world.entries) == entries
    world = paying(11.0, settlements=2)
    until(world, SETTLED + HOUR)
    assert world.qty != 0
    assert [d.action for d in until(world, SETTLED + 8 * HOUR + BAR)][-2:] == ["hold", "exit"]


def test_it_leaves_when_the_position_would_pay() -> None:
    world = paying(30.0)
    until(world, SETTLED - 6 * BAR)
    assert world.qty < 0
    world.funding_rate = -1e-4
    assert until(world, SETTLED - 5 * BAR)[-1].reason == "funding turned: short would pay 1.00 bp"
    assert world.qty == 0


def test_its_exits_are_looked_at_even_before_funding_is_known() -> None:
    world = paying(30.0, exits=[{"kind": "trailing", "bp": 30.0}], size=0.5)
    until(world, SETTLED - 6 * BAR)
    assert float(world.qty) == -2.5
    world.next_funding_ms, world.funding_rate = 0, 0.0
    assert world.close(100.5).reason.startswith("gain fell from")
    assert world.qty == 0


def test_nothing_is_entered_before_funding_is_known() -> None:
    world = World("carry")
    world.funding_rate = 50e-4
    assert world.close(100.0).reason == "funding is not known yet"


def test_contracts_that_settle_every_hour_are_counted_by_the_hour() -> None:
    world = paying(30.0, enter_within_min=20.0, settlements=2, persistence=1.0)
    instrument = world.driver.engine.symbols["SOLUSDT"].instrument
    assert instrument is not None
    world.carry_out(
        world.driver.send(InstrumentUpdated(instrument=msgspec.structs.replace(instrument, funding_hours=1)))
    )
    held_at = []
    while world.driver.now_ms < MONDAY + 4 * HOUR:
        world.next_funding_ms = (world.driver.now_ms + BAR) // HOUR * HOUR + HOUR
        world.close(100.0)
        if world.qty:
            held_at.append((world.driver.now_ms - MONDAY) // BAR)
    assert held_at[:2] == [8, 9]  # entered twenty minutes before one o'clock
    assert held_at[16] == 24  # left at five past two
    assert 25 not in held_at


def test_a_resting_entry_counts_with_the_cheaper_way_in_and_out() -> None:
    world = World("carry", {"margin_bp": 2.0})  # (14 + 4) / 2 + 2
    world.funding_rate = 11.1e-4
    until(world, SETTLED - HOUR)
    [order] = world.entries
    assert (order.order_type, order.side, order.price) == ("limit", "sell", Decimal("100.01"))
    cheap = World("carry", {"margin_bp": 2.0})
    cheap.funding_rate = 10.9e-4
    until(cheap, SETTLED)
    assert cheap.orders == []


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"margin_bp": -1.0}, "margin_bp"),
        ({"settlements": 0}, "settlements"),
        ({"persistence": 1.5}, "persistence"),
        ({"clear_min": 60.0}, "clear_min 60.0 must lie below"),
        ({"size": 0.0}, "size"),
        ({"wait_s": 0.0}, "wait_s"),
    ],
)
def test_wrong_parameters_are_told_by_name(params: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        World("carry", params)
