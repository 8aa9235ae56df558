"""What the soak measures, where the loop that it measures stands still."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak_books import NEVER_MS, Ages, Spread
from tradebot.market.book import OrderBook

BOOK = OrderBook()


def test_a_loop_that_stalls_tells_how_old_its_books_became() -> None:
    now = 1_000_000
    ages = Ages(["X"], lambda: now)
    for _ in range(100):  # 10 s with a state every 100 ms, each handled 5 ms after it was made
        now += 100
        ages.on_book("X", BOOK, now - 5)
        if now == 1_000_100:
            ages.begin()
    now += 2_500
    ages.on_book("X", BOOK, now - 2_400)
    now += 1
    ages.on_book("X", BOOK, now - 5)
    ages.end()
    told = ages.stale.told()
    assert (told["max"], told["samples"]) == (5 + 2_500 - 1, 99 * 100 + 2_501)
    assert told["p50"] == 67  # a fifth of the time was the stall
    assert (told["p99"] or 0) > 2_300
    assert ages.late.told() == {"p50": 5, "p99": 5, "max": 2_400, "samples": 101}


def test_a_symbol_without_a_state_is_older_than_any() -> None:
    now = 1_000_000
    ages = Ages(["X", "Y"], lambda: now)
    ages.begin()
    ages.on_book("X", BOOK, now)
    now += 300
    ages.end()
    assert ages.stale.told() == {"p50": 299, "p99": None, "max": None, "samples": 600}


@given(st.lists(st.tuples(st.integers(-50, NEVER_MS + 200), st.integers(0, 300)), max_size=8))
def test_a_growing_age_is_every_age_on_its_way(stretches: list[tuple[int, int]]) -> None:
    grown, added = Spread(), Spread()
    for first, length in stretches:
        grown.grow(first, first + length)
        for ms in range(first, first + length):
            added.add(ms)
    assert grown.told() == added.told()
    assert grown.told()["samples"] == sum(length for _, length in stretches)
