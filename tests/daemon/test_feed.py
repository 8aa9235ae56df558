"""From stream callbacks to engine events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tradebot.daemon.clock import PacedClock
from tradebot.daemon.feed import SEAL_GRACE_MS, MarketFeed
from tradebot.errors import BusyError, Unavailable
from tradebot.events import BookSampled, BookTop, CandleClosed, Event, FeedStatus, TickerUpdated
from tradebot.market.book import OrderBook
from tradebot.market.candle import Candle
from tradebot.market.trade import Trade

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
        self.feed = MarketFeed(["SOLUSDT"], "5m", self.clock, self.events.append, self.backfill)
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


async def test_candles_missed_on_the_stream_are_fetched_and_sent_in_order() -> None:
    rig = Rig()
    rig.rest = {candle(n).open_time_ms: candle(n) for n in range(1, 4)}
    rig.rows(candle(0), candle(1))
    rig.rows(candle(4), candle(5))  # the stream was away for 2 and 3
    await rig.feed.settled()
    assert rig.closed() == [candle(n) for n in range(5)]


async def test_backfilling_goes_on_when_the_exchange_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.failures = 2
    rig.rest = {candle(1).open_time_ms: candle(1)}
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _s: real(0))
    rig.rows(candle(0), candle(1))
    rig.rows(candle(3), candle(4))
    await rig.feed.settled()
    assert [c.open_time_ms for c in rig.closed()] == [candle(n).open_time_ms for n in range(4)]
    assert len(rig.asked) == 3


async def test_a_candle_the_exchange_does_not_have_is_filled_flat() -> None:
    rig = Rig()
    rig.rows(candle(0, 100.4), candle(1, 100.5))
    rig.rows(candle(3), candle(4))
    await rig.feed.settled()
    filled = rig.closed()[2]
    assert (filled.open_time_ms, filled.open, filled.low, filled.volume) == (candle(2).open_time_ms, 100.5, 100.5, 0.0)


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
    await asyncio.sleep(0)
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
        await asyncio.sleep(0)
    assert rig.asked == [(T0, T0)]
    rig.answering.set()
    await rig.feed.settled()
    assert rig.closed() == [candle(0)]


async def test_sealing_goes_on_by_itself_while_the_exchange_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.failures = 3
    rig.rest = {T0: candle(0)}
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _s: real(0))
    rig.clock.advance(T0 + BAR + SEAL_GRACE_MS)
    rig.feed.on_time()  # returns at once: whoever calls it has other things to do
    assert rig.closed() == []
    await rig.feed.settled()
    assert rig.closed() == [candle(0)]
    assert len(rig.asked) == 4


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
    await asyncio.sleep(0)
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
