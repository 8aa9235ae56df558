"""Record from the embedded exchange over real sockets, roll, replay: rows, trades and candles equal the original."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.eventually import eventually
from tests.exchange.servers import books, stream_server
from tests.sim.clients import bench
from tests.sim.recordings import START, walk
from tradebot.daemon.record import record
from tradebot.data.files import BookTable, read_books, read_trades
from tradebot.data.recorder.raw import RawLog
from tradebot.data.recorder.recorder import Recorder
from tradebot.data.recorder.roll import roll
from tradebot.data.store import Store
from tradebot.errors import BusyError
from tradebot.events import FeedStatus
from tradebot.exchange.bitget.listener import FanOut, Listener
from tradebot.exchange.bitget.pacing import Timing
from tradebot.exchange.bitget.stream import BitgetStream
from tradebot.market.candle import Candle
from tradebot.settings import LoadedSettings, load_settings
from tradebot.sim.market import open_market
from tradebot.sim.source import MarketStep

SECONDS = 2_400
LEVELS = 10


def market_files(folder: Path) -> tuple[str, str]:
    """40 minutes of a ten-level book and its trades; rows 1400 to 1430 are missing."""
    rng = np.random.default_rng(11)
    mid = 1500 + np.cumsum(rng.integers(-2, 3, SECONDS))
    ts = START + 1_000 * np.arange(SECONDS, dtype=np.int64)
    books: dict[str, np.ndarray] = {"ts_ms": ts}
    for i in range(LEVELS):
        books[f"ask_px_{i + 1}"] = (mid + 1 + i) / 10.0
        books[f"ask_sz_{i + 1}"] = rng.integers(1, 900, SECONDS) / 100.0
        books[f"bid_px_{i + 1}"] = (mid - i) / 10.0
        books[f"bid_sz_{i + 1}"] = rng.integers(1, 900, SECONDS) / 100.0
    for name, values in books.items():
        if name != "ts_ms":
            values[5::5] = values[4:-1:5]  # every fifth row repeats the one before
    rows = np.flatnonzero(rng.random(SECONDS) < 0.6)
    buys = rng.random(rows.size) < 0.5
    trades = {
        "recv_ms": ts[rows] - rng.integers(1, 900, rows.size),
        "trade_ms": ts[rows] - 950,
        "price": np.where(buys, books["ask_px_1"][rows], books["bid_px_1"][rows]),
        "size": rng.integers(1, 500, rows.size) / 100.0,
        "buyer_is_maker": ~buys,
    }
    order = np.argsort(trades["recv_ms"], kind="stable")
    keep = np.setdiff1d(np.arange(SECONDS), np.arange(1_400, 1_430))
    book_path, trade_path = folder / "SOLUSDT_1s_l10.parquet", folder / "SOLUSDT_trades.parquet"
    pq.write_table(pa.table({name: values[keep] for name, values in books.items()}), book_path)
    pq.write_table(pa.table({name: values[order] for name, values in trades.items()}), trade_path)
    return str(book_path), str(trade_path)


def settings_for(tmp_path: Path, rest_url: str, ws_url: str) -> LoadedSettings:
    exchange = {"rest_url": rest_url, "public_ws": f"{ws_url}/v2/ws/public", "clock": "paced", "rate_limited": False}
    return load_settings(
        None,
        {
            **{f"exchange.{key}": value for key, value in exchange.items()},
            "symbols": ["SOLUSDT"],
            "state_dir": str(tmp_path / "state"),
            "data.root": str(tmp_path / "store"),
        },
    )


def same_rows(recorded: BookTable, original: BookTable) -> list[int]:
    """Rows of ``recorded`` that are not the original state just before their boundary, by number."""
    at = np.searchsorted(original.ts_ms, recorded.ts_ms, side="left") - 1
    wrong = np.zeros(at.size, np.bool_)
    for name in ("ask_px", "ask_sz", "bid_px", "bid_sz"):
        wrong |= (getattr(recorded, name) != getattr(original, name)[at]).any(axis=1)
    assert recorded.age_ms is not None
    wrong |= recorded.age_ms < recorded.ts_ms - original.ts_ms[at]
    return np.flatnonzero(wrong).tolist()


def shown(steps: list[MarketStep]) -> list[tuple[int, object, object]]:
    """The books of a market, where they changed."""
    return [(step.ts_ms, step.bids, step.asks) for step in steps if step.bids is not None]


async def test_what_was_recorded_equals_the_market_and_replays_as_it_was(tmp_path: Path) -> None:
    files = market_files(tmp_path)
    (source,) = open_market(files, [], 7)
    begin, end = source.start_ms, source.end_ms
    async with bench([source]) as b:
        settings = settings_for(tmp_path, b.server.rest_url, b.server.ws_url).settings
        kept = await record(settings, asyncio.Event(), for_ms=end - begin, show=lambda shown: None)
        candles = await b.rest.public("candles", symbol="SOLUSDT", granularity="5m", limit=100)
    assert (kept.lost, kept.failure) == (0, "")
    done = roll(settings.recorder_dir, Store(settings.data.root))
    assert (done.problems, done.lost) == ([], 0)
    by_channel = {Path(file).parent.parent.name: file for file in done.files}
    book_file, trade_file, candle_file = (by_channel[name] for name in ("book_1s_l10", "trade", "sealed_candle_5m"))

    original, recorded = read_books(files[0]), read_books(book_file)
    assert same_rows(recorded, original) == []
    seconds = np.arange(begin + 2_000, end, 1_000)  # from the first full second after the first snapshot
    hole = (seconds > original.ts_ms[1_399] + 9_000) & (seconds <= original.ts_ms[1_400])
    assert seconds.size > 500 > hole.sum() > 10
    assert np.isin(seconds[~hole], recorded.ts_ms).mean() == 1.0

    trades, heard = read_trades(files[1]), read_trades(trade_file)
    window = (trades.recv_ms >= original.ts_ms[original.ts_ms >= begin][0]) & (trades.recv_ms < end)
    for name in ("price", "size", "buyer_is_maker"):
        assert getattr(heard, name).tolist() == getattr(trades, name)[window].tolist()
    sealed = [
        Candle(*row.values())
        for row in Store(settings.data.root).read("bitget", "sealed_candle_5m", "SOLUSDT").to_pylist()
    ]
    served = {int(row[0]): [float(value) for value in row[1:6]] for row in candles}
    assert len(sealed) >= 2
    for candle in sealed:
        assert [candle.open, candle.high, candle.low, candle.close, candle.volume] == served[candle.open_time_ms]

    (again,) = open_market([f"SOLUSDT={file}" for file in (book_file, trade_file, candle_file)], [], 7)
    steps = walk(again)
    ticks, lots = again.instrument.tick, again.instrument.lot
    books = {int(ts): i for i, ts in enumerate(recorded.ts_ms)}
    assert len(shown(steps)) > 100
    for ts_ms, bids, asks in shown(steps):
        i = books[ts_ms]
        for levels, prices, sizes in (
            (bids, recorded.bid_px, recorded.bid_sz),
            (asks, recorded.ask_px, recorded.ask_sz),
        ):
            assert [float(price * ticks) for price, _ in levels] == prices[i].tolist()  # type: ignore[attr-defined]
            assert [float(size * lots) for _, size in levels] == sizes[i].tolist()  # type: ignore[attr-defined]
    join = -(-int(recorded.ts_ms[0]) // 300_000) * 300_000  # from here on candles are made of trades
    remade = [row for row in again.candles("5m", join, end, end) if row.open_time_ms + 300_000 <= recorded.ts_ms[-1]]
    assert len(remade) >= 2
    assert [row for row in sealed if row.open_time_ms >= join] == remade
    replayed = [(float(t.price_ticks * ticks), float(t.qty_lots * lots), t.side) for step in steps for t in step.trades]
    begun = recorded.ts_ms[np.searchsorted(recorded.ts_ms, steps[0].ts_ms) - 1]
    part = (heard.recv_ms >= begun) & (heard.recv_ms < steps[-1].ts_ms)
    assert heard.buyer_is_maker is not None
    assert len(replayed) > 100
    assert replayed == [
        (price, size, "sell" if maker else "buy")
        for price, size, maker in zip(heard.price[part], heard.size[part], heard.buyer_is_maker[part], strict=True)
    ]


async def test_one_directory_is_recorded_to_by_one_process(tmp_path: Path) -> None:
    (source,) = open_market(market_files(tmp_path), [], 7)
    async with bench([source]) as b:
        settings = settings_for(tmp_path, b.server.rest_url, b.server.ws_url).settings
        stopping = asyncio.Event()
        first = asyncio.create_task(record(settings, stopping, for_ms=None, show=lambda shown: None))
        await eventually((settings.recorder_dir / "lock").exists)
        with pytest.raises(BusyError, match="another process records there; stop it or choose another"):
            await record(settings, stopping, for_ms=None, show=lambda shown: None)
        stopping.set()
        await first


class Told(Listener):
    """Gives the recorder the feed's status, as the sequencer does in the daemon."""

    def __init__(self, recorder: Recorder, now_ms: Callable[[], int]) -> None:
        self._recorder, self._now_ms = recorder, now_ms
        self.ups = 0

    def on_feed(self, event: FeedStatus) -> None:
        self._recorder(0, self._now_ms(), event)
        self.ups += event.ok


