from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest

from tests.matching.parts import SOL, T, flat_book, kinds, limit, market, sol_venue
from tradebot.matching.orders import OrderRefused, OrderRequest, Presets, SelfTrade
from tradebot.matching.reports import OrderChanged, PositionChanged
from tradebot.matching.settings import VenueLimits
from tradebot.matching.venue import Venue


def refusal(venue: Venue, request: OrderRequest) -> str:
    """Code with which a request is refused, after checking that the refusal changed nothing."""
    before = venue.dump()
    with pytest.raises(OrderRefused) as refused:
        venue.place(request, T)
    after = venue.dump()
    assert msgspec.structs.replace(after, last_id=before.last_id) == before
    return refused.value.code


def test_pushes_of_an_execution_come_in_the_protocols_order() -> None:
    venue = sol_venue()
    order = venue.check(market("buy", "1", client_oid="x"), T)
    assert kinds(venue.drain()) == ["OrderChanged:live", "PositionChanged", "AccountChanged"]
    venue.act(order.order_id, T + 44)
    events = venue.drain()
    assert kinds(events) == ["OrderChanged:filled", "Executed", "PositionChanged", "AccountChanged"]
    first = events[0]
    assert isinstance(first, OrderChanged)
    assert (first.order.created_ms, first.order.updated_ms) == (T, T + 44)
    assert first.execution is not None


def test_an_accepted_order_reserves_margin_and_client_id_before_it_acts() -> None:
    venue = Venue([SOL], D(160), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    order = venue.check(market("buy", "10", client_oid="x"), T)
    assert venue.summary().locked == D("152.4")
    assert venue.order(client_oid="x").status == "live"
    assert venue.waiting() == [order.order_id]
    assert refusal(venue, limit("buy", "1", "149", client_oid="y")) == "40762"
    assert refusal(venue, limit("buy", "0.1", "149", client_oid="x")) == "40786"
    assert venue.act(order.order_id, T).status == "filled"
    assert venue.act(order.order_id, T).filled_qty == D(10), "acting twice fills once"


def test_an_order_canceled_before_it_acts_never_fills() -> None:
    venue = sol_venue()
    order = venue.check(market("buy", "1"), T)
    venue.cancel(T, order_id=order.order_id)
    assert venue.act(order.order_id, T + 50).status == "canceled"
    assert venue.executions() == []


def test_a_fill_wins_over_a_cancel_that_acts_later() -> None:
    venue = sol_venue()
    order = venue.place(limit("buy", "1", "150.120"), T)
    meant = venue.check_cancel(order_id=order.order_id)
    venue.trade("SOLUSDT", 150_100, 10, "sell", T + 1)
    assert venue.act_cancel(meant.order_id, T + 2).status == "filled"


@pytest.mark.parametrize(
    ("tif", "price", "qty", "status", "filled", "reason"),
    [
        ("gtc", "150.121", "9", "partially_filled", "7.1", ""),
        ("ioc", "150.121", "9", "canceled", "7.1", "ioc_cancel"),
        ("ioc", "150.120", "9", "canceled", "0", "ioc_cancel"),
        ("fok", "150.121", "9", "canceled", "0", "fok_cancel"),
        ("fok", "150.125", "9", "filled", "9", ""),
        ("post_only", "150.121", "1", "canceled", "0", "post_only_cancel"),
        ("post_only", "150.120", "1", "live", "0", ""),
    ],
)
def test_time_in_force(tif: str, price: str, qty: str, status: str, filled: str, reason: str) -> None:
    venue = sol_venue()
    order = venue.place(limit("buy", qty, price, tif=tif), T)
    assert (order.status, order.filled_qty, order.cancel_reason) == (status, D(filled), reason)


def test_post_only_at_a_locked_price_is_canceled() -> None:
    venue = Venue([SOL], D(1000))
    venue.set_book("SOLUSDT", ((100_000, 10),), ((100_000, 10),), T)
    assert venue.place(limit("buy", "1", "100", tif="post_only"), T).status == "canceled"
    assert venue.place(limit("buy", "1", "99.999", tif="post_only"), T).status == "live"


def test_a_market_order_beyond_the_visible_book_ends_with_what_it_got() -> None:
    venue = sol_venue("1000000")
    order = venue.place(market("buy", "40"), T)
    assert (order.status, order.filled_qty, order.cancel_reason) == ("canceled", D("27.1"), "insufficient_liquidity")


def test_the_remainder_of_a_crossing_limit_rests_and_fills_as_maker() -> None:
    venue = sol_venue()
    order = venue.place(limit("buy", "9", "150.121"), T)
    assert venue.depth("SOLUSDT") == (((150_121, 19), (150_120, 125), (150_119, 30)), ((150_125, 200),))
    venue.trade("SOLUSDT", 150_121, 19, "sell", T + 1)
    assert venue.order(order_id=order.order_id).status == "filled"
    assert [e.maker for e in venue.executions()] == [False, True]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (market("buy", "1", symbol="NOSUCHUSDT"), "40034"),
        (market("buy", "1.05"), "22038"),
        (market("buy", "0"), "40020"),
        (market("buy", "NaN"), "40020"),
        (limit("buy", "1", "150.0005"), "45115"),
        (limit("buy", "1", "-1"), "40020"),
        (OrderRequest(symbol="SOLUSDT", side="buy", order_type="limit", qty=D(1)), "40019"),
        (limit("buy", "1", "157.627"), "43008"),
        (limit("sell", "1", "142.613"), "43009"),
        (market("buy", "1", symbol="BTCUSDT"), "22045"),
        (market("buy", "100000"), "40762"),
        (market("sell", "1", reduce_only=True), "22002"),
        (market("buy", "1", trade_side="open"), "40774"),
        (market("buy", "1", client_oid="ä"), "40017"),
        (market("buy", "1", client_oid="x" * 50), "40017"),
        (market("buy", "1", presets=Presets(stop_loss=D("150.12"))), "40917"),
        (market("sell", "1", presets=Presets(stop_loss=D("150.12"))), "40917"),
        (limit("buy", "1", "149", presets=Presets(stop_loss=D("149"))), "40917"),
        (market("buy", "1", presets=Presets(take_profit=D("150"))), "40915"),
        (market("buy", "1", presets=Presets(stop_loss=D("140.0001"))), "45115"),
    ],
)
def test_refusals_carry_the_protocols_code_and_change_nothing(request_: OrderRequest, code: str) -> None:
    assert refusal(sol_venue(), request_) == code


