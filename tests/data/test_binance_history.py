"""Binance's candles over HTTP: pages, weights, refusals."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.data.history import MONDAY, candle
from tests.data.test_tardis import tardis
from tradebot.data.collect import Collector
from tradebot.data.partition import days_between
from tradebot.data.plan import Series, plan
from tradebot.data.sources.binance import BinanceHistory, BinanceMarket
from tradebot.data.store import Store
from tradebot.errors import DataError, RateLimited, Rejected, Unavailable
from tradebot.market.candle import DAY_MS, Candle

STEP = 300_000
NOW = MONDAY + 3 * DAY_MS + 1_000


def kline(at: int) -> list[Any]:
    """A row as Binance sends it."""
    row = candle(at)
    texts = [f"{value:.8f}" for value in (row.open, row.high, row.low, row.close, row.volume)]
    return [at, *texts, at + STEP - 1, f"{row.quote_volume:.8f}", 17, "1.0", "2.0", "0"]


def answer(request: web.Request, asked: list[dict[str, str]]) -> web.StreamResponse:
    if request.path.endswith("/time"):
        return web.json_response({"serverTime": NOW})
    query = dict(request.query)
    asked.append({"path": request.path, **query})
    if query["symbol"] == "NOPE":
        return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
    first, last = int(query["startTime"]), min(int(query["endTime"]), NOW)
    times = range(-(-first // STEP) * STEP, last + 1, STEP)
    return web.Response(body=json.dumps([kline(at) for at in times][: int(query["limit"])]))


@asynccontextmanager
async def binance(market: BinanceMarket, asked: list[dict[str, str]]) -> AsyncIterator[BinanceHistory]:
    async with tardis(lambda request: answer(request, asked)) as url, BinanceHistory(market, url) as history:
        yield history


@pytest.mark.parametrize(
    ("market", "path", "limit"),
    [("binance-perp", "/fapi/v1/klines", "499"), ("binance-spot", "/api/v3/klines", "1000")],
)
async def test_days_of_candles_are_collected_exactly(
    tmp_path: Path, market: BinanceMarket, path: str, limit: str
) -> None:
    store, asked = Store(tmp_path), []  # type: ignore[var-annotated]
    days = days_between(MONDAY, MONDAY + 4 * DAY_MS)
    async with binance(market, asked) as history:
        now = await history.now_ms()
        todos = plan(store, [Series(market, "candle_5m", "SOLUSDT")], days, {market: history}, now)
        outcome = await Collector(store, {market: history}, None, None, workers=4).run(todos, {market: now})
    assert (outcome.problems, outcome.failed) == ([], {})
    rows = [Candle(*row.values()) for row in store.read(market, "candle_5m", "SOLUSDT").to_pylist()]
    assert rows == [candle(at) for at in range(MONDAY, MONDAY + 3 * DAY_MS, STEP)]
    assert {(one["path"], one["limit"], one["interval"]) for one in asked} == {(path, limit, "5m")}
    assert store.complete_days(market, "candle_5m", "SOLUSDT") == set(days[:2])  # the third ended a second ago


async def test_refusals_are_told_by_what_to_do_about_them() -> None:
    async with binance("binance-perp", []) as history:
        with pytest.raises(Rejected, match=r"Binance klines NOPE: Invalid symbol. \(-1121\)"):
            await history.candles("NOPE", "5m", 0, STEP, mark=False)
    for status, error in ((429, RateLimited), (418, RateLimited), (503, Unavailable), (200, DataError)):
        async with (
            tardis(lambda request, s=status: web.Response(status=s, text="<html>")) as url,  # type: ignore[misc]
            BinanceHistory("binance-spot", url) as history,
        ):
            with pytest.raises(error):
                await history.candles("SOLUSDT", "5m", 0, STEP, mark=False)
    async with BinanceHistory("binance-spot", "http://127.0.0.1:1") as history:
        with pytest.raises(Unavailable, match="no answer"):
            await history.now_ms()


async def test_requests_to_the_world_are_spaced_below_the_weight_limit() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        raise Unavailable("enough")

    history = BinanceHistory("binance-perp", "https://fapi.binance.com", sleep=sleep)
    assert history.per_second("candle_5m") == pytest.approx(16)
    await history._take_turn()
    with pytest.raises(Unavailable):
        await history._take_turn()
    assert waits == [pytest.approx(1 / 16, abs=0.01)]
