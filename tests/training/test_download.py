"""Downloads of many symbols end in order: when somebody stops them, and when the disk is full."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from tradebot.errors import BusyError, TradebotError, Unavailable
from tradebot.market.candle import Candle
from tradebot.training import download as downloads
from tradebot.training.download import download

BAR = 300_000


class Exchange:
    """Answers about candles at once, or for ``SLOWUSDT`` never; it has no funding."""

    def __init__(self, url: str) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
        if symbol == "SLOWUSDT":
            await asyncio.sleep(3_600)
        return [Candle(at, 1.0, 1.0, 1.0, 1.0, 1.0) for at in range(start_ms, end_ms, BAR)]


@pytest.fixture(autouse=True)
def exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_funding(*about: object) -> None:
        raise Unavailable("no funding today")

    monkeypatch.setattr(downloads, "BitgetRest", Exchange)
    monkeypatch.setattr(downloads, "funding", no_funding)


def fetched(folder: Path, symbols: Sequence[str], stop_at: int = -1) -> dict[str, TradebotError]:
    """Stopped as soon as ``stop_at`` files are there, or after a minute."""
    end = time.monotonic() + 60

    def stop() -> bool:
        return len(list(folder.glob("*.parquet"))) == stop_at or time.monotonic() > end

    return download("http://x", symbols, "5m", 0, 10 * BAR, folder, lambda *told: None, stop)


def test_what_is_stopped_ends_at_once_and_keeps_what_came(tmp_path: Path) -> None:
    started = time.monotonic()
    assert fetched(tmp_path, ["AUSDT", "SLOWUSDT"], stop_at=3) == {}
    assert time.monotonic() - started < 50, "it was not stopped by what came"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AUSDT.parquet", "BTCUSDT.parquet", "ETHUSDT.parquet"]


def test_a_full_disk_is_a_reason_for_each_symbol_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*about: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads.pq, "write_table", no_room)
    failed = fetched(tmp_path, ["AUSDT", "BUSDT"])
    assert list(failed) == ["AUSDT", "BUSDT"]
    assert all(isinstance(error, BusyError) and "no space left" in str(error) for error in failed.values())
    assert list(tmp_path.iterdir()) == []
