"""What each trade earned, whose it was and how it ended; and that nothing is lost between trades and the account."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matching.parts import T as VENUE_T
from tests.matching.test_properties import OPERATIONS, apply, new_venue
from tests.trading.driver import Driver, decision, of, only
from tradebot.events import (
    Command,
    CommandOutcome,
    DurableState,
    Filled,
    FundingPaid,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    Record,
    StopUpdated,
    TickerUpdated,
    TradeBooked,
    TradeState,
)
from tradebot.execution.paper_events import event as as_event
from tradebot.market.instrument import ZERO, Side
from tradebot.matching.reports import PositionClosed
from tradebot.trading.portfolio import Portfolio
from tradebot.trading.state import recover
from tradebot.trading.trades import HOUR_MS, TradeBook, TradeTally

D = Decimal
REFUSED = CommandOutcome(
    client_oid="", symbol="SOLUSDT", command="place_stop", outcome="rejected", code="40762", message="no"
)


def trade_of(commands: Sequence[Command]) -> TradeState:
    return of(commands, TradeBooked)[-1].trade


def exit_of(driver: Driver) -> tuple[PlaceOrder, str]:
    """Have the strategy leave: its order and decision."""
    driver.forecast(0.0)
    commands = driver.forecast(0.0)  # the forecast that it entered on has come to its end
    return only(commands, PlaceOrder), decision(commands).decision_id


def test_a_trade_names_its_decisions_model_prices_and_money() -> None:
    driver = Driver()
    commands = driver.forecast(20.0)
    entry = only(commands, PlaceOrder)
    half = entry.qty / 2
    driver.fill(entry, "100", half)
    driver.fill(entry, "102", entry.qty - half)
    paid = FundingPaid(bill_id="b", symbol="SOLUSDT", amount=D("-0.25"), ts_exchange_ms=driver.now_ms)
    booked = only(driver.send(paid), TradeBooked)
    assert (booked.kind, booked.ref, booked.funding) == ("funding", "b", D("-0.25"))
    assert driver.send(paid) == []  # the exchange tells it again
    leave, left_by = exit_of(driver)
    driver.fill(leave, "103", leave.qty / 4)
    trade = trade_of(driver.fill(leave, "104", leave.qty * 3 / 4))

    assert (trade.entry_decision, trade.exit_decision) == (decision(commands).decision_id, left_by)
    assert (trade.strategy, trade.model, trade.version, trade.model_sha256) == (
        "threshold", "lightgbm-5m", "v0001", "ab",
    )  # fmt: skip
    assert (trade.entry_order, trade.exit_order, trade.side, trade.end) == (
        entry.client_oid, leave.client_oid, "long", "exit",
    )  # fmt: skip
    qty = entry.qty
    assert (trade.entered_qty, trade.exited_qty, trade.open_qty, trade.fills) == (qty, qty, ZERO, 4)
    assert (trade.entry_price, trade.exit_price) == (D(101), D("103.75"))
    assert trade.realised == qty * D("2.75")
    assert trade.fees == -(qty * D(101) + qty * D("103.75")) * D("0.0006")
    assert trade.funding == D("-0.25")
    assert trade.net == trade.realised + trade.fees + trade.funding
    assert trade.net_bp == pytest.approx(float(trade.net / (qty * 101)) * 1e4)


@pytest.mark.parametrize(("forecast", "best", "worst"), [(20.0, 200.0, -100.0), (-20.0, 100.0, -200.0)])
def test_a_trade_says_how_far_the_mark_went_its_way_and_the_other(forecast: float, best: float, worst: float) -> None:
    driver = Driver()
    entry = only(driver.forecast(forecast), PlaceOrder)
    for mark in (90.0, 110.0):  # before the trade: not its own
        driver.send(ticker(driver, mark))
    driver.fill(entry, "100")
    for mark in (100.5, 102.0, 99.0, 101.0):
        driver.send(ticker(driver, mark))
    driver.send(OperatorActed(action="close", actor="ann", symbol="SOLUSDT"))
    leave = next(o for o in driver.engine.state.orders if o.purpose == "close")
    commands = driver.send(by_the_exchange(driver, entry, side=leave.side, oid=leave.client_oid))
    trade = trade_of(commands)
    assert trade.end == "operator"
    assert trade.best_bp == pytest.approx(best)
    assert trade.worst_bp == pytest.approx(worst)


def ticker(driver: Driver, mark: float) -> TickerUpdated:
    return TickerUpdated(
        symbol="SOLUSDT", ts_exchange_ms=driver.now_ms, last=mark, mark=mark, index=mark, funding_rate=0.0,
        next_funding_ms=0,
    )  # fmt: skip


def test_an_execution_through_zero_is_booked_on_both_trades_and_its_fee_is_shared_by_size() -> None:
    book = TradeBook()
    book.on_fill(filled(1, "buy", "1", "100", "-0.06"), None, ZERO, ZERO, 5, "unknown")
    book.on_fill(filled(2, "sell", "3", "110", "-0.20"), None, D(1), D(10), 9, "reversal")
    closed, opened = [b for b in book.untold if b.ref == "2"]
    assert (closed.trade.end, closed.realised, closed.fee) == ("reversal", D(10), D("-0.066666666667"))
    assert (opened.trade.side, opened.qty, opened.realised, opened.fee) == ("short", D(2), ZERO, D("-0.133333333333"))
    assert closed.trade.trade_id != opened.trade.trade_id
    assert [t.trade_id for t in book.open_trades()] == [opened.trade.trade_id]


def test_funding_belongs_to_the_trade_that_was_open_at_the_full_hour_however_late_its_bill_comes() -> None:
    hour = 10 * HOUR_MS
    book = TradeBook()
    book.on_funding(bill("early", hour - 100), hour - 100)  # nothing was held
    book.on_fill(filled(1, "buy", "1", "100"), None, ZERO, ZERO, hour - 60_000, "unknown")
    book.on_fill(filled(2, "sell", "1", "101"), None, D(1), D(1), hour + 1_000, "exit")
    book.on_fill(filled(3, "sell", "1", "101"), None, ZERO, ZERO, hour + 2_000, "unknown")
    book.untold.clear()
    book.on_funding(bill("late", hour + 3_000), hour + 3_000)
    (booked,) = book.untold
    assert (booked.trade.side, booked.trade.funding, booked.trade.end) == ("long", D("-0.5"), "exit")
    book.untold.clear()
    book.on_funding(bill("next", hour + HOUR_MS), hour + HOUR_MS)
    assert [b.trade.side for b in book.untold] == ["short"]


def stop_update(status: str, plan: str = "pos_loss", oid: str = "", order_id: str = "77") -> StopUpdated:
    return StopUpdated(
        order_id=order_id, client_oid=oid, symbol="SOLUSDT", plan=plan, trigger_price=D(98), status=status
    )


def by_the_exchange(
    driver: Driver, order: PlaceOrder, order_id: str = "901", side: Side = "sell", oid: str = ""
) -> Filled:
    """An execution that closes everything, of an order that the exchange named."""
    return Filled(
        trade_id=f"x{order_id}", order_id=order_id, client_oid=oid, symbol="SOLUSDT", side=side, price=D(98),
        qty=order.qty, fee=D("-0.1"), realised=ZERO, maker=False, ts_exchange_ms=driver.now_ms,
    )  # fmt: skip


def protected() -> tuple[Driver, PlaceOrder, str]:
    """A long with a confirmed stop: driver, entry, the stop's id."""
    driver = Driver()
    entry = only(driver.forecast(20.0), PlaceOrder)
    stop = only(driver.fill(entry, "100"), PlaceStop)
    driver.send(stop_update("live", oid=stop.client_oid))
    return driver, entry, stop.client_oid


