"""Candles of many symbols from the embedded exchange, over a real socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.cli.test_data import running
from tests.sim.walk import HISTORY_MS, START_MS, WalkSource
from tradebot.exchange.bitget.http import HttpClient
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.candle import DAY_MS, HOUR_MS, Candle
from tradebot.sim.faults import Rule, Schedule
from tradebot.training.download import MOST_AT_ONCE, download

FROM_MS = START_MS - HISTORY_MS
STORM = Rule(kind="rate_limit_storm", scope="rest", endpoint="candles", times=3, parameters={"body": "both"})


def recorded(source: WalkSource) -> list[Candle]:
    return list(WalkSource(source.instrument.symbol).candles("5m", FROM_MS, START_MS - 1, START_MS))


def test_at_most_twenty_at_once_within_the_exchange_s_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """26 symbols, an exchange that counts requests as Bitget does and refuses three of them, a client that does not
    know that it is on this machine."""
    monkeypatch.setattr("tradebot.exchange.bitget.rest.on_loopback", lambda url: False)
    clients: list[HttpClient] = []
    made, asked = HttpClient.__init__, BitgetRest.candles
    now = most = 0

    def remembered(self: HttpClient, *arguments: Any, **options: Any) -> None:
        clients.append(self)
        made(self, *arguments, **options)

    async def counted(self: BitgetRest, *arguments: Any) -> list[Candle]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            return await asked(self, *arguments)
        finally:
            now -= 1

    monkeypatch.setattr(HttpClient, "__init__", remembered)
    monkeypatch.setattr(BitgetRest, "candles", counted)
    names = [f"S{number:02d}USDT" for number in range(24)]
    sources = [WalkSource(name) for name in (*names, "BTCUSDT", "ETHUSDT")]
    told: list[tuple[str, int, int, str]] = []
    with running(*sources, faults=Schedule(rules=(STORM,)), rate_limits=True) as url:
        failed = download(url, names, "5m", FROM_MS, START_MS, tmp_path, lambda *one: told.append(one))
    assert failed == {}
    assert most == MOST_AT_ONCE
    assert clients[0].counts.rate_limited == 3, "the client's own budget keeps the limits; only the storm refused"
    assert [done for _, done, _, _ in told] == list(range(1, 27))
    assert {(total, problem) for _, _, total, problem in told} == {(26, "")}
    assert sorted(name for name, *_ in told) == sorted(source.instrument.symbol for source in sources)
    for source in sources:
        table = pq.read_table(tmp_path / f"{source.instrument.symbol}.parquet")
        expected = recorded(source)
        assert table["open_time"].to_pylist() == [candle.open_time_ms for candle in expected]
        assert table["close"].to_pylist() == [candle.close for candle in expected]
    funding = pq.read_table(tmp_path / "funding.parquet")
    times = np.array([at for at, _ in WalkSource().settlements()])
    assert sorted(set(funding["symbol"].to_pylist())) == names
    assert set(funding["funding_time"].to_pylist()) == set(times.tolist())
    assert set(np.diff(times)) == {8 * HOUR_MS}


def test_a_symbol_that_is_unknown_and_one_without_candles_cost_only_themselves(tmp_path: Path) -> None:
    told: dict[str, str] = {}
    with running(WalkSource("SOLUSDT"), WalkSource("BTCUSDT")) as url:
        failed = download(
            url, ["SOLUSDT", "NOPEUSDT"], "5m", FROM_MS, START_MS, tmp_path,
            lambda symbol, done, total, problem: told.update({symbol: problem}),
        )  # fmt: skip
        long_ago = download(
            url, ["BTCUSDT"], "5m", FROM_MS - 9 * DAY_MS, FROM_MS - 8 * DAY_MS, tmp_path / "old", lambda *one: None
        )
    assert list(failed) == ["NOPEUSDT"]
    assert "NOPEUSDT" in str(failed["NOPEUSDT"])
    assert (told["SOLUSDT"], told["BTCUSDT"]) == ("", "")
    assert "ETHUSDT" in told["ETHUSDT"], "a leader that is not there is told and nothing else"
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        "BTCUSDT.parquet", "SOLUSDT.parquet", "funding.parquet",
    ]  # fmt: skip
    assert "has no 5m candles of BTCUSDT" in str(long_ago["BTCUSDT"])


def test_what_is_there_is_kept_and_a_stop_ends_it_at_once(tmp_path: Path) -> None:
    slow = Rule(kind="slow_rest", scope="rest", symbol="ETHUSDT", parameters={"delay": 60_000, "jitter": 0})
    told: list[str] = []
    with running(WalkSource("SOLUSDT"), WalkSource("BTCUSDT"), WalkSource("ETHUSDT"),
                 faults=Schedule(rules=(slow,))) as url:  # fmt: skip
        arguments = (url, ["SOLUSDT"], "5m", FROM_MS, START_MS, tmp_path, lambda symbol, *_: told.append(symbol))
        assert download(*arguments, stop=lambda: len(told) == 2) == {}
        assert sorted(told) == ["BTCUSDT", "SOLUSDT"]
        assert not list(tmp_path.glob(".*.tmp"))
        first = (tmp_path / "SOLUSDT.parquet").stat()
        told.clear()
        assert download(*arguments, stop=lambda: len(told) == 2) == {}
        assert (tmp_path / "SOLUSDT.parquet").stat().st_mtime_ns == first.st_mtime_ns


def test_a_disk_that_takes_nothing_is_a_reason_for_each_symbol(tmp_path: Path) -> None:
    (tmp_path / "candles").write_text("a file where the folder should be")
    with running(WalkSource("SOLUSDT"), WalkSource("BTCUSDT"), WalkSource("ETHUSDT")) as url:
        failed = download(url, ["SOLUSDT", "BTCUSDT"], "5m", FROM_MS, START_MS, tmp_path / "candles", lambda *one: None)
    assert sorted(failed) == ["BTCUSDT", "SOLUSDT"]
    assert all("cannot make" in str(error) for error in failed.values())
