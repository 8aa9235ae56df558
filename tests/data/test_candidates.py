"""Ranking symbols, the list they are kept in, and coverage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.history import MONDAY, ListedCandles
from tests.data.test_collect import WEEK, fetch
from tests.sim.clients import bench
from tests.sim.walk import HISTORY_MS, START_MS, WalkSource
from tradebot.data.candidates import Candidate, coverage, rank_symbols, read_candidates, write_candidates
from tradebot.data.patience import Patience
from tradebot.data.store import Store
from tradebot.errors import DataError
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.candle import DAY_MS


async def test_symbols_are_ranked_by_mean_daily_quote_volume_with_days_before_listing_as_nothing() -> None:
    sources = [WalkSource("SOLUSDT"), WalkSource("BTCUSDT", seed=2), WalkSource("ETHUSDT", seed=3)]
    means = {
        source.instrument.symbol: sum(
            row.quote_volume for row in source.candles("1d", START_MS - HISTORY_MS, START_MS - 1, START_MS)
        )
        / 5
        for source in sources
    }
    heard: list[tuple[int, int]] = []
    async with bench(sources) as b, BitgetRest(b.server.rest_url) as rest:
        ranked = await rank_symbols(rest, 2, 5, Patience(4), heard=lambda done, of: heard.append((done, of)))
    best = sorted(means, key=lambda symbol: -means[symbol])
    assert [(one.rank, one.symbol) for one in ranked] == [(1, best[0]), (2, best[1])]
    assert [one.mean_daily_quote_volume for one in ranked] == [pytest.approx(means[symbol]) for symbol in best[:2]]
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_a_list_reads_back_and_a_bad_line_is_told_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "candidates.txt"
    listed = [Candidate(1, "ETHUSDT", 18_662_928_909.25), Candidate(2, "BTCUSDT", 15_460_089_107.0)]
    write_candidates(path, listed, "about")
    assert path.read_text() == (
        "# rank symbol mean_daily_quote_volume_usdt\n# about\n1\tETHUSDT\t18662928909.25\n2\tBTCUSDT\t15460089107.00\n"
    )
    assert read_candidates(path) == listed
    for text, line in (
        ("1 ETHUSDT 5\nETHUSDT\n", r"candidates\.txt:2: expected rank, symbol and volume, has 'ETHUSDT'"),
        ("one ETHUSDT 5\n", r"candidates\.txt:1: expected rank"),
        ("1 ETHUSDT 5\n2 ETHUSDT 4\n", r"candidates\.txt:2: ETHUSDT stands here twice"),
        ("1 eth/usdt 5\n", r"candidates\.txt:1: 'eth/usdt' is no symbol"),
        ("# nothing\n", "names no symbol"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=line):
            read_candidates(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is not text"):
        read_candidates(path)
    with pytest.raises(DataError, match=r"cannot be read .*make it with 'tradebot data symbols'"):
        read_candidates(tmp_path / "none.txt")


async def test_the_most_complete_symbols_come_first(tmp_path: Path) -> None:
    store, source = Store(tmp_path), ListedCandles(MONDAY + 9 * DAY_MS, lacking=frozenset({MONDAY}))
    await fetch(store, source, WEEK[:2])
    found = coverage(store, "bitget", "candle_5m", ["BTCUSDT", "SOLUSDT"], MONDAY, MONDAY + 4 * DAY_MS)
    assert [(one.symbol, one.rows, one.expected) for one in found] == [
        ("SOLUSDT", 2 * 288 - 1, 4 * 288),
        ("BTCUSDT", 0, 4 * 288),
    ]
    with pytest.raises(DataError, match="funding has no grid"):
        coverage(store, "bitget", "funding", ["SOLUSDT"], MONDAY, MONDAY + DAY_MS)