@pytest.mark.parametrize("first", ["report", "execution"])
@pytest.mark.parametrize(("plan", "end"), [("pos_loss", "stop"), ("pos_profit", "take_profit")])
def test_a_trade_that_an_order_on_the_exchange_ended_says_which_whatever_is_told_first(
    first: str, plan: str, end: str
) -> None:
    driver, entry, oid = protected()
    fired = stop_update("executed", plan, oid=oid if plan == "pos_loss" else "")
    told: list[Any] = [fired, by_the_exchange(driver, entry)]
    booked = [trade_of(c) for c in map(driver.send, told if first == "report" else told[::-1]) if of(c, TradeBooked)]
    assert booked[-1].end == end
    assert booked[-1].exit_order == "901"
    assert booked[-1].exit_decision == ""


@pytest.mark.parametrize("first", ["report", "execution"])
def test_a_liquidation_is_told_from_a_stop(first: str) -> None:
    driver, entry, _ = protected()
    forced = OrderUpdated(
        client_oid="", order_id="901", symbol="SOLUSDT", side="sell", status="filled", qty=entry.qty,
        filled_qty=entry.qty, forced=True,
    )  # fmt: skip
    told: list[Any] = [forced, by_the_exchange(driver, entry)]
    booked = [trade_of(c) for c in map(driver.send, told if first == "report" else told[::-1]) if of(c, TradeBooked)]
    assert booked[-1].end == "liquidation"


