"""Recorded frames of Binance and Bybit, replayed by a server that speaks as they do: the 5 s rows that come out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby

import numpy as np
import pyarrow.parquet as pq

from tests.eventually import eventually
from tests.exchange.recorded import Frame, binance_frames, wire_frames
from tests.exchange.venue_servers import BinanceServer, BybitServer, VenueServer, serving
from tests.shared import shared_path
from tradebot.data.channels import book_columns
from tradebot.events import VenueBook
from tradebot.exchange.venues.books import VenueAddresses, VenueBooks
from tradebot.exchange.venues.connection import VenueTiming
from tradebot.market.grid import VENUE_GRID

COLUMNS = book_columns(5)


def flat(row: VenueBook) -> list[float]:
    levels = zip(row.ask_px, row.ask_sz, row.bid_px, row.bid_sz, strict=True)
    return [value for level in levels for value in level]


class Replay:
    """One venue's books fed by one server, with the clock at the time of receipt."""

    def __init__(self, name: str, symbols: Sequence[str], server: VenueServer, began_ms: float) -> None:
        self.now = int(began_ms)
        self.rows: list[VenueBook] = []
        ws, rest = f"ws://{server.url}", f"http://{server.url}"
        self.server = server
        self.books = VenueBooks(
            [name],
            symbols,
            VenueAddresses(rest, ws, rest, ws, f"{ws}/v5/public/spot"),
            stale_after_ms=10_000,
            now_ms=lambda: self.now,
            put=self.rows.append,
            timing=VenueTiming(),
        )
        (self.feed,) = self.books.feeds

    async def play(self, frames: Sequence[Frame]) -> None:
        """Send frames in order; those between two boundaries arrive in one go, as nothing is sampled among them."""
        for window, group in groupby(frames, key=lambda frame: int(frame[0]) // VENUE_GRID.step_ms):
            batch = list(group)
            wanted = self.feed.counts.messages + len(batch)
            self.now = max(self.now, int(batch[0][0]))
            assert self.now // VENUE_GRID.step_ms == window
            for _, body in batch:
                await self.server.push(body)
            await eventually(lambda wanted=wanted: self.feed.counts.messages >= wanted, every_s=0.001)  # type: ignore[misc]


async def run(replay: Replay, play: Callable[[], Awaitable[None]]) -> None:
    running = asyncio.create_task(replay.books.run())
    try:
        await play()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_replayed_binance_frames_give_the_recorded_rows_at_every_boundary() -> None:
    path = shared_path("data/market/raw/binance_BTCUSDT_perp_20240718.txt.gz")
    table = pq.read_table(shared_path("data/market/lob/binance_BTCUSDT_perp_20240718_1s_l10.parquet"))
    recorded = dict(
        zip(table["ts_ms"].to_pylist(), np.column_stack([table[c].to_numpy() for c in COLUMNS]).tolist(), strict=True)
    )
    every = list(binance_frames([path], 1e6))
    frames = [frame for frame in every if b"@depth" in frame[1][:60]]
    ((asked_ms, snapshot),) = [frame for frame in every if b'"stream"' not in frame[1][:12]]
    server = BinanceServer("perp")
    server.recorded = snapshot
    server.gate.clear()
    async with serving(server):
        replay = Replay("binance-perp", ["BTCUSDT"], server, frames[0][0])

        async def play() -> None:
            await eventually(lambda: server.snapshots)
            await replay.play([frame for frame in frames if frame[0] < asked_ms])
            server.gate.set()
            await eventually(lambda: replay.feed.counts.snapshots == 1)
            await replay.play([frame for frame in frames if frame[0] > asked_ms])

        await run(replay, play)
    assert server.targets == ["/stream?streams=btcusdt@depth@100ms"]
    assert len(replay.rows) == 35
    assert [row.boundary_ms for row in replay.rows] == list(
        range(1_721_347_025_000, 1_721_347_200_000, VENUE_GRID.step_ms)
    )
    assert all(flat(row) == recorded[row.boundary_ms] and not row.stale for row in replay.rows)
    assert (replay.feed.counts.resyncs, replay.feed.counts.unreadable) == (0, 0)


class NaiveBook:
    """Two dicts."""

    def __init__(self) -> None:
        self.sides: tuple[dict[float, float], dict[float, float]] = ({}, {})

    def take(self, message: dict[str, object]) -> None:
        data = message["data"]
        assert isinstance(data, dict)
        if message["type"] == "snapshot":
            self.sides = ({}, {})
        for side, changes in zip(self.sides, (data["b"], data["a"]), strict=True):
            for price, size in changes:
                side[float(price)] = float(size)
                if float(size) == 0:
                    del side[float(price)]

    def row(self) -> list[float]:
        bids = sorted(self.sides[0].items(), reverse=True)[:5]
        asks = sorted(self.sides[1].items())[:5]
        return [value for ask, bid in zip(asks, bids, strict=True) for value in (*ask, *bid)]


async def test_replayed_bybit_frames_give_the_rows_of_a_naive_book_at_every_boundary() -> None:
    path = shared_path("data/market/raw/bybit_v5_20260809.jsonl.gz")
    symbols = ("BTCUSDT", "ETHUSDT")
    frames = [
        (at, body.replace(b"orderbook.200.", b"orderbook.50."))
        for at, body in wire_frames(path, "BYBIT.ws.3")
        if b'"orderbook.200.' in body[:60]
    ]
    naive = {symbol: NaiveBook() for symbol in symbols}
    expected: dict[tuple[str, int], list[float]] = {}
    due = VENUE_GRID.boundary_after(int(frames[0][0]))
    for at, body in frames:
        while int(at) >= due:
            expected |= {(symbol, due): naive[symbol].row() for symbol in symbols}
            due += VENUE_GRID.step_ms
        message = json.loads(body)
        naive[message["data"]["s"]].take(message)
    server = BybitServer()
    server.deaf.update(dict.fromkeys(symbols, 1))  # the snapshots are among the frames
    async with serving(server):
        replay = Replay("bybit-spot", symbols, server, frames[0][0])

        async def play() -> None:
            await eventually(lambda: server.heard)
            await replay.play(frames)

        await run(replay, play)
    assert server.heard[0] == {"op": "subscribe", "args": ["orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT"]}
    assert len(expected) >= 16
    assert {(row.symbol, row.boundary_ms): flat(row) for row in replay.rows} == expected
    assert not any(row.stale for row in replay.rows)
    assert (replay.feed.counts.resyncs, replay.feed.counts.unreadable) == (0, 0)
