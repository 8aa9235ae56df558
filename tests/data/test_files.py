"""Recorded files are read exactly or refused with one line that says what, where and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shared import shared_path
from tradebot.data.files import (
    file_kind,
    read_books,
    read_candles,
    read_funding,
    read_trades,
    symbol_of,
)
from tradebot.errors import DataError

START = 1_767_571_200_000  # 2026-01-05 00:00 UTC
STEP = 300_000

Columns = dict[str, Any]


def write(path: Path, columns: Columns) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def candles(n: int = 12) -> Columns:
    close = 100.0 + np.arange(n) * 0.5
    opened = close - 0.5
    return {
        "open_time": START + STEP * np.arange(n, dtype=np.int64),
        "open": opened,
        "high": close + 0.25,
        "low": opened - 0.25,
        "close": close,
        "volume": 10.0 + np.arange(n),
    }


def books(n: int = 6, levels: int = 3) -> Columns:
    columns: Columns = {"ts_ms": START + 1000 * np.arange(n, dtype=np.int64)}
    for i in range(levels):
        columns[f"ask_px_{i + 1}"] = np.full(n, 100.1 + 0.1 * i)
        columns[f"ask_sz_{i + 1}"] = np.full(n, 1.0 + i)
        columns[f"bid_px_{i + 1}"] = np.full(n, 100.0 - 0.1 * i)
        columns[f"bid_sz_{i + 1}"] = np.full(n, 2.0 + i)
    return columns


def trades(n: int = 5) -> Columns:
    return {
        "recv_ms": START + 700 * np.arange(n, dtype=np.int64),
        "trade_ms": START + 700 * np.arange(n, dtype=np.int64) - 90,
        "price": np.full(n, 100.05),
        "size": np.full(n, 0.5),
    }


def funding() -> Columns:
    return {
        "symbol": ["SOLUSDT", "SOLUSDT", "BTCUSDT"],
        "funding_time": np.array([START, START + 28_800_000, START], dtype=np.int64),
        "funding_rate": [0.0001, -0.00002, 0.00005],
    }


def without(columns: Columns, *rows: int) -> Columns:
    return {name: np.delete(np.asarray(values), rows) for name, values in columns.items()}


def changed(columns: Columns, name: str, row: int, value: float) -> Columns:
    values = np.array(columns[name])
    values[row] = value
    return {**columns, name: values}


def again(columns: Columns, row: int) -> Columns:
    return {name: np.insert(np.asarray(values), row, np.asarray(values)[row]) for name, values in columns.items()}


def swapped(columns: Columns, a: int, b: int) -> Columns:
    order = np.arange(len(next(iter(columns.values()))))
    order[[a, b]] = order[[b, a]]
    return {name: np.asarray(values)[order] for name, values in columns.items()}


def test_a_good_candle_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    columns = candles()
    table = read_candles(write(tmp_path / "SOLUSDT_5m.parquet", columns))
    assert table.interval_ms == STEP
    assert table.end_ms == START + 12 * STEP
    for name in ("open_time", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(table, name), columns[name])
        assert not getattr(table, name).flags.writeable


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda c: without(c, 5), r"1 gap \(1 missing candle\), first after 2026-01-05 00:20:00 UTC; download"),
        (lambda c: without(c, 3, 4, 8), r"2 gaps \(3 missing candles\), first after 2026-01-05 00:10:00 UTC"),
        (lambda c: again(c, 4), r"1 duplicate candle, first at 2026-01-05 00:20:00 UTC; keep one row"),
        (lambda c: swapped(c, 6, 7), r"1 candle out of order, first at 2026-01-05 00:30:00 UTC; sort"),
        (lambda c: changed(c, "close", 2, np.nan), r"1 row with a value that is not finite, first at 2026-01-05 00:10"),
        (lambda c: changed(c, "volume", 2, np.inf), r"1 row with a value that is not finite"),
        (lambda c: changed(c, "low", 1, 0.0), r"1 row with a price that is not positive, first at 2026-01-05 00:05"),
        (lambda c: changed(c, "volume", 1, -1.0), r"1 row with a negative volume"),
        (lambda c: changed(c, "high", 3, 100.0), r"1 row with open or close outside \[low, high\], first at .* 00:15"),
        (lambda c: changed(c, "low", 3, 102.0), r"1 row with open or close outside \[low, high\]"),
        (lambda c: without(c, *range(1, 12)), r"holds 1 candle; at least 2"),
        (lambda c: {**c, "open_time": c["open_time"] // 1000}, r"open_time is not in milliseconds since 1970"),
        (lambda c: {**c, "open_time": c["open_time"] + 1000}, r"do not start on UTC boundaries of 300 s"),
        (lambda c: {**c, "open_time": START + 7000 * np.arange(12)}, r"candles are 7 s apart, which is no known"),
        (lambda c: {**c, "open_time": c["open_time"].astype(float)}, r"column open_time must hold a whole number"),
        (lambda c: {**c, "close": [str(v) for v in c["close"]]}, r"column close must hold a number, has type"),
        (lambda c: {**c, "close": [None, *c["close"][1:]]}, r"1 empty value in column close"),
        (lambda c: {k: v for k, v in c.items() if k != "volume"}, r"not a file of candles: lacks column volume"),
    ],
)
def test_a_bad_candle_file_is_refused_in_one_line(
    tmp_path: Path, spoil: Callable[[Columns], Columns], line: str
) -> None:
    path = write(tmp_path / "SOLUSDT_5m.parquet", spoil(candles()))
    with pytest.raises(DataError, match=line) as refused:
        read_candles(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 65


def test_a_file_that_is_missing_a_folder_or_no_parquet_is_refused_in_one_line(tmp_path: Path) -> None:
    text = tmp_path / "text.parquet"
    text.write_text("open_time,open\n1,2\n")
    torn = write(tmp_path / "torn.parquet", candles(2000))
    torn.write_bytes(torn.read_bytes()[:-40])
    empty = tmp_path / "empty.parquet"
    empty.touch()
    for path, line in (
        (tmp_path / "none.parquet", "no such file"),
        (tmp_path, "is a folder"),
        (text, "not a readable parquet file"),
        (torn, "not a readable parquet file"),
        (empty, "not a readable parquet file"),
    ):
        with pytest.raises(DataError, match=line) as refused:
            read_candles(path)
        assert "\n" not in str(refused.value)


def test_damage_inside_a_parquet_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "damaged.parquet", candles(5000))
    content = bytearray(path.read_bytes())
    content[100:2000] = b"\xff" * 1900
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"damaged\.parquet: damaged parquet file") as refused:
        read_candles(path)
    assert "\n" not in str(refused.value)


def test_books_come_back_level_by_level_and_locked_rows_are_kept(tmp_path: Path) -> None:
    locked = changed(books(), "ask_px_1", 2, 100.0)
    table = read_books(write(tmp_path / "b.parquet", {**locked, "age_ms": np.arange(6)}))
    assert table.ask_px.shape == (6, 3)
    np.testing.assert_allclose(table.bid_px[0], [100.0, 99.9, 99.8])
    np.testing.assert_array_equal(table.ask_sz[4], [1.0, 2.0, 3.0])
    assert table.ask_px[2, 0] == table.bid_px[2, 0]
    assert table.age_ms is not None
    assert read_books(write(tmp_path / "c.parquet", books())).age_ms is None


def test_rows_left_out_of_a_book_file_are_no_error(tmp_path: Path) -> None:
    assert read_books(write(tmp_path / "b.parquet", without(books(), 2, 3))).ts_ms.size == 4


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda c: changed(c, "ask_px_1", 3, 99.95), r"1 row with a crossed book .*, first at 2026-01-05 00:00:03 UTC"),
        (lambda c: changed(c, "bid_px_2", 1, 100.0), r"1 row with price levels out of order, first at .* 00:00:01"),
        (lambda c: changed(c, "ask_sz_2", 1, 0.0), r"1 row with a ask_sz that is not positive"),
        (lambda c: changed(c, "bid_px_3", 1, np.nan), r"1 row with a bid_px that is not finite"),
        (lambda c: again(c, 2), r"1 duplicate book row, first at 2026-01-05 00:00:02 UTC"),
        (lambda c: swapped(c, 2, 3), r"1 book row out of order"),
        (lambda c: without(c, *range(5)), r"holds 1 book row"),
        (
            lambda c: {k: v for k, v in c.items() if k != "bid_sz_2"},
            r"not a file of order books: lacks column bid_sz_2",
        ),
    ],
)
def test_a_bad_book_file_is_refused_in_one_line(tmp_path: Path, spoil: Callable[[Columns], Columns], line: str) -> None:
    path = write(tmp_path / "BTCUSDT_1s_l10.parquet", spoil(books()))
    with pytest.raises(DataError, match=line) as refused:
        read_books(path)
    assert "\n" not in str(refused.value)


def test_trade_times_that_are_no_milliseconds_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", changed(trades(), "trade_ms", 2, START // 1000))
    with pytest.raises(DataError, match=r"1 row with a trade_ms that is not in milliseconds since 1970, first at .*ms"):
        read_trades(path)


def test_trades_may_share_a_time_but_not_run_backwards(tmp_path: Path) -> None:
    table = read_trades(write(tmp_path / "t.parquet", again(trades(), 2)))
    assert table.recv_ms.size == 6
    assert table.buyer_is_maker is None
    with pytest.raises(DataError, match="1 trade out of order"):
        read_trades(write(tmp_path / "t.parquet", swapped(trades(), 1, 2)))
    with pytest.raises(DataError, match="1 row with a price or size that is not positive"):
        read_trades(write(tmp_path / "t.parquet", changed(trades(), "size", 0, 0.0)))
    with pytest.raises(DataError, match="1 row with a value that is not finite"):
        read_trades(write(tmp_path / "t.parquet", changed(trades(), "price", 0, np.nan)))


def test_the_recorded_taker_side_is_read(tmp_path: Path) -> None:
    sides = [True, False, False, True, False]
    table = read_trades(write(tmp_path / "t.parquet", {**trades(), "buyer_is_maker": sides}))
    assert table.buyer_is_maker is not None
    assert table.buyer_is_maker.tolist() == sides


def test_funding_is_sorted_by_symbol_and_repeats_are_refused(tmp_path: Path) -> None:
    table = read_funding(write(tmp_path / "f.parquet", swapped(funding(), 0, 1)))
    assert list(table.rates) == ["BTCUSDT", "SOLUSDT"]
    assert table.rates["SOLUSDT"][1].tolist() == [0.0001, -0.00002]
    with pytest.raises(DataError, match="1 row with a repeated settlement of SOLUSDT"):
        read_funding(write(tmp_path / "f.parquet", again(funding(), 1)))


def test_the_kind_of_a_file_is_told_by_its_columns(tmp_path: Path) -> None:
    assert file_kind(write(tmp_path / "a.parquet", candles())) == "candles"
    assert file_kind(write(tmp_path / "b.parquet", books())) == "books"
    assert file_kind(write(tmp_path / "c.parquet", trades())) == "trades"
    assert file_kind(write(tmp_path / "d.parquet", funding())) == "funding"
    with pytest.raises(DataError, match="no market data this program knows"):
        file_kind(write(tmp_path / "e.parquet", {"x": [1]}))


@pytest.mark.parametrize(
    ("argument", "symbol"),
    [
        ("data/bybit_SOLUSDT_perp_5m.parquet", "SOLUSDT"),
        ("standx_BTCUSD_perp_20260105_1s_l10.parquet", "BTCUSDT"),
        ("hyperliquid_SOL_perp_20250904_1s_l10.parquet", "SOLUSDT"),
        ("multivenue_20240808_binance_ETHUSDT_spot_1s_l10.parquet", "ETHUSDT"),
        ("btcusdt-5m.parquet", "BTCUSDT"),
        ("ethusdt=whatever.parquet", "ETHUSDT"),
    ],
)
def test_the_symbol_is_told_by_the_name_or_said_outright(argument: str, symbol: str) -> None:
    assert symbol_of(argument)[0] == symbol


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("prices.parquet", "cannot tell the symbol"),
        ("binance_ETHBTC_spot_20201101_1s_l10.parquet", "cannot tell the symbol"),
        ("binance_BTCUSD_coinm_1s_l10.parquet", "coin-margined"),
        ("ETHBTC=x.parquet", "ETHBTC is no USDT symbol"),
    ],
)
def test_a_name_without_a_symbol_is_refused_with_the_remedy(argument: str, line: str) -> None:
    with pytest.raises(DataError, match=f"{line}.*=") as refused:
        symbol_of(argument)
    assert "\n" not in str(refused.value)


def test_real_candles_with_exchange_outages_are_refused() -> None:
    path = shared_path("data/market/candles/binance_SOLUSDT_spot_1h.parquet")
    with pytest.raises(DataError, match=r"10 gaps \(20 missing candles\), first after 2020-"):
        read_candles(path)


def test_real_books_with_locked_rows_are_read() -> None:
    table = read_books(shared_path("data/market/lob/standx_BTCUSD_perp_20260105_1s_l10.parquet"))
    assert table.ask_px.shape == (176_565, 10)
    assert int((table.ask_px[:, 0] == table.bid_px[:, 0]).sum()) == 82_036
