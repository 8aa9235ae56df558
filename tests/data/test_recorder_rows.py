"""From messages to stored rows: the sealer, the recorder and the rolling together, against what was heard when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from tests.exchange.recorded import binance_frames
from tests.exchange.test_recorded_books import RAW, Rebuilt
from tests.shared import shared_path
from tradebot.data.channels import book_columns
from tradebot.data.recorder.raw import RawLog, RawTiming
from tradebot.data.recorder.recorder import Recorder
from tradebot.data.recorder.roll import roll
from tradebot.data.store import Store
from tradebot.events import BookSampled, Event, FeedStatus, TickerUpdated
from tradebot.exchange.venues import binance
from tradebot.market.book import OrderBook
from tradebot.market.buffer import BookWindow, RollingBuffer
from tradebot.market.candle import DAY_MS
from tradebot.market.grid import BOOK_GRID
from tradebot.shell.clock import PacedClock
from tradebot.shell.rows import ROW_GRACE_MS, Row, RowSealer

T0 = 1_767_571_200_000  # 2026-01-05 00:00 UTC
S = 1_000
X = "XUSDT"
LEVELS = book_columns(10)


class Message(NamedTuple):
    """The book as it is after a message received at ``ms``."""

    ms: int
    row: Row


class Bot:
    """What live keeps of a symbol's books and what it records of them, with a clock that runs from message to
    message."""

    def __init__(self, raw: Path, start_ms: int) -> None:
        self.clock = PacedClock()
        self.clock.advance(start_ms)
        self.buffer = RollingBuffer("5m", book_rows=5_000)
        self.recorder = Recorder(RawLog(raw, RawTiming(write=3600.0, sync=3600.0)), [X], self.clock.now_ms)
        self.recorder.start()
        self.sealer = RowSealer([X], self.clock, self.put, ROW_GRACE_MS)
        self.feed(True)

    def put(self, event: Event) -> None:
        self.recorder(0, self.clock.now_ms(), event)
        if isinstance(event, BookSampled):
            self.buffer.append_book(event)

    def feed(self, ok: bool) -> None:
        self.sealer.feed(X, ok, self.clock.now_ms())
        self.put(FeedStatus(symbol=X, ok=ok, cause="" if ok else "book", reason="" if ok else "crossed book"))

    def until(self, ms: int) -> None:
        while (due_ms := self.sealer.next_due_ms()) is not None and due_ms <= ms:
            self.clock.advance(max(due_ms, self.clock.now_ms()))
            self.sealer.on_time()
        self.clock.advance(ms)

    def hear(self, messages: Iterable[Message]) -> None:
        for ms, row in messages:
            self.until(ms)
            self.sealer.changed(X, row, ms)
            self.recorder.on_book(X, OrderBook(), ms)


def row(price: float) -> Row:
    one = (1.0,) * 10
    return tuple(price - i for i in range(10)), one, tuple(price + 1 + i for i in range(10)), one


def rolled(folder: Path, before: str | None = None) -> tuple[pa.Table, list[tuple[int, int, str]]]:
    """The stored rows, and the gaps of the book (ms since T0)."""
    store = Store(folder / "store")
    assert roll(folder / "raw", store, before).problems == []
    gaps = [g for g in store.read("bitget", "gap", X).to_pylist() if g["channel"] == BOOK_GRID.channel]
    return (
        store.read("bitget", BOOK_GRID.channel, X),
        [(g["start_ms"] - T0, g["end_ms"] - T0, g["reason"]) for g in gaps],
    )


def seconds(table: pa.Table) -> list[int]:
    found: list[int] = ((table["ts_ms"].to_numpy() - T0) // S).tolist()
    return found


def levels_of(window: BookWindow) -> Any:
    """Rows of prices and sizes in the order of the stored columns."""
    sides = (window.ask_px, window.ask_sz, window.bid_px, window.bid_sz)
    return np.stack(sides, axis=2).reshape(len(window.boundary_ms), -1)


def assert_live_is_stored(bot: Bot, stored: pa.Table) -> None:
    live = bot.buffer.books(until_ms=int(stored["ts_ms"][-1].as_py()))
    for name, column in (("ts_ms", live.boundary_ms), ("age_ms", live.age_ms), ("stale", live.stale)):
        assert stored[name].to_pylist() == column.tolist()
    assert (np.column_stack([stored[name].to_numpy() for name in LEVELS]) == levels_of(live)).all()


def assert_rows_are_what_was_heard(stored: pa.Table, messages: Sequence[Message]) -> None:
    """Every boundary from the first message to the last has the last state before it. Its age is the time since the
    last message before it, or at most ``repeat_ms`` more where nothing new was told meanwhile."""
    at = stored["ts_ms"].to_numpy()
    heard_ms = np.array([message.ms for message in messages])
    first = BOOK_GRID.boundary_after(int(heard_ms[0]))
    assert at.tolist() == list(range(first, int(heard_ms[-1]) + 1, S))
    latest = np.searchsorted(heard_ms, at, side="left") - 1
    expected = [
        [value for level in zip(ask_px, ask_sz, bid_px, bid_sz, strict=True) for value in level]
        for bid_px, bid_sz, ask_px, ask_sz in (messages[i].row for i in latest)
    ]
    assert (np.column_stack([stored[name].to_numpy() for name in LEVELS]) == np.array(expected)).all()
    late = stored["age_ms"].to_numpy() - (at - heard_ms[latest])
    assert 0 <= late.min() <= late.max() <= BOOK_GRID.repeat_ms
    assert (stored["stale"].to_numpy() == (stored["age_ms"].to_numpy() > BOOK_GRID.stale_ms)).all()


def test_a_book_that_is_heard_and_does_not_change_keeps_its_rows_and_is_never_old(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw", T0 + 500)
    messages = [Message(T0 + 500 + ms, row(100.0 + ms // 40_000)) for ms in range(0, 120_000, 100)]
    bot.hear(messages)
    bot.clock.advance(T0 + 125_000)  # it stops five seconds after its streams ended
    bot.recorder.stop()
    stored, gaps = rolled(tmp_path, "2026-01-06")
    assert seconds(stored) == list(range(1, 121))
    assert max(stored["age_ms"].to_pylist()) <= 5_100
    assert gaps == [(0, 500, "not recording"), (messages[-1].ms - T0, DAY_MS, "not recording")]
    assert_rows_are_what_was_heard(stored, messages)
    assert_live_is_stored(bot, stored)


def test_a_book_of_which_nothing_is_heard_keeps_its_rows_older_and_stale_while_its_feed_is_sound(
    tmp_path: Path,
) -> None:
    bot = Bot(tmp_path / "raw", T0 + 500)
    messages = [Message(T0 + ms, row(100.0 + ms)) for ms in (600, 700, 45_300, 46_300)]
    bot.hear(messages)
    bot.recorder.stop()
    stored, _ = rolled(tmp_path)
    assert_rows_are_what_was_heard(stored, messages)
    assert_live_is_stored(bot, stored)
    assert stored["age_ms"].to_pylist()[:45] == [300 + second * S for second in range(45)]
    assert sum(stored["stale"].to_pylist()) == 35


def test_a_quiet_midnight_takes_no_row_from_either_day(tmp_path: Path) -> None:
    midnight = T0 + DAY_MS
    bot = Bot(tmp_path / "raw", midnight - 20_000)
    messages = [
        Message(midnight + ms, row(100.0 + (ms // S if not -4_500 <= ms < 6_500 else -5)))
        for ms in range(-19_500, 20_000, 100)
    ]
    bot.hear(messages)
    bot.recorder.stop()
    stored, gaps = rolled(tmp_path, "2026-01-07")
    assert_rows_are_what_was_heard(stored, messages)
    assert_live_is_stored(bot, stored)
    dates = [one.date for one in Store(tmp_path / "store").partitions("bitget", BOOK_GRID.channel)]
    assert dates == ["2026-01-05", "2026-01-06"]
    assert [(reason, end) for _, end, reason in gaps] == [
        ("not recording", DAY_MS - 20_000),
        ("not recording", 2 * DAY_MS),
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_a_row_of_yesterday_that_is_sealed_today_is_yesterdays_unless_today_has_begun(
    tmp_path: Path, turned: bool
) -> None:
    midnight = T0 + DAY_MS
    bot = Bot(tmp_path / "raw", midnight - 5_000)
    bot.hear([Message(midnight - 4_900, row(100.0)), Message(midnight - 1_200, row(101.0))])
    bot.clock.advance(midnight + 700)  # nobody looked at the clock for almost two seconds
    if turned:
        bot.put(TickerUpdated(symbol=X, ts_exchange_ms=midnight, last=1.0, mark=1.0, index=1.0, funding_rate=0.0))
    bot.sealer.on_time()
    bot.hear([Message(midnight + 900, row(102.0)), Message(midnight + 1_900, row(103.0))])
    bot.recorder.stop()
    stored, _ = rolled(tmp_path)
    assert stored["bid_px_1"].to_pylist() == [100.0, 100.0, 100.0, 100.0 if turned else 101.0, 101.0, 102.0]
    assert stored["ts_ms"].to_pylist() == list(range(midnight - 4 * S, midnight + 2 * S, S))


def test_no_row_is_carried_into_a_gap_of_the_book_or_out_of_one(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "raw", T0)
    bot.hear([Message(T0 + 300, row(100.0)), Message(T0 + 2_400, row(100.0))])
    bot.feed(False)
    bot.until(T0 + 6_500)
    bot.feed(True)
    bot.until(T0 + 9_900)
    bot.hear([Message(T0 + 10_200, row(100.0)), Message(T0 + 12_900, row(100.0))])
    bot.recorder.stop()
    stored, gaps = rolled(tmp_path)
    assert seconds(stored) == [1, 2, 11, 12]
    assert gaps == [(2_400, 6_500, "crossed book")]


def heard(names: Sequence[str], per_ms: float, market: binance.Market) -> list[Message]:
    """The sound books of a recording, at the times at which its messages were received."""
    rebuilt = Rebuilt(market)
    messages = []
    for received_ms, body in binance_frames([shared_path(f"{RAW}/{name}") for name in names], per_ms):
        book = rebuilt.take(body)
        if book is not None:
            messages.append(Message(int(received_ms), book.levels(10)))
    return messages


@pytest.mark.parametrize(
    ("names", "per_ms", "market"),
    [
        (["binance_NEXOUSDT_spot_20240723.txt.gz"], 1e3, "spot"),  # at times nothing for many seconds
        (["binance_BTCUSDT_perp_20240718.txt.gz"], 1e6, "perp"),
    ],
)
def test_recorded_messages_at_the_times_of_their_receipt_make_the_rows_that_were_heard(
    names: Sequence[str], per_ms: float, market: binance.Market, tmp_path: Path
) -> None:
    messages = heard(names, per_ms, market)
    bot = Bot(tmp_path / "raw", messages[0].ms)
    bot.hear(messages)
    bot.recorder.stop()
    stored, _ = rolled(tmp_path)
    assert_rows_are_what_was_heard(stored, messages)
    assert_live_is_stored(bot, stored)
