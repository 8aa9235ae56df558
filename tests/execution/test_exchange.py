"""The exchange broker: one send per command, and what becomes of it when the answer is not plain."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from tests.eventually import turns
from tests.execution.fake_rest import SYMBOL, FakeRest, T, detail, fill, stop, update
from tradebot.errors import AuthRefused, ExchangeError, OutcomeUnknown, RateLimited, Rejected, Unavailable, Unreadable
from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    CancelOrder,
    CancelStop,
    ClosePosition,
    CommandOutcome,
    EngineConfig,
    Event,
    Filled,
    OrderState,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionState,
    QuestionRefused,
    Reconciled,
    StopUpdated,
)
from tradebot.execution.broker import OrderCommand
from tradebot.execution.exchange import ASK_AGAIN_S, FATES_AT_ONCE, MARGIN_MS, ExchangeBroker, Resolutions

CONFIG = EngineConfig(mode="live", symbols=(SYMBOL, "BTCUSDT"), strategy="x", leverage=3)
PLACE = PlaceOrder(
    client_oid="tb0-1-2-e", symbol=SYMBOL, side="buy", order_type="market", qty=D(1), purpose="entry", decision_id="d"
)
LIMIT = PlaceOrder(
    client_oid="tb0-1-2-e",
    symbol=SYMBOL,
    side="buy",
    order_type="limit",
    price=D("10.50"),
    qty=D(1),
    purpose="entry",
    decision_id="d",
)
STOP = PlaceStop(client_oid="tb0-1-3-s", symbol=SYMBOL, position_side="long", trigger_price=D(98))
CANCEL = CancelOrder(client_oid="tb0-1-2-e", symbol=SYMBOL)
CLOSE = ClosePosition(client_oid="tb0-1-4-f", symbol=SYMBOL, reason="r")
COMMANDS: list[tuple[str, OrderCommand]] = [
    ("place_order", PLACE),
    ("cancel_order", CANCEL),
    ("place_stop", STOP),
    ("cancel_stop", CancelStop(client_oid="tb0-1-3-s", symbol=SYMBOL)),
    ("close_position", CLOSE),
]
SILENT = OutcomeUnknown("no answer")
AWAY = Unavailable("away")


def broker(
    rest: FakeRest, waits: list[float] | None = None, unsettled: Callable[[], Collection[str]] = tuple
) -> ExchangeBroker:
    async def pause(seconds: float) -> None:
        (waits if waits is not None else []).append(seconds)

    return ExchangeBroker(rest, CONFIG, lambda: T, unsettled, pause)  # type: ignore[arg-type]


async def carry_out(rest: FakeRest, command: OrderCommand, waits: list[float] | None = None) -> list[Event]:
    return [event async for event in broker(rest, waits).execute(command)]


def kinds(events: list[Event]) -> list[str]:
    return [event.outcome if isinstance(event, CommandOutcome) else type(event).__name__ for event in events]


def intent(client_oid: str = "tb0-1-2-e", **more: Any) -> OrderState:
    fields: dict[str, Any] = {"symbol": SYMBOL, "side": "buy", "order_type": "market", "qty": D(1), "purpose": "entry"}
    return OrderState(client_oid=client_oid, **{**fields, "created_ms": T, **more})


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "command"), COMMANDS)
async def test_a_command_is_sent_once_and_its_answer_is_its_outcome(call: str, command: OrderCommand) -> None:
    rest = FakeRest()
    (answer,) = await carry_out(rest, command)
    assert isinstance(answer, CommandOutcome)
    assert (answer.outcome, answer.client_oid) == ("accepted", command.client_oid)
    assert answer.order_id
    assert [name for name, _ in rest.calls] == [call]


@pytest.mark.parametrize("error", [Rejected("no", code="40762"), RateLimited("slow", code="429"), AWAY])
@pytest.mark.parametrize(("call", "command"), COMMANDS)
async def test_a_refusal_is_an_outcome_and_nothing_is_asked(
    call: str, command: OrderCommand, error: ExchangeError
) -> None:
    rest = FakeRest(**{call: error})
    (answer,) = await carry_out(rest, command)
    assert isinstance(answer, CommandOutcome)
    assert (answer.outcome, answer.code, answer.message) == ("rejected", error.code, str(error))
    assert len(rest.calls) == 1


@pytest.mark.parametrize(("call", "command"), COMMANDS)
async def test_a_refused_key_stops_everything(call: str, command: OrderCommand) -> None:
    with pytest.raises(AuthRefused):
        await carry_out(FakeRest(**{call: AuthRefused("key")}), command)


async def test_an_unknown_order_that_arrived_is_found_by_asking_and_never_sent_again() -> None:
    rest = FakeRest(place_order=SILENT, order_detail=(None, AWAY, RateLimited("slow"), detail()))
    waits: list[float] = []
    events = await carry_out(rest, PLACE, waits)
    assert kinds(events) == ["unknown", "OrderUpdated"]
    assert events[1] == update()
    assert len(rest.named("place_order")) == 1
    assert waits == [0.3, 0.3, 0.5]


@pytest.mark.parametrize(("call", "command"), [("place_order", PLACE), ("place_stop", STOP)])
async def test_what_the_exchange_denies_for_five_seconds_never_arrived(call: str, command: OrderCommand) -> None:
    rest = FakeRest(**{call: SILENT})
    waits: list[float] = []
    events = await carry_out(rest, command, waits)
    assert kinds(events) == ["unknown", "rejected"]
    assert isinstance(events[1], CommandOutcome)
    assert events[1].code == "40109"
    assert sum(waits) == sum(ASK_AGAIN_S) > 5
    assert len(rest.named("order_detail", "plan_orders")) == 7


@pytest.mark.parametrize("error", [AWAY, RateLimited("slow"), Rejected("odd", code="40034")])
@pytest.mark.parametrize(("call", "command"), [("place_order", PLACE), ("place_stop", STOP), ("cancel_order", CANCEL)])
async def test_an_exchange_that_does_not_say_leaves_the_outcome_unknown(
    call: str, command: OrderCommand, error: ExchangeError
) -> None:
    rest = FakeRest(**{call: SILENT}, order_detail=error, plan_orders=error)
    assert kinds(await carry_out(rest, command)) == ["unknown"]


@pytest.mark.parametrize(
    ("answers", "counted"),
    [
        ((None, detail()), "found"),
        ((None,), "never_arrived"),
        ((detail(created_ms=T - MARGIN_MS - 1),), "another"),
        ((AWAY,), "unanswered"),
    ],
)
async def test_what_asking_came_to_is_counted(answers: tuple[Any, ...], counted: str) -> None:
    asking = broker(FakeRest(place_order=SILENT, order_detail=answers))
    _ = [event async for event in asking.execute(PLACE)]
    assert asdict(asking.resolutions) == {**asdict(Resolutions()), counted: 1}


async def test_silence_after_a_denial_is_no_denial() -> None:
    rest = FakeRest(place_order=SILENT, order_detail=(None, None, AWAY))
    assert kinds(await carry_out(rest, PLACE)) == ["unknown"]


async def test_a_denial_after_silence_is_one() -> None:
    rest = FakeRest(place_order=SILENT, order_detail=(AWAY, AWAY, None))
    assert kinds(await carry_out(rest, PLACE)) == ["unknown", "rejected"]


async def test_a_key_refused_while_asking_stops_everything() -> None:
    with pytest.raises(AuthRefused):
        await carry_out(FakeRest(place_order=SILENT, order_detail=AuthRefused("key")), PLACE)


async def test_an_unknown_stop_is_found_in_the_list_by_our_id() -> None:
    theirs, ours = stop("web-1"), stop("tb0-1-3-s")
    rest = FakeRest(place_stop=SILENT, plan_orders=([theirs], [theirs, ours]))
    events = await carry_out(rest, STOP)
    assert kinds(events) == ["unknown", "StopUpdated"]
    assert events[1] == ours


@pytest.mark.parametrize("other", [{"symbol": "BTCUSDT"}, {"plan": "loss_plan"}])
async def test_another_stop_under_our_id_is_not_taken_for_ours(other: dict[str, str]) -> None:
    theirs = msgspec.structs.replace(stop(STOP.client_oid), **other)
    rest = FakeRest(place_stop=OutcomeUnknown("duplicate", code="40786"), plan_orders=[theirs])
    events = await carry_out(rest, STOP)
    assert kinds(events) == ["unknown", "rejected"]
    assert isinstance(events[1], CommandOutcome)
    assert events[1].code == "40786"


async def test_a_stop_under_our_id_that_stands_elsewhere_is_told_as_it_stands_and_counted() -> None:
    moved = msgspec.structs.replace(stop(STOP.client_oid), trigger_price=D(97))
    one = broker(FakeRest(place_stop=SILENT, plan_orders=[moved]))
    assert [event async for event in one.execute(STOP)][1:] == [moved]
    assert (one.resolutions.found, one.resolutions.another) == (0, 1)


async def test_a_stop_that_exists_already_is_told_as_it_stands() -> None:
    standing = stop("older")
    rest = FakeRest(place_stop="", plan_orders=[stop("tb0-1-9-s", symbol="BTCUSDT"), standing])
    assert await carry_out(rest, STOP) == [
        CommandOutcome(client_oid=STOP.client_oid, symbol=SYMBOL, command="place_stop", outcome="accepted"),
        standing,
    ]


async def test_an_unknown_cancellation_is_settled_by_the_orders_state() -> None:
    canceled = detail(status="canceled")
    events = await carry_out(FakeRest(cancel_order=SILENT, order_detail=canceled), CANCEL)
    assert events[1:] == [canceled.update]
    assert kinds(await carry_out(FakeRest(cancel_order=SILENT), CANCEL)) == ["unknown"]


async def test_an_unknown_flash_close_is_left_to_the_positions() -> None:
    rest = FakeRest(close_position=SILENT)
    assert kinds(await carry_out(rest, CLOSE)) == ["unknown"]
    assert len(rest.calls) == 1


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (PLACE, detail(qty=D(2))),
        (PLACE, detail(side="sell")),
        (PLACE, detail(symbol="BTCUSDT")),
        (PLACE, detail(price="10.5")),
        (LIMIT, detail(price="10.6")),
        (LIMIT, detail()),
        (PLACE, detail(created_ms=T - MARGIN_MS - 1, status="filled")),
    ],
)
async def test_another_order_under_our_id_is_not_adopted(command: PlaceOrder, found: Any) -> None:
    events = await carry_out(
        FakeRest(place_order=OutcomeUnknown("duplicate", code="40786"), order_detail=found), command
    )
    assert kinds(events) == ["unknown", "rejected"]
    assert isinstance(events[1], CommandOutcome)
    assert events[1].code == "40786"


@pytest.mark.parametrize(
    ("command", "found"), [(LIMIT, detail(price="10.5")), (PLACE, detail(created_ms=T - MARGIN_MS))]
)
async def test_our_own_order_is_adopted(command: PlaceOrder, found: Any) -> None:
    events = await carry_out(
        FakeRest(place_order=OutcomeUnknown("duplicate", code="40786"), order_detail=found), command
    )
    assert kinds(events) == ["unknown", "OrderUpdated"]


# --- settings of the account ----------------------------------------------------------------------------------------


async def test_a_flat_account_is_set_up() -> None:
    rest = FakeRest()
    await broker(rest).prepare(CONFIG)
    assert rest.named("set_position_mode") == ["one_way_mode"] * 2
    assert rest.named("set_margin_mode") == [(SYMBOL, "isolated"), ("BTCUSDT", "isolated")]
    assert rest.named("set_leverage") == [(SYMBOL, 3), ("BTCUSDT", 3)]


@pytest.mark.parametrize(
    "busy",
    [
        {"positions": [PositionState(symbol=SYMBOL, qty=D(1), entry_price=D(100))]},
        {"open_orders": [update("web-1")]},
    ],
)
async def test_nothing_of_a_busy_symbol_is_changed_nor_the_mode_of_all(busy: dict[str, Any]) -> None:
    rest = FakeRest(**busy)
    events = await broker(rest).prepare(CONFIG)
    assert rest.named("set_position_mode") == []
    assert rest.named("set_margin_mode") == [("BTCUSDT", "isolated")]
    assert rest.named("set_leverage") == [("BTCUSDT", 3)]
    assert [e.leverage for e in events if isinstance(e, AccountVerified)] == [20, 20]


async def test_settings_stay_while_our_own_books_hold_what_the_exchange_does_not() -> None:
    ours = {SYMBOL}
    rest = FakeRest()
    one = broker(rest, unsettled=lambda: ours)
    await one.prepare(CONFIG)
    await one.reconcile([], T - 5, T + 9)
    assert rest.named("set_position_mode") == []
    assert {symbol for symbol, _ in rest.named("set_margin_mode", "set_leverage")} == {"BTCUSDT"}
    ours.clear()
    await one.reconcile([], T - 5, T + 9)
    assert {symbol for symbol, _ in rest.named("set_leverage")} == {SYMBOL, "BTCUSDT"}


# --- reconciliation -------------------------------------------------------------------------------------------------


async def test_reconciling_asks_for_open_orders_only_and_ends_with_the_whole_view() -> None:
    rest = FakeRest(order_detail=detail(), plan_orders=[stop("s")], positions=[])
    orders = [intent(), intent("tb0-1-1-e", status="filled", order_id="5")]
    events = await broker(rest).reconcile(orders, T - 5, T + 9)
    assert rest.named("order_detail") == [("tb0-1-2-e", "")]
    assert rest.named("bills") == [T - 5]
    assert events[0] == update()
    assert events[-1] == Reconciled(positions=(), open_orders=(), stops=(stop("s"),), asked_ms=T + 9)


async def test_a_flash_close_is_found_by_its_order_id_and_told_under_our_id() -> None:
    theirs = detail("1471430749322903552", order_id="88", status="filled", side="sell", reduce_only=True)
    rest = FakeRest(
        order_detail=theirs, fills=([fill("t1", "88", "1471430749322903552")], []), open_orders=[theirs.update]
    )
    flash = intent("tb0-1-4-f", side="sell", purpose="close", reduce_only=True, order_id="88", status="live")
    events = await broker(rest).reconcile([flash], T, T)
    assert rest.named("order_detail") == [("", "88")]
    assert isinstance(events[0], OrderUpdated)
    assert (events[0].client_oid, events[0].order_id, events[0].status) == ("tb0-1-4-f", "88", "filled")
    assert [e.client_oid for e in events if isinstance(e, Filled)] == ["tb0-1-4-f"]
    assert isinstance(events[-1], Reconciled)
    assert [o.client_oid for o in events[-1].open_orders] == ["tb0-1-4-f"]


async def test_an_order_nobody_knows_and_an_older_one_under_our_id_never_were() -> None:
    for found, code in ((None, "40109"), (detail(created_ms=T - MARGIN_MS - 1), "40786")):
        events = await broker(FakeRest(order_detail=found)).reconcile([intent()], T, T)
        assert isinstance(events[0], CommandOutcome)
        assert (events[0].outcome, events[0].code, events[0].client_oid) == ("rejected", code, "tb0-1-2-e")


async def test_what_only_reduces_may_have_been_cut_to_the_position() -> None:
    ours = intent("tb0-1-5-x", side="sell", purpose="exit", reduce_only=True, qty=D(3))
    cut = detail("tb0-1-5-x", side="sell", qty=D(2), reduce_only=True)
    events = await broker(FakeRest(order_detail=cut)).reconcile([ours], T, T)
    assert events[0] == cut.update


async def test_many_orders_of_unknown_fate_are_asked_for_at_a_time() -> None:
    asked: list[float] = []

    async def pause(seconds: float) -> None:
        asked.append(seconds)
        await turns(1)

    unknown = [intent(f"tb0-1-{n}-e") for n in range(FATES_AT_ONCE + 4)]
    rest = FakeRest(order_detail=None)
    one = ExchangeBroker(rest, CONFIG, lambda: T, tuple, pause)  # type: ignore[arg-type]
    events = await one.reconcile(unknown, T, T)
    assert [e.client_oid for e in events if isinstance(e, CommandOutcome)] == [o.client_oid for o in unknown]
    together = [oid for oid, _ in rest.named("order_detail")][: 2 * FATES_AT_ONCE]
    assert together == 2 * [o.client_oid for o in unknown[:FATES_AT_ONCE]]


async def test_a_symbol_that_is_not_served_any_more_stops_neither_the_start_nor_a_look_at_the_account() -> None:
    class Partial(FakeRest):
        async def account(self, symbol: str) -> tuple[AccountVerified, AccountUpdated]:
            if symbol == "BTCUSDT":
                raise Rejected("removed", code="41113")
            return await super().account(symbol)

    for events in (await broker(Partial()).prepare(CONFIG), await broker(Partial()).reconcile([], T, T)):
        assert {e.symbol for e in events if isinstance(e, AccountVerified)} == {SYMBOL}
        (refused,) = (e for e in events if isinstance(e, QuestionRefused))
        assert (refused.symbol, refused.code) == ("BTCUSDT", "41113")
    assert isinstance(events[-1], Reconciled)


async def test_a_setting_that_is_refused_leaves_the_symbol_as_it_was_found() -> None:
    events = await broker(FakeRest(set_leverage=Rejected("too high", code="40797"))).reconcile([], T, T)
    found = [e for e in events if isinstance(e, AccountVerified)]
    assert [(e.symbol, e.leverage) for e in found] == [(SYMBOL, 20), ("BTCUSDT", 20)]
    assert [e.code for e in events if isinstance(e, QuestionRefused)] == ["40797"] * 2
    assert isinstance(events[-1], Reconciled)


async def test_an_order_about_which_the_exchange_refuses_to_tell_stays_as_it_is_and_the_others_are_told() -> None:
    rest = FakeRest(order_detail=(Rejected("odd", code="40034"), detail("tb0-1-3-e")))
    events = await broker(rest).reconcile([intent(), intent("tb0-1-3-e")], T, T)
    assert isinstance(events[0], QuestionRefused)
    assert (events[0].symbol, events[0].about, events[0].code) == (SYMBOL, "order tb0-1-2-e", "40034")
    assert isinstance(events[1], OrderUpdated)
    assert isinstance(events[-1], Reconciled)


async def test_an_order_whose_answer_cannot_be_read_keeps_nobody_from_looking_at_the_account() -> None:
    rest = FakeRest(order_detail=Unreadable("status 'odd'"))
    events = await broker(rest).reconcile([intent()], T, T)
    assert [e.about for e in events if isinstance(e, QuestionRefused)] == ["order tb0-1-2-e"]
    assert isinstance(events[-1], Reconciled)


async def test_an_execution_whose_order_is_refused_is_told_without_our_id() -> None:
    rest = FakeRest(fills=[fill("t1", "5")], order_detail=Rejected("odd", code="40034"))
    events = await broker(rest).reconcile([], T, T)
    assert [e.client_oid for e in events if isinstance(e, Filled)] == [""]


async def test_settings_of_a_symbol_with_a_working_order_of_ours_are_left_alone() -> None:
    rest = FakeRest(order_detail=detail())
    await broker(rest).reconcile([intent()], T, T)
    assert rest.named("set_margin_mode") == [("BTCUSDT", "isolated")]
    assert rest.named("set_position_mode") == []


async def test_an_exchange_that_does_not_say_settles_nothing() -> None:
    with pytest.raises(Unavailable):
        await broker(FakeRest(order_detail=AWAY)).reconcile([intent()], T, T)


async def test_executions_get_the_client_id_of_their_order_ours_first_and_each_is_asked_once() -> None:
    rest = FakeRest(
        fills=(
            [
                fill("t1", "5"),
                fill("t2", "5"),
                fill("t3", "6"),
                fill("t4", "6"),
                fill("t5", "7"),
                fill("t6", "8", "web-2"),
            ],
            [],
        ),
        order_detail=(detail("web-1"), None),
    )
    events = await broker(rest).reconcile([intent("tb0-1-1-e", status="filled", order_id="5")], T, T)
    named = [(e.trade_id, e.client_oid) for e in events if isinstance(e, Filled)]
    assert named == [
        ("t1", "tb0-1-1-e"),
        ("t2", "tb0-1-1-e"),
        ("t3", "web-1"),
        ("t4", "web-1"),
        ("t5", ""),
        ("t6", "web-2"),
    ]
    assert rest.named("order_detail") == [("", "6"), ("", "7")]


async def test_what_a_stop_sent_while_nobody_listened_is_told_to_be_the_stop_s() -> None:
    sent = msgspec.structs.replace(detail("147", order_id="6"), source="pos_loss_market")
    rest = FakeRest(fills=([fill("t1", "6"), fill("t2", "6"), fill("t3", "7")], []), order_detail=(sent, detail("web")))
    events = await broker(rest).reconcile([], T, T)
    told = [e.trade_id if isinstance(e, Filled) else e.status for e in events if isinstance(e, Filled | StopUpdated)]
    assert told == ["t1", "executed", "t2", "executed", "t3"]


@pytest.mark.parametrize(
    ("order", "settled"),
    [
        (intent(created_ms=T - 30_001), True),
        (intent(created_ms=T - 30_000), False),
        (intent(created_ms=T - 90_000, order_type="limit", price=D(100)), False),
    ],
)
async def test_a_market_order_that_nobody_tells_of_and_that_is_not_open_is_over_after_a_while(
    order: OrderState, settled: bool
) -> None:
    events = await broker(FakeRest(order_detail=Rejected("odd", code="40034"))).reconcile([order], T - 100_000, T)
    answers = [(e.client_oid, e.code, e.asked_as) for e in events if isinstance(e, CommandOutcome)]
    assert answers == ([(order.client_oid, "40109", "intended")] if settled else [])
