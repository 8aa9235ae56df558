"""Looking at the account as a whole: when it is asked for, and what happens while the exchange does not answer."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any, cast

import pytest

from tradebot.daemon.account import PAUSE_MS, SINCE_MARGIN_MS, Account
from tradebot.errors import Unavailable
from tradebot.events import AccountHeard, AccountUpdated, Event, OrderState
from tradebot.exchange.bitget.listener import PRIVATE, PUBLIC
from tradebot.shell.clock import PacedClock

T0 = 1_760_000_000_000
SEEN = AccountUpdated(balance=D(1), equity=D(1), available=D(1))


class Rig:
    """An account whose broker answers with one event, or not at all."""

    def __init__(self, every_ms: int | None = 60_000) -> None:
        self.clock = PacedClock()
        self.clock.advance(T0)
        self.told: list[Event] = []
        self.since: list[int] = []
        self.away = 0
        desk = cast(Any, self)
        self.asked_of: list[str] = []
        known = [
            OrderState(client_oid=oid, symbol="SOLUSDT", side="buy", order_type="market", qty=D(1), purpose="entry")
            for oid in ("unanswered", "answered")
        ]
        self.account = Account(desk, desk, self.clock, self.told.append, lambda: known, every_ms=every_ms)
        self.account.start(T0 - 5_000)

    def holds(self, client_oid: str) -> bool:
        return client_oid == "unanswered"

    async def reconcile(self, orders: Any, since_ms: int, asked_ms: int) -> list[Event]:
        self.since.append(since_ms)
        self.asked_of = [order.client_oid for order in orders]
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        return [SEEN]

    async def at(self, ms: int) -> int:
        """Let the account act at a moment; returns how often it has asked."""
        self.clock.advance(T0 + ms)
        await self.account.tick()
        return len(self.since)


async def test_the_account_is_looked_at_periodically_and_executions_since_the_last_look() -> None:
    rig = Rig()
    await rig.account.reconcile("start")
    assert rig.since == [T0 - 5_000 - SINCE_MARGIN_MS]
    assert rig.account.next_due_ms() == T0 + 60_000
    assert await rig.at(59_999) == 1
    assert await rig.at(60_000) == 2
    assert rig.since[1] == T0 - SINCE_MARGIN_MS
    assert rig.told == [SEEN, SEEN]


async def test_an_order_that_was_not_answered_yet_is_not_asked_for() -> None:
    rig = Rig()
    await rig.account.reconcile("start")
    assert rig.asked_of == ["answered"]


async def test_the_coming_and_going_of_the_private_stream_is_told_and_of_no_other() -> None:
    rig = Rig()
    for rank, up in ((PUBLIC, True), (PRIVATE, True), (PUBLIC, False), (PRIVATE, False)):
        rig.account.on_connection(rank, up)
    assert rig.told == [AccountHeard(up=True), AccountHeard(up=False)]


async def test_a_private_channel_that_the_exchange_refuses_is_told() -> None:
    rig = Rig()
    rig.account.on_refused("orders", "subscription refused")
    assert rig.told == [AccountHeard(up=False, refused="orders: subscription refused")]


async def test_a_reason_makes_it_look_at_once_and_only_once() -> None:
    rig = Rig(every_ms=None)
    await rig.account.reconcile("start")
    assert rig.account.next_due_ms() is None
    rig.account.on_lost("an order that could not be read")
    rig.account.on_connection(PRIVATE, True)
    assert rig.account.asked
    assert await rig.at(1) == 2
    assert not rig.account.asked


@pytest.mark.parametrize(("rank", "up"), [(PUBLIC, True), (PUBLIC, False), (PRIVATE, False)])
async def test_only_a_private_stream_that_is_back_is_a_reason(rank: int, up: bool) -> None:
    rig = Rig(every_ms=None)
    await rig.account.reconcile("start")
    rig.account.on_connection(rank, up)
    assert not rig.account.asked


async def test_the_first_connection_is_no_reason_for_a_second_look() -> None:
    rig = Rig()
    rig.account.on_connection(PRIVATE, True)
    assert not rig.account.asked


async def test_an_exchange_that_does_not_answer_is_asked_again_after_a_pause_with_nothing_forgotten() -> None:
    rig = Rig()
    await rig.account.reconcile("start")
    rig.away = 2
    rig.account.ask("a reason")
    for ms in (1_000, 1_000 + PAUSE_MS):
        with pytest.raises(Unavailable):
            await rig.at(ms)
        assert not rig.account.asked, "whoever waits for the account must not ask without end"
        assert rig.account.next_due_ms() == T0 + ms + PAUSE_MS
    assert await rig.at(1_000 + PAUSE_MS + 1) == 3
    assert await rig.at(1_000 + 2 * PAUSE_MS) == 4
    assert rig.since[1:] == [T0 - SINCE_MARGIN_MS] * 3
    assert len(rig.told) == 2
