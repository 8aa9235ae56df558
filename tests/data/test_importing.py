"""Recorded parquet files in the store: every layout, every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.test_files import books, candles, changed, funding, trades, without, write
from tests.shared import shared_path
from tradebot.data.files import read_books, read_candles, read_funding, read_trades
from tradebot.data.importing import import_parquet, parquet_files
from tradebot.data.store import Store
from tradebot.data.verify import verify
from tradebot.errors import DataError


def take(store: Store, *paths: str) -> list[tuple[str, int, int]]:
    return [
        (str(taken.series), taken.rows, taken.added)
        for path in parquet_files(paths)
        for taken in import_parquet(store, path)
    ]


def same(stored: pa.Table, read: Any, *names: str) -> None:
    for name in names:
        np.testing.assert_array_equal(stored[name].to_numpy(), getattr(read, name))


def test_every_kind_of_file_is_taken_in_and_read_as_from_the_file(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    store = Store(tmp_path / "store")
    candle_file = write(files / "binance_SOLUSDT_perp_5m.parquet", candles(288))
    book_file = write(files / "bybit_SOLUSDT_spot_20260105_1s_l3.parquet", books())
    trade_file = write(files / "bitget_SOLUSDT_perp_trades.parquet", trades())
    funding_file = write(files / "bybit_perp_funding.parquet", funding())
    assert take(store, str(files)) == [
        ("binance-perp/candle_5m/SOLUSDT", 288, 288),
        ("bitget/trade/SOLUSDT", 5, 5),
        ("bybit-spot/book_1s_l3/SOLUSDT", 6, 6),
        ("bybit-perp/funding/BTCUSDT", 1, 1),
        ("bybit-perp/funding/SOLUSDT", 2, 2),
    ]
    assert [added for _, _, added in take(store, str(files))] == [0, 0, 0, 0, 0]
    assert store.complete_days("binance-perp", "candle_5m", "SOLUSDT") == {"2026-01-05"}

    table = store.read("binance-perp", "candle_5m", "SOLUSDT")
    same(table, read_candles(candle_file), "open_time", "open", "high", "low", "close", "volume")
    table, books_read = store.read("bybit-spot", "book_1s_l3", "SOLUSDT"), read_books(book_file)
    same(table, books_read, "ts_ms")
    for side in ("ask_px", "ask_sz", "bid_px", "bid_sz"):
        levels = [table[f"{side}_{level}"].to_numpy() for level in (1, 2, 3)]
        np.testing.assert_array_equal(np.column_stack(levels), getattr(books_read, side))
    same(
        store.read("bitget", "trade", "SOLUSDT"), read_trades(trade_file), "recv_ms", "trade_ms", "price", "size"
    )  # fmt: skip
    table, (times, rates) = store.read("bybit-perp", "funding", "SOLUSDT"), read_funding(funding_file).rates["SOLUSDT"]
    np.testing.assert_array_equal(table["funding_time"].to_numpy(), times)
    np.testing.assert_array_equal(table["funding_rate"].to_numpy(), rates)
    assert store.read("bitget", "candle_5m", "SOLUSDT").num_rows == 0


def test_a_gap_is_taken_as_it_is_and_the_day_is_not_complete(tmp_path: Path) -> None:
    path = write(tmp_path / "binance_SOLUSDT_perp_5m.parquet", without(candles(288), 100, 101))
    store = Store(tmp_path / "store")
    assert take(store, str(path)) == [("binance-perp/candle_5m/SOLUSDT", 286, 286)]
    assert store.complete_days("binance-perp", "candle_5m", "SOLUSDT") == set()
    assert [(one.kind, one.rows) for one in verify(store)] == [("gap", 2)]


@pytest.mark.parametrize(
    ("name", "columns", "line"),
    [
        ("binance_SOLUSDT_perp.parquet", changed(candles(), "high", 3, 100.0), "1 row with open or close outside"),
        ("binance_SOLUSDT_perp.parquet", changed(candles(), "close", 3, np.nan), "1 row with a value that is not"),
        ("binance_SOLUSDT_perp.parquet", changed(books(), "ask_px_1", 3, 90.0), "1 row with a crossed book"),
        ("binance_SOLUSDT_perp.parquet", changed(trades(), "size", 3, 0.0), "1 row with a size or volume"),
        ("mine.parquet", candles(), "its name does not tell the exchange; add --exchange"),
        ("binance_perp.parquet", candles(), "its name does not tell the symbol; say it as SYMBOL="),
        ("binance_SOLUSDT_perp.parquet", candles(1), "holds 1 candle; at least 2"),
        ("binance_SOLUSDT_perp.parquet", {"x": [1]}, "no market data this program knows"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_whole_in_one_line(
    tmp_path: Path, name: str, columns: dict[str, Any], line: str
) -> None:
    path = write(tmp_path / name, columns)
    store = Store(tmp_path / "store")
    with pytest.raises(DataError, match=line) as refused:
        take(store, str(path))
    assert "\n" not in str(refused.value)
    assert store.files() == []


def test_paths_that_are_not_there_or_empty_are_refused(tmp_path: Path) -> None:
    for argument, line in (
        (str(tmp_path / "none.parquet"), "no such file"),
        (str(tmp_path), "holds no parquet file"),
        (f"SOLUSDT={tmp_path}", "a folder, name one file"),
    ):
        with pytest.raises(DataError, match=line):
            parquet_files([argument])


def test_rows_that_contradict_stored_ones_are_told_and_do_not_replace_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    take(store, str(write(tmp_path / "binance_SOLUSDT_perp_5m.parquet", candles(12))))
    other = write(tmp_path / "binance_SOLUSDT_perp_5m_again.parquet", changed(candles(14), "volume", 3, 7.0))
    (taken,) = import_parquet(store, str(other))
    assert (taken.added, len(taken.problems)) == (2, 1)
    assert "1 row unlike the stored, first at 2026-01-05 00:15:00 UTC" in taken.problems[0]
    assert store.read("binance-perp", "candle_5m", "SOLUSDT")["volume"].to_pylist() == candles(14)["volume"].tolist()


def test_another_exchange_and_symbol_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.parquet", candles(12))
    (taken,) = import_parquet(Store(tmp_path / "store"), f"ETHUSDT={path}", "kraken-perp")
    assert str(taken.series) == "kraken-perp/candle_5m/ETHUSDT"


@pytest.mark.parametrize(
    ("file", "series"),
    [
        ("lob/binance_NEXOUSDT_spot_20240723_1s_l10.parquet", "binance-spot/book_1s_l10/NEXOUSDT"),
        ("lob/binance_NEXOUSDT_spot_20240723_trades.parquet", "binance-spot/trade/NEXOUSDT"),
        ("lob/multivenue_20240808_binance_BTCUSD_coinm_1s_l10.parquet", "binance-coinm/book_1s_l10/BTCUSD"),
        ("lob/hyperliquid_SOL_perp_20250904_1s_l10.parquet", "hyperliquid-perp/book_1s_l10/SOL"),
    ],
)
def test_recorded_files_come_back_row_by_row(tmp_path: Path, file: str, series: str) -> None:
    path = shared_path(f"data/market/{file}")
    store, source = Store(tmp_path), pq.read_table(path)
    assert [(str(one.series), one.rows, one.problems) for one in import_parquet(store, str(path))] == [
        (series, source.num_rows, ())
    ]
    table = store.read(*series.split("/"))
    for name in table.column_names:
        expected = source[name] if name != "trade_id" else source[name].cast(pa.string())
        assert table[name].to_pylist() == expected.to_pylist(), name
    assert [problem for problem in verify(store) if not problem.harmless] == []


def test_the_gaps_of_a_recorded_file_are_those_its_notes_tell(tmp_path: Path) -> None:
    path = shared_path("data/market/candles/binance_SOLUSDT_spot_1h.parquet")
    source = pq.read_table(path)
    early = source.slice(0, 4_000)
    copy = tmp_path / path.name
    pq.write_table(early, copy)
    store = Store(tmp_path / "store")
    take(store, str(copy))
    found = [problem for problem in verify(store) if problem.kind == "gap"]
    steps = np.diff(early["open_time"].to_numpy()) // 3_600_000
    assert len(found) == (steps > 1).sum() > 2
    assert sum(problem.rows for problem in found) == (steps - 1).sum()
