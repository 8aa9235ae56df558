"""Limits that are watched all the time: what trips them, what follows, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from tests.trading.driver import MONDAY, SOL, Driver, decision, of, only
from tests.trading.test_engine import blocked_by
from tests.trading.test_risk import B, S, Turning, filled, ticker
from tradebot.events import (
    AccountUpdated,
    Alert,
    CancelOrder,
    Command,
    Event,
    InstrumentUpdated,
    OperatorActed,
    PlaceOrder,
    PositionsReported,
    PositionState,
    Reconciled,
    RequestReconcile,
    RiskLimits,
    SetTimer,
    TimerFired,
    TradabilityChanged,
    Transferred,
)
from tradebot.events.state import DurableState, TrackState
from tradebot.market.candle import DAY_MS
from tradebot.trading.permission import Permission
from tradebot.trading.state import recover

START = Decimal(10_000)


def settled(d: Driver, *positions: PositionState) -> list[Command]:
    """The whole view: from now on the balance must be what executions, funding and transfers add up to."""
    return list(d.send(Reconciled(positions=positions, open_orders=(), stops=(), asked_ms=d.now_ms)))


def account(d: Driver, equity: str, balance: str | None = None) -> list[Command]:
    total = Decimal(equity)
    return list(d.send(AccountUpdated(equity=total, available=total, balance=Decimal(balance or equity))))


def lose(d: Driver, amount: str, trade: str = "t") -> list[Command]:
    """Buy and sell so that ``amount`` is lost, and hear what the balance is then."""
    d.send(filled(f"{trade}1", "buy", "100", "100"))
    d.send(filled(f"{trade}2", "sell", "100", str(100 - Decimal(amount) / 100)))
    left = str((d.engine.state.balance or START) - Decimal(amount))
    return account(d, left)


def state_of(d: Driver) -> tuple[str, str]:
    return d.engine.state.tradability, d.engine.state.permission.cause


def tripped(commands: Sequence[Command]) -> TradabilityChanged:
    change = only(commands, TradabilityChanged)
    assert only(commands, Alert).severity == "critical"
    assert only(commands, Alert).message == change.reason
    return change


# --- the day --------------------------------------------------------------------------------------------------------


def test_a_day_s_loss_stops_entries_until_the_next_day_by_itself() -> None:
    d = Driver()
    settled(d)
    assert of(lose(d, "299.99"), TradabilityChanged) == []
    change = tripped(lose(d, "0.01", "u"))
    assert (change.state, change.cause) == ("reducing", "daily_loss")
    d.now_ms += DAY_MS // 2
    assert of(account(d, "9900"), TradabilityChanged) == []  # part of it came back: the day is over all the same
    d.now_ms += DAY_MS // 2
    assert only(account(d, "9700"), TradabilityChanged).state == "active"
    assert state_of(d) == ("active", "")


def test_what_a_person_stopped_is_not_lifted_by_midnight() -> None:
    d = Driver()
    settled(d)
    d.send(OperatorActed(action="pause", actor="cli"))
    lose(d, "400")
    assert state_of(d) == ("reducing", "")
    d.now_ms += DAY_MS
    account(d, "9600")
    assert state_of(d) == ("reducing", "")


def test_a_person_s_pause_takes_the_place_of_a_day_s_loss() -> None:
    d = Driver()
    settled(d)
    lose(d, "400")
    d.send(OperatorActed(action="pause", actor="cli"))
    d.now_ms += DAY_MS
    account(d, "9600")
    assert state_of(d) == ("reducing", "")


def test_resuming_on_a_lost_day_stops_again_at_the_next_look() -> None:
    d = Driver()
    settled(d)
    lose(d, "400")
    d.send(OperatorActed(action="resume", actor="cli"))
    assert state_of(d) == ("active", "")
    assert tripped(account(d, "9600")).cause == "daily_loss"


def test_a_withdrawal_is_no_loss() -> None:
    d = Driver()
    settled(d)
    commands = account(d, "9000")
    assert of(commands, TradabilityChanged) == []
    assert only(commands, RequestReconcile).reason.startswith("a loss that")
    assert of(account(d, "9000"), RequestReconcile) == []  # asked once
    d.send(Transferred(bill_id="w", amount=Decimal(-1_000), ts_exchange_ms=d.now_ms))
    assert of(account(d, "9000"), TradabilityChanged) == []
    assert d.engine.breakers.daily_loss() == 0


@pytest.mark.parametrize("moved", ["-3000", "3000"])
def test_what_was_moved_before_the_day_was_first_seen_is_in_what_it_began_with(moved: str) -> None:
    """A bot that was away over midnight hears of the account first and of the night's transfers after it."""
    d = Driver()
    midnight = d.now_ms + DAY_MS
    d.now_ms = midnight + 3_600_000
    account(d, "10000")
    d.send(Transferred(bill_id="n", amount=Decimal(moved), ts_exchange_ms=midnight + 60_000))
    assert d.engine.state.day_start_equity == 10_000


