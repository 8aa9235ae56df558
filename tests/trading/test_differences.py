"""What the exchange tells otherwise is taken over or stops entries, and is on record either way."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.trading.driver import SOL, Driver, decision, of, only
from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    Alert,
    CancelOrder,
    Command,
    CommandOutcome,
    Difference,
    Filled,
    FundingPaid,
    InstrumentUpdated,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionState,
    Reconciled,
    RequestReconcile,
    SetTimer,
    StopUpdated,
    TimerFired,
    Transferred,
)
from tradebot.market.candle import DAY_MS
from tradebot.trading.state import TradingState, recover

D = Decimal


def differences(commands: Sequence[Command]) -> list[tuple[str, str, str]]:
    return [(d.kind, d.ours, d.theirs) for d in of(commands, Difference)]


def queried(order: PlaceOrder, status: str = "filled", filled: Decimal | None = None, **more: Any) -> OrderUpdated:
    return OrderUpdated(
        client_oid=order.client_oid, order_id="1", symbol="SOLUSDT", side=order.side, status=status,  # type: ignore[arg-type]
        qty=order.qty, filled_qty=order.qty if filled is None else filled, **{"queried": True, **more},
    )  # fmt: skip


def execution(order: PlaceOrder, trade_id: str = "t9") -> Filled:
    return Filled(
        trade_id=trade_id, order_id="1", client_oid=order.client_oid, symbol="SOLUSDT", side=order.side, price=D(100),
        qty=order.qty, fee=D("-0.3"), realised=D(0), maker=False, ts_exchange_ms=0, queried=True,
    )  # fmt: skip


def view(d: Driver, *positions: PositionState, **more: Any) -> Sequence[Command]:
    return d.send(Reconciled(positions=positions, **{"open_orders": (), "stops": (), "asked_ms": d.now_ms, **more}))


def held(d: Driver) -> PositionState:
    position = d.engine.state.portfolio.position("SOLUSDT")
    return PositionState(symbol="SOLUSDT", qty=position.qty, entry_price=position.entry_price)


def entered(d: Driver) -> tuple[PlaceOrder, StopUpdated]:
    """A position with a confirmed stop."""
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    stop = StopUpdated(
        order_id="77", client_oid=placed.client_oid, symbol="SOLUSDT", plan="pos_loss", trigger_price=D("98.01"),
        status="live",
    )  # fmt: skip
    d.send(stop)
    return order, stop


def account(balance: str) -> AccountUpdated:
    return AccountUpdated(equity=D(balance), available=D(balance), balance=D(balance))


def verified(leverage: int = 2, margin: str = "isolated", mode: str = "one_way_mode") -> AccountVerified:
    return AccountVerified(symbol="SOLUSDT", position_mode=mode, margin_mode=margin, leverage=leverage)


# --- orders and executions ------------------------------------------------------------------------------------------


def test_what_only_a_question_brought_to_light_is_told() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    ((kind, ours, theirs),) = differences(d.send(queried(order)))
    assert kind == "order"
    assert ours.endswith(f"intended, 0 of {order.qty} filled")
    assert theirs == f"1 filled, {order.qty} of {order.qty} filled"
    assert differences(d.send(queried(order))) == []
    ((kind, ours, theirs),) = differences(d.send(execution(order)))
    assert (kind, ours) == ("fill", "not heard of")
    assert order.client_oid in theirs
    assert differences(d.send(execution(order))) == []


def test_what_the_stream_told_is_no_difference() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    assert differences(d.send(queried(order, queried=False))) == []
    assert differences(d.fill(order, "100")) == []
    assert differences(d.send(queried(order))) == []


def test_an_order_that_never_arrived_is_told_and_its_symbol_is_free_again() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.send(CommandOutcome(client_oid=order.client_oid, symbol="SOLUSDT", command="place", outcome="unknown"))
    lost = CommandOutcome(
        client_oid=order.client_oid, symbol="SOLUSDT", command="place", outcome="rejected", code="40109",
        message="never arrived", asked_as="unknown",
    )  # fmt: skip
    ((kind, _, theirs),) = differences(d.send(lost))
    assert (kind, theirs) == ("order", "never arrived")
    assert d.engine.state.orders.open() == []


def test_an_order_filled_in_part_that_the_exchange_forgot_is_taken_for_cancelled_and_told() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.fill(order, "100.01", qty=Decimal(1))
    lost = CommandOutcome(
        client_oid=order.client_oid, symbol="SOLUSDT", command="place", outcome="rejected", code="40109",
        message="the exchange does not know this order", asked_as="partially_filled",
    )  # fmt: skip
    told = only(d.send(lost), Difference)
    assert (told.kind, told.done) == ("order", "taken for cancelled")
    assert d.engine.state.orders.open("SOLUSDT") == []
    assert d.engine.state.orders.get(order.client_oid).filled_qty == 1  # type: ignore[union-attr]


def test_not_found_says_nothing_of_an_order_heard_of_since() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.send(queried(order, "live", D(0), queried=False))
    lost = CommandOutcome(
        client_oid=order.client_oid, symbol="SOLUSDT", command="place", outcome="rejected", code="40109",
        asked_as="unknown",
    )  # fmt: skip
    assert differences(d.send(lost)) == []
    assert [o.status for o in d.engine.state.orders.open()] == ["live"]


def test_an_order_taken_for_lost_that_rests_on_the_exchange_is_ours_again() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.send(
        CommandOutcome(
            client_oid=order.client_oid, symbol="SOLUSDT", command="place", outcome="rejected", code="40109",
            asked_as="intended",
        )
    )  # fmt: skip
    commands = view(d, open_orders=(queried(order, "live", D(0)),))
    assert [kind for kind, _, _ in differences(commands)] == ["order"]
    assert of(commands, Alert) == []
    assert [o.status for o in d.engine.state.orders.open()] == ["live"]


def test_executions_that_do_not_come_are_asked_for() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    timer = only(d.send(queried(order, queried=False)), SetTimer)
    assert (timer.name, timer.due_ms) == ("positions", d.now_ms + 2_000)
    d.now_ms = timer.due_ms
    assert of(d.send(TimerFired(name=timer.name, due_ms=timer.due_ms)), RequestReconcile) != []
    d.send(execution(order))
    view(d, held(d))
    assert of(d.send(TimerFired(name=timer.name, due_ms=timer.due_ms)), RequestReconcile) == []


def test_a_position_is_compared_two_seconds_after_an_execution() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    commands = d.fill(order, "100")
    assert ("positions", d.now_ms + 2_000) in [(t.name, t.due_ms) for t in of(commands, SetTimer)]
    d.now_ms += 2_000
    assert of(d.send(TimerFired(name="positions", due_ms=d.now_ms)), RequestReconcile) != []


def test_what_was_executed_survives_a_restart_to_the_last_report() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    half = order.qty / 2
    d.send(queried(order, "partially_filled", half, queried=False))  # its execution is lost
    again = TradingState(msgspec.json.decode(msgspec.json.encode(d.engine.state.snapshot()), type=type(
        d.engine.state.snapshot())))  # fmt: skip
    (known,) = again.orders.open()
    assert (known.filled_qty, known.executed_qty) == (half, D(0))
    again.apply(d.now_ms, msgspec.structs.replace(execution(order), qty=half))
    (known,) = again.orders.open()
    assert (known.status, known.filled_qty, known.executed_qty) == ("partially_filled", half, half)


# --- stops ----------------------------------------------------------------------------------------------------------


def test_a_stop_that_is_gone_is_told_and_placed_again_and_so_is_what_became_of_it() -> None:
    d = Driver()
    entered(d)
    d.now_ms += 1
    commands = view(d, held(d))
    (told,) = of(commands, Difference)
    assert (told.kind, told.theirs, told.done) == ("stop", "none", "is being placed again")
    again = only(commands, PlaceStop)
    assert again.trigger_price == D("98.01")
    live = StopUpdated(
        order_id="78", client_oid=again.client_oid, symbol="SOLUSDT", plan="pos_loss", trigger_price=D("98.01"),
        status="live",
    )  # fmt: skip
    (told,) = of(d.send(live), Difference)
    assert (told.kind, told.theirs, told.done) == ("stop", f"{again.client_oid} at 98.01", "placed again")
    assert of(d.send(live), Difference) == []


def test_a_stop_that_could_not_be_placed_again_is_told_and_is_no_stop_we_had() -> None:
    d = Driver()
    entered(d)
    d.now_ms += 1
    again = only(view(d, held(d)), PlaceStop)
    refused = CommandOutcome(
        client_oid=again.client_oid, symbol="SOLUSDT", command="place_stop", outcome="rejected", code="40917",
        message="wrong side",
    )  # fmt: skip
    (told,) = of(d.send(refused), Difference)
    assert (told.kind, told.theirs) == ("stop", "refused: 40917 wrong side")
    assert "not placed again" in told.done
    d.now_ms += 1
    commands = view(d, held(d))
    assert of(commands, Difference) == []
    assert only(commands, PlaceStop)


def test_a_stop_that_somebody_moved_is_told() -> None:
    d = Driver()
    _, stop = entered(d)
    d.now_ms += 1
    moved = msgspec.structs.replace(stop, trigger_price=D("98.50"))
    (told,) = of(view(d, held(d), stops=(moved,)), Difference)
    assert (told.kind, told.done) == ("stop", "theirs is taken over")
    assert told.theirs.endswith("98.50")
    assert of(view(d, held(d), stops=(moved,)), Difference) == []


# --- positions ------------------------------------------------------------------------------------------------------


def test_a_position_that_executions_do_not_explain_is_told_when_the_alarm_is_raised() -> None:
    d = Driver()
    foreign = PositionState(symbol="SOLUSDT", qty=D(3), entry_price=D(100))
    assert of(view(d, foreign), Difference) == []
    (told,) = of(view(d, foreign), Difference)
    assert (told.kind, told.ours, told.theirs) == ("position", "0", "3")
    assert "adopts" in told.done


# --- money ----------------------------------------------------------------------------------------------------------


def test_a_balance_that_moves_without_a_reason_is_told_once_a_second_view_shows_the_same() -> None:
    d = Driver()
    assert differences(view(d)) == []
    d.send(account("9990.5"))
    first = view(d)
    assert differences(first) == []
    timer = only(first, SetTimer)
    d.now_ms = timer.due_ms
    assert of(d.send(TimerFired(name=timer.name, due_ms=timer.due_ms)), RequestReconcile) != []
    ((kind, ours, theirs),) = differences(view(d))
    assert (kind, ours, theirs) == ("balance", "10000 by executions, funding and transfers", "9990.5")
    assert differences(view(d)) == differences(view(d)) == []


def test_a_view_between_an_execution_and_its_booking_is_no_difference() -> None:
    d = Driver()
    view(d)
    d.send(account("9990.5"))
    assert differences(view(d)) == []
    d.send(account("10000"))
    assert differences(view(d)) == differences(view(d)) == []


def test_executions_funding_and_transfers_explain_the_balance() -> None:
    d = Driver()
    view(d)
    order, stop = entered(d)
    fee = order.qty * D("100.01") * D("0.0006")
    d.send(FundingPaid(bill_id="1", symbol="SOLUSDT", amount=D("-0.25"), ts_exchange_ms=d.now_ms))
    d.send(Transferred(bill_id="2", amount=D(500), ts_exchange_ms=d.now_ms))
    d.send(Transferred(bill_id="2", amount=D(500), ts_exchange_ms=d.now_ms))
    d.send(account(str(D(10_000) - fee - D("0.25") + 500)))
    for _ in range(3):
        assert differences(view(d, held(d), stops=(stop,))) == []
    d.send(account(str(D(10_000) - fee - D("0.25") + 501)))
    view(d, held(d), stops=(stop,))
    assert [kind for kind, _, _ in differences(view(d, held(d), stops=(stop,)))] == ["balance"]


def test_what_the_balance_should_be_survives_a_restart() -> None:
    d = Driver()
    view(d)
    entered(d)
    folded = recover([(ts, record) for ts, _, record in d.journal], cooldown_ms=0)
    again = Driver(state=folded.snapshot())
    assert again.engine.state.unexplained == d.engine.state.unexplained == D(10_000)
    again.send(account("9000"))
    view(again, held(again))
    assert "balance" in [kind for kind, _, _ in differences(view(again, held(again)))]


def test_what_is_not_ours_moves_the_balance_as_it_likes() -> None:
    d = Driver()
    view(d)
    d.send(OperatorActed(action="ignore", actor="ann", symbol="ETHUSDT"))
    for balance in ("9000", "8000", "7000"):
        d.send(account(balance))
        assert differences(view(d)) == []


# --- settings and terms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changed", "ours", "theirs", "check"),
    [
        ("leverage", verified(leverage=20), "2", "20", "leverage_setting"),
        ("margin_mode", verified(margin="crossed"), "isolated", "crossed", "margin_mode"),
        ("position_mode", verified(mode="hedge_mode"), "one_way_mode", "hedge_mode", "position_mode"),
    ],
)
def test_settings_changed_from_outside_block_entries_until_they_are_set_back(
    kind: str, changed: AccountVerified, ours: str, theirs: str, check: str
) -> None:
    d = Driver()
    assert differences(d.send(changed)) == [(kind, ours, theirs)]
    assert differences(d.send(changed)) == []
    blocked = decision(d.forecast(20.0))
    assert [c.name for c in blocked.checks if c.verdict == "block"] == [check]
    (back,) = of(d.send(verified()), Difference)
    assert (back.kind, back.theirs) == (kind, ours)
    assert f"set back from {theirs}" in back.done
    assert decision(d.forecast(20.0)).verdict == "pass"


def test_a_new_tick_is_told_and_cancels_entries_that_are_open() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    changed = msgspec.structs.replace(SOL, tick=D("0.1"))
    commands = d.send(InstrumentUpdated(instrument=changed))
    (told,) = of(commands, Difference)
    assert (told.kind, told.ours, told.theirs) == ("contract", "tick 0.01", "tick 0.1")
    assert only(commands, CancelOrder).client_oid == order.client_oid
    assert of(d.send(InstrumentUpdated(instrument=changed)), Difference) == []


@pytest.mark.parametrize("status", ["maintain", "limit_open", "off", "restrictedAPI"])
def test_a_contract_that_is_not_normal_lets_nothing_in_and_says_so(status: str) -> None:
    d = Driver()
    commands = d.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, status=status)))
    assert status in only(commands, Alert).message
    assert [c.name for c in decision(d.forecast(20.0)).checks if c.verdict == "block"] == ["symbol_status"]
    d.send(InstrumentUpdated(instrument=SOL))
    assert decision(d.forecast(20.0)).verdict == "pass"


def test_a_delisting_within_a_day_alarms_while_something_is_held() -> None:
    d = Driver()
    ending = msgspec.structs.replace(SOL, off_time_ms=d.now_ms + DAY_MS // 2)
    assert of(d.send(InstrumentUpdated(instrument=ending)), Alert) == []
    assert [c.name for c in decision(d.forecast(20.0)).checks if c.verdict == "block"] == ["announced_stop_h"]
    d = Driver()
    entered(d)
    alarm = only(d.send(InstrumentUpdated(instrument=ending)), Alert)
    assert (alarm.code, alarm.severity) == ("delisting", "critical")


# --- pushes that are lost -------------------------------------------------------------------------------------------


def test_a_stop_whose_push_was_lost_is_asked_for_before_the_position_is_given_up() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    commands = d.fill(order, "100.01")
    placed = only(commands, PlaceStop)
    asks = {t.name: t.due_ms for t in of(commands, SetTimer)}
    assert d.now_ms < asks["ask:SOLUSDT"] < asks["stop:SOLUSDT"]
    d.now_ms = asks["ask:SOLUSDT"]
    assert of(d.send(TimerFired(name="ask:SOLUSDT", due_ms=d.now_ms)), RequestReconcile) != []
    stop = StopUpdated(
        order_id="77", client_oid=placed.client_oid, symbol="SOLUSDT", plan="pos_loss", trigger_price=D("98.01"),
        status="live",
    )  # fmt: skip
    (told,) = of(view(d, held(d), stops=(stop,)), Difference)
    assert (told.kind, told.done) == ("stop", "confirmed")
    d.now_ms = asks["stop:SOLUSDT"]
    assert of(d.send(TimerFired(name="stop:SOLUSDT", due_ms=d.now_ms)), PlaceOrder) == []
    assert of(d.send(TimerFired(name="ask:SOLUSDT", due_ms=d.now_ms)), RequestReconcile) == []


def test_a_close_whose_execution_was_lost_is_asked_for_before_the_bot_halts() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    asks = {t.name: t.due_ms for t in of(d.fill(order, "100.01"), SetTimer)}
    d.now_ms = asks["stop:SOLUSDT"]
    commands = d.send(TimerFired(name="stop:SOLUSDT", due_ms=d.now_ms))
    close = only(commands, PlaceOrder)
    asks = {t.name: t.due_ms for t in of(commands, SetTimer)}
    d.now_ms = asks["ask:SOLUSDT"]
    assert of(d.send(TimerFired(name="ask:SOLUSDT", due_ms=d.now_ms)), RequestReconcile) != []
    d.send(execution(close, "t10"))
    view(d)
    d.now_ms = asks["close:SOLUSDT"]
    d.send(TimerFired(name="close:SOLUSDT", due_ms=d.now_ms))
    assert d.engine.state.tradability == "active"
