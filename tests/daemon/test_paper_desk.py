"""The paper account in the daemon: what a restart finds, and what it refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from tests.eventually import eventually, turns
from tradebot.daemon import paper
from tradebot.daemon.paper import PaperDesk
from tradebot.errors import ConfigError, DataError
from tradebot.events import (
    CommandOutcome,
    EngineConfig,
    Event,
    Filled,
    InstrumentUpdated,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    Reconciled,
    StopUpdated,
    TickerUpdated,
)
from tradebot.execution.broker import OrderCommand
from tradebot.execution.latency import uniform
from tradebot.market.book import OrderBook
from tradebot.market.instrument import Instrument
from tradebot.ops.files import write_atomic

SOL = Instrument(symbol="SOLUSDT", tick=D("0.001"), lot=D("0.1"), min_qty=D("0.1"))
CONFIG = EngineConfig(mode="paper", symbols=("SOLUSDT",), strategy="x")
T = 1_760_000_000_000


def paper_desk(
    state: Path, clock: Callable[[], int], put: Callable[[Event], None], *, lockstep: bool = False
) -> PaperDesk:
    path = state / "paper.json"
    return PaperDesk(path, CONFIG, clock, put, cash=D(5000), latency=uniform(20, 80), lockstep=lockstep)


class Rig:
    def __init__(self, state: Path, now_ms: int = T) -> None:
        self.now_ms = now_ms
        self.told: list[Event] = []
        self.desk = paper_desk(state, lambda: self.now_ms, self.told.append)
        self.desk(1, now_ms, InstrumentUpdated(instrument=SOL))

    async def open(self) -> Rig:
        await self.desk.prepare(CONFIG)
        return self

    def quote(self) -> None:
        book = OrderBook()
        book.snapshot([("150.000", "50")], [("150.010", "50")])
        self.desk.on_book("SOLUSDT", book, self.now_ms)
        self.desk.on_ticker(TickerUpdated(symbol="SOLUSDT", ts_exchange_ms=0, last=150, mark=150, index=150))

    async def execute(self, command: OrderCommand) -> list[Event]:
        return [event async for event in self.desk.execute(command)]

    async def enter(self) -> None:
        self.quote()
        await self.execute(entry())
        self.now_ms += 100
        self.desk.on_time()
        await eventually(lambda: any(isinstance(event, Filled) for event in self.told))


def entry() -> PlaceOrder:
    return PlaceOrder(
        client_oid="tb0-1-1-e",
        symbol="SOLUSDT",
        side="buy",
        order_type="market",
        qty=D(2),
        purpose="entry",
        decision_id="d",
    )


def stop(oid: str) -> PlaceStop:
    return PlaceStop(client_oid=oid, symbol="SOLUSDT", position_side="long", trigger_price=D(140))


async def test_a_restart_finds_the_account_where_it_was(tmp_path: Path) -> None:
    rig = await Rig(tmp_path).open()
    await rig.enter()
    again = await Rig(tmp_path, rig.now_ms).open()
    events = await again.desk.reconcile((), 0, T + 7)
    assert isinstance(events[-1], Reconciled)
    assert [(p.symbol, p.qty) for p in events[-1].positions] == [("SOLUSDT", D(2))]
    assert events[-1].asked_ms == T + 7
    assert again.desk.broker.account() == rig.desk.broker.account()
    assert again.desk.broker.account().balance != D(5000)
    assert (tmp_path / "paper.json").stat().st_mode & 0o777 == 0o600


async def test_the_account_is_on_disk_before_anyone_hears_of_a_change(tmp_path: Path) -> None:
    rig = await Rig(tmp_path).open()
    found: list[bool] = []
    rig.desk._put = lambda event: found.append(b"SOLUSDT" in (tmp_path / "paper.json").read_bytes())
    rig.quote()
    assert found == []
    await rig.execute(entry())
    rig.now_ms += 100
    rig.desk.on_time()
    await eventually(lambda: len(found) > 3)
    assert all(found)
    await rig.desk.close()
    again = await Rig(tmp_path).open()
    assert again.desk.broker.snapshot().positions[0].qty == D(2)


@pytest.mark.parametrize("damage", [b"", b'{"version": 1', b"\x00" * 64], ids=["empty", "cut", "zeros"])
async def test_a_damaged_account_is_refused_in_one_line_that_names_the_file(tmp_path: Path, damage: bytes) -> None:
    await (await Rig(tmp_path).open()).enter()
    path = tmp_path / "paper.json"
    path.write_bytes(damage)
    with pytest.raises(DataError, match="move it away") as caught:
        await Rig(tmp_path).open()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == damage


async def test_a_second_stop_is_answered_with_the_one_that_stands(tmp_path: Path) -> None:
    rig = await Rig(tmp_path).open()
    await rig.enter()
    await rig.execute(stop("tb0-1-2-s"))
    rig.now_ms += 100
    rig.desk.on_time()
    answer, standing = await rig.execute(stop("tb0-1-3-s"))
    assert isinstance(answer, CommandOutcome)
    assert (answer.outcome, answer.order_id) == ("accepted", "")
    assert isinstance(standing, StopUpdated)
    assert standing.client_oid == "tb0-1-2-s"


async def test_an_id_that_comes_again_with_another_price_is_refused(tmp_path: Path) -> None:
    rig = await Rig(tmp_path).open()
    rig.quote()
    outcomes = []
    for price in ("149", "149.000", "149.5"):
        order = PlaceOrder(
            client_oid="same",
            symbol="SOLUSDT",
            side="buy",
            order_type="limit",
            price=D(price),
            qty=D(2),
            purpose="entry",
            decision_id="d",
        )
        outcomes += await rig.execute(order)
    assert [(o.outcome, o.code) for o in outcomes if isinstance(o, CommandOutcome)] == [
        ("accepted", ""),
        ("accepted", ""),
        ("rejected", "40786"),
    ]
    rig.now_ms += 100
    rig.desk.on_time()
    await rig.desk.close()
    assert len([e for e in rig.told if isinstance(e, OrderUpdated)]) == 1


async def test_what_happens_while_the_account_is_written_is_written_next_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await Rig(tmp_path).open()
    rig.quote()
    gate, writes = threading.Event(), 0

    def slow(path: Path, data: bytes, *, mode: int) -> None:
        nonlocal writes
        gate.wait(10)
        writes += 1
        write_atomic(path, data, mode=mode)

    monkeypatch.setattr(paper, "write_atomic", slow)
    for number in range(20):
        await rig.execute(msgspec.structs.replace(entry(), client_oid=f"tb0-1-{number}-e", qty=D("0.1")))
        await turns()
    rig.now_ms += 100
    rig.desk.on_time()
    assert rig.told == []
    gate.set()
    events = await rig.desk.reconcile((), 0, T)
    assert writes == 2
    assert len([event for event in rig.told if isinstance(event, Filled)]) == 20
    assert len([event for event in events if isinstance(event, Filled)]) == 20
    again = await Rig(tmp_path, rig.now_ms).open()
    assert again.desk.broker.snapshot() == rig.desk.broker.snapshot()


async def test_where_the_exchange_waits_a_change_is_told_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.desk = paper_desk(tmp_path, lambda: rig.now_ms, rig.told.append, lockstep=True)
    rig.desk(1, T, InstrumentUpdated(instrument=SOL))
    await rig.open()
    rig.quote()
    await rig.execute(entry())
    rig.now_ms += 100
    rig.desk.on_time()
    assert any(isinstance(event, Filled) for event in rig.told)
    assert b"tb0-1-1-e" in (tmp_path / "paper.json").read_bytes()


async def test_an_account_that_cannot_be_written_is_told_to_nobody_and_stops_the_run(tmp_path: Path) -> None:
    rig = await Rig(tmp_path / "gone").open()
    rig.quote()
    await rig.execute(entry())
    await eventually(lambda: rig.desk.next_due_ms() == rig.now_ms)
    for act in (rig.desk.on_time, rig.quote):
        with pytest.raises(DataError, match=r"cannot write .*paper\.json"):
            act()
    with pytest.raises(DataError, match="cannot write"):
        await rig.desk.close()
    assert rig.told == []


async def test_before_the_contracts_are_known_there_is_no_broker(tmp_path: Path) -> None:
    desk = paper_desk(tmp_path, lambda: T, lambda event: None)
    await desk.close()
    assert desk.next_due_ms() is None
    with pytest.raises(ConfigError, match="contracts first"):
        _ = desk.broker
