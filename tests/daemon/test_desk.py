"""Commands are durable before they are sent, go out in order, and never stand in each other's way out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from tests.eventually import eventually, turns
from tests.execution.fake_rest import SYMBOL, FakeRest, T, detail
from tests.execution.test_exchange import CANCEL, CLOSE, CONFIG, PLACE, STOP
from tradebot.daemon.desk import ENTRY_MS, OrderDesk
from tradebot.errors import AuthRefused, JournalError, OutcomeUnknown, Unavailable
from tradebot.events import CancelOrder, CommandOutcome, Event, PlaceOrder, PlaceStop
from tradebot.execution.broker import OrderCommand, outcome
from tradebot.execution.exchange import ExchangeBroker
from tradebot.journal import Journal, open_state
from tradebot.shell.clock import PacedClock

EXIT = PlaceOrder(
    client_oid="tb0-1-9-x",
    symbol=SYMBOL,
    side="sell",
    order_type="market",
    qty=D(1),
    purpose="exit",
    decision_id="",
    reduce_only=True,
)


def entry(oid: str, symbol: str = SYMBOL) -> PlaceOrder:
    return PlaceOrder(
        client_oid=oid, symbol=symbol, side="buy", order_type="market", qty=D(1), purpose="entry", decision_id=""
    )


class Broker:
    """Answers every command; those named in ``held`` only when told."""

    def __init__(self, *held: str) -> None:
        self.sent: list[str] = []
        self.gates = {oid: asyncio.Event() for oid in held}
        self.before: Callable[[OrderCommand], None] = lambda command: None

    async def execute(self, command: OrderCommand) -> AsyncIterator[Event]:
        self.before(command)
        self.sent.append(command.client_oid)
        if command.client_oid in self.gates:
            await self.gates[command.client_oid].wait()
        yield outcome(command, "accepted", order_id="1")


class Rig:
    def __init__(self, desk: OrderDesk, journal: Journal, heard: list[Event], clock: PacedClock) -> None:
        self.desk = desk
        self.journal = journal
        self.heard = heard
        self.clock = clock

    def answers(self) -> list[tuple[str, str]]:
        return [(e.client_oid, e.outcome) for e in self.heard if isinstance(e, CommandOutcome)]

    def submit(self, *commands: OrderCommand) -> None:
        for command in commands:
            self.journal.append("output", T, command)
            self.desk.submit(command)


@asynccontextmanager
async def desk_of(broker: object, state: Path, *, single_lane: bool = False) -> AsyncIterator[Rig]:
    with open_state(state) as opened:
        heard: list[Event] = []
        clock = PacedClock()
        clock.advance(T)
        desk = OrderDesk(
            broker,  # type: ignore[arg-type]
            opened.journal,
            heard.append,
            clock.now_ms,
            single_lane=single_lane,
        )
        try:
            yield Rig(desk, opened.journal, heard, clock)
        finally:
            await desk.close()


async def test_an_intent_is_durable_before_it_is_sent(tmp_path: Path) -> None:
    broker = Broker()
    async with desk_of(broker, tmp_path) as rig:
        durable: list[int] = []
        broker.before = lambda command: durable.append(rig.journal.synced_seq)
        for number, oid in enumerate(("a", "b", "c"), start=1):
            rig.submit(entry(oid))
            await rig.desk.idle()
            assert durable[-1] == number
    assert len(durable) == 3


async def test_what_was_decided_together_shares_a_sync_and_what_came_later_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    async with desk_of(broker, tmp_path) as rig:
        syncs: list[int] = []
        fdatasync = os.fdatasync

        def sync(fd: int) -> None:
            syncs.append(len(broker.sent))
            fdatasync(fd)

        monkeypatch.setattr(os, "fdatasync", sync)

        def put(event: Event) -> None:  # an answer goes on record as well, and makes no other command wait for the disk
            rig.journal.append("input", T, event)

        rig.desk._put = put
        rig.submit(entry("a"), entry("b", "BTCUSDT"), STOP)
        await rig.desk.idle()
        assert sorted(broker.sent) == ["a", "b", STOP.client_oid]
        assert syncs == [0]
        rig.submit(CLOSE)
        await rig.desk.idle()
        assert syncs == [0, 3]


async def test_nothing_is_sent_when_the_journal_fails_and_the_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    async with desk_of(broker, tmp_path) as rig:

        def broken() -> None:
            raise JournalError("disk")

        with monkeypatch.context() as patch:
            patch.setattr(rig.journal, "sync", broken)
            rig.submit(entry("a"), entry("b"), STOP)
            with pytest.raises(JournalError, match="disk"):
                await rig.desk.idle()
        assert isinstance(rig.desk.failure, JournalError)
        rig.submit(CLOSE)  # a lane that did not see the failure itself
        assert await rig.desk.drain(5) > 0
        assert broker.sent == []


async def test_orders_and_flash_closes_are_not_asked_after_before_they_are_answered(tmp_path: Path) -> None:
    broker = Broker(EXIT.client_oid, CLOSE.client_oid)
    async with desk_of(broker, tmp_path) as rig:
        rig.submit(EXIT, CLOSE)
        assert rig.desk.holds(EXIT.client_oid)
        assert rig.desk.holds(CLOSE.client_oid)
        for gate in broker.gates.values():
            gate.set()
        await rig.desk.idle()
        assert not rig.desk.holds(EXIT.client_oid)
        assert not rig.desk.holds(CLOSE.client_oid)


async def test_a_hung_stop_or_entry_does_not_hold_up_the_ways_out(tmp_path: Path) -> None:
    broker = Broker(STOP.client_oid, PLACE.client_oid, EXIT.client_oid)
    async with desk_of(broker, tmp_path) as rig:
        rig.submit(PLACE, STOP, EXIT, CLOSE)
        await eventually(lambda: len(broker.sent) == 4)
        await eventually(lambda: rig.answers() == [(CLOSE.client_oid, "accepted")])


async def test_a_hung_symbol_does_not_hold_up_another(tmp_path: Path) -> None:
    broker = Broker("a")
    async with desk_of(broker, tmp_path) as rig:
        rig.submit(entry("a"), entry("b"), entry("c", "BTCUSDT"))
        await eventually(lambda: rig.answers() == [("c", "accepted")])
        assert broker.sent == ["a", "c"]
        broker.gates["a"].set()
        await rig.desk.idle()
        assert broker.sent == ["a", "c", "b"]


async def test_a_cancellation_follows_the_order_it_is_about(tmp_path: Path) -> None:
    broker = Broker("a", EXIT.client_oid)
    async with desk_of(broker, tmp_path) as rig:
        rig.submit(entry("a"), EXIT)
        await eventually(lambda: broker.sent == ["a", EXIT.client_oid])
        rig.submit(CancelOrder(client_oid="a", symbol=SYMBOL))
        rig.submit(CancelOrder(client_oid=EXIT.client_oid, symbol=SYMBOL))
        rig.submit(entry("later", "BTCUSDT"))
        await eventually(lambda: "later" in broker.sent)
        assert broker.sent == ["a", EXIT.client_oid, "later"]
        broker.gates[EXIT.client_oid].set()
        await eventually(lambda: broker.sent.count(EXIT.client_oid) == 2)
        assert broker.sent.count("a") == 1


async def test_an_entry_that_was_cancelled_while_it_waited_is_not_sent_and_neither_is_its_cancellation(
    tmp_path: Path,
) -> None:
    broker = Broker("a")
    async with desk_of(broker, tmp_path) as rig:
        rig.submit(entry("a"), entry("b"))
        await eventually(lambda: broker.sent == ["a"])
        rig.submit(CancelOrder(client_oid="b", symbol=SYMBOL))
        broker.gates["a"].set()
        await rig.desk.idle()
    assert broker.sent == ["a"]
    assert rig.answers() == [("a", "accepted"), ("b", "rejected"), ("b", "accepted")]


@pytest.mark.parametrize(("waited_ms", "outcome_of_b"), [(ENTRY_MS, "accepted"), (ENTRY_MS + 1, "rejected")])
async def test_an_entry_that_waited_too_long_is_not_sent_and_an_exit_is(
    tmp_path: Path, waited_ms: int, outcome_of_b: str
) -> None:
    broker = Broker("a", "first exit")
    first, second = (msgspec.structs.replace(EXIT, client_oid=oid) for oid in ("first exit", "second exit"))
    async with desk_of(broker, tmp_path) as rig:
        rig.submit(entry("a"), first)
        await eventually(lambda: broker.sent == ["a", "first exit"])
        rig.submit(entry("b"), second)
        rig.clock.advance(T + waited_ms)
        for gate in broker.gates.values():
            gate.set()
        await rig.desk.idle()
    assert dict(rig.answers()) == {
        "a": "accepted", "b": outcome_of_b, "first exit": "accepted", "second exit": "accepted"
    }  # fmt: skip
    assert ("b" in broker.sent) == (outcome_of_b == "accepted")


async def test_an_entry_for_which_the_disk_took_too_long_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    async with desk_of(broker, tmp_path) as rig:
        monkeypatch.setattr(rig.journal, "sync", lambda: rig.clock.advance(T + ENTRY_MS + 1))
        rig.submit(entry("a"))
        await rig.desk.idle()
        assert rig.answers() == [("a", "rejected")]
    assert broker.sent == []


async def test_under_a_paced_clock_an_entry_goes_out_before_its_cancellation(tmp_path: Path) -> None:
    broker = Broker()
    async with desk_of(broker, tmp_path, single_lane=True) as rig:
        rig.submit(entry("a"), CancelOrder(client_oid="a", symbol=SYMBOL))
        await rig.desk.idle()
    assert broker.sent == ["a", "a"]


async def test_the_cancellation_of_an_answered_order_waits_for_no_other(tmp_path: Path) -> None:
    other = msgspec.structs.replace(EXIT, client_oid="tb0-1-10-x")
    broker = Broker(other.client_oid)
    async with desk_of(broker, tmp_path) as rig:
        rig.submit(EXIT)
        await rig.desk.idle()
        rig.submit(other, CancelOrder(client_oid=EXIT.client_oid, symbol=SYMBOL))
        await eventually(lambda: broker.sent.count(EXIT.client_oid) == 2)


async def test_a_single_lane_keeps_the_order_of_decisions_across_symbols_and_kinds(tmp_path: Path) -> None:
    broker = Broker("a")
    async with desk_of(broker, tmp_path, single_lane=True) as rig:
        rig.submit(entry("a"), entry("b", "BTCUSDT"), STOP, EXIT, CLOSE)
        await eventually(lambda: broker.sent)
        await turns()
        assert broker.sent == ["a"]
        broker.gates["a"].set()
        await rig.desk.idle()
    expected = ["a", "b", STOP.client_oid, EXIT.client_oid, CLOSE.client_oid]
    assert broker.sent == [oid for oid, _ in rig.answers()] == expected


def real_broker(rest: FakeRest) -> ExchangeBroker:
    return ExchangeBroker(rest, CONFIG, lambda: T, tuple, lambda seconds: turns(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("single_lane", [True, False])
async def test_asking_about_an_unknown_outcome_frees_the_lane_and_is_waited_for(
    tmp_path: Path, single_lane: bool
) -> None:
    rest = FakeRest(place_order=(OutcomeUnknown("no answer"), "78"), order_detail=detail(PLACE.client_oid))
    rest.hangs.add("order_detail")
    async with desk_of(real_broker(rest), tmp_path, single_lane=single_lane) as rig:
        rig.submit(PLACE, entry("b"))
        await eventually(lambda: rig.answers() == [(PLACE.client_oid, "unknown"), ("b", "accepted")])
        idle = asyncio.create_task(rig.desk.idle())
        await eventually(lambda: rest.named("order_detail"))
        await turns()
        assert not idle.done()
        rest.release.set()
        await asyncio.wait_for(idle, 5)
        assert rig.heard[-1] == detail(PLACE.client_oid).update


async def test_an_exchange_that_goes_away_in_the_middle_stops_neither_the_desk_nor_the_way_out(tmp_path: Path) -> None:
    rest = FakeRest(place_stop=OutcomeUnknown("no answer"), plan_orders=Unavailable("away"))
    async with desk_of(real_broker(rest), tmp_path) as rig:
        rig.submit(STOP, EXIT, CLOSE, STOP)
        await asyncio.wait_for(rig.desk.idle(), 5)
        assert len(rest.named("place_stop")) == 2
        assert len(rest.named("place_order", "close_position")) == 2
        assert rig.desk.failure is None


async def test_a_broker_that_raises_leaves_an_unknown_outcome_and_the_lane_alive(tmp_path: Path) -> None:
    class Raising(Broker):
        async def execute(self, command: OrderCommand) -> AsyncIterator[Event]:
            if isinstance(command, PlaceStop):
                raise Unavailable("away", code="x")
            async for event in super().execute(command):
                yield event
                raise Unavailable("away again")

    async with desk_of(Raising(), tmp_path, single_lane=True) as rig:
        rig.submit(STOP, PLACE)
        await asyncio.wait_for(rig.desk.idle(), 5)
        assert rig.answers() == [(STOP.client_oid, "unknown"), (PLACE.client_oid, "accepted")]


@pytest.mark.parametrize(
    "rest",
    [
        FakeRest(place_order=AuthRefused("key")),
        FakeRest(place_order=OutcomeUnknown("no answer"), order_detail=AuthRefused("key")),
    ],
)
async def test_a_refused_key_stops_the_desk_whenever_it_is_told(tmp_path: Path, rest: FakeRest) -> None:
    async with desk_of(real_broker(rest), tmp_path) as rig:
        rig.submit(PLACE)
        with pytest.raises(AuthRefused):
            await asyncio.wait_for(rig.desk.idle(), 5)
        await eventually(lambda: isinstance(rig.desk.failure, AuthRefused))


async def test_draining_sends_what_is_queued(tmp_path: Path) -> None:
    broker = Broker()
    async with desk_of(broker, tmp_path, single_lane=True) as rig:
        rig.submit(PLACE, STOP, CLOSE)
        assert await rig.desk.drain(5) == 0
        assert broker.sent == [PLACE.client_oid, STOP.client_oid, CLOSE.client_oid]


async def test_draining_is_bounded_and_says_what_is_left(tmp_path: Path) -> None:
    broker = Broker(STOP.client_oid)
    async with desk_of(broker, tmp_path) as rig:
        rig.submit(STOP, CANCEL, STOP)
        assert await rig.desk.drain(0.05) == 2
    assert broker.sent == [STOP.client_oid, CANCEL.client_oid]
