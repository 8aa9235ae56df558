"""Candles as columns: served as rows, aggregated to longer UTC-aligned intervals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap

import numpy as np
from numpy.typing import NDArray

from tradebot.errors import DataError
from tradebot.market.candle import INTERVAL_MS, MONDAY_MS, WEEK_MS, Candle

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def interval_ms_of(interval: str) -> int:
    """Length of a named interval. Raises DataError for a name that does not exist."""
    try:
        return INTERVAL_MS[interval]
    except KeyError:
        raise DataError(f"no candle interval {interval!r}; choose of {', '.join(INTERVAL_MS)}") from None


def interval_starts(at: Ints, interval_ms: int) -> Ints:
    """Start of the UTC-aligned interval that holds each time (weeks start on Monday)."""
    origin = MONDAY_MS if interval_ms % WEEK_MS == 0 else 0
    return (at - origin) // interval_ms * interval_ms + origin


@dataclass(frozen=True, slots=True)
class CandleColumns:
    """Candles, oldest first: open times (ms) and float columns as :class:`~tradebot.market.candle.Candle` has them."""

    open_time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    quote_volume: Floats

    def __len__(self) -> int:
        return int(self.open_time.size)

    def rows(self) -> list[Candle]:
        """One struct per candle."""
        return list(
            starmap(
                Candle,
                zip(
                    self.open_time.tolist(),
                    self.open.tolist(),
                    self.high.tolist(),
                    self.low.tolist(),
                    self.close.tolist(),
                    self.volume.tolist(),
                    self.quote_volume.tolist(),
                    strict=True,
                ),
            )
        )

    def part(self, first: int, last: int) -> CandleColumns:
        """Rows ``first`` (included) to ``last`` (excluded)."""
        cut = slice(first, last)
        return CandleColumns(
            self.open_time[cut],
            self.open[cut],
            self.high[cut],
            self.low[cut],
            self.close[cut],
            self.volume[cut],
            self.quote_volume[cut],
        )

    def between(self, start_ms: int, end_ms: int) -> CandleColumns:
        """Candles with ``start_ms <= open_time <= end_ms``."""
        first, last = np.searchsorted(self.open_time, (start_ms, end_ms + 1))
        return self.part(int(first), int(last))

    def then(self, more: CandleColumns) -> CandleColumns:
        """These candles followed by later ones."""
        return CandleColumns(
            *(
                np.concatenate((getattr(self, name), getattr(more, name)))
                for name in ("open_time", "open", "high", "low", "close", "volume", "quote_volume")
            )
        )

    def aggregated(self, interval_ms: int) -> CandleColumns:
        """Longer candles; the last one stands as far as its rows reach."""
        if not len(self):
            return self
        starts = interval_starts(self.open_time, interval_ms)
        first = np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))
        last = np.append(first[1:], len(self)) - 1
        return CandleColumns(
            starts[first],
            self.open[first],
            np.maximum.reduceat(self.high, first),
            np.minimum.reduceat(self.low, first),
            self.close[last],
            _sums(self.volume, first),
            _sums(self.quote_volume, first),
        )


def _sums(values: Floats, first: Ints) -> Floats:
    """Sums of decimal fractions from each ``first`` on: the last digits, noise of binary addition, are rounded off."""
    sums: Floats = np.add.reduceat(values, first)
    return np.round(sums, 8)


EMPTY = CandleColumns(np.empty(0, np.int64), *(np.empty(0) for _ in range(6)))
