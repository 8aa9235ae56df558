"""Which symbols are traded when nobody lists them."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.driver import SOL
from tradebot.market.day import DayTicker
from tradebot.market.instrument import Instrument
from tradebot.trading.universe import Rules, chosen, eligible

RULES = Rules(top=2, max_spread_bp=5.0, min_volume=D(1_000), deny=frozenset({"SHIBUSDT"}))


def contract(name: str, **changes: object) -> Instrument:
    return msgspec.structs.replace(SOL, symbol=name, **changes)


def day(name: str, volume: int, bid: str = "100", ask: str = "100.01") -> DayTicker:
    return DayTicker(name, D(volume), D(bid), D(ask))


def test_the_largest_come_first_and_equal_ones_by_name() -> None:
    names = ["BUSDT", "AUSDT", "CUSDT"]
    tickers = [day("BUSDT", 5_000), day("AUSDT", 5_000), day("CUSDT", 9_000), day("NOTLISTED", 99_000)]
    assert eligible([contract(n) for n in names], tickers, RULES).ranked == ("CUSDT", "AUSDT", "BUSDT")


@pytest.mark.parametrize(
    ("terms", "row", "why"),
    [
        ({}, day("XUSDT", 999), "volume 999 below 1000"),
        ({}, day("XUSDT", 5_000, "100", "100.06"), "spread 6.0 bp above 5.0"),
        ({}, day("XUSDT", 5_000, "0", "100"), "no bid or ask"),
        ({}, day("XUSDT", 5_000, "101", "100"), "no bid or ask"),
        ({"status": "maintain"}, day("XUSDT", 5_000), "status maintain"),
        ({"off_time_ms": 1}, day("XUSDT", 5_000), "about to be delisted"),
        ({"limit_open_time_ms": 1}, day("XUSDT", 5_000), "about to be delisted"),
    ],
)
def test_each_rule_refuses_in_words(terms: dict[str, object], row: DayTicker, why: str) -> None:
    choice = eligible([contract("XUSDT", **terms)], [row], RULES)
    assert (choice.ranked, choice.refused) == ((), {"XUSDT": why})
    assert eligible([contract("XUSDT")], [day("XUSDT", 1_000, "100", "100.04")], RULES).ranked == ("XUSDT",)


def test_what_is_denied_is_never_chosen() -> None:
    choice = eligible([contract("SHIBUSDT")], [day("SHIBUSDT", 99_000)], RULES)
    assert (choice.ranked, choice.refused) == ((), {"SHIBUSDT": "denied"})


def test_a_symbol_stays_in_while_it_is_near_the_edge_and_leaves_beyond() -> None:
    ranked = ["A", "B", "C", "D", "E", "F", "G"]
    assert chosen(ranked, 4, ["C", "D", "E", "F"]) == ("C", "D", "E", "F")
    assert chosen(ranked, 4, ["C", "D", "E", "G"]) == ("A", "C", "D", "E")
    assert chosen(ranked, 4) == ("A", "B", "C", "D")
    assert chosen(ranked, 4, ["gone"]) == ("A", "B", "C", "D")
    assert chosen(["A"], 4, ["B"]) == ("A",)


@given(st.permutations(list("ABCDEFGH")), st.integers(1, 9), st.sets(st.sampled_from("ABCDEFGHXYZ")))
def test_a_universe_is_full_ranked_and_settles(ranked: list[str], top: int, current: set[str]) -> None:
    found = chosen(ranked, top, current)
    assert len(found) == len(set(found)) == min(top, len(ranked))
    assert list(found) == sorted(found, key=ranked.index)
    assert chosen(ranked, top, found) == found
