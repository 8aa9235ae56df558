"""What was known beside a candle is looked up by time, and never from later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shared import shared_path
from tests.training import market
from tradebot.data.store import Store
from tradebot.errors import DataError
from tradebot.features.side import SIDE
from tradebot.forecasters.base import CandleColumns
from tradebot.jobs import ParquetSource
from tradebot.market.candle import DAY_MS, HOUR_MS, INTERVAL_MS, Candle
from tradebot.market.series import Aggregator, filled
from tradebot.training.candles import load_candles
from tradebot.training.scoring import ALL_DAYS, FAR_MS
from tradebot.training.sides import absent
from tradebot.training.source_rest import candles_as_live

BTC, ETH, FUNDING = (SIDE.index(name) for name in ("btc_close", "eth_close", "funding"))
SOL = market.candles(3_000, seed=1)
OTHER = market.candles(3_000, seed=2)


def load(path: Path, symbol: str = "SOLUSDT", interval: str = "5m") -> tuple[CandleColumns, list[str]]:
    notes: list[str] = []
    source = ParquetSource(path=str(path))
    return load_candles(source, symbol, interval, as_of_ms=FAR_MS, days=ALL_DAYS, say=notes.append), notes


def side(columns: CandleColumns) -> np.ndarray:
    assert columns.side is not None
    return columns.side


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    market.write_parquet(tmp_path / "venue_SOLUSDT_perp_5m.parquet", SOL)
    gone = np.ones(3_000, dtype=np.bool_)
    gone[:500] = False
    market.write_parquet(tmp_path / "venue_BTCUSDT_perp_5m.parquet", OTHER.where(gone))
    settled = market.START_MS + 8 * HOUR_MS * np.arange(1, 20)
    rates = pa.table(
        {"symbol": ["SOLUSDT"] * 19, "funding_time": settled, "funding_rate": 1e-4 * np.arange(1, 20, dtype=np.float64)}
    )
    pq.write_table(rates, tmp_path / "venue_perp_funding.parquet")
    return tmp_path


def test_files_beside_a_file_are_found_and_said(folder: Path) -> None:
    found, notes = load(folder / "venue_SOLUSDT_perp_5m.parquet")
    assert [note.partition(":")[0] for note in notes] == ["BTCUSDT beside SOLUSDT", "funding of SOLUSDT"]
    columns = side(found)
    assert np.isnan(columns[:500, BTC]).all(), "a candle that the leader does not have is not guessed"
    np.testing.assert_array_equal(columns[500:, BTC], OTHER.close[500:])
    assert np.isnan(columns[:, ETH]).all()
    eight = 8 * HOUR_MS // market.BAR_MS
    assert np.isnan(columns[: eight - 1, FUNDING]).all()
    assert columns[eight - 1, FUNDING] == pytest.approx(1e-4), "known at the close that is the settlement's moment"
    assert columns[2 * eight - 2, FUNDING] == pytest.approx(1e-4)
    assert columns[2 * eight - 1, FUNDING] == pytest.approx(2e-4)
    assert absent(found) == ("eth_close", "mark", "index", "open_interest")


def test_longer_candles_are_made_of_shorter_ones_with_what_was_known_at_their_close(folder: Path) -> None:
    five, _ = load(folder)
    hours, _ = load(folder, interval="1h")
    assert len(hours) == 250
    np.testing.assert_array_equal(hours.close, five.close[11::12])
    np.testing.assert_array_equal(side(hours)[:, FUNDING], side(five)[11::12, FUNDING])
    np.testing.assert_array_equal(side(hours)[42:, BTC], side(five)[11::12, BTC][42:])
    with pytest.raises(DataError, match="that 1m candles can be made of"):
        load(folder, interval="1m")


def test_a_symbol_that_leads_has_its_own_closes(folder: Path) -> None:
    found, _ = load(folder, "BTCUSDT")
    np.testing.assert_array_equal(side(found)[:, BTC], found.close)


def test_the_file_of_another_symbol_is_refused(folder: Path) -> None:
    """A leader's own closes would be those of a stranger, and a champion made of another market's candles."""
    with pytest.raises(DataError, match="holds candles of SOLUSDT, not of BTCUSDT"):
        load(folder / "venue_SOLUSDT_perp_5m.parquet", "BTCUSDT")
    nameless = market.write_parquet(folder / "mine.parquet", SOL)
    assert len(load(nameless)[0]) == len(SOL)


def test_a_leader_that_cannot_be_read_is_left_out_and_said(folder: Path) -> None:
    (folder / "venue_BTCUSDT_perp_5m.parquet").write_bytes(b"torn")
    found, notes = load(folder / "venue_SOLUSDT_perp_5m.parquet")
    assert np.isnan(side(found)[:, BTC]).all()
    assert any(note.startswith("BTCUSDT is left out: ") for note in notes)


def test_a_data_store_gives_candles_funding_mark_index_and_open_interest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for symbol, columns in (("SOLUSDT", SOL), ("BTCUSDT", OTHER)):
        table = pa.table(
            {
                "open_time": columns.open_ms, "open": columns.open, "high": columns.high, "low": columns.low,
                "close": columns.close, "volume": columns.volume, "quote_volume": columns.volume,
            }
        )  # fmt: skip
        store.write_days("bitget", "candle_5m", symbol, table)
        store.write_days("bitget", "mark_candle_5m", symbol, table)
    at = market.START_MS + DAY_MS + 60_000
    store.write_days("bitget", "open_interest", "SOLUSDT", pa.table({"ts_ms": [at], "size": [77.0]}))
    ticker = {"ts_ms": [at], "last_px": [1.0], "mark_px": [2.0], "index_px": [3.0], "funding_rate": [0.1]}
    store.write_days("bitget", "ticker", "SOLUSDT", pa.table(ticker))
    found, _ = load(tmp_path)
    columns = side(found)
    np.testing.assert_array_equal(columns[:, BTC], OTHER.close)
    np.testing.assert_array_equal(columns[:, SIDE.index("mark")], SOL.close)
    after = found.open_ms + market.BAR_MS >= at
    for name, value in (("open_interest", 77.0), ("index", 3.0)):
        assert np.isnan(columns[~after, SIDE.index(name)]).all()
        assert (columns[after, SIDE.index(name)] == value).all()


def test_beside_the_recorded_candles_lie_the_leaders_and_the_funding() -> None:
    path = shared_path("data/market/candles/bybit_SOLUSDT_perp_5m.parquet")
    found, notes = load(path)
    assert len(notes) == 3
    assert absent(found) == ("mark", "index", "open_interest")
    known = np.isfinite(side(found)[:, [BTC, ETH, FUNDING]]).mean(axis=0)
    assert (known > 0.99).all()
    whole, _ = load(path.parent, "SOLUSDT")
    assert replace(whole, side=None).open_ms[-1] == found.open_ms[-1]


class Exchange:
    """Answers with the candles it was given, whatever is asked for; ``asked`` are the intervals."""

    def __init__(self, columns: CandleColumns) -> None:
        table = (columns.open_ms, columns.open, columns.high, columns.low, columns.close, columns.volume)
        self.candles_5m = [Candle(*row) for row in zip(*(column.tolist() for column in table), strict=True)]
        self.asked: list[str] = []

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
        self.asked.append(interval)
        return [candle for candle in self.candles_5m if start_ms <= candle.open_time_ms < end_ms]


@pytest.mark.parametrize("interval", ["15m", "1h"])
async def test_longer_candles_of_an_exchange_are_made_as_live_makes_them(interval: str) -> None:
    bar_ms = INTERVAL_MS[interval]
    there = np.ones(3_000, dtype=np.bool_)
    there[[500, 501, 700]] = False  # parts
    there[1_200:1_320] = False  # and whole candles that the exchange does not have
    exchange = Exchange(SOL.where(there))
    end_ms = market.START_MS + 240 * HOUR_MS
    found = await candles_as_live(exchange, "SOLUSDT", interval, market.START_MS, end_ms)
    assert exchange.asked == ["5m"]
    live, wanted = Aggregator(market.BAR_MS, bar_ms), []
    for candle in filled([c for c in exchange.candles_5m if c.open_time_ms < end_ms], market.BAR_MS):
        whole = live.push(candle)
        gone = market.START_MS + 1_200 * market.BAR_MS
        if whole is not None and not gone <= whole.open_time_ms < gone + 120 * market.BAR_MS:
            wanted.append(whole)
    columns = (found.open_ms, found.open, found.high, found.low, found.close, found.volume)
    assert [Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)] == wanted
    assert len(found) == 240 * HOUR_MS // bar_ms - 10 * HOUR_MS // bar_ms


async def test_candles_that_are_decided_on_come_as_they_are() -> None:
    exchange = Exchange(SOL)
    found = await candles_as_live(exchange, "SOLUSDT", "5m", market.START_MS, market.START_MS + DAY_MS)
    assert exchange.asked == ["5m"]
    np.testing.assert_array_equal(found.close, SOL.close[:288])