@pytest.mark.parametrize(("qty", "profit"), [("50", "1000"), ("150", "3000")])
def test_a_restart_takes_no_open_profit_for_lost(qty: str, profit: str) -> None:
    """The account is heard before any market is: what is held has no mark yet."""
    held = PositionState(symbol=S, qty=Decimal(qty), entry_price=Decimal(80), opened_ms=MONDAY - 1)
    before = DurableState(
        positions=(held,), day_start_ms=MONDAY, day_start_equity=10_000 + Decimal(profit), unexplained=Decimal(10_000),
        track=TrackState(peak_profit=Decimal(profit)),
    )  # fmt: skip
    d = Started(before, equity=10_000 + Decimal(profit))
    assert [c for _, _, c in d.journal if isinstance(c, TradabilityChanged)] == []
    assert d.engine.breakers.daily_loss() == d.engine.breakers.drawdown() == 0


class Started(Driver):
    """A later run on ``before``; the account tells ``equity``."""

    def __init__(self, before: DurableState, equity: Decimal) -> None:
        self.told = equity
        super().__init__(bars=1, state=before)

    def send(self, event: Event) -> Sequence[Command]:
        if isinstance(event, AccountUpdated):
            event = msgspec.structs.replace(event, equity=self.told)
        return super().send(event)


def test_a_mark_that_falls_trips_while_something_is_held() -> None:
    d = Driver()
    settled(d)
    d.send(filled("a", "buy", "30", "100"))
    assert of(ticker(d, mark=90.1), TradabilityChanged) == []
    assert of(ticker(d, mark=90.0), TradabilityChanged) == []  # looked at within the same second
    d.now_ms += 1_000
    assert tripped(ticker(d, mark=90.0)).cause == "daily_loss"
    d.now_ms += 1_000
    assert of(ticker(d, mark=85.0), TradabilityChanged) == []  # said once


def test_a_trip_cancels_working_entries_and_keeps_positions() -> None:
    d = Driver()
    settled(d)
    entry = only(d.forecast(20.0), PlaceOrder)
    commands = lose(d, "500")
    assert only(commands, CancelOrder).client_oid == entry.client_oid
    assert of(commands, PlaceOrder) == []


@pytest.mark.parametrize("wanted", [True, False])
def test_the_position_that_loses_most_is_closed_if_asked_for(wanted: bool) -> None:
    held = tuple(PositionState(symbol=n, qty=Decimal(q), entry_price=Decimal(100)) for n, q in ((S, 10), (B, -10)))
    d = Driver(symbols=(S, B), state=DurableState(positions=held), limits=RiskLimits(close_worst=wanted))
    settled(d, *held)
    ticker(d, mark=95.0)
    d.now_ms += 1_000
    top = d.engine.symbols[S].top
    assert top is not None
    d.send(msgspec.structs.replace(top, symbol=B))
    commands = ticker(d, mark=130.0, symbol=B)
    assert tripped(commands).close == ((B,) if wanted else ())
    assert [(o.symbol, o.side, o.reduce_only) for o in of(commands, PlaceOrder)] == (
        [(B, "buy", True)] if wanted else []
    )


# --- peak and streak ------------------------------------------------------------------------------------------------


def test_a_fall_below_the_peak_halts_until_a_person_resumes_and_measures_anew() -> None:
    d = Driver(limits=RiskLimits(max_daily_loss=Decimal("0.99"), max_drawdown=Decimal("0.1")))
    settled(d)
    d.send(filled("a", "buy", "100", "100"))
    d.send(filled("b", "sell", "100", "110"))
    account(d, "11000")
    assert d.engine.state.track.peak_profit == 1_000
    assert of(lose(d, "1000"), TradabilityChanged) == []
    assert d.engine.breakers.drawdown() == Decimal(1_000) / 11_000
    change = tripped(lose(d, "100", "u"))
    assert (change.state, change.cause) == ("halted", "drawdown")
    d.now_ms += DAY_MS
    assert of(account(d, "9900"), TradabilityChanged) == []
    d.send(OperatorActed(action="resume", actor="cli"))
    assert state_of(d) == ("active", "")
    assert of(account(d, "9900"), TradabilityChanged) == []
    assert d.engine.state.track.peak_profit == -100


