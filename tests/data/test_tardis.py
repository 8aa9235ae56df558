"""Recorded books from Tardis: real file format, real HTTP, the state just before each instant."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from tests.data.history import MONDAY
from tradebot.data.collect import Collector, Outcome
from tradebot.data.plan import Series, plan
from tradebot.data.sources.tardis import TardisBooks
from tradebot.data.store import Store
from tradebot.data.verify import verify
from tradebot.errors import AuthRefused, DataError, Rejected, Unavailable
from tradebot.market.candle import DAY_MS

SOL = Series("binance-perp", "book_1s_l10", "SOLUSDT")
DAYS = ["2026-01-05", "2026-01-06"]
HEADER = ["exchange", "symbol", "timestamp", "local_timestamp"] + [
    f"{side}[{i}].{what}" for i in range(25) for side in ("asks", "bids") for what in ("price", "amount")
]

Snapshot = tuple[int, list[tuple[float, float, float, float]]]
"""Receive time in µs; (ask price, ask amount, bid price, bid amount) of each level."""


def snapshots(day: int, seconds: int = 1_200, seed: int = 1) -> list[Snapshot]:
    """About four changes a second from a random start, a pause of a minute, and nothing after ``seconds``."""
    rng = np.random.default_rng(seed + day)
    at = MONDAY * 1000 + day * DAY_MS * 1000 + np.cumsum(rng.integers(1_000, 500_000, seconds * 4))
    at = at[(at < (MONDAY + day * DAY_MS + seconds * 1000) * 1000)]
    pause = (MONDAY + day * DAY_MS + 600_000) * 1000
    at = at[(at < pause) | (at > pause + 60_000_000)]
    mid = 15_000 + np.cumsum(rng.integers(-3, 4, at.size))
    sizes = rng.integers(1, 999, (at.size, 25, 2)) / 10
    return [
        (
            int(when),
            [((m + 1 + i) / 100, float(own[i, 0]), (m - 1 - i) / 100, float(own[i, 1])) for i in range(25)],
        )
        for when, m, own in zip(at.tolist(), mid.tolist(), sizes, strict=True)
    ]


def file_of(rows: list[Snapshot], levels: int = 25) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for at, book in rows:
        values = [repr(value) for level in book[:levels] for value in level]
        writer.writerow(["binance-futures", "SOLUSDT", at - 3_000, at, *values, *[""] * (4 * (25 - levels))])
    return gzip.compress(text.getvalue().encode(), 1)


def naive(rows: list[Snapshot], begin_ms: int, end_ms: int) -> dict[int, list[float]]:
    """Second by second, the last snapshot received before it, unless it is older than ten seconds."""
    found: dict[int, list[float]] = {}
    latest: Snapshot | None = None
    coming = iter([*rows, (1 << 62, [])])
    ahead = next(coming)
    for second in range(begin_ms, end_ms, 1000):
        while ahead[0] < second * 1000:
            latest, ahead = ahead, next(coming)
        if latest is not None and second - latest[0] / 1000 <= 10_000:
            found[second] = [value for level in latest[1][:10] for value in level]
    return found


@asynccontextmanager
async def tardis(answer: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.StreamResponse:
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _no_sleep(seconds: float) -> None:
    return None


async def collect(url: str, store: Store, days: list[str] = DAYS, *, levels: int = 10, key: str = "right") -> Outcome:
    now = MONDAY + 10 * DAY_MS
    series = SOL if levels == 10 else Series("binance-perp", f"book_1s_l{levels}", "SOLUSDT")
    async with TardisBooks(url, key, step_ms=1_000, levels=levels) as books:
        collector = Collector(store, {}, None, books, workers=2, sleep=_no_sleep)
        return await collector.run(plan(store, [series], days, {}, now), {"binance-perp": now})


async def test_two_days_are_sampled_to_the_state_just_before_each_second(tmp_path: Path) -> None:
    served = {day: snapshots(i) for i, day in enumerate(DAYS)}
    # the last changes of the first day stand at the midnight that follows
    last = MONDAY * 1000 + DAY_MS * 1000 - 2_500_000
    served[DAYS[0]].append((last, served[DAYS[0]][-1][1]))
    # received on the second itself: not yet known then
    sharp = next(i for i, (at, _) in enumerate(served[DAYS[0]]) if at > (MONDAY + 100_000) * 1000)
    served[DAYS[0]].insert(sharp, ((MONDAY + 100_000) * 1000, served[DAYS[0]][0][1]))
    asked: list[tuple[str, str]] = []

    def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.path, request.headers.get("Authorization", "")))
        day = "-".join(request.path.split("/")[4:7])
        return web.Response(body=file_of(served[day]))

    store = Store(tmp_path)
    async with tardis(answer) as url:
        outcome = await collect(url, store)
        assert (outcome.problems, outcome.notes, outcome.failed) == ([], [], {})
        await collect(url, store)
    assert sorted(asked) == [
        ("/v1/binance-futures/book_snapshot_25/2026/01/05/SOLUSDT.csv.gz", "Bearer right"),
        ("/v1/binance-futures/book_snapshot_25/2026/01/06/SOLUSDT.csv.gz", "Bearer right"),
    ]
    table = store.read("binance-perp", "book_1s_l10", "SOLUSDT")
    expected = naive([row for day in DAYS for row in served[day]], MONDAY, MONDAY + 2 * DAY_MS)
    assert table["ts_ms"].to_pylist() == list(expected)
    values = np.stack([table[name].to_numpy() for name in table.column_names[1:41]], axis=1)
    np.testing.assert_array_equal(values, np.array(list(expected.values())))
    assert MONDAY + DAY_MS in expected
    assert 0 <= table["age_ms"].to_numpy().min() <= table["age_ms"].to_numpy().max() <= 10_000
    assert [problem for problem in verify(store) if not problem.harmless] == []


async def test_crossed_and_short_snapshots_are_left_out_and_told(tmp_path: Path) -> None:
    rows = snapshots(0, 60)
    crossed = [
        (at, [(b, s, a, z) for a, s, b, z in book]) if i % 10 == 3 else (at, book) for i, (at, book) in enumerate(rows)
    ]
    store = Store(tmp_path)
    async with tardis(lambda request: web.Response(body=file_of(crossed))) as url:
        outcome = await collect(url, store, DAYS[:1])
    wrong = sum(i % 10 == 3 for i in range(len(rows)))
    assert outcome.notes == [
        f"binance-perp/book_1s_l10/SOLUSDT 2026-01-05: {wrong} of {len(rows)} snapshots were crossed or short, left out"
    ]
    assert (
        list(naive([row for i, row in enumerate(rows) if i % 10 != 3], MONDAY, MONDAY + 120_000))
        == store.read("binance-perp", "book_1s_l10", "SOLUSDT")["ts_ms"].to_pylist()
    )
    async with tardis(lambda request: web.Response(body=file_of(rows, levels=7))) as url:
        assert (await collect(url, Store(tmp_path / "x"), DAYS[:1], levels=5)).notes == []
        short = await collect(url, Store(tmp_path / "y"), DAYS[:1])
    assert f"{len(rows)} of {len(rows)} snapshots were crossed or short" in short.notes[0]


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (lambda: web.Response(status=404, text="no data"), "not there \\(HTTP 404\\); check the symbol and the date"),
        (lambda: web.Response(body=gzip.compress(b"exchange,symbol\nbinance,X\n")), "not a book_snapshot_25 file"),
        (lambda: web.Response(body=b"<html>busy</html>"), "not a book_snapshot_25 file"),
        (lambda: web.Response(body=file_of(snapshots(0, 60))[:-700]), "not a book_snapshot_25 file"),
    ],
)
async def test_a_day_that_is_not_there_or_is_something_else_is_told_in_one_line(
    tmp_path: Path, response: Callable[[], web.StreamResponse], line: str
) -> None:
    async with tardis(lambda request: response()) as url:
        outcome = await collect(url, Store(tmp_path), DAYS[:1])
    assert len(outcome.failed) == 1
    error = outcome.failed[SOL]
    assert isinstance(error, Rejected | DataError)
    with pytest.raises(type(error), match=line):
        raise error
    assert "\n" not in str(error)
    assert list(Store(tmp_path).partitions()) == []


async def test_a_refused_key_ends_the_run_and_a_busy_server_is_waited_for(tmp_path: Path) -> None:
    async with tardis(lambda request: web.Response(status=401)) as url:
        with pytest.raises(AuthRefused, match="the key is refused") as refused:
            await collect(url, Store(tmp_path), key="wrong")
    assert refused.value.exit_code == 77
    answers = [web.Response(status=503), web.Response(status=429), web.Response(body=file_of(snapshots(0, 60)))]
    async with tardis(lambda request: answers.pop(0)) as url:
        outcome = await collect(url, Store(tmp_path), DAYS[:1])
    assert (outcome.failed, outcome.requests) == ({}, 3)
    async with tardis(lambda request: web.Response(status=500)) as url:
        with pytest.raises(Unavailable, match="HTTP 500"):
            await collect(url, Store(tmp_path / "z"), DAYS[:1])
