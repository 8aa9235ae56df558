from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebot.market.book import Level, OrderBook

BIDS = [("150.120", "12.5"), ("150.119", "3.0"), ("150.110", "0.8")]
ASKS = [("150.121", "7.1"), ("150.125", "20.0")]


def book_of(bids: list[Level], asks: list[Level]) -> OrderBook:
    book = OrderBook()
    book.snapshot(bids, asks)
    return book


@pytest.mark.parametrize(
    ("bids", "asks", "checksum"),
    [
        ([("43231.1", "4"), ("43231", "6")], [("43232.8", "9"), ("43232.9", "8")], -1504501796),
        ([("3366.1", "7")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")], 831078360),
        (BIDS, ASKS, 1785725784),
        (
            [(f"{150.000 - 0.001 * i:.3f}", f"{i % 9 + 1}.0") for i in range(30)],
            [(f"{150.001 + 0.001 * i:.3f}", f"{i % 7 + 1}.5") for i in range(30)],
            -1902339326,
        ),
    ],
)
def test_the_checksum_is_the_one_of_the_worked_examples(bids: list[Level], asks: list[Level], checksum: int) -> None:
    book = book_of(bids[::-1], asks[::-1])
    assert book.checksum() == checksum
    assert book.matches(checksum)
    assert not book.matches(checksum + 1)


def test_a_delta_replaces_deletes_and_inserts() -> None:
    book = book_of(BIDS, ASKS)
    book.apply([("150.120", "9.9"), ("150.119", "0")], [("150.123", "1.4")])
    assert book.checksum() == 1328098168
    assert book.levels(10) == ((150.12, 150.11), (9.9, 0.8), (150.121, 150.123, 150.125), (7.1, 1.4, 20.0))
    assert book.best() == (150.12, 150.121)
    assert book.mid() == pytest.approx(150.1205)
    assert book.depth == (2, 3)


@pytest.mark.parametrize("zero", ["0", "0.0", "0.00000"])
def test_every_spelling_of_zero_deletes_a_level(zero: str) -> None:
    book = book_of(BIDS, ASKS)
    book.apply([("150.119", zero), ("150.2", zero)], [])
    assert book.levels(3)[0] == (150.12, 150.11)
    book.apply([("150.120", zero)], [])
    assert book.best() == (150.11, 150.121)
    assert book.matches(book_of([("150.110", "0.8")], ASKS).checksum())


def test_two_spellings_of_a_price_are_one_level() -> None:
    book = book_of([("27001.0", "1")], [("27002", "1")])
    book.apply([("27001", "3")], [])
    assert book.levels(5)[:2] == ((27001.0,), (3.0,))
    book.apply([("27001.00", "0")], [])
    assert book.levels(5)[:2] == ((), ())


def test_a_deleted_price_that_returns_is_a_level_again() -> None:
    book = book_of(BIDS, ASKS)
    for _ in range(3):
        book.apply([("150.120", "0")], [("150.121", "0")])
        assert book.best() == (150.119, 150.125)
        book.apply([("150.120", "1")], [("150.121", "2")])
        assert book.levels(1) == ((150.12,), (1.0,), (150.121,), (2.0,))


def test_levels_are_converted_once_for_each_state_of_a_side_whoever_asks() -> None:
    book = book_of(BIDS, ASKS)
    deep = book.levels(3)
    assert book.levels(1) == tuple(column[:1] for column in deep)
    again = book.levels(3)
    assert all(column is same for column, same in zip(again, deep, strict=True))
    book.apply([("150.120", "77")], [])
    moved = book.levels(3)
    assert 77.0 in moved[1]
    assert moved[2] is deep[2]
    assert moved[3] is deep[3]


def test_a_locked_book_is_sound_and_a_crossed_one_is_not() -> None:
    book = book_of([("100", "1")], [("101", "1")])
    assert not book.locked
    book.apply([("101", "1")], [])
    assert book.locked
    assert not book.crossed
    book.apply([("101.5", "1")], [])
    assert book.crossed


def test_an_empty_side_has_no_best() -> None:
    book = book_of([("100", "1")], [])
    assert book.best() is None
    assert book.mid() is None
    assert not book.crossed
    assert book.levels(2) == ((100.0,), (1.0,), (), ())
    book.clear()
    assert book.depth == (0, 0)


@pytest.mark.parametrize("price", ["0", "-1", "nan", "inf", "abc"])
def test_a_price_that_is_no_positive_number_is_refused(price: str) -> None:
    with pytest.raises(ValueError):
        book_of([(price, "1")], [])
    with pytest.raises(ValueError):
        book_of(BIDS, ASKS).apply([], [(price, "1")])


class NaiveBook:
    def __init__(self) -> None:
        self.sides: tuple[dict[float, Level], dict[float, Level]] = ({}, {})

    def snapshot(self, bids: list[Level], asks: list[Level]) -> None:
        self.sides = ({}, {})
        self.apply(bids, asks)

    def apply(self, bids: list[Level], asks: list[Level]) -> None:
        for side, levels in zip(self.sides, (bids, asks), strict=True):
            for price, size in levels:
                if float(size) == 0:
                    side.pop(float(price), None)
                else:
                    side[float(price)] = (price, size)

    def best_levels(self, n: int) -> tuple[list[Level], list[Level]]:
        bids = [self.sides[0][key] for key in sorted(self.sides[0], reverse=True)[:n]]
        return bids, [self.sides[1][key] for key in sorted(self.sides[1])[:n]]

    def checksum(self) -> int:
        bids, asks = self.best_levels(25)
        parts: list[str] = []
        for i in range(25):
            for side in (bids, asks):
                if i < len(side):
                    parts += side[i]
        value = zlib.crc32(":".join(parts).encode())
        return value - (1 << 32) if value & 0x80000000 else value


def side_levels(low: int, high: int) -> st.SearchStrategy[list[Level]]:
    price = st.integers(low, high).map(lambda ticks: f"{ticks / 10:.1f}")
    size = st.one_of(st.just("0"), st.just("0"), st.integers(1, 99).map(str), st.just("0.5000"))
    return st.lists(st.tuples(price, size), max_size=40)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["update"] * 9 + ["snapshot"]), side_levels(1, 120), side_levels(60, 200)),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 40),
)
def test_any_updates_keep_the_book_equal_to_a_naive_one(
    messages: list[tuple[str, list[Level], list[Level]]], n: int
) -> None:
    book, naive = OrderBook(), NaiveBook()
    for action, bids, asks in messages:
        for each in (book, naive):
            each.snapshot(bids, asks) if action == "snapshot" else each.apply(bids, asks)
        best_bids, best_asks = naive.best_levels(n)
        expected = (
            tuple(float(price) for price, _ in best_bids),
            tuple(float(size) for _, size in best_bids),
            tuple(float(price) for price, _ in best_asks),
            tuple(float(size) for _, size in best_asks),
        )
        top = (best_bids[0], best_asks[0]) if best_bids and best_asks else None
        assert book.best() == (None if top is None else (float(top[0][0]), float(top[1][0])))
        assert book.checksum() == naive.checksum()
        assert book.levels(n) == expected
    assert book.depth == (len(naive.sides[0]), len(naive.sides[1]))
