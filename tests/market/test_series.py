from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebot.market.candle import Candle
from tradebot.market.series import Aggregator, Gap, aggregate, find_gaps, join

M5, M15 = 300_000, 900_000


def bar(i: int, close: float = 100.0, volume: float = 1.0) -> Candle:
    return Candle(i * M5, 100.0 + i, 110.0 + i, 90.0 - i, close, volume, volume * close)


def test_history_and_live_rows_join_without_a_gap_or_a_duplicate() -> None:
    joined = join([bar(0), bar(1), bar(2)], [bar(2), bar(3)], M5)
    assert joined.candles == (bar(0), bar(1), bar(2), bar(3))
    assert (joined.gaps, joined.duplicates, joined.revisions) == ((), 1, 0)


def test_the_live_candle_stands_where_history_differs() -> None:
    joined = join([bar(0), bar(1, close=1.0)], [bar(1, close=2.0)], M5)
    assert joined.candles[1].close == 2.0
    assert joined.revisions == 1


def test_what_is_missing_between_history_and_live_is_told() -> None:
    assert join([bar(0), bar(1)], [bar(4), bar(6)], M5).gaps == (Gap(2 * M5, 4 * M5), Gap(5 * M5, 6 * M5))


@given(st.lists(st.integers(0, 60)), st.lists(st.integers(0, 60)), st.randoms(use_true_random=False))
def test_joining_any_rows_gives_each_once_in_order(old: list[int], new: list[int], rng: random.Random) -> None:
    rows = [bar(i) for i in old]
    rng.shuffle(rows)
    joined = join(rows, [bar(i) for i in new], M5)
    every = sorted({*old, *new})
    assert [c.open_time_ms // M5 for c in joined.candles] == every
    assert joined.duplicates == len(old) + len(new) - len(every)
    missing = sum((gap.end_ms - gap.start_ms) // M5 for gap in joined.gaps)
    assert missing == (every[-1] - every[0] + 1 - len(every) if every else 0)


def test_a_longer_candle_appears_when_its_last_part_closes() -> None:
    parts = [bar(3, close=7.0, volume=0.1), bar(4, volume=0.2), bar(5, close=9.0, volume=0.3)]
    aggregator = Aggregator(M5, M15)
    assert [aggregator.push(part) for part in parts[:2]] == [None, None]
    whole = aggregator.push(parts[2])
    assert whole == Candle(
        3 * M5, parts[0].open, parts[2].high, parts[2].low, 9.0, 0.1 + 0.2 + 0.3, 0.1 * 7.0 + 0.2 * 100.0 + 0.3 * 9.0
    )


def test_an_incomplete_longer_candle_is_left_out() -> None:
    assert aggregate([bar(1), bar(2)], M5, M15) == []
    with_gap = [bar(3), bar(5), bar(6), bar(7), bar(8)]
    assert [whole.open_time_ms for whole in aggregate(with_gap, M5, M15)] == [6 * M5]


def test_an_interval_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError):
        Aggregator(M5, 7 * 60_000)


def test_candles_that_follow_each_other_have_no_gap() -> None:
    assert find_gaps([bar(0), bar(1)], M5) == ()
    assert find_gaps([], M5) == ()
