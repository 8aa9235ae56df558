"""Binance's candles over its public REST interface: USDT perpetuals and spot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Literal, Self

import aiohttp
import msgspec

from tradebot.errors import DataError, RateLimited, Rejected, Unavailable
from tradebot.exchange.loopback import on_loopback
from tradebot.market.candle import Candle

BinanceMarket = Literal["binance-perp", "binance-spot"]

PATHS: dict[BinanceMarket, tuple[str, str]] = {
    "binance-perp": ("/fapi/v1/klines", "/fapi/v1/time"),
    "binance-spot": ("/api/v3/klines", "/api/v3/time"),
}
PAGE: dict[BinanceMarket, int] = {"binance-perp": 499, "binance-spot": 1000}
"""Rows of a page that weigh 2: on the perpetual market 500 rows would weigh 5."""
WEIGHT_PER_MINUTE: dict[BinanceMarket, int] = {"binance-perp": 2_400, "binance-spot": 6_000}
PAGE_WEIGHT = 2
SHARE = 0.8

Kline = tuple[int, str, str, str, str, str, int, str, int, str, str, str]


class ServerTime(msgspec.Struct):
    serverTime: int


class Complaint(msgspec.Struct):
    code: int
    msg: str


class BinanceHistory:
    """Pages of candles of one of Binance's markets. Requests keep to 80 % of its weight limit, evenly spaced.

    Raises ``Rejected`` for what Binance refuses (an unknown symbol), ``RateLimited`` for 429 and 418, ``Unavailable``
    when it does not answer, DataError for rows that cannot be read. Use as ``async with``.
    """

    def __init__(
        self,
        market: BinanceMarket,
        url: str,
        *,
        timeout_s: float = 20.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.exchange: str = market
        self._market: BinanceMarket = market
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._sleep = sleep
        self._local = on_loopback(url)
        self._next = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=not self._local)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def now_ms(self) -> int:
        """The exchange's clock."""
        return msgspec.json.decode(await self._get(PATHS[self._market][1], {}), type=ServerTime).serverTime

    def page_rows(self, interval: str) -> int:
        """How many candles one page holds."""
        return PAGE[self._market]

    def per_second(self, channel: str) -> float:
        """Pages a second within the limit."""
        return WEIGHT_PER_MINUTE[self._market] * SHARE / PAGE_WEIGHT / 60

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int, *, mark: bool) -> list[Candle]:
        """One page: candles with ``start_ms <= open time <= end_ms``, oldest first. Mark candles are not asked here."""
        query = {
            "symbol": symbol,
            "interval": interval,
            "startTime": str(start_ms),
            "endTime": str(end_ms),
            "limit": str(PAGE[self._market]),
        }
        body = await self._get(PATHS[self._market][0], query)
        try:
            rows = msgspec.json.decode(body, type=list[Kline])
            return [
                Candle(row[0], float(row[1]), float(row[2]), float(row[3]), float(row[4]), float(row[5]), float(row[7]))
                for row in rows
            ]
        except (msgspec.MsgspecError, ValueError) as error:
            raise DataError(f"Binance's candles of {symbol} are unreadable: {error}") from error

    async def _get(self, path: str, query: dict[str, str]) -> bytes:
        if self._session is None:
            raise RuntimeError("use BinanceHistory as 'async with'")
        await self._take_turn()
        what = f"Binance {path.rpartition('/')[2]} {query.get('symbol', '')}".rstrip()
        try:
            async with self._session.get(self._url + path, params=query) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{what}: no answer ({str(error) or type(error).__name__})") from error
        if status == 200:
            return body
        if status in (418, 429):
            pause = response.headers.get("Retry-After", "")
            self._next = monotonic() + (int(pause) if pause.isdecimal() else 1)
            raise RateLimited(f"{what}: too many requests", code=str(status))
        try:
            complaint = msgspec.json.decode(body, type=Complaint)
        except msgspec.MsgspecError:
            raise Unavailable(f"{what}: HTTP {status} without an answer") from None
        if status >= 500:
            raise Unavailable(f"{what}: {complaint.msg} ({complaint.code})")
        raise Rejected(f"{what}: {complaint.msg} ({complaint.code})", code=str(complaint.code))

    async def _take_turn(self) -> None:
        """Wait until the weight limit allows one more request (not for a server on this machine)."""
        now = monotonic()
        turn = max(now, self._next)
        self._next = turn + (0.0 if self._local else 1 / self.per_second(""))
        if turn > now:
            await self._sleep(turn - now)
