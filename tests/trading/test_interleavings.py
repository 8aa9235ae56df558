"""Whatever the order in which answers, pushes, executions and queries come, and however often: one end.

Two orders live on an exchange of a few lines: a limit entry that fills in parts and is cancelled at some moment (a fill
may win), and the reduce-only close of what was filled. Each thing that happens there is told by an answer, by pushes
and by queries, and the bot hears a shuffled, doubled, thinned selection of that. What was dropped is made good by one
look at the whole at the end, as after a reconnect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trading.driver import SOL
from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    Alert,
    BookTop,
    Booted,
    ClockMeasured,
    CommandOutcome,
    Difference,
    EngineConfig,
    Event,
    Filled,
    InstrumentUpdated,
    OrderStatus,
    OrderUpdated,
    PlaceOrder,
    PositionsReported,
    PositionState,
    Reconciled,
    Restored,
    RiskLimits,
    StopUpdated,
    TradeBooked,
)
from tradebot.market.instrument import Side
from tradebot.trading.engine import Engine
from tradebot.trading.orders import FINAL, RANK, client_oid
from tradebot.trading.state import TradingState, recover
from tradebot.trading.strategy import Intent, Strategy, View

NOW = 1_767_571_200_000
D = Decimal
Path = Literal["fills", "canceled", "rejected", "never arrived"]


class Idle(Strategy):
    """Does nothing by itself."""

    def on_forecast(self, view: View, forecast: object) -> Intent:
        return Intent("hold", "")


@dataclass
class Order:
    """One order's life on the exchange, told in every way the exchange tells it."""

    oid: str
    order_id: str
    side: Side
    qty: Decimal
    path: Path
    parts: int
    told: list[Event] = field(default_factory=list)
    executions: list[Filled] = field(default_factory=list)

    def live(self) -> None:
        self._answer("unknown")
        self._answer("rejected", code="40109", asked_as="unknown")  # asked too early: the exchange lags
        if self.path == "never arrived":
            return
        if self.path == "rejected":
            self._answer("rejected", code="40762")
            return
        self._answer("accepted", order_id=self.order_id)
        self._state("live", D(0))
        filled = D(0)
        for number in range(self.parts):
            filled += D(1)
            self._execution(number)
            self._state("filled" if filled == self.qty else "partially_filled", filled)
        if filled < self.qty:
            self._state("canceled", filled)

    def last(self) -> OrderUpdated:
        return next(e for e in reversed(self.told) if isinstance(e, OrderUpdated))

    def _answer(self, outcome: str, **more: str) -> None:
        self.told.append(
            CommandOutcome(client_oid=self.oid, symbol="SOLUSDT", command="place", outcome=outcome, **more)  # type: ignore[arg-type]
        )

    def _state(self, status: OrderStatus, filled: Decimal) -> None:
        pushed = OrderUpdated(
            client_oid=self.oid, order_id=self.order_id, symbol="SOLUSDT", side=self.side, status=status, qty=self.qty,
            filled_qty=filled,
        )  # fmt: skip
        self.told += [pushed, msgspec.structs.replace(pushed, queried=True)]

    def _execution(self, number: int) -> None:
        pushed = Filled(
            trade_id=f"{self.order_id}-{number}", order_id=self.order_id, client_oid=self.oid, symbol="SOLUSDT",
            side=self.side, price=D(100 + number), qty=D(1), fee=D("-0.06"), realised=D(0), maker=True,
            ts_exchange_ms=NOW,
        )  # fmt: skip
        self.executions.append(pushed)
        self.told += [pushed, msgspec.structs.replace(pushed, queried=True)]


def engine() -> Engine:
    one = Engine(Idle)
    config = EngineConfig(mode="live", symbols=("SOLUSDT",), strategy="idle", risk=RiskLimits())
    for event in (
        Booted(epoch=1, config=config, settings_hash="", engine_hash="", strategy_hash=""),
        InstrumentUpdated(instrument=SOL),
        ClockMeasured(offset_ms=0),
        AccountVerified(symbol="SOLUSDT", position_mode="one_way_mode", margin_mode="isolated", leverage=2),
        AccountUpdated(equity=D(10_000), available=D(10_000), balance=D(10_000)),
        BookTop(symbol="SOLUSDT", ts_exchange_ms=NOW, bid=99.99, bid_size=1.0, ask=100.01, ask_size=1.0),
    ):
        one.handle(NOW, event)
    return one


