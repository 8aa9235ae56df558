"""The store: what is written is read back, twice is once, and nothing is ever half there."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.eventually import presently
from tradebot.data.channels import channel_of
from tradebot.data.merge import merge
from tradebot.data.store import Store
from tradebot.errors import ConfigError, DataError
from tradebot.market.candle import DAY_MS

MONDAY = 1_767_571_200_000  # 2026-01-05 00:00 UTC
STEP = 300_000


def candles(rows: int = 288, start: int = MONDAY, seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    values = 100 + rng.standard_normal((6, rows)).round(3)
    names = ("open", "high", "low", "close", "volume", "quote_volume")
    return pa.table({"open_time": start + STEP * np.arange(rows)} | dict(zip(names, values, strict=True)))


def trades(rows: list[tuple[int, float, float]], ids: list[str] | None = None) -> pa.Table:
    at, price, size = (list(column) for column in zip(*rows, strict=True))
    columns: dict[str, Any] = {"recv_ms": at, "trade_ms": at, "price": price, "size": size}
    return pa.table(columns | ({"trade_id": ids} if ids else {}))


@pytest.fixture(params=["path", "file url", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    where = tmp_path / "market data"
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
    return {"path": str(where), "file url": f"file://{where}", "memory": "memory://market"}[request.param]


def test_what_is_written_is_read_back_from_any_kind_of_root(root: str) -> None:
    store, rows = Store(root), candles(3 * 288)
    written = store.write_days("bitget", "candle_5m", "SOLUSDT", rows, complete={"2026-01-05"}, source="rest")
    assert (written.added, written.equal, written.differing) == (864, 0, ())
    assert store.read("bitget", "candle_5m", "SOLUSDT").equals(rows)
    assert store.read("bitget", "candle_5m", "SOLUSDT", MONDAY + 1, MONDAY + DAY_MS + 1).equals(rows.slice(1, 288))
    assert store.read("bitget", "candle_5m", "BTCUSDT").num_rows == 0
    found = list(Store(root).partitions())
    assert [p.date for p in found] == ["2026-01-05", "2026-01-06", "2026-01-07"]
    assert [(p.manifest.rows, p.manifest.complete, p.manifest.source) for p in found] == [
        (288, True, "rest"),
        (288, False, "rest"),
        (288, False, "rest"),
    ]
    assert (found[0].manifest.first_ms, found[0].manifest.last_ms) == (MONDAY, MONDAY + 287 * STEP)
    assert store.complete_days("bitget", "candle_5m", "SOLUSDT") == {"2026-01-05"}
    store.rewrite(
        "bitget", "candle_5m", "SOLUSDT", "2026-01-06", rows.slice(300, 200), complete=True, source="x", absent=88
    )
    assert store.read("bitget", "candle_5m", "SOLUSDT").num_rows == 776
    assert [p.manifest.absent for p in store.partitions()] == [0, 88, 0]


def test_writing_the_same_rows_again_leaves_the_file_untouched(tmp_path: Path) -> None:
    store, rows = Store(tmp_path), candles()
    store.write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", rows)
    file = tmp_path / "bitget/candle_5m/SOLUSDT/2026-01-05.parquet"
    before = file.stat()
    again = store.write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", rows.slice(100, 50))
    assert (again.added, again.equal) == (0, 50)
    assert file.stat().st_ino == before.st_ino
    assert sorted(p.name for p in file.parent.iterdir()) == [".lock", "2026-01-05.parquet"]


def test_rows_that_contradict_stored_ones_do_not_replace_them_unless_told(tmp_path: Path) -> None:
    store, rows = Store(tmp_path), candles()
    store.write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", rows.slice(0, 200))
    other = rows.set_column(4, "close", pa.array(np.where(np.arange(288) == 150, 7.0, rows["close"].to_numpy())))
    told = store.write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", other, complete=True)
    assert store.complete_days("bitget", "candle_5m", "SOLUSDT") == set()
    assert (told.added, told.equal, told.differing) == (88, 199, (MONDAY + 150 * STEP,))
    assert store.read("bitget", "candle_5m", "SOLUSDT").equals(rows)
    store.write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", other, replace=True)
    assert store.read("bitget", "candle_5m", "SOLUSDT").equals(other)


def test_prices_are_stored_split_into_byte_streams(tmp_path: Path) -> None:
    Store(tmp_path).write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", candles())
    group = pq.ParquetFile(tmp_path / "bitget/candle_5m/SOLUSDT/2026-01-05.parquet").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert all(column.compression == "ZSTD" for column in columns.values())
    assert "BYTE_STREAM_SPLIT" in columns["close"].encodings
    assert "BYTE_STREAM_SPLIT" not in columns["volume"].encodings
    assert "DELTA_BINARY_PACKED" in columns["open_time"].encodings


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t.drop_columns(["close"]), "not rows of candle_5m: lacks close"),
        (lambda t: t.append_column("mid", t["close"]), "has unknown mid"),
        (lambda t: t.set_column(0, "open_time", pa.array([None, *range(287)])), "1 empty values in column open_time"),
        (lambda t: t.set_column(4, "close", pa.array(["x"] * 288)), "not rows of candle_5m"),
        (lambda t: candles(289), "rows of other days"),
        (lambda t: pa.concat_tables([t, candles(1, seed=2)]), "two different rows for 2026-01-05 00:00:00 UTC"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_one_line(tmp_path: Path, change: Any, line: str) -> None:
    with pytest.raises(DataError, match=line) as refused:
        Store(tmp_path).write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", change(candles()))
    assert "\n" not in str(refused.value)
    assert list(tmp_path.rglob("*.parquet")) == []


@pytest.mark.parametrize(
    ("exchange", "channel", "symbol", "date", "line"),
    [
        ("../x", "candle_5m", "SOLUSDT", "2026-01-05", "no exchange name"),
        ("bitget", "candle_7m", "SOLUSDT", "2026-01-05", "'candle_7m' is no channel"),
        ("bitget", "candle_5m", "sol/usdt", "2026-01-05", "no symbol"),
        ("bitget", "candle_5m", "SOLUSDT", "2026-1-5", "no date"),
        ("bitget", "candle_5m", "SOLUSDT", "20260105", "no date"),
    ],
)
def test_names_that_are_none_are_refused(
    tmp_path: Path, exchange: str, channel: str, symbol: str, date: str, line: str
) -> None:
    with pytest.raises(DataError, match=line):
        Store(tmp_path).write(exchange, channel, symbol, date, candles())


def test_a_root_of_an_unknown_kind_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="data root nowhere://x") as refused:
        Store("nowhere://x")
    assert "\n" not in str(refused.value)


def test_a_flipped_bit_never_changes_a_value(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("bitget", "candle_5m", "SOLUSDT", "2026-01-05", candles())
    file = tmp_path / "bitget/candle_5m/SOLUSDT/2026-01-05.parquet"
    good = file.read_bytes()
    footer = int.from_bytes(good[-8:-4], "little") + 8
    refused = 0
    for at in np.random.default_rng(3).integers(4, len(good) - footer, 60).tolist():
        file.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        try:  # a bit that no value depends on, as those of page statistics, may pass
            assert store.read("bitget", "candle_5m", "SOLUSDT").equals(candles())
        except DataError as error:
            refused += "damaged" in str(error)
    assert refused > 50
    file.write_bytes(good[:-20])
    with pytest.raises(DataError, match="damaged"):
        list(store.partitions())
    pq.write_table(candles(), file)
    with pytest.raises(DataError, match="without this store's manifest"):
        list(store.partitions())


def test_trades_taken_in_twice_are_there_once_and_equal_trades_stay_as_many_as_there_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [(MONDAY, 10.0, 1.0), (MONDAY, 10.0, 1.0), (MONDAY, 10.1, 1.0), (MONDAY + 5, 10.0, 1.0)]
    for _ in range(2):
        store.write("standx", "trade", "BTCUSD", "2026-01-05", trades(rows))
    assert store.read("standx", "trade", "BTCUSD").num_rows == 4
    late = store.write("standx", "trade", "BTCUSD", "2026-01-05", trades([(MONDAY, 10.0, 1.0)] * 3))
    assert (late.added, late.equal) == (1, 2)

    numbered = trades(rows, ["1", "2", "3", "4"])
    store.write("binance-spot", "trade", "NEXOUSDT", "2026-01-05", numbered)
    heard_later = numbered.set_column(0, "recv_ms", pa.array([at + 900 for at, _, _ in rows]))
    assert store.write("binance-spot", "trade", "NEXOUSDT", "2026-01-05", heard_later).added == 0
    assert store.read("binance-spot", "trade", "NEXOUSDT").equals(numbered)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 12), st.sampled_from([1.0, 2.0, float("nan")])), max_size=5))
def test_any_order_of_overlapping_writes_ends_in_the_first_row_of_each_moment(parts: list[dict[int, float]]) -> None:
    channel = channel_of("open_interest")
    stored = channel.schema.empty_table()
    expected: dict[int, float] = {}
    for part in parts:
        rows = pa.table({"ts_ms": pa.array(part, pa.int64()), "size": pa.array(part.values(), pa.float64())})
        differing = [at for at in part if at in expected and repr(expected[at]) != repr(part[at])]
        added = [at for at in part if at not in expected]
        merged = merge(channel, stored, rows, "x")
        assert (sorted(merged.differing), merged.added) == (sorted(differing), len(added))
        assert merge(channel, merged.table, rows, "x").added == 0
        stored = merged.table
        expected = part | expected
    assert [(a, repr(b)) for a, b in zip(*stored.to_pydict().values(), strict=True)] == [
        (at, repr(expected[at])) for at in sorted(expected)
    ]


def _write_for_ever(root: str, offset: int) -> None:
    store = Store(root)
    for minute in range(10_000):
        at = MONDAY + (2 * minute + offset) * 1000
        store.write("x", "open_interest", "SOLUSDT", "2026-01-05", pa.table({"ts_ms": [at], "size": [1.0]}))


def test_two_writers_lose_no_row_and_a_killed_one_leaves_no_torn_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_for_ever, args=(str(tmp_path), i)) for i in (0, 1)]
    for writer in writers:
        writer.start()
    store = Store(tmp_path)
    presently(lambda: store.read("x", "open_interest", "SOLUSDT").num_rows >= 60)
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    times = store.read("x", "open_interest", "SOLUSDT")["ts_ms"].to_numpy()
    assert times.size >= 60
    for offset in (0, 1):
        own = times[(times - MONDAY) // 1000 % 2 == offset]
        np.testing.assert_array_equal(own, MONDAY + (2 * np.arange(own.size) + offset) * 1000)
