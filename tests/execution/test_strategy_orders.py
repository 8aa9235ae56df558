"""What a strategy asks for, carried out by the engine and the venue's own matching: resting orders, stops, profits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

import pytest

from tests.trading.driver import BAR, SOL, Driver, of
from tradebot.events import (
    Alert,
    Command,
    Decision,
    Event,
    PlaceOrder,
    RiskLimits,
    SetTimer,
    TickerUpdated,
    TimerFired,
    TradeBooked,
)
from tradebot.execution.broker import ORDER_COMMANDS
from tradebot.execution.latency import uniform
from tradebot.execution.paper import PaperBroker
from tradebot.trading.strategy import Intent, Strategy

LIMITS = RiskLimits(cooldown_ms=1)


class World:
    """An engine with a strategy that answers candles one by one, and the paper broker's venue; time moves by steps."""

    def __init__(self, *answers: Intent) -> None:
        wants = iter(answers)
        members: dict[str, Any] = {"on_candle": lambda self, view: next(wants, None)}
        self.d = Driver(type("Scripted", (Strategy,), members), params={}, bars=1, limits=LIMITS)
        self.broker = PaperBroker([SOL], D(10_000), 2, "isolated", uniform(30, 30), lambda: self.d.now_ms)
        self.told: list[Command] = []
        self._timers: dict[str, int] = {}
        self.market(100.0)

    def hear(self, commands: Sequence[Command]) -> None:
        """Carry out what the engine wants, and tell it what comes of it."""
        self.told += commands
        for command in commands:
            if isinstance(command, SetTimer):
                self._timers.pop(command.name, None)
                if command.due_ms:
                    self._timers[command.name] = command.due_ms
            elif isinstance(command, ORDER_COMMANDS):
                self.tell(self.broker.execute(command))

    def tell(self, *events: Event) -> None:
        for event in events:
            self.hear(self.d.send(event))

    def market(self, mid: float, mark: float | None = None) -> None:
        """The book and the mark are there from now on."""
        bid, ask = round(mid - 0.01, 2), round(mid + 0.01, 2)
        self.broker.on_book("SOLUSDT", ((bid, 50.0),), ((ask, 50.0),), self.d.now_ms)
        self.broker.on_mark("SOLUSDT", mark or mid, self.d.now_ms)
        self.hear(self.d.book(mid))
        at = mark or mid
        self.tell(TickerUpdated(symbol="SOLUSDT", ts_exchange_ms=self.d.now_ms, last=at, mark=at, index=at))
        self.tell(*self.broker.drain())

    def wait(self, ms: int) -> None:
        """Time passes: latencies and timers run out in their order."""
        end = self.d.now_ms + ms
        while True:
            due = min([self.broker.next_due_ms() or end + 1, *self._timers.values()], default=end + 1)
            if due > end:
                break
            self.d.now_ms = max(self.d.now_ms, due)
            self.broker.on_time(self.d.now_ms)
            self.tell(*self.broker.drain())
            for name in [name for name, at in self._timers.items() if at <= self.d.now_ms]:
                self.tell(TimerFired(name=name, due_ms=self._timers.pop(name)))
        self.d.now_ms = end

    def candle(self) -> None:
        self.wait(BAR - self.d.now_ms % BAR - 1)
        self.hear(self.d.candle())
        self.broker.on_book("SOLUSDT", ((99.99, 50.0),), ((100.01, 50.0),), self.d.now_ms)

    @property
    def qty(self) -> D:
        ours = self.d.engine.state.portfolio.position("SOLUSDT").qty
        assert ours == sum((r.position.qty for r in self.broker.venue.positions()), D(0))
        return ours

    def plans(self) -> dict[str, D]:
        return {plan.plan: plan.trigger_price for plan in self.broker.venue.live_plans()}

    def in_order(self) -> None:
        """Nothing is disputed, alarmed of or halted, and every order is over."""
        state = self.d.engine.state
        assert of(self.told, Alert) == []
        assert (state.foreign, state.triggers.claimed, state.tradability) == ({}, {}, "active")
        assert state.orders.open() == []


def test_stop_and_take_profit_of_an_entry_stand_on_the_exchange_and_the_stop_becomes_the_positions() -> None:
    w = World(Intent("enter_long", "go", stop_bp=80.0, take_profit_bp=60.0))
    w.candle()
    w.wait(1_000)
    assert w.qty == D("4.9")
    assert w.plans() == {"pos_loss": D("99.21"), "profit_plan": D("100.62")}
    assert w.d.engine.state.stops["SOLUSDT"].confirmed
    w.in_order()


