"""Orders and trigger orders that are changed after they were accepted, and the venue's own limits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from tests.matching.parts import SOL, T, flat_book, limit, market, plan, sol_venue
from tradebot.errors import DataError
from tradebot.market.instrument import Side
from tradebot.matching.orders import OrderRefused, Presets
from tradebot.matching.plans import PlanRequest
from tradebot.matching.reports import PlanChanged
from tradebot.matching.settings import VenueLimits
from tradebot.matching.venue import Venue


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(OrderRefused) as caught:
        call()
    return caught.value.code


# --- modify ---------------------------------------------------------------------------------------------------------


def test_a_modified_order_ends_and_its_successor_has_a_new_id() -> None:
    venue = sol_venue()
    old = venue.place(limit("buy", "1", "149", client_oid="a", presets=Presets(stop_loss=D(140))), T)
    request = venue.check_modify(old, D(2), D(148), "b", old.presets, T)
    assert venue.order(order_id=old.order_id).status == "live", "nothing has happened yet"
    assert refused(lambda: venue.check(limit("buy", "1", "149", client_oid="b"), T)) == "40786"
    new = venue.act_modify(old.order_id, request, T + 40)
    assert new is not None
    assert venue.order(order_id=old.order_id).cancel_reason == "modify_cancel"
    assert (new.client_oid, new.qty, new.price, new.presets) == ("b", D(2), D(148), old.presets)
    assert new.order_id != old.order_id


def test_a_fill_that_comes_before_a_modify_wins() -> None:
    venue = sol_venue()
    old = venue.place(limit("buy", "1", "150.120"), T)
    request = venue.check_modify(old, D(2), D(148), "b", old.presets, T)
    venue.trade("SOLUSDT", 150_100, 10, "sell", T + 1)
    assert venue.act_modify(old.order_id, request, T + 2) is None
    assert refused(lambda: venue.order(client_oid="b")) == "40109"
    assert venue.place(limit("buy", "1", "149", client_oid="b"), T + 3).status == "live", "the id is free again"


def test_a_modify_may_use_the_room_of_the_order_it_replaces() -> None:
    venue = Venue([SOL], D(160), leverage=10, limits=VenueLimits(max_symbol_orders=1))
    flat_book(venue, "SOLUSDT", "149.999", "150")
    old = venue.place(limit("buy", "10", "149"), T)
    request = venue.check_modify(old, D(10), D("149.5"), "b", old.presets, T)
    new = venue.act_modify(old.order_id, request, T)
    assert new is not None
    assert new.status == "live"
    assert refused(lambda: venue.check_modify(new, D(20), D("149.5"), "c", new.presets, T)) == "40762"


def test_modify_refusals() -> None:
    venue = sol_venue()
    order = venue.place(limit("buy", "1", "149", client_oid="a"), T)
    change = lambda qty, price, oid: venue.check_modify(order, D(qty), D(price), oid, order.presets, T)  # noqa: E731
    assert refused(lambda: change("2", "149", "")) == "22003"
    assert refused(lambda: change("1", "149", "b")) == "40923"
    assert refused(lambda: change("2", "149", "a")) == "40786"
    assert refused(lambda: change("2", "149.0001", "b")) == "45115"
    partly = venue.place(limit("buy", "9", "150.121", client_oid="p"), T)
    assert partly.status == "partially_filled"
    assert refused(lambda: venue.check_modify(partly, D(2), D(149), "b", partly.presets, T)) == "40922"


def test_presets_alone_are_changed_in_place() -> None:
    venue = sol_venue()
    order = venue.place(limit("buy", "1", "149"), T)
    wanted = Presets(stop_loss=D(140), stop_loss_limit=D("139.5"))
    assert refused(lambda: venue.check_presets(order, order.presets)) == "40923"
    assert refused(lambda: venue.check_presets(order, Presets(stop_loss=D(149)))) == "40917"
    venue.check_presets(order, wanted)
    changed = venue.act_presets(order.order_id, wanted, T)
    assert (changed.order_id, changed.presets) == (order.order_id, wanted)
    venue.trade("SOLUSDT", 148_900, 10, "sell", T + 1)
    (stop,) = venue.live_plans()
    assert (stop.trigger_price, stop.execute_price, stop.source) == (D(140), D("139.5"), "loss_limit")


# --- reverse --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("qty", "after"), [(None, "-2"), ("0.5", "-0.5")])
def test_reversing_takes_a_position_through_zero(qty: str | None, after: str) -> None:
    venue = sol_venue()
    venue.place(market("buy", "2"), T)
    (order,) = venue.check_reverse("SOLUSDT", T, qty=None if qty is None else D(qty), client_oid="r")
    venue.act(order.order_id, T)
    assert venue.account.signed_qty("SOLUSDT") == D(after)
    assert venue.closed_positions()[-1].closed_qty == D(2)


def test_a_flat_symbol_cannot_be_reversed() -> None:
    assert refused(lambda: sol_venue().check_reverse("SOLUSDT", T)) == "22002"


# --- trailing trigger orders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "trigger", "marks", "fires"),
    [
        # a sell of 1 %: reached at 152, best 154, fires at 154 * 0.99 = 152.46
        ("sell", "152", ["151.9", "152", "154", "152.47"], "152.46"),
        # a buy of 1 %: reached at 148, best 146, fires at 146 * 1.01 = 147.46
        ("buy", "148", ["148.1", "148", "146", "147.45"], "147.46"),
    ],
)
def test_a_trailing_order_follows_the_price_and_fires_when_it_comes_back(
    side: Side, trigger: str, marks: list[str], fires: str
) -> None:
    venue = sol_venue("100000")
    placed = venue.place_plan(plan("track_plan", trigger, side=side, qty=D(1), callback=D(1)), T)
    for n, mark in enumerate(marks):
        venue.set_mark("SOLUSDT", D(mark), T + n)
        assert venue.plan(order_id=placed.order_id).status == "live"
    venue.set_mark("SOLUSDT", D(fires), T + 9)
    assert venue.plan(order_id=placed.order_id).status == "executed"
    assert venue.past_orders()[-1].source == "track_market"
    assert venue.account.signed_qty("SOLUSDT") == (D(1) if side == "buy" else D(-1))


def test_a_moving_stop_closes_its_part_of_the_position() -> None:
    venue = sol_venue("100000")
    venue.place(market("buy", "3"), T)
    request = plan("moving_plan", "150.2", hold_side="buy", qty=D(1), callback=D("0.5"))
    placed = venue.place_plan(request, T)
    for n, mark in enumerate(("149", "151", "153", "152.3")):
        venue.set_mark("SOLUSDT", D(mark), T + n)
    assert venue.plan(order_id=placed.order_id).extreme == D(153)
    venue.set_mark("SOLUSDT", D("152.2"), T + 5)
    assert venue.account.signed_qty("SOLUSDT") == D(2)
    assert venue.past_orders()[-1].source == "moving_market"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"callback": None}, "40019"),
        ({"callback": D("10.1")}, "43011"),
        ({"callback": D(0)}, "43011"),
        ({"execute_price": D(150)}, "43011"),
        ({"qty": None}, "40019"),
        ({"qty": D("0.05")}, "22038"),
    ],
)
def test_trailing_refusals(changes: dict[str, Any], code: str) -> None:
    venue = sol_venue()
    request = plan("track_plan", "152", side="sell", qty=D(1), callback=D(1))
    assert refused(lambda: venue.place_plan(msgspec.structs.replace(request, **changes), T)) == code


# --- changed trigger orders -----------------------------------------------------------------------------------------


def test_a_changed_stop_keeps_its_ids_and_fires_at_its_new_price() -> None:
    venue = sol_venue("100000")
    venue.place(market("buy", "2"), T)
    old = venue.place_plan(plan("pos_loss", "140", hold_side="buy", client_oid="s"), T)
    venue.drain()
    new = venue.check_modify_plan(old, plan("pos_loss", "145", hold_side="buy"), T)
    venue.set_mark("SOLUSDT", D(144), T + 1)
    assert venue.account.signed_qty("SOLUSDT") == D(2), "not changed yet"
    venue.act_modify_plan(new, T + 40)
    assert venue.positions() == ()
    states = [e.plan for e in venue.drain() if isinstance(e, PlanChanged)]
    assert {(p.order_id, p.client_oid) for p in states} == {(old.order_id, "s")}
    assert [p.status for p in states] == ["live", "executing", "executed"]


def test_a_change_is_judged_like_a_new_trigger_order_but_does_not_stand_in_its_own_way() -> None:
    venue = sol_venue("100000", limits=VenueLimits(max_symbol_plans=1))
    venue.place(market("buy", "2"), T)
    old = venue.place_plan(plan("pos_loss", "140", hold_side="buy"), T)
    assert refused(lambda: venue.place_plan(plan("pos_profit", "160", hold_side="buy"), T)) == "40890"
    assert refused(lambda: venue.check_modify_plan(old, plan("pos_loss", "151", hold_side="buy"), T)) == "40917"
    assert refused(lambda: venue.check_modify_plan(old, plan("pos_loss", "140", hold_side="buy"), T)) == "40923"
    venue.act_modify_plan(venue.check_modify_plan(old, plan("pos_loss", "141", hold_side="buy"), T), T)
    assert venue.live_plans()[0].trigger_price == D(141)
    venue.cancel_plan(T, order_id=old.order_id)
    late = venue.plan(order_id=old.order_id)
    assert refused(lambda: venue.check_modify_plan(late, plan("pos_loss", "142", hold_side="buy"), T)) == "43025"


def test_several_trigger_orders_are_accepted_together_or_not_at_all() -> None:
    venue = sol_venue("100000")
    venue.place(market("buy", "2"), T)
    good, bad = plan("pos_profit", "160", hold_side="buy"), plan("pos_loss", "160", hold_side="buy")
    assert refused(lambda: venue.check_plans([good, bad], T)) == "40917"
    assert venue.dump().plans == ()
    twice: list[PlanRequest] = [
        plan(kind, price, hold_side="buy", client_oid="x")
        for kind, price in (("pos_profit", "160"), ("pos_loss", "1"))  # type: ignore[arg-type]
    ]
    assert refused(lambda: venue.check_plans(twice, T)) == "40786"


def test_presets_of_a_conditional_order_go_to_the_order_it_sends() -> None:
    venue = sol_venue("100000")
    presets = Presets(stop_loss=D(145), stop_loss_type="fill_price", take_profit=D(160), take_profit_limit=D(161))
    venue.place_plan(plan("normal_plan", "151", side="buy", qty=D(1), presets=presets), T)
    flat_book(venue, "SOLUSDT", "151", "151.001", T + 1)
    stops = {p.plan: (p.trigger_price, p.trigger_type, p.execute_price) for p in venue.live_plans()}
    assert stops == {
        "loss_plan": (D(145), "fill_price", None),
        "profit_plan": (D(160), "mark_price", D(161)),
    }


# --- limits of the venue --------------------------------------------------------------------------------------------


def test_open_orders_of_all_symbols_and_positions_are_counted() -> None:
    venue = sol_venue("100000", limits=VenueLimits(max_product_orders=2, max_positions=1))
    flat_book(venue, "BTCUSDT", "59999.9", "60000")
    venue.place(market("buy", "1"), T)
    assert refused(lambda: venue.place(market("buy", "0.001", symbol="BTCUSDT"), T)) == "45116"
    for _ in range(2):
        venue.place(limit("buy", "1", "149"), T)
    assert refused(lambda: venue.place(limit("buy", "1", "149"), T)) == "40723"


def test_a_market_order_does_not_begin_beyond_the_price_band() -> None:
    venue = sol_venue("100000")
    venue.set_book("SOLUSDT", ((142_000, 100),), ((158_000, 100),), T)
    assert refused(lambda: venue.place(market("buy", "1"), T)) == "22008"
    assert refused(lambda: venue.place(market("sell", "1"), T)) == "22009"


def test_a_limit_close_behind_plain_orders_that_close_everything_would_not_reduce() -> None:
    venue = sol_venue()
    venue.place(market("buy", "2"), T)
    venue.place(limit("sell", "2", "151"), T)
    assert refused(lambda: venue.place(limit("sell", "1", "152", reduce_only=True), T)) == "40939"
    assert venue.place(limit("sell", "1", "150.9", reduce_only=True), T).status == "live"
    assert venue.place(market("sell", "1", reduce_only=True), T).status == "filled"


def test_announced_moments_of_a_contract_take_effect_by_themselves() -> None:
    venue = sol_venue()
    venue.place(market("buy", "2"), T)
    venue.set_instrument(msgspec.structs.replace(SOL, limit_open_time_ms=T + 10, off_time_ms=T + 20), T)
    venue.place(limit("buy", "1", "149"), T + 9)
    assert refused(lambda: venue.place(limit("buy", "1", "149"), T + 10)) == "45119"
    venue.place(market("sell", "1", reduce_only=True), T + 10)
    assert refused(lambda: venue.place(market("sell", "1", reduce_only=True), T + 20)) == "40845"


def test_a_new_tick_keeps_the_orders_that_fit_it_and_cancels_the_others() -> None:
    venue = sol_venue()
    venue.place(market("buy", "2"), T)
    fits = venue.place(limit("buy", "1", "149.5"), T)
    off = venue.place(limit("buy", "1", "149.507"), T)
    venue.set_instrument(msgspec.structs.replace(SOL, tick=D("0.01")), T + 1)
    assert venue.order(order_id=off.order_id).cancel_reason == "contract_change_cancel"
    assert venue.depth("SOLUSDT") == (((14_950, 10),), ())
    venue.set_book("SOLUSDT", ((14_900, 10),), ((14_940, 100),), T + 2)
    assert venue.order(order_id=fits.order_id).status == "filled"
    with pytest.raises(DataError, match=r"new lot 0\.4"):
        venue.set_instrument(msgspec.structs.replace(SOL, lot=D("0.4")), T + 3)


def test_leverage_belongs_to_a_margin_mode() -> None:
    venue = sol_venue(leverage=10)
    venue.set_leverage("SOLUSDT", 5, T)
    venue.set_margin_mode("SOLUSDT", "crossed")
    assert venue.account.settings["SOLUSDT"].leverage("buy") == 10
    venue.set_leverage("SOLUSDT", 3, T)
    venue.set_margin_mode("SOLUSDT", "isolated")
    assert venue.account.settings["SOLUSDT"].leverage("sell") == 5
    assert venue.place(market("buy", "1", margin_mode="crossed"), T).leverage == 3
