from __future__ import annotations

from decimal import Decimal as D

import pytest

from tests.matching.parts import T, flat_book, kinds, limit, market, plan, sol_venue
from tradebot.market.instrument import Side
from tradebot.matching.orders import OrderRefused, Presets
from tradebot.matching.plans import PlanRequest, PlanType
from tradebot.matching.reports import PlanChanged
from tradebot.matching.venue import Venue


def with_position(side: Side = "buy", qty: str = "2") -> Venue:
    venue = sol_venue("100000")
    flat_book(venue, "SOLUSDT", "150.12", "150.121")
    venue.place(market(side, qty), T)
    venue.drain()
    return venue


def refusal(venue: Venue, request: PlanRequest) -> str:
    with pytest.raises(OrderRefused) as refused:
        venue.place_plan(request, T)
    return refused.value.code


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "holds_at", "fires_at"),
    [
        ("buy", "pos_loss", "147", "147.001", "147"),
        ("sell", "pos_loss", "153", "152.999", "153"),
        ("buy", "pos_profit", "153", "152.999", "153"),
        ("sell", "pos_profit", "147", "147.001", "147"),
    ],
)
def test_a_position_plan_fires_at_its_mark_and_closes_everything(
    side: Side, kind: PlanType, trigger: str, holds_at: str, fires_at: str
) -> None:
    venue = with_position(side)
    placed = venue.place_plan(plan(kind, trigger, hold_side=side), T)
    venue.set_mark("SOLUSDT", D(holds_at), T + 1)
    assert venue.live_plans() == [placed]
    venue.drain()
    venue.set_mark("SOLUSDT", D(fires_at), T + 2)
    events = venue.drain()
    assert [e.plan.status for e in events if isinstance(e, PlanChanged)] == ["executing", "executed"]
    assert kinds(events)[1:-1] == [
        "OrderChanged:live",
        "OrderChanged:filled",
        "Executed",
        "PositionChanged",
        "PositionClosed",
        "AccountChanged",
    ]
    assert venue.positions() == ()
    sent = venue.past_orders()[-1]
    assert (sent.source, sent.reduce_only) == (f"{kind}_market", True)
    assert venue.plan(order_id=placed.order_id).executed_order_id == sent.order_id


def test_a_position_plan_follows_the_size_and_a_partial_one_does_not() -> None:
    venue = with_position()
    whole = venue.place_plan(plan("pos_loss", "147"), T)
    part = venue.place_plan(plan("loss_plan", "148", qty=D(1)), T)
    venue.place(market("buy", "3"), T)
    assert (venue.plan_qty(whole), venue.plan_qty(part)) == (D(5), D(1))
    venue.set_mark("SOLUSDT", D(148), T + 1)
    assert venue.account.signed_qty("SOLUSDT") == D(4)
    assert venue.live_plans() == [whole]


def test_a_last_price_plan_fires_on_a_trade_and_not_on_the_mark() -> None:
    venue = with_position()
    venue.place_plan(plan("pos_loss", "147", trigger_type="fill_price"), T)
    venue.set_mark("SOLUSDT", D(140), T + 1)
    assert len(venue.live_plans()) == 1
    venue.trade("SOLUSDT", 146_999, 1, "sell", T + 2)
    assert venue.positions() == ()


def test_closing_the_position_cancels_its_plans() -> None:
    venue = with_position()
    venue.place_plan(plan("pos_loss", "147"), T)
    venue.place_plan(plan("profit_plan", "153", qty=D(1)), T)
    venue.close_position("SOLUSDT", T + 1)
    assert venue.live_plans() == []
    assert {p.status for p in venue.past_plans()} == {"cancelled"}


def test_flipping_the_position_cancels_the_plans_of_the_old_one() -> None:
    venue = with_position()
    venue.place_plan(plan("pos_loss", "147"), T)
    venue.place(market("sell", "5"), T + 1)
    assert venue.live_plans() == []
    venue.place_plan(plan("pos_loss", "153", hold_side="sell"), T + 1)
    assert len(venue.live_plans()) == 1


def test_refusals_of_protection() -> None:
    venue = with_position()
    assert refusal(venue, plan("pos_loss", "150.1205")) == "45115"
    assert refusal(venue, plan("pos_loss", "151")) == "40917"
    assert refusal(venue, plan("pos_profit", "150")) == "40915"
    assert refusal(venue, plan("pos_loss", "147", hold_side="sell")) == "43023"
    assert refusal(venue, plan("pos_loss", "60000", symbol="BTCUSDT")) == "22045"
    assert refusal(venue, plan("loss_plan", "147")) == "40019"
    assert refusal(venue, plan("loss_plan", "147", qty=D(3))) == "40891"
    venue.place_plan(plan("pos_loss", "147", client_oid="p"), T)
    assert refusal(venue, plan("pos_loss", "146")) == "43031"
    assert refusal(venue, plan("pos_profit", "153", client_oid="p")) == "40786"
    venue.place_plan(plan("pos_profit", "153"), T)
    assert refusal(venue, plan("pos_profit", "154")) == "43030"
    flat = sol_venue()
    assert refusal(flat, plan("pos_loss", "147")) == "43023"


