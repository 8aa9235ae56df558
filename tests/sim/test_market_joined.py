"""Recordings in several files: days of the store, a folder of them, and what lies beside the books."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.sim.recordings import START, STEP, book_columns, candle_columns, trade_columns, walk, write
from tradebot.errors import DataError
from tradebot.sim.market import open_market

FOREVER = 10**14
SECONDS = 2_700
Columns = dict[str, np.ndarray]


def cut(columns: Columns, time: str, *edges: int) -> list[Columns]:
    """The rows before the first edge, between the edges, and from the last on."""
    at = np.searchsorted(columns[time], edges)
    return [
        {name: values[first:last] for name, values in columns.items()}
        for first, last in zip([0, *at], [*at, columns[time].size], strict=True)
    ]


def files(folder: Path, parts: Sequence[Columns]) -> list[str]:
    """A file for each, named by day as the store does."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write(folder / f"2026-01-{5 + i:02}.parquet", columns) for i, columns in enumerate(parts)]


def shown(paths: Sequence[str]) -> tuple[object, object]:
    (market,) = open_market(paths, [], 7)
    return walk(market), market.candles("5m", 0, FOREVER, market.end_ms)


@pytest.fixture
def whole(tmp_path: Path) -> list[str]:
    """Books with a hole, trades and candles of the time before, in one file each."""
    books = book_columns(SECONDS, first_ms=START + 47_000, left_out=tuple(range(900, 960)))
    return [
        write(tmp_path / "x_SOLUSDT_1s_l10.parquet", books),
        write(tmp_path / "x_SOLUSDT_trades.parquet", trade_columns(books)),
        write(tmp_path / "x_SOLUSDT_5m.parquet", candle_columns(300, first_ms=START - 288 * STEP)),
    ]


def store(root: Path, *, days: int = 3) -> Path:
    """The same market in the store: ``days`` of books and trades, cut in the hole and elsewhere; two of candles."""
    books = book_columns(SECONDS, first_ms=START + 47_000, left_out=tuple(range(900, 960)))
    edges = [START + 47_000 + 1_000 * row for row in (930, 1_777)[: days - 1]]
    venue = root / "bitget"
    files(venue / "book_1s_l10" / "SOLUSDT", cut(books, "ts_ms", *edges))
    files(venue / "trade" / "SOLUSDT", cut(trade_columns(books), "recv_ms", *edges))
    history = cut(candle_columns(300, first_ms=START - 288 * STEP), "open_time", START)
    for day, columns in zip(("2026-01-04", "2026-01-05"), history, strict=True):
        (venue / "candle_5m" / "SOLUSDT").mkdir(parents=True, exist_ok=True)
        write(venue / "candle_5m" / "SOLUSDT" / f"{day}.parquet", columns)
    return venue


def test_a_folder_of_the_store_replays_as_the_same_rows_in_one_file_do(whole: list[str], tmp_path: Path) -> None:
    venue = store(tmp_path)
    folder = str(venue / "book_1s_l10" / "SOLUSDT")
    assert shown([folder]) == shown([f"SOLUSDT={folder}"]) == shown(whole)
    (market,) = open_market([folder], [], 7)
    assert market.instrument.symbol == "SOLUSDT"
    assert "from 2026-01-05.parquet … 2026-01-07.parquet" in market.description
    assert "trades from 2026-01-05.parquet … 2026-01-07.parquet" in market.description
    assert "earlier candles from 2026-01-04.parquet … 2026-01-05.parquet" in market.description


def test_files_are_taken_in_the_order_of_time_whatever_order_they_are_named_in(
    whole: list[str], tmp_path: Path
) -> None:
    venue = store(tmp_path)
    named = [str(path) for kind in ("trade", "book_1s_l10", "candle_5m") for path in (venue / kind).rglob("*.parquet")]
    assert shown(sorted(named, reverse=True)) == shown(whole)


def test_candles_that_lie_beside_and_do_not_join_are_left_out_but_refused_when_they_are_named(tmp_path: Path) -> None:
    venue = store(tmp_path)
    books, candles = str(venue / "book_1s_l10" / "SOLUSDT"), venue / "candle_5m" / "SOLUSDT"
    late = candle_columns(20, first_ms=START + 2 * STEP)
    (candles / "2026-01-04.parquet").unlink()
    write(candles / "2026-01-05.parquet", late)
    (market,) = open_market([books], [], 7)
    assert "no earlier candles" in market.description
    with pytest.raises(DataError, match="not before the first full interval"):
        open_market([books, str(candles)], [], 7)