def test_a_close_that_a_person_asked_for_is_told_from_one_that_the_bot_needed() -> None:
    driver, _, _ = protected()
    order = only(driver.send(OperatorActed(action="close", actor="ann", symbol="SOLUSDT")), PlaceOrder)
    assert trade_of(driver.fill(order, "101")).end == "operator"

    driver = Driver()
    driver.enter()
    stop = only([c for _, _, c in driver.journal if isinstance(c, PlaceStop)], PlaceStop)
    refused = msgspec.structs.replace(REFUSED, client_oid=stop.client_oid)
    assert trade_of(driver.fill(only(driver.send(refused), PlaceOrder), "99")).end == "protection"


def test_what_is_adopted_ends_our_trade_and_begins_one_without_a_decision() -> None:
    driver, entry, _ = protected()
    bigger = PositionState(symbol="SOLUSDT", qty=entry.qty * 2, entry_price=D(101), opened_ms=driver.now_ms)
    driver.send(PositionsReported(positions=(bigger,)))
    ended, begun = (b.trade for b in of(driver.send(adopt()), TradeBooked))
    assert (ended.end, ended.adopted, ended.entry_decision != "") == ("adopted", False, True)
    assert (begun.adopted, begun.entry_decision, begun.strategy) == (True, "", "")
    assert (begun.open_qty, begun.entry_price) == (entry.qty * 2, D(101))
    driver.send(PositionsReported(positions=()))
    (over,) = of(driver.send(adopt()), TradeBooked)
    assert (over.trade.trade_id, over.trade.end) == (begun.trade_id, "adopted")
    assert driver.engine.state.trades.open_trades() == []


@pytest.mark.parametrize("lost", [0, 1])
def test_a_booking_whose_record_was_lost_in_a_crash_is_recorded_by_the_next_run(lost: int) -> None:
    driver, _, _ = protected()
    leave, _ = exit_of(driver)
    commands = driver.fill(leave, "104")
    ended = only(commands, TradeBooked)
    records: list[tuple[int, Record]] = [(ts_ms, record) for ts_ms, _, record in driver.journal]
    kept = records[: len(records) - lost * len(commands)]  # the outputs of the last event were not written
    state = recover(kept, cooldown_ms=0).snapshot()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=DurableState) == state
    again = Driver(state=state)
    told = [record for _, _, record in again.journal if isinstance(record, TradeBooked)]
    # how far the mark had gone is not in the state: the engine watches it
    unwatched = msgspec.structs.replace(ended, trade=msgspec.structs.replace(ended.trade, best_bp=None, worst_bp=None))
    assert told == [unwatched] * lost
    assert again.engine.state.trades.open_trades() == []


# --- any stream of executions ---------------------------------------------------------------------------------------


def filled(number: int, side: str, qty: str, price: str, fee: str = "0", symbol: str = "SOLUSDT") -> Filled:
    return Filled(
        trade_id=str(number), order_id="1", client_oid="", symbol=symbol, side=side, price=D(price),  # type: ignore[arg-type]
        qty=D(qty), fee=D(fee), realised=ZERO, maker=False, ts_exchange_ms=0,
    )  # fmt: skip


def bill(name: str, at_ms: int, amount: str = "-0.5", symbol: str = "SOLUSDT") -> FundingPaid:
    return FundingPaid(bill_id=name, symbol=symbol, amount=D(amount), ts_exchange_ms=at_ms)


def adopt() -> OperatorActed:
    return OperatorActed(action="adopt", actor="ann", symbol="SOLUSDT")


