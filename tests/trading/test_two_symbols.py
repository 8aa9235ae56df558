"""One event that concerns several symbols: what is done in one must not stand in the other's way."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tests.trading.driver import Driver, of, only
from tradebot.events import (
    AccountUpdated,
    Alert,
    ClosePosition,
    Command,
    CommandOutcome,
    DurableState,
    OperatorActed,
    PlaceOrder,
    PlaceStop,
    PositionState,
    Reconciled,
    StopUpdated,
    TimerFired,
)

SYMBOLS = ("SOLUSDT", "BTCUSDT")
POSITIONS = tuple(PositionState(symbol=name, qty=Decimal(1), entry_price=Decimal(100)) for name in SYMBOLS)


def holding() -> Driver:
    """Two positions found after a restart, without a stop."""
    return Driver(state=DurableState(positions=POSITIONS), symbols=SYMBOLS)


def view(*stops: StopUpdated, asked_ms: int) -> Reconciled:
    return Reconciled(positions=POSITIONS, open_orders=(), stops=stops, asked_ms=asked_ms)


def live(stop: PlaceStop, order_id: str = "9") -> StopUpdated:
    return StopUpdated(
        order_id=order_id, client_oid=stop.client_oid, symbol=stop.symbol, plan="pos_loss",
        trigger_price=stop.trigger_price, status="live",
    )  # fmt: skip


def ids(commands: Sequence[Command]) -> list[str]:
    return [c.client_oid for c in commands if isinstance(c, PlaceOrder | PlaceStop | ClosePosition)]


def test_positions_found_in_one_view_get_a_stop_each_under_ids_of_their_own() -> None:
    d = holding()
    commands = d.send(view(asked_ms=d.now_ms))
    stops = of(commands, PlaceStop)
    assert {stop.symbol for stop in stops} == set(SYMBOLS)
    assert len(set(ids(commands))) == 2
    for number, stop in enumerate(stops):
        assert not of(d.send(live(stop, str(number))), Alert)
    for name in SYMBOLS:
        assert list(d.send(TimerFired(name=f"stop:{name}", due_ms=d.now_ms))) == []


def test_a_stop_of_one_symbol_does_not_keep_another_s_from_being_missed() -> None:
    d = holding()
    sol, btc = of(d.send(view(asked_ms=d.now_ms)), PlaceStop)
    d.send(live(sol))
    d.now_ms += 5_000
    same_id = StopUpdated(
        order_id="9", client_oid=btc.client_oid, symbol=sol.symbol, plan="loss_plan", trigger_price=Decimal(98),
        status="live",
    )  # fmt: skip
    again = d.send(view(live(sol), same_id, asked_ms=d.now_ms))
    assert only(again, PlaceStop).symbol == btc.symbol


def test_flattening_closes_every_symbol_under_ids_of_their_own() -> None:
    d = holding()
    d.send(AccountUpdated(equity=Decimal(10_000), available=Decimal(10_000), balance=Decimal(10_000)))
    commands = d.send(OperatorActed(action="flatten", actor="cli"))
    assert {order.symbol for order in of(commands, PlaceOrder)} == set(SYMBOLS)
    assert len(set(ids(commands))) == 2


def test_a_refused_stop_closes_its_own_symbol_only() -> None:
    d = holding()
    first, _ = of(d.send(view(asked_ms=d.now_ms)), PlaceStop)
    refused = CommandOutcome(
        client_oid=first.client_oid, symbol=first.symbol, command="place_stop", outcome="rejected", code="40917"
    )
    assert only(d.send(refused), PlaceOrder).symbol == first.symbol
