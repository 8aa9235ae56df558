"""A candle replay: served candles equal recorded ones, and the path between them keeps to them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shared import shared_path
from tests.sim.recordings import START, STEP, candle_columns, last_rows, walk, write
from tradebot.errors import ConfigError, DataError
from tradebot.market.candle import DAY_MS, HOUR_MS, INTERVAL_MS, MINUTE_MS
from tradebot.sim.market import open_market
from tradebot.sim.market.contract import Grid, price_grid
from tradebot.sim.market.path import POINTS, RecordedPaths, split, trace
from tradebot.sim.market.series import CandleColumns
from tradebot.sim.source import MarketSource

N = 600
FOREVER = 10**14


def replay(folder: Path, columns: dict[str, np.ndarray] | None = None, *, for_ms: int = 200 * STEP) -> MarketSource:
    path = write(folder / "test_SOLUSDT_perp_5m.parquet", candle_columns(N) if columns is None else columns)
    return open_market([path], [], 7, for_ms=for_ms, history_days=1)[0]


def test_every_served_candle_equals_the_recorded_one(tmp_path: Path) -> None:
    columns = candle_columns(N)
    market = replay(tmp_path, columns)
    rows = market.candles("5m", 0, FOREVER, market.end_ms)
    assert len(rows) == N
    for i, row in enumerate(rows):
        recorded = tuple(columns[name][i] for name in ("open_time", "open", "high", "low", "close", "volume"))
        assert (row.open_time_ms, row.open, row.high, row.low, row.close, row.volume) == recorded


def test_the_last_state_of_each_candle_in_the_steps_equals_the_recorded_one(tmp_path: Path) -> None:
    market = replay(tmp_path)
    shown = last_rows(walk(market))
    assert len(shown) == 201  # the one before the start, and the 200 traded
    served = {row.open_time_ms: row for row in market.candles("5m", 0, FOREVER, market.end_ms)}
    assert all(served[at] == row for at, row in shown.items())


def test_what_steps_show_of_the_running_candle_is_what_a_query_answers(tmp_path: Path) -> None:
    market = replay(tmp_path, for_ms=6 * STEP)
    for step in walk(market)[:-1]:
        for now in (step.ts_ms, step.ts_ms + 29_999):
            assert market.candles("5m", step.ts_ms - STEP + 1, FOREVER, now)[-1] == step.candles[-1]


def test_steps_come_ten_times_per_candle_on_common_instants(tmp_path: Path) -> None:
    a = write(tmp_path / "x_SOLUSDT_5m.parquet", candle_columns(N))
    b = write(tmp_path / "x_BTCUSDT_5m.parquet", candle_columns(N, seed=2, price=90_000, decimals=1))
    first, second = open_market([a, b], [], 7, for_ms=50 * STEP)
    times = [step.ts_ms for step in walk(first)]
    assert times == [step.ts_ms for step in walk(second)]
    assert times == list(range(first.start_ms, first.end_ms + 1, 30_000))


def test_the_path_of_a_candle_starts_at_its_open_touches_both_extremes_and_ends_at_its_close(tmp_path: Path) -> None:
    columns = candle_columns(N)
    market = replay(tmp_path, columns)
    steps = [step for step in walk(market) if step.trades]
    tick = float(market.instrument.tick)
    for i in range(400, 600):
        low, high = columns["low"][i], columns["high"][i]
        prices = [
            trade.price_ticks * tick
            for step in steps
            if columns["open_time"][i] <= step.ts_ms < columns["open_time"][i] + STEP
            for trade in step.trades
        ]
        if not prices:
            assert columns["volume"][i] == 0.0
            continue
        assert min(prices) >= low - 1e-9
        assert max(prices) <= high + 1e-9
        if columns["volume"][i] > 10:
            assert prices[0] == pytest.approx(columns["open"][i])
            assert prices[-1] == pytest.approx(columns["close"][i])
            assert min(prices) == pytest.approx(low)
            assert max(prices) == pytest.approx(high)


def test_trades_of_a_candle_sum_to_its_volume_exactly(tmp_path: Path) -> None:
    columns = candle_columns(N)
    market = replay(tmp_path, columns)
    lots: dict[int, int] = {}
    for step in walk(market):
        for trade in step.trades:
            assert trade.qty_lots > 0
            start = trade.ts_ms // STEP * STEP
            lots[start] = lots.get(start, 0) + trade.qty_lots
    for i in range(400, 600):
        recorded = round(float(columns["volume"][i]) / float(market.instrument.lot))
        assert lots.get(int(columns["open_time"][i]), 0) == recorded


def test_books_are_ordered_around_the_last_price_and_twenty_levels_deep(tmp_path: Path) -> None:
    market = replay(tmp_path, for_ms=60 * STEP)
    mids: list[float] = []
    for step in walk(market)[:-1]:
        assert step.bids is not None
        assert step.asks is not None
        bids, asks = step.bids, step.asks
        assert len(bids) == len(asks) == 20
        assert bids[0][0] < asks[0][0]
        assert all(a[0] > b[0] > 0 for a, b in pairwise(bids))
        assert all(a[0] < b[0] for a, b in pairwise(asks))
        assert all(size >= 1 for _, size in bids + asks)
        if step.trades:
            last = step.trades[-1]
            assert last.price_ticks == (asks[0][0] if last.side == "buy" else bids[0][0])
        mids.append((bids[0][0] + asks[0][0]) / 2)
        for price in (step.mark, step.index):
            assert min(mids[-3:]) - 1 <= price / market.instrument.tick <= max(mids[-3:]) + 1 or len(mids) < 3


def test_the_book_foretells_nothing_about_its_candle(tmp_path: Path) -> None:
    """Depth follows the candles before: one of ten times the volume shows in the book only after it has ended."""
    (tmp_path / "other").mkdir()
    columns = candle_columns(N)
    busy = {**columns, "volume": columns["volume"].copy()}
    busy["volume"][500] = 10 * columns["volume"][500] + 1000
    ends = int(columns["open_time"][501])
    steps = list(zip(walk(replay(tmp_path, columns)), walk(replay(tmp_path / "other", busy)), strict=True))
    until = [(one, two) for one, two in steps if one.ts_ms < ends]
    assert all((one.bids, one.asks) == (two.bids, two.asks) for one, two in until)
    one, two = next((one, two) for one, two in steps if one.ts_ms == ends)
    assert one.asks is not None
    assert two.asks is not None
    assert sum(size for _, size in two.asks) > sum(size for _, size in one.asks)


def test_longer_candles_are_sums_of_shorter_ones_on_utc_boundaries(tmp_path: Path) -> None:
    market = replay(tmp_path, candle_columns(N, first_ms=START + 7 * STEP))
    now = market.start_ms + 77 * 60_000  # inside a running candle
    base = market.candles("5m", 0, FOREVER, now)
    for name in ("15m", "1h", "4h", "1d"):
        length = INTERVAL_MS[name]
        rows = market.candles(name, 0, FOREVER, now)
        assert rows[0].open_time_ms == -(-(START + 7 * STEP) // length) * length  # the torn first one is left out
        assert rows[-1].open_time_ms == now // length * length
        for row in rows:
            parts = [p for p in base if row.open_time_ms <= p.open_time_ms < row.open_time_ms + length]
            assert (row.open, row.close) == (parts[0].open, parts[-1].close)
            assert (row.high, row.low) == (max(p.high for p in parts), min(p.low for p in parts))
            assert row.volume == pytest.approx(sum(p.volume for p in parts), abs=1e-6)


def test_shorter_candles_together_make_the_recorded_one(tmp_path: Path) -> None:
    columns = candle_columns(N)
    market = replay(tmp_path, columns)
    minutes = market.candles("1m", START, FOREVER, market.end_ms)
    assert len(minutes) == 5 * N
    for i in range(N):
        parts = minutes[5 * i : 5 * i + 5]
        assert parts[0].open_time_ms == columns["open_time"][i]
        assert parts[0].open == columns["open"][i]
        assert parts[-1].close == columns["close"][i]
        assert all(after.open == before.close for before, after in pairwise(parts))
        assert max(p.high for p in parts) == columns["high"][i]
        assert min(p.low for p in parts) == columns["low"][i]
        assert sum(p.volume for p in parts) == pytest.approx(columns["volume"][i], abs=1e-9)
    threes = market.candles("3m", START, FOREVER, market.end_ms)
    assert [row.open_time_ms for row in threes] == list(range(START, market.end_ms, 3 * MINUTE_MS))


def test_shorter_candles_of_any_page_equal_those_of_the_whole(tmp_path: Path) -> None:
    market = replay(tmp_path)
    for name in ("1m", "3m", "5m", "15m"):
        whole = {row.open_time_ms: row for row in market.candles(name, START, FOREVER, market.end_ms)}
        page = market.candles(name, START + 100 * STEP + 1, START + 140 * STEP, market.end_ms)
        assert page
        assert all(whole[row.open_time_ms] == row for row in page)
        assert page[0].open_time_ms > START + 100 * STEP
        assert page[-1].open_time_ms <= START + 140 * STEP


def test_a_query_never_knows_more_than_its_time(tmp_path: Path) -> None:
    market = replay(tmp_path)
    now = market.start_ms + 3 * STEP + 95_000
    for name in INTERVAL_MS:
        rows = market.candles(name, 0, FOREVER, now)
        assert all(row.open_time_ms <= now for row in rows)
    assert market.candles("5m", now + 1, FOREVER, now) == []
    step = None
    while (at := market.next_ms()) is not None and at <= now:
        step = market.step()
    assert step is not None
    assert market.candles("5m", 0, FOREVER, now)[-1] == step.candles[-1]


def test_a_step_does_not_depend_on_where_the_replay_began(tmp_path: Path) -> None:
    late, early = replay(tmp_path, for_ms=40 * STEP), replay(tmp_path, for_ms=200 * STEP)
    tail = [step for step in walk(early) if step.ts_ms >= late.start_ms]
    assert tail == walk(late)


def digest(path: str) -> str:
    market = open_market([path], [], 7, for_ms=50 * STEP)[0]
    return hashlib.sha256(repr(walk(market)).encode()).hexdigest()


def test_two_processes_make_the_same_market(tmp_path: Path) -> None:
    path = write(tmp_path / "test_SOLUSDT_perp_5m.parquet", candle_columns(N))
    code = f"from tests.sim.test_market_candles import digest; print(digest({path!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert other.stdout.strip() == digest(path)


def test_another_seed_moves_otherwise_inside_the_same_candles(tmp_path: Path) -> None:
    path = write(tmp_path / "test_SOLUSDT_perp_5m.parquet", candle_columns(N))
    one, two = (open_market([path], [], seed, for_ms=50 * STEP)[0] for seed in (1, 2))
    assert walk(one) != walk(two)
    prices = [
        [(r.open, r.high, r.low, r.close, r.volume) for r in m.candles("5m", 0, FOREVER, m.end_ms)] for m in (one, two)
    ]
    assert prices[0] == prices[1]


@settings(max_examples=200, deadline=None)
@given(
    low=st.integers(1, 10**7),
    reach=st.integers(0, 10**6),
    where=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    points=st.integers(4, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_candle_has_a_path_through_its_four_prices_in_the_stated_order(
    low: int, reach: int, where: tuple[float, float], points: int, seed: int
) -> None:
    high = low + reach
    o, c = (low + round(part * reach) for part in where)
    draws = np.random.default_rng(seed).random((1, 2 + points))
    path = trace(*(np.array([value]) for value in (o, high, low, c)), points, draws)[0].tolist()
    assert len(path) == points
    assert (path[0], path[-1]) == (o, c)
    assert (max(path), min(path)) == (high, low)
    draws[:, 2:] = 0.5  # without noise: straight lines
    straight = trace(*(np.array([value]) for value in (o, high, low, c)), points, draws)[0].tolist()
    if o not in (low, high):
        low_first = o - low < high - o or (o - low == high - o and c >= o)
        assert (straight.index(low) < straight.index(high)) == low_first


@settings(max_examples=200, deadline=None)
@given(total=st.integers(0, 10**12), weights=st.lists(st.floats(0.01, 10.0), min_size=4, max_size=20))
def test_a_volume_is_split_without_loss(total: int, weights: list[float]) -> None:
    parts = split(np.array([total]), np.array([weights]))[0].tolist()
    assert sum(parts) == total
    assert min(parts) >= (1 if total >= len(weights) else 0)


def test_prices_off_every_grid_are_served_as_recorded(tmp_path: Path) -> None:
    columns = candle_columns(60)
    for name in ("open", "high", "low", "close"):
        columns[name] = columns[name] * (1 + 1e-12 * np.pi)
    market = replay(tmp_path, columns, for_ms=20 * STEP)
    served = {row.open_time_ms: row for row in market.candles("5m", 0, FOREVER, market.end_ms)}
    assert [row.high for row in served.values()] == columns["high"].tolist()
    assert all(served[at] == row for at, row in last_rows(walk(market)).items())


def test_tick_and_lot_follow_from_the_recorded_numbers(tmp_path: Path) -> None:
    market = replay(tmp_path)
    assert (str(market.instrument.tick), str(market.instrument.lot)) == ("0.01", "0.1")
    assert price_grid(np.array([1000.05, 2000.10])) == Grid(2, 5)
    assert price_grid(np.array([1000.05, 2000.11])) == Grid(2)
    columns = candle_columns(60, price=0.02, decimals=4)
    path = write(tmp_path / "x_ABCUSDT_5m.parquet", columns)
    cheap = open_market([path], [], 1, for_ms=10 * STEP)[0].instrument
    assert columns["low"].min() / float(cheap.tick) >= 500


def test_other_candle_lengths_move_ten_times_per_candle_too(tmp_path: Path) -> None:
    columns = candle_columns(300, step_ms=HOUR_MS)
    path = write(tmp_path / "x_SOLUSDT_1h.parquet", columns)
    market = open_market([path], [], 1, for_ms=DAY_MS)[0]
    steps = walk(market)
    assert len(steps) == 24 * POINTS + 1
    fives = market.candles("5m", market.start_ms, FOREVER, market.start_ms + 5 * HOUR_MS + 17 * MINUTE_MS)
    assert [row.open_time_ms for row in fives] == [market.start_ms + i * STEP for i in range(5 * 12 + 4)]
    hour = [row for row in fives if row.open_time_ms < market.start_ms + HOUR_MS]
    recorded = market.candles("1h", market.start_ms, market.start_ms, market.end_ms)[0]
    assert max(row.high for row in hour) == recorded.high
    assert sum(row.volume for row in hour) == pytest.approx(recorded.volume)


def test_points_per_candle_may_be_chosen_up_to_twenty() -> None:
    rows = CandleColumns(np.array([START]), *(np.array([1.0]) for _ in range(6)))
    assert RecordedPaths(rows, Grid(2), Grid(0), 1, 20).block(0, 1).ticks.shape == (1, 20)
    with pytest.raises(ValueError, match="4…20"):
        RecordedPaths(rows, Grid(2), Grid(0), 1, 21)


def test_the_last_part_of_a_file_is_traded_and_the_rest_is_history(tmp_path: Path) -> None:
    path = write(tmp_path / "x_SOLUSDT_5m.parquet", candle_columns(2000))
    end = START + 2000 * STEP
    market = open_market([path], [], 1, for_ms=DAY_MS, history_days=3)[0]
    assert (market.start_ms, market.end_ms) == (end - DAY_MS, end)
    half = open_market([path], [], 1)[0]
    assert (half.start_ms, half.end_ms) == (START + 1000 * STEP, end)
    longer = open_market([path], [], 1, for_ms=30 * DAY_MS, history_days=3)[0]
    assert (longer.start_ms, longer.end_ms) == (START + 3 * DAY_MS, end)
    chosen = open_market([path], [], 1, for_ms=DAY_MS, start_ms=START + DAY_MS + 1)[0]
    assert (chosen.start_ms, chosen.end_ms) == (START + DAY_MS + STEP, START + 2 * DAY_MS + STEP)


def test_several_symbols_trade_what_their_files_have_in_common(tmp_path: Path) -> None:
    a = write(tmp_path / "x_SOLUSDT_5m.parquet", candle_columns(1000))
    b = write(
        tmp_path / "x_BTCUSDT_5m.parquet", candle_columns(1000, first_ms=START + 200 * STEP, price=9e4, decimals=1)
    )
    markets = open_market([a, b], ["BTCUSDT", "SOLUSDT"], 1, for_ms=DAY_MS)
    assert [m.instrument.symbol for m in markets] == ["BTCUSDT", "SOLUSDT"]
    assert {(m.start_ms, m.end_ms) for m in markets} == {(START + 1000 * STEP - DAY_MS, START + 1000 * STEP)}
    assert all(m.candles("5m", 0, FOREVER, FOREVER)[-1].open_time_ms == START + 999 * STEP for m in markets)
    assert [m.instrument.symbol for m in open_market([a, b], ["btcusdt"], 1)] == ["BTCUSDT"]


def test_recorded_funding_is_the_rate_of_the_settlement_to_come(tmp_path: Path) -> None:
    funding = {
        "symbol": np.array(["SOLUSDT", "SOLUSDT"]),
        "funding_time": START + 8 * HOUR_MS * np.array([4, 5]),
        "funding_rate": np.array([0.00031, -0.00007]),
    }
    path = write(tmp_path / "x_SOLUSDT_5m.parquet", candle_columns(N))
    rates = write(tmp_path / "funding.parquet", funding)
    market = open_market([path, rates], [], 1, for_ms=DAY_MS)[0]
    seen = {step.ts_ms: str(step.funding_rate) for step in walk(market)}
    assert seen[START + 32 * HOUR_MS] == "0.00031"
    assert seen[START + 32 * HOUR_MS + 30_000] == "-0.00007"
    assert seen[START + 40 * HOUR_MS + 30_000] == "0.0001"


def test_files_that_make_no_market_are_refused_in_one_line(tmp_path: Path) -> None:
    good = write(tmp_path / "x_SOLUSDT_5m.parquet", candle_columns(N))
    again = write(tmp_path / "y_SOLUSDT_5m.parquet", candle_columns(N))
    apart = write(tmp_path / "x_BTCUSDT_5m.parquet", candle_columns(N, first_ms=START + 10_000 * STEP))
    funding = write(
        tmp_path / "funding.parquet",
        {"symbol": np.array(["A"]), "funding_time": np.array([START]), "funding_rate": np.array([0.0])},
    )
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[str], list[str], type[Exception], str]] = [
        ([good, again], [], DataError, "y_SOLUSDT.*: begins 2026-01-05 00:00:00 UTC, before .* has ended"),
        ([good, good], [], DataError, "given twice; name it once"),
        ([str(tmp_path / "empty")], [], DataError, "no parquet file lies in this folder"),
        ([good, apart], [], DataError, "too little time in common to trade .*of the same time"),
        ([good], ["ETHUSDT"], ConfigError, "no market file for ETHUSDT: the files given hold SOLUSDT"),
        ([funding], [], DataError, "funding alone makes no market"),
        ([str(tmp_path / "none_SOLUSDT.parquet")], [], DataError, "no such file"),
        ([], ["SOL"], ConfigError, "unknown symbol SOL"),
    ]
    for paths, symbols, error, line in cases:
        with pytest.raises(error, match=line) as refused:
            open_market(paths, symbols, 1)
        assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="lies outside the data"):
        open_market([good], [], 1, start_ms=START - DAY_MS)
    with pytest.raises(DataError, match="no candle interval '7m'"):
        open_market([good], [], 1)[0].candles("7m", 0, 1, 1)


def test_a_real_file_is_served_as_recorded() -> None:
    path = shared_path("data/market/candles/bybit_SOLUSDT_perp_5m.parquet")
    market = open_market([str(path)], [], 1, for_ms=DAY_MS)[0]
    shown = last_rows(walk(market))
    served = market.candles("5m", 0, FOREVER, market.end_ms)
    assert len(served) == 54_432
    assert all(row == shown.get(row.open_time_ms, row) for row in served)
    assert len(shown) == 289
    assert (served[-1].open, served[-1].close, served[-1].volume) == (83.09, 83.15, 8412.0)
