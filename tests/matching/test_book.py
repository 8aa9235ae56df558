from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebot.errors import DataError
from tradebot.market.instrument import Side
from tradebot.matching.book import Book, Levels, Match, opposite

BIDS = ((100, 50), (99, 40), (98, 30))
ASKS = ((101, 20), (102, 30), (104, 40))


def book(bids: Levels = BIDS, asks: Levels = ASKS) -> Book:
    made = Book()
    made.replace(bids, asks)
    return made


def sweep(target: Book, side: Side, lots: int, limit: int | None = None) -> list[tuple[int, int]]:
    """Take up to ``lots`` the way an arriving order does."""
    got = []
    for offer in target.offers(side, limit):
        step = min(lots, offer.lots)
        if step <= 0:
            break
        target.take(side, Match(offer.ticks, step, offer.order_id))
        lots -= step
        got.append((offer.ticks, step))
    return got


def test_a_crossed_book_is_refused_and_the_old_one_stays() -> None:
    made = book()
    with pytest.raises(DataError, match="crossed book"):
        made.replace(((102, 1),), ((101, 1),))
    assert made.bids == BIDS


def test_a_locked_book_is_a_market() -> None:
    made = book(((100, 5),), ((100, 7),))
    assert sweep(made, "buy", 6) == [(100, 6)]
    assert made.depth("sell") == ((100, 1),)


def test_an_arriving_order_walks_levels_up_to_its_limit() -> None:
    assert sweep(book(), "buy", 100, limit=102) == [(101, 20), (102, 30)]
    assert sweep(book(), "sell", 60) == [(100, 50), (99, 10)]


def test_taken_liquidity_stays_taken_until_its_recorded_size_changes() -> None:
    made = book()
    sweep(made, "buy", 15)
    made.replace(BIDS, ASKS)
    assert made.depth("sell") == ((101, 5), (102, 30), (104, 40))
    sweep(made, "buy", 5)
    made.replace(BIDS, ASKS)
    assert made.depth("sell")[0] == (102, 30)
    made.replace(BIDS, ((101, 19), (102, 30), (104, 40)))
    assert made.depth("sell")[0] == (101, 19)


def test_a_level_out_of_sight_keeps_what_was_taken_from_it() -> None:
    made = book()
    sweep(made, "buy", 60)  # 10 of the 40 at 104
    made.replace(BIDS, ((101, 25), (102, 31)))
    made.replace(BIDS, ASKS)
    assert made.depth("sell") == ((101, 20), (102, 30), (104, 30))
    made.replace(BIDS, ((101, 20), (105, 1)))
    made.replace(BIDS, ASKS)
    assert made.depth("sell")[2] == (104, 40), "seen empty in between, so it changed"


def test_depth_shows_the_market_and_our_orders() -> None:
    made = book()
    made.rest("a", "buy", 100, 3)
    made.rest("b", "buy", 97, 2)
    assert made.depth("buy") == ((100, 53), (99, 40), (98, 30), (97, 2))
    assert made.depth("sell") is ASKS


def test_a_resting_order_fills_after_the_queue_ahead_of_it() -> None:
    made = book()
    made.rest("a", "buy", 100, 10)
    assert made.trade(100, 30, "sell") == []
    assert made.trade(100, 25, "sell") == [Match(100, 5, "a")]
    assert made.trade(100, 25, "sell") == [Match(100, 5, "a")]
    assert made.resting("a") is None


def test_a_trade_by_the_other_taker_side_moves_no_queue() -> None:
    made = book()
    made.rest("a", "buy", 100, 10)
    assert made.trade(100, 1_000, "buy") == []


def test_smaller_visible_size_moves_the_queue_and_larger_does_not() -> None:
    made = book()
    made.rest("a", "buy", 100, 10)
    made.replace(((100, 8), (99, 40), (98, 30)), ASKS)
    made.replace(((100, 80), (99, 40), (98, 30)), ASKS)
    assert made.trade(100, 10, "sell") == [Match(100, 2, "a")]


def test_two_orders_at_one_price_fill_in_the_order_they_came() -> None:
    made = book(((100, 10),), ASKS)
    made.rest("a", "buy", 100, 5)
    made.replace(((100, 12),), ASKS)
    made.rest("b", "buy", 100, 5)
    assert made.trade(100, 16, "sell") == [Match(100, 5, "a")]
    # one lot of market still stands between them
    assert made.trade(100, 3, "sell") == [Match(100, 2, "b")]


def test_a_trade_through_the_price_fills_with_its_volume_best_price_first() -> None:
    made = book()
    made.rest("low", "buy", 99, 10)
    made.rest("high", "buy", 100, 10)
    assert made.trade(97, 15, "sell") == [Match(100, 10, "high"), Match(99, 5, "low")]