@pytest.mark.parametrize(
    ("mark", "end"), [(100.62, "take_profit"), (99.21, "stop")], ids=["the profit", "the stop"]
)  # fmt: skip
def test_whichever_is_reached_first_ends_the_position_and_takes_the_other_away(mark: float, end: str) -> None:
    w = World(Intent("enter_long", "go", stop_bp=80.0, take_profit_bp=60.0))
    w.candle()
    w.wait(1_000)
    w.market(mark)
    w.wait(10_000)
    assert (w.qty, w.plans()) == (D(0), {})
    assert [t.trade.end for t in of(w.told, TradeBooked) if t.trade.closed_ms][-1] == end
    w.in_order()


def test_a_maker_entry_is_filled_at_its_price_and_protected() -> None:
    w = World(Intent("enter_long", "go", order="maker", wait_ms=60_000, stop_bp=80.0, take_profit_bp=60.0))
    w.candle()
    w.wait(1_000)
    assert (w.qty, w.plans()) == (D(0), {})
    w.broker.on_trade("SOLUSDT", 99.98, 100.0, "sell", w.d.now_ms)
    w.tell(*w.broker.drain())
    w.wait(1_000)
    assert w.d.engine.state.portfolio.position("SOLUSDT").entry_price == D("99.99")
    assert w.plans() == {"pos_loss": D("99.20"), "profit_plan": D("100.59")}
    assert w.d.engine.state.portfolio.fees == -w.qty * D("99.99") * D("0.0002")
    w.wait(100_000)
    w.in_order()


@pytest.mark.parametrize(("fallback", "qty"), [("market", "4.9"), ("cancel", "0")])
def test_a_maker_entry_that_nobody_takes_falls_back_when_its_time_is_over(fallback: Any, qty: str) -> None:
    w = World(Intent("enter_long", "go", order="maker", wait_ms=3_000, fallback=fallback))
    w.candle()
    w.wait(2_900)
    assert w.qty == 0
    w.wait(3_000)
    assert w.qty == D(qty)
    assert [x.hook for x in of(w.told, Decision)][1:] == (["fallback"] if fallback == "market" else [])
    w.in_order()


def test_a_maker_entry_of_which_a_part_was_filled_asks_the_market_for_the_rest() -> None:
    w = World(Intent("enter_short", "go", order="maker", wait_ms=3_000, fallback="market"))
    w.candle()
    w.wait(100)
    w.broker.on_trade("SOLUSDT", 100.01, 52.0, "buy", w.d.now_ms)  # 50 were in the queue before us
    w.tell(*w.broker.drain())
    assert w.qty == D("-2.0")
    w.wait(5_000)
    assert w.qty in (D("-4.9"), D("-4.8"))  # the size follows the price of its moment, and is rounded down
    w.in_order()


def test_a_post_only_order_that_would_take_is_given_up_by_the_exchange_and_falls_back() -> None:
    w = World(Intent("enter_long", "go", order="maker", wait_ms=60_000, fallback="market"))
    w.candle()
    w.broker.on_book("SOLUSDT", ((99.90, 50.0),), ((99.95, 50.0),), w.d.now_ms)  # before the order is there
    w.wait(1_000)
    assert w.qty == D("4.9")
    entries = [o for o in of(w.told, PlaceOrder) if o.purpose == "entry"]
    assert [o.order_type for o in entries] == ["limit", "market"]
    w.in_order()


@pytest.mark.parametrize("taken", [True, False])
def test_a_maker_exit_leaves_at_its_price_or_at_the_market(taken: bool) -> None:
    out = Intent("exit", "out", order="maker", wait_ms=3_000, fallback="market")
    w = World(Intent("enter_long", "go"), out)
    w.candle()
    w.wait(1_000)
    w.candle()
    w.wait(500)
    assert w.qty == D("4.9")
    if taken:
        w.broker.on_trade("SOLUSDT", 100.02, 100.0, "buy", w.d.now_ms)
        w.tell(*w.broker.drain())
    w.wait(5_000)
    assert (w.qty, w.plans()) == (D(0), {})
    exits = [o.order_type for o in of(w.told, PlaceOrder) if o.purpose == "exit"]
    assert exits == (["limit"] if taken else ["limit", "market"])
    w.in_order()
