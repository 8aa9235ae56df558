from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shared import shared_path
from tradebot.events import BookSampled
from tradebot.market.buffer import RollingBuffer
from tradebot.market.candle import HOUR_MS, Candle
from tradebot.market.grid import Grid
from tradebot.market.series import aggregate

M5 = 300_000


def bar(i: int, close: float = 100.0) -> Candle:
    return Candle(i * M5, 100.0 + i, 110.0 + i, 90.0, close, 1.0 + i, 100.0)


def sample(second: int, bid: float = 100.0, age_ms: int = 40, depth: int = 2, **volumes: float) -> BookSampled:
    return BookSampled(
        symbol="SOLUSDT",
        boundary_ms=second * 1_000,
        age_ms=age_ms,
        bid_px=tuple(bid - i for i in range(depth)),
        bid_sz=tuple(1.0 + i for i in range(depth)),
        ask_px=tuple(bid + 1 + i for i in range(depth)),
        ask_sz=tuple(2.0 + i for i in range(depth)),
        **volumes,
    )


def buffer_of(candles: int = 4_096, **more: int) -> RollingBuffer:
    return RollingBuffer("5m", candles=dict.fromkeys(("5m", "15m", "1h", "4h"), candles), **more)


def test_a_candle_taken_already_changes_nothing_even_when_it_differs() -> None:
    buffer = buffer_of()
    for i in (0, 1, 1, 0):
        buffer.append_candle(bar(i))
    buffer.append_candle(bar(1, close=5.0))
    assert buffer.candles().open_time_ms.tolist() == [0, M5]
    assert buffer.candles().close.tolist() == [100.0, 100.0]


def test_a_candle_after_a_gap_is_refused_until_the_gap_is_filled() -> None:
    buffer = buffer_of()
    buffer.append_candle(bar(0))
    with pytest.raises(ValueError, match="300000 to 900000"):
        buffer.append_candle(bar(3))
    for i in (1, 2, 3):
        buffer.append_candle(bar(i))
    assert buffer.candles().open_time_ms.tolist() == [i * M5 for i in range(4)]


def test_what_nobody_reads_is_not_kept() -> None:
    candles, rows = [bar(i) for i in range(200)], [sample(i) for i in range(200)]
    tracemalloc.start()
    try:
        buffer = RollingBuffer("5m")
        for candle, row in zip(candles, rows, strict=True):
            buffer.append_candle(candle)
            buffer.append_book(row)
        assert tracemalloc.get_traced_memory()[0] < 5_000
    finally:
        tracemalloc.stop()
    with pytest.raises(ValueError, match="no book rows"):
        buffer.books()
    with pytest.raises(KeyError):
        buffer.candles()


def test_a_longer_interval_can_be_kept_without_the_one_it_is_made_of() -> None:
    buffer = RollingBuffer("5m", candles={"1h": 3})
    for i in range(24):
        buffer.append_candle(bar(i))
    assert buffer.candles("1h").open_time_ms.tolist() == [0, HOUR_MS]


def test_a_candle_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError):
        buffer_of().append_candle(Candle(1, 1, 1, 1, 1, 1))


def test_longer_intervals_hold_closed_candles_only() -> None:
    buffer = buffer_of()
    for i in range(3, 3 + 12 + 5):
        buffer.append_candle(bar(i))
    assert buffer.candles("15m").open_time_ms.tolist() == [i * M5 for i in (3, 6, 9, 12, 15)]
    assert buffer.candles("1h").open_time_ms.tolist() == []
    for i in range(20, 24):
        buffer.append_candle(bar(i))
    assert buffer.candles("1h").open_time_ms.tolist() == [HOUR_MS]
    assert buffer.candles("4h").open_time_ms.tolist() == []


def test_a_full_ring_shows_the_latest_candles_in_order() -> None:
    buffer = buffer_of(candles=10)
    for i in range(95):
        buffer.append_candle(bar(i))
        window = buffer.candles(n=4)
        assert window.open_time_ms.tolist() == [j * M5 for j in range(max(0, i - 3), i + 1)]
        assert window.open.tolist() == [100.0 + j for j in range(max(0, i - 3), i + 1)]
    assert len(buffer.candles().close) == 10
    with pytest.raises(ValueError, match="read-only"):
        buffer.candles().close[0] = 0.0


