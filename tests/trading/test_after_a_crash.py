"""What a run that was killed had sent and not heard of acts while nobody lives: the next run knows it for its own."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from tests.trading.driver import Driver, of
from tradebot.events import Alert, Command, Filled, PositionState, Reconciled, StopUpdated, TimerFired
from tradebot.trading.discrepancies import GRACE_MS


def after_a_kill(*, restarts: int) -> Driver:
    """A run that follows one that died with a position and its stop on the way; those in between looked at nothing."""
    driver = Driver()
    driver.enter()
    for _ in range(restarts):
        driver = Driver(state=driver.engine.state.snapshot())
    return driver


def execution(driver: Driver) -> Sequence[Command]:
    """The stop's, with the exchange's own ids."""
    qty = driver.engine.state.portfolio.position("SOLUSDT").qty
    return driver.send(
        Filled(
            trade_id="77", order_id="900", client_oid="901", symbol="SOLUSDT", side="sell", price=Decimal("98.0"),
            qty=qty, fee=Decimal("-0.1"), realised=Decimal(0), maker=False, ts_exchange_ms=driver.now_ms, queried=True,
        )
    )  # fmt: skip


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_stop_that_was_never_confirmed_closes_the_position_while_nobody_lives(restarts: int) -> None:
    driver = after_a_kill(restarts=restarts)
    assert driver.engine.state.portfolio.position("SOLUSDT").qty > 0
    execution(driver)
    driver.send(
        StopUpdated(
            order_id="900", client_oid="", symbol="SOLUSDT", plan="pos_loss", trigger_price=Decimal("98.0"),
            status="executed",
        )
    )  # fmt: skip
    driver.send(Reconciled(positions=(), open_orders=(), stops=(), asked_ms=driver.now_ms))
    driver.now_ms += 2 * GRACE_MS
    said = [*driver.send(TimerFired(name="claim:SOLUSDT", due_ms=driver.now_ms))]
    state = driver.engine.state
    assert not state.portfolio.position("SOLUSDT").qty
    assert not state.foreign
    assert not of(said, Alert)


def test_an_execution_that_no_stop_reports_is_foreign_all_the_same() -> None:
    driver = after_a_kill(restarts=1)
    execution(driver)
    alarms: list[Alert] = []
    for _ in range(2):
        driver.now_ms += GRACE_MS
        alarms += of(driver.send(TimerFired(name="claim:SOLUSDT", due_ms=driver.now_ms)), Alert)
    assert [alarm.code for alarm in alarms] == ["foreign"]


def test_once_the_exchange_listed_no_stop_an_execution_is_foreign_at_once() -> None:
    driver = after_a_kill(restarts=1)
    state = driver.engine.state
    held = PositionState(symbol="SOLUSDT", qty=state.portfolio.position("SOLUSDT").qty, entry_price=Decimal("100.01"))
    driver.engine.state.stops.clear()
    driver.send(Reconciled(positions=(held,), open_orders=(), stops=(), asked_ms=driver.now_ms))
    driver.engine.state.stops.clear()
    execution(driver)
    assert "SOLUSDT" in driver.engine.state.foreign
