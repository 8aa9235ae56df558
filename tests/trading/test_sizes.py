"""Sizes and prices of what is sent: on the lot and the tick, no smaller than the exchange takes, never more than risk
allows; and what is too small for an order is closed all the same, or told."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.matching.parts import T, market
from tests.trading.driver import MONDAY, SOL, Driver, decision, of, only
from tradebot.events import (
    ClosePosition,
    CommandOutcome,
    DurableState,
    EngineConfig,
    Filled,
    InstrumentUpdated,
    OperatorActed,
    PlaceOrder,
    PositionState,
    RiskLimits,
    TradeBooked,
)
from tradebot.execution.paper_events import event as as_event
from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching.orders import OrderRefused, Presets
from tradebot.matching.state import VenueState
from tradebot.matching.venue import Venue
from tradebot.trading.exposure import exposure_of
from tradebot.trading.protection import Protection
from tradebot.trading.risk import Exposure, assess_entry

D = Decimal


def free(price: Decimal, side: Side) -> Exposure:
    """An entry that nothing but its size stands in the way of."""
    return Exposure(
        now_ms=T, side=side, price=price, mark=price, spread_bp=1.0, depth_notional=D(10) ** 12, equity=D(10_000),
        available=D(10_000), gross_notional=ZERO, symbol_notional=ZERO, correlated_net=ZERO, correlated=(),
        entries_last_minute=0, entries_last_hour=0, open_orders=0, daily_loss=ZERO, drawdown=ZERO, losses_in_a_row=0,
        model_loss=ZERO, funding_rate=0.0, next_funding_ms=0, listed=True, tradability="active", paused=False,
        foreign="", feed_ok=True, feed_reason="", book_age_ms=0, candle_age_ms=0, clock_offset_ms=0,
        private_stream="up", account_age_ms=0, position_mode="one_way_mode", margin_mode="isolated", leverage=2,
        opposite=False, cooldown_until_ms=0, entry_working=False, provisional=False,
    )  # fmt: skip


@st.composite
def contracts(draw: st.DrawFn) -> Instrument:
    """Contracts with steps that are no powers of ten, too, and smallest sizes above their lot."""
    lot = D(draw(st.sampled_from(["0.001", "0.1", "0.7", "1", "10"])))
    smallest = lot * draw(st.integers(1, 5))
    return Instrument(
        symbol="SOLUSDT", tick=D(draw(st.sampled_from(["0.01", "0.3", "0.5"]))), lot=lot, min_qty=smallest,
        min_notional=D(draw(st.integers(1, 400))),
        max_market_qty=draw(st.none() | st.integers(2, 40).map(lambda n: smallest * n)),
    )  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(
    contracts(),
    st.integers(100, 4_000),
    st.sampled_from(["buy", "sell"]),
    st.floats(0.001, 1.0),
    st.integers(1, 3_000),
    st.integers(1, 3_000),
    st.integers(0, 3_000),
)
def test_what_risk_lets_through_is_within_every_limit_and_is_taken_by_the_exchange(
    instrument: Instrument, ticks: int, side: Side, size: float, wanted: int, most: int, held: int
) -> None:
    price = instrument.tick * ticks
    limits = RiskLimits(max_position_notional=D(most), max_gross_notional=D(most + held))
    config = EngineConfig(
        mode="demo", symbols=("SOLUSDT",), strategy="", order_notional=D(wanted), risk=limits, leverage=2
    )
    exposure = free(price, side)
    assessed = assess_entry(config, instrument, size, exposure)
    if assessed.verdict == "block":
        assert assessed.qty == 0
        return
    qty = assessed.qty
    assert qty % instrument.lot == 0
    assert qty >= instrument.min_qty
    assert qty * price >= instrument.min_notional
    assert qty * price <= min(D(repr(size)) * wanted, D(most))  # rounding took away, never added
    stop = stop_of(config, instrument, price, side)
    assert stop % instrument.tick == 0
    assert (stop < price) == (side == "buy")
    venue = Venue([instrument], D(10) ** 6, leverage=2, margin_mode="isolated")
    venue.set_book("SOLUSDT", ((ticks - (side == "buy"), 10**7),), ((ticks + (side == "sell"), 10**7),), T)
    venue.set_mark("SOLUSDT", price, T)
    presets = Presets(stop_loss=stop)
    order = venue.place(market(side, str(qty), presets=presets), T)
    assert order.status in ("live", "filled")


@cache
def driver() -> Driver:
    return Driver(bars=1)


def stop_of(config: EngineConfig, instrument: Instrument, price: Decimal, side: Side) -> Decimal:
    driver().engine.config = config
    return Protection(driver().engine).stop_price(instrument, price, side)


IN_FIVES = Instrument(symbol="SOLUSDT", tick=D("0.01"), lot=D(1), min_qty=D(5), min_notional=D(1), max_market_qty=D(10))
"""Thirteen of it are no ten and three: three are too small for an order."""


@settings(max_examples=150, deadline=None)
@given(contracts(), st.integers(1, 300), st.sampled_from([1, -1]))
@example(IN_FIVES, 13, 1)
def test_orders_that_close_a_position_are_of_sizes_that_the_exchange_takes_and_close_it_all(
    instrument: Instrument, lots: int, sign: int
) -> None:
    one = Driver(bars=1, state=holding(sign * lots * instrument.lot))
    one.send(InstrumentUpdated(instrument=instrument))
    sent = one.send(OperatorActed(action="close", actor="ann", symbol="SOLUSDT"))
    size = lots * instrument.lot
    if of(sent, ClosePosition):
        assert not instrument.orderable(size, D(100))
        assert of(sent, PlaceOrder) == []
        return
    orders = of(sent, PlaceOrder)
    most = instrument.max_market_qty or size
    assert sum(order.qty for order in orders) == size
    assert all(instrument.min_qty <= order.qty <= most and not order.qty % instrument.lot for order in orders)
    assert len(orders) <= -(-size // most) + 1


def holding(qty: Decimal) -> DurableState:
    return DurableState(positions=(PositionState(symbol="SOLUSDT", qty=qty, entry_price=D(100), opened_ms=MONDAY),))


def venue_with(qty: str) -> Venue:
    """A venue that holds ``qty`` SOL, bought when lots were finer than they are now."""
    fine = msgspec.structs.replace(SOL, lot=D("0.01"), min_qty=D("0.01"), min_notional=D("0.01"))
    before, now = Venue([fine], D(10_000)), Venue([SOL], ZERO)
    before.set_book("SOLUSDT", ((9_999, 10**6),), ((10_001, 10**6),), T)
    before.place(market("buy", qty), T)
    now.load(msgspec.json.decode(msgspec.json.encode(before.dump()), type=VenueState))
    now.set_book("SOLUSDT", ((9_999, 10**6),), ((10_001, 10**6),), T)
    return now


def executions(venue: Venue) -> list[Filled]:
    return [event for event in map(as_event, venue.drain()) if isinstance(event, Filled)]


@pytest.mark.parametrize("qty", ["0.04", "0.09", "0.15", "4.95"])
def test_what_no_order_can_close_is_closed_by_the_flash_close_and_nothing_is_left(qty: str) -> None:
    venue = venue_with(qty)
    executions(venue)
    with pytest.raises(OrderRefused):
        venue.place(market("sell", qty, reduce_only=True), T + 1)
    one = Driver(bars=1, state=holding(D(qty)))
    assert one.engine.is_dust("SOLUSDT")
    close = only(one.send(OperatorActed(action="close", actor="ann", symbol="SOLUSDT")), ClosePosition)
    order = venue.close_position("SOLUSDT", T + 2)  # the exchange gives it an id of its own
    accepted = CommandOutcome(
        client_oid=close.client_oid, symbol="SOLUSDT", command="close_position", outcome="accepted",
        order_id=order.order_id,
    )  # fmt: skip
    one.send(accepted)
    commands = [command for execution in executions(venue) for command in one.send(execution)]
    assert venue.account.signed_qty("SOLUSDT") == 0
    assert one.engine.state.portfolio.position("SOLUSDT").qty == 0
    assert not one.engine.is_dust("SOLUSDT")
    assert of(commands, TradeBooked)[-1].trade.end == "operator"


@pytest.mark.parametrize("answered", [True, False])
def test_dust_that_the_strategy_leaves_belongs_to_its_decision(answered: bool) -> None:
    one = Driver()
    entry = only(one.forecast(20.0), PlaceOrder)
    one.fill(entry, "100.01")
    one.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, lot=D(10), min_qty=D(10))))
    one.forecast(0.0)
    commands = one.forecast(0.0)
    close = only(commands, ClosePosition)
    assert close.decision_id == decision(commands).decision_id
    outcome = CommandOutcome(
        client_oid=close.client_oid, symbol="SOLUSDT", command="close_position", outcome="accepted", order_id="901"
    )
    if answered:  # the answer may come after the execution
        one.send(outcome)
    executed = Filled(
        trade_id="x1", order_id="901", client_oid="exchange-made", symbol="SOLUSDT", side="sell", price=D(100),
        qty=entry.qty, fee=ZERO, realised=ZERO, maker=False, ts_exchange_ms=one.now_ms,
    )  # fmt: skip
    trade = of(one.send(executed), TradeBooked)[-1].trade
    assert trade.end == "exit"
    assert trade.exit_decision == (close.decision_id if answered else "")


def test_dust_that_cannot_be_closed_stays_exposure() -> None:
    one = Driver(state=holding(D("0.04")))
    close = only(one.send(OperatorActed(action="close", actor="ann", symbol="SOLUSDT")), ClosePosition)
    refused = CommandOutcome(
        client_oid=close.client_oid, symbol="SOLUSDT", command="close_position", outcome="rejected", code="45110",
        message="too small",
    )  # fmt: skip
    one.send(refused)
    assert one.engine.is_dust("SOLUSDT")
    exposure = exposure_of(one.engine, one.engine.symbols["SOLUSDT"], D(100), "buy", provisional=False)
    assert exposure.symbol_notional == exposure.gross_notional == D("0.04") * 100