def test_plans_and_orders_have_separate_client_ids() -> None:
    venue = with_position()
    venue.place(limit("buy", "1", "149", client_oid="same"), T)
    venue.place_plan(plan("pos_loss", "147", client_oid="same"), T)
    assert venue.plan(client_oid="same").plan == "pos_loss"


def test_a_preset_stop_appears_with_the_fill_for_what_was_filled() -> None:
    venue = sol_venue("100000")
    order = venue.place(limit("buy", "10", "150.121", presets=Presets(stop_loss=D("147"), take_profit=D("155"))), T)
    assert order.filled_qty == D("7.1")
    kept = {(p.plan, p.qty, p.trigger_price, p.side) for p in venue.live_plans()}
    assert kept == {("loss_plan", D("7.1"), D(147), "sell"), ("profit_plan", D("7.1"), D(155), "sell")}
    assert kinds(venue.drain())[-3:] == ["AccountChanged", "PlanChanged", "PlanChanged"]
    venue.trade("SOLUSDT", 150_100, 1_000, "sell", T + 1)
    assert [p.qty for p in venue.live_plans() if p.plan == "loss_plan"] == [D("7.1"), D("2.9")]
    flat_book(venue, "SOLUSDT", "146.9", "146.901", T + 2)
    assert venue.positions() == ()
    assert venue.live_plans() == []


def test_a_preset_does_not_exist_while_the_order_rests() -> None:
    venue = sol_venue()
    venue.place(limit("buy", "1", "149", presets=Presets(stop_loss=D("147"))), T)
    assert venue.live_plans() == []


def test_an_order_that_only_reduces_places_no_preset() -> None:
    venue = with_position(qty="2")
    venue.place(market("sell", "1", presets=Presets(stop_loss=D("155"))), T)
    assert venue.live_plans() == []
    venue.place(market("sell", "3", presets=Presets(stop_loss=D("155"))), T)
    assert [(p.qty, p.side) for p in venue.live_plans()] == [(D(2), "buy")]


def test_a_plan_cannot_fire_before_it_acts_and_fires_at_once_when_it_is_late() -> None:
    venue = with_position()
    accepted = venue.check_plan(plan("pos_loss", "147"), T)
    assert venue.live_plans() == []
    assert refusal(venue, plan("pos_loss", "146")) == "43031"
    venue.set_mark("SOLUSDT", D(146), T + 1)
    assert venue.positions() != ()
    assert venue.act_plan(accepted.order_id, T + 2).status == "executed"
    assert venue.positions() == ()


def test_a_plan_whose_position_is_gone_when_it_acts_is_cancelled() -> None:
    venue = with_position()
    accepted = venue.check_plan(plan("pos_loss", "147"), T)
    venue.close_position("SOLUSDT", T + 1)
    assert venue.act_plan(accepted.order_id, T + 2).status == "cancelled"


def test_cancelling_a_plan_once_and_twice() -> None:
    venue = with_position()
    venue.place_plan(plan("pos_loss", "147", client_oid="p"), T)
    assert venue.cancel_plan(T, client_oid="p").status == "cancelled"
    with pytest.raises(OrderRefused) as refused:
        venue.cancel_plan(T, client_oid="p")
    assert refused.value.code == "43025"
    venue.set_mark("SOLUSDT", D(140), T + 1)
    assert venue.positions() != ()


def test_a_stop_without_any_liquidity_fails_to_execute() -> None:
    venue = with_position()
    placed = venue.place_plan(plan("pos_loss", "147"), T)
    venue.set_book("SOLUSDT", (), (), T + 1)
    venue.set_mark("SOLUSDT", D(146), T + 1)
    assert venue.plan(order_id=placed.order_id).status == "fail_execute"


def test_a_limit_take_profit_rests_at_its_price() -> None:
    venue = with_position()
    venue.place_plan(plan("profit_plan", "151", qty=D(2), execute_price=D(152)), T)
    venue.set_mark("SOLUSDT", D(151), T + 1)
    sent = venue.open_orders()[0]
    assert (sent.price, sent.source, sent.reduce_only) == (D(152), "profit_limit", True)


@pytest.mark.parametrize(("trigger", "holds_at"), [("151", "150.999"), ("149", "149.001")])
def test_a_conditional_order_fires_when_the_price_comes_to_it(trigger: str, holds_at: str) -> None:
    venue = sol_venue()
    venue.place_plan(plan("normal_plan", trigger, side="buy", qty=D(1)), T)
    venue.set_mark("SOLUSDT", D(holds_at), T + 1)
    assert venue.positions() == ()
    venue.set_mark("SOLUSDT", D(trigger), T + 2)
    assert venue.account.signed_qty("SOLUSDT") == D(1)
    assert venue.past_orders()[-1].source == "plan_market"


def test_a_conditional_order_that_the_account_cannot_afford_fails() -> None:
    venue = sol_venue("10")
    placed = venue.place_plan(plan("normal_plan", "151", side="buy", qty=D(100)), T)
    venue.set_mark("SOLUSDT", D(151), T + 1)
    assert venue.plan(order_id=placed.order_id).status == "fail_execute"
    assert venue.past_orders() == []
