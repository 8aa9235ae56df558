"""Books of Binance and Bybit against a naive model: whatever is lost, repeated or swapped, a sound book is true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradebot.exchange.venues.binance import BinanceKeeper, Change, Market, Snapshot
from tradebot.exchange.venues.bybit import BybitKeeper, Rows
from tradebot.market.book import OrderBook

Sides = tuple[dict[int, int], dict[int, int]]
"""Bids and asks: price in tenths to size."""


def texts(side: dict[int, int]) -> list[tuple[str, str]]:
    return [(f"{price / 10:.1f}", f"{size}.0" if size else "0") for price, size in side.items()]


def state(sides: Sides) -> tuple[set[tuple[float, float]], ...]:
    return tuple({(price / 10, float(size)) for price, size in side.items() if size} for side in sides)


def held(book: OrderBook) -> tuple[set[tuple[float, float]], ...]:
    bid_px, bid_sz, ask_px, ask_sz = book.levels(1_000)
    return set(zip(bid_px, bid_sz, strict=True)), set(zip(ask_px, ask_sz, strict=True))


# bids below 100.0, asks above: the truth is never crossed
changes = st.tuples(
    st.dictionaries(st.integers(980, 999), st.integers(0, 5), max_size=4),
    st.dictionaries(st.integers(1_001, 1_020), st.integers(0, 5), max_size=4),
)
START: Sides = ({990: 1, 980: 2}, {1_010: 1, 1_020: 2})


def history(steps: list[Sides]) -> list[Sides]:
    """The truth after each step, the beginning first."""
    states = [START]
    for bids, asks in steps:
        last = states[-1]
        states.append(({**last[0], **bids}, {**last[1], **asks}))
    return states


deliveries = st.lists(st.sampled_from(["deliver", "lose", "repeat", "swap", "snapshot"]), min_size=1, max_size=25)


@given(
    market=st.sampled_from(["spot", "perp"]),
    steps=st.lists(changes, min_size=25, max_size=25),
    widths=st.lists(st.integers(1, 3), min_size=25, max_size=25),
    fates=deliveries,
    behind=st.integers(0, 4),
)
def test_a_sound_binance_book_is_the_truth_of_its_last_change(
    market: Market, steps: list[Sides], widths: list[int], fates: list[str], behind: int
) -> None:
    states, keeper = history(steps), BinanceKeeper(market)
    first, sent = 1_000, []
    for step, width in zip(steps, widths, strict=True):
        sent.append(Change("X", first, first + width - 1, first - 1, texts(step[0]), texts(step[1])))
        first += width
    ends = [999, *(row.u for row in sent)]
    truth = {end: state(one) for end, one in zip(ends, states, strict=True)}
    queue, sounds = list(sent), 0
    for at, fate in enumerate(fates):
        if fate == "snapshot":
            known = max(at - behind, 0)
            keeper.snapshot(Snapshot(ends[known], texts(states[known][0]), texts(states[known][1])))
        elif fate == "lose":
            queue.pop(0)
        elif fate == "swap":
            queue[:2] = reversed(queue[:2])
        else:
            keeper.update(queue[0] if fate == "repeat" else queue.pop(0))
        if keeper.sound:
            sounds += 1
            assert held(keeper.book) == truth[keeper._last]
    if fates[0] == "snapshot" and set(fates[1:]) <= {"deliver"}:
        assert sounds == len(fates)  # when nothing happens, nothing breaks


@given(
    steps=st.lists(changes, min_size=1, max_size=30),
    fates=st.lists(st.sampled_from(["deliver", "lose", "repeat"]), max_size=30),
)
def test_a_sound_bybit_book_is_the_truth_and_a_lost_delta_is_noticed_at_once(
    steps: list[Sides], fates: list[str]
) -> None:
    states, keeper = history(steps), BybitKeeper()
    assert keeper.take("delta", Rows("X", [], [], 7)) is None  # nothing to apply it to
    assert keeper.take("snapshot", Rows("X", texts(START[0]), texts(START[1]), 100)) == ""
    lost = False
    for at, (step, fate) in enumerate(zip(steps, [*fates, *["deliver"] * 30], strict=False)):
        row = Rows("X", texts(step[0]), texts(step[1]), 101 + at)
        if fate == "lose":
            lost = True
            continue
        outcome = keeper.take("delta", row)
        assert (outcome == "") is (not lost)
        if lost:
            assert not keeper.sound
            bids, asks = states[at + 1]
            assert keeper.take("snapshot", Rows("X", texts(bids), texts(asks), 101 + at)) == ""
            lost = False
        assert held(keeper.book) == state(states[at + 1])
        if fate == "repeat":
            assert keeper.take("delta", row) != ""
            assert (
                keeper.take("snapshot", Rows("X", texts(states[at + 1][0]), texts(states[at + 1][1]), 101 + at)) == ""
            )


def test_a_restart_of_bybits_service_sends_a_whole_book_numbered_one() -> None:
    keeper = BybitKeeper()
    keeper.take("snapshot", Rows("X", [("1", "1")], [("2", "1")], 900))
    assert keeper.take("delta", Rows("X", [("1.5", "4")], [("3", "1")], 1)) == ""
    assert keeper.book.best() == (1.5, 3.0)
    assert keeper.take("delta", Rows("X", [("1.6", "4")], [], 2)) == ""


def test_crossed_books_are_broken_books() -> None:
    spot, bybit = BinanceKeeper("spot"), BybitKeeper()
    assert spot.snapshot(Snapshot(1, [("3", "1")], [("2", "1")])) == "crossed book in the snapshot"
    assert spot.snapshot(Snapshot(1, [("1", "1")], [("2", "1")])) == ""
    assert spot.update(Change("X", 2, 2, 0, [("2.5", "1")], [])) == "crossed book"
    assert bybit.take("snapshot", Rows("X", [("3", "1")], [("2", "1")], 5)) == "crossed book"
    assert not spot.sound
    assert not bybit.sound
