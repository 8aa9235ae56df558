"""The exchange says that it does not have our position: nothing is sent for it, and a person is asked once."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from tests.trading.driver import Driver, decision, of, only
from tests.trading.test_adversity import fill
from tests.trading.test_differences import entered, held, view
from tradebot.events import (
    Alert,
    ClosePosition,
    Command,
    CommandOutcome,
    Difference,
    DurableState,
    Filled,
    OperatorActed,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    RequestReconcile,
    SetTimer,
    TimerFired,
)

S = "SOLUSDT"


def sent(commands: Sequence[Command]) -> list[Command]:
    """What was sent for the position."""
    return [*of(commands, PlaceStop), *of(commands, PlaceOrder)]


def refused(oid: str, command: str, code: str) -> CommandOutcome:
    return CommandOutcome(client_oid=oid, symbol=S, command=command, outcome="rejected", code=code)


def disputed() -> tuple[Driver, Sequence[Command]]:
    """A protected position that somebody closed by hand; two views showed that."""
    d = Driver()
    entered(d)
    d.candle()
    assert sent(view(d)) == []
    d.candle()
    return d, view(d)


def test_nothing_is_sent_for_a_position_that_a_view_does_not_show_and_one_alarm_is_raised() -> None:
    d, second = disputed()
    alarm = only(second, Alert)
    assert (alarm.code, alarm.severity) == ("foreign", "critical")
    for _ in range(3):
        d.now_ms += 60_000
        commands = view(d)
        assert sent(commands) == []
        assert (of(commands, Alert), of(commands, Difference)) == ([], [])


def test_the_stop_that_went_with_the_position_is_told_in_the_look_that_disputes_it() -> None:
    d = Driver()
    entered(d)
    d.now_ms += 1_000
    (told,) = of(view(d), Difference)
    assert (told.kind, told.theirs) == ("stop", "none")
    assert told.done.startswith("not placed again")
    assert d.engine.discrepancies.theirs(S) == 0
    assert S not in d.engine.state.stops


def test_a_view_older_than_our_last_execution_takes_no_protection_away() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    asked_ms = d.now_ms
    d.now_ms += 50
    d.fill(order, "100.01")
    d.engine.state.stops.clear()
    assert only(view(d, asked_ms=asked_ms), PlaceStop).position_side == "long"


@pytest.mark.parametrize("code", ["43023", "40891", "43043"])
def test_a_stop_refused_because_nothing_is_held_asks_and_closes_nothing_once_a_view_says_the_same(code: str) -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    commands = d.send(refused(placed.client_oid, "place_stop", code))
    assert only(commands, RequestReconcile)
    assert sent(commands) == []
    assert S in d.engine.discrepancies.describe()  # no entry meanwhile
    d.now_ms += 1_000
    assert sent(view(d)) == []
    for kind in ("ask", "stop", "close"):
        d.now_ms += 2_000
        assert list(d.send(TimerFired(name=f"{kind}:{S}", due_ms=d.now_ms))) == []
    assert d.engine.state.tradability == "active"


def test_while_no_view_proves_a_refusal_the_verdicts_stand() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    d.send(refused(placed.client_oid, "place_stop", "43023"))
    d.now_ms += 5_000
    closed = d.send(TimerFired(name=f"stop:{S}", due_ms=d.now_ms))
    close = only(closed, PlaceOrder)
    assert close.reduce_only
    d.send(refused(close.client_oid, "place", "22002"))
    d.now_ms += 5_000
    last = d.send(TimerFired(name=f"close:{S}", due_ms=d.now_ms))
    assert only(last, ClosePosition).symbol == S
    assert d.engine.state.tradability == "halted"


def test_stops_refused_again_and_again_on_a_position_that_is_shown_do_not_put_the_verdict_off() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    commands = d.fill(order, "100.01")
    (due_ms,) = (t.due_ms for t in of(commands, SetTimer) if t.name == f"stop:{S}")
    while d.now_ms < due_ms - 700:
        placed = only(commands, PlaceStop)
        d.now_ms += 100
        d.send(refused(placed.client_oid, "place_stop", "43023"))
        d.now_ms += 600
        commands = view(d, held(d))
        assert not [t for t in of(commands, SetTimer) if t.name == f"stop:{S}"]
    d.now_ms = due_ms
    assert only(d.send(TimerFired(name=f"stop:{S}", due_ms=due_ms)), PlaceOrder).reduce_only


def test_a_stop_refused_a_moment_too_early_is_placed_when_the_view_shows_the_position() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    d.send(refused(placed.client_oid, "place_stop", "43023"))
    assert only(view(d, held(d)), PlaceStop).client_oid != placed.client_oid  # in the same millisecond
    d.now_ms += 5_000
    assert only(d.send(TimerFired(name=f"stop:{S}", due_ms=d.now_ms)), PlaceOrder).reduce_only


def test_a_close_refused_because_nothing_is_held_is_not_sent_again_once_a_view_says_the_same() -> None:
    d = Driver()
    entered(d)
    close = only(d.send(OperatorActed(action="close", actor="ann", symbol=S)), PlaceOrder)
    commands = d.send(refused(close.client_oid, "place", "22002"))
    assert only(commands, RequestReconcile)
    d.now_ms += 1_000
    assert sent(view(d)) == []
    d.now_ms += 5_000
    assert sent(d.send(TimerFired(name=f"flat:{S}", due_ms=d.now_ms))) == []
    assert [o for o in of(view(d, held(d)), PlaceOrder) if o.reduce_only] != []


def test_a_close_refused_on_a_position_that_is_shown_is_tried_once_in_a_while() -> None:
    d = Driver()
    entered(d)
    close = only(d.send(OperatorActed(action="close", actor="ann", symbol=S)), PlaceOrder)
    d.send(refused(close.client_oid, "place", "22002"))
    d.now_ms += 300
    back = view(d, held(d))
    assert of(back, PlaceOrder) == []
    (due_ms,) = (t.due_ms for t in of(back, SetTimer) if t.name == f"flat:{S}")
    d.now_ms = due_ms
    assert only(d.send(TimerFired(name=f"flat:{S}", due_ms=due_ms)), PlaceOrder).reduce_only


def test_a_strategy_s_exit_of_a_position_that_is_not_there_is_blocked() -> None:
    d, _ = disputed()
    commands = d.forecast(-20.0)
    assert (decision(commands).action, decision(commands).verdict) == ("exit", "block")
    assert [c.value for c in decision(commands).checks if c.verdict == "block"] == ["0 on the exchange"]
    assert sent(commands) == []


def test_a_push_that_shows_the_position_after_all_asks_again() -> None:
    d, _ = disputed()
    shown = PositionsReported(positions=(held(d),))
    back = d.send(shown)
    assert only(back, RequestReconcile)
    assert only(back, PlaceStop).position_side == "long"
    assert list(d.send(shown)) == []


def test_an_execution_of_ours_ends_the_doubt() -> None:
    d, _ = disputed()
    more = Filled(
        trade_id="n", order_id="9", client_oid="tb0-1-1-e", symbol=S, side="buy", price=Decimal(100), qty=Decimal(1),
        fee=Decimal(0), realised=Decimal(0), maker=False, ts_exchange_ms=0,
    )  # fmt: skip
    assert only(d.send(more), PlaceStop)


def test_adopting_the_exchange_s_view_lets_entries_in_again() -> None:
    d, _ = disputed()
    assert S in d.engine.discrepancies.describe()
    d.send(OperatorActed(action="adopt", actor="ann", symbol=S))
    assert held(d).qty == 0
    assert d.engine.discrepancies.theirs(S) is None
    assert decision(d.forecast(20.0)).verdict == "pass"
    assert d.engine.state.disputes == {}


def test_a_symbol_is_unsettled_while_our_books_hold_it_or_a_view_differs() -> None:
    d, _ = disputed()
    assert d.engine.discrepancies.unsettled() == {S}
    d.send(OperatorActed(action="adopt", actor="ann", symbol=S))
    assert d.engine.discrepancies.unsettled() == set()
    view(d, PositionState(symbol=S, qty=Decimal(2), entry_price=Decimal(100)))
    assert d.engine.discrepancies.unsettled() == {S}
    view(d)
    assert d.engine.discrepancies.unsettled() == set()
    d.send(fill("a", "web-1", "buy", Decimal(1)))
    assert d.engine.discrepancies.unsettled() == {S}


def test_an_ignored_position_that_is_not_there_gets_no_stop() -> None:
    d, _ = disputed()
    d.send(OperatorActed(action="ignore", actor="ann", symbol=S))
    d.now_ms += 60_000
    assert sent(view(d)) == []
    assert d.engine.discrepancies.theirs(S) == 0


def test_after_a_restart_the_same_dispute_is_not_written_again_and_a_changed_one_is() -> None:
    d, second = disputed()
    (first,) = [told for told in of(second, Difference) if told.kind == "position"]
    assert (first.ours, first.theirs) == (str(held(d).qty), "0")
    dispute = d.engine.state.disputes[S]
    again = Driver(state=d.engine.state.snapshot())
    for _ in range(3):
        again.candle()
        assert [told for told in of(view(again), Difference) if told.kind in ("position", "foreign")] == []
    assert again.engine.state.disputes == {S: dispute}
    assert decision(again.forecast(20.0)).verdict == "block"
    other = held(again).__class__(symbol=S, qty=Decimal(1), entry_price=Decimal(100))
    view(again, other)
    (changed,) = [told for told in of(view(again, other), Difference) if told.kind == "position"]
    assert (changed.ours, changed.theirs) == (first.ours, "1")
    assert again.engine.state.disputes[S].since_ms == dispute.since_ms


def test_what_is_settled_is_looked_at_no_more() -> None:
    d = Driver()
    entered(d)
    d.now_ms += 1_000
    timer = next(t for t in of(view(d), SetTimer) if t.name == "positions")
    view(d, held(d))
    d.now_ms = timer.due_ms
    assert list(d.send(TimerFired(name="positions", due_ms=timer.due_ms))) == []


def test_an_adopted_position_gets_no_stop_distance_of_an_earlier_trade() -> None:
    d = Driver(bars=1, state=DurableState(stop_distances={S: Decimal("0.0005")}))
    found = PositionState(symbol=S, qty=Decimal(2), entry_price=Decimal(100))
    view(d, found)
    d.now_ms += 3_000
    view(d, found)
    stop = only(d.send(OperatorActed(action="adopt", actor="ann", symbol=S)), PlaceStop)
    assert stop.trigger_price == Decimal("98.00")
