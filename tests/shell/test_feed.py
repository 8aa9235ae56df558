"""From stream callbacks to engine events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.eventually import turns
from tradebot.errors import BusyError, Unavailable
from tradebot.events import BookSampled, BookTop, CandleClosed, Event, FeedStatus, TickerUpdated
from tradebot.market.book import OrderBook
from tradebot.market.candle import Candle
from tradebot.market.trade import Trade
from tradebot.shell.candles import ABSENT_AFTER_MS, SEAL_GRACE_MS
from tradebot.shell.clock import PacedClock
from tradebot.shell.feed import MarketFeed
from tradebot.shell.rows import ROW_GRACE_MS

BAR = 300_000
T0 = 1_767_571_200_000


def candle(number: int, close: float = 100.0) -> Candle:
    return Candle(T0 + number * BAR, 100.0, 101.0, 99.0, close, 10.0, 1_000.0)


class Rig:
    """A feed of one symbol with a clock that the test moves and a REST side that the test fills."""

    def __init__(self) -> None:
        self.clock = PacedClock()
        self.clock.advance(T0)
        self.events: list[Event] = []
        self.rest: dict[int, Candle] = {}
        self.asked: list[tuple[int, int]] = []
        self.failures = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.feed = MarketFeed(
            ["SOLUSDT"], "5m", self.clock, self.events.append, self.backfill, row_grace_ms=ROW_GRACE_MS
        )
        self.feed.start_after("SOLUSDT", candle(-1))
        self.book = OrderBook()

    async def backfill(self, symbol: str, first_ms: int, last_ms: int) -> Sequence[Candle]:
        self.asked.append((first_ms, last_ms))
        await self.answering.wait()
        if self.failures:
            self.failures -= 1
            raise Unavailable("down")
        return [c for t, c in sorted(self.rest.items()) if first_ms <= t <= last_ms]

    def quote(self, bid: str, ask: str, at: int) -> None:
        self.clock.advance(at)
        self.book.snapshot([(bid, "2")], [(ask, "3")])
        self.feed.on_book("SOLUSDT", self.book, at)

    def rows(self, *candles: Candle) -> None:
        self.feed.on_candles("SOLUSDT", "5m", candles)

    def closed(self) -> list[Candle]:
        return [e.candle for e in self.events if isinstance(e, CandleClosed)]

    def of(self, kind: type) -> list[Event]:
        return [e for e in self.events if isinstance(e, kind)]


def test_a_candle_is_sealed_by_the_first_row_of_the_next_with_its_last_values() -> None:
    rig = Rig()
    rig.rows(candle(0, 100.1))
    rig.rows(candle(0, 100.7))
    assert rig.closed() == []
    rig.rows(candle(0, 100.9), candle(1))
    assert rig.closed() == [candle(0, 100.9)]


def test_history_rows_of_a_snapshot_are_not_sent_again_and_later_ones_are() -> None:
    rig = Rig()
    rig.rows(candle(-3), candle(-2), candle(-1), candle(0), candle(1), candle(2))
    assert rig.closed() == [candle(0), candle(1)]


def test_a_correction_after_the_seal_changes_nothing() -> None:
    rig = Rig()
    rig.rows(candle(0), candle(1))
    rig.rows(candle(0, 55.0))
    assert rig.closed() == [candle(0)]


def test_rows_that_come_twice_in_one_message_are_counted_and_change_nothing() -> None:
    rig = Rig()
    rig.rows(candle(0), candle(0), candle(1), candle(1))
    rig.rows(candle(1), candle(2))
    assert rig.closed() == [candle(0), candle(1)]
    assert (rig.feed.sealer.repeated, rig.feed.sealer.read_back) == (2, 0)


def test_a_correction_of_any_value_is_counted() -> None:
    rig = Rig()
    rig.rows(candle(0), candle(1))
    rig.rows(candle(0))
    assert rig.feed.sealer.revised == 0
    sealed = candle(0)
    rig.rows(structs.replace(sealed, volume=sealed.volume + 1))
    rig.rows(structs.replace(sealed, high=sealed.high + 1))
    assert rig.feed.sealer.revised == 2


async def test_a_candle_whose_last_push_could_not_be_read_is_read_back() -> None:
    rig = Rig()
    rig.rest = {T0: candle(0, 100.7)}
    rig.rows(candle(0, 100.1))
    rig.feed.on_missed("candle5m", "SOLUSDT", T0)
    rig.rows(candle(1))
    rig.rows(candle(2))
    await rig.feed.settled()
    assert rig.closed() == [candle(0, 100.7), candle(1)]


async def test_nothing_is_due_while_what_was_due_is_read_back() -> None:
    rig = Rig()
    rig.rest = {T0: candle(0)}
    rig.answering.clear()
    assert rig.feed.next_due_ms() == T0 + BAR + SEAL_GRACE_MS
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    rig.feed.on_time()
    assert rig.feed.next_due_ms() is None
    rig.answering.set()
    await rig.feed.settled()
    assert rig.feed.next_due_ms() == T0 + 2 * BAR + SEAL_GRACE_MS


def test_the_next_candle_that_is_due_is_found_without_looking_at_every_symbol_each_time() -> None:
    rig = Rig()
    due_ms = rig.feed.next_due_ms()
    rig.feed.sealer._series = {}  # nothing changed: there is nothing to look at
    assert rig.feed.next_due_ms() == due_ms


async def test_candles_missed_on_the_stream_are_fetched_and_sent_in_order() -> None:
    rig = Rig()
    rig.rest = {candle(n).open_time_ms: candle(n) for n in range(1, 4)}
    rig.rows(candle(0), candle(1))
    rig.rows(candle(4), candle(5))  # the stream was away for 2 and 3
    await rig.feed.settled()
    assert rig.closed() == [candle(n) for n in range(5)]


async def test_backfilling_is_tried_again_by_the_clock_until_the_exchange_is_back() -> None:
    rig = Rig()
    rig.failures = 2
    rig.rest = {candle(2).open_time_ms: candle(2)}
    rig.rows(candle(0), candle(1))
    rig.rows(candle(3), candle(4))
    waits = []
    while len(rig.closed()) < 4:
        await rig.feed.settled()  # an exchange that is away is not waited for
        began = rig.clock.now_ms()
        rig.clock.advance(rig.feed.next_due_ms())
        waits.append(rig.clock.now_ms() - began)
        rig.feed.on_time()
        await rig.feed.settled()
    assert [c.open_time_ms for c in rig.closed()] == [candle(n).open_time_ms for n in range(4)]
    assert len(rig.asked) == 3
    assert waits == [1_000, 2_000]


async def test_a_candle_the_exchange_does_not_have_is_filled_flat() -> None:
    rig = Rig()
    rig.rest = {candle(3).open_time_ms: candle(3)}  # it has a later one
    rig.rows(candle(0, 100.4), candle(1, 100.5))
    rig.rows(candle(3), candle(4))
    await rig.feed.settled()
    filled = rig.closed()[2]
    assert (filled.open_time_ms, filled.open, filled.low, filled.volume) == (candle(2).open_time_ms, 100.5, 100.5, 0.0)
    assert rig.feed.sealer.filled == 1


async def seal_until(rig: Rig, candles: int) -> int:
    """Let the clock go from one moment that is due to the next until so many candles are told; returns the time."""
    while len(rig.closed()) < candles:
        rig.feed.on_time()
        await rig.feed.settled()
        if len(rig.closed()) < candles:
            rig.clock.advance(rig.feed.next_due_ms())
    return rig.clock.now_ms()


async def test_a_candle_that_the_exchange_writes_late_is_waited_for() -> None:
    rig = Rig()
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    rig.feed.on_time()
    await rig.feed.settled()
    rig.clock.advance(T0 + BAR + 40_000)
    rig.rest = {T0: candle(0, 100.3)}
    await seal_until(rig, 1)
    assert rig.closed() == [candle(0, 100.3)]
    assert (rig.feed.sealer.filled, rig.feed.sealer.read_back) == (0, 1)


async def test_a_candle_that_never_comes_is_filled_after_a_minute() -> None:
    rig = Rig()
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    at = await seal_until(rig, 1)
    assert T0 + BAR + ABSENT_AFTER_MS <= at < T0 + BAR + ABSENT_AFTER_MS + 31_000
    assert (rig.closed()[0].volume, rig.feed.sealer.filled, rig.feed.sealer.read_back) == (0.0, 1, 0)


async def test_silence_is_sealed_by_the_clock_from_rest() -> None:
    rig = Rig()
    rig.rows(candle(0, 100.2))
    rig.rest = {T0: candle(0, 100.3)}
    assert rig.feed.next_due_ms() == T0 + BAR + SEAL_GRACE_MS
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    rig.feed.on_time()
    await rig.feed.settled()
    assert rig.closed() == [candle(0, 100.3)]
    rig.rows(candle(0, 100.2), candle(1))
    assert rig.closed() == [candle(0, 100.3)]


async def test_a_candle_that_the_stream_ends_while_rest_is_asked_is_sent_once_with_its_final_values() -> None:
    rig = Rig()
    rig.rows(candle(0, 100.2))
    rig.rest = {T0: candle(0, 100.3)}
    rig.answering.clear()
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    rig.feed.on_time()
    rig.rows(candle(0, 100.2), candle(1), candle(2))
    await turns()
    assert rig.closed() == []
    rig.answering.set()
    await rig.feed.settled()
    assert rig.closed() == [candle(0, 100.3), candle(1)]
    assert rig.asked == [(T0, T0)]
    rig.rows(candle(3))
    assert rig.closed()[2:] == [candle(2)]


async def test_a_seal_under_way_is_not_begun_again() -> None:
    rig = Rig()
    rig.rest = {T0: candle(0)}
    rig.answering.clear()
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    for _ in range(3):
        rig.feed.on_time()
        await turns()
    assert rig.asked == [(T0, T0)]
    rig.answering.set()
    await rig.feed.settled()
    assert rig.closed() == [candle(0)]


async def test_sealing_by_the_clock_is_tried_again_and_the_pause_is_short_again_after_it_worked() -> None:
    rig = Rig()
    rig.rest = {T0: candle(0), T0 + BAR: candle(1)}
    for n in (0, 1):
        rig.failures = 3
        rig.clock.advance(T0 + (n + 1) * BAR + SEAL_GRACE_MS)
        waits = []
        while len(rig.closed()) == n:
            rig.feed.on_time()
            await rig.feed.settled()
            due_ms = rig.feed.next_due_ms()
            assert due_ms is not None
            waits.append(due_ms - rig.clock.now_ms())
            rig.clock.advance(due_ms if len(rig.closed()) == n else 0)
        assert waits[:3] == [1_000, 2_000, 4_000]
    assert rig.closed() == [candle(0), candle(1)]
    assert len(rig.asked) == 8


async def test_a_seal_that_fails_for_another_reason_is_told() -> None:
    rig = Rig()

    def broken(event: Event) -> None:
        raise BusyError("disk full")

    rig.feed._put = broken
    rig.rest = {T0: candle(0)}
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    rig.feed.on_time()
    with pytest.raises(BusyError):
        await rig.feed.settled()
    assert isinstance(rig.feed.failure, BusyError)


async def test_gaps_between_candles_that_waited_are_filled_too() -> None:
    rig = Rig()
    rig.rest = {candle(n).open_time_ms: candle(n) for n in range(1, 9)}
    rig.answering.clear()
    rig.rows(candle(0), candle(2), candle(3))
    rig.rows(candle(6), candle(8))
    rig.answering.set()
    await rig.feed.settled()
    assert rig.closed() == [candle(n) for n in range(7)]


async def test_closing_gives_up_what_is_awaited() -> None:
    rig = Rig()
    rig.answering.clear()
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    rig.feed.on_time()
    await turns()
    await rig.feed.close()
    await rig.feed.settled()
    assert rig.feed.failure is None


def test_tops_are_coalesced_and_the_newest_is_sent_before_the_candle() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 1_000)
    rig.quote("100.01", "100.03", T0 + 1_050)
    rig.quote("100.02", "100.04", T0 + 1_060)
    assert [e.bid for e in rig.of(BookTop)] == [100.00]  # type: ignore[attr-defined]
    rig.rows(candle(0), candle(1))
    assert isinstance(rig.events[-1], CandleClosed)
    assert isinstance(rig.events[-2], BookTop)
    assert rig.events[-2].bid == 100.02


def test_an_unchanged_top_is_not_repeated() -> None:
    rig = Rig()
    for n in range(5):
        rig.quote("100.00", "100.02", T0 + 1_000 * n)
    assert len(rig.of(BookTop)) == 1


def rows_of(rig: Rig) -> list[tuple[int, int, float]]:
    """(boundary, age, best bid) of each row told, both times in ms since T0."""
    return [(e.boundary_ms - T0, e.age_ms, e.bid_px[0]) for e in rig.of(BookSampled)]  # type: ignore[attr-defined]


def test_a_grid_row_shows_the_state_before_its_boundary_and_its_age() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 200)
    rig.quote("100.01", "100.03", T0 + 700)
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 1.5, "buy"), Trade(T0, 100.0, 0.5, "sell")])
    rig.quote("100.05", "100.07", T0 + 1_300)
    row = rig.of(BookSampled)[0]
    assert isinstance(row, BookSampled)
    assert (row.boundary_ms, row.age_ms, row.bid_px, row.ask_px) == (T0 + 1_000, 300, (100.01,), (100.03,))
    assert (row.buy_volume, row.sell_volume) == (1.5, 0.5)
    assert not row.stale


def test_a_message_at_the_boundary_itself_belongs_to_the_next_row() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 999)
    rig.quote("100.01", "100.03", T0 + 1_000)
    rig.quote("100.02", "100.04", T0 + 2_000)
    assert rows_of(rig) == [(1_000, 1, 100.00), (2_000, 1_000, 100.01)]


def test_a_row_of_a_quiet_symbol_is_sealed_by_the_clock_a_quarter_second_after_its_boundary() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 400)
    assert rig.feed.next_due_ms() == T0 + 1_250
    rig.clock.advance(T0 + 1_249)
    rig.feed.on_time()
    assert rows_of(rig) == []
    rig.clock.advance(T0 + 1_250)
    rig.feed.on_time()
    assert rows_of(rig) == [(1_000, 600, 100.00)]
    rig.clock.advance(T0 + 60_000)
    rig.feed.on_time()
    assert len(rows_of(rig)) == 1


def test_a_row_sealed_late_stands_for_the_first_boundary_after_its_state() -> None:
    rig = Rig()
    rig.feed.rows._grace_ms = None
    rig.quote("100.00", "100.02", T0 + 400)
    assert rig.feed.rows.next_due_ms() is None
    rig.quote("100.01", "100.03", T0 + 7_300)
    assert rows_of(rig) == [(1_000, 600, 100.00)]


def test_a_candle_is_decided_on_with_the_row_before_it() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 400)
    rig.clock.advance(T0 + 1_000)
    rig.rows(candle(0), candle(1))
    assert [type(e) for e in rig.events][-2:] == [BookSampled, CandleClosed]


def test_a_gap_of_the_feed_is_a_gap_of_the_grid() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 900)
    rig.clock.advance(T0 + 1_100)
    rig.feed.on_feed(FeedStatus(symbol="SOLUSDT", ok=False, reason="gap"))
    assert rows_of(rig) == [(1_000, 100, 100.00)]  # the state before that boundary was sound
    rig.quote("100.50", "100.52", T0 + 1_200)  # read from a book that is not trusted
    rig.clock.advance(T0 + 5_000)
    rig.feed.on_time()
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 1.5, "buy")])
    rig.clock.advance(T0 + 9_000)
    rig.feed.on_time()
    assert len(rows_of(rig)) == 1
    assert rig.feed.row("SOLUSDT") is None
    rig.feed.on_feed(FeedStatus(symbol="SOLUSDT", ok=True))
    rig.quote("100.00", "100.02", T0 + 9_400)
    rig.clock.advance(T0 + 10_250)
    rig.feed.on_time()
    assert rows_of(rig)[1:] == [(10_000, 600, 100.00)]  # told although it equals the last one before the gap
    assert rig.of(BookSampled)[1].buy_volume == 0.0  # type: ignore[attr-defined]


def volumes_of(rig: Rig) -> list[tuple[float, float]]:
    return [(e.buy_volume, e.sell_volume) for e in rig.of(BookSampled)]  # type: ignore[attr-defined]


def test_volumes_of_a_stretch_without_rows_land_in_none() -> None:
    rig = Rig()
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 64.0, "buy")])  # before the first state
    rig.quote("100.00", "100.02", T0 + 900)
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 1.0, "buy")])
    rig.clock.advance(T0 + 1_200)
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 2.0, "sell")])
    rig.feed.on_feed(FeedStatus(symbol="SOLUSDT", ok=False, reason="gap"))
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 4.0, "buy"), Trade(T0, 100.0, 8.0, "sell")])
    rig.clock.advance(T0 + 60_300)
    rig.feed.on_feed(FeedStatus(symbol="SOLUSDT", ok=True))
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 16.0, "buy")])
    rig.quote("100.00", "100.02", T0 + 60_400)
    history, fresh = Trade(T0 + 59_000, 100.0, 48.0, "sell"), Trade(T0 + 60_400, 100.0, 32.0, "sell")
    rig.feed.on_trades("SOLUSDT", [history, fresh])
    rig.quote("100.01", "100.03", T0 + 61_400)
    assert volumes_of(rig) == [(1.0, 0.0), (0.0, 32.0)]


def test_a_row_in_which_trades_are_missing_tells_no_volumes_and_the_next_one_does() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 200)
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 1.0, "buy")])
    rig.clock.advance(T0 + 300)
    rig.feed.on_missed("ticker", "SOLUSDT", T0 + 200)
    rig.feed.on_missed("trade", "SOLUSDT", T0 + 200)
    rig.feed.on_trades("SOLUSDT", [Trade(T0 + 350, 100.0, 2.0, "buy")])
    rig.quote("100.01", "100.03", T0 + 1_200)
    recovered, fresh = Trade(T0 + 290, 100.0, 8.0, "buy"), Trade(T0 + 1_200, 100.0, 4.0, "buy")
    rig.feed.on_trades("SOLUSDT", [recovered, fresh])
    rig.quote("100.02", "100.04", T0 + 2_200)
    assert volumes_of(rig) == [(0.0, 0.0), (4.0, 0.0)]


def test_trades_while_the_book_stands_still_make_a_stale_row() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 400)
    rig.clock.advance(T0 + 20_100)
    rig.feed.on_trades("SOLUSDT", [Trade(T0, 100.0, 1.5, "buy")])
    rig.clock.advance(T0 + 21_250)
    rig.feed.on_time()
    assert rows_of(rig)[-1] == (21_000, 20_600, 100.00)
    assert rig.of(BookSampled)[-1].stale  # type: ignore[attr-defined]


@given(st.lists(st.tuples(st.integers(1, 3_000), st.integers(0, 4)), min_size=1, max_size=60))
def test_every_row_is_the_newest_state_before_its_boundary(moves: list[tuple[int, int]]) -> None:
    rig = Rig()
    told: list[tuple[int, float]] = []
    at = T0
    for pause, price in moves:
        at += pause
        rig.quote(f"10{price}.00", "110", at)
        told.append((at, 100.0 + price))
        if price == 4:
            rig.feed.on_time()
    rig.clock.advance(at + 5_000)
    rig.feed.on_time()
    for boundary, age, bid in rows_of(rig):
        newest_ms, newest = max(((t, p) for t, p in told if t < T0 + boundary), key=lambda row: row[0])
        assert bid == newest
        assert age == T0 + boundary - newest_ms
    assert [boundary for boundary, *_ in rows_of(rig)] == sorted({boundary for boundary, *_ in rows_of(rig)})
    # a boundary without a row carries the row before it
    carried: float | None = None
    rows = {boundary: bid for boundary, _, bid in rows_of(rig)}
    for boundary in range(1_000, at - T0 + 3_000, 1_000):
        carried = rows.get(boundary, carried)
        before = [p for t, p in told if t < T0 + boundary]
        assert carried == (before[-1] if before else None)


def test_tickers_are_thinned_to_one_a_second() -> None:
    rig = Rig()
    for n in range(10):
        rig.clock.advance(T0 + 300 * n)
        rig.feed.on_ticker(TickerUpdated(symbol="SOLUSDT", ts_exchange_ms=0, last=1, mark=1, index=1))
    assert len(rig.of(TickerUpdated)) == 3


def test_a_broken_book_is_told_and_its_next_top_is_sent_again() -> None:
    rig = Rig()
    rig.quote("100.00", "100.02", T0 + 1_000)
    rig.feed.on_feed(FeedStatus(symbol="SOLUSDT", ok=False, reason="gap"))
    rig.quote("100.00", "100.02", T0 + 2_000)
    assert len(rig.of(BookTop)) == 2