async def test_a_lost_connection_is_a_gap_of_books_and_trades_a_broken_book_one_of_books(tmp_path: Path) -> None:
    now = START

    def tick() -> int:
        nonlocal now
        now += 1
        return now

    recorder = Recorder(RawLog(tmp_path / "raw"), ["SOLUSDT"], tick)
    recorder.start()
    told = Told(recorder, tick)
    timing = Timing(first_wait=0.01, longest_wait=0.02)
    async with stream_server() as server:
        stream = BitgetStream(server.url, ["SOLUSDT"], FanOut([told, recorder]), timing=timing, now_ms=tick)
        running = asyncio.create_task(stream.run())
        await eventually(lambda: told.ups == 1)
        server.live.transport.abort()
        await eventually(lambda: told.ups == 2)
        await server.push(books("update", "SOLUSDT", "99", "101", seq=900, pseq=850))
        await eventually(lambda: told.ups == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    recorder.stop()
    store = Store(tmp_path / "store")
    roll(tmp_path / "raw", store)
    found = [
        (row["channel"], row["reason"].partition(":")[0]) for row in store.read("bitget", "gap", "SOLUSDT").to_pylist()
    ]
    lost = [("book_1s_l10", "disconnected"), ("trade", "disconnected")]
    assert found == [
        ("book_1s_l10", "not recording"),
        ("trade", "not recording"),
        *lost,
        ("book_1s_l10", "gap after the snapshot"),
    ]
