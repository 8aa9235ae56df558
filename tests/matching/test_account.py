"""Fees, profit, margin, funding and liquidation, computed by hand to the last digit."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from tests.matching.parts import BTC, SOL, T, flat_book, kinds, limit, market, sol_venue
from tradebot.matching.margin import Leg, Tier, default_tiers, liquidation_price, tier_of
from tradebot.matching.orders import MarginMode, OrderRefused
from tradebot.matching.reports import FundingSettled, Liquidated
from tradebot.matching.venue import Venue, next_funding_ms

FLAT_RATE = {"SOLUSDT": (Tier(level=1, start=D(0), end=D(10**9), max_leverage=100, maintenance_rate=D("0.005")),)}


def test_a_market_order_pays_the_taker_fee_of_every_level_it_walks() -> None:
    venue = sol_venue()
    order = venue.place(market("buy", "10"), T)
    assert [(e.price, e.qty, e.fee) for e in venue.executions()] == [
        (D("150.121"), D("7.1"), D("-0.63951546")),
        (D("150.125"), D("2.9"), D("-0.26121750")),
    ]
    assert order.fee == D("-0.90073296")
    assert order.average_price == D("150.12216")
    assert venue.summary().cash == D("9999.09926704")


def test_a_resting_order_pays_the_maker_fee() -> None:
    venue = sol_venue()
    order = venue.place(limit("buy", "3", "150.120"), T)
    venue.trade("SOLUSDT", 150_119, 30, "sell", T + 1)
    assert venue.order(order_id=order.order_id).status == "filled"
    assert venue.executions()[0].fee == D("-0.090072")
    assert venue.executions()[0].maker


def test_a_round_trip_realises_the_difference_of_its_values() -> None:
    venue = Venue([SOL], D(1000), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    flat_book(venue, "SOLUSDT", "151", "151.001", T + 1)
    venue.place(market("sell", "4"), T + 1)
    assert venue.executions()[-1].realised == D(4)
    held = venue.position("SOLUSDT")
    assert held is not None
    assert held.position.entry_price == D(150)
    assert held.unrealised == D("6.003")
    venue.place(market("sell", "6"), T + 2)
    # fees: 1500 * 0.0006 + 1510 * 0.0006
    assert venue.summary().cash == D(1000) + D(10) - D("0.9") - D("0.906")
    closed = venue.closed_positions()[0]
    assert (closed.realised, closed.fees, closed.open_fees) == (D(10), D("-1.806"), D("-0.9"))
    assert venue.positions() == ()


def test_a_partial_close_that_does_not_divide_leaves_the_rest_in_the_position() -> None:
    venue = Venue([SOL], D(1000), leverage=10)
    for qty, price in (("0.1", "100"), ("0.2", "100.001")):
        venue.set_book("SOLUSDT", (), ((int(D(price) * 1000), 1000),), T)
        venue.set_mark("SOLUSDT", D(100), T)
        venue.place(market("buy", qty), T)
    venue.set_book("SOLUSDT", ((100_000, 1000),), (), T)
    for _ in range(3):
        venue.place(market("sell", "0.1", reduce_only=True), T)
    realised = [e.realised for e in venue.executions()[2:]]
    # entry 30.0002 for 0.3: a third of it is 10.00006666…
    assert realised[0] == D("-0.000066666667")
    assert sum(realised) == D(30) - D("30.0002")


def test_a_larger_opposite_order_flips_the_position_through_zero() -> None:
    venue = Venue([SOL], D(1000), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "1"), T)
    flat_book(venue, "SOLUSDT", "151", "151.001", T + 1)
    venue.place(market("sell", "3"), T + 1)
    held = venue.position("SOLUSDT")
    assert held is not None
    assert (held.position.qty, held.position.cost, held.position.entry_price) == (D(-2), D(302), D(151))
    assert venue.executions()[-1].realised == D(1)
    # the fee of 453 * 0.0006 = 0.2718: one third closed, two thirds opened
    assert venue.closed_positions()[0].fees == D("-0.09") - D("0.0906")
    assert held.position.fees == D("-0.1812")
    assert held.position.position_id != venue.closed_positions()[0].position_id


@pytest.mark.parametrize(("cash", "accepted"), [("152.4", True), ("152.39", False)])
def test_opening_needs_margin_the_cost_ratio_and_the_fee(cash: str, accepted: bool) -> None:
    # 1500 / 10 * 1.01 + 1500 * 0.0006 = 151.5 + 0.9
    venue = Venue([SOL], D(cash), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    if accepted:
        venue.place(market("buy", "10"), T)
        assert venue.summary().isolated_margin == D(150)
        assert venue.summary().free == D("1.5")
    else:
        with pytest.raises(OrderRefused) as refused:
            venue.place(market("buy", "10"), T)
        assert refused.value.code == "40762"
        assert venue.drain() == []


def test_open_orders_lock_what_they_would_open_and_reductions_lock_nothing() -> None:
    venue = Venue([SOL], D(1000), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    order = venue.place(limit("sell", "12", "160", client_oid="s"), T)
    # 2 of 12 open: 320 / 10 * 1.01 + 320 * 0.0006
    assert venue.summary().locked == D("32.512")
    venue.cancel(T, order_id=order.order_id)
    assert venue.summary().locked == 0


@pytest.mark.parametrize(
    ("side", "cost", "backing", "expected"),
    [
        # long: (1500 - 150) / (10 * (1 - 0.0056)); short: (1500 + 150) / (10 * (1 + 0.0056))
        (10, 1500, 150, "135.76026"),
        (-10, 1500, 150, "164.08115"),
        (10, 1500, 1600, None),
    ],
)
def test_liquidation_price(side: int, cost: int, backing: int, expected: str | None) -> None:
    price = liquidation_price([Leg(D(side), D(cost), FLAT_RATE["SOLUSDT"], D("0.0006"))], D(backing), D(150))
    assert price is None if expected is None else price is not None and price.quantize(D("0.00001")) == D(expected)


def test_the_liquidation_price_uses_the_tier_that_holds_there() -> None:
    tiers = default_tiers(SOL)
    qty, cost = D(400), D(60_000)  # second tier at entry, first tier at the liquidation price
    price = liquidation_price([Leg(qty, cost, tiers, D("0.0006"))], D(12_000), D(150))
    assert price is not None
    assert tier_of(tiers, qty * price).level == 1
    assert abs(price * qty * D("0.0056") - (D(12_000) + price * qty - cost)) < D("1e-15")


@pytest.mark.parametrize("mode", ["isolated", "crossed"])
def test_a_position_is_liquidated_where_its_liquidation_price_says(mode: MarginMode) -> None:
    venue = Venue([SOL], D(200), leverage=10, margin_mode=mode, tiers=FLAT_RATE)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    held = venue.position("SOLUSDT")
    assert held is not None
    assert held.liquidation_price is not None
    # crossed stands on all cash: (1500 - 199.1) / 9.944
    assert held.liquidation_price.quantize(D("0.001")) == D("135.760" if mode == "isolated" else "130.823")
    edge = held.liquidation_price.quantize(D("0.001"))
    venue.drain()
    venue.set_mark("SOLUSDT", edge + D("0.001"), T + 1)
    assert venue.drain() == []
    venue.set_book("SOLUSDT", ((int(edge * 1000) - 10, DEEP_LOTS),), (), T + 2)
    venue.set_mark("SOLUSDT", edge - D("0.001"), T + 2)
    events = venue.drain()
    assert kinds(events)[:4] == ["Liquidated", "OrderChanged:live", "OrderChanged:filled", "Executed"]
    forced = venue.past_orders()[-1]
    assert (forced.entered_by, forced.trade_side, forced.reduce_only) == ("SYS", "burst_sell_single", True)
    assert venue.positions() == ()
    assert venue.bills()[-1].business == "burst_sell"


DEEP_LOTS = 1_000_000


def test_a_crossed_account_closes_all_its_crossed_positions_and_their_orders() -> None:
    venue = Venue([SOL, BTC], D(1000), leverage=10, margin_mode="crossed")
    flat_book(venue, "SOLUSDT", "149.999", "150")
    flat_book(venue, "BTCUSDT", "59999.9", "60000")
    venue.place(market("buy", "20"), T)
    venue.place(market("buy", "0.05", symbol="BTCUSDT"), T)
    venue.place(limit("buy", "1", "145"), T)
    venue.drain()
    flat_book(venue, "SOLUSDT", "99", "99.001", T + 1)
    liquidated = [e.symbol for e in venue.drain() if isinstance(e, Liquidated)]
    assert liquidated == ["SOLUSDT", "BTCUSDT"]
    assert venue.positions() == ()
    assert venue.open_orders() == []


def test_a_liquidation_that_the_book_cannot_take_goes_on_at_the_next_mark() -> None:
    venue = Venue([SOL], D(200), leverage=10, tiers=FLAT_RATE)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    venue.set_book("SOLUSDT", ((130_000, 40),), (), T + 1)
    venue.set_mark("SOLUSDT", D(130), T + 1)
    assert venue.account.signed_qty("SOLUSDT") == D(6)
    venue.set_mark("SOLUSDT", D(130), T + 2)
    assert venue.account.signed_qty("SOLUSDT") == D(6), "nothing left to sell to"
    venue.set_book("SOLUSDT", ((129_000, 400),), (), T + 3)
    venue.set_mark("SOLUSDT", D(130), T + 3)
    assert venue.positions() == ()


def test_longs_pay_funding_at_a_positive_rate_and_shorts_receive_it() -> None:
    for side, amount in (("buy", D("-0.151")), ("sell", D("0.151"))):
        venue = Venue([SOL], D(1000), leverage=10)
        flat_book(venue, "SOLUSDT", "150", "150.001")
        venue.place(market(side, "10"), T)
        venue.set_mark("SOLUSDT", D(151), T)
        cash = venue.summary().cash
        venue.drain()
        venue.settle_funding("SOLUSDT", D("0.0001"), T + 1)
        events = venue.drain()
        assert events[0] == FundingSettled("SOLUSDT", D("0.0001"), amount, T + 1, venue.bills()[-1].bill_id)
        assert kinds(events) == ["FundingSettled", "PositionChanged", "AccountChanged"]
        assert venue.summary().cash == cash + amount
        assert venue.bills()[-1].business == "contract_settle_fee"
        held = venue.position("SOLUSDT")
        assert held is not None
        assert held.position.funding == amount


def test_a_flat_account_settles_no_funding() -> None:
    venue = sol_venue()
    venue.settle_funding("SOLUSDT", D("0.01"), T)
    assert venue.drain() == []


def test_funding_is_due_at_whole_intervals_of_the_utc_day() -> None:
    midnight = 1_760_054_400_000
    assert next_funding_ms(8, midnight) == midnight + 8 * 3_600_000
    assert next_funding_ms(4, midnight + 1) == midnight + 4 * 3_600_000
    assert next_funding_ms(1, midnight - 1) == midnight


def test_leverage_changes_the_margin_of_a_position_when_there_is_enough() -> None:
    venue = Venue([SOL], D(400), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    venue.set_leverage("SOLUSDT", 5, T)
    assert venue.summary().isolated_margin == D(300)
    for leverage, code in ((5, "40814"), (3, "40893"), (76, "40797"), (0, "40797")):
        with pytest.raises(OrderRefused) as refused:
            venue.set_leverage("SOLUSDT", leverage, T)
        assert refused.value.code == code
    venue.place(limit("buy", "0.1", "149"), T)
    with pytest.raises(OrderRefused) as refused:
        venue.set_leverage("SOLUSDT", 6, T)
    assert refused.value.code == "40730"


def test_modes_are_fixed_while_there_is_a_position_or_an_order() -> None:
    venue = sol_venue()
    venue.set_margin_mode("SOLUSDT", "crossed")
    venue.place(limit("buy", "1", "149"), T)
    with pytest.raises(OrderRefused) as refused:
        venue.set_margin_mode("SOLUSDT", "crossed")
    assert refused.value.code == "45117"
    with pytest.raises(OrderRefused) as refused:
        venue.set_position_mode("hedge_mode")
    assert refused.value.code == "40920"
    venue.set_margin_mode("BTCUSDT", "crossed")


def test_a_tier_limits_what_a_leverage_may_hold() -> None:
    venue = Venue([SOL], D(10**7), leverage=75)
    flat_book(venue, "SOLUSDT", "99.999", "100")
    with pytest.raises(OrderRefused) as refused:
        venue.place(market("buy", "500.1"), T)
    assert refused.value.code == "40762"
    venue.place(market("buy", "500"), T)


def test_a_transfer_changes_cash_and_is_billed() -> None:
    venue = sol_venue()
    venue.transfer(D(-100), T)
    assert venue.summary().cash == D(9900)
    assert (venue.bills()[-1].amount, venue.bills()[-1].business) == (D(-100), "trans_to_exchange")


def test_closing_at_break_even_returns_what_was_spent() -> None:
    venue = Venue([SOL], D(1000), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    held = venue.position("SOLUSDT")
    assert held is not None
    price = held.break_even
    result = price * 10 - 1500 - D("0.9") - price * 10 * D("0.0006")
    assert abs(result) < D("1e-20")


def test_the_liquidation_price_of_a_large_position_uses_the_rate_of_its_tier() -> None:
    # third tier of SOLUSDT, 200 000 to 1 000 000 USDT at 2.5 %: 540 000 / (4000 * (1 - 0.0256))
    price = liquidation_price([Leg(D(4000), D(600_000), default_tiers(SOL), D("0.0006"))], D(60_000), D(150))
    assert price is not None
    assert price.quantize(D("0.00001")) == D("138.54680")


def test_losses_of_crossed_positions_are_not_free_and_their_profits_neither() -> None:
    venue = Venue([SOL], D(1000), leverage=10, margin_mode="crossed")
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    venue.set_mark("SOLUSDT", D(160), T)
    assert venue.summary().free == D("849.1")
    venue.set_mark("SOLUSDT", D(140), T)
    assert venue.summary().free == D("749.1")


def test_a_position_can_be_reduced_when_nothing_is_free() -> None:
    venue = Venue([SOL], D(160), leverage=10, margin_mode="crossed")
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    flat_book(venue, "SOLUSDT", "146", "146.001", T)
    assert venue.summary().free == 0
    with pytest.raises(OrderRefused):
        venue.place(market("buy", "0.1"), T)
    assert venue.place(market("sell", "10"), T).status == "filled"
