"""One book breaks over and over while thirty others go on at ten updates a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest

from tests.eventually import eventually
from tests.exchange.servers import Recorder
from tests.sim.faulty import faults
from tradebot.exchange.bitget import stream as streams
from tradebot.exchange.bitget.intake import Intake
from tradebot.exchange.bitget.stream import BitgetStream
from tradebot.sim.market import open_market
from tradebot.sim.market.generated import numbered_symbols
from tradebot.sim.server import EmbeddedExchange

SYMBOLS = numbered_symbols(30)
SICK = SYMBOLS[17]
UPDATES = 1_500


async def test_a_book_that_breaks_again_and_again_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # one frame a slice: nothing is merged, however far a busy machine is behind, and what is told can be counted
    monkeypatch.setattr(streams, "Intake", partial(Intake, slice_s=1e-9))
    market = open_market((), SYMBOLS, 3, for_ms=600_000, history_days=8, book_interval_ms=100)
    gaps = faults({"kind": "sequence_gap", "scope": "public", "symbol": SICK, "probability": 0.1})
    heard = Recorder()
    async with EmbeddedExchange(market, speed=1.0, rate_limits=False, faults=gaps) as exchange:
        # how far a busy machine is behind is not asked here
        stream = BitgetStream(exchange.ws_url, SYMBOLS, heard, channels_per_connection=40, behind_ms=2**60)
        running = asyncio.create_task(stream.run())
        try:
            await asyncio.wait_for(stream.ready(), 10)
            await eventually(lambda: len(heard.books) >= UPDATES, within_s=30)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        injected = exchange.exchange.faults.injected()["sequence_gap", "public"]
    assert injected >= 1
    assert stream.feed.resyncs_by_kind["gap"] >= 1
    assert set(stream.feed.resyncs_by_kind) <= {"gap", "missed"}
    told = Counter(symbol for symbol, *_ in heard.books)
    bad = Counter(symbol for symbol, ok, reason in heard.feed if not ok and reason != "disconnected")
    assert set(bad) == {SICK}
    well = [told[symbol] for symbol in SYMBOLS if symbol != SICK]
    assert min(well) > 0.8 * max(well)
    assert [connection.sessions for connection in stream.connections] == [1, 1, 1]