class Books:
    """Portfolio and trades as the trading state keeps them, and everything that was booked."""

    def __init__(self) -> None:
        self.portfolio, self.trades = Portfolio(), TradeBook()
        self.booked: list[TradeBooked] = []

    def fill(self, execution: Filled, at_ms: int) -> None:
        before = self.portfolio.position(execution.symbol).qty
        realised = self.portfolio.apply(execution, at_ms)
        self.trades.on_fill(execution, None, before, realised, at_ms, "unknown")
        self._record()

    def fund(self, settled: FundingPaid) -> None:
        self.portfolio.funding += settled.amount
        self.trades.on_funding(settled, settled.ts_exchange_ms)
        self._record()

    def restart(self) -> None:
        """As through the journal: everything is written and read again."""
        portfolio = self.portfolio
        state = DurableState(positions=portfolio.snapshot(), trades=self.trades.snapshot())
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=DurableState)
        self.portfolio, self.trades = Portfolio(state.positions), TradeBook(state.trades, (), state.positions)
        self.portfolio.realised, self.portfolio.fees, self.portfolio.funding = (
            portfolio.realised, portfolio.fees, portfolio.funding,
        )  # fmt: skip

    def _record(self) -> None:
        while self.trades.untold:
            self.booked.append(self.trades.untold[0])
            self.trades.on_record(self.booked[-1])

    def latest(self) -> list[TradeState]:
        return list({b.trade.trade_id: b.trade for b in self.booked}.values())


STREAM = st.lists(
    st.one_of(
        st.tuples(
            st.just("fill"), st.sampled_from(["SOLUSDT", "BTCUSDT"]), st.sampled_from(["buy", "sell"]),
            st.integers(1, 30), st.integers(7_000, 13_000), st.integers(-9_999, 999),
        ),
        st.tuples(st.just("fund"), st.sampled_from(["SOLUSDT", "BTCUSDT"]), st.integers(-9_999, 9_999)),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(STREAM)
def test_trades_and_what_belongs_to_none_add_up_to_the_account_to_the_last_digit(stream: list[Any]) -> None:
    books = Books()
    loose = ZERO
    for n, (kind, *what) in enumerate(stream):
        at_ms = HOUR_MS + 90_000 * n
        if kind == "fill":
            symbol, side, lots, ticks, fee = what
            books.fill(filled(n, side, f"{lots}e-1", f"{ticks}e-3", f"{fee}e-7", symbol), at_ms)
        elif kind == "fund":
            held = books.portfolio.position(what[0]).qty
            books.fund(bill(str(n), at_ms, f"{what[1]}e-6", what[0]))
            loose += ZERO if held else D(f"{what[1]}e-6")
        else:
            books.restart()
    trades = books.latest()
    for trade in trades:
        sign = 1 if trade.side == "long" else -1
        if trade.closed_ms:
            assert trade.exited_qty == trade.entered_qty
            assert trade.realised == sign * (trade.exited_value - trade.entered_value)
        else:
            assert sign * trade.open_qty == books.portfolio.position(trade.symbol).qty
    assert sum((t.realised for t in trades), ZERO) == books.portfolio.realised
    assert sum((t.fees for t in trades), ZERO) == books.portfolio.fees
    assert sum((t.funding for t in trades), ZERO) + loose == books.portfolio.funding
    assert sum((b.realised + b.fee + b.funding for b in books.booked), ZERO) == sum((t.net for t in trades), ZERO)
    tally = TradeTally()
    for booked in books.booked:
        tally.add(booked)
    ended = [t for t in trades if t.closed_ms]
    assert tally.closed == len(ended)
    entered = sum((t.entered_value for t in ended), ZERO)
    assert tally.net_bp() == (float(sum((t.net for t in ended), ZERO) / entered) * 1e4 if ended else None)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_trades_agree_with_the_exchange_s_own_accounts_to_the_last_digit(operations: list[tuple[str, Any]]) -> None:
    venue, books = new_venue("5000"), Books()
    closed = []
    for n, (kind, what) in enumerate(operations):
        at_ms = VENUE_T - VENUE_T % HOUR_MS + 90_000 * n  # a bill names the moment that it settles
        apply(venue, kind, what, at_ms)
        for seen in venue.drain():
            event = as_event(seen)
            if isinstance(event, Filled):
                books.fill(event, at_ms)
            elif isinstance(event, FundingPaid):
                books.fund(event)
            elif isinstance(seen, PositionClosed):
                closed.append(seen.position)
    book = books.portfolio
    assert book.position("SOLUSDT").qty == venue.account.signed_qty("SOLUSDT")
    assert venue.summary().cash == D(5000) + book.realised + book.fees + book.funding
    assert book.realised == sum((e.realised for e in venue.executions()), ZERO)
    ours = [t for t in books.latest() if t.closed_ms]
    assert [(t.entered_qty, t.realised, t.fees, t.funding) for t in ours] == [
        (p.opened_qty, p.realised, p.fees, p.funding or ZERO) for p in closed
    ]
    assert [(t.entered_value, t.exited_value) for t in ours] == [(p.opened_value, p.closed_value) for p in closed]
