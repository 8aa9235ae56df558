"""Books renewed between a generated market's own steps: for load."""

from __future__ import annotations

import itertools

import pytest

from tradebot.errors import ConfigError
from tradebot.market.candle import HOUR_MS
from tradebot.sim.market import open_market
from tradebot.sim.market.generated import numbered_symbols
from tradebot.sim.source import MarketSource, MarketStep


def _walk(source: MarketSource, until_ms: int) -> list[MarketStep]:
    steps = []
    while (at := source.next_ms()) is not None and at < until_ms:
        steps.append(source.step())
        assert steps[-1].ts_ms == at
    return steps


def _open(symbols: list[str], every_ms: int | None, seed: int = 3) -> list[MarketSource]:
    return open_market((), symbols, seed, for_ms=HOUR_MS, history_days=8, book_interval_ms=every_ms)


def test_every_book_is_ordered_uncrossed_and_renewed_as_often_as_asked() -> None:
    (market,) = _open(["SOLUSDT"], 100)
    steps = _walk(market, market.start_ms + 60_000)
    assert len(steps) == pytest.approx(600, abs=3)
    renewals = [step for step in steps if not step.candles]
    assert all(a.bids != b.bids or a.asks != b.asks for a, b in itertools.pairwise(renewals))
    for step in steps:
        assert step.bids
        assert step.asks
        assert step.bids[0][0] < step.asks[0][0]
        assert [price for price, _ in step.bids] == sorted({price for price, _ in step.bids}, reverse=True)
        assert [price for price, _ in step.asks] == sorted({price for price, _ in step.asks})
        assert all(lots > 0 for _, lots in (*step.bids, *step.asks))


def test_the_market_underneath_is_told_unchanged_and_to_its_end() -> None:
    (plain,), (renewed,) = _open(["SOLUSDT"], None), _open(["SOLUSDT"], 250)
    own = _walk(plain, plain.end_ms + 1)
    assert [step for step in _walk(renewed, plain.end_ms + 1) if step.candles] == own
    assert renewed.next_ms() is None
    window = (plain.start_ms - HOUR_MS, plain.end_ms, plain.end_ms)
    assert renewed.candles("5m", *window) == plain.candles("5m", *window)


def test_symbols_move_at_their_own_moments_and_equal_seeds_move_alike() -> None:
    markets = _open(numbered_symbols(40), 100)
    first = [_walk(market, market.start_ms + 1_000)[1].ts_ms - market.start_ms for market in markets]
    assert sorted(set(first)) == list(range(100, 200, 5))
    again = _open(numbered_symbols(40), 100)[7]
    other = _open(numbered_symbols(40), 100, seed=4)[7]
    assert _walk(again, again.start_ms + 9_000)[10:] == _walk(markets[7], again.start_ms + 9_000)
    assert _walk(other, again.start_ms + 9_000)[10:] != _walk(again, again.start_ms + 9_000)


def test_recorded_books_are_not_renewed_and_too_short_an_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match="generated markets only"):
        open_market(["books.parquet"], [], 1, book_interval_ms=100)
    with pytest.raises(ConfigError, match="at most every 10 ms"):
        _open(["SOLUSDT"], 9)
