"""Fetching history: exact, resumable, patient, and never merging what contradicts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.history import MONDAY, ListedCandles, candle
from tests.eventually import turns
from tests.sim.clients import bench
from tests.sim.walk import HISTORY_MS, START_MS, WalkSource
from tradebot.data.collect import Collector, Outcome
from tradebot.data.partition import date_of, days_between
from tradebot.data.plan import Series, plan, project
from tradebot.data.sources.bitget import BitgetHistory
from tradebot.data.store import Store
from tradebot.data.verify import verify
from tradebot.errors import AuthRefused, RateLimited, Rejected, Unavailable
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.candle import DAY_MS, Candle
from tradebot.sim.faults import Rule, Schedule

STEP = 300_000
SOL = Series("bitget", "candle_5m", "SOLUSDT")


async def _no_sleep(seconds: float) -> None:
    await turns(1)


async def fetch(
    store: Store, source: ListedCandles, days: Sequence[str], *, refresh: bool = False, workers: int = 20
) -> Outcome:
    todos = plan(store, [SOL], days, {"bitget": source}, source.now, refresh=refresh)
    collector = Collector(store, {"bitget": source}, None, None, workers=workers, refresh=refresh, sleep=_no_sleep)
    return await collector.run(todos, {"bitget": source.now})


def stored(store: Store) -> list[Candle]:
    return [Candle(*row.values()) for row in store.read("bitget", "candle_5m", "SOLUSDT").to_pylist()]


def expected(start: int, end: int, lacking: frozenset[int] = frozenset()) -> list[Candle]:
    return [candle(at) for at in range(start, end, STEP) if at not in lacking]


WEEK = days_between(MONDAY, MONDAY + 7 * DAY_MS)


async def test_a_week_is_fetched_exactly_and_finished_days_are_not_asked_for_again(tmp_path: Path) -> None:
    store, source = Store(tmp_path), ListedCandles(MONDAY + 6 * DAY_MS + 7 * 3_600_000 + 1)
    outcome = await fetch(store, source, WEEK)
    assert stored(store) == expected(MONDAY, MONDAY + 6 * DAY_MS + 7 * 3_600_000)
    assert (outcome.problems, outcome.failed) == ([], {})
    assert outcome.requests == len(source.asked) == -(-(6 * 288 + 84) // 197)
    assert 4 < source.most_flying <= 20
    assert store.complete_days("bitget", "candle_5m", "SOLUSDT") == set(WEEK[:6])

    source.asked.clear()
    source.now += 3_600_000
    again = await fetch(store, source, WEEK)
    assert source.asked == [(MONDAY + 6 * DAY_MS - STEP, source.now // STEP * STEP + STEP)]
    assert (again.added, again.equal) == (12, 84)


@settings(max_examples=40, deadline=None)
@given(
    page=st.integers(5, 400),
    workers=st.integers(1, 20),
    inclusive=st.booleans(),
    lacking=st.frozensets(st.integers(0, 3 * 288 - 1), max_size=40),
    listed=st.integers(0, 2 * 288),
    already=st.sets(st.integers(0, 2)),
    failing=st.sets(st.integers(1, 12)),
)
async def test_whatever_the_pages_and_their_failures_the_store_holds_what_the_source_has(
    tmp_path_factory: pytest.TempPathFactory,
    page: int,
    workers: int,
    inclusive: bool,
    lacking: frozenset[int],
    listed: int,
    already: set[int],
    failing: set[int],
) -> None:
    gone = frozenset(MONDAY + STEP * i for i in lacking)
    store = Store(tmp_path_factory.mktemp("store"))
    source = ListedCandles(
        MONDAY + 4 * DAY_MS,
        listed_ms=MONDAY + listed * STEP,
        page=page,
        inclusive=inclusive,
        lacking=gone,
        trouble=lambda asked: RateLimited("busy") if asked in failing else None,
    )
    for day in already:
        await fetch(store, source, [WEEK[day]], workers=workers)
    outcome = await fetch(store, source, WEEK[:3], workers=workers)
    assert stored(store) == expected(MONDAY + listed * STEP, MONDAY + 3 * DAY_MS, gone)
    assert (outcome.problems, outcome.failed) == ([], {})
    assert store.complete_days("bitget", "candle_5m", "SOLUSDT") == set(WEEK[:3])


async def test_a_run_that_was_stopped_anywhere_is_gone_on_with(tmp_path: Path) -> None:
    store, source = Store(tmp_path), ListedCandles(MONDAY + 8 * DAY_MS)
    whole = -(-7 * 288 // 197)
    for stop_after in (3, 4, 5):
        stop = len(source.asked) + stop_after
        source.trouble = lambda asked, stop=stop: AuthRefused("stop") if asked == stop else None  # type: ignore[misc]
        with pytest.raises(BaseException):  # noqa: B017
            await fetch(store, source, WEEK, workers=2)
        assert not [problem for problem in verify(store) if problem.kind != "gap"]
    source.trouble = lambda asked: None
    await fetch(store, source, WEEK, workers=2)
    assert stored(store) == expected(MONDAY, MONDAY + 7 * DAY_MS)
    assert len(source.asked) < 2 * whole + 6


@pytest.mark.parametrize("page", [200, 291])
async def test_answers_that_contradict_each_other_are_told_and_the_day_stays_open(tmp_path: Path, page: int) -> None:
    store = Store(tmp_path)
    # the row that two pages share, with 291 rows a midnight, has another close in the older page
    source = ListedCandles(MONDAY + 8 * DAY_MS, page=page)
    shared = MONDAY + 7 * DAY_MS - (page - 3) * STEP
    source.change = lambda row, asked: (
        msgspec.structs.replace(row, close=row.close + 0.5) if row.open_time_ms == shared and asked == 2 else row
    )
    outcome = await fetch(store, source, WEEK)
    day = date_of(shared)
    assert outcome.problems == [
        f"bitget/candle_5m/SOLUSDT {day}: two answers differ in the same candles; ask again later"
    ]
    assert set(WEEK) - store.complete_days("bitget", "candle_5m", "SOLUSDT") == {day}
    source.change = lambda row, asked: row
    assert (await fetch(store, source, WEEK)).problems == []
    assert stored(store) == expected(MONDAY, MONDAY + 7 * DAY_MS)


async def test_what_contradicts_stored_rows_is_told_and_does_not_replace_them_until_refreshed(tmp_path: Path) -> None:
    store, source = Store(tmp_path), ListedCandles(MONDAY + 8 * DAY_MS)
    await fetch(store, source, WEEK[:2])
    last = MONDAY + 2 * DAY_MS - STEP
    source.change = lambda row, asked: msgspec.structs.replace(row, volume=9.0) if row.open_time_ms == last else row
    outcome = await fetch(store, source, WEEK[:3])
    assert [line.partition(":")[0] for line in outcome.problems] == ["bitget/candle_5m/SOLUSDT 2026-01-06"]
    assert "1 row unlike the stored, first at 2026-01-06 23:55:00 UTC" in outcome.problems[0]
    assert stored(store) == expected(MONDAY, MONDAY + 3 * DAY_MS)
    await fetch(store, source, WEEK[:3], refresh=True)
    assert [row.volume for row in stored(store) if row.open_time_ms == last] == [9.0]


async def test_rows_that_cannot_be_right_are_told_and_the_day_is_asked_for_again(tmp_path: Path) -> None:
    store, source = Store(tmp_path), ListedCandles(MONDAY + 8 * DAY_MS)
    source.change = lambda row, asked: msgspec.structs.replace(row, low=row.high) if row.open_time_ms == MONDAY else row
    outcome = await fetch(store, source, WEEK[:2])
    assert outcome.problems == [
        "bitget/candle_5m/SOLUSDT 2026-01-05: the source sends 1 row with open or close outside [low, high], "
        "first at 2026-01-05 00:00:00 UTC"
    ]
    assert store.complete_days("bitget", "candle_5m", "SOLUSDT") == {"2026-01-06"}


async def test_a_symbol_that_does_not_exist_does_not_stop_the_others(tmp_path: Path) -> None:
    store, source = Store(tmp_path), ListedCandles(MONDAY + 8 * DAY_MS)
    todos = plan(store, [SOL], WEEK[:1], {"bitget": source}, source.now)
    source.trouble = lambda asked: Rejected("no such symbol", code="40034") if asked == 1 else None
    outcome = await Collector(store, {"bitget": source}, None, None, workers=1).run(todos * 2, {"bitget": source.now})
    assert [str(error) for error in outcome.failed.values()] == ["no such symbol"]
    assert stored(store) == expected(MONDAY, MONDAY + DAY_MS)


async def test_patience_ends_after_ten_minutes_of_refusals(tmp_path: Path) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    source = ListedCandles(MONDAY + 8 * DAY_MS, trouble=lambda asked: Unavailable("maintenance"))
    store = Store(tmp_path)
    todos = plan(store, [SOL], WEEK[:1], {"bitget": source}, source.now)
    with pytest.raises(Unavailable, match="maintenance"):
        await Collector(store, {"bitget": source}, None, None, workers=1, sleep=sleep).run(
            todos, {"bitget": source.now}
        )
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert 600 <= sum(waits) <= 660


async def test_a_symbol_that_stays_away_is_given_up_while_others_are_answered(tmp_path: Path) -> None:
    source = ListedCandles(MONDAY + 8 * DAY_MS)
    answer = source.candles

    async def candles(symbol: str, interval: str, start_ms: int, end_ms: int, *, mark: bool) -> list[Candle]:
        if symbol == "BTCUSDT":
            raise Unavailable("under maintenance")
        return await answer(symbol, interval, start_ms, end_ms, mark=mark)

    source.candles = candles  # type: ignore[method-assign]
    store, btc = Store(tmp_path), Series("bitget", "candle_5m", "BTCUSDT")
    todos = plan(store, [btc, SOL], WEEK, {"bitget": source}, source.now)
    collector = Collector(store, {"bitget": source}, None, None, workers=2, sleep=_no_sleep)
    outcome = await collector.run(todos, {"bitget": source.now})
    assert [(series.symbol, str(error)) for series, error in outcome.failed.items()] == [
        ("BTCUSDT", "under maintenance; given up after 10 minutes")
    ]
    assert stored(store) == expected(MONDAY, MONDAY + 7 * DAY_MS)


def test_fifty_symbols_of_three_months_take_less_than_twenty_hours_at_the_limits(tmp_path: Path) -> None:
    store, now = Store(tmp_path), MONDAY + 92 * DAY_MS
    days = days_between(MONDAY, now)
    series = [Series("bitget", channel, f"C{i}USDT") for i in range(50) for channel in ("candle_5m", "book_1s_l10")]
    source = ListedCandles(now)
    projection = project(plan(store, series, days, {"bitget": source}, now), {"bitget": source}, len(days))
    assert projection.seconds < 20 * 3600
    assert projection.lines == (
        "bitget candle_5m: 50 symbols × 3.0 months: 6,750 requests at 16/s: 7.0 min",
        "bitget book_1s_l10: 50 symbols × 3.0 months: 4,600 files of about 100 MB at 12.5 MB/s: 10.2 h",
    )
    asyncio.run(fetch(store, ListedCandles(now), days[:30]))
    sol = project(plan(store, [SOL], days, {"bitget": source}, now), {"bitget": source}, len(days))
    assert "91 requests at 16/s: 6 s (30 of 92 symbol-days are stored)" in sol.lines[0]


def test_a_day_of_books_that_has_not_ended_is_not_counted_as_stored(tmp_path: Path) -> None:
    now = MONDAY + 2 * DAY_MS + 3_600_000
    days = days_between(MONDAY, MONDAY + 3 * DAY_MS)
    books = [Series("bitget", "book_1s_l10", "SOLUSDT")]
    todos = plan(Store(tmp_path), books, days, {}, now)
    assert [(len(todo.days), todo.stored) for todo in todos] == [(2, 0)]
    assert "stored" not in project(todos, {}, len(days)).lines[0]


# --- against the embedded exchange, over a socket -------------------------------------------------------------------


@asynccontextmanager
async def bitget(*, faults: Schedule | None = None, **options: Any) -> Any:
    sources = (WalkSource("SOLUSDT"), WalkSource("BTCUSDT", seed=2))
    async with bench(sources, faults=faults) as b, BitgetRest(b.server.rest_url, first_retry_s=0.01) as rest:
        yield BitgetHistory(rest), sources


async def collect(store: Store, history: BitgetHistory, days: list[str], **options: Any) -> tuple[Collector, Outcome]:
    now = await history.now_ms()
    channels = ("candle_5m", "candle_1h", "mark_candle_5m", "funding", "open_interest")
    series = [Series("bitget", channel, symbol) for symbol in ("SOLUSDT", "BTCUSDT") for channel in channels]
    todos = plan(store, series, days, {"bitget": history}, now)
    collector = Collector(store, {"bitget": history}, history, None, workers=20, sleep=_no_sleep, **options)
    return collector, await collector.run(todos, {"bitget": now})


DAYS = days_between(START_MS - HISTORY_MS, START_MS)


@pytest.mark.parametrize("storm", [0.0, 0.5])
async def test_the_embedded_exchange_is_collected_row_by_row_also_through_a_storm_of_refusals(
    tmp_path: Path, storm: float
) -> None:
    store = Store(tmp_path)
    rules = [
        Rule(kind="rate_limit_storm", scope="rest", probability=storm, parameters={"body": "both"}),
        Rule(kind="html_page", scope="rest", probability=storm / 3, parameters={"status": 502, "effect": False}),
    ]
    async with bitget(faults=Schedule(seed=5, rules=tuple(rules) if storm else ())) as (history, sources):
        for _ in range(20):  # the first question is asked without patience
            try:
                await history.now_ms()
                break
            except (RateLimited, Unavailable):
                continue
        _, outcome = await collect(store, history, DAYS)
        assert (outcome.problems, outcome.failed) == ([], {})
        for source in sources:
            rows = source.candles("5m", START_MS - HISTORY_MS, START_MS - 1, START_MS)
            table = store.read("bitget", "candle_5m", source.instrument.symbol)
            assert [Candle(*row.values()) for row in table.to_pylist()] == list(rows)
            assert store.read("bitget", "mark_candle_5m", source.instrument.symbol).num_rows == len(rows)
            assert store.read("bitget", "candle_1h", source.instrument.symbol).num_rows == 72
            assert store.read("bitget", "open_interest", source.instrument.symbol).num_rows == 1
        assert list(verify(store)) == []
        assert store.complete_days("bitget", "candle_5m", "SOLUSDT") == set(DAYS[:2])


async def test_a_gap_of_the_exchange_is_stored_as_a_gap_and_found(tmp_path: Path) -> None:
    store, begin = Store(tmp_path), START_MS - HISTORY_MS
    lacking = frozenset({begin + 7 * STEP, begin + 8 * STEP})
    source = ListedCandles(START_MS, lacking=lacking)
    await fetch(store, source, DAYS)
    found = list(verify(store))
    assert [(p.kind, p.rows, p.first_ms, p.harmless) for p in found] == [("gap", 2, begin + 7 * STEP, False)]


async def test_settled_funding_is_collected_page_by_page_once(tmp_path: Path) -> None:
    settled = [(MONDAY + 8 * 3_600_000 * i, i / 1e6) for i in range(-120, 21)]

    class Funding:
        exchange = "bitget"
        asked = 0

        async def funding(self, symbol: str, page: int) -> list[tuple[int, float]]:
            self.asked += 1
            return settled[::-1][(page - 1) * 100 : page * 100]

    store, source = Store(tmp_path), Funding()
    series = Series("bitget", "funding", "SOLUSDT")
    now = MONDAY + 7 * DAY_MS
    for asked in (2, 2 + 1):
        days = days_between(MONDAY - 30 * DAY_MS, now)
        todos = plan(store, [series], days, {}, now)
        await Collector(store, {}, source, None, workers=2).run(todos, {"bitget": now})  # type: ignore[arg-type]
        table = store.read("bitget", "funding", "SOLUSDT")
        expected_rows = [row for row in settled if row[0] >= MONDAY - 30 * DAY_MS]
        assert list(zip(*table.to_pydict().values(), strict=True)) == expected_rows
        assert source.asked == asked
    assert list(verify(store)) == []
    assert isinstance(table, pa.Table)
    assert np.diff(table["funding_time"].to_numpy()).max() == 8 * 3_600_000
