"""Candles and what was known beside them from an exchange's public REST interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tradebot.data.sources.bitget import FUNDING_PAGE, BitgetHistory
from tradebot.errors import DataError, ExchangeError, Rejected
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.forecasters.base import CandleColumns
from tradebot.market.candle import INTERVAL_MS, Candle, interval_start
from tradebot.market.resample import resampled
from tradebot.market.series import filled
from tradebot.training.sides import LEADERS, Beside, Reading

PART = "5m"
"""Candles that decisions are made on, and longer ones are made of, while the bot trades."""


class HasCandles(Protocol):
    """What gives closed candles of an interval that open from one moment (ms) to before another, oldest first."""

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[Candle]: ...


async def read(url: str, symbol: str, interval: str, start_ms: int, end_ms: int) -> tuple[CandleColumns, Beside]:
    """Closed candles of ``interval``, those of the leaders, and settled funding. Basis and open interest have no past
    there. Raises ExchangeError when the symbol's own candles cannot be had; what else cannot be had is left out."""
    beside = Beside()
    async with BitgetRest(url) as rest:
        own = await candles_as_live(rest, symbol, interval, start_ms, end_ms)
        for leader in LEADERS.values():
            if leader == symbol:
                continue
            try:
                found = await candles_as_live(rest, leader, interval, start_ms, end_ms)
                beside.candles[leader] = found
                beside.notes.append(f"{leader} beside {symbol}: {len(found)} candles of the exchange")
            except (ExchangeError, DataError) as error:
                beside.notes.append(f"{leader} is left out: {error}")
        try:
            beside.readings["funding"] = await funding(BitgetHistory(rest), symbol, start_ms)
            beside.notes.append(f"funding of {symbol}: of the exchange")
        except (ExchangeError, DataError) as error:
            beside.notes.append(f"funding is left out: {error}")
    return own, beside


async def funding(history: BitgetHistory, symbol: str, start_ms: int) -> Reading:
    """Settlements, the last one before ``start_ms`` included."""
    rates: dict[int, float] = {}
    number = 1
    while True:
        page = await history.funding(symbol, number)
        rates |= dict(page)
        if len(page) < FUNDING_PAGE or page[-1][0] < start_ms:
            break
        number += 1
    at = sorted(rates)
    return Reading(np.array(at, dtype=np.int64), np.array([rates[moment] for moment in at], dtype=np.float64))


async def candles_as_live(rest: HasCandles, symbol: str, interval: str, start_ms: int, end_ms: int) -> CandleColumns:
    """Closed candles of ``interval``, longer ones made of those that decisions are made on, as live makes them, so that
    both give the same bits (the exchange adds volumes in another order). A missing part is flat, as it is live; a
    candle without any part is missing. Raises ExchangeError, and DataError for a symbol that the exchange refuses.
    """
    try:
        return await _as_live(rest, symbol, interval, start_ms, end_ms)
    except Rejected as error:
        raise DataError(f"{error}; is {symbol} listed? 'tradebot data symbols' shows what is") from error


async def _as_live(rest: HasCandles, symbol: str, interval: str, start_ms: int, end_ms: int) -> CandleColumns:
    bar_ms, part_ms = INTERVAL_MS[interval], INTERVAL_MS[PART]
    if bar_ms <= part_ms or bar_ms % part_ms:
        return columns_of(await rest.candles(symbol, interval, start_ms, end_ms), end_ms, bar_ms)
    heard = await rest.candles(symbol, PART, start_ms, end_ms)
    p = columns_of(filled(heard, part_ms), end_ms, part_ms)
    made = resampled(p.open_ms, p.open, p.high, p.low, p.close, p.volume, part_ms=part_ms, whole_ms=bar_ms)
    columns = CandleColumns(made.open_ms, made.open, made.high, made.low, made.close, made.volume)
    there = [interval_start(candle.open_time_ms, bar_ms) for candle in heard]
    return columns.where(np.isin(columns.open_ms, there))


def columns_of(candles: Sequence[Candle], end_ms: int, bar_ms: int) -> CandleColumns:
    """Candles as columns, leaving out any that had not closed at ``end_ms``."""
    closed = [candle for candle in candles if candle.open_time_ms + bar_ms <= end_ms]
    table = np.array([(c.open, c.high, c.low, c.close, c.volume) for c in closed], dtype=np.float64).reshape(-1, 5)
    return CandleColumns(
        open_ms=np.array([c.open_time_ms for c in closed], dtype=np.int64),
        open=table[:, 0].copy(),
        high=table[:, 1].copy(),
        low=table[:, 2].copy(),
        close=table[:, 3].copy(),
        volume=table[:, 4].copy(),
    )
