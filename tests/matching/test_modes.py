"""What holds for any sequence of requests in every position mode and margin mode, with trigger orders of all kinds."""

from __future__ import annotations

import decimal
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from tests.matching.parts import SOL, T
from tradebot.events import Filled
from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching.margin import Tier
from tradebot.matching.orders import MarginMode, OrderRefused, OrderRequest, PositionMode, Presets
from tradebot.matching.plans import PROTECTIONS, PlanRequest, PlanType
from tradebot.matching.reports import Executed, FundingSettled, OrderChanged, PositionChanged, VenueEvent
from tradebot.matching.venue import Venue
from tradebot.trading.portfolio import Portfolio

COARSE: Instrument = msgspec.structs.replace(SOL, tick=D("0.3"), lot=D("0.7"), min_qty=D("0.7"), maker_fee=D("-0.0001"))
TIERS = {
    "SOLUSDT": tuple(
        Tier(level=n, start=D(start), end=D(end), max_leverage=lever, maintenance_rate=D(rate))
        for n, (start, end, lever, rate) in enumerate(
            ((0, 400, 75, "0.005"), (400, 900, 75, "0.02"), (900, 10**6, 75, "0.05")), 1
        )
    )
}
CASH = D(90)
MID = 500  # ticks of 0.3 = 150 USDT
SIDE = st.sampled_from(["buy", "sell"])
LOTS = st.integers(1, 12)
TICKS = st.integers(MID - 10, MID + 10)


@st.composite
def books(draw: st.DrawFn) -> tuple[Any, Any]:
    mid = draw(st.integers(MID - 12, MID + 12))
    gap = draw(st.integers(0, 2))
    sizes = st.lists(st.integers(1, 15), min_size=2, max_size=5)
    bids = tuple((mid - k, size) for k, size in enumerate(draw(sizes)))
    return bids, tuple((mid + gap + k, size) for k, size in enumerate(draw(sizes)))


ORDER = st.tuples(
    SIDE,
    LOTS,
    st.one_of(st.none(), TICKS),
    st.booleans(),
    st.sampled_from(["gtc", "gtc", "ioc", "fok", "post_only"]),
    st.sampled_from(["none", "none", "cancel_taker", "cancel_maker", "cancel_both"]),
    st.one_of(st.none(), TICKS),
)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("book"), books()),
        st.tuples(st.just("trade"), st.tuples(TICKS, LOTS, SIDE)),
        st.tuples(st.just("mark"), st.one_of(TICKS, st.integers(MID - 70, MID + 70))),
        st.tuples(st.just("order"), ORDER),
        st.tuples(st.just("order"), ORDER),
        st.tuples(st.just("order"), ORDER),
        st.tuples(
            st.just("protect"),
            st.tuples(st.sampled_from(PROTECTIONS), SIDE, TICKS, LOTS, st.sampled_from(["mark_price", "fill_price"])),
        ),
        st.tuples(st.just("condition"), st.tuples(SIDE, TICKS, LOTS, st.booleans(), st.booleans())),
        st.tuples(st.just("modify"), st.tuples(st.integers(0, 4), LOTS, TICKS)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("close"), SIDE),
        st.tuples(st.just("reverse"), SIDE),
        st.tuples(st.just("leverage"), st.tuples(st.integers(1, 60), SIDE)),
        st.tuples(st.just("margin"), st.tuples(st.integers(-40, 40), SIDE)),
        st.tuples(st.just("funding"), st.integers(-30, 30)),
        st.tuples(st.just("mode"), st.sampled_from(["isolated", "crossed"])),
    ),
    min_size=15,
    max_size=50,
)
MODES = st.tuples(st.sampled_from(["one_way_mode", "hedge_mode"]), st.sampled_from(["isolated", "crossed"]))


def pos_side(venue: Venue, side: Side) -> Any:
    return "net" if venue.position_mode == "one_way_mode" else "long" if side == "buy" else "short"


