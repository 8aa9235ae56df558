"""Candles and what was known beside them from an exchange's public REST interface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tradebot.data.sources.bitget import FUNDING_PAGE, BitgetHistory
from tradebot.errors import DataError, ExchangeError
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.forecasters.base import CandleColumns
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.training.sides import LEADERS, Beside, Reading


async def read(url: str, symbol: str, interval: str, start_ms: int, end_ms: int) -> tuple[CandleColumns, Beside]:
    """Closed candles of ``interval``, those of the leaders, and settled funding. Basis and open interest have no past
    there. Raises ExchangeError when the symbol's own candles cannot be had; what else cannot be had is left out."""
    beside, bar_ms = Beside(), INTERVAL_MS[interval]
    async with BitgetRest(url) as rest:
        own = columns_of(await rest.candles(symbol, interval, start_ms, end_ms), end_ms, bar_ms)
        for leader in LEADERS.values():
            if leader == symbol:
                continue
            try:
                found = await rest.candles(leader, interval, start_ms, end_ms)
                beside.candles[leader] = columns_of(found, end_ms, bar_ms)
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
