"""Which venue has which history, and the sources that a run needs, opened."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from tradebot.data.plan import Series
from tradebot.data.sources.binance import BinanceHistory, BinanceMarket
from tradebot.data.sources.bitget import BitgetHistory
from tradebot.data.sources.pages import CandleHistory
from tradebot.data.sources.tardis import EXCHANGES, TardisBooks
from tradebot.errors import ConfigError
from tradebot.exchange.bitget.http import wall_ms
from tradebot.exchange.bitget.rest import BitgetRest

PREFIX: dict[str, str] = {
    "candles": "candle_",
    "mark": "mark_candle_",
    "funding": "funding",
    "open-interest": "open_interest",
    "books": "book_",
}
"""How the store's channels of each kind begin."""

KINDS: dict[str, frozenset[str]] = {
    "bitget": frozenset({"candles", "mark", "funding", "open-interest"}),
    "binance-perp": frozenset({"candles"}),
    "binance-spot": frozenset({"candles"}),
}
"""What the venues tell themselves. Books come from Tardis, which recorded them."""

BEGAN: dict[str, str] = {"bitget": "2018-01-01", "binance-perp": "2019-09-01", "binance-spot": "2017-07-01"}
"""No venue has anything from before its own beginning; the days (UTC) are on the early side."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the sources other than Bitget are. ``tardis_key`` is None where there is none."""

    binance: dict[BinanceMarket, str]
    tardis: str
    tardis_key: str | None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where history comes from in one run: candles by exchange, what else Bitget tells, recorded books."""

    candles: dict[str, CandleHistory]
    bitget: BitgetHistory
    books: TardisBooks | None

    async def clocks(self, exchanges: Collection[str]) -> dict[str, int]:
        """The time at each exchange; the machine's for one that is asked for recorded books only."""
        return {
            name: await self.candles[name].now_ms() if name in self.candles else wall_ms() for name in sorted(exchanges)
        }


def offers(exchange: str, kind: str) -> bool:
    """Whether anybody tells that history of an exchange."""
    return exchange in EXCHANGES if kind == "books" else kind in KINDS.get(exchange, ())


def can_fetch(series: Series, addresses: Addresses) -> bool:
    """Whether past days of a series can be asked for. Of open interest nobody tells the past."""
    kind = next((kind for kind, prefix in PREFIX.items() if series.channel.startswith(prefix)), None)
    if kind is None or kind == "open-interest" or not offers(series.exchange, kind):
        return False
    return kind != "books" or addresses.tardis_key is not None


@contextlib.asynccontextmanager
async def open_sources(
    wanted: Collection[Series], rest: BitgetRest, addresses: Addresses, *, grid_ms: int, depth: int
) -> AsyncIterator[Sources]:
    """The sources that ``wanted`` needs; ``grid_ms`` and ``depth`` are those of book rows.

    Raises ConfigError when recorded books are wanted and the key is missing.
    """
    exchanges = {series.exchange for series in wanted}
    async with contextlib.AsyncExitStack() as opened:
        bitget = BitgetHistory(await opened.enter_async_context(rest))
        candles: dict[str, CandleHistory] = {bitget.exchange: bitget} if bitget.exchange in exchanges else {}
        for market, url in addresses.binance.items():
            if market in exchanges:
                candles[market] = await opened.enter_async_context(BinanceHistory(market, url))
        books = None
        if any(series.channel.startswith(PREFIX["books"]) for series in wanted):
            if addresses.tardis_key is None:
                raise ConfigError(
                    "recorded books come from Tardis and need its key: put it into "
                    "$CREDENTIALS_DIRECTORY/tardis_key or TRADEBOT_DATA__TARDIS_KEY"
                )
            books = await opened.enter_async_context(
                TardisBooks(addresses.tardis, addresses.tardis_key, step_ms=grid_ms, levels=depth)
            )
        yield Sources(candles, bitget, books)
