"""A book replay: recorded rows level for level, candles from trades, joined to a candle file without a seam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.shared import shared_path
from tests.sim.recordings import START, STEP, book_columns, candle_columns, last_rows, trade_columns, walk, write
from tradebot.errors import DataError
from tradebot.market.candle import HOUR_MS, INTERVAL_MS, Candle
from tradebot.sim.market import open_market
from tradebot.sim.source import MarketSource

FOREVER = 10**14
SECONDS = 1800
LATE = START + 47_000  # books that begin inside a candle
JOIN = START + STEP


def recorded(
    folder: Path,
    *,
    with_trades: bool = True,
    with_history: bool = False,
    first_ms: int = LATE,
    left_out: tuple[int, ...] = (),
    start_ms: int | None = None,
) -> tuple[MarketSource, dict[str, np.ndarray], dict[str, np.ndarray]]:
    books = book_columns(SECONDS, first_ms=first_ms, left_out=left_out)
    trades = trade_columns(books)
    paths = [write(folder / "test_BTCUSD_perp_1s_l10.parquet", books)]
    if with_trades:
        write(folder / "test_BTCUSD_perp_trades.parquet", trades)
    if with_history:
        paths.append(write(folder / "x_BTCUSDT_5m.parquet", candle_columns(300, first_ms=START - 200 * STEP)))
    return open_market(paths, [], 7, start_ms=start_ms)[0], books, trades


def test_every_recorded_row_is_served_level_for_level_at_its_time(tmp_path: Path) -> None:
    market, books, _ = recorded(tmp_path, start_ms=JOIN)
    rows = np.flatnonzero(books["ts_ms"] >= JOIN)
    steps = walk(market)
    assert [step.ts_ms for step in steps] == books["ts_ms"][rows].tolist()
    tick, lot = float(market.instrument.tick), float(market.instrument.lot)
    bids = asks = None
    for row, step in zip(rows, steps, strict=True):
        bids, asks = step.bids or bids, step.asks or asks
        assert bids is not None
        assert asks is not None
        for side, levels in (("bid", bids), ("ask", asks)):
            assert [price * tick for price, _ in levels] == pytest.approx(
                [books[f"{side}_px_{i}"][row] for i in (1, 2, 3)]
            )
            assert [size * lot for _, size in levels] == pytest.approx(
                [books[f"{side}_sz_{i}"][row] for i in (1, 2, 3)]
            )
    assert any(step.bids is None for step in steps)  # equal neighbours are not repeated
    locked = [step for step in steps if step.bids and step.asks and step.bids[0][0] == step.asks[0][0]]
    assert locked


def test_mark_and_index_are_means_of_the_last_seconds_and_begin_anew_after_a_gap(tmp_path: Path) -> None:
    market, books, _ = recorded(tmp_path, start_ms=JOIN, left_out=tuple(range(700, 1310)))
    tick = float(market.instrument.tick)
    mid = (books["ask_px_1"] + books["bid_px_1"]) / 2
    steps = [step for step in walk(market) if step.ts_ms >= JOIN + 20_000]
    for step in steps:
        age_ms = step.ts_ms - books["ts_ms"]
        for told, window_ms in ((step.mark, 5_000), (step.index, 15_000)):
            rows = (age_ms >= 0) & (age_ms < window_ms)
            assert float(told) == pytest.approx(mid[rows].mean(), abs=0.51 * tick)
    resumed = steps[np.argmax(np.diff([step.ts_ms for step in steps])) + 1]
    assert float(resumed.mark) == float(resumed.index) == pytest.approx(mid[700], abs=0.51 * tick)


def test_each_trade_is_told_once_by_the_first_row_after_it(tmp_path: Path) -> None:
    market, books, trades = recorded(tmp_path, start_ms=JOIN)
    told = [(step.ts_ms, trade) for step in walk(market) for trade in step.trades]
    known = (trades["recv_ms"] >= JOIN - 1000) & (trades["recv_ms"] < books["ts_ms"][-1])
    assert [trade.ts_ms for _, trade in told] == trades["trade_ms"][known].tolist()
    for (ts_ms, _), received in zip(told, trades["recv_ms"][known].tolist(), strict=True):
        assert 0 < ts_ms - received <= 1000


def test_a_taker_side_is_inferred_from_the_mid_and_at_the_mid_from_the_last_change(tmp_path: Path) -> None:
    flat = book_columns(700)
    for i in range(3):
        flat[f"ask_px_{i + 1}"][:] = 100.2 + i
        flat[f"bid_px_{i + 1}"][:] = 99.8 - i
    prices = [100.2, 99.8, 100.0, 100.1, 100.0]
    at = START + STEP + 2_000 * np.arange(1, 6)
    trades = {"recv_ms": at, "trade_ms": at, "price": np.array(prices), "size": np.ones(5)}
    path = write(tmp_path / "flat_BTCUSDT_1s_l10.parquet", flat)
    write(tmp_path / "flat_BTCUSDT_trades.parquet", trades)
    sides = [t.side for step in walk(open_market([path], [], 1, start_ms=JOIN)[0]) for t in step.trades]
    assert sides == ["buy", "sell", "buy", "buy", "sell"]


def test_a_recorded_taker_side_is_kept(tmp_path: Path) -> None:
    books = book_columns(SECONDS)
    trades = trade_columns(books)
    maker_bought = np.arange(trades["size"].size) % 3 == 0
    path = write(tmp_path / "x_BTCUSDT_1s_l10.parquet", books)
    write(tmp_path / "x_BTCUSDT_trades.parquet", {**trades, "buyer_is_maker": maker_bought})
    market = open_market([path], [], 1, start_ms=START)[0]
    sides = [trade.side for step in walk(market) for trade in step.trades]
    assert sides == ["sell" if maker else "buy" for maker in maker_bought][: len(sides)]


def test_without_recorded_trades_a_vanished_best_level_counts_as_traded(tmp_path: Path) -> None:
    books = book_columns(SECONDS)
    path = write(tmp_path / "x_BTCUSDT_1s_l10.parquet", books)
    market = open_market([path], [], 1, start_ms=START)[0]
    tick, lot = float(market.instrument.tick), float(market.instrument.lot)
    told = {step.ts_ms: step.trades for step in walk(market)}
    for row in range(1, SECONDS):
        expected = []
        if books["ask_px_1"][row] > books["ask_px_1"][row - 1]:
            expected.append(("buy", books["ask_px_1"][row - 1], books["ask_sz_1"][row - 1]))
        if books["bid_px_1"][row] < books["bid_px_1"][row - 1]:
            expected.append(("sell", books["bid_px_1"][row - 1], books["bid_sz_1"][row - 1]))
        got = [(t.side, t.price_ticks * tick, t.qty_lots * lot) for t in told[int(books["ts_ms"][row])]]
        assert [side for side, _, _ in got] == [side for side, _, _ in expected]
        for (_, price, size), (_, price_, size_) in zip(got, expected, strict=True):
            assert (price, size) == (pytest.approx(price_), pytest.approx(size_))


def by_hand(trades: dict[str, np.ndarray], open_ms: int, before: float) -> tuple[float, ...]:
    inside = (trades["trade_ms"] >= open_ms) & (trades["trade_ms"] < open_ms + STEP)
    prices = [before, *trades["price"][inside].tolist()]
    return before, max(prices), min(prices), prices[-1], round(float(trades["size"][inside].sum()), 6)


def test_candles_are_made_of_the_trades_and_open_at_the_last_price(tmp_path: Path) -> None:
    market, _, trades = recorded(tmp_path, start_ms=JOIN)
    rows = market.candles("5m", 0, FOREVER, market.end_ms)
    assert [row.open_time_ms for row in rows] == [JOIN + i * STEP for i in range(len(rows))]
    assert len(rows) == 6
    before = float(trades["price"][trades["trade_ms"] < JOIN][-1])
    for row in rows[:-1]:
        expected = by_hand(trades, row.open_time_ms, before)
        assert (row.open, row.high, row.low, row.close, round(row.volume, 6)) == pytest.approx(expected)
        before = row.close
    flat = next(row for row in rows if row.volume == 0)
    assert flat.open == flat.high == flat.low == flat.close


def test_a_trade_told_after_the_boundary_belongs_to_the_candle_in_which_it_was_executed(tmp_path: Path) -> None:
    books = book_columns(SECONDS)
    boundary = START + 2 * STEP
    trades = {
        "recv_ms": boundary + np.array([-700, 40, 60, 2_500]),
        "trade_ms": boundary + np.array([-800, 30, -20, 2_600]),  # told out of order; the last by a clock ahead of ours
        "price": np.array([151.0, 152.0, 149.0, 153.0]),
        "size": np.array([1.0, 2.0, 4.0, 8.0]),
    }
    path = write(tmp_path / "x_BTCUSDT_1s_l10.parquet", books)
    write(tmp_path / "x_BTCUSDT_trades.parquet", trades)
    market = open_market([path], [], 1, start_ms=JOIN)[0]
    steps = walk(market)
    told = [(step.ts_ms - boundary, t.ts_ms - boundary) for step in steps for t in step.trades]
    assert told == [(0, -800), (1_000, 30), (1_000, -20), (3_000, 2_500)]
    ended, begun = market.candles("5m", boundary - STEP, boundary, boundary + 10_000)
    assert (ended.close, ended.low, ended.volume) == (149.0, 149.0, 5.0)
    assert (begun.open, begun.high, begun.close, begun.volume) == (149.0, 153.0, 153.0, 10.0)
    assert last_rows(steps)[ended.open_time_ms] == ended
    at_the_boundary = next(step for step in steps if step.ts_ms == boundary)
    assert at_the_boundary.candles[0] == ended  # complete when it is told as ended


def test_steps_and_queries_agree_at_every_row(tmp_path: Path) -> None:
    market, _, _ = recorded(tmp_path, start_ms=JOIN, with_history=True, left_out=tuple(range(700, 1310)))
    state: dict[int, Candle] = {}
    for step in walk(market):
        state.update({row.open_time_ms: row for row in step.candles})
        begins = step.ts_ms // STEP * STEP
        for now in (step.ts_ms, min(step.ts_ms + 999, market.end_ms)):
            rows = market.candles("5m", begins - STEP, begins, now)
            assert [row.open_time_ms for row in rows] == [begins - STEP, begins]
            assert [state[row.open_time_ms] for row in rows] == rows


def test_rows_left_out_over_several_candles_close_them_all_at_the_next_row(tmp_path: Path) -> None:
    # row 700 … 1309 are missing: 00:12:27 to 00:22:36
    market, _, _ = recorded(tmp_path, start_ms=JOIN, left_out=tuple(range(700, 1310)))
    steps = walk(market)
    after = next(step for step in steps if step.ts_ms >= LATE + 1_310_000)
    assert [row.open_time_ms for row in after.candles] == [START + i * STEP for i in (2, 3, 4)]
    during = LATE + 1_000_000
    assert market.candles("5m", 0, FOREVER, during)[-1].open_time_ms == START + 2 * STEP
    opens = [row.open_time_ms for row in market.candles("5m", 0, FOREVER, market.end_ms)]
    assert opens == list(range(JOIN, opens[-1] + 1, STEP))


def test_candles_before_the_books_come_from_the_file_and_join_without_gap_or_duplicate(tmp_path: Path) -> None:
    market, _, _ = recorded(tmp_path, with_history=True)
    history = candle_columns(300, first_ms=START - 200 * STEP)
    assert market.start_ms == JOIN  # the first full interval of the books
    rows = market.candles("5m", 0, FOREVER, market.end_ms)
    opens = [row.open_time_ms for row in rows]
    assert opens == list(range(START - 200 * STEP, opens[-1] + 1, STEP))
    for i, row in enumerate(rows[:201]):
        assert (row.open, row.high, row.low, row.close, row.volume) == tuple(
            history[name][i] for name in ("open", "high", "low", "close", "volume")
        )
    alone, _, _ = recorded(tmp_path, start_ms=JOIN)
    assert rows[201:] == alone.candles("5m", 0, FOREVER, alone.end_ms)
    first = market.step()
    assert [row.open_time_ms for row in first.candles] == [START, JOIN]
    assert first.candles[0] == rows[200]


@pytest.mark.parametrize("interval", ["1m", "3m", "15m", "1h"])
def test_other_intervals_run_through_the_join(tmp_path: Path, interval: str) -> None:
    market, _, _ = recorded(tmp_path, with_history=True)
    length = INTERVAL_MS[interval]
    rows = market.candles(interval, 0, FOREVER, market.end_ms)
    first = START - 200 * STEP
    assert [row.open_time_ms for row in rows] == list(
        range(-(-first // length) * length, market.end_ms // length * length + 1, length)
    )
    shorter = "5m" if length % STEP == 0 else "1m"
    base = market.candles(shorter, rows[0].open_time_ms, FOREVER, market.end_ms)
    assert sum(row.volume for row in rows) == pytest.approx(sum(row.volume for row in base))
    assert max(row.high for row in rows) == max(row.high for row in base)
    for row in rows:
        parts = [p for p in base if row.open_time_ms <= p.open_time_ms < row.open_time_ms + length]
        if length > INTERVAL_MS[shorter]:
            assert (row.open, row.close) == (parts[0].open, parts[-1].close)
            assert (row.high, row.low) == (max(p.high for p in parts), min(p.low for p in parts))


def test_a_history_that_does_not_reach_the_books_is_refused(tmp_path: Path) -> None:
    books = write(tmp_path / "x_BTCUSDT_1s_l10.parquet", book_columns(SECONDS, first_ms=LATE))
    cases = [
        (candle_columns(100, first_ms=START - 101 * STEP), "ends 2026-01-04 23:55:00 UTC, before the first full"),
        (candle_columns(100, first_ms=JOIN), "starts 2026-01-05 00:05:00 UTC, not before the first full"),
        (candle_columns(100, first_ms=START - 50 * HOUR_MS, step_ms=HOUR_MS), "must be 5m candles, these are 60m"),
    ]
    for columns, line in cases:
        history = write(tmp_path / "h_BTCUSDT.parquet", columns)
        with pytest.raises(DataError, match=line) as refused:
            open_market([books, history], [], 1)
        assert "\n" not in str(refused.value)


def test_books_too_short_for_a_candle_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x_BTCUSDT_1s_l10.parquet", book_columns(200, first_ms=LATE))
    with pytest.raises(DataError, match="too little data to trade"):
        open_market([path], [], 1)


def test_trades_alone_make_no_market(tmp_path: Path) -> None:
    path = write(tmp_path / "x_BTCUSDT_trades.parquet", trade_columns(book_columns(SECONDS)))
    with pytest.raises(DataError, match="trades alone make no market of BTCUSDT; add its order books"):
        open_market([path], [], 1)


def test_real_books_join_real_candles_of_the_same_symbol() -> None:
    books = shared_path("data/market/lob/standx_BTCUSD_perp_20260105_1s_l10.parquet")
    candles = shared_path("data/market/candles/bybit_BTCUSDT_perp_5m.parquet")
    (market,) = open_market([str(books), str(candles)], ["BTCUSDT"], 7, for_ms=2 * HOUR_MS)
    assert str(market.instrument.tick) == "0.01"
    rows = market.candles("5m", 0, FOREVER, market.end_ms)
    opens = [row.open_time_ms for row in rows]
    assert opens == list(range(opens[0], opens[-1] + 1, STEP))
    assert len(opens) > 30_000
    steps = walk(market)
    assert len(steps) > 7_000
    served = {row.open_time_ms: row for row in rows}
    assert all(served[at] == row for at, row in last_rows(steps).items())
    join = opens.index(1_767_653_700_000)  # 2026-01-05 22:55, the first full interval of the books
    assert abs(rows[join].open / rows[join - 1].close - 1) < 0.002