def place(order: Order, purpose: Literal["entry", "exit"]) -> PlaceOrder:
    return PlaceOrder(
        client_oid=order.oid, symbol="SOLUSDT", side=order.side, order_type="limit", qty=order.qty, purpose=purpose,
        decision_id="1-1", price=D(100), reduce_only=purpose == "exit",
    )  # fmt: skip


def whole_view(orders: Sequence[Order], qty: Decimal, entry: Decimal, stop: StopUpdated | None) -> list[Event]:
    """What a reconciliation tells in the end: fates, executions, and the lists."""
    fates: list[Event] = []
    for order in orders:
        known = [e for e in order.told if isinstance(e, OrderUpdated)]
        if known:
            fates.append(msgspec.structs.replace(order.last(), queried=True))
        elif order.path == "rejected":
            fates.append(order.told[-1])
        else:
            fates += order.told
    executions = [msgspec.structs.replace(f, queried=True) for order in orders for f in order.executions]
    positions = (PositionState(symbol="SOLUSDT", qty=qty, entry_price=entry),) if qty else ()
    stops = (stop,) if stop is not None and qty else ()
    return [*fates, *executions, Reconciled(positions=positions, open_orders=(), stops=stops, asked_ms=NOW)]


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Order], list[Event]]:
    """Orders, and what is heard of them before somebody looks at the whole: any part of it, in any order, repeated."""
    qty = draw(st.integers(1, 4))
    path = cast(Path, draw(st.sampled_from(["fills", "fills", "canceled", "rejected", "never arrived"])))
    parts = {"fills": qty, "canceled": draw(st.integers(0, max(0, qty - 1)))}.get(path, 0)
    entry = Order(client_oid(0, 1, 7, "e"), "501", "buy", D(qty), path, parts)
    orders = [entry]
    if parts:
        closing = draw(st.integers(0, parts))
        if closing:
            orders.append(Order(client_oid(0, 1, 9, "x"), "502", "sell", D(closing), "fills", closing))
    for order in orders:
        order.live()
    everything = [event for order in orders for event in order.told]
    heard = draw(st.permutations(everything))
    kept = [event for event in heard if draw(st.booleans())]
    repeated = [event for event in kept if draw(st.booleans())]
    return orders, draw(st.permutations([*kept, *repeated]))


def told_entries_first(heard: Sequence[Event]) -> list[Event]:
    """A close cannot be executed before what it closes: the exchange would refuse it. Everything else may come as it
    likes."""
    opened = [e for e in heard if not (isinstance(e, Filled) and e.side == "sell")]
    return [*opened, *(e for e in heard if isinstance(e, Filled) and e.side == "sell")]