def test_the_contract_limits_size_and_notional() -> None:
    contract = msgspec.structs.replace(SOL, min_qty=D("0.3"), max_qty=D(50), max_market_qty=D(20))
    venue = Venue([contract], D(100_000), leverage=10)
    flat_book(venue, "SOLUSDT", "9.999", "10")
    assert refusal(venue, market("buy", "0.2")) == "45111"
    assert refusal(venue, market("buy", "0.4")) == "45110"
    assert refusal(venue, market("buy", "20.1")) == "45112"
    assert refusal(venue, limit("buy", "50.1", "9.9")) == "45112"
    venue.place(market("buy", "0.5"), T)
    venue.place(market("sell", "0.3", reduce_only=True), T)
    assert refusal(venue, market("sell", "0.2", reduce_only=True)) == "45111"
    assert venue.close_position("SOLUSDT", T).status == "filled", "dust leaves by the flash close"
    assert venue.positions() == ()


@pytest.mark.parametrize(
    ("status", "code"), [("maintain", "40844"), ("restrictedAPI", "22004"), ("off", "40845"), ("limit_open", "45119")]
)
def test_a_contract_that_is_not_normal_refuses_orders(status: str, code: str) -> None:
    venue = sol_venue()
    venue.place(market("buy", "1"), T)
    venue.set_instrument(msgspec.structs.replace(SOL, status=status), T)
    assert refusal(venue, market("buy", "1")) == code
    if status == "limit_open":
        assert venue.place(market("sell", "1", reduce_only=True), T).status == "filled"


