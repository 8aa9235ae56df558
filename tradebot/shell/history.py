"""Candles that are over, from the exchange's REST interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from tradebot.errors import DataError, ExchangeError
from tradebot.events import CandleHistory, Event, FundingHistory
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.features.epoch import epoch_of
from tradebot.market.candle import DAY_MS, HOUR_MS, INTERVAL_MS, Candle
from tradebot.market.series import filled

log = structlog.get_logger(__name__)

CHUNK = 500
WINDOW_MS = 60 * HOUR_MS
"""How far a window of rows may reach back and be whole at once after a start; a longer one fills up."""


class History:
    """Closed candles of one interval. ``load`` tells ``put`` what came before the start."""

    def __init__(self, rest: BitgetRest, interval: str, put: Callable[[Event], None]) -> None:
        self._rest = rest
        self._interval = interval
        self._put = put

    async def candles(self, symbol: str, first_ms: int, last_ms: int) -> Sequence[Candle]:
        """Those that opened from ``first_ms`` to ``last_ms``, both included. Raises ExchangeError."""
        return await self._rest.candles(symbol, self._interval, first_ms, last_ms + 1)

    async def load(self, symbol: str, now_ms: int) -> Candle:
        """Tell everything that recursive features of windows start from, and return the last candle before ``now_ms``.

        Raises DataError when there is none.
        """
        bar = INTERVAL_MS[self._interval]
        last = now_ms // bar * bar - bar
        candles = filled(await self.candles(symbol, epoch_of(last - WINDOW_MS), last), bar)
        if not candles:
            raise DataError(f"{symbol}: the exchange has no {self._interval} candles before now")
        for at in range(0, len(candles), CHUNK):
            self._put(CandleHistory(symbol=symbol, interval=self._interval, candles=tuple(candles[at : at + CHUNK])))
        return candles[-1]

    async def load_funding(self, symbol: str, now_ms: int) -> None:
        """Tell the settlements of that time, and one before it. An exchange that does not say leaves them unknown."""
        try:
            settled = await self._rest.settlements(symbol, epoch_of(now_ms - WINDOW_MS) - DAY_MS)
        except ExchangeError as error:
            log.warning("funding_unknown", symbol=symbol, reason=str(error))
            return
        self._put(FundingHistory(symbol=symbol, settlements=tuple(settled)))
