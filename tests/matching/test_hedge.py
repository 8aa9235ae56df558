"""Two positions of one symbol (protocol section 8.2)."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from tests.matching.parts import SOL, T, flat_book, limit, market, plan
from tradebot.market.instrument import Side
from tradebot.matching.orders import OrderRefused, OrderRequest, PosSide, Presets
from tradebot.matching.venue import Venue


def hedged(cash: str = "10000", **settings: object) -> Venue:
    venue = Venue([SOL], D(cash), leverage=10, **settings)  # type: ignore[arg-type]
    venue.set_position_mode("hedge_mode")
    flat_book(venue, "SOLUSDT", "149.999", "150")
    return venue


def both(venue: Venue, longs: str = "3", shorts: str = "2") -> Venue:
    venue.place(market("buy", longs, trade_side="open"), T)
    venue.place(market("sell", shorts, trade_side="open"), T)
    return venue


def refusal(venue: Venue, request: OrderRequest) -> str:
    with pytest.raises(OrderRefused) as refused:
        venue.place(request, T)
    return refused.value.code


def sizes(venue: Venue) -> dict[str, D]:
    return {r.position.pos_side: r.position.qty for r in venue.positions()}


def test_a_long_and_a_short_stand_side_by_side() -> None:
    venue = both(hedged())
    assert sizes(venue) == {"long": D(3), "short": D(-2)}
    assert venue.summary().isolated_margin == (D(3) * 150 + D(2) * D("149.999")) / 10


@pytest.mark.parametrize(
    ("side", "executed", "left"),
    [("buy", "sell", {"long": D(2), "short": D(-2)}), ("sell", "buy", {"long": D(3), "short": D(-1)})],
)
def test_a_close_names_the_position_and_trades_the_other_way(side: Side, executed: Side, left: dict[str, D]) -> None:
    venue = both(hedged())
    order = venue.place(market(side, "1", trade_side="close"), T)
    assert (order.side, order.reduce_only, order.trade_side) == (executed, True, "close")
    assert sizes(venue) == left


def test_an_order_of_the_other_modes_shape_is_refused() -> None:
    assert refusal(hedged(), market("buy", "1")) == "40774"
    one_way = Venue([SOL], D(1000))
    flat_book(one_way, "SOLUSDT", "149.999", "150")
    assert refusal(one_way, market("buy", "1", trade_side="close")) == "40774"


def test_a_close_is_cut_to_its_position_and_refused_without_one() -> None:
    venue = hedged()
    assert refusal(venue, market("buy", "1", trade_side="close")) == "22002"
    venue.place(market("buy", "2", trade_side="open"), T)
    assert refusal(venue, market("sell", "1", trade_side="close")) == "22002"
    assert venue.place(market("buy", "5", trade_side="close"), T).qty == D(2)
    assert venue.positions() == ()


def test_a_market_close_is_cut_to_what_closing_orders_leave_and_a_limit_close_is_refused() -> None:
    venue = both(hedged())
    resting = venue.place(limit("buy", "2", "155", trade_side="close"), T)
    report = venue.position("SOLUSDT", "long")
    assert report is not None
    assert report.closing_qty == D(2)
    assert refusal(venue, limit("buy", "2", "156", trade_side="close")) == "40757"
    assert venue.place(market("buy", "3", trade_side="close"), T).qty == D(1)
    assert venue.order(order_id=resting.order_id).status == "live"
    assert sizes(venue)["long"] == D(2)


def test_a_close_cancels_the_orders_that_lock_the_whole_position() -> None:
    venue = both(hedged())
    locking = [venue.place(limit("buy", qty, "155", trade_side="close"), T) for qty in ("1", "2")]
    venue.place(market("buy", "1", trade_side="close"), T)
    assert [venue.order(order_id=o.order_id).status for o in locking] == ["canceled", "canceled"]
    assert sizes(venue)["long"] == D(2)


def test_opening_orders_of_both_sides_lock_margin_in_full() -> None:
    venue = both(hedged(), "2", "2")
    venue.place(limit("sell", "1", "151", trade_side="open"), T)
    # 151 / 10 * 1.01 + 151 * 0.0006, although a long of 2 stands against it
    assert venue.summary().locked == D("15.3416")


def test_flash_close_and_forced_close_name_their_position() -> None:
    venue = both(hedged())
    assert venue.close_position("SOLUSDT", T, pos_side="short").trade_side == "close"
    assert sizes(venue) == {"long": D(3)}
    venue.force_close("SOLUSDT", T)
    assert venue.past_orders()[-1].trade_side == "burst_close_long"
    assert venue.positions() == ()
    assert [b.business for b in venue.bills()] == ["open_long", "open_short", "close_short", "burst_close_long"]


def test_reversing_closes_one_position_and_opens_the_other() -> None:
    venue = hedged()
    venue.place(market("buy", "2", trade_side="open"), T)
    orders = venue.check_reverse("SOLUSDT", T, qty=D(1), client_oid="r", pos_side="long")
    for order in orders:
        venue.act(order.order_id, T)
    assert [(o.pos_side, o.trade_side) for o in orders] == [("long", "close"), ("short", "open")]
    assert orders[-1].client_oid == "r"
    assert sizes(venue) == {"short": D(-1)}


def test_stops_belong_to_one_of_the_two_positions() -> None:
    venue = both(hedged())
    stops = {
        side: venue.place_plan(plan("pos_loss", trigger, hold_side=side), T)
        for side, trigger in (("buy", "140"), ("sell", "160"))
    }
    assert {p.pos_side: venue.plan_qty(p) for p in venue.live_plans()} == {"long": D(3), "short": D(2)}
    report = venue.position("SOLUSDT", "short")
    assert report is not None
    assert report.stop_loss == stops["sell"]
    flat_book(venue, "SOLUSDT", "139.9", "140", T + 1)
    assert sizes(venue) == {"short": D(-2)}
    assert venue.plan(order_id=stops["sell"].order_id).status == "live"
    venue.close_position("SOLUSDT", T + 2, pos_side="short")
    assert venue.plan(order_id=stops["sell"].order_id).status == "cancelled"


def test_presets_of_an_opening_order_protect_its_own_position() -> None:
    venue = both(hedged())
    venue.place(market("sell", "1", trade_side="open", presets=Presets(stop_loss=D(160), take_profit_limit=None)), T)
    (stop,) = venue.live_plans()
    assert (stop.pos_side, stop.side, stop.qty, stop.trade_side) == ("short", "buy", D(1), "close")


def test_a_conditional_close_waits_for_its_trigger() -> None:
    venue = both(hedged())
    request = plan("normal_plan", "151", side="buy", trade_side="close", qty=D(1))
    assert venue.place_plan(request, T).reduce_only
    flat_book(venue, "SOLUSDT", "151", "151.001", T + 1)
    assert sizes(venue) == {"long": D(2), "short": D(-2)}


def test_isolated_leverage_is_set_for_each_side() -> None:
    venue = hedged()
    with pytest.raises(OrderRefused) as refused:
        venue.set_leverage("SOLUSDT", 5, T)
    assert refused.value.code == "40808"
    venue.set_leverage("SOLUSDT", 5, T, side="buy")
    venue.set_leverage("SOLUSDT", 20, T, side="sell")
    both(venue)
    assert {r.position.pos_side: r.position.leverage for r in venue.positions()} == {"long": 5, "short": 20}
    venue.set_leverage("SOLUSDT", 8, T, short_leverage=8)
    assert {r.position.leverage for r in venue.positions()} == {8}


@pytest.mark.parametrize("slot", ["long", "short"])
def test_margin_is_added_to_one_side(slot: PosSide) -> None:
    venue = both(hedged())
    before = {r.position.pos_side: r.liquidation_price for r in venue.positions()}
    venue.set_margin("SOLUSDT", D(20), T, slot)
    after = {r.position.pos_side: r.liquidation_price for r in venue.positions()}
    assert {s for s in before if before[s] != after[s]} == {slot}


def test_funding_is_settled_for_both_sides() -> None:
    venue = both(hedged(), "2", "2")
    cash = venue.summary().cash
    venue.settle_funding("SOLUSDT", D("0.001"), T)
    assert venue.summary().cash == cash
    assert sorted(b.amount for b in venue.bills()[-2:]) == [D("-0.299999"), D("0.299999")]


def test_a_crossed_pair_has_one_liquidation_price_for_its_net_size() -> None:
    venue = both(hedged("400", margin_mode="crossed"), "10", "6")
    prices = {r.liquidation_price for r in venue.positions()}
    assert len(prices) == 1
    price = prices.pop()
    assert price is not None
    venue.set_mark("SOLUSDT", (price + D("0.01")).quantize(SOL.tick), T + 1)
    assert len(venue.positions()) == 2
    venue.set_mark("SOLUSDT", (price - D("0.01")).quantize(SOL.tick), T + 2)
    assert venue.positions() == ()


def test_a_venue_in_hedge_mode_goes_on_from_its_saved_state() -> None:
    venue = both(hedged())
    venue.set_leverage("SOLUSDT", 5, T, side="buy")
    restored = Venue([SOL], D(0))
    restored.load(venue.dump())
    assert restored.dump() == venue.dump()
    assert restored.positions() == venue.positions()
    assert restored.position_mode == "hedge_mode"
