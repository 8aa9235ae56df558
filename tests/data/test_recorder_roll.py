"""From raw files to the store: the grid, the gaps, and what a second rolling changes (nothing)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tradebot.data.recorder.raw import RawLog, RawTiming
from tradebot.data.recorder.recorder import Recorder
from tradebot.data.recorder.records import MAGIC, Edge, frame
from tradebot.data.recorder.roll import CANDLE, roll
from tradebot.data.recorder.timeline import Gap, Timeline, carried
from tradebot.data.store import Store
from tradebot.events import BookSampled, CandleClosed, Event, FeedCause, FeedStatus, TickerUpdated, VenueBook
from tradebot.market.candle import DAY_MS, Candle
from tradebot.market.grid import BOOK_GRID
from tradebot.market.trade import Trade

T0 = 1_767_571_200_000  # 2026-01-05 00:00 UTC
S = 1_000
TEN = tuple(range(10))


class Bot:
    """A recorder of SOLUSDT with a clock that the test moves."""

    def __init__(self, raw: Path, start_ms: int = T0) -> None:
        self.now = start_ms
        self.recorder = Recorder(RawLog(raw, RawTiming(write=3600.0, sync=3600.0)), ["SOLUSDT"], lambda: self.now)
        self.recorder.start()

    def see(self, at_ms: int, *events: Event) -> None:
        self.now = at_ms
        for event in events:
            self.recorder(0, at_ms, event)

    def trade(self, at_ms: int, trade_id: str) -> None:
        self.now = at_ms
        self.recorder.on_trades("SOLUSDT", [Trade(at_ms - 40, 150.25, 2.5, "sell", trade_id)])


def feed(ok: bool, reason: str = "", cause: FeedCause = "", since_ms: int = 0) -> FeedStatus:
    return FeedStatus(symbol="SOLUSDT", ok=ok, reason=reason, cause=cause, since_ms=since_ms)


def row(boundary_ms: int, bid: float = 150.0, age_ms: int = 30, levels: int = 10) -> BookSampled:
    return BookSampled(
        symbol="SOLUSDT",
        boundary_ms=boundary_ms,
        age_ms=age_ms,
        bid_px=tuple(bid - i for i in range(levels)),
        bid_sz=tuple(1.0 + i for i in range(levels)),
        ask_px=tuple(bid + 1 + i for i in range(levels)),
        ask_sz=tuple(2.0 + i for i in range(levels)),
    )


def stored(store: Store, channel: str, exchange: str = "bitget") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = store.read(exchange, channel, "SOLUSDT").to_pylist()
    return rows


def gaps(store: Store, channel: str = "book_1s_l10") -> list[tuple[object, ...]]:
    return [(g["start_ms"], g["end_ms"], g["reason"]) for g in stored(store, "gap") if g["channel"] == channel]


def test_every_channel_is_stored_with_the_values_the_bot_saw(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw", T0 + 400)
    candle = Candle(T0 - 300_000, 150.0, 151.0, 149.0, 150.5, 12.5, 1_876.25)
    ticker = TickerUpdated(
        symbol="SOLUSDT", ts_exchange_ms=5, last=150.1, mark=150.2, index=150.3, funding_rate=0.0001, open_interest=7.0
    )
    bot.see(T0 + 900, feed(True), ticker)
    bot.trade(T0 + 950, "77")
    bot.see(T0 + 1_010, row(T0 + S, 150.0))
    bot.see(T0 + 2_010, row(T0 + 2 * S, 151.0, age_ms=0), ticker)
    bot.see(T0 + 3_000, CandleClosed(symbol="SOLUSDT", interval="5m", candle=candle))
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    done = roll(tmp_path / "raw", store)
    assert (done.symbols, done.lost, done.problems) == (1, 0, [])
    assert not list((tmp_path / "raw").iterdir())
    books = stored(store, "book_1s_l10")
    assert [(b["ts_ms"], b["bid_px_1"], b["bid_sz_10"], b["ask_px_2"], b["age_ms"], b["stale"]) for b in books] == [
        (T0 + S, 150.0, 10.0, 152.0, 30, False),
        (T0 + 2 * S, 151.0, 10.0, 153.0, 0, False),
        (T0 + 3 * S, 151.0, 10.0, 153.0, 1_000, False),
    ]
    assert stored(store, "trade") == [
        {"recv_ms": T0 + 950, "trade_ms": T0 + 910, "price": 150.25, "size": 2.5, "trade_id": "77"}
        | {"buyer_is_maker": True}
    ]
    assert [tuple(c.values()) for c in stored(store, "sealed_candle_5m")] == [
        (T0 - 300_000, 150.0, 151.0, 149.0, 150.5, 12.5, 1_876.25)
    ]
    assert [tuple(t.values()) for t in stored(store, "ticker")] == [
        (T0 + 900, 150.1, 150.2, 150.3, 0.0001),
        (T0 + 2_010, 150.1, 150.2, 150.3, 0.0001),
    ]
    assert [tuple(o.values()) for o in stored(store, "open_interest")] == [(T0 + 900, 7.0)]
    assert gaps(store) == [(T0, T0 + 900, "not recording")]  # the day is not over: what comes next is not known
    assert {Path(f).parent.parent.name for f in done.files} == {
        "book_1s_l10", "trade", "sealed_candle_5m", "ticker", "open_interest", "gap",
    }  # fmt: skip


def test_a_row_that_was_not_sent_because_nothing_changed_is_there_only_older(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0 + 500, feed(True))
    bot.see(T0 + 1_010, row(T0 + S, age_ms=100))
    bot.see(T0 + 4_010, row(T0 + 4 * S, 151.0, age_ms=50))
    bot.see(T0 + 20_010, row(T0 + 20 * S, 152.0, age_ms=10))
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store)
    found = [((b["ts_ms"] - T0) // S, b["bid_px_1"], b["age_ms"]) for b in stored(store, "book_1s_l10")]  # type: ignore[operator]
    assert found[:4] == [(1, 150.0, 100), (2, 150.0, 1_100), (3, 150.0, 2_100), (4, 151.0, 50)]
    assert found[4:-1] == [(4 + i, 151.0, 50 + i * S) for i in range(1, 16)]
    assert found[-1] == (20, 152.0, 10)
    assert [b["stale"] for b in stored(store, "book_1s_l10")] == [age_ms > 10_000 for _, _, age_ms in found]


def test_a_gap_is_a_gap_no_row_lies_in_it_and_its_reason_is_told(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0 + 500, feed(True))
    bot.see(T0 + 1_010, row(T0 + S))
    bot.see(T0 + 3_400, feed(False, "checksum mismatch"))
    bot.trade(T0 + 4_100, "1")
    bot.see(T0 + 4_100, row(T0 + 4 * S, age_ms=3_030))  # sealed by the trade, from the book before the gap
    bot.see(T0 + 6_500, feed(True))
    bot.see(T0 + 6_500, row(T0 + 6 * S, age_ms=5_030))
    bot.see(T0 + 7_010, row(T0 + 7 * S, 151.0))
    bot.see(T0 + 8_500, feed(False, "disconnected", "line", T0 + 8_200))
    bot.see(T0 + 9_500, feed(True))
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store)
    assert [(b["ts_ms"] - T0) // S for b in stored(store, "book_1s_l10")] == [1, 2, 3, 7, 8]  # type: ignore[operator]
    begin = (T0, T0 + 500, "not recording")
    lost = (T0 + 8_200, T0 + 9_500, "disconnected")
    assert gaps(store) == [begin, (T0 + 3_400, T0 + 6_500, "checksum mismatch"), lost]
    assert gaps(store, "trade") == [begin, lost]  # trades went on while only the book was in doubt
    assert len(stored(store, "trade")) == 1


def test_silence_is_a_gap_of_trades_too_and_begins_when_something_was_last_heard(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0, feed(True))
    bot.see(T0 + 9_010, row(T0 + 9 * S))
    bot.trade(T0 + 10_000, "1")
    bot.see(T0 + 69_700, feed(False, "books silent for 60 s", "book", T0 + 9_700))  # at first, trades might go on
    bot.see(T0 + 70_000, feed(False, "ticker silent for 60 s", "silence", T0 + 10_000))
    bot.see(T0 + 100_000, feed(True))
    bot.trade(T0 + 100_500, "2")
    bot.see(T0 + 101_010, row(T0 + 101 * S))
    bot.see(T0 + 110_000, feed(False, "ticker silent for 60 s", "silence", T0 + 101_500))
    bot.see(T0 + 120_000, feed(False, "gap", "book", T0 + 101_500))
    bot.see(T0 + 130_000, feed(True))
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store)
    assert gaps(store, "trade") == [
        (T0 + 10_000, T0 + 100_000, "ticker silent for 60 s"),
        (T0 + 101_500, T0 + 120_000, "ticker silent for 60 s"),
    ]
    assert gaps(store) == [
        (T0 + 9_700, T0 + 10_000, "books silent for 60 s"),
        (T0 + 10_000, T0 + 100_000, "ticker silent for 60 s"),
        (T0 + 101_500, T0 + 130_000, "gap"),
    ]
    assert [(b["ts_ms"] - T0) // S for b in stored(store, "book_1s_l10")] == [9, 101]  # type: ignore[operator]


def test_a_silence_that_began_yesterday_is_a_gap_of_both_days(tmp_path: Path) -> None:
    end = T0 + DAY_MS
    bot = Bot(tmp_path / "raw", end - 10_000)
    bot.see(end - 9_500, feed(True))
    bot.see(end - 9_010, row(end - 9 * S))
    bot.see(end + 50_000, feed(False, "books silent for 59 s", "silence", end - 9_000))
    bot.see(end + 60_000, feed(True))
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store, before="2026-01-06")
    roll(tmp_path / "raw", store)
    silence = "books silent for 59 s"
    expected = [
        (T0, end - 9_500, "not recording"),
        (end - 9_000, end, silence),
        (end, end + 60_000, silence),
    ]
    assert gaps(store) == gaps(store, "trade") == expected


def test_a_message_that_could_not_be_read_is_a_gap_of_its_channel_alone(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0, feed(True))
    bot.trade(T0 + 1_000, "1")
    bot.now = T0 + 1_700
    bot.recorder.on_missed("trade", "SOLUSDT", T0 + 1_000)
    bot.recorder.on_missed("ticker", "SOLUSDT", T0 + 900)
    bot.recorder.on_missed("candle5m", "SOLUSDT", T0 + 900)
    bot.now = T0 + 1_800
    bot.recorder.on_missed("trade", "SOLUSDT", T0 + 1_000)
    bot.see(T0 + 2_010, row(T0 + 2 * S))
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store)
    why = "unreadable message"
    assert gaps(store, "trade") == [(T0 + 1_000, T0 + 1_700, why), (T0 + 1_700, T0 + 1_800, why)]
    assert gaps(store, "ticker") == [(T0 + 900, T0 + 1_700, why)]
    assert gaps(store) == []
    assert [(b["ts_ms"] - T0) // S for b in stored(store, "book_1s_l10")] == [2]  # type: ignore[operator]


def test_a_restart_is_a_gap_and_so_is_the_rest_of_the_day_after_a_death(tmp_path: Path) -> None:
    first = Bot(tmp_path / "raw")
    first.see(T0 + 500, feed(True))
    first.see(T0 + 1_010, row(T0 + S))
    first.recorder.log.close()  # died: nothing was said
    again = Bot(tmp_path / "raw", T0 + 60_000)
    again.see(T0 + 61_500, feed(True))
    again.see(T0 + 62_010, row(T0 + 62 * S))
    again.recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store, before="2026-01-06")
    assert [(b["ts_ms"] - T0) // S for b in stored(store, "book_1s_l10")] == [1, 62]  # type: ignore[operator]
    assert gaps(store) == [
        (T0, T0 + 500, "not recording"),
        (T0 + 1_011, T0 + 61_500, "not recording"),
        (T0 + 62_011, T0 + DAY_MS, "not recording"),
    ]


def test_at_midnight_the_next_day_begins_as_the_last_one_ended(tmp_path: Path) -> None:
    end = T0 + DAY_MS
    bot = Bot(tmp_path / "raw", end - 10_000)
    bot.see(end - 9_500, feed(True))
    bot.see(end - 990, row(end - S, 150.0))
    bot.see(end + 10, row(end, 151.0))
    bot.see(end + 1_010, row(end + S, 152.0))
    bot.see(end + 1_500, feed(False, "crossed book"))
    bot.see(end + DAY_MS + 3_000, feed(True))
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    assert roll(tmp_path / "raw", store, before="2026-01-06").days == {"2026-01-05"}
    assert [p.date for p in store.partitions("bitget", "book_1s_l10")] == ["2026-01-05"]
    roll(tmp_path / "raw", store)
    assert [b["bid_px_1"] for b in stored(store, "book_1s_l10")] == [150.0, 151.0, 152.0]
    assert gaps(store) == [
        (T0, end - 9_500, "not recording"),
        (end + 1_500, end + DAY_MS, "crossed book"),
        (end + DAY_MS, end + DAY_MS + 3_000, "crossed book"),
    ]


def test_rolling_a_part_of_a_day_and_the_rest_later_is_rolling_the_day(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for start in (0, 100):
        bot = Bot(tmp_path / "raw", T0 + start * S)
        bot.see(bot.now + 500, feed(True))
        bot.see(bot.now + 510, row(T0 + start * S + S))
        bot.trade(bot.now + 5, str(start))
        bot.recorder.stop()
        roll(tmp_path / "raw", store)
    assert [(b["ts_ms"] - T0) // S for b in stored(store, "book_1s_l10")] == [1, 101]  # type: ignore[operator]
    assert gaps(store) == [(T0, T0 + 500, "not recording"), (T0 + 1_016, T0 + 100_500, "not recording")]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_stretches_of_a_day_may_be_rolled_in_any_order(tmp_path: Path, order: tuple[int, ...], ended: bool) -> None:
    """Each of the three begins 200 s after the one before; in the second one the feed is bad for a while."""
    parts = []
    for number in range(3):
        raw = tmp_path / f"raw{number}"
        bot = Bot(raw, T0 + number * 200 * S)
        bot.see(bot.now + 500, feed(True))
        bot.see(bot.now + 510, row(bot.now + 500))
        if number == 1:
            bot.see(bot.now + 2_000, feed(False, "crossed book", "book", bot.now + 1_000))
            bot.see(bot.now + 2_000, feed(True))
        bot.trade(bot.now + 5, str(number))
        bot.recorder.stop()
        parts.append(raw)
    store = Store(tmp_path / "store")
    for number in order:
        assert roll(parts[number], store, before="2026-01-06" if ended else None).problems == []
    between = [
        (T0, T0 + 500, "not recording"),
        (T0 + 1_016, T0 + 200_500, "not recording"),
        (T0 + 202_010, T0 + 205_010, "crossed book"),
        (T0 + 205_016, T0 + 400_500, "not recording"),
    ]
    after = [(T0 + 401_016, T0 + DAY_MS, "not recording")] if ended else []
    assert gaps(store) == between + after
    assert len(stored(store, "trade")) == 3


def test_a_gap_after_the_last_stored_row_is_told_once_when_the_rest_of_the_day_is_rolled_later(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    bot = Bot(tmp_path / "raw")
    bot.see(T0, feed(True))
    bot.see(T0 + 1_010, row(T0 + S))
    bot.see(T0 + 5_000, feed(False, "crossed book", "book", T0 + 3_000))
    bot.see(T0 + 6_000, feed(True))
    bot.recorder.stop()
    roll(tmp_path / "raw", store)
    again = Bot(tmp_path / "raw", T0 + 100_000)
    again.see(T0 + 100_500, feed(True))
    again.recorder.stop()
    roll(tmp_path / "raw", store)
    assert gaps(store) == [
        (T0 + 2_001, T0 + 3_000, "not recording"),
        (T0 + 3_000, T0 + 6_000, "crossed book"),
        (T0 + 6_000, T0 + 100_500, "not recording"),
    ]


def test_a_recording_unlike_what_is_stored_is_told_of_and_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    candle = Candle(T0, 150.0, 151.0, 149.0, 150.5, 12.5, 1_876.25)
    for close in (150.5, 150.75):
        bot = Bot(tmp_path / "raw", T0 + 300_000)
        bot.see(T0 + 300_100, feed(True))
        event = CandleClosed(symbol="SOLUSDT", interval="5m", candle=structs.replace(candle, close=close))
        bot.see(T0 + 300_200, event)
        bot.recorder.stop()
        done = roll(tmp_path / "raw", store, before="2026-01-06")
    path = tmp_path / "raw" / "2026-01-05" / "bitget" / "SOLUSDT-0001.rec"
    assert done.problems == [
        f"{path}: unlike the stored are 1 row of sealed_candle_5m, first at 2026-01-05 00:00:00 UTC; those stand, the "
        "recording is kept as SOLUSDT-0001.rec.unlike"
    ]
    assert [c["close"] for c in stored(store, "sealed_candle_5m")] == [150.5]
    assert [one.name for one in path.parent.iterdir()] == ["SOLUSDT-0001.rec.unlike"]
    assert roll(tmp_path / "raw", store).problems == []  # told once


def test_candles_that_were_corrected_after_the_seal_are_fetched_without_contradiction(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    bot = Bot(tmp_path / "raw", T0 + 300_000)
    candle = Candle(T0, 150.0, 151.0, 149.0, 150.5, 12.5, 1_876.25)
    bot.see(T0 + 300_200, CandleClosed(symbol="SOLUSDT", interval="5m", candle=candle))
    bot.recorder.stop()
    assert roll(tmp_path / "raw", store).problems == []
    final = pa.table({name: [value] for name, value in zip(CANDLE, structs.astuple(candle), strict=True)})
    final = final.set_column(4, "close", pa.array([150.75]))
    written = store.write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", final, complete=True, source="rest")
    assert (written.differing, store.complete_days("bitget", "candle_5m", "SOLUSDT")) == ((), {"2026-01-05"})
    assert [c["close"] for c in stored(store, "candle_5m")] == [150.75]
    assert [c["close"] for c in stored(store, "sealed_candle_5m")] == [150.5]


def test_what_a_crash_left_half_rolled_is_rolled_again_without_a_trace(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0 + 500, feed(True))
    bot.see(T0 + 1_010, row(T0 + S))
    bot.trade(T0 + 1_200, "9")
    bot.see(T0 + 3_010, row(T0 + 3 * S))
    bot.recorder.stop()
    (path,) = (tmp_path / "raw").rglob("*.rec")
    data = path.read_bytes()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store, before="2026-01-06")
    channels = {"book_1s_l10": 3, "trade": 1, "gap": 4}
    before = {name: stored(store, name) for name in channels}
    assert {name: len(rows) for name, rows in before.items()} == channels
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    assert roll(tmp_path / "raw", store, before="2026-01-06").problems == []
    assert {name: stored(store, name) for name in channels} == before


def test_other_venues_have_five_levels_every_five_seconds_and_keep_their_staleness(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw")
    for number, stale in ((1, False), (2, True)):
        at = T0 + 5_000 * number
        book = row(at, levels=5)
        bot.see(
            at + 7,
            VenueBook(
                venue="bybit-spot", symbol="SOLUSDT", boundary_ms=at, age_ms=number, stale=stale,
                bid_px=book.bid_px, bid_sz=book.bid_sz, ask_px=book.ask_px, ask_sz=book.ask_sz,
            ),
        )  # fmt: skip
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store)
    rows = stored(store, "book_5s_l5", "bybit-spot")
    assert [(b["ts_ms"], b["age_ms"], b["stale"], b["ask_sz_5"]) for b in rows] == [
        (T0 + 5_000, 1, False, 6.0),
        (T0 + 10_000, 2, True, 6.0),
    ]


def test_a_book_with_too_few_levels_is_a_gap_until_it_has_them_again(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0 + 500, feed(True))
    for second, levels in ((1, 10), (3, 3), (4, 9), (6, 10), (8, 9)):
        bot.see(T0 + second * S + 10, row(T0 + second * S, levels=levels))
    bot.recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store)
    assert [(b["ts_ms"] - T0) // S for b in stored(store, "book_1s_l10")] == [1, 2, 6, 7]  # type: ignore[operator]
    thin = "fewer than 10 levels"
    assert gaps(store)[1:] == [(T0 + 3 * S, T0 + 6 * S, thin), (T0 + 8 * S, T0 + 8 * S + 11, thin)]
    assert len(gaps(store, "trade")) == 1


def test_a_file_that_is_no_recording_is_named_and_left_and_the_others_are_rolled(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0 + 500, feed(True))
    bot.see(T0 + 1_010, row(T0 + S))
    bot.recorder.stop()
    foreign = tmp_path / "raw" / "2026-01-05" / "bitget" / "ADAUSDT-0001.rec"
    foreign.write_bytes(b"something else")
    done = subprocess.run(
        [sys.executable, "-m", "tradebot.data.recorder.roll", "--raw", tmp_path / "raw", "--root", tmp_path / "store"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 65
    assert done.stderr == f"{foreign}: this is not a raw recording; left where it is\n"
    assert done.stdout.startswith("1 symbol-day of 1 day rolled: ")
    assert foreign.exists()
    assert len(stored(Store(tmp_path / "store"), "book_1s_l10")) == 1


@pytest.mark.parametrize("left", [b"", bytes(4_096), MAGIC[:4], MAGIC[:4] + bytes(500), MAGIC])
def test_a_file_of_which_a_power_cut_left_nothing_keeps_no_other_of_its_day_from_the_store(
    tmp_path: Path, left: bytes
) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0 + 500, feed(True))
    bot.see(T0 + 1_010, row(T0 + S))
    bot.recorder.stop()
    (tmp_path / "raw" / "2026-01-05" / "bitget" / "SOLUSDT-0002.rec").write_bytes(left)
    store = Store(tmp_path / "store")
    assert roll(tmp_path / "raw", store).problems == []
    assert len(stored(store, "book_1s_l10")) == 1
    assert list((tmp_path / "raw").rglob("*.rec")) == []


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (b"something else", "this is not a raw recording"),
        (MAGIC + frame(1, T0, b"\x92\xa1z\x01"), "record 1 is of no kind that is known here"),
    ],
)
def test_a_part_that_cannot_be_read_is_named_and_left_and_the_rest_of_the_day_is_rolled(
    tmp_path: Path, odd: bytes, why: str
) -> None:
    bot = Bot(tmp_path / "raw")
    bot.see(T0 + 500, feed(True))
    bot.see(T0 + 1_010, row(T0 + S))
    bot.recorder.stop()
    second = tmp_path / "raw" / "2026-01-05" / "bitget" / "SOLUSDT-0002.rec"
    second.write_bytes(odd)
    store = Store(tmp_path / "store")
    for symbols in (1, 0):
        done = roll(tmp_path / "raw", store)
        assert [problem.partition(": ")[0] for problem in done.problems] == [str(second)]
        assert why in done.problems[0]
        assert (done.symbols, list((tmp_path / "raw").rglob("*.rec"))) == (symbols, [second])
    assert len(stored(store, "book_1s_l10")) == 1


@given(
    st.lists(
        st.tuples(st.integers(1, 5_000), st.booleans(), st.booleans(), st.sampled_from(["a", "b"])), max_size=30
    ).map(lambda steps: [(sum(step[0] for step in steps[: i + 1]), *step[1:]) for i, step in enumerate(steps)])
)
def test_gaps_are_disjoint_and_cover_exactly_the_time_in_which_the_feed_was_down(
    edges: list[tuple[int, bool, bool, str]],
) -> None:
    line = Timeline(0)
    down, since, expected = True, 0, set()
    for at, up, whole, reason in edges:
        if down:
            expected |= set(range(since, at))
        line.edge(Edge(at, up, whole, reason), at)
        down, since = not up, at
    end = (edges[-1][0] if edges else 0) + 7
    line.heard(end)
    if down:
        expected |= set(range(since, end))
    line.end(end)
    covered = [ms for gap in line.gaps if gap.part == "book" for ms in range(gap.start_ms, gap.end_ms)]
    assert len(covered) == len(set(covered))
    assert set(covered) == expected


@given(
    st.lists(st.integers(0, 60), max_size=12, unique=True),
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 9_000)), max_size=4),
    st.integers(1, 9_000),
)
def test_carried_rows_are_the_last_sealed_one_never_through_a_gap_and_end_where_hearing_ended(
    rows: list[int], holes: list[tuple[int, int]], more_ms: int
) -> None:
    rows.sort()
    boundaries = np.array([at * S for at in rows], np.int64)
    missing = [Gap(start, start + length, "book", "") for start, length in holes if length]
    until_ms = rows[-1] * S + more_ms if rows else 0
    picked, at = carried(boundaries, missing, until_ms, BOOK_GRID)
    expected = []
    for boundary in range(0, until_ms, S):
        latest = [i for i in range(len(rows)) if boundaries[i] <= boundary]
        if not latest or any(g.start_ms <= boundary < g.end_ms for g in missing):
            continue
        i = latest[-1]
        if not any(int(boundaries[i]) < g.start_ms <= boundary for g in missing):
            expected.append((i, boundary))
    assert list(zip(picked.tolist(), at.tolist(), strict=True)) == expected