@settings(max_examples=250, deadline=None)
@given(stories())
def test_every_interleaving_ends_in_what_the_exchange_has(story: tuple[list[Order], list[Event]]) -> None:
    orders, heard = story
    one = engine()
    state = one.state
    journal: list[tuple[int, Event | PlaceOrder]] = []
    for order in orders:
        command = place(order, "entry" if order.side == "buy" else "exit")
        one.emit(command)
        journal.append((NOW, command))
    stop: StopUpdated | None = None
    booked: list[TradeBooked] = []
    executed = {f.trade_id: f for order in orders for f in order.executions}
    qty = sum((f.qty if f.side == "buy" else -f.qty for f in executed.values()), D(0))
    bought = [f for f in executed.values() if f.side == "buy"]
    price = sum((f.price * f.qty for f in bought), D(0)) / len(bought) if bought else D(0)
    for _ in range(2):
        for event in [*told_entries_first(heard), *whole_view(orders, qty, price, stop)]:
            before = {o.client_oid: (o.status, o.filled_qty) for o in state.orders}
            commands = one.handle(NOW, event)
            journal.append((NOW, event))
            booked += [c for c in commands if isinstance(c, TradeBooked)]
            for order in state.orders:
                was, filled = before[order.client_oid]
                lost = isinstance(event, CommandOutcome) and event.code == "40109" and event.asked_as == was
                assert lost or RANK[order.status] >= RANK[was], (event, was, order.status)
                assert order.filled_qty >= filled
                assert order.filled_qty <= order.qty
            assert not [c for c in commands if isinstance(c, Alert) and c.code == "foreign"]
            if stop is None and (placed := state.stops.get("SOLUSDT")) is not None:
                stop = StopUpdated(
                    order_id="900", client_oid=placed.client_oid, symbol="SOLUSDT", plan="pos_loss",
                    trigger_price=placed.trigger_price, status="live",
                )  # fmt: skip
        heard = list(reversed(heard))  # and once more, late, when everything is over

    for order in orders:
        known = state.orders.get(order.oid)
        assert known is not None
        expected = order.last().status if order.path in ("fills", "canceled") else "rejected"
        assert (known.status, known.filled_qty) == (expected, D(len(order.executions)))
        assert known.status in FINAL
    assert state.orders.unexecuted() == []
    assert state.portfolio.position("SOLUSDT").qty == qty
    assert state.portfolio.fees == D("-0.06") * len(executed)
    # every execution is booked on a trade once, whatever was told twice, late or not at all
    assert sorted(b.ref for b in booked) == sorted(executed)
    assert sum((b.realised for b in booked), D(0)) == state.portfolio.realised
    assert sum((t.open_qty for t in state.trades.open_trades()), D(0)) == qty
    assert state.foreign == {}
    assert not one.differences.suspected


@settings(max_examples=60, deadline=None)
@given(stories(), st.data())
def test_a_crash_anywhere_changes_nothing_of_where_it_ends(
    story: tuple[list[Order], list[Event]], data: st.DataObject
) -> None:
    orders, heard = story
    heard = told_entries_first(heard)
    cut = data.draw(st.integers(0, len(heard)))
    ends = []
    for crash in (False, True):
        state = TradingState()
        records: list[tuple[int, Event | PlaceOrder]] = [
            (NOW, Booted(
                epoch=1, config=EngineConfig(mode="live", symbols=("SOLUSDT",), strategy="s"), settings_hash="",
                engine_hash="", strategy_hash="",
            )),
            *((NOW, place(order, "entry" if order.side == "buy" else "exit")) for order in orders),
        ]  # fmt: skip
        first = [*records, *((NOW, event) for event in heard[:cut])]
        rest = [(NOW, event) for event in [*heard[cut:], *whole_view(orders, D(0), D(0), None)[:-1]]]
        if crash:
            kept = recover(first, cooldown_ms=0).snapshot()
            carried = msgspec.json.decode(msgspec.json.encode(kept), type=type(kept))
            state = recover([(NOW, records[0][1]), (NOW, Restored(state=carried)), *rest], cooldown_ms=0)
        else:
            state = recover([*first, *rest], cooldown_ms=0)
        ends.append(
            (
                sorted((o.client_oid, o.status, o.filled_qty, o.executed_qty) for o in state.orders),
                state.portfolio.position("SOLUSDT").qty,
                state.portfolio.realised,
                state.portfolio.fees,
                state.trades.snapshot(),
            )
        )
    assert ends[0] == ends[1]


def test_reports_of_the_position_never_undo_an_execution() -> None:
    one = engine()
    order = Order(client_oid(0, 1, 7, "e"), "501", "buy", D(1), "fills", 1)
    order.live()
    one.emit(place(order, "entry"))
    for event in (*order.told, PositionsReported(positions=())):
        assert not [c for c in one.handle(NOW, event) if isinstance(c, Difference) and c.kind == "position"]
    assert one.state.portfolio.position("SOLUSDT").qty == D(1)