def test_real_candles_derive_the_same_hours_one_by_one_and_at_once() -> None:
    table = pq.read_table(shared_path("data/market/candles/bybit_SOLUSDT_perp_5m.parquet")).slice(0, 3_000)
    rows = [Candle(*row.values(), 0.0) for row in table.to_pylist()]
    buffer = buffer_of()
    for row in rows:
        buffer.append_candle(row)
    for interval, length in (("15m", 900_000), ("1h", HOUR_MS), ("4h", 4 * HOUR_MS)):
        expected = aggregate(rows, M5, length)
        window = buffer.candles(interval)
        assert len(expected) > 50
        assert window.open_time_ms.tolist() == [c.open_time_ms for c in expected]
        assert window.volume.tolist() == [c.volume for c in expected]
        assert window.close.tolist() == [c.close for c in expected]


# --- book rows ---


def test_seconds_without_a_row_are_the_last_one_grown_older() -> None:
    buffer = buffer_of(book_rows=100, grid=Grid(1_000, 3, 10_000, 5_000))
    buffer.append_book(sample(10, bid=100.0, buy_volume=5.0))
    buffer.append_book(sample(13, bid=101.0))
    window = buffer.books()
    assert window.boundary_ms.tolist() == [10_000, 11_000, 12_000, 13_000]
    assert window.age_ms.tolist() == [40, 1_040, 2_040, 40]
    assert window.bid_px[:, 0].tolist() == [100.0, 100.0, 100.0, 101.0]
    assert window.buy_volume.tolist() == [5.0, 0.0, 0.0, 0.0]


def test_a_window_is_filled_up_to_the_moment_asked_for_and_old_rows_are_stale() -> None:
    buffer = buffer_of(book_rows=100, grid=Grid(1_000, 10, 2_000, 5_000))
    buffer.append_book(sample(10))
    window = buffer.books(n=4, until_ms=13_999)
    assert window.boundary_ms.tolist() == [10_000, 11_000, 12_000, 13_000]
    assert window.stale.tolist() == [False, False, True, True]


def test_a_thin_side_repeats_its_deepest_price_with_no_size() -> None:
    buffer = buffer_of(book_rows=100, grid=Grid(1_000, 3, 10_000, 5_000))
    buffer.append_book(sample(1, bid=100.0, depth=2))
    window = buffer.books()
    assert window.bid_px.tolist() == [[100.0, 99.0, 99.0]]
    assert window.bid_sz.tolist() == [[1.0, 2.0, 0.0]]
    buffer.append_book(BookSampled(symbol="S", boundary_ms=2_000, age_ms=0, bid_px=(), bid_sz=(), ask_px=(), ask_sz=()))
    assert np.isnan(buffer.books(1).ask_px).all()
    assert buffer.books(1).ask_sz.tolist() == [[0.0, 0.0, 0.0]]


def test_a_row_for_a_past_second_changes_nothing() -> None:
    buffer = buffer_of(book_rows=100)
    buffer.append_book(sample(10))
    buffer.append_book(sample(10, bid=50.0))
    buffer.append_book(sample(9, bid=50.0))
    assert buffer.books().bid_px[:, 0].tolist() == [100.0]
    with pytest.raises(ValueError):
        buffer.append_book(
            BookSampled(symbol="S", boundary_ms=10_500, age_ms=0, bid_px=(), bid_sz=(), ask_px=(), ask_sz=())
        )


def test_a_pause_longer_than_the_ring_costs_no_more_than_the_ring() -> None:
    buffer = buffer_of(book_rows=5)
    buffer.append_book(sample(10))
    buffer.append_book(sample(10_000_000, bid=7.0))
    window = buffer.books()
    assert window.boundary_ms.tolist() == [second * 1_000 for second in range(9_999_996, 10_000_001)]
    assert window.bid_px[:, 0].tolist() == [100.0] * 4 + [7.0]


def test_before_the_first_row_there_is_none_to_fill_with() -> None:
    assert len(buffer_of(book_rows=5).books(until_ms=5_000).age_ms) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(2, 20))
def test_any_pauses_leave_consecutive_rows(pauses: list[int], capacity: int) -> None:
    buffer = buffer_of(book_rows=capacity, grid=Grid(1_000, 2, 10_000, 5_000))
    second, expected = 100, {}
    for i, pause in enumerate(pauses):
        for filled in range(second + 1, second + pause):
            expected[filled] = float(i) if i else None
        second += pause
        expected[second] = float(i + 1)
        buffer.append_book(sample(second, bid=float(i + 1)))
    window = buffer.books()
    held = [s for s, bid in expected.items() if bid is not None][-capacity:]
    assert window.boundary_ms.tolist() == [s * 1_000 for s in held]
    assert window.bid_px[:, 0].tolist() == [expected[s] for s in held]
