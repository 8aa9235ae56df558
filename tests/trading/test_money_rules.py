"""The money rules of the architecture (section 8), one by one.

Each stands here once, whatever else is tested of the part that keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exchange.test_budget import CLOSE, PLACE, Clock, taken
from tests.execution.test_exchange import CONFIG, SYMBOL, FakeRest, broker
from tests.trading.driver import SOL, Driver, decision, of, only
from tests.trading.test_breakers import account, settled
from tests.trading.test_engine import blocked_by, stop_update
from tests.trading.test_risk import EveryCandle, S, check, filled
from tradebot.errors import BusyError
from tradebot.events import (
    AccountVerified,
    Alert,
    CancelStop,
    ClockMeasured,
    ClosePosition,
    Command,
    Event,
    InstrumentUpdated,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    Reconciled,
    SetTimer,
    StopUpdated,
    TimerFired,
    TradabilityChanged,
    Transferred,
)
from tradebot.events.state import DurableState
from tradebot.exchange.bitget.budget import RateBudget
from tradebot.execution.lease import account_lease
from tradebot.market.candle import DAY_MS, HOUR_MS
from tradebot.trading.risk import liquidation_distance, stop_distance
from tradebot.trading.state import recover
from tradebot.trading.strategy import Intent, Strategy, View


def fire(d: Driver, commands: Sequence[Command], kind: str) -> list[Command]:
    """Let the timer ``kind`` of the symbol run out."""
    timer = next(t for t in of(commands, SetTimer) if t.name == f"{kind}:{S}" and t.due_ms)
    d.now_ms = timer.due_ms
    return list(d.send(TimerFired(name=timer.name, due_ms=timer.due_ms)))


def verified(**changes: object) -> AccountVerified:
    fields: dict[str, Any] = {"symbol": S, "position_mode": "one_way_mode", "margin_mode": "isolated", "leverage": 2}
    return AccountVerified(**{**fields, **changes})


def terms(**changes: object) -> InstrumentUpdated:
    return InstrumentUpdated(instrument=msgspec.structs.replace(SOL, **changes))


# --- before an entry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "by"),
    [
        (verified(position_mode="hedge_mode"), "position_mode"),
        (verified(margin_mode="crossed"), "margin_mode"),
        (verified(leverage=3), "leverage_setting"),
        (terms(status="limit_open"), "symbol_status"),
        (terms(off_time_ms=1_767_571_200_000 + 24 * HOUR_MS), "announced_stop_h"),
        (terms(limit_open_time_ms=1_767_571_200_000 + 24 * HOUR_MS), "announced_stop_h"),
        (terms(maintain_time_ms=1_767_571_200_000 + 24 * HOUR_MS), "announced_stop_h"),
        (ClockMeasured(offset_ms=1_000), "clock_offset_ms"),
    ],
)
def test_an_entry_needs_what_was_verified_to_be_as_configured(event: Event, by: str) -> None:
    d = Driver()
    d.send(event)
    commands = d.forecast(20.0)
    assert blocked_by(decision(commands)) == [by]
    assert of(commands, PlaceOrder) == []


async def test_nothing_is_changed_while_a_position_exists() -> None:
    rest = FakeRest(positions=[PositionState(symbol=SYMBOL, qty=Decimal(1), entry_price=Decimal(100))])
    await broker(rest).prepare(CONFIG)
    changed = rest.named("set_position_mode", "set_margin_mode", "set_leverage")
    assert {symbol for symbol, _ in changed} == {"BTCUSDT"}


# --- stops ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bp", [20.0, -20.0])
def test_every_entry_carries_a_preset_stop(bp: float) -> None:
    order = only(Driver().forecast(bp), PlaceOrder)
    assert order.preset_stop is not None
    assert (order.preset_stop < 100) == (order.side == "buy")


def test_the_first_fill_places_the_position_s_stop_and_only_its_confirmation_cancels_the_preset() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01", order.qty / 2), PlaceStop)
    preset = StopUpdated(
        order_id="9", client_oid="", symbol=S, plan="loss_plan", trigger_price=Decimal(98), status="live"
    )
    assert of(d.send(preset), CancelStop) == []
    assert only(d.send(stop_update(d, placed)), CancelStop).order_id == "9"


def test_a_stop_unconfirmed_for_5_s_closes_reduce_only_and_failing_that_halts_with_an_alert() -> None:
    d = Driver()
    commands = d.fill(only(d.forecast(20.0), PlaceOrder), "100.01")
    at = d.now_ms
    commands = fire(d, commands, "stop")
    assert d.now_ms == at + 5_000
    close = only(commands, PlaceOrder)
    assert (close.reduce_only, close.purpose) == (True, "close")
    commands = fire(d, commands, "close")
    assert only(commands, TradabilityChanged).state == "halted"
    assert only(commands, Alert).severity == "critical"
    assert of(commands, ClosePosition) != []


@given(st.decimals("0.001", "0.5", places=3), st.integers(1, 125), st.decimals("0.001", "0.1", places=3))
def test_the_stop_lies_at_most_60_percent_of_the_way_to_liquidation(
    wanted: Decimal, leverage: int, maintenance: Decimal
) -> None:
    distance = stop_distance(wanted, leverage, maintenance)
    assert distance <= wanted
    assert distance <= Decimal("0.6") * liquidation_distance(leverage, maintenance)


# --- the exchange's limits, and who may trade the account -----------------------------------------------------------


def test_30_percent_of_each_rate_budget_are_kept_for_cancel_stop_and_close() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    entries = taken(budget, clock, PLACE, 0.7)
    urgent = taken(budget, clock, PLACE, 0.4, urgent=True)
    assert urgent / (entries + urgent) >= 0.3
    assert taken(budget, clock, CLOSE, 0) == 1


def test_one_daemon_trades_an_account() -> None:
    with account_lease("https://example.test", "key"):
        with pytest.raises(BusyError), account_lease("https://example.test", "key"):
            pass
        with account_lease("https://example.test", "another key"):
            pass


# --- what is not ours -----------------------------------------------------------------------------------------------


def resting(oid: str) -> Reconciled:
    order = OrderUpdated(
        client_oid=oid, order_id="77", symbol=S, side="buy", status="live", qty=Decimal(1), filled_qty=Decimal(0)
    )
    return Reconciled(positions=(), open_orders=(order,), stops=(), asked_ms=2**60)


@pytest.mark.parametrize(
    "oid",
    ["tb0-2-1-e", "tb1-1-1-e", "web-1"],  # a later epoch, another shard, a person
)
@pytest.mark.parametrize("settled_by", ["adopt", "ignore"])
def test_an_order_of_an_unknown_epoch_halts_entries_until_a_person_settles_it(oid: str, settled_by: str) -> None:
    d = Driver()
    d.send(resting(oid))
    assert blocked_by(decision(d.forecast(20.0))) == ["foreign_position"]
    d.send(OperatorActed(action=settled_by, actor="cli", symbol=S))  # type: ignore[arg-type]
    assert "foreign_position" not in blocked_by(decision(d.forecast(20.0)))


@pytest.mark.parametrize("settled_by", ["adopt", "ignore"])
def test_a_foreign_fill_halts_entries_until_a_person_settles_it(settled_by: str) -> None:
    d = Driver()
    d.send(msgspec.structs.replace(filled("f", "buy", "1", "100"), client_oid="web-1"))
    assert blocked_by(decision(d.forecast(20.0))) == ["foreign_position"]
    d.send(PositionsReported(positions=(PositionState(symbol=S, qty=Decimal(1), entry_price=Decimal(100)),)))
    d.send(OperatorActed(action=settled_by, actor="cli", symbol=S))  # type: ignore[arg-type]
    assert "foreign_position" not in blocked_by(decision(d.forecast(20.0)))


@pytest.mark.parametrize("settled_by", ["adopt", "ignore"])
def test_a_foreign_position_halts_entries_until_a_person_settles_it(settled_by: str) -> None:
    d = Driver(EveryCandle, params={})
    theirs = PositionState(symbol=S, qty=Decimal(3), entry_price=Decimal(100))
    for asked_ms in (d.now_ms, d.now_ms + 1):
        d.send(Reconciled(positions=(theirs,), open_orders=(), stops=(), asked_ms=asked_ms))
    assert blocked_by(decision(d.forecast(20.0))) == ["foreign_position"]
    d.send(OperatorActed(action=settled_by, actor="cli", symbol=S))  # type: ignore[arg-type]
    left = [] if settled_by == "adopt" else ["tradability"]  # an ignored symbol is not traded
    assert blocked_by(decision(d.forecast(20.0))) == left


# --- losses ---------------------------------------------------------------------------------------------------------


def test_daily_loss_is_measured_on_utc_day_equity_net_of_transfers_and_survives_a_crash() -> None:
    d = Driver()
    settled(d)
    account(d, "10000")
    d.send(Transferred(bill_id="w", amount=Decimal(-5_000), ts_exchange_ms=d.now_ms))
    account(d, "4950")
    assert d.engine.breakers.daily_loss() == Decimal("0.01")
    folded = recover(((ts, r) for ts, _, r in d.journal), cooldown_ms=0)
    again = Driver(state=folded.snapshot())
    account(again, "4800")
    row = decision(again.forecast(20.0))
    assert check(row, "daily_loss").value == "0.04000"
    assert "daily_loss" in blocked_by(row)
    again.now_ms += DAY_MS
    account(again, "4800")
    assert again.engine.breakers.daily_loss() == 0


# --- what must not be acted on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_forecast_that_is_not_finite_blocks(value: float) -> None:
    commands = Driver().forecast(value)
    assert (decision(commands).verdict, of(commands, PlaceOrder)) == ("block", [])


class RaisesOnceHeld(Strategy):
    """Enters, and raises as soon as something is held."""

    def on_forecast(self, view: View, forecast: Any) -> Intent:
        if view.holding.qty:
            raise RuntimeError("lost")
        return Intent("enter_long", "in")


def test_a_strategy_that_raises_is_disabled_and_the_engine_keeps_its_exits() -> None:
    d = Driver(RaisesOnceHeld, params={})
    placed = only(d.fill(only(d.forecast(20.0), PlaceOrder), "100.01"), PlaceStop)
    d.send(stop_update(d, placed))
    assert of(d.forecast(20.0), Alert)[0].severity == "critical"
    assert d.engine.decisions.strategy is None
    assert only(d.send(stop_update(d, placed, "cancelled")), PlaceStop).position_side == "long"  # put back
    assert only(d.send(OperatorActed(action="close", actor="cli", symbol=S)), PlaceOrder).reduce_only


def test_a_liquidation_or_deleveraging_halts_its_symbol() -> None:
    d = Driver()
    order = d.enter()
    forced = OrderUpdated(
        client_oid="", order_id="900", symbol=S, side="sell", status="filled", qty=order.qty, filled_qty=order.qty,
        forced=True,
    )  # fmt: skip
    commands = d.send(forced)
    assert (only(commands, TradabilityChanged).symbol, only(commands, Alert).severity) == (S, "critical")
    assert d.engine.state.paused == {S}
    assert d.engine.state.tradability == "active"


def test_what_is_too_small_to_trade_counts_as_exposure() -> None:
    dust = PositionState(symbol=S, qty=Decimal("0.04"), entry_price=Decimal(100))
    row = decision(Driver(EveryCandle, params={}, state=DurableState(positions=(dust,))).forecast(20.0))
    assert check(row, "gross_notional").value == "494.05"  # 490.05 and 4


# --- halted and reducing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["halt", "pause", "flatten"])
def test_while_halted_or_reducing_nothing_is_sent_that_could_open(action: str) -> None:
    d = Driver(EveryCandle, params={})
    d.enter()
    before = len(d.journal)
    d.send(OperatorActed(action=action, actor="cli"))  # type: ignore[arg-type]
    for _ in range(5):
        d.forecast(20.0)
    sent = of([row[-1] for row in d.journal[before:]], PlaceOrder)  # type: ignore[misc]
    assert all(order.reduce_only for order in sent)
    assert bool(sent) == (action == "flatten")