def test_opposite_levels_of_a_new_snapshot_that_cross_an_order_fill_it_and_are_used_up() -> None:
    made = book()
    made.rest("a", "buy", 100, 12)
    assert made.replace(((97, 5),), ((98, 4), (99, 6), (103, 1))) == [Match(100, 4, "a"), Match(100, 6, "a")]
    assert made.depth("sell") == ((103, 1),)
    assert made.depth("buy") == ((100, 2), (97, 5))
    assert made.replace(((97, 5),), ((98, 4), (99, 6), (103, 1))) == [], "the same sizes are already used up"


def test_an_opposite_level_at_the_price_fills_only_when_the_queue_is_gone() -> None:
    made = book()
    made.rest("a", "buy", 100, 5)
    assert made.replace(((100, 50),), ((100, 9),)) == []
    assert made.replace(((99, 50),), ((100, 9),)) == [Match(100, 5, "a")]


def test_a_price_deeper_than_the_visible_depth_waits_for_its_queue_to_be_seen() -> None:
    made = book()
    made.rest("a", "buy", 90, 5)
    assert made.trade(90, 1_000, "sell") == []
    made.replace(((91, 3), (90, 20)), ASKS)
    assert made.trade(90, 24, "sell") == [Match(90, 4, "a")]


def test_our_own_order_is_met_after_the_market_at_its_price() -> None:
    made = book()
    made.rest("a", "sell", 102, 7)
    offers = list(made.offers("buy", 102))
    assert offers == [Match(101, 20), Match(102, 30), Match(102, 7, "a")]
    assert made.fillable("buy", 57, 102)
    assert not made.fillable("buy", 57, 102, own=False)


@st.composite
def snapshots(draw: st.DrawFn) -> tuple[Levels, Levels]:
    mid = draw(st.integers(95, 105))
    locked = draw(st.booleans())
    sizes = st.lists(st.integers(1, 6), min_size=1, max_size=4)
    bids = tuple((mid - k, size) for k, size in enumerate(draw(sizes)))
    asks = tuple((mid + (0 if locked else 1) + k, size) for k, size in enumerate(draw(sizes)))
    return bids, asks


SIDES = st.sampled_from(["buy", "sell"])
Step = tuple[str, object]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("book"), snapshots()),
        st.tuples(st.just("same"), st.none()),
        st.tuples(st.just("take"), st.tuples(SIDES, st.integers(1, 12))),
        st.tuples(st.just("rest"), st.tuples(SIDES, st.integers(1, 9), st.integers(0, 4))),
        st.tuples(
            st.just("trade"), st.tuples(st.integers(90, 110), st.integers(1, 9), st.sampled_from(["buy", "sell"]))
        ),
    ),
    max_size=25,
)


@given(STEPS)
def test_nothing_fills_beyond_what_was_visible_or_traded_and_the_book_never_crosses(steps: list[Step]) -> None:
    made = Book()
    sizes: dict[tuple[str, int], int] = {}  # recorded size of a level while it has not changed
    used: dict[tuple[str, int], int] = {}
    serial = 0
    for kind, what in steps:
        if kind in ("book", "same"):
            bids, asks = what if kind == "book" else (made.bids, made.asks)
            for side, levels in (("buy", bids), ("sell", asks)):
                sign = 1 if side == "buy" else -1
                seen = dict(levels)
                for key in [k for k in sizes if k[0] == side]:
                    hidden = bool(levels) and sign * (levels[-1][0] - key[1]) > 0
                    if not hidden and seen.get(key[1]) != sizes[key]:
                        del sizes[key]
                        used.pop(key, None)
                sizes.update({(side, ticks): size for ticks, size in levels})
            before = {s: made.market(s) for s in ("buy", "sell")}
            fills = made.replace(bids, asks)
            for side in ("buy", "sell"):
                opposite_side = opposite(side)
                net = dict(made.market(opposite_side))
                for ticks, size in bids if opposite_side == "buy" else asks:
                    now = size - net.get(ticks, 0)
                    assert now >= used.get((opposite_side, ticks), 0), "what was taken came back"
                    used[opposite_side, ticks] = now
            assert kind == "book" or (not fills and before == {s: made.market(s) for s in before})
        elif kind == "take":
            side, lots = what
            for offer in list(made.offers(side, None)):
                step = min(lots, offer.lots)
                if step <= 0:
                    break
                made.take(side, Match(offer.ticks, step, offer.order_id))
                lots -= step
                if not offer.order_id:
                    key = (opposite(side), offer.ticks)
                    used[key] = used.get(key, 0) + step
        elif kind == "rest":
            side, lots, away = what
            best = made.best(opposite(side))
            if best is not None:
                serial += 1
                made.rest(str(serial), side, best - 1 - away if side == "buy" else best + 1 + away, lots)
        else:
            ticks, lots, taker = what
            fills = made.trade(ticks, lots, taker)
            assert sum(f.lots for f in fills) <= lots
        for key, size in sizes.items():
            assert 0 <= used.get(key, 0) <= size
        bid, ask = made.best("buy"), made.best("sell")
        assert bid is None or ask is None or bid <= ask
