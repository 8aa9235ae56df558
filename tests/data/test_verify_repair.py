"""Every kind of trouble in the store is found, mended where a source can, and named where not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from tests.data.history import MONDAY, ListedCandles, candle
from tests.data.test_collect import SOL, WEEK, expected, fetch, stored
from tests.data.test_deeplob import BOOKS, books
from tradebot.data.collect import Collector, Outcome
from tradebot.data.partition import Manifest, days_between, encode
from tradebot.data.plan import Series, plan
from tradebot.data.repair import Repaired, repair
from tradebot.data.store import Store
from tradebot.data.verify import Problem, verify
from tradebot.errors import Rejected
from tradebot.market.candle import DAY_MS

STEP = 300_000
DAY = "2026-01-06"
BEGIN = MONDAY + DAY_MS
FILE = f"bitget/candle_5m/SOLUSDT/{DAY}.parquet"


def kinds(store: Store) -> list[tuple[str, str, int]]:
    return [(problem.date, problem.kind, problem.rows) for problem in verify(store) if not problem.harmless]


async def good(root: Path) -> tuple[Store, ListedCandles]:
    """Three sound days."""
    store, source = Store(root), ListedCandles(MONDAY + 9 * DAY_MS)
    await fetch(store, source, WEEK[:3])
    assert list(verify(store)) == []
    return store, source


def rewrite(store: Store, change: Callable[[dict[str, Any]], dict[str, Any]], series: Sequence[str] = ()) -> None:
    """Change the columns of the second day as if it had been stored so."""
    name = tuple(series) or ("bitget", "candle_5m", "SOLUSDT")
    path = f"{'/'.join(name)}/{DAY}.parquet" if series == () else store.files(*name)[0]
    table, manifest = store.load(path)
    columns = change({column: table[column].to_numpy().copy() for column in table.column_names})
    store.rewrite(*name, path[-18:-8], pa.table(columns), complete=manifest.complete, source="x")


def put(name: str, row: int, value: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(columns: dict[str, Any]) -> dict[str, Any]:
        columns[name][row] = value
        return columns

    return change


def drop(*rows: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda columns: {name: np.delete(values, rows) for name, values in columns.items()}


async def mend(store: Store, source: ListedCandles) -> Repaired:
    async def again(apart: Store, series: Series, days: Sequence[str]) -> Outcome:
        todos = plan(apart, [series], days, {"bitget": source}, source.now)
        return await Collector(apart, {"bitget": source}, None, None, workers=3).run(todos, {"bitget": source.now})

    return await repair(store, list(verify(store)), lambda series: series == SOL, again)


CANDLE_TROUBLE: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str, int]] = [
    (put("close", 5, np.nan), "finite", 1),
    (put("low", 5, -1.0), "price", 1),
    (put("volume", 5, -1.0), "size", 1),
    (put("high", 5, 1.0), "ohlc", 1),
    (put("open_time", 5, BEGIN + 5 * STEP + 1000), "grid", 1),
    (drop(7, 8, 20), "gap", 3),
    (drop(0), "gap", 1),
    (drop(287), "gap", 1),
]


@pytest.mark.parametrize(("change", "kind", "rows"), CANDLE_TROUBLE)
async def test_what_is_wrong_with_candles_is_found_and_mended(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], kind: str, rows: int
) -> None:
    store, source = await good(tmp_path)
    rewrite(store, change)
    assert (DAY, kind, rows) in kinds(store)
    result = await mend(store, source)
    assert (len(result.done), result.left) == (1, [])
    assert list(verify(store)) == []
    assert stored(store) == expected(MONDAY, MONDAY + 3 * DAY_MS)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda data: data[:-30], "damaged"),
        (lambda data: b"", "damaged"),
        (lambda data: data[:2000] + bytes(64) + data[2064:], "damaged"),
    ],
)
async def test_a_damaged_file_is_found_and_fetched_anew(
    tmp_path: Path, change: Callable[[bytes], bytes], kind: str
) -> None:
    store, source = await good(tmp_path)
    (tmp_path / FILE).write_bytes(change((tmp_path / FILE).read_bytes()))
    assert kinds(store) == [(DAY, kind, 0)]
    result = await mend(store, source)
    assert result.left == []
    assert list(verify(store)) == []
    assert stored(store) == expected(MONDAY, MONDAY + 3 * DAY_MS)


async def test_values_other_than_those_written_are_found_by_their_checksum(tmp_path: Path) -> None:
    store, source = await good(tmp_path)
    table, manifest = store.load(FILE)
    other = table.set_column(5, "volume", pa.array(table["volume"].to_numpy() + 1))
    (tmp_path / FILE).write_bytes(encode(other, manifest))
    assert kinds(store) == [(DAY, "checksum", 288)]
    assert (await mend(store, source)).left == []
    assert stored(store) == expected(MONDAY, MONDAY + 3 * DAY_MS)


async def test_a_day_that_is_not_there_is_found_and_fetched(tmp_path: Path) -> None:
    store, source = await good(tmp_path)
    (tmp_path / FILE).unlink()
    assert kinds(store) == [(DAY, "gap", 288)]
    assert (await mend(store, source)).left == []
    assert stored(store) == expected(MONDAY, MONDAY + 3 * DAY_MS)


async def test_what_the_source_lacks_too_is_said_once_and_is_no_trouble_from_then_on(tmp_path: Path) -> None:
    store, source = Store(tmp_path), ListedCandles(MONDAY + 9 * DAY_MS)
    source.lacking = frozenset({BEGIN + 3 * STEP, BEGIN + 4 * STEP})
    await fetch(store, source, WEEK[:3])
    assert kinds(store) == [(DAY, "gap", 2)]
    result = await mend(store, source)
    assert result.left == [f"bitget/candle_5m/SOLUSDT {DAY}: 2 rows missing at the source too; noted"]
    assert kinds(store) == []
    told = list(verify(store))
    assert [(problem.harmless, problem.kind) for problem in told] == [(True, "gap")]
    assert told[0].line().endswith("1 gap (2 rows), first at 2026-01-06 00:15:00 UTC: the source has none")
    rewrite(store, drop(100))
    assert kinds(store) == [(DAY, "gap", 3)]


async def test_what_cannot_be_mended_is_said_and_left_as_it_is(tmp_path: Path) -> None:
    store, source = await good(tmp_path)
    rewrite(store, put("high", 5, 1.0))
    source.change = lambda row, asked: msgspec.structs.replace(row, low=row.high)
    result = await mend(store, source)
    assert result.done == []
    assert f"bitget/candle_5m/SOLUSDT {DAY}: not repaired: the source itself has 288 rows with open" in result.left[0]
    source.change = lambda row, asked: row
    source.lacking = frozenset(BEGIN + i * STEP for i in range(9))
    result = await mend(store, source)
    assert result.left == [f"bitget/candle_5m/SOLUSDT {DAY}: not repaired: the source has 279 rows, stored are 288"]
    source.trouble = lambda asked: Rejected("the symbol was delisted")
    assert (await mend(store, source)).left == [
        f"bitget/candle_5m/SOLUSDT {DAY}: not repaired: the symbol was delisted"
    ]
    assert kinds(store) == [(DAY, "ohlc", 1)]


async def test_the_time_before_a_listing_is_no_gap_and_what_is_missing_after_it_is(tmp_path: Path) -> None:
    source = ListedCandles(MONDAY + 9 * DAY_MS, listed_ms=BEGIN + 7 * STEP, lacking=frozenset({BEGIN + 9 * STEP}))
    store = Store(tmp_path)
    await fetch(store, source, [*days_between(MONDAY - 3 * DAY_MS, MONDAY), *WEEK[:3]])
    assert kinds(store) == [(DAY, "gap", 1)]
    (tmp_path / FILE).unlink()
    assert kinds(store) == [(DAY, "gap", 288)]


async def test_rows_beside_a_gap_stand_and_contradictions_are_told(tmp_path: Path) -> None:
    store, source = await good(tmp_path)
    rewrite(store, lambda columns: drop(7)(put("volume", 50, 77.0)(columns)))
    result = await mend(store, source)
    assert len(result.left) == 1
    assert "1 row unlike the stored, first at 2026-01-06 04:10:00 UTC" in result.left[0]
    rows = {row.open_time_ms: row for row in stored(store)}
    assert rows[BEGIN + 7 * STEP] == candle(BEGIN + 7 * STEP)
    assert rows[BEGIN + 50 * STEP].volume == 77.0


BOOK_TROUBLE: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str, bool]] = [
    (put("ask_px_1", 5, 1.0), "crossed", False),
    (put("bid_px_3", 5, 1e9), "levels", False),
    (put("ask_sz_2", 5, 0.0), "size", False),
    (put("bid_px_9", 5, np.inf), "finite", False),
    (drop(7, 8), "gap", True),
    (lambda columns: columns | {"bid_px_1": columns["ask_px_1"].copy()}, "locked", True),
]


@pytest.mark.parametrize(("change", "kind", "harmless"), BOOK_TROUBLE)
async def test_what_is_wrong_with_books_is_found_and_what_cannot_be_fetched_is_said(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], kind: str, harmless: bool
) -> None:
    store = Store(tmp_path)
    store.write_days(*BOOKS, books(list(range(60))))
    assert list(verify(store)) == []
    rewrite(store, change, BOOKS)
    assert (kind, harmless) in {(problem.kind, problem.harmless) for problem in verify(store)}
    result = await mend(store, ListedCandles(MONDAY + 9 * DAY_MS))
    assert bool(result.left) is not harmless
    assert all("it cannot be fetched; import it again, or delete the file" in line for line in result.left)


@pytest.mark.parametrize(
    ("channel", "columns", "kind"),
    [
        ("funding", {"funding_time": [0, 28_800_000, 3 * 28_800_000], "funding_rate": [0.1] * 3}, "gap"),
        ("funding", {"funding_time": [0, 1], "funding_rate": [0.1, np.nan]}, "finite"),
        ("open_interest", {"ts_ms": [0, 1], "size": [0.0, -1.0]}, "size"),
        ("trade", {"recv_ms": [0, 0], "trade_ms": [0, 0], "price": [1.0, 0.0], "size": [1.0, 1.0]}, "price"),
        ("gap", {"start_ms": [5], "end_ms": [1], "channel": ["trade"], "reason": ["x"]}, "stretch"),
    ],
)
def test_the_other_channels_are_looked_through_too(
    tmp_path: Path, channel: str, columns: dict[str, Any], kind: str
) -> None:
    store, time = Store(tmp_path), next(iter(columns))
    shifted = columns | {
        name: [value + MONDAY for value in values] for name, values in columns.items() if name.endswith(("_ms", time))
    }
    store.write_days("bitget", channel, "SOLUSDT", pa.table(shifted))
    assert [problem.kind for problem in verify(store)] == [kind]


def test_rows_out_of_order_or_twice_or_of_another_day_are_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    at = [MONDAY, MONDAY + 2, MONDAY + 1, MONDAY + 1, MONDAY + DAY_MS]
    table = pa.table({"ts_ms": at, "size": [1.0] * 5})
    from tradebot.data.channels import channel_of
    from tradebot.data.partition import describe

    manifest: Manifest = describe(channel_of("open_interest"), table, complete=False, source="x")
    file = tmp_path / "bitget/open_interest/SOLUSDT/2026-01-05.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(encode(table, manifest))
    found: list[Problem] = list(verify(store))
    assert [(problem.kind, problem.rows, problem.first_ms) for problem in found] == [
        ("order", 1, MONDAY + 1),
        ("duplicate", 1, MONDAY + 1),
        ("day", 1, MONDAY + DAY_MS),
    ]