def apply(venue: Venue, kind: str, what: Any, ts: int) -> None:
    """One operation; refusals are part of the game."""
    symbol, tick, lot = COARSE.symbol, COARSE.tick, COARSE.lot
    hedge = venue.position_mode == "hedge_mode"
    try:
        match kind:
            case "book":
                venue.set_book(symbol, *what, ts)
            case "trade":
                venue.trade(symbol, *what, ts)
            case "mark":
                venue.set_mark(symbol, what * tick, ts)
            case "order":
                side, lots, price, closes, tif, stp, stop = what
                request = OrderRequest(
                    symbol=symbol,
                    side=side,
                    order_type="market" if price is None else "limit",
                    qty=lots * lot,
                    price=None if price is None else price * tick,
                    tif=tif,
                    stp=stp,
                    reduce_only=closes and not hedge,
                    trade_side="" if not hedge else "close" if closes else "open",
                    presets=Presets(stop_loss=None if stop is None else stop * tick),
                )
                venue.place(request, ts)
            case "protect":
                plan, side, trigger, lots, trigger_type = what
                venue.place_plan(
                    PlanRequest(
                        symbol=symbol,
                        plan=plan,
                        trigger_price=trigger * tick,
                        trigger_type=trigger_type,
                        hold_side=side,
                        qty=lots * lot,
                        callback=D("0.5") if plan == "moving_plan" else None,
                    ),
                    ts,
                )
            case "condition":
                side, trigger, lots, closes, trails = what
                kind_: PlanType = "track_plan" if trails else "normal_plan"
                venue.place_plan(
                    PlanRequest(
                        symbol=symbol,
                        plan=kind_,
                        trigger_price=trigger * tick,
                        side=side,
                        qty=lots * lot,
                        reduce_only=closes and not hedge,
                        trade_side="" if not hedge else "close" if closes else "open",
                        callback=D("0.4") if trails else None,
                    ),
                    ts,
                )
            case "modify":
                mine = venue.open_orders()
                if what[0] < len(mine):
                    old = mine[what[0]]
                    new = venue.check_modify(old, what[1] * lot, what[2] * tick, f"m{ts}", old.presets, ts)
                    venue.act_modify(old.order_id, new, ts)
            case "cancel":
                mine = venue.open_orders()
                if what < len(mine):
                    venue.cancel(ts, order_id=mine[what].order_id)
            case "close":
                venue.close_position(symbol, ts, pos_side=pos_side(venue, what))
            case "reverse":
                for order in venue.check_reverse(symbol, ts, pos_side=pos_side(venue, what)):
                    venue.act(order.order_id, ts)
            case "leverage":
                venue.set_leverage(symbol, what[0], ts, side=what[1])
            case "margin":
                venue.set_margin(symbol, D(what[0]), ts, pos_side(venue, what[1]))
            case "funding":
                venue.settle_funding(symbol, D(what) / 10_000, ts)
            case "mode":
                venue.set_margin_mode(symbol, what)
    except OrderRefused:
        pass


def new_venue(modes: tuple[PositionMode, MarginMode]) -> Venue:
    venue = Venue([COARSE], CASH, leverage=40, margin_mode=modes[1], tiers=TIERS)
    venue.set_position_mode(modes[0])
    venue.set_book("SOLUSDT", ((MID - 1, 9), (MID - 2, 9)), ((MID, 9), (MID + 1, 9)), T)
    venue.set_mark("SOLUSDT", MID * COARSE.tick, T)
    return venue


def run(modes: tuple[PositionMode, MarginMode], operations: list[tuple[str, Any]]) -> tuple[Venue, list[VenueEvent]]:
    venue = new_venue(modes)
    events: list[VenueEvent] = []
    for n, (kind, what) in enumerate(operations):
        apply(venue, kind, what, T + n)
        events += venue.drain()
    return venue, events


@settings(max_examples=150, deadline=None)
@given(MODES, OPERATIONS)
def test_money_and_sizes_add_up_in_every_mode(modes: Any, operations: list[tuple[str, Any]]) -> None:
    venue, events = run(modes, operations)
    fills = [e.execution for e in events if isinstance(e, Executed)]
    funding = sum((e.amount for e in events if isinstance(e, FundingSettled)), ZERO)
    summary = venue.summary()
    assert summary.cash == CASH + sum((f.realised + f.fee for f in fills), ZERO) + funding
    assert summary.cash == CASH + sum((b.amount + b.fee for b in venue.bills()), ZERO)
    assert summary.equity == summary.cash + sum((r.unrealised for r in venue.positions()), ZERO)
    for slot in ("net", "long", "short"):
        traded = sum((f.qty if f.side == "buy" else -f.qty for f in fills if f.pos_side == slot), ZERO)
        assert venue.account.signed_qty("SOLUSDT", slot) == traded
        assert traded >= 0 if slot == "long" else traded <= 0 if slot == "short" else True


@settings(max_examples=120, deadline=None)
@given(MODES, OPERATIONS)
def test_what_is_reported_is_possible_after_every_step(modes: Any, operations: list[tuple[str, Any]]) -> None:
    venue = new_venue(modes)
    for n, (kind, what) in enumerate(operations):
        apply(venue, kind, what, T + n)
        reports = venue.positions()
        seen = [e for e in venue.drain() if isinstance(e, PositionChanged)]
        if seen:
            assert [r.position for r in seen[-1].positions] == [r.position for r in reports]
        summary = venue.summary()
        assert summary.locked >= 0
        assert summary.free >= 0
        for report in reports:
            assert report.position.size > 0
            assert report.margin > 0
            assert report.position.extra_margin >= 0
            assert 0 <= report.closing_qty <= report.position.size
            assert report.position.margin_mode == venue.account.settings["SOLUSDT"].margin_mode
            assert report.position.leverage == venue.account.settings["SOLUSDT"].leverage(report.position.side)
        for order in venue.open_orders():
            if order.reduce_only:
                assert order.remaining <= venue.account.closable("SOLUSDT", order.pos_side, order.side)
        for plan in venue.live_plans():
            if plan.protects:
                assert venue.account.closable("SOLUSDT", plan.pos_side, plan.side) > 0
        bids, asks = venue.depth("SOLUSDT")
        assert not bids or not asks or bids[0][0] <= asks[0][0]


