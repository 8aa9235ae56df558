"""DeepLOB arrays: the exact columns, honest forward returns, and nothing lost on the way there and back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.history import MONDAY
from tests.shared import shared_path
from tradebot.data.channels import book_columns
from tradebot.data.deeplob import column_names, forward_returns
from tradebot.data.deeplob_import import import_deeplob
from tradebot.data.exporting import export_csv, export_deeplob
from tradebot.data.folder import file_sha256
from tradebot.data.importing import import_parquet
from tradebot.data.plan import Series
from tradebot.data.store import Store
from tradebot.errors import DataError
from tradebot.market.candle import DAY_MS

BOOKS = ("bitget", "book_1s_l10", "SOLUSDT")


def books(seconds: list[int], seed: int = 1, *, age: bool = False) -> pa.Table:
    """Rows at MONDAY + these seconds."""
    rng = np.random.default_rng(seed)
    rows = len(seconds)
    mid = 10_000 + np.cumsum(rng.integers(-5, 6, rows))
    columns: dict[str, Any] = {"ts_ms": MONDAY + 1000 * np.array(seconds, np.int64)}
    for i, name in enumerate(book_columns(10)):
        level = i // 4
        if name.startswith("ask_px"):
            columns[name] = (mid + 1 + level) / 100
        elif name.startswith("bid_px"):
            columns[name] = (mid - 1 - level) / 100
        else:
            columns[name] = rng.integers(1, 500, rows) / 10
    return pa.table(columns | ({"age_ms": rng.integers(0, 900, rows)} if age else {}))


def stored(root: Path, table: pa.Table) -> Store:
    store = Store(root)
    store.write_days(*BOOKS, table)
    return store


ACROSS_MIDNIGHT = [*range(86_300, 86_380), *range(86_385, 86_500), *range(2 * 86_400 - 5, 2 * 86_400 + 90)]


def test_the_array_has_the_stated_columns_and_the_same_rows_come_back(tmp_path: Path) -> None:
    table = books(ACROSS_MIDNIGHT, age=True)
    store = stored(tmp_path / "a", table)
    exported = export_deeplob(store, "bitget", "SOLUSDT", tmp_path / "out")
    array = np.load(tmp_path / "out" / exported.file)
    assert exported.file == "SOLUSDT_20260105_20260107.npy"
    assert (array.shape, array.dtype) == ((len(ACROSS_MIDNIGHT), 43), np.float64)
    np.testing.assert_array_equal(array[:, 0], table["ts_ms"].to_numpy())
    for i, name in enumerate(["ask_px", "ask_sz", "bid_px", "bid_sz"] * 10):
        np.testing.assert_array_equal(array[:, 1 + i], table[f"{name}_{i // 4 + 1}"].to_numpy())
    sidecar = json.loads((tmp_path / "out" / "SOLUSDT_20260105_20260107.columns.json").read_text())
    assert tuple(column["name"] for column in sidecar["columns"]) == column_names("levels")
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())["files"][0]
    # between 86 380 and 86 385 five rows, and from 86 500 to the end of the next day
    missing = 5 + (2 * 86_400 - 5 - 86_500)
    assert (metadata["rows"], metadata["gaps"], metadata["missing_rows"]) == (len(ACROSS_MIDNIGHT), 2, missing)
    assert metadata["sha256"] == file_sha256(tmp_path / "out" / exported.file)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert exported.sha256 in readme
    assert "| 42 | `return_60s_bp` |" in readme

    again = Store(tmp_path / "b")
    taken = import_deeplob(again, tmp_path / "out" / exported.file)
    assert (taken.rows, taken.added, taken.problems) == (len(ACROSS_MIDNIGHT), len(ACROSS_MIDNIGHT), ())
    assert again.read(*BOOKS).equals(table)
    assert export_deeplob(again, "bitget", "SOLUSDT", tmp_path / "out2") == exported
    assert import_deeplob(again, tmp_path / "out" / exported.file).added == 0


def test_blocks_are_ten_of_each_in_turn_and_come_back_too(tmp_path: Path) -> None:
    table = books(list(range(300)))
    store = stored(tmp_path / "a", table)
    exported = export_deeplob(store, "bitget", "SOLUSDT", tmp_path / "out", layout="blocks")
    array = np.load(tmp_path / "out" / exported.file)
    for block, side in enumerate(("ask_px", "ask_sz", "bid_px", "bid_sz")):
        for i in range(10):
            np.testing.assert_array_equal(array[:, 1 + 10 * block + i], table[f"{side}_{i + 1}"].to_numpy())
    import_deeplob(Store(tmp_path / "b"), tmp_path / "out" / exported.file)
    assert Store(tmp_path / "b").read(*BOOKS).equals(table)


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(86_400 - 90, 86_400 + 89), max_size=6), st.integers(2, 180))
def test_returns_are_of_the_future_row_or_nothing_wherever_gaps_and_midnights_lie(
    tmp_path_factory: pytest.TempPathFactory, gone: set[int], length: int
) -> None:
    at = [second for second in range(86_400 - 90, 86_400 - 90 + length) if second not in gone] or [0, 1]
    folder = tmp_path_factory.mktemp("x")
    table = books(at)
    exported = export_deeplob(stored(folder / "a", table), "bitget", "SOLUSDT", folder / "out")
    array = np.load(folder / "out" / exported.file)
    mids = dict(zip(at, ((table["ask_px_1"].to_numpy() + table["bid_px_1"].to_numpy()) / 2).tolist(), strict=True))
    for row, second in enumerate(at):
        for column, horizon in ((41, 10), (42, 60)):
            if all(second + i in mids for i in range(horizon + 1)):
                expected = math.log(mids[second + horizon] / mids[second]) * 1e4
                assert array[row, column] == pytest.approx(expected, abs=1e-9)
            else:
                assert np.isnan(array[row, column])


def test_a_return_never_sees_past_the_data() -> None:
    times = MONDAY + 1000 * np.arange(30)
    mid = np.linspace(100, 101, 30)
    assert np.isnan(forward_returns(times, mid, 10_000, 30)[20:]).all()
    assert np.isfinite(forward_returns(times, mid, 10_000, 30)[:20]).all()


def test_a_part_of_the_time_can_be_exported(tmp_path: Path) -> None:
    table = books(list(range(86_300, 86_600)))
    store = stored(tmp_path / "a", table)
    exported = export_deeplob(store, "bitget", "SOLUSDT", tmp_path / "out", MONDAY + DAY_MS, MONDAY + DAY_MS + 100_000)
    array = np.load(tmp_path / "out" / exported.file)
    assert (exported.first_ms, exported.last_ms) == (MONDAY + DAY_MS, MONDAY + DAY_MS + 99_000)
    assert np.isnan(array[90:, 41]).all()
    with pytest.raises(DataError, match="nothing stored for that time"):
        export_deeplob(store, "bitget", "SOLUSDT", tmp_path / "out", MONDAY - DAY_MS, MONDAY)


def test_two_markets_of_one_symbol_do_not_overwrite_each_other(tmp_path: Path) -> None:
    store = stored(tmp_path / "a", books(list(range(100))))
    store.write_days("bybit-perp", "book_1s_l10", "SOLUSDT", books(list(range(100)), seed=2))
    export_deeplob(store, "bitget", "SOLUSDT", tmp_path / "out")
    with pytest.raises(DataError, match="of another market already; name another folder"):
        export_deeplob(store, "bybit-perp", "SOLUSDT", tmp_path / "out")
    with pytest.raises(DataError, match=r"with other columns.*for instance --out .*out-book_1s_l10"):
        export_deeplob(store, "bitget", "SOLUSDT", tmp_path / "out", layout="blocks")
    assert len(list((tmp_path / "out").iterdir())) == 4


def _array(rows: int = 100) -> np.ndarray[Any, np.dtype[np.float64]]:
    table = books(list(range(rows)))
    array = np.full((rows, 43), np.nan)
    array[:, 0] = table["ts_ms"].to_numpy()
    for i, name in enumerate(book_columns(10), start=1):
        array[:, i] = table[name].to_numpy()
    return array


def _changed(row: int, column: int, value: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = _array()
    array[row, column] = value
    return array


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (_array().astype(np.float32), "holds float32, expected float64: smaller numbers cannot hold the time"),
        (_array()[:, :42], r"expected an array of shape \(N, 43\), has \(100, 42\)"),
        (_array()[0], r"expected an array of shape \(N, 43\)"),
        (_array()[:0], "holds no rows"),
        (np.array([{"x": 1}] * 43, dtype=object), "not a readable numpy array"),
        (_changed(3, 0, np.nan), "times that are not finite"),
        (_changed(3, 0, MONDAY + 3_500), "times off the grid"),
        (_changed(3, 0, MONDAY + 2_000), "rows out of order or twice, first at 2026-01-05 00:00:02"),
        (_changed(3, 0, MONDAY * 1000.0), "neither ms nor seconds"),
        (_changed(3, 1, 1.0), "1 row with a crossed book .best ask below best bid., first at 2026-01-05 00:00:03"),
        (_changed(3, 5, 1.0), "1 row with levels out of order, first at 2026-01-05 00:00:03"),
        (_changed(3, 2, np.inf), "1 row with a value that is not finite"),
        (_changed(3, 2, 0.0), "1 row with a size or volume"),
    ],
)
def test_an_array_that_cannot_be_right_is_refused_whole_in_one_line(tmp_path: Path, array: Any, line: str) -> None:
    np.save(tmp_path / "SOLUSDT_20260105_20260105.npy", array, allow_pickle=True)
    store = Store(tmp_path / "store")
    with pytest.raises(DataError, match=line) as refused:
        import_deeplob(store, tmp_path / "SOLUSDT_20260105_20260105.npy", exchange="binance-perp", layout="levels")
    assert "\n" not in str(refused.value)
    assert store.files() == []


def test_an_array_from_elsewhere_needs_to_be_told_what_it_is_and_may_count_seconds(tmp_path: Path) -> None:
    array = _array()
    file = tmp_path / "SOLUSDT_20260105_20260105.npy"
    np.save(file, array)
    store = Store(tmp_path / "store")
    with pytest.raises(DataError, match=r"add --exchange and --layout levels\|blocks"):
        import_deeplob(store, file)
    array[:, 0] /= 1000
    np.save(file, array)
    taken = import_deeplob(store, file, exchange="bitget", layout="levels")
    assert str(taken.series) == "bitget/book_1s_l10/SOLUSDT"
    assert store.read(*BOOKS).equals(books(list(range(100))))


def test_a_changed_file_is_noticed_by_its_sha256(tmp_path: Path) -> None:
    store = stored(tmp_path / "a", books(list(range(100)), age=True))
    file = tmp_path / "out" / export_deeplob(store, "bitget", "SOLUSDT", tmp_path / "out").file
    for damaged in (file, file.with_name(f"{file.stem}.age_ms.npy")):
        good = damaged.read_bytes()
        damaged.write_bytes(good[:-8] + bytes(8))
        with pytest.raises(DataError, match=r"differs from its SHA-256 in metadata\.json"):
            import_deeplob(Store(tmp_path / "b"), file)
        damaged.write_bytes(good)
    file.with_name(f"{file.stem}.age_ms.npy").unlink()
    with pytest.raises(DataError, match="is not there"):
        import_deeplob(Store(tmp_path / "b"), file)


def test_csv_reads_back_exactly(tmp_path: Path) -> None:
    table = books(ACROSS_MIDNIGHT)
    exported = export_csv(stored(tmp_path / "a", table), Series(*BOOKS), tmp_path / "out")
    assert exported.file == "bitget_book_1s_l10_SOLUSDT_20260105_20260107.csv"
    read = pa.csv.read_csv(tmp_path / "out" / exported.file)
    assert read.cast(table.schema).equals(table)
    funding = pa.table({"funding_time": [MONDAY, MONDAY + 1], "funding_rate": [0.1 + 0.2, -1e-17]})
    store = Store(tmp_path / "b")
    store.write_days("bitget", "funding", "SOLUSDT", funding)
    exported = export_csv(store, Series("bitget", "funding", "SOLUSDT"), tmp_path / "f")
    assert pa.csv.read_csv(tmp_path / "f" / exported.file).equals(funding)


def test_three_days_of_recorded_books_go_out_and_come_back_unchanged(tmp_path: Path) -> None:
    path = shared_path("data/market/lob/standx_BTCUSD_perp_20260105_1s_l10.parquet")
    store, again = Store(tmp_path / "a"), Store(tmp_path / "b")
    (taken,) = import_parquet(store, str(path))
    assert (str(taken.series), taken.rows) == ("standx-perp/book_1s_l10/BTCUSD", 176_565)
    exported = export_deeplob(store, "standx-perp", "BTCUSD", tmp_path / "out")
    assert (exported.rows, exported.gaps, exported.missing_rows) == (176_565, 9, 147)
    array = np.load(tmp_path / "out" / exported.file, mmap_mode="r")
    source = pq.read_table(path)
    np.testing.assert_array_equal(array[:, 0], source["ts_ms"].to_numpy())
    for i, name in enumerate(column_names("levels")[1:41], start=1):
        np.testing.assert_array_equal(array[:, i], source[name].to_numpy())
    # each of nine gaps and the end cost as many returns as the horizon has seconds
    assert np.isnan(array[:, 41]).sum() == 10 * 10
    assert np.isnan(array[:, 42]).sum() == 10 * 60
    import_deeplob(again, tmp_path / "out" / exported.file)
    original = store.read("standx-perp", "book_1s_l10", "BTCUSD")
    assert again.read("standx-perp", "book_1s_l10", "BTCUSD").equals(original)
    assert original["age_ms"].to_pylist() == source["age_ms"].to_pylist()
    assert export_deeplob(again, "standx-perp", "BTCUSD", tmp_path / "out2").sha256 == exported.sha256