def test_too_many_open_orders_are_refused() -> None:
    venue = sol_venue(limits=VenueLimits(max_symbol_orders=2))
    venue.place(limit("buy", "0.1", "149"), T)
    venue.place(limit("buy", "0.1", "149"), T)
    assert refusal(venue, limit("buy", "0.1", "149")) == "43005"


def test_hedge_mode_trades_nothing() -> None:
    venue = sol_venue()
    venue.set_position_mode("hedge_mode")
    assert refusal(venue, market("buy", "1")) == "40774"


def test_reduce_only_is_cut_to_the_position() -> None:
    venue = sol_venue()
    venue.place(market("buy", "2"), T)
    order = venue.place(market("sell", "5", reduce_only=True), T)
    assert (order.qty, order.status) == (D(2), "filled")
    assert venue.positions() == ()
    assert refusal(venue, market("sell", "1", reduce_only=True)) == "22002"


def test_reduce_only_on_the_side_of_the_position_is_refused() -> None:
    venue = sol_venue()
    venue.place(market("buy", "2"), T)
    assert refusal(venue, market("buy", "1", reduce_only=True)) == "22002"


def test_a_new_reduce_only_order_evicts_older_ones_that_no_longer_fit() -> None:
    venue = sol_venue()
    venue.place(market("buy", "2"), T)
    first = venue.place(limit("sell", "1", "151", reduce_only=True), T)
    second = venue.place(limit("sell", "1", "152", reduce_only=True), T)
    venue.place(limit("sell", "1", "153", reduce_only=True), T)
    assert venue.order(order_id=first.order_id).cancel_reason == "reduce_only_cancel"
    assert venue.order(order_id=second.order_id).status == "live"


def test_resting_reduce_only_orders_shrink_and_end_with_the_position() -> None:
    venue = sol_venue()
    venue.place(market("buy", "3"), T)
    order = venue.place(limit("sell", "3", "151", reduce_only=True), T)
    venue.place(market("sell", "2"), T)
    assert venue.order(order_id=order.order_id).remaining == D(1)
    assert venue.depth("SOLUSDT")[1][-1] == (151_000, 10)
    venue.place(market("sell", "2"), T)
    assert venue.order(order_id=order.order_id).status == "canceled"
    assert venue.account.signed_qty("SOLUSDT") == D(-1)


def test_a_reduce_only_order_accepted_on_a_position_that_is_gone_when_it_acts_is_canceled() -> None:
    venue = sol_venue()
    venue.place(market("buy", "2"), T)
    order = venue.check(market("sell", "2", reduce_only=True), T)
    venue.place(market("sell", "2"), T)
    assert venue.act(order.order_id, T + 1).status == "canceled"
    assert venue.positions() == ()


def test_closing_orders_need_no_free_margin() -> None:
    venue = Venue([SOL], D("152.4"), leverage=10)
    flat_book(venue, "SOLUSDT", "149.999", "150")
    venue.place(market("buy", "10"), T)
    flat_book(venue, "SOLUSDT", "140", "140.001", T)
    venue.place(limit("sell", "10", "141"), T)
    assert venue.summary().locked == 0


@pytest.mark.parametrize(
    ("stp", "maker_status", "taker_status", "filled"),
    [
        ("none", "filled", "filled", "1"),
        ("cancel_taker", "live", "canceled", "0"),
        ("cancel_maker", "canceled", "live", "0"),
        ("cancel_both", "canceled", "canceled", "0"),
    ],
)
def test_self_trade_prevention(stp: SelfTrade, maker_status: str, taker_status: str, filled: str) -> None:
    venue = Venue([SOL], D(1000), leverage=10)
    flat_book(venue, "SOLUSDT", "99", "102")
    maker = venue.place(limit("sell", "1", "100"), T)
    taker = venue.place(limit("buy", "1", "101", stp=stp), T)
    assert venue.order(order_id=maker.order_id).status == maker_status
    assert (taker.status, taker.filled_qty) == (taker_status, D(filled))
    assert venue.positions() == ()


