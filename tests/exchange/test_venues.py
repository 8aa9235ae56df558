"""Books of other venues over real sockets: the grid, the ways they break, and that each mends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.eventually import Steady, eventually
from tests.exchange.venue_servers import BinanceServer, BybitServer, VenueServer, serving
from tradebot.daemon.metrics import METRICS
from tradebot.events import VenueBook
from tradebot.exchange.venues.books import VenueAddresses, VenueBooks
from tradebot.exchange.venues.connection import VenueTiming
from tradebot.exchange.venues.feed import VenueFeed

T0 = 1_760_000_000_000
PAIRS = ("BTCUSDT", "ETHUSDT")
QUICK = VenueTiming(first_wait=0.01, longest_wait=0.05, silence=60.0, quiet=60.0, ping=60.0, request=60.0)
"""Back soon after a loss, and patient with a busy machine."""

Server = BinanceServer | BybitServer


class Watch:
    """Books of one venue on one server, a clock the test moves, and the rows so far."""

    def __init__(self, name: str, server: Server, timing: VenueTiming) -> None:
        self.server = server
        self.now = T0 + 100
        self.rows: list[VenueBook] = []
        ws, rest = f"ws://{server.url}", f"http://{server.url}"
        addresses = VenueAddresses(rest, ws, rest, ws, f"{ws}/v5/public/spot")
        self.books = VenueBooks(
            [name],
            PAIRS,
            addresses,
            stale_after_ms=10_000,
            now_ms=lambda: self.now,
            put=self.rows.append,
            timing=timing,
        )
        (self.feed,) = self.books.feeds

    async def heard(self, messages: int) -> None:
        await eventually(lambda: self.feed.counts.messages >= messages, every_s=0.001)

    async def sound(self) -> None:
        """Both books are sound now."""
        await eventually(
            lambda: all(not row.stale for row in self.glimpse()) and len(self.glimpse()) == 2, every_s=0.001
        )

    def glimpse(self) -> list[VenueBook]:
        rows = [book.row(self.now, 10_000) for book in self.books._grid._books]
        return [row for row in rows if row is not None]

    def at(self, now_ms: int) -> list[tuple[str, int, int, bool, float]]:
        """Move the clock and seal by it; the new rows in short."""
        self.rows.clear()
        self.now = now_ms
        self.books.on_time()
        return [(row.symbol, row.boundary_ms - T0, row.age_ms, row.stale, row.bid_sz[0]) for row in self.rows]


def server_of(name: str) -> Server:
    return BybitServer() if name == "bybit-spot" else BinanceServer(name.removeprefix("binance-"))


@asynccontextmanager
async def watching(name: str, timing: VenueTiming = QUICK) -> AsyncIterator[Watch]:
    server = server_of(name)
    async with serving(server):
        watch = Watch(name, server, timing)
        running = asyncio.create_task(watch.books.run())
        try:
            yield watch
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


VENUES = ("binance-spot", "binance-perp", "bybit-spot")


@pytest.mark.parametrize("name", VENUES)
async def test_a_row_is_the_state_just_before_its_boundary_with_its_age(name: str) -> None:
    async with watching(name) as watch:
        await watch.sound()
        before = watch.feed.counts.messages
        watch.now = T0 + 4_999
        await watch.server.change("BTCUSDT", "7")
        await watch.heard(before + 1)
        watch.now = T0 + 5_000  # the boundary itself: what comes now is after it
        await watch.server.change("BTCUSDT", "8")
        await watch.heard(before + 2)
        assert [(r.symbol, r.boundary_ms, r.age_ms, r.stale, r.bid_sz[0]) for r in watch.rows] == [
            ("BTCUSDT", T0 + 5_000, 1, False, 7.0),
            ("ETHUSDT", T0 + 5_000, 4_900, False, 1.0),
        ]
        assert watch.rows[0] == VenueBook(
            venue=name, symbol="BTCUSDT", boundary_ms=T0 + 5_000, age_ms=1, stale=False,
            bid_px=(99.0, 98.0, 97.0, 96.0, 95.0), bid_sz=(7.0, 1.0, 1.0, 1.0, 1.0),
            ask_px=(101.0, 102.0, 103.0, 104.0, 105.0), ask_sz=(7.0, 1.0, 1.0, 1.0, 1.0),
        )  # fmt: skip
        # one boundary passes with nothing heard, at the next the first book is old
        assert watch.at(T0 + 10_250) == [
            ("BTCUSDT", 10_000, 5_000, False, 8.0),
            ("ETHUSDT", 10_000, 9_900, False, 1.0),
        ]
        assert watch.books.next_due_ms() == T0 + 15_250
        assert watch.at(T0 + 15_250)[1] == ("ETHUSDT", 15_000, 14_900, True, 1.0)


@pytest.mark.parametrize("name", VENUES)
async def test_a_gap_breaks_that_book_alone_and_it_mends(name: str) -> None:
    async with watching(name) as watch:
        await watch.sound()
        sessions = watch.feed.connection.sessions
        watch.server.gate.clear()  # the snapshot is a while on its way
        await watch.server.change("BTCUSDT", "2")
        await eventually(lambda: watch.glimpse()[0].bid_sz[0] == 2.0)
        heard = watch.feed.counts.messages
        await watch.server.change("BTCUSDT", "6", lost=True)
        await watch.server.change("BTCUSDT", "7")
        await watch.server.change("ETHUSDT", "3")
        await watch.heard(heard + 2)
        stale = {row.symbol: (row.stale, row.bid_sz[0]) for row in watch.glimpse()}
        assert stale == {"BTCUSDT": (True, 2.0), "ETHUSDT": (False, 3.0)}
        watch.server.gate.set()
        await watch.sound()
        assert {row.symbol: row.bid_sz[0] for row in watch.glimpse()} == {"BTCUSDT": 7.0, "ETHUSDT": 3.0}
        await watch.server.change("BTCUSDT", "9")
        await eventually(lambda: watch.glimpse()[0].bid_sz[0] == 9.0)
        assert (watch.feed.counts.resyncs, watch.feed.connection.sessions) == (1, sessions)


@pytest.mark.parametrize("name", VENUES)
async def test_a_venue_that_talks_but_answers_no_ping_is_connected_anew(name: str) -> None:
    timing = replace(QUICK, ping=0.05, pong=0.1)
    async with watching(name, timing) as watch:
        await watch.sound()
        await eventually(lambda: watch.server.pings >= 4)  # each was answered: the next waits for that
        watch.server.pongs = False
        await watch.server.cut()

        async def talk() -> None:
            while True:
                await asyncio.sleep(0.02)
                with contextlib.suppress(ConnectionError):  # between two sessions
                    await watch.server.change("BTCUSDT", "3")

        talking = asyncio.create_task(talk())
        await eventually(lambda: watch.feed.connection.sessions >= 3)
        talking.cancel()
        assert "keepalive" in watch.feed.connection.last_error


@pytest.mark.parametrize("name", VENUES)
async def test_a_lost_connection_makes_all_books_stale_until_new_snapshots(name: str) -> None:
    async with watching(name) as watch:
        await watch.sound()
        watch.server.sizes["BTCUSDT"] = "4"
        await watch.server.cut()
        await eventually(lambda: watch.feed.connection.sessions == 2)
        await watch.sound()
        assert [row.bid_sz[0] for row in watch.glimpse()] == [4.0, 1.0]
        await watch.server.change("ETHUSDT", "5")
        await eventually(lambda: watch.glimpse()[1].bid_sz[0] == 5.0)


async def test_attempts_that_come_to_nothing_are_counted() -> None:
    nowhere = VenueAddresses(bybit_spot_ws="ws://127.0.0.1:1/v5/public/spot")
    books = VenueBooks(
        ["bybit-spot"], PAIRS, nowhere, stale_after_ms=10_000, now_ms=lambda: T0, put=print, timing=QUICK
    )
    running = asyncio.create_task(books.run())
    (feed,) = books.feeds
    await eventually(lambda: feed.connection.attempts >= 3)
    assert (feed.connection.sessions, feed.up) == (0, False)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    daemon: Any = SimpleNamespace(venues=[SimpleNamespace(books=books)])
    (shown,) = [metric.read(daemon) for metric in METRICS if metric.name == "venue_reconnects"]
    assert shown == {"bybit-spot": float(feed.connection.attempts - 1)}


@pytest.mark.parametrize("name", VENUES)
async def test_while_the_venue_is_away_the_last_state_stands_and_is_stale(name: str) -> None:
    async with watching(name, VenueTiming(first_wait=30.0, longest_wait=30.0)) as watch:
        await watch.sound()
        watch.feed.connection._backoff.next()
        await watch.server.cut()
        await eventually(lambda: not watch.feed.up)
        assert watch.at(T0 + 5_250) == [("BTCUSDT", 5_000, 4_900, True, 1.0), ("ETHUSDT", 5_000, 4_900, True, 1.0)]


@pytest.mark.parametrize("name", VENUES)
async def test_a_socket_that_says_nothing_is_given_up(name: str) -> None:
    async with watching(name, VenueTiming(silence=0.2, ping=30.0, first_wait=0.01, longest_wait=0.02)) as watch:
        await watch.sound()
        await eventually(lambda: watch.feed.connection.sessions >= 2)
        assert "nothing heard" in watch.feed.connection.last_error


@pytest.mark.parametrize("name", VENUES)
async def test_one_silent_subscription_on_a_talking_socket_is_renewed(name: str, steady: Steady) -> None:
    timing = replace(QUICK, quiet=0.2)
    async with watching(name, timing) as watch:
        await watch.sound()

        def renewed(symbol: str) -> bool:
            words = [json.dumps(said) for said in watch.server.heard]
            ops = [w for w in words if "unsubscribe" in w.lower() and symbol.lower() in w.lower()]
            return len(ops) > 0

        for number in range(2, 5):  # the talking half of the socket
            steady.now += 0.08
            messages = watch.feed.counts.messages
            await watch.server.change("BTCUSDT", str(number))
            await watch.heard(messages + 1)
        await eventually(lambda: renewed("ETHUSDT"))
        assert not renewed("BTCUSDT")
        assert watch.feed.connection.sessions == 1
        assert watch.feed.counts.renewals >= 1


async def test_bybit_is_pinged_and_refusals_are_no_books() -> None:
    async with watching("bybit-spot", VenueTiming(ping=0.05)) as watch:
        await watch.sound()
        await eventually(lambda: {"op": "ping"} in watch.server.heard)
        await watch.server.push({"success": False, "ret_msg": "error:handler not found", "op": "subscribe"})
        await watch.server.push({"topic": "tickers.BTCUSDT", "type": "snapshot", "data": {"s": "BTCUSDT"}})
        await watch.server.change("BTCUSDT", "2")
        await eventually(lambda: watch.glimpse()[0].bid_sz[0] == 2.0)
        assert watch.feed.counts.unreadable == 0


@pytest.mark.parametrize("name", VENUES)
async def test_an_unreadable_message_costs_nothing_but_the_book_it_was_of(name: str) -> None:
    async with watching(name) as watch:
        await watch.sound()
        await watch.server.push(b'{"topic":"orderbook.50.BTCUSDT","stream":"btcusdt@depth@100ms","data":{"s":[')
        await watch.server.change("BTCUSDT", "5", lost=True)
        await watch.server.change("BTCUSDT", "6")
        await watch.server.change("ETHUSDT", "4")
        await eventually(lambda: [row.bid_sz[0] for row in watch.glimpse() if not row.stale] == [6.0, 4.0])
        assert (watch.feed.counts.unreadable, watch.feed.counts.resyncs) == (1, 1)


@pytest.mark.parametrize("name", VENUES)
async def test_a_price_that_is_none_breaks_the_book_and_it_mends(name: str) -> None:
    async with watching(name) as watch:
        await watch.sound()
        server = watch.server
        server.ids["BTCUSDT"] += 1
        bad = [["nan", "1"]]
        if isinstance(server, BinanceServer):
            last = server.ids["BTCUSDT"]
            row = {"s": "BTCUSDT", "U": last, "u": last, "pu": last - 1, "b": bad, "a": []}
            await server.push({"stream": "btcusdt@depth@100ms", "data": row})
        else:
            rows = {"s": "BTCUSDT", "b": bad, "a": [], "u": server.ids["BTCUSDT"] + 100, "seq": 1}
            await server.push({"topic": "orderbook.50.BTCUSDT", "type": "delta", "data": rows})
        await eventually(lambda: watch.feed.counts.resyncs == 1)
        await watch.sound()
        await server.change("BTCUSDT", "5")
        await eventually(lambda: watch.glimpse()[0].bid_sz[0] == 5.0)


@pytest.mark.parametrize("market", ["spot", "perp"])
async def test_a_snapshot_that_is_too_old_or_refused_is_asked_for_again(
    market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradebot.exchange.venues.binance_feed.LIMITED_S", 0.01)
    monkeypatch.setattr("tradebot.exchange.venues.binance_feed.BANNED_S", 0.02)
    server = BinanceServer(market)
    server.refusals += [500, 429, 418, b"<html>", b'{"code":-1}', b"[]"]
    server.gate.clear()
    async with serving(server):
        watch = Watch(f"binance-{market}", server, QUICK)
        running = asyncio.create_task(watch.books.run())
        await eventually(lambda: len(server.snapshots) == 1)
        server.behind = 1
        await server.change("BTCUSDT", "2")
        await server.change("BTCUSDT", "3")
        await watch.heard(2)
        server.gate.set()
        await watch.sound()
        await server.change("BTCUSDT", "4")
        await eventually(lambda: watch.glimpse()[0].bid_sz[0] == 4.0)
        assert len(server.snapshots) == 9  # six refusals, one too old, one for each book
        assert watch.feed.counts.snapshots == 3
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_snapshot_of_an_earlier_session_is_not_joined_to_the_changes_of_this_one() -> None:
    async with watching("binance-spot") as watch:
        server = watch.server
        assert isinstance(server, BinanceServer)
        await watch.sound()
        server.gate.clear()
        asked = len(server.snapshots)
        await server.change("BTCUSDT", "2", lost=True)
        await server.change("BTCUSDT", "3")
        await eventually(lambda: len(server.snapshots) == asked + 1)
        await server.cut()
        await eventually(lambda: watch.feed.connection.sessions == 2)
        server.gate.set()
        await watch.sound()
        assert len(server.snapshots) == asked + 3  # one in vain, then one for each book
        assert watch.feed.counts.snapshots == 4


async def test_after_a_long_pause_the_grid_goes_on_without_inventing_what_nobody_saw() -> None:
    async with watching("bybit-spot") as watch:
        await watch.sound()
        assert watch.at(T0 + 3_600_000) == []
        assert [row[1] for row in watch.at(T0 + 3_605_100)] == [3_605_000, 3_605_000]


async def test_all_venues_share_one_grid() -> None:
    servers: list[VenueServer] = [server_of(name) for name in VENUES]
    async with serving(*servers):
        spot, perp, bybit = (server.url for server in servers)
        addresses = VenueAddresses(
            f"http://{spot}", f"ws://{spot}", f"http://{perp}", f"ws://{perp}", f"ws://{bybit}/v5/public/spot"
        )
        now, rows = T0 + 100, list[VenueBook]()
        books = VenueBooks(
            VENUES, PAIRS, addresses, stale_after_ms=10_000, now_ms=lambda: now, put=rows.append, timing=QUICK
        )
        running = asyncio.create_task(books.run())
        await eventually(lambda: all(feed.counts.snapshots == 2 for feed in books.feeds))
        now = T0 + 5_250
        books.on_time()
        assert {(row.venue, row.symbol, row.boundary_ms, row.stale) for row in rows} == {
            (venue, pair, T0 + 5_000, False) for venue in VENUES for pair in PAIRS
        }
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [type(feed).__base__ for feed in books.feeds] == [VenueFeed] * 3


def test_a_venue_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no venue 'kraken'"):
        VenueBooks(["kraken"], PAIRS, VenueAddresses(), stale_after_ms=1, now_ms=lambda: 0, put=lambda row: None)
