"""Bitget's history over its public REST interface (protocol sections 6.3, 6.5, 6.6, 6.8 and 6.9)."""

from __future__ import annotations

import math

import msgspec

from tradebot.errors import DataError
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.budget import PER_SECOND, SHARE
from tradebot.exchange.bitget.history import HISTORY_LIMIT, LONGEST_SPAN_MS
from tradebot.exchange.bitget.messages import CandleRow
from tradebot.exchange.bitget.naming import MARKET, PRODUCT_TYPE, granularity
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.candle import DAY_MS, INTERVAL_MS, Candle

CANDLES = MARKET + "history-candles"
MARK_CANDLES = MARKET + "history-mark-candles"
FUNDING = MARKET + "history-fund-rate"
OPEN_INTEREST = MARKET + "open-interest"
FUNDING_PAGE = 100


class FundingRow(msgspec.Struct, gc=False):
    fundingRate: str
    fundingTime: str


class OpenInterestRow(msgspec.Struct, gc=False):
    symbol: str
    size: str


class OpenInterestAnswer(msgspec.Struct, gc=False):
    openInterestList: list[OpenInterestRow]
    ts: str


class BitgetHistory:
    """Pages of Bitget's history. ``exchange`` is its name in the store.

    Raises ``Rejected`` for a symbol Bitget does not have, ``RateLimited`` and ``Unavailable`` when it is busy or away,
    DataError for rows that cannot be read.
    """

    exchange = "bitget"

    def __init__(self, rest: BitgetRest) -> None:
        self._rest = rest

    async def now_ms(self) -> int:
        """The exchange's clock."""
        return await self._rest.server_time()

    def page_rows(self, interval: str) -> int:
        """How many candles at most one page holds: 200 rows, 90 days."""
        return min(HISTORY_LIMIT, (LONGEST_SPAN_MS - DAY_MS) // INTERVAL_MS[interval])

    def per_second(self, channel: str) -> float:
        """Requests a second that the budget allows for a channel."""
        path = {"funding": FUNDING, "open_interest": OPEN_INTEREST}.get(
            channel, MARK_CANDLES if channel.startswith("mark_") else CANDLES
        )
        return math.floor(PER_SECOND[path] * SHARE)

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int, *, mark: bool) -> list[Candle]:
        """One page: closed candles with ``start_ms <= open time < end_ms``, oldest first; perhaps one more.

        The exchange has treated an aligned ``endTime`` as inclusive and as exclusive over the years.
        """
        query = {
            "symbol": symbol,
            "granularity": granularity(interval),
            "startTime": start_ms,
            "endTime": end_ms,
            "limit": HISTORY_LIMIT,
            "productType": PRODUCT_TYPE,
        }
        rows = await self._rest.http.get(MARK_CANDLES if mark else CANDLES, query, list[CandleRow])
        try:
            return [translate.candle(row) for row in rows]
        except (ValueError, ArithmeticError, DataError) as error:
            raise DataError(f"Bitget's candles of {symbol} are unreadable: {error}") from error

    async def funding(self, symbol: str, page: int) -> list[tuple[int, float]]:
        """Page ``page`` (from 1) of settled funding, newest first: (settlement time, rate)."""
        query = {"symbol": symbol, "productType": PRODUCT_TYPE, "pageSize": FUNDING_PAGE, "pageNo": page}
        rows = await self._rest.http.get(FUNDING, query, list[FundingRow])
        try:
            return [(int(row.fundingTime), float(row.fundingRate)) for row in rows]
        except ValueError as error:
            raise DataError(f"Bitget's funding of {symbol} is unreadable: {error}") from error

    async def open_interest(self, symbol: str) -> tuple[int, float]:
        """Open interest now (time, size in base coin). Bitget tells no history of it."""
        query = {"symbol": symbol, "productType": PRODUCT_TYPE}
        answer = await self._rest.http.get(OPEN_INTEREST, query, OpenInterestAnswer)
        try:
            return int(answer.ts), float(next(row.size for row in answer.openInterestList if row.symbol == symbol))
        except (ValueError, StopIteration) as error:
            raise DataError(f"Bitget's open interest of {symbol} is unreadable: {error!r}") from error