def test_a_person_s_halt_on_top_of_a_drawdown_is_resumed_with_it() -> None:
    d = Driver(limits=RiskLimits(max_daily_loss=Decimal("0.99"), max_drawdown=Decimal("0.1")))
    settled(d)
    account(d, "10000")
    lose(d, "1000")
    assert state_of(d) == ("halted", "drawdown")
    d.send(OperatorActed(action="halt", actor="cli", reason="me too"))
    assert (*state_of(d), d.engine.state.halt_reason) == ("halted", "drawdown", "cli: me too")
    d.send(OperatorActed(action="resume", actor="cli"))
    assert of(account(d, "9000"), TradabilityChanged) == []


def test_open_profit_makes_a_peak_and_a_deposit_does_not() -> None:
    d = Driver()
    settled(d)
    d.send(filled("a", "buy", "10", "100"))
    account(d, "10300", "10000")
    assert d.engine.state.track.peak_profit == 300
    account(d, "15300", "15000")  # money came that nothing explains yet
    assert d.engine.state.track.peak_profit == 300
    d.send(Transferred(bill_id="d", amount=Decimal(5_000), ts_exchange_ms=d.now_ms))
    account(d, "15300", "15000")
    assert d.engine.state.track.peak_profit == 300


def test_a_report_from_before_an_execution_makes_no_peak() -> None:
    d = Driver()
    settled(d)
    d.send(filled("a", "buy", "10", "100"))
    d.send(filled("b", "sell", "10", "130"))
    account(d, "10300", "10000")  # the profit is still open in it
    assert d.engine.state.track.peak_profit in (None, 0)
    account(d, "10300")
    assert d.engine.state.track.peak_profit == 300


def test_what_is_not_ours_makes_no_peak() -> None:
    d = Driver()
    settled(d)
    d.send(OperatorActed(action="ignore", actor="cli", symbol=B))
    account(d, "10500", "10000")
    assert d.engine.state.track.peak_profit is None


def test_a_limit_that_lifts_by_itself_never_takes_a_person_s_place() -> None:
    permission = Permission("reducing", "cli: night", "", 1)
    permission.restrict(2, "reducing", "3 % lost", "daily_loss")
    permission.lift("daily_loss")
    assert (permission.state, permission.reason, permission.since_ms) == ("reducing", "cli: night", 1)
    permission.restrict(3, "halted", "20 % lost", "drawdown")
    permission.lift("daily_loss")
    assert permission.state == "halted"


def test_too_many_losses_in_a_row_stop_entries_until_a_person_resumes() -> None:
    d = Driver(limits=RiskLimits(max_losses_in_a_row=2, cooldown_ms=0))
    settled(d)
    lose(d, "1", "a")
    d.send(filled("b1", "buy", "1", "100"))
    change = tripped(d.send(filled("b2", "sell", "1", "99")))
    assert (change.state, change.cause) == ("reducing", "losses_in_a_row")
    d.now_ms += DAY_MS
    account(d, "9998")
    assert state_of(d) == ("reducing", "losses_in_a_row")
    d.send(OperatorActed(action="resume", actor="cli"))
    account(d, "9998")
    assert state_of(d) == ("active", "")
    assert d.engine.state.track.losses == 0


# --- liquidation ----------------------------------------------------------------------------------------------------


def test_a_position_near_liquidation_is_closed_and_its_symbol_paused() -> None:
    d = Driver(limits=RiskLimits(max_daily_loss=Decimal("0.99")))
    d.send(filled("a", "buy", "10", "100"))
    settled(d, PositionState(symbol=S, qty=Decimal(10), entry_price=Decimal(100), liquidation_price=Decimal(80)))
    assert of(ticker(d, mark=82.5), TradabilityChanged) == []
    d.now_ms += 1_000
    commands = ticker(d, mark=82.4)
    change = tripped(commands)
    assert (change.symbol, change.cause, change.close) == (S, "liquidation_distance", (S,))
    assert (only(commands, PlaceOrder).purpose, only(commands, PlaceOrder).reduce_only) == ("close", True)
    assert state_of(d) == ("active", "")  # the others go on
    assert d.engine.state.paused == {S}
    d.now_ms += 1_000
    assert of(ticker(d, mark=82.3), TradabilityChanged) == []


