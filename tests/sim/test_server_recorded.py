"""The exchange on recorded markets: what it sends is what was recorded."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pyarrow.parquet as pq
import pytest

from tests.shared import shared_path
from tests.sim.clients import LocalBook, bench
from tests.sim.recordings import candle_columns, write
from tradebot.market.candle import HOUR_MS
from tradebot.sim.market import open_market

CANDLES = "data/market/candles/bybit_SOLUSDT_perp_5m.parquet"
BOOKS = "data/market/lob/standx_BTCUSD_perp_20260105_1s_l10.parquet"


def _recorded(path: Path) -> dict[int, list[float]]:
    table = pq.read_table(path).to_pydict()
    columns = [table[name] for name in ("open", "high", "low", "close", "volume")]
    return {start: [column[i] for column in columns] for i, start in enumerate(table["open_time"])}


async def test_every_candle_pushed_and_served_equals_the_recorded_one() -> None:
    path = shared_path(CANDLES)
    recorded = _recorded(path)
    (source,) = open_market([str(path)], [], 7, for_ms=4 * HOUR_MS, history_days=10)
    async with bench([source]) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.stream()
        await stream.subscribe("candle5m", "books")
        pushed: dict[int, list[float]] = {}
        book = LocalBook()
        seen = 4
        first = [await stream.next() for _ in range(seen)]
        for push in first:
            if push.get("arg", {}).get("channel") == "books" and "data" in push:
                book.take(push)
        while "end" not in (step := await paced.step()):
            for push in await stream.until(step["counts"][stream.conn_id]):
                if push["arg"]["channel"] == "books":
                    book.take(push)
                for row in push["data"] if push["arg"]["channel"] == "candle5m" else ():
                    pushed[int(row[0])] = [float(value) for value in row[1:6]]
        now = b.server.exchange.now_ms
        finished = {start: row for start, row in pushed.items() if start + 300_000 <= now}
        assert len(finished) >= 47
        assert finished == {start: recorded[start] for start in finished}
        served = await b.rest.public("history-candles", symbol="SOLUSDT", granularity="5m", limit=200)
        assert len(served) == 200
        assert all([float(value) for value in row[1:6]] == recorded[int(row[0])] for row in served)
        assert book.updates > 400


async def test_the_base_intervals_of_all_markets_are_told(tmp_path: Path) -> None:
    coarse = write(tmp_path / "SOLUSDT_15m.parquet", candle_columns(900, step_ms=900_000))
    fine = write(tmp_path / "ETHUSDT_1m.parquet", candle_columns(13_500, step_ms=60_000))
    async with (
        bench(open_market([coarse, fine], [], 1)) as b,
        aiohttp.ClientSession(b.server.rest_url) as session,
        session.get("/sim/market") as answer,
    ):
        told = await answer.json()
    assert (told["symbols"], told["intervals"]) == (["SOLUSDT", "ETHUSDT"], [900_000, 60_000])


async def test_recorded_books_with_locked_rows_rebuild_with_the_right_checksums() -> None:
    path = shared_path(BOOKS)
    (source,) = open_market([f"BTCUSDT={path}"], [], 7, for_ms=HOUR_MS // 2)
    async with bench([source]) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.stream()
        await stream.subscribe("books", symbol="BTCUSDT")
        await stream.next()
        book = LocalBook()
        book.take(await stream.next())
        locked = 0
        for _ in range(600):
            step = await paced.step()
            for push in await stream.until(step["counts"][stream.conn_id]):
                book.take(push)
            bids, asks = book.sorted()
            assert float(bids[0][0]) <= float(asks[0][0])
            locked += bids[0][0] == asks[0][0]
        assert locked > 50
        assert book.updates > 100


async def test_an_order_fills_at_prices_of_the_book_it_met() -> None:
    (source,) = open_market([str(shared_path(CANDLES))], [], 7, for_ms=HOUR_MS, history_days=10)
    async with bench([source]) as b:
        paced = await b.paced()
        await paced.attach()
        for _ in range(5):
            await paced.step()
        depth = await b.rest.public("merge-depth", symbol="SOLUSDT", limit="max")
        await b.rest.order("buy", "20", clientOid="meet")
        await paced.step()
        fills = (await b.rest.private("order/fills"))["fillList"]
        met = dict(depth["asks"])
        assert sum(float(fill["baseVolume"]) for fill in fills) == pytest.approx(20)
        assert all(float(fill["baseVolume"]) <= met[float(fill["price"])] for fill in fills)
