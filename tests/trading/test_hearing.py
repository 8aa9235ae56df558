"""No entry while the account cannot be heard, and nobody is left without word of it."""

from __future__ import annotations

import pytest

from tests.trading.driver import BAR, Driver, decision, of, only
from tests.trading.test_engine import blocked_by
from tradebot.events import (
    AccountHeard,
    AccountVerified,
    Alert,
    OperatorActed,
    PlaceOrder,
    QuestionRefused,
    Reconciled,
    RiskLimits,
)


def seen(d: Driver, asked_ms: int) -> None:
    d.send(Reconciled(positions=(), open_orders=(), stops=(), asked_ms=asked_ms))


def test_a_private_stream_that_is_down_blocks_entries_until_the_account_was_seen_after_its_return() -> None:
    d = Driver()
    d.send(AccountHeard(up=False))
    row = decision(d.forecast(20.0))
    assert blocked_by(row) == ["private_stream"]
    assert [(c.value, c.limit) for c in row.checks if c.name == "private_stream"] == [("down", "up")]
    seen(d, d.now_ms)  # it was not there when this was asked
    assert blocked_by(decision(d.forecast(20.0))) == ["private_stream"]
    d.send(AccountHeard(up=True))
    seen(d, d.now_ms - 1)
    assert blocked_by(decision(d.forecast(20.0))) == ["private_stream"]
    seen(d, d.now_ms)
    assert of(d.forecast(20.0), PlaceOrder) != []


def test_a_private_channel_that_is_refused_blocks_entries_and_alarms_once_until_it_is_served() -> None:
    d = Driver()
    refused = AccountHeard(up=False, refused="orders: subscription refused")
    alarm = only(d.send(refused), Alert)
    assert (alarm.severity, alarm.code) == ("critical", "private_stream")
    assert "orders" in alarm.message
    assert of([*d.send(AccountHeard(up=False)), *d.send(refused)], Alert) == []
    assert blocked_by(decision(d.forecast(20.0))) == ["private_stream"]
    d.send(AccountHeard(up=True))
    assert len(of(d.send(refused), Alert)) == 1


def test_a_private_stream_that_is_down_keeps_no_position_from_being_closed() -> None:
    d = Driver()
    d.enter()
    d.send(AccountHeard(up=False))
    assert only(d.send(OperatorActed(action="close", actor="cli", symbol="SOLUSDT")), PlaceOrder).reduce_only


@pytest.mark.parametrize(("limit_ms", "blocked"), [(BAR, False), (BAR - 1, True), (None, False)])
def test_an_account_not_seen_for_too_long_blocks_entries(limit_ms: int | None, blocked: bool) -> None:
    d = Driver(limits=RiskLimits(max_account_age_ms=limit_ms))
    seen(d, d.now_ms)
    row = decision(d.forecast(20.0))
    assert blocked_by(row) == (["account_age_ms"] if blocked else [])
    (check,) = (c for c in row.checks if c.name == "account_age_ms")
    assert (check.value, check.limit) == (str(BAR), "none" if limit_ms is None else str(limit_ms))


def test_an_account_that_was_never_seen_blocks_entries() -> None:
    assert blocked_by(decision(Driver(limits=RiskLimits(max_account_age_ms=BAR)).forecast(20.0))) == ["account_age_ms"]


def test_a_symbol_the_exchange_does_not_tell_of_is_alarmed_of_once_and_what_was_known_stands() -> None:
    d = Driver()
    refused = QuestionRefused(symbol="SOLUSDT", about="its settings", code="41113", message="removed")
    alert = only(d.send(refused), Alert)
    assert (alert.code, alert.symbol) == ("not_told", "SOLUSDT")
    assert of(d.send(refused), Alert) == []
    assert of(d.forecast(20.0), PlaceOrder) != []
    d.send(AccountVerified(symbol="SOLUSDT", position_mode="one_way_mode", margin_mode="isolated", leverage=2))
    assert only(d.send(refused), Alert).message == "SOLUSDT: the exchange refuses to tell its settings: removed"
