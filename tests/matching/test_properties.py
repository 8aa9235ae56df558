"""What holds for any sequence of requests and market moves."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matching.parts import BTC, SOL, T, flat_book, limit, market, plan
from tradebot.market.instrument import ZERO, Instrument
from tradebot.matching.book import Levels
from tradebot.matching.orders import MarginMode, Order, OrderRefused
from tradebot.matching.reporting import position_report
from tradebot.matching.reports import (
    AccountChanged,
    Executed,
    FundingSettled,
    OrderChanged,
    PositionChanged,
    VenueEvent,
)
from tradebot.matching.state import VenueState
from tradebot.matching.venue import Venue

COARSE: Instrument = msgspec.structs.replace(SOL, tick=D("0.3"), lot=D("0.7"), min_qty=D("0.7"), maker_fee=D("-0.0001"))
SIDE = st.sampled_from(["buy", "sell"])
MID = 500  # ticks of 0.3 = 150 USDT


@st.composite
def books(draw: st.DrawFn) -> tuple[Levels, Levels]:
    mid = draw(st.integers(MID - 6, MID + 6))
    gap = draw(st.integers(0, 2))
    sizes = st.lists(st.integers(1, 15), min_size=2, max_size=5)
    bids = tuple((mid - k, size) for k, size in enumerate(draw(sizes)))
    asks = tuple((mid + gap + k, size) for k, size in enumerate(draw(sizes)))
    return bids, asks


LOTS = st.integers(1, 12)
TICKS = st.integers(MID - 10, MID + 10)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("book"), books()),
        st.tuples(st.just("trade"), st.tuples(TICKS, LOTS, SIDE)),
        st.tuples(st.just("mark"), st.one_of(TICKS, TICKS, st.integers(MID - 60, MID + 60))),
        st.tuples(st.just("market"), st.tuples(SIDE, LOTS, st.booleans())),
        st.tuples(
            st.just("limit"),
            st.tuples(SIDE, LOTS, TICKS, st.booleans(), st.sampled_from(["gtc", "gtc", "ioc", "fok", "post_only"])),
        ),
        st.tuples(st.just("stop"), st.tuples(st.sampled_from(["pos_loss", "pos_profit"]), TICKS)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("close"), st.none()),
        st.tuples(st.just("funding"), st.integers(-30, 30)),
    ),
    min_size=12,
    max_size=50,
)


def apply(venue: Venue, kind: str, what: Any, ts: int) -> None:
    """One operation; refusals are part of the game."""
    symbol, tick, lot = COARSE.symbol, COARSE.tick, COARSE.lot
    try:
        if kind == "book":
            venue.set_book(symbol, *what, ts)
        elif kind == "trade":
            venue.trade(symbol, what[0], what[1], what[2], ts)
        elif kind == "mark":
            venue.set_mark(symbol, what * tick, ts)
        elif kind == "market":
            venue.place(market(what[0], str(what[1] * lot), reduce_only=what[2]), ts)
        elif kind == "limit":
            venue.place(limit(what[0], str(what[1] * lot), str(what[2] * tick), reduce_only=what[3], tif=what[4]), ts)
        elif kind == "stop":
            venue.place_plan(plan(what[0], str(what[1] * tick)), ts)
        elif kind == "cancel":
            mine = venue.open_orders()
            if what < len(mine):
                venue.cancel(ts, order_id=mine[what].order_id)
        elif kind == "close":
            venue.close_position(symbol, ts)
        else:
            venue.settle_funding(symbol, D(what) / 10_000, ts)
    except OrderRefused:
        pass


def new_venue(cash: str = "90") -> Venue:
    venue = Venue([COARSE], D(cash), leverage=40, margin_mode="crossed")
    venue.set_book("SOLUSDT", ((MID - 1, 9), (MID - 2, 9)), ((MID, 9), (MID + 1, 9)), T)
    venue.set_mark("SOLUSDT", MID * COARSE.tick, T)
    return venue


def run(operations: list[tuple[str, Any]]) -> tuple[Venue, list[VenueEvent]]:
    venue = new_venue()
    events: list[VenueEvent] = []
    for n, (kind, what) in enumerate(operations):
        apply(venue, kind, what, T + n)
        events += venue.drain()
    return venue, events


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_cash_is_conserved_to_the_last_digit(operations: list[tuple[str, Any]]) -> None:
    venue, events = run(operations)
    fills = [e.execution for e in events if isinstance(e, Executed)]
    funding = sum((e.amount for e in events if isinstance(e, FundingSettled)), ZERO)
    assert venue.summary().cash == D(90) + sum((f.realised + f.fee for f in fills), ZERO) + funding
    assert venue.summary().cash == D(90) + sum((b.amount + b.fee for b in venue.bills()), ZERO)
    balance = D(90)
    for bill in venue.bills():
        balance += bill.amount + bill.fee
        assert bill.balance == balance


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_what_was_paid_and_got_equals_realised_and_open_value(operations: list[tuple[str, Any]]) -> None:
    venue, events = run(operations)
    fills = [e.execution for e in events if isinstance(e, Executed)]
    flow = sum((f.price * f.qty * (1 if f.side == "sell" else -1) for f in fills), ZERO)
    held = venue.account.held("SOLUSDT")
    open_value = ZERO if held is None else held.cost * (1 if held.qty > 0 else -1)
    assert flow + open_value == sum((f.realised for f in fills), ZERO)
    assert venue.account.signed_qty("SOLUSDT") == sum((f.qty if f.side == "buy" else -f.qty for f in fills), ZERO)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_executions_respect_limits_sizes_and_reduce_only(operations: list[tuple[str, Any]]) -> None:
    _, events = run(operations)
    position = ZERO
    filled: dict[str, D] = {}
    for event in events:
        if not isinstance(event, OrderChanged):
            continue
        order = event.order
        fill = event.execution
        if fill is not None:
            filled[order.order_id] = filled.get(order.order_id, ZERO) + fill.qty
            if order.price is not None:
                assert fill.price <= order.price if order.side == "buy" else fill.price >= order.price
                assert not fill.maker or fill.price == order.price
            after = position + (fill.qty if fill.side == "buy" else -fill.qty)
            if order.reduce_only:
                assert abs(after) < abs(position)
                assert after * position >= 0
            position = after
            assert fill.fee == -fill.price * fill.qty * (COARSE.maker_fee if fill.maker else COARSE.taker_fee)
        assert order.filled_qty == filled.get(order.order_id, ZERO) <= order.qty
        assert (order.status == "filled") == (order.filled_qty == order.qty)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_an_order_never_leaves_a_final_state_and_ids_are_unique(operations: list[tuple[str, Any]]) -> None:
    _, events = run(operations)
    last: dict[str, Order] = {}
    for event in events:
        if isinstance(event, OrderChanged):
            before = last.get(event.order.order_id)
            assert before is None or before.open
            last[event.order.order_id] = event.order
    trades = [e.execution.trade_id for e in events if isinstance(e, Executed)]
    assert trades == sorted(set(trades))


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_published_accounts_add_up_and_resting_reduce_only_fits(operations: list[tuple[str, Any]]) -> None:
    venue = new_venue()
    for n, (kind, what) in enumerate(operations):
        apply(venue, kind, what, T + n)
        for event in venue.drain():
            if isinstance(event, AccountChanged):
                assert event.summary.equity == event.summary.cash + event.summary.unrealised
                assert event.summary.free >= 0
                assert event.summary.locked >= 0
            if isinstance(event, PositionChanged):
                assert all(r.position.qty and r.margin > 0 for r in event.positions)
        qty = venue.account.signed_qty("SOLUSDT")
        for order in venue.open_orders():
            assert (
                not order.reduce_only
                or (order.side == "sell" and qty >= order.remaining)
                or (order.side == "buy" and -qty >= order.remaining)
            )
        bids, asks = venue.depth("SOLUSDT")
        assert not bids or not asks or bids[0][0] <= asks[0][0]


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_the_same_calls_give_the_same_events(operations: list[tuple[str, Any]]) -> None:
    assert run(operations)[1] == run(operations)[1]


@settings(max_examples=100, deadline=None)
@given(OPERATIONS, OPERATIONS)
def test_a_venue_goes_on_from_its_saved_state(first: list[tuple[str, Any]], then: list[tuple[str, Any]]) -> None:
    venue, _ = run(first)
    saved = msgspec.json.decode(msgspec.json.encode(venue.dump()), type=VenueState)
    restored = Venue([COARSE], ZERO)
    restored.load(saved)
    assert restored.dump() == venue.dump()
    assert restored.summary() == venue.summary()
    assert restored.positions() == venue.positions()
    # resting orders lost their place in the queue; without them both go on alike
    for order in venue.open_orders():
        venue.cancel(T + 100, order_id=order.order_id)
        restored.cancel(T + 100, order_id=order.order_id)
    for n, (kind, what) in enumerate([("book", ((), ())), *then]):
        apply(venue, kind, what, T + 200 + n)
        apply(restored, kind, what, T + 200 + n)
    assert restored.executions() == venue.executions()
    assert restored.summary() == venue.summary()


@settings(max_examples=100, deadline=None)
@given(OPERATIONS, st.sampled_from(["isolated", "crossed"]))
def test_what_is_remembered_of_reports_and_indexes_is_what_would_be_found_anew(
    operations: list[tuple[str, Any]], mode: MarginMode
) -> None:
    venue = Venue([COARSE, BTC], D(90), leverage=40, margin_mode=mode)
    flat_book(venue, "BTCUSDT", "59999.9", "60000")
    venue.place(market("buy", "0.001", symbol="BTCUSDT"), T)
    venue.set_book("SOLUSDT", ((MID - 1, 9), (MID - 2, 9)), ((MID, 9), (MID + 1, 9)), T)
    venue.set_mark("SOLUSDT", MID * COARSE.tick, T)
    for n, (kind, what) in enumerate(operations):
        apply(venue, kind, what, T + n)
        account, archive = venue.account, venue._archive
        anew = [
            position_report(account, archive, p, venue.instruments[p.symbol].taker_fee)
            for p in account.positions.values()
        ]
        assert venue.positions() == tuple(anew)
        summary = venue.summary()
        assert summary.unrealised == account.unrealised()
        assert summary.isolated_margin == sum((p.margin for p in account.positions.values()), ZERO) * (
            mode == "isolated"
        )
        assert summary.equity == account.equity()
        for symbol in ("SOLUSDT", "BTCUSDT"):
            assert archive.open_in(symbol) == [o for o in archive.open.values() if o.symbol == symbol]
            assert archive.plans_in(symbol) == [p for p in archive.live_plans.values() if p.symbol == symbol]
            assert account.of(symbol) == [p for p in account.positions.values() if p.symbol == symbol]


@settings(max_examples=50, deadline=None)
@given(OPERATIONS, st.integers(1, 4))
def test_the_newest_of_what_has_ended_is_told_oldest_first(operations: list[tuple[str, Any]], newest: int) -> None:
    venue, _ = run(operations)
    orders, plans = venue._archive.ended(newest)
    assert orders == [o for o in venue._archive.orders.values() if not o.open][-newest or len(venue._archive.orders) :]
    assert (
        plans
        == [p for p in venue._archive.plans.values() if p.status != "live"][-newest or len(venue._archive.plans) :]
    )
