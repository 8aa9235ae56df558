"""What the private stream tells twice, or after something later."""

from __future__ import annotations

from decimal import Decimal

from tradebot.daemon.repeats import REMEMBERED, PrivateRepeats
from tradebot.events import Filled, OrderUpdated


def order(order_id: str, status: str, filled: str = "0") -> OrderUpdated:
    return OrderUpdated(
        client_oid=f"tb0-1-{order_id}-e", order_id=order_id, symbol="SOLUSDT", side="buy", status=status,  # type: ignore[arg-type]
        qty=Decimal(2), filled_qty=Decimal(filled),
    )  # fmt: skip


def execution(trade_id: str, ts_ms: int, order_id: str = "1", qty: str = "1") -> Filled:
    return Filled(
        trade_id=trade_id, order_id=order_id, client_oid="", symbol="SOLUSDT", side="buy", price=Decimal(100),
        qty=Decimal(qty), fee=Decimal(0), realised=Decimal(0), maker=False, ts_exchange_ms=ts_ms,
    )  # fmt: skip


def counted(*events: OrderUpdated | Filled) -> tuple[int, int]:
    repeats = PrivateRepeats()
    for event in events:
        repeats.on_private(event)
    return repeats.duplicates, repeats.late


def test_an_order_s_course_as_it_happens_repeats_nothing() -> None:
    assert counted(
        order("1", "live"),
        order("1", "partially_filled", "1"),
        execution("a", 10),
        order("1", "filled", "2"),
        execution("b", 10),
        order("2", "live"),
        execution("c", 11, "2"),
    ) == (0, 0)


def test_the_same_again_is_a_duplicate() -> None:
    assert counted(order("1", "live"), order("1", "live"), execution("a", 10), execution("a", 10)) == (2, 0)


def test_what_something_later_overtook_is_late() -> None:
    assert counted(order("1", "filled", "2"), order("1", "live")) == (0, 1)
    assert counted(execution("b", 20), execution("a", 10)) == (0, 1)
    assert counted(execution("a", 10, qty="2"), order("1", "filled", "2")) == (0, 1)
    assert counted(execution("a", 10), order("1", "filled", "2")) == (0, 0)


def test_old_orders_and_executions_are_forgotten() -> None:
    repeats = PrivateRepeats()
    for n in range(REMEMBERED + 10):
        repeats.on_private(order(str(n), "live"))
        repeats.on_private(execution(str(n), n, str(n)))
    sizes = {len(kept) for kept in (repeats._orders, repeats._trades, repeats._executed)}
    assert sizes == {REMEMBERED}