def test_cancel_refusals() -> None:
    venue = sol_venue()
    order = venue.place(market("buy", "1", client_oid="x"), T)
    for what, code in (({"order_id": "1"}, "40768"), ({"client_oid": "x"}, "22001"), ({}, "40924")):
        with pytest.raises(OrderRefused) as refused:
            venue.cancel(T, **what)
        assert refused.value.code == code
    with pytest.raises(OrderRefused) as refused:
        venue.order(client_oid="nobody")
    assert refused.value.code == "40109"
    assert venue.order(client_oid="x").order_id == order.order_id


def test_flash_close_takes_the_whole_position_and_refuses_a_flat_one() -> None:
    venue = sol_venue()
    with pytest.raises(OrderRefused) as refused:
        venue.close_position("SOLUSDT", T)
    assert refused.value.code == "22002"
    venue.place(market("sell", "3"), T)
    order = venue.close_position("SOLUSDT", T, client_oid="c")
    assert (order.side, order.qty, order.status, order.client_oid) == ("buy", D(3), "filled", "c")


def test_ids_have_19_digits_and_grow() -> None:
    venue = sol_venue()
    for step in range(3):
        venue.place(market("buy", "1"), T + step)
    ids = [o.order_id for o in venue.past_orders()] + [e.trade_id for e in venue.executions()]
    assert all(len(i) == 19 and i.isdigit() for i in ids)
    assert len(set(ids)) == len(ids)
    assert [o.order_id for o in venue.past_orders()] == sorted(o.order_id for o in venue.past_orders())


def test_the_margin_mode_of_a_request_holds_only_when_the_symbol_is_idle() -> None:
    venue = sol_venue()
    assert venue.place(market("buy", "1", margin_mode="crossed"), T).margin_mode == "crossed"
    assert venue.place(market("sell", "1", margin_mode="isolated"), T).margin_mode == "crossed"
    assert venue.place(market("sell", "1", margin_mode="isolated"), T).margin_mode == "isolated"


def test_positions_are_published_as_the_full_set() -> None:
    venue = sol_venue("100000")
    flat_book(venue, "BTCUSDT", "59999.9", "60000")
    venue.place(market("buy", "1"), T)
    venue.place(market("sell", "0.01", symbol="BTCUSDT"), T)
    sets = [e for e in venue.drain() if isinstance(e, PositionChanged)]
    assert [r.position.symbol for r in sets[-1].positions] == ["SOLUSDT", "BTCUSDT"]
    venue.close_position("SOLUSDT", T)
    last = [e for e in venue.drain() if isinstance(e, PositionChanged)][-1]
    assert [r.position.symbol for r in last.positions] == ["BTCUSDT"]


def test_memory_of_ended_orders_is_bounded_and_open_ones_are_kept() -> None:
    venue = sol_venue("100000", memory=5)
    kept = venue.place(limit("buy", "0.1", "149"), T)
    for n in range(20):
        flat_book(venue, "SOLUSDT", "150.12", "150.121", T + n)
        venue.place(market("buy" if n % 2 else "sell", "1"), T + n)
    assert len(venue.past_orders()) == 5
    assert len(venue.executions()) == 5
    assert venue.order(order_id=kept.order_id).status == "live"


def test_max_open_is_what_the_margin_check_accepts() -> None:
    venue = sol_venue("1000", leverage=10)
    most = venue.max_open("SOLUSDT", "buy", D("150"))
    assert refusal(venue, limit("buy", str(most + SOL.lot), "150")) == "40762"
    assert venue.place(limit("buy", str(most), "150"), T).status == "live"


def test_reduce_only_orders_that_together_exceed_the_position_close_it_and_no_more() -> None:
    venue = sol_venue()
    venue.place(market("buy", "3"), T)
    for price in ("151", "151.001"):
        venue.place(limit("sell", "1.5", price, reduce_only=True), T)
    venue.place(market("sell", "1"), T)
    venue.trade("SOLUSDT", 152_000, 100, "buy", T + 1)
    assert [e.qty for e in venue.executions()[-2:]] == [D("1.5"), D("0.5")]
    assert venue.positions() == ()
    assert venue.open_orders() == []
