"""Killing the daemon at random moments, mid-position, loses and duplicates nothing."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

from tests.e2e.conftest import SYMBOL, Sim, settings_json
from tests.eventually import presently
from tradebot.daemon.clock import WallClock
from tradebot.daemon.wall import measure
from tradebot.events import Decision, Filled, OperatorActed, PlaceOrder
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials
from tradebot.journal import JournalReader, journal_directory
from tradebot.trading.orders import parse_client_oid
from tradebot.trading.state import recover

KILLS = 8


def start(settings: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.daemon_process", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def count_orders(state: Path) -> int:
    frames = JournalReader(journal_directory(state)).frames() if journal_directory(state).exists() else ()
    return sum(isinstance(f.record, PlaceOrder) for f in frames)


def wait_for_orders(state: Path, more_than: int, within_s: float = 40.0) -> int:
    """Until the journal on disk holds more than ``more_than`` orders; returns how many."""
    presently(lambda: count_orders(state) > more_than, within_s)
    return count_orders(state)


def test_a_daemon_killed_again_and_again_loses_and_duplicates_nothing(
    sim: Sim, model_store: Path, tmp_path: Path
) -> None:
    state, settings = tmp_path / "state", tmp_path / "settings.json"
    settings.write_text(json.dumps(settings_json(sim, state, model_store)))
    rng = random.Random(11)
    for kill in range(KILLS):
        before = count_orders(state)
        process = start(settings)
        try:
            if kill % 4 == 3:  # while it starts: recovery must survive being killed too
                time.sleep(rng.uniform(0.5, 1.5))
            else:
                wait_for_orders(state, before)
                time.sleep(rng.uniform(0.0, 0.25))  # any instruction
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    before = count_orders(state)
    process = start(settings)
    wait_for_orders(state, before)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0

    reader = JournalReader(journal_directory(state))
    frames = list(reader.frames())
    assert len(reader.epochs()) > KILLS // 2
    sent = Counter(f.record.client_oid for f in frames if isinstance(f.record, PlaceOrder))
    assert max(sent.values()) == 1, "an order id was used twice"
    folded = recover(((f.ts_ms, f.record) for f in frames), cooldown_ms=0)
    asyncio.run(compare(sim, frames, folded, set(sent)))


async def compare(sim: Sim, frames: list, folded: object, sent: set[str]) -> None:  # type: ignore[type-arg]
    state = folded
    clock = WallClock()
    key = Credentials("demo-key", "demo-secret", "demo-pass")
    async with BitgetRest(sim.rest, credentials=key, now_ms=clock.now_ms) as rest:
        await measure(clock, rest)
        listed = [*await rest.orders_history(since_ms=0), *await rest.open_orders()]
        fills = await rest.fills(SYMBOL, since_ms=0)
        positions = {p.symbol: p.qty for p in await rest.positions()}
        _, account = await rest.account(SYMBOL)
    ours = [o for o in listed if parse_client_oid(o.client_oid)]
    assert len(ours) == len({o.client_oid for o in ours})
    assert {o.client_oid for o in ours} <= sent, "the exchange has an order that the journal does not know"
    seen = {f.record.trade_id for f in frames if isinstance(f.record, Filled)}
    assert {f.trade_id for f in fills} == seen, "an execution was lost or invented"
    portfolio = state.portfolio  # type: ignore[attr-defined]
    assert {p.symbol: p.qty for p in portfolio.open_positions()} == positions
    balance = Decimal(10_000) + portfolio.realised + portfolio.fees + portfolio.funding
    assert abs(balance - account.balance) < Decimal("1e-6")
    assert len(seen) > KILLS


def test_a_halt_survives_a_kill(sim: Sim, model_store: Path, tmp_path: Path) -> None:
    from tradebot.cli.control import ask

    state, settings = tmp_path / "state", tmp_path / "settings.json"
    settings.write_text(json.dumps(settings_json(sim, state, model_store)))
    process = start(settings)
    wait_for_orders(state, 0)
    assert ask(state, {"cmd": "halt", "reason": "test"})["ok"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = start(settings)
    try:
        deadline = time.monotonic() + 30
        while True:
            records = [f.record for f in JournalReader(journal_directory(state)).frames(2)]
            decisions = [r for r in records if isinstance(r, Decision) and r.action.startswith("enter")]
            if len(decisions) >= 3:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)  # another process writes the file
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert not any(isinstance(r, OperatorActed) for r in records)
    assert all(d.verdict == "block" for d in decisions)
    assert any(c.name == "tradability" and c.value == "halted" for c in decisions[0].checks)