def test_candles_beside_books_are_those_of_the_unbroken_days_before_them(tmp_path: Path) -> None:
    venue = store(tmp_path)
    old = candle_columns(288, first_ms=START - 4 * 288 * STEP)
    write(venue / "candle_5m" / "SOLUSDT" / "2026-01-01.parquet", old)
    write(venue / "candle_5m" / "SOLUSDT" / "2026-01-06.parquet", candle_columns(9, first_ms=START + 300 * STEP))
    (market,) = open_market([str(venue / "book_1s_l10" / "SOLUSDT")], [], 7)
    assert market.candles("5m", 0, FOREVER, market.end_ms)[0].open_time_ms == START - 288 * STEP


def test_what_does_not_follow_is_refused_in_one_line(tmp_path: Path) -> None:
    books = book_columns(SECONDS)
    early, late = cut(books, "ts_ms", START + 1_000_000)
    overlapping = cut(books, "ts_ms", START + 999_000)[1]
    backward = {name: values[::-1] for name, values in late.items()}
    shallow = {name: values for name, values in late.items() if not name.endswith("_3")}
    deep = late | {f"{side}_4": late[f"{side}_3"] for side in ("ask_px", "ask_sz", "bid_px", "bid_sz")}
    other_type = {**late, "ask_px_1": late["ask_px_1"].astype(np.float32)}
    cases = [
        (overlapping, r"06.parquet: begins 2026-01-05 00:16:39 UTC, before .*05.parquet has ended"),
        (backward, "rows? out of order"),
        (shallow, "lacks column ask_px_3"),
        (deep, "4 levels a side, .* has 3; give one depth"),
        (other_type, "column ask_px_1 has type float, in .* it has double; convert one"),
    ]
    for second, line in cases:
        paths = files(tmp_path / "bitget" / "book_1s_l10" / "SOLUSDT", [early, second])
        with pytest.raises(DataError, match=line) as refused:
            open_market(paths, [], 7)
        assert "\n" not in str(refused.value)


def test_a_gap_between_candle_files_is_a_gap(tmp_path: Path) -> None:
    first, second = cut(candle_columns(300), "open_time", START + 100 * STEP)
    paths = [write(tmp_path / "a_SOLUSDT_5m.parquet", first), write(tmp_path / "b_SOLUSDT_5m.parquet", second)]
    assert shown(paths) == shown([write(tmp_path / "x_SOLUSDT_5m.parquet", candle_columns(300))])
    late = {name: values[1:] for name, values in second.items()}
    write(tmp_path / "b_SOLUSDT_5m.parquet", late)
    with pytest.raises(DataError, match=r"a_SOLUSDT_5m.parquet … b_SOLUSDT_5m.parquet: 1 gap \(1 missing candle\)"):
        open_market(paths, [], 7)


def test_trades_must_lie_beside_all_the_books_or_none(tmp_path: Path) -> None:
    venue = store(tmp_path)
    (venue / "trade" / "SOLUSDT" / "2026-01-06.parquet").unlink()
    with pytest.raises(DataError, match=r"2026-01-06\.parquet: no trades lie beside these books"):
        open_market([str(venue / "book_1s_l10" / "SOLUSDT")], [], 7)
    for path in (venue / "trade" / "SOLUSDT").iterdir():
        path.unlink()
    (market,) = open_market([str(venue / "book_1s_l10" / "SOLUSDT")], [], 7)
    assert "trades inferred from the books" in market.description


def test_funding_comes_from_several_files_and_each_settlement_once(tmp_path: Path) -> None:
    candles = write(tmp_path / "x_SOLUSDT_5m.parquet", candle_columns(600))
    hours = START + 8 * 3_600_000 * np.arange(4)
    rates = [
        {"symbol": np.array(["SOLUSDT"] * 2), "funding_time": at, "funding_rate": np.array(rate)}
        for at, rate in ((hours[2:], [0.0003, 0.0004]), (hours[:2], [0.0001, 0.0002]))
    ]
    paths = [write(tmp_path / f"funding{i}.parquet", columns) for i, columns in enumerate(rates)]
    (market,) = open_market([candles, *paths], [], 7, start_ms=START + 300 * STEP)
    assert [(at, float(rate)) for at, rate in market.settlements()] == [
        (int(at), rate) for at, rate in zip(hours, [0.0001, 0.0002, 0.0003, 0.0004], strict=True)
    ]
    again = write(tmp_path / "funding2.parquet", rates[0])
    with pytest.raises(DataError, match="repeated settlement of SOLUSDT"):
        open_market([candles, *paths, again], [], 7)