@settings(max_examples=120, deadline=None)
@given(MODES, OPERATIONS)
def test_the_portfolio_of_the_engine_agrees_with_the_venue(modes: Any, operations: list[tuple[str, Any]]) -> None:
    venue, events = run(modes, operations)
    portfolio = Portfolio()
    paid = ZERO
    for event in events:
        if isinstance(event, Executed):
            e = event.execution
            filled = Filled(
                trade_id=e.trade_id,
                order_id=e.order_id,
                client_oid=e.client_oid,
                symbol=f"{e.symbol}/{e.pos_side}",
                side=e.side,
                price=e.price,
                qty=e.qty,
                fee=e.fee,
                realised=e.realised,
                maker=e.maker,
                ts_exchange_ms=e.ts_ms,
            )
            assert abs(portfolio.apply(filled, e.ts_ms) - e.realised) < D("1e-10")
        elif isinstance(event, FundingSettled):
            paid += event.amount
    theirs = {f"SOLUSDT/{r.position.pos_side}": r.position for r in venue.positions()}
    ours = {p.symbol: p for p in portfolio.open_positions()}
    assert ours.keys() == theirs.keys()
    for symbol, position in theirs.items():
        assert ours[symbol].qty == position.qty
        assert abs(abs(ours[symbol].cost) - position.cost) < D("1e-10")
    assert abs(CASH + portfolio.realised + portfolio.fees + paid - venue.summary().cash) < D("1e-9")


@settings(max_examples=40, deadline=None)
@given(MODES, OPERATIONS)
def test_the_threads_decimal_context_changes_nothing(modes: Any, operations: list[tuple[str, Any]]) -> None:
    expected = run(modes, operations)[1]
    hostile = decimal.Context(prec=7, rounding=decimal.ROUND_UP, traps=[decimal.InvalidOperation])
    before = decimal.getcontext()
    decimal.setcontext(hostile)
    try:
        seen = run(modes, operations)[1]
    finally:
        decimal.setcontext(before)
    assert seen == expected


@settings(max_examples=80, deadline=None)
@given(MODES, OPERATIONS)
def test_orders_trade_only_their_own_position_and_closes_never_open(
    modes: Any, operations: list[tuple[str, Any]]
) -> None:
    _, events = run(modes, operations)
    qty: dict[str, D] = {"net": ZERO, "long": ZERO, "short": ZERO}
    for event in events:
        if isinstance(event, OrderChanged) and event.execution is not None:
            fill, order = event.execution, event.order
            assert (fill.pos_side, fill.side) == (order.pos_side, order.side)
            assert (order.pos_side == "net") == (modes[0] == "one_way_mode")
            after = qty[fill.pos_side] + (fill.qty if fill.side == "buy" else -fill.qty)
            if order.reduce_only:
                assert abs(after) < abs(qty[fill.pos_side])
            qty[fill.pos_side] = after


@pytest.mark.parametrize("sort", ["reduce", "burst", "trailed", "modified"])
def test_the_random_sequences_reach_what_is_rare(sort: str) -> None:
    """Without this the properties above could hold for want of anything happening."""

    def reached(drawn: tuple[Any, list[tuple[str, Any]]]) -> bool:
        venue, _ = run(*drawn)
        orders = venue.past_orders()
        return {
            "reduce": any(o.trade_side.startswith("reduce_") and o.filled_qty for o in orders),
            "burst": any(o.trade_side.startswith("burst_") and o.filled_qty for o in orders),
            "trailed": any(p.status == "executed" and p.callback for p in venue.past_plans()),
            "modified": any(o.client_oid.startswith("m") for o in orders + venue.open_orders()),
        }[sort]

    quick = settings(max_examples=2000, deadline=None, phases=[Phase.generate], database=None, derandomize=True)
    find(st.tuples(MODES, OPERATIONS), reached, settings=quick)


def test_a_preset_whose_position_was_closed_again_in_the_same_call_becomes_no_stop() -> None:
    venue = new_venue(("one_way_mode", "isolated"))
    market = ("buy", 1, None, False, "gtc", "none", None)
    resting = ("buy", 2, 491, False, "gtc", "none", 490)
    for n, (kind, what) in enumerate(
        [
            ("trade", (490, 1, "buy")),
            ("order", market),
            ("book", (((490, 1), (489, 1), (488, 1)), ((492, 1), (493, 1)))),
            ("order", resting),
            ("trade", (490, 1, "buy")),
            ("order", market),
            ("reverse", "buy"),  # sells into the book, and so into the order that rests there
        ]
    ):
        apply(venue, kind, what, T + n)
    assert venue.positions() == ()
    assert venue.live_plans() == []
