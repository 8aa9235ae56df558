"""Recorded candles as a market: source (b) of the embedded exchange.

Every candle it serves in the recorded interval equals the recorded one, float for float. Book and trades are generated
around the candle's real path (:mod:`tradebot.sim.market.path`) with a stated model of spread and depth
(:mod:`tradebot.sim.market.ladder`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tradebot.data.columns import utc
from tradebot.data.files import CandleTable
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.sim.market.contract import contract, price_grid, size_grid
from tradebot.sim.market.funding import FundingSchedule
from tradebot.sim.market.noise import stream_key
from tradebot.sim.market.path import POINTS, RecordedPaths
from tradebot.sim.market.path_market import PathMarket
from tradebot.sim.market.series import CandleColumns


def columns_of(table: CandleTable) -> CandleColumns:
    """A candle file's columns; quote volumes, which files lack, are zero."""
    return CandleColumns(
        table.open_time, table.open, table.high, table.low, table.close, table.volume, np.zeros(table.open_time.size)
    )


def interval_name(interval_ms: int) -> str:
    """The name of a candle length.

    >>> interval_name(300_000)
    '5m'
    """
    return next(name for name, length in INTERVAL_MS.items() if length == interval_ms)


class CandleRecording:
    """A candle file, ready to be opened as a market over a window."""

    def __init__(
        self, symbol: str, table: CandleTable, funding: FundingSchedule, seed: int, points: int = POINTS
    ) -> None:
        self.symbol = symbol
        self.path: Path = table.path
        self.interval_ms = table.interval_ms
        self.first_ms, self.last_ms = int(table.open_time[0]), table.end_ms
        self._candles = columns_of(table)
        self._funding, self._seed, self._points = funding, seed, points

    def earliest_start_ms(self, history_days: int) -> int:
        """The first start that leaves ``history_days`` of candles before it, or half of the file where it is short."""
        return self.first_ms + min(history_days * DAY_MS, (self.last_ms - self.first_ms) // 2)

    def half_ms(self) -> int:
        """Where the first half of the file ends."""
        return self.first_ms + (self.last_ms - self.first_ms) // 2

    def market(self, start_ms: int, end_ms: int) -> PathMarket:
        """The market that trades ``start_ms`` … ``end_ms``; earlier candles are its history."""
        rows = self._candles
        ticks = price_grid(rows.open, rows.high, rows.low, rows.close)
        lots = size_grid([rows.volume], float(np.median(rows.close)))
        paths = RecordedPaths(rows, ticks, lots, stream_key(self._seed, self.symbol, "path"), self._points)
        name = interval_name(self.interval_ms)
        return PathMarket(
            contract(self.symbol, ticks, lots),
            rows,
            self.interval_ms,
            paths,
            ticks=ticks,
            lots=lots,
            funding=self._funding,
            key=stream_key(self._seed, self.symbol, "book"),
            start_ms=start_ms,
            end_ms=end_ms,
            description=(
                f"recorded {name} candles of {self.symbol} from {self.path.name}, {utc(start_ms)} to {utc(end_ms)}, "
                f"book and trades generated around their path, {self._points} moves per candle"
            ),
        )
