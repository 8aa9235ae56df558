"""Liquidation goes down the tiers before it takes a whole position (protocol section 7.11)."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matching.parts import BTC, SOL, T, flat_book, limit, market
from tradebot.matching.margin import Leg, Tier, default_tiers, liquidation_price
from tradebot.matching.orders import MarginMode, OrderRefused
from tradebot.matching.reports import Liquidated
from tradebot.matching.venue import Venue

STEPS = tuple(
    Tier(level=n, start=D(start), end=D(end), max_leverage=50, maintenance_rate=D(rate))
    for n, (start, end, rate) in enumerate(
        ((0, 1000, "0.005"), (1000, 2000, "0.05"), (2000, 5000, "0.08"), (5000, 9000, "0.1")), 1
    )
)


def stepped(cash: str, mode: MarginMode = "isolated", qty: str = "30", leverage: int = 10) -> Venue:
    """A long of ``qty`` SOL bought at 100, on tiers of 1000, 2000, 5000 and 9000 USDT."""
    venue = Venue([SOL, BTC], D(cash), leverage=leverage, margin_mode=mode, tiers={"SOLUSDT": STEPS})
    flat_book(venue, "SOLUSDT", "99.999", "100")
    venue.place(market("buy", qty), T)
    if mode == "crossed":  # leave as much behind the position as an isolated one has
        venue.transfer(venue.account.margin() - venue.summary().cash, T)
    venue.drain()
    return venue


def forced(venue: Venue) -> list[tuple[str, D]]:
    return [(o.trade_side, o.filled_qty) for o in venue.past_orders() if o.entered_by == "SYS"]


@pytest.mark.parametrize("mode", ["isolated", "crossed"])
def test_a_position_is_reduced_one_tier_at_a_time_until_its_margin_suffices(mode: MarginMode) -> None:
    venue = stepped("10000", mode)
    # 2940 USDT are in the third tier: 2940 * 8.06 % of maintenance exceed 300 - 60 of margin
    flat_book(venue, "SOLUSDT", "98", "98.001", T + 1)
    assert forced(venue) == []
    flat_book(venue, "SOLUSDT", "97.8", "97.801", T + 2)
    # down to the second tier: 2000 / 97.8005 = 20.4 SOL, where 5.06 % are enough
    assert forced(venue) == [("reduce_sell_single", D("9.6"))]
    assert venue.account.signed_qty("SOLUSDT") == D("20.4")
    assert venue.bills()[-1].business == "force_sell"
    assert [e.qty for e in venue.drain() if isinstance(e, Liquidated)] == [D("9.6")]


@pytest.mark.parametrize("mode", ["isolated", "crossed"])
def test_a_position_whose_loss_is_too_large_goes_down_all_tiers_and_is_closed(mode: MarginMode) -> None:
    venue = stepped("10000", mode)
    flat_book(venue, "SOLUSDT", "90.2", "90.201", T + 1)
    sides = [side for side, _ in forced(venue)]
    assert sides == ["reduce_sell_single", "reduce_sell_single", "burst_sell_single"]
    assert venue.positions() == ()
    assert venue.bills()[-1].business == "burst_sell"


def test_a_short_is_reduced_by_buying() -> None:
    venue = Venue([SOL], D(10_000), leverage=10, tiers={"SOLUSDT": STEPS})
    flat_book(venue, "SOLUSDT", "100", "100.001")
    venue.place(market("sell", "30"), T)
    flat_book(venue, "SOLUSDT", "101.9", "101.901", T + 1)
    assert [side for side, _ in forced(venue)] == ["reduce_buy_single"]


def test_open_orders_of_a_doomed_position_are_withdrawn_first_and_others_stay() -> None:
    venue = stepped("10000")
    flat_book(venue, "BTCUSDT", "59999.9", "60000")
    mine = venue.place(limit("buy", "1", "96"), T)
    other = venue.place(limit("buy", "0.01", "59000", symbol="BTCUSDT"), T)
    flat_book(venue, "SOLUSDT", "97.8", "97.801", T + 1)
    assert venue.order(order_id=mine.order_id).cancel_reason == "liquidation_cancel"
    assert venue.order(order_id=other.order_id).status == "live"


def test_of_crossed_positions_the_highest_tier_is_reduced_first() -> None:
    venue = Venue([SOL, BTC], D(900), leverage=20, margin_mode="crossed", tiers={"SOLUSDT": STEPS})
    flat_book(venue, "SOLUSDT", "99.999", "100")
    flat_book(venue, "BTCUSDT", "59999.9", "60000")
    venue.place(market("buy", "0.05", symbol="BTCUSDT"), T)
    venue.place(market("buy", "60"), T)
    flat_book(venue, "SOLUSDT", "94.8", "94.801", T + 1)
    assert {side for side, _ in forced(venue)} == {"reduce_sell_single"}
    assert venue.account.signed_qty("BTCUSDT") == D("0.05")
    assert 0 < venue.account.signed_qty("SOLUSDT") < 60
    assert venue.summary().risk_rate < 1


def test_added_margin_moves_the_liquidation_price_and_taking_it_back_is_limited() -> None:
    venue = Venue([SOL], D(1000), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    before = venue.positions()[0]
    venue.set_margin("SOLUSDT", D(100), T)
    after = venue.positions()[0]
    assert after.margin == before.margin + 100
    assert before.liquidation_price is not None
    assert after.liquidation_price is not None
    # 100 USDT over 10 SOL less maintenance and closing fee
    assert abs(before.liquidation_price - after.liquidation_price - D(10) / D("0.9944")) < D("1e-9")
    assert after.margin_ratio < before.margin_ratio
    codes = []
    for amount in ("-100.1", "0", "100000"):
        with pytest.raises(OrderRefused) as refused:
            venue.set_margin("SOLUSDT", D(amount), T)
        codes.append(refused.value.code)
    assert codes == ["40800", "40020", "43012"]
    venue.set_mark("SOLUSDT", D(145), T + 1)  # 50 of it covers the loss now
    with pytest.raises(OrderRefused):
        venue.set_margin("SOLUSDT", D("-50.1"), T + 1)
    assert venue.set_margin("SOLUSDT", D(-50), T + 1).extra_margin == D(50)
    venue.place(market("sell", "5"), T + 2)
    assert venue.positions()[0].position.extra_margin == D(25)


def test_margin_of_a_crossed_or_flat_position_cannot_be_changed() -> None:
    venue = Venue([SOL], D(1000), leverage=10, margin_mode="crossed")
    flat_book(venue, "SOLUSDT", "149.999", "150")
    codes = []
    for _ in range(2):
        with pytest.raises(OrderRefused) as refused:
            venue.set_margin("SOLUSDT", D(1), T)
        codes.append(refused.value.code)
        venue.place(market("buy", "1"), T)
    assert codes == ["22002", "40808"]


def test_a_size_beyond_the_largest_tier_is_refused_whatever_the_leverage() -> None:
    venue = Venue([SOL], D(10**7), leverage=10, tiers={"SOLUSDT": STEPS})
    flat_book(venue, "SOLUSDT", "99.999", "100")
    with pytest.raises(OrderRefused) as refused:
        venue.place(market("buy", "90.1"), T)
    assert refused.value.code == "40921"
    venue.place(market("buy", "50"), T)
    with pytest.raises(OrderRefused):
        venue.place(limit("buy", "40.1", "99.9"), T)
    assert venue.max_open("SOLUSDT", "buy", D(100)) == D(40)


def test_the_first_liquidation_price_on_the_losing_way_counts() -> None:
    """Two tiers could both answer: the mark meets the one of the higher tier first."""
    legs = [Leg(D(30), D(3000), STEPS, D("0.0006"))]
    price = liquidation_price(legs, D(300), D(100))
    assert price is not None
    # third tier: (3000 - 300) / (30 * (1 - 0.0806)) = 97.89, second: 94.80, first: 90.5
    assert price.quantize(D("0.01")) == D("97.89")


def test_a_short_can_be_lost_at_the_edge_of_a_tier() -> None:
    leg = Leg(D(-30), D(2400), STEPS, D("0.0006"))
    # at 2000 USDT (66.67) the rate jumps; 80 is the entry, so the short enters the third tier only when it loses
    price = liquidation_price([leg], D(150), D(60))
    assert price is not None
    inside = leg.surplus(price - D("0.001")) + 150
    beyond = leg.surplus(price + D("0.001")) + 150
    assert inside > 0 > beyond


def test_a_healthy_long_below_the_edge_of_a_tier_is_liquidated_below_its_mark() -> None:
    """Above the edge at 50 000 USDT it would be liquidated, too; that is not where it loses."""
    leg = Leg(D(499), D("50848.1"), default_tiers(SOL), D("0.0006"))
    assert leg.surplus(D("100.15")) + 1271 > 0 > leg.surplus(D("100.25")) + 1271
    price = liquidation_price([leg], D(1271), D("100.15"))
    assert price is not None
    assert price < D("100.15")


quantities = st.sampled_from([-60, -41, -30, -10, -1, 1, 10, 19, 30, 41, 60])


@settings(max_examples=200)
@given(
    st.lists(st.tuples(quantities, st.integers(60, 140)), min_size=1, max_size=2),
    st.integers(0, 5000),
    st.integers(50, 150),
)
def test_an_account_is_healthy_all_the_way_to_its_liquidation_price(
    held: list[tuple[int, int]], backing: int, mark: int
) -> None:
    legs = [Leg(D(qty), D(abs(qty) * entry), STEPS, D("0.0006")) for qty, entry in held]

    def left(at: D) -> D:
        return backing + sum((leg.surplus(at) for leg in legs), D(0))

    price = liquidation_price(legs, D(backing), D(mark))
    if left(D(mark)) <= 0:
        assert price == mark
        return
    if price is None:
        assert all(left(D(at)) > 0 for at in (*range(1, 400), 10**6))
        return
    assert all(left(mark + (price - mark) * k / 200) > 0 for k in range(200))
    hair = D("1e-9")
    beyond = price - hair if price < mark else price + hair
    assert left(beyond) < 0
    if len(legs) == 1:
        assert (price < mark) == (legs[0].qty > 0)


def test_a_saved_position_keeps_its_added_margin() -> None:
    venue = stepped("10000")
    venue.set_margin("SOLUSDT", D(10), T)
    restored = Venue([SOL, BTC], D(0), tiers={"SOLUSDT": STEPS})
    restored.load(msgspec.json.decode(msgspec.json.encode(venue.dump()), type=type(venue.dump())))
    assert restored.positions() == venue.positions()
