"""What goes wrong between us and the exchange, and what must not follow from it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.trading.driver import BAR, SOL, TURNING, Driver, decision, of, only
from tests.trading.test_differences import entered
from tests.trading.test_engine import blocked_by, stop_update
from tradebot.events import (
    AccountHeard,
    AccountUpdated,
    Alert,
    Booted,
    CancelOrder,
    CancelStop,
    ClosePosition,
    Command,
    CommandOutcome,
    DurableState,
    Filled,
    ForecastReady,
    FundingPaid,
    InstrumentUpdated,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    Reconciled,
    RequestForecast,
    RequestReconcile,
    Restored,
    RiskLimits,
    SetTimer,
    StopUpdated,
    TimerFired,
    Transferred,
    UniverseChanged,
)
from tradebot.trading.risk import stop_distance
from tradebot.trading.state import recover
from tradebot.trading.strategy import Intent, Strategy, View

S = "SOLUSDT"


def outcome(command: Command, kind: str, what: str, *, code: str = "", order_id: str = "") -> CommandOutcome:
    return CommandOutcome(
        client_oid=command.client_oid, symbol=S, command=what, outcome=kind, code=code, order_id=order_id  # type: ignore[union-attr, arg-type]
    )  # fmt: skip


def fill(trade_id: str, oid: str, side: str, qty: Decimal, *, order_id: str = "", price: str = "100") -> Filled:
    return Filled(
        trade_id=trade_id, order_id=order_id or f"o-{trade_id}", client_oid=oid, symbol=S, side=side,  # type: ignore[arg-type]
        price=Decimal(price), qty=qty,
        fee=Decimal("-0.1"), realised=Decimal(0), maker=False, ts_exchange_ms=0,
    )  # fmt: skip


def view(*positions: PositionState, orders: tuple[OrderUpdated, ...] = (), stops: tuple[StopUpdated, ...] = (),
         asked_ms: int = 2**62) -> Reconciled:  # fmt: skip
    return Reconciled(positions=positions, open_orders=orders, stops=stops, asked_ms=asked_ms)


def held(d: Driver) -> Decimal:
    return d.engine.state.portfolio.position(S).qty


def acted(d: Driver, action: str, symbol: str = "") -> list[Command]:
    return list(d.send(OperatorActed(action=action, actor="cli", symbol=symbol)))  # type: ignore[arg-type]


def after(d: Driver, timer: SetTimer) -> list[Command]:
    d.now_ms = timer.due_ms
    return list(d.send(TimerFired(name=timer.name, due_ms=timer.due_ms)))


def timer(commands: list[Command], kind: str) -> SetTimer:
    return next(t for t in of(commands, SetTimer) if t.name.startswith(kind) and t.due_ms)


# --- orders ---------------------------------------------------------------------------------------------------------


def test_after_a_flash_close_exits_work_again() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    first = after(d, timer(list(d.fill(order, "100.01")), "stop"))
    d.send(outcome(only(first, PlaceOrder), "rejected", "place"))
    second = after(d, timer(first, "close"))
    flash = only(second, ClosePosition)
    d.send(outcome(flash, "accepted", "close_position", order_id="900"))
    d.send(fill("f1", "1471430749322903552", "sell", order.qty, order_id="900"))
    assert held(d) == 0
    assert d.engine.state.foreign == {}
    assert d.engine.state.orders.open() == []


def test_the_execution_of_a_flash_close_may_come_before_its_answer() -> None:
    d = Driver()
    order = d.enter()
    d.engine.state.stops.clear()
    d.engine.emit(ClosePosition(client_oid="tb0-1-99-f", symbol=S, reason="test"))
    d.send(fill("f1", "1471430749322903552", "sell", order.qty, order_id="900"))
    assert held(d) == 0
    assert d.engine.state.foreign == {}


def test_the_answer_to_a_cancel_says_nothing_of_the_order() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    cancel = only(acted(d, "halt"), CancelOrder)
    d.send(outcome(order, "rejected", "place"))
    d.send(outcome(cancel, "accepted", "cancel"))
    acted(d, "resume")
    assert blocked_by(decision(d.forecast(20.0))) == []


def test_an_unknown_outcome_asks_for_the_whole_view() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    assert only(d.send(outcome(order, "unknown", "place")), RequestReconcile)


def test_an_order_the_exchange_certainly_does_not_know_stops_blocking() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.send(outcome(order, "accepted", "place", order_id="9"))
    d.send(outcome(order, "rejected", "place", code="40109"))
    assert d.engine.state.orders.open() == []


def test_an_order_with_an_execution_cannot_be_unknown_to_the_exchange() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.fill(order, "100.01", qty=Decimal(1))
    d.send(outcome(order, "rejected", "place", code="40109"))
    assert d.engine.state.orders.get(order.client_oid).status == "partially_filled"  # type: ignore[union-attr]


def test_an_execution_that_names_only_the_exchange_s_order_id_is_ours() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.send(outcome(order, "accepted", "place", order_id="9"))
    d.send(fill("t9", "", "buy", order.qty, order_id="9"))
    d.send(fill("t9", order.client_oid, "buy", order.qty, order_id="9"))
    assert held(d) == order.qty
    assert d.engine.state.foreign == {}


def test_an_execution_first_taken_for_foreign_is_booked_once_it_is_known_to_be_ours() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.send(fill("t9", "", "buy", order.qty, order_id="9"))
    assert held(d) == 0
    d.send(fill("t9", order.client_oid, "buy", order.qty, order_id="9"))
    assert held(d) == order.qty


def test_large_positions_are_closed_in_parts_the_exchange_accepts() -> None:
    d = Driver(params=TURNING)
    order = d.enter()
    d.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, max_market_qty=Decimal(2))))
    parts = of(d.forecast(-20.0), PlaceOrder)
    assert [p.qty for p in parts] == [Decimal(2), Decimal(2), order.qty - 4]
    assert len({p.client_oid for p in parts}) == 3


# --- closing on request ---------------------------------------------------------------------------------------------


def test_flatten_closes_what_an_entry_in_flight_opens_afterwards() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    acted(d, "flatten")
    close = only(d.fill(order, "100.01"), PlaceOrder)
    assert (close.side, close.qty, close.reduce_only) == ("sell", order.qty, True)


def test_a_refused_close_is_tried_again_until_flat() -> None:
    d = Driver()
    order = d.enter()
    commands = acted(d, "close", S)
    close = only(commands, PlaceOrder)
    assert of(d.send(outcome(close, "rejected", "place", code="429")), PlaceOrder) == []  # not at once
    again = after(d, timer(commands, "flat"))
    assert only(again, PlaceOrder).client_oid != close.client_oid
    assert of(after(d, timer(again, "flat")), PlaceOrder) == []  # the second one is still working
    d.fill(only(again, PlaceOrder), "100.00")
    assert held(d) == 0
    assert d.engine.state.closing == set()
    assert order.qty > 0


def test_a_flatten_survives_a_restart() -> None:
    d = Driver()
    d.enter()
    acted(d, "flatten")
    restored = Driver(state=d.engine.state.snapshot())
    position = PositionState(symbol=S, qty=held(d), entry_price=Decimal(100))
    for order in restored.engine.state.orders.open():
        restored.send(outcome(order, "rejected", "place", code="40109"))  # type: ignore[arg-type]
    assert only(restored.send(view(position)), PlaceOrder).reduce_only


# --- stops ----------------------------------------------------------------------------------------------------------


def test_a_view_older_than_the_stop_s_push_does_not_drop_the_stop() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    asked = d.now_ms - 100
    d.send(stop_update(d, placed))
    position = PositionState(symbol=S, qty=order.qty, entry_price=Decimal("100.01"))
    assert of(d.send(view(position, asked_ms=asked)), PlaceStop) == []
    assert d.engine.state.stops[S].confirmed


def test_a_stop_that_the_exchange_does_not_list_is_placed_again() -> None:
    d = Driver()
    order = d.enter()
    position = PositionState(symbol=S, qty=order.qty, entry_price=Decimal("100.01"))
    assert only(d.send(view(position)), PlaceStop).trigger_price == Decimal("98.01")


def test_a_listed_preset_beside_a_confirmed_stop_is_cancelled() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    preset = StopUpdated(
        order_id="70", client_oid="x", symbol=S, plan="loss_plan", trigger_price=Decimal(98), status="live"
    )
    position = PositionState(symbol=S, qty=order.qty, entry_price=Decimal("100.01"))
    commands = d.send(view(position, stops=(stop_update(d, placed), preset)))
    assert [c.order_id for c in of(commands, CancelStop)] == ["70"]


def test_a_position_that_turns_round_gets_a_stop_of_its_own_side() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    d.send(stop_update(d, placed))
    commands = d.send(fill("x", "tb0-1-1-e", "sell", order.qty * 2))
    again = only(commands, PlaceStop)
    assert (again.position_side, again.trigger_price) == ("short", Decimal("102.00"))


def test_an_entry_against_the_position_is_blocked() -> None:
    class Contrary(Strategy):
        def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
            return Intent("enter_long" if view.holding.side != "long" else "enter_short", "always the other way")

    d = Driver(Contrary, params={})
    d.fill(only(d.forecast(0.0), PlaceOrder), "100.01")
    assert blocked_by(decision(d.forecast(0.0))) == ["opposite_position"]


def test_a_late_confirmation_disarms_the_halt() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    first = d.fill(order, "100.01")
    commands = after(d, timer(list(first), "stop"))
    d.send(stop_update(d, only(first, PlaceStop)))
    assert d.engine.state.tradability == "active"
    cleared = [t for t in of(d.send(stop_update(d, only(first, PlaceStop))), SetTimer) if t.name.startswith("close")]
    assert cleared[0].due_ms == 0
    assert of(commands, PlaceOrder) != []


def test_a_stop_that_goes_live_when_the_position_is_gone_is_cancelled() -> None:
    d = Driver(params=TURNING)
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    d.fill(only(d.forecast(-20.0), PlaceOrder), "100.00")
    assert only(d.send(stop_update(d, placed)), CancelStop).order_id == "77"


def test_the_refusal_of_an_older_stop_closes_nothing() -> None:
    d = Driver()
    d.enter()
    old = PlaceStop(client_oid="tb0-1-1-s", symbol=S, position_side="long", trigger_price=Decimal(90))
    assert of(d.send(outcome(old, "rejected", "place_stop", code="40917")), PlaceOrder) == []


def test_timers_of_a_position_that_is_gone_do_nothing() -> None:
    d = Driver()
    for name in ("stop", "close", "flat", "claim"):
        assert list(d.send(TimerFired(name=f"{name}:{S}", due_ms=0))) == []


def test_the_stop_of_a_short_lies_above_rounded_towards_the_entry() -> None:
    d = Driver()
    order = only(d.forecast(-20.0), PlaceOrder)
    assert order.preset_stop == Decimal("101.98")  # 2 % above 99.99 is 101.9898
    assert stop_distance(Decimal("0.02"), 2, Decimal("0.6")) == 0


# --- what is not ours -----------------------------------------------------------------------------------------------


def test_an_execution_of_another_shard_or_a_future_run_is_foreign() -> None:
    for oid in ("tb7-1-5-e", "tb0-99-5-e"):
        d = Driver()
        d.send(fill("x", oid, "buy", Decimal(1)))
        assert S in d.engine.state.foreign
        assert held(d) == 0


def test_an_execution_of_an_earlier_run_of_ours_is_booked() -> None:
    d = Driver()
    d.send(fill("x", "tb0-1-5-e", "buy", Decimal(1)))
    assert held(d) == 1


def test_somebody_else_s_sale_of_our_position_is_found_out() -> None:
    d = Driver()
    order = d.enter()
    commands = d.send(fill("web", "web-1", "sell", Decimal(1)))
    assert held(d) == order.qty - 1
    asked = after(d, timer(list(commands), "claim"))
    assert only(asked, RequestReconcile)
    assert only(after(d, timer(asked, "claim")), Alert).code == "foreign"


@pytest.mark.parametrize("report_first", [True, False])
def test_our_stop_s_execution_is_not_taken_for_somebody_else_s(report_first: bool) -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    d.send(stop_update(d, placed))
    parts = [stop_update(d, placed, "executed"), fill("s", "147", "sell", Decimal(1), price="98")]
    commands: list[Command] = []
    for event in parts if report_first else parts[::-1]:
        commands += d.send(event)
    due = [t for t in of(commands, SetTimer) if t.name.startswith("claim") and t.due_ms]
    for one in due:
        assert of(after(d, one), Alert) == []
    assert d.engine.state.foreign == {}


def test_a_resting_order_that_is_not_ours_stops_entries() -> None:
    d = Driver()
    foreign = OrderUpdated(
        client_oid="web-7", order_id="7", symbol=S, side="buy", status="live", qty=Decimal(1), filled_qty=Decimal(0)
    )
    d.send(view(orders=(foreign,)))
    assert blocked_by(decision(d.forecast(20.0))) == ["foreign_position"]


def test_foreign_activity_is_remembered_over_a_restart() -> None:
    d = Driver()
    d.send(fill("a", "web-1", "buy", Decimal(1)))
    d.send(fill("b", "web-2", "sell", Decimal(1)))
    restored = Driver(state=d.engine.state.snapshot())
    assert blocked_by(decision(restored.forecast(20.0))) == ["foreign_position"]


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("symbol", [S, "BTCUSDT"])
def test_a_person_s_own_stop_is_left_alone(symbol: str, ignored: bool) -> None:
    d = Driver()
    d.send(PositionsReported(positions=(PositionState(symbol=symbol, qty=Decimal(5), entry_price=Decimal(100)),)))
    if ignored:
        acted(d, "ignore", symbol)
    theirs = StopUpdated(
        order_id="900", client_oid="web-stop-1", symbol=symbol, plan="pos_loss", trigger_price=Decimal(90),
        status="live",
    )  # fmt: skip
    assert of(d.send(theirs), CancelStop) == []


def test_a_stop_that_executed_in_part_protects_nothing_and_what_is_left_is_closed() -> None:
    d = Driver()
    order, stop = entered(d)
    d.now_ms += 1_000
    commands = d.send(msgspec.structs.replace(stop, status="executing"))
    commands = [*commands, *d.send(fill("s1", stop.order_id, "sell", Decimal(1), price="98"))]
    commands += d.send(msgspec.structs.replace(stop, status="executed"))
    assert held(d) == order.qty - 1
    verdict = timer(commands, "stop")
    d.now_ms = verdict.due_ms
    assert only(d.send(TimerFired(name=verdict.name, due_ms=verdict.due_ms)), PlaceOrder).qty == order.qty - 1


def test_a_list_older_than_the_push_that_ended_a_stop_does_not_bring_it_back() -> None:
    d = Driver()
    _, stop = entered(d)
    here = PositionState(symbol=S, qty=held(d), entry_price=Decimal("100.01"))
    d.now_ms += 60_000
    asked_ms = d.now_ms
    d.now_ms += 1_000
    again = d.send(msgspec.structs.replace(stop, status="cancelled"))
    placed, verdict = only(again, PlaceStop), timer(again, "stop")
    d.now_ms += 1_000
    d.send(view(here, stops=(stop,), asked_ms=asked_ms))
    refused = d.send(outcome(placed, "rejected", "place_stop", code="40917"))
    d.now_ms = verdict.due_ms
    late = d.send(TimerFired(name=verdict.name, due_ms=verdict.due_ms))
    assert of(refused, PlaceOrder) or of(late, PlaceOrder)


def test_a_late_refusal_of_a_stop_that_stands_closes_nothing() -> None:
    d = Driver()
    _, stop = entered(d)
    late = CommandOutcome(client_oid=stop.client_oid, symbol=S, command="place_stop", outcome="rejected", code="40109")
    assert of(d.send(late), PlaceOrder) == []


def test_an_ignored_symbol_may_do_what_it_wants_and_is_not_traded() -> None:
    d = Driver()
    d.send(fill("a", "web-1", "buy", Decimal(1)))
    acted(d, "ignore", S)
    assert of(d.send(fill("b", "web-2", "buy", Decimal(1))), Alert) == []
    other = PositionState(symbol=S, qty=Decimal(2), entry_price=Decimal(99))
    assert of(d.send(PositionsReported(positions=(other,))), SetTimer) == []
    assert blocked_by(decision(d.forecast(20.0))) == ["tradability"]
    d.send(PositionsReported(positions=(other,)))
    commands = acted(d, "adopt", S)
    assert only(commands, PlaceStop).position_side == "long"
    assert d.engine.state.ignored == set()


def test_a_position_in_a_symbol_that_is_not_traded_breaks_nothing() -> None:
    other = PositionState(symbol="BTCUSDT", qty=Decimal(1), entry_price=Decimal(50_000))
    d = Driver(state=DurableState(positions=(other,)))
    d.send(view(other))
    assert decision(d.forecast(0.0)).action == "hold"


# --- money and limits -----------------------------------------------------------------------------------------------


def test_balance_is_what_the_exchange_says_in_any_order_of_pushes() -> None:
    def run(first: str) -> Decimal | None:
        d = Driver()
        order = only(d.forecast(20.0), PlaceOrder)
        execution = fill("t", order.client_oid, "buy", order.qty, price="100")
        account = AccountUpdated(equity=Decimal(9_999), available=Decimal(9_000), balance=Decimal("9999.9"))
        d.book(100.0)
        for event in (execution, account) if first == "fill" else (account, execution):
            d.send(event)
        return d.engine.live_equity()

    assert run("fill") == run("account")


def test_the_day_s_loss_is_net_of_transfers() -> None:
    def day(equity: int, moved: int, at_ms: int | None = None) -> list[str]:
        d = Driver()
        at_ms = d.now_ms if at_ms is None else at_ms
        for _ in range(2):  # the same bill twice
            d.send(Transferred(bill_id="7", amount=Decimal(moved), ts_exchange_ms=at_ms))
        d.send(AccountUpdated(equity=Decimal(equity), available=Decimal(equity), balance=Decimal(equity)))
        return blocked_by(decision(d.forecast(20.0)))

    assert day(10_600, 1_000) == ["daily_loss"]  # 400 of 11 000 lost
    assert day(9_000, -1_000) == []
    assert day(9_000, -1_000, at_ms=0) == ["daily_loss"]  # moved before the day began


def test_a_pause_does_not_weaken_a_halt() -> None:
    d = Driver()
    acted(d, "halt")
    acted(d, "pause")
    assert d.engine.state.tradability == "halted"
    acted(d, "resume")
    assert d.engine.state.tradability == "active"


def test_an_unknown_account_blocks_and_a_loss_of_exactly_the_limit_too() -> None:
    d = Driver()
    d.engine.state.balance = d.engine.available = None
    assert set(blocked_by(decision(d.forecast(20.0)))) >= {"daily_loss", "leverage_notional"}
    d = Driver()
    d.send(AccountUpdated(equity=Decimal(9_700), available=Decimal(9_700), balance=Decimal(9_700)))
    assert blocked_by(decision(d.forecast(20.0))) == ["daily_loss"]


def test_margin_capital_and_the_exchange_s_order_size_shrink_an_entry() -> None:
    d = Driver()
    d.send(AccountUpdated(equity=Decimal(10_000), available=Decimal(100), balance=Decimal(10_000)))
    assert only(d.forecast(20.0), PlaceOrder).qty == Decimal("1.9")  # 100 / (0.505 + 0.0006) / 100.01
    d = Driver(limits=RiskLimits(capital=Decimal(50)))
    assert only(d.forecast(20.0), PlaceOrder).qty == Decimal("1.4")  # 50 x 3 / 100.01
    d = Driver()
    d.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, max_market_qty=Decimal("0.3"))))
    assert only(d.forecast(20.0), PlaceOrder).qty == Decimal("0.3")


@pytest.mark.parametrize("field", ["maintain_time_ms", "off_time_ms", "limit_open_time_ms"])
def test_an_announced_end_of_trading_within_a_day_blocks(field: str) -> None:
    d = Driver()
    d.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, **{field: d.now_ms + 80_000_000})))
    assert blocked_by(decision(d.forecast(20.0))) == ["announced_stop_h"]


def test_funding_is_counted_once() -> None:
    d = Driver()
    for _ in range(2):
        d.send(FundingPaid(bill_id="1", symbol=S, amount=Decimal("-0.5"), ts_exchange_ms=0))
    assert d.engine.state.portfolio.funding == Decimal("-0.5")


def test_a_loss_by_fees_alone_starts_the_cool_down() -> None:
    d = Driver(params=TURNING)
    order = d.enter(price="100.00")
    d.fill(only(d.forecast(-20.0), PlaceOrder), "100.00")
    assert blocked_by(decision(d.forecast(20.0))) == ["cooldown_ms"]
    assert order.qty > 0


# --- forecasts ------------------------------------------------------------------------------------------------------


def test_a_forecast_not_answered_by_the_next_candle_is_late() -> None:
    d = Driver()
    d.candle()
    commands = d.candle()
    assert decision(commands).reason == "forecast late"
    assert only(commands, RequestForecast)


def test_no_entry_is_made_without_a_forecast() -> None:
    class Eager(Strategy):
        def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
            return Intent("hold", "")

        def on_candle(self, view: View) -> Intent:
            return Intent("enter_long", "blindly")

    d = Driver(Eager, params={})
    d.candle()
    commands = d.candle()
    assert of(commands, PlaceOrder) == []
    assert decision(commands).action == "hold"


def test_a_candle_of_a_symbol_that_is_not_traded_decides_nothing() -> None:
    d = Driver()
    d.send(UniverseChanged(symbols=()))
    assert list(d.candle()) == []


def test_each_day_is_opened_with_a_look_at_the_account() -> None:
    d = Driver()
    for _ in range(2):
        due = (d.now_ms // 86_400_000 + 1) * 86_400_000
        d.now_ms = due
        commands = d.send(TimerFired(name="day", due_ms=due))
        assert timer(list(commands), "day").due_ms == due + 86_400_000
    assert BAR


def test_a_crash_does_not_forget_that_something_is_foreign() -> None:
    d = Driver()
    other = PositionState(symbol=S, qty=Decimal(2), entry_price=Decimal(99))
    d.send(view(other))
    d.send(view(other))
    assert S in d.engine.state.foreign
    folded = recover(((ts, r) for ts, _, r in d.journal), cooldown_ms=RiskLimits().cooldown_ms)
    assert folded.snapshot() == d.engine.state.snapshot()


# --- a second look --------------------------------------------------------------------------------------------------


def test_a_close_asked_for_when_flat_does_not_close_a_later_entry() -> None:
    d = Driver()
    acted(d, "close", S)
    assert d.engine.state.closing == set()
    order = only(d.forecast(20.0), PlaceOrder)
    assert of(d.fill(order, "100.01"), PlaceOrder) == []


def test_a_close_asked_for_during_an_entry_that_is_refused_is_over() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    acted(d, "close", S)
    assert d.engine.state.closing == {S}
    d.send(outcome(order, "rejected", "place"))
    assert d.engine.state.closing == set()


def test_a_difference_that_a_push_resolves_stops_blocking_at_once() -> None:
    d = Driver()
    d.send(view(PositionState(symbol=S, qty=Decimal(2), entry_price=Decimal(99))))
    d.send(PositionsReported(positions=()))
    assert blocked_by(decision(d.forecast(20.0))) == []


def test_our_stop_s_execution_counts_in_an_ignored_symbol() -> None:
    d = Driver()
    order = d.enter()
    acted(d, "ignore", S)
    d.send(fill("s", "147", "sell", order.qty, price="98"))
    assert held(d) == 0


def test_an_alarm_is_raised_once_and_adopting_settles_its_executions() -> None:
    d = Driver()
    first = d.send(fill("a", "web-1", "buy", Decimal(1)))
    assert only(first, Alert).code == "foreign"
    position = PositionState(symbol=S, qty=Decimal(1), entry_price=Decimal(100))
    for _ in range(4):
        assert of(d.send(fill("a", "web-1", "buy", Decimal(1))), Alert) == []
        assert of(d.send(view(position)), Alert) in ([], [Alert(severity="critical", code="foreign", symbol=S,
            message="position is 1 on the exchange, 0 by our executions")])  # fmt: skip
    acted(d, "adopt", S)
    assert of(d.send(fill("a", "web-1", "buy", Decimal(1))), Alert) == []
    assert d.engine.state.foreign == {}
    assert held(d) == 1


def test_a_confirmation_by_the_whole_view_disarms_the_halt() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    first = d.fill(order, "100.01")
    second = after(d, timer(list(first), "stop"))
    position = PositionState(symbol=S, qty=order.qty, entry_price=Decimal("100.01"))
    d.send(view(position, stops=(stop_update(d, only(first, PlaceStop)),)))
    assert of(after(d, timer(second, "close")), Alert) == []
    assert d.engine.state.tradability == "active"


def test_a_late_report_of_an_earlier_stop_excuses_nobody() -> None:
    d = Driver(params=TURNING, limits=RiskLimits(cooldown_ms=0))
    order = only(d.forecast(20.0), PlaceOrder)
    old = only(d.fill(order, "100.01"), PlaceStop)
    d.fill(only(d.forecast(-20.0), PlaceOrder), "100.50")
    d.enter()
    d.send(stop_update(d, old, "executed"))
    commands = d.send(fill("web", "web-1", "sell", Decimal(1)))
    assert timer(list(commands), "claim")


def test_a_foreign_resting_order_is_alarmed_of() -> None:
    d = Driver()
    foreign = OrderUpdated(
        client_oid="web-7", order_id="7", symbol=S, side="buy", status="live", qty=Decimal(1), filled_qty=Decimal(0)
    )
    assert only(d.send(view(orders=(foreign,))), Alert).message == "resting order web-7"
    assert of(d.send(view(orders=(foreign,))), Alert) == []


def test_a_flash_close_with_nothing_to_close_is_over() -> None:
    d = Driver()
    d.enter()
    flash = ClosePosition(client_oid="tb0-1-99-f", symbol=S, reason="test")
    d.engine.emit(flash)
    d.send(outcome(flash, "accepted", "close_position"))
    assert d.engine.state.orders.open() == []


def test_a_stop_that_somebody_moved_away_is_alarmed_of() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    near = d.send(stop_update(d, placed))
    assert of(near, Alert) == []
    moved = msgspec.structs.replace(stop_update(d, placed), trigger_price=Decimal(50))
    assert only(d.send(moved), Alert).code == "stop_moved"


def test_a_stop_that_was_never_confirmed_is_placed_again_after_a_restart() -> None:
    d = Driver()
    d.enter()
    restored = Driver(state=d.engine.state.snapshot())
    position = PositionState(symbol=S, qty=held(d), entry_price=Decimal("100.01"))
    assert only(restored.send(view(position, asked_ms=0)), PlaceStop)


def test_an_exit_that_a_stop_anticipated_is_no_alert() -> None:
    d = Driver(params=TURNING)
    d.enter()
    exits = only(d.forecast(-20.0), PlaceOrder)
    assert of(d.send(outcome(exits, "rejected", "place", code="22002")), Alert) == []


# --- adopting ---------------------------------------------------------------------------------------------------------


def reported(qty: str) -> PositionsReported:
    return PositionsReported(positions=(PositionState(symbol=S, qty=Decimal(qty), entry_price=Decimal(100)),))


@pytest.mark.parametrize("restart", [False, True])
def test_our_own_execution_that_comes_after_its_position_was_adopted_counts_once(restart: bool) -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    d.now_ms += 1_000
    d.send(reported(str(order.qty)))
    acted(d, "adopt", S)
    assert held(d) == order.qty
    late = msgspec.structs.replace(fill("t1", order.client_oid, "buy", order.qty), ts_exchange_ms=d.now_ms - 500)
    later_ms = d.now_ms + 1_000
    if restart:
        d = Driver(state=d.engine.state.snapshot())
    d.now_ms = later_ms
    d.send(late)
    assert held(d) == order.qty
    assert d.engine.state.orders.get(order.client_oid).status == "filled"  # type: ignore[union-attr]
    assert d.engine.state.orders.unexecuted() == []
    d.send(msgspec.structs.replace(fill("t2", order.client_oid, "sell", Decimal(1)), ts_exchange_ms=d.now_ms))
    assert held(d) == order.qty - 1


def test_an_execution_after_the_view_that_was_adopted_was_asked_for_is_not_in_it() -> None:
    d = Driver()
    d.enter()
    asked_ms = d.now_ms
    d.now_ms += 3_000
    adopted = held(d) + 1
    d.send(view(PositionState(symbol=S, qty=adopted, entry_price=Decimal(100)), asked_ms=asked_ms))
    acted(d, "adopt", S)
    between = fill("t5", d.engine.oid("x"), "sell", Decimal(1))
    d.send(msgspec.structs.replace(between, ts_exchange_ms=asked_ms + 500))
    assert held(d) == adopted - 1


def test_an_execution_of_an_order_made_after_the_adoption_counts_whatever_its_time() -> None:
    d = Driver()
    d.now_ms += 10_000
    d.send(reported("1"))
    acted(d, "adopt", S)
    assert held(d) == 1
    d.now_ms += 1_000
    exit_ = only(acted(d, "close", S), PlaceOrder)
    d.send(msgspec.structs.replace(fill("t1", exit_.client_oid, "sell", Decimal(1)), ts_exchange_ms=d.now_ms - 5_000))
    assert held(d) == 0


def test_adopting_where_nothing_is_disputed_changes_nothing() -> None:
    d = Driver()
    d.enter()
    before = held(d)
    d.send(reported(str(before)))
    acted(d, "adopt", S)
    assert d.engine.state.adopted_ms == {}
    assert held(d) == before


def test_a_foreign_execution_told_again_before_anybody_settled_it_changes_nothing() -> None:
    d = Driver()
    d.enter()
    before = held(d)
    foreign = fill("f1", "web-1", "buy", Decimal(1))
    assert only(d.send(foreign), Alert).code == "foreign"
    d.send(fill("t8", d.engine.oid("x"), "buy", Decimal(1)))
    reducing = msgspec.structs.replace(foreign, side="sell")  # now it looks like an execution of our own stop
    assert of(d.send(reducing), Alert) == []
    assert held(d) == before + 1


def test_presets_stay_while_the_position_s_own_stop_is_not_confirmed() -> None:
    d = Driver()
    order = only(d.forecast(20.0), PlaceOrder)
    placed = only(d.fill(order, "100.01"), PlaceStop)
    preset = StopUpdated(
        order_id="70", client_oid="x", symbol=S, plan="sl", trigger_price=Decimal("98.01"), status="live"
    )
    here = PositionState(symbol=S, qty=order.qty, entry_price=Decimal("100.01"))
    assert of(d.send(view(here, stops=(preset,), asked_ms=d.now_ms)), CancelStop) == []
    commands = d.send(view(here, stops=(preset, stop_update(d, placed)), asked_ms=d.now_ms))
    assert only(commands, CancelStop).order_id == "70"


# --- what is known after a crash --------------------------------------------------------------------------------------


def test_only_a_look_at_the_account_proves_that_everything_before_it_is_known() -> None:
    d = Driver()
    d.enter()
    d.send(AccountHeard(up=True))
    d.send(view(PositionState(symbol=S, qty=held(d), entry_price=Decimal("100.01")), asked_ms=d.now_ms))
    asked_ms = d.now_ms
    d.now_ms += 60_000
    d.send(reported(str(held(d))))
    assert d.engine.state.known_ms == asked_ms  # bills never come by the stream
    d.send(AccountHeard(up=False))
    d.now_ms += 60_000
    d.send(view(asked_ms=d.now_ms - 500))
    d.now_ms += 3_600_000
    acted(d, "halt")
    assert d.engine.state.known_ms == asked_ms + 119_500  # and a deaf bot hears nothing after its look


def test_runs_that_died_before_they_looked_at_the_account_leave_what_is_known_where_it_was() -> None:
    d = Driver()
    d.send(view(asked_ms=d.now_ms))
    heard_ms = d.now_ms
    story: list[tuple[int, Any]] = [(heard_ms, view(asked_ms=heard_ms))]
    booted = Booted(epoch=2, config=d.engine.config, settings_hash="s", engine_hash="e", strategy_hash="x")
    for run in (1, 2):
        left = recover(story, cooldown_ms=0)
        later_ms = heard_ms + run * 600_000
        story += [(later_ms, booted), (later_ms, Restored(state=left.snapshot())), (later_ms, reported("0"))]
    assert recover(story, cooldown_ms=0).known_ms == heard_ms
    assert recover([story[0], (later_ms, booted)], cooldown_ms=0).known_ms == heard_ms
    assert recover([*story, (later_ms, view(asked_ms=later_ms))], cooldown_ms=0).known_ms == later_ms
