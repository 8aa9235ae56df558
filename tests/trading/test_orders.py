"""The order state machine does not care in which order it hears of things."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tradebot.events import CommandOutcome, Filled, OrderUpdated, PlaceOrder, Record
from tradebot.trading.orders import KEEP_FINAL, RANK, Orders, client_oid, parse_client_oid

HOUR = 3_600_000
OID = client_oid(0, 1, 7, "e")
ORDER = PlaceOrder(
    client_oid=OID,
    symbol="SOLUSDT",
    side="buy",
    order_type="market",
    qty=Decimal(3),
    purpose="entry",
    decision_id="1-7",
)


def outcome(kind: str) -> CommandOutcome:
    return CommandOutcome(client_oid=OID, symbol="SOLUSDT", command="place", outcome=kind, order_id="9")  # type: ignore[arg-type]


def update(status: str, filled: int) -> OrderUpdated:
    return OrderUpdated(
        client_oid=OID, order_id="9", symbol="SOLUSDT", side="buy", status=status,  # type: ignore[arg-type]
        qty=Decimal(3), filled_qty=Decimal(filled),
    )  # fmt: skip


def execution(number: int) -> Filled:
    return Filled(
        trade_id=f"t{number}", order_id="9", client_oid=OID, symbol="SOLUSDT", side="buy", price=Decimal(100),
        qty=Decimal(1), fee=Decimal(0), realised=Decimal(0), maker=False, ts_exchange_ms=0,
    )  # fmt: skip


STORY: list[Record] = [
    outcome("unknown"), outcome("accepted"), update("live", 0), execution(1), update("partially_filled", 1),
    execution(2), update("partially_filled", 2), execution(3), update("filled", 3),
]  # fmt: skip


def told(records: list[Record]) -> Orders:
    orders = Orders()
    orders.intend(ORDER, 1)
    seen = set()
    for record in records:
        match record:
            case CommandOutcome():
                orders.on_outcome(record)
            case OrderUpdated():
                orders.on_update(record)
            case Filled():
                if record.trade_id not in seen:  # the caller drops repeated trade ids
                    seen.add(record.trade_id)
                    orders.on_fill(record)
    return orders


@given(st.permutations(STORY), st.lists(st.sampled_from(STORY), max_size=6))
def test_every_interleaving_with_repeats_ends_in_the_same_state(story: list[Record], repeats: list[Record]) -> None:
    order = told([*story, *repeats]).get(OID)
    assert order is not None
    assert (order.status, order.filled_qty, order.order_id) == ("filled", Decimal(3), "9")


@given(st.permutations([update("live", 0), execution(1), update("canceled", 1), outcome("accepted")]))
def test_a_cancelled_order_keeps_what_was_filled_in_any_order(story: list[Record]) -> None:
    order = told(story).get(OID)
    assert order is not None
    assert (order.status, order.filled_qty) == ("canceled", Decimal(1))


@given(st.lists(st.sampled_from([*STORY, update("canceled", 2), outcome("rejected")]), max_size=12))
def test_the_state_never_moves_backwards(story: list[Record]) -> None:
    for n in range(len(story)):
        before, after = told(story[:n]).get(OID), told(story[: n + 1]).get(OID)
        assert before is not None
        assert after is not None
        assert RANK[after.status] >= RANK[before.status]
        assert after.filled_qty >= before.filled_qty


def test_an_order_that_the_answer_called_rejected_but_the_exchange_shows_is_live() -> None:
    assert told([outcome("rejected"), update("live", 0)]).open() != []


def test_reports_of_an_unknown_order_change_nothing() -> None:
    orders = Orders()
    orders.on_update(update("live", 0))
    orders.on_fill(execution(1))
    assert list(orders) == []


def test_ids_name_their_daemon_and_run_and_stay_within_the_exchange_s_limits() -> None:
    oid = client_oid(3, 4_294_967_295, 10**12, "c12")
    assert parse_client_oid(oid) == (3, 4_294_967_295)
    assert len(oid) <= 32
    assert parse_client_oid("tbx-1-2-e") is None
    assert parse_client_oid("tb²-1-2-e") is None
    assert parse_client_oid("tb0-¹-2-e") is None


def test_no_order_of_the_last_hour_is_forgotten_and_older_ones_are() -> None:
    """Entries are counted by the hour: what is forgotten before could be sent again."""
    orders, sent = Orders(), 5 * KEEP_FINAL
    for number in range(sent):
        oid = client_oid(0, 1, number, "e")
        orders.intend(msgspec.structs.replace(ORDER, client_oid=oid, decision_id=f"1-{number}"), number)
        orders.on_outcome(CommandOutcome(client_oid=oid, symbol="SOLUSDT", command="place", outcome="rejected"))
    assert len(list(orders)) == sent
    assert [o.created_ms for o in reversed(orders)][:2] == [sent - 1, sent - 2]
    orders.intend(ORDER, sent + HOUR)
    assert len(list(orders)) == KEEP_FINAL + 1
