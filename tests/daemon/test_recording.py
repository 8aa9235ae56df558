"""Recording beside trading: the real daemon in paper mode, other venues beside it, and rolling after midnight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually
from tests.exchange.venue_servers import BinanceServer, BybitServer, serving
from tests.faults.world import LIMITS, markets, model_store, settings
from tradebot.daemon.app import Daemon
from tradebot.daemon.recording import GRACE_MS, NoRecording, Recording, Roller, recording_of
from tradebot.data.recorder.raw import RawLog
from tradebot.data.recorder.records import BookRecord, Edge
from tradebot.data.recorder.roll import roll
from tradebot.data.store import Store
from tradebot.journal import open_state
from tradebot.market.candle import DAY_MS, MINUTE_MS
from tradebot.settings import Settings
from tradebot.shell.clock import PacedClock
from tradebot.sim.server import EmbeddedExchange

T0 = 1_767_571_200_000  # 2026-01-05 00:00 UTC


@asynccontextmanager
async def paper_bot(folder: Path, **changes: Any) -> AsyncIterator[Daemon]:
    """A daemon in paper mode on an exchange that runs by itself, sixty times as fast as the wall."""
    async with EmbeddedExchange(markets(3, 60 * MINUTE_MS), speed=60.0, limits=LIMITS) as exchange:
        tree: dict[str, Any] = settings(exchange, folder / "state", model_store(folder)).model_dump()
        tree["exchange"]["clock"] = "wall"
        tree |= {"mode": "paper", "data": {"root": str(folder / "data")}, **changes}
        with open_state(folder / "state") as opened:
            daemon = Daemon(Settings.model_validate(tree), None, opened)
            task = asyncio.create_task(daemon.run())
            try:
                await asyncio.wait({asyncio.create_task(daemon.ready.wait()), task}, return_when="FIRST_COMPLETED")
                if task.done():
                    task.result()
                yield daemon
            finally:
                daemon.request_stop()
                await asyncio.gather(task, return_exceptions=True)


async def test_paper_trading_records_by_itself_and_other_venues_with_it(tmp_path: Path) -> None:
    spot, bybit = BinanceServer("spot"), BybitServer()
    async with serving(spot, bybit):
        venues = {
            "books": ["binance-spot", "bybit-spot"],
            "pairs": ["BTCUSDT"],
            "binance_spot_rest": f"http://{spot.url}",
            "binance_spot_ws": f"ws://{spot.url}",
            "bybit_spot_ws": f"ws://{bybit.url}/v5/public/spot",
        }
        async with paper_bot(tmp_path, venues=venues) as daemon:
            recording = daemon.recording
            assert isinstance(recording, Recording)
            grid = daemon.venues[0].books
            await eventually(lambda: all(feed.counts.snapshots for feed in grid.feeds))
            await eventually(
                lambda: daemon.snapshot()["health"]["venue_up"] == {"binance-spot": 1.0, "bybit-spot": 1.0}
            )
            await eventually(lambda: daemon.feed.rows.sealed >= 4)
            # the 5 s grid, without waiting for it
            grid._grid.reach(daemon.clock.now_ms() + 5_000)
            assert daemon.snapshot()["health"]["recorder_records"] == recording.kept().records > 10
    done = roll(tmp_path / "state" / "recorder", Store(tmp_path / "data"))
    assert (done.problems, done.lost) == ([], 0)
    stored = Store(tmp_path / "data")
    partitions = {(p.exchange, p.channel, p.symbol) for p in stored.partitions()}
    assert {(name, "book_5s_l5", "BTCUSDT") for name in ("binance-spot", "bybit-spot")} <= partitions
    assert {("bitget", "book_1s_l10", symbol) for symbol in daemon.config.symbols} <= partitions
    row, *_ = stored.read("binance-spot", "book_5s_l5", "BTCUSDT").to_pylist()  # more when a boundary passed meanwhile
    assert (row["bid_px_1"], row["ask_px_2"], row["stale"]) == (99.0, 102.0, False)
    assert (row["ask_px_5"], row["bid_sz_5"]) == (105.0, 1.0)


def test_what_is_recorded_follows_the_mode(tmp_path: Path) -> None:
    def kind(**changes: Any) -> type:
        tree = {"state_dir": tmp_path / "state", **changes}
        return type(recording_of(Settings.model_validate(tree), ["SOLUSDT"], PacedClock()))

    assert kind(mode="demo") is NoRecording
    assert kind(mode="paper", recorder={"modes": []}) is NoRecording
    assert kind(mode="live") is NoRecording


def raw_day(raw: Path, at_ms: int) -> None:
    """One row of SOLUSDT."""
    log = RawLog(raw)
    stream = log.stream("bitget", "SOLUSDT")
    side = tuple(float(i + 1) for i in range(10))
    stream.append(at_ms, Edge(at_ms, True, False, ""))
    stream.append(
        at_ms + 1_000, BookRecord(at_ms + 1_000, 1, False, side[::-1], side, tuple(s + 20 for s in side), side)
    )
    log.close()


async def test_what_an_earlier_run_left_is_rolled_at_the_start_and_the_rest_after_midnight(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", Store(tmp_path / "store")
    clock = PacedClock()
    clock.advance(T0 + DAY_MS + 3_600_000)
    raw_day(raw, T0)
    raw_day(raw, T0 + DAY_MS)
    roller = Roller(raw, str(tmp_path / "store"), clock)
    assert roller.next_due_ms() is None
    roller.start()

    def days() -> list[str]:
        return [partition.date for partition in store.partitions("bitget", "book_1s_l10")]

    await roller.tick()
    await eventually(lambda: days() == ["2026-01-05"], within_s=20)
    due = roller.next_due_ms()
    assert due == T0 + 2 * DAY_MS + GRACE_MS
    await roller.tick()  # not yet
    clock.advance(due)
    await eventually(lambda: roller._waiting is not None and roller._waiting.done())
    await roller.tick()
    await eventually(lambda: days() == ["2026-01-05", "2026-01-06"], within_s=20)
    await eventually(lambda: not [path for path in raw.iterdir() if path.is_dir()])
    await roller.close()


async def test_rolling_that_fails_is_told_and_tried_again_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    clock = PacedClock()
    clock.advance(T0 + DAY_MS)
    raw_day(raw, T0 - DAY_MS)
    (tmp_path / "store").write_text("no folder")
    roller = Roller(raw, str(tmp_path / "store"), clock)
    roller.start()
    await roller.tick()
    await eventually(lambda: roller._waiting is not None and roller._waiting.done(), within_s=20)
    assert roller._waiting is not None
    assert roller._waiting.exception() is None
    assert [path.name for path in raw.iterdir() if path.is_dir()] == ["2026-01-04"]
    (tmp_path / "store").unlink()
    clock.advance(T0 + 2 * DAY_MS)
    assert roller.next_due_ms() == T0 + DAY_MS + DAY_MS + GRACE_MS
    clock.advance(T0 + 2 * DAY_MS + GRACE_MS)
    await roller.tick()
    await eventually(lambda: not [path for path in raw.iterdir() if path.is_dir()], within_s=20)
    await roller.close()