@pytest.mark.parametrize(("side", "near"), [("buy", 52.0), ("sell", 145.2)])
def test_where_the_exchange_tells_no_price_liquidation_is_computed(side: str, near: float) -> None:
    d = Driver(limits=RiskLimits(max_daily_loss=Decimal("0.99"), max_drawdown=Decimal("0.99")))
    d.send(filled("a", side, "10", "100"))  # 2x: about 49.5 % away
    far = 52.2 if side == "buy" else 145.0
    assert of(ticker(d, mark=far), TradabilityChanged) == []
    d.now_ms += 1_000
    assert tripped(ticker(d, mark=near)).cause == "liquidation_distance"


def test_a_liquidation_price_of_another_size_is_not_believed() -> None:
    d = Driver()
    d.send(filled("a", "buy", "10", "100"))
    other = PositionState(symbol=S, qty=Decimal(20), entry_price=Decimal(100), liquidation_price=Decimal(99))
    d.send(PositionsReported(positions=(other,)))
    assert of(ticker(d, mark=100.0), TradabilityChanged) == []


# --- contracts that end ---------------------------------------------------------------------------------------------


def test_what_is_held_in_a_contract_that_ends_is_closed_before() -> None:
    d = Driver()
    d.enter()
    ends = d.now_ms + 2 * DAY_MS
    commands = d.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, off_time_ms=ends)))
    timer = next(t for t in of(commands, SetTimer) if t.name == f"delisting:{S}")
    assert timer.due_ms == ends - 21_600_000
    d.now_ms = timer.due_ms
    commands = list(d.send(TimerFired(name=timer.name, due_ms=timer.due_ms)))
    assert tripped(commands).cause == "delisting"
    assert only(commands, PlaceOrder).reduce_only


def test_an_end_that_was_put_off_closes_nothing() -> None:
    d = Driver()
    d.enter()
    d.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, off_time_ms=d.now_ms + DAY_MS)))
    d.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, off_time_ms=d.now_ms + 9 * DAY_MS)))
    d.now_ms += DAY_MS
    assert of(d.send(TimerFired(name=f"delisting:{S}", due_ms=d.now_ms)), PlaceOrder) == []
    d.send(InstrumentUpdated(instrument=SOL))
    assert of(d.send(TimerFired(name=f"delisting:{S}", due_ms=d.now_ms)), PlaceOrder) == []


# --- surviving ------------------------------------------------------------------------------------------------------


def test_a_restriction_and_what_it_is_measured_by_survive_a_crash() -> None:
    d = Driver(Turning, params={}, limits=RiskLimits(max_losses_in_a_row=1))
    settled(d)
    d.enter(price="100.00")
    d.fill(only(d.forecast(-20.0), PlaceOrder), "99.00")
    account(d, "9994", "9994")
    folded = recover(((ts, r) for ts, _, r in d.journal), cooldown_ms=RiskLimits().cooldown_ms)
    assert folded.snapshot() == d.engine.state.snapshot()
    assert (folded.tradability, folded.permission.cause, folded.track.losses) == ("reducing", "losses_in_a_row", 1)
    again = Driver(Turning, params={}, state=folded.snapshot())
    assert "tradability" in blocked_by(decision(again.forecast(20.0)))
    again.send(OperatorActed(action="resume", actor="cli"))
    assert again.engine.state.track.snapshot() == msgspec.structs.replace(folded.track.snapshot(), losses=0)


def test_the_word_of_older_journals_for_reducing_is_read() -> None:
    older = msgspec.json.decode(b'{"tradability": "paused", "halt_reason": "cli"}', type=DurableState)
    d = Driver(state=older)
    assert state_of(d) == ("reducing", "")
    assert older.track == TrackState()
    d.send(OperatorActed(action="resume", actor="cli"))
    d.engine.state.apply(d.now_ms, TradabilityChanged(state="paused", reason="strategy failed"))
    assert state_of(d) == ("reducing", "")


def test_a_halt_is_weakened_by_nothing_but_a_person() -> None:
    d = Driver()
    settled(d)
    d.send(OperatorActed(action="halt", actor="cli", reason="night"))
    lose(d, "500")
    d.send(OperatorActed(action="pause", actor="cli"))
    d.now_ms += DAY_MS
    account(d, "9500")
    assert (d.engine.state.tradability, d.engine.state.halt_reason) == ("halted", "cli: night")
