"""One symbol's market as the exchange publishes it: book, trades, ticker, candles."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from tradebot.market.candle import DAY_MS, HOUR_MS, MINUTE_MS, Candle, interval_start
from tradebot.market.instrument import ZERO
from tradebot.sim.source import Levels, MarketSource, MarketStep
from tradebot.sim.wire import Ids, Multiples, float_text, plain

KEPT_TRADES = 10_000
_STATS_MS = 5 * MINUTE_MS


TextLevels = list[tuple[str, str]]
"""Levels as they are sent, best first: (price, size)."""


class TradeRow(msgspec.Struct, frozen=True):
    """One public trade as both REST and the ``trade`` channel write it."""

    ts: str
    price: str
    size: str
    side: str
    tradeId: str


class SymbolMarket:
    """The public face of one market: what the source said last, with our own orders' effect on the book.

    ``source_*`` is the market's own book, ``bids`` and ``asks`` the published one, in ticks and lots. ``seq`` grows by
    one with every published change; ``previous_*`` is the book of the change before. ``running`` is the running candle
    of the source's own interval when this step changed it.
    """

    def __init__(self, source: MarketSource, ids: Ids) -> None:
        self.source = source
        self.instrument = source.instrument
        self.symbol = source.instrument.symbol
        self.price_text = Multiples(source.instrument.tick)
        self.size_text = Multiples(source.instrument.lot)
        self.source_bids: Levels = ()
        self.source_asks: Levels = ()
        self.bids: Levels = ()
        self.asks: Levels = ()
        self.previous_bids: Levels = ()
        self.previous_asks: Levels = ()
        self.seq = 1
        self.ts_ms = source.start_ms
        self.book_ms = source.start_ms
        self.mark = ZERO
        self.index = ZERO
        self.funding_rate = ZERO
        self.funding_history: list[tuple[int, Decimal]] = []
        self.trades: deque[TradeRow] = deque(maxlen=KEPT_TRADES)
        self.fresh_trades: list[TradeRow] = []
        self.running: Candle | None = None
        self._texts: tuple[TextLevels, TextLevels] = ([], [])
        self._previous_texts: tuple[TextLevels, TextLevels] = ([], [])
        self._texts_of = self._previous_texts_of = 1
        self._ids = ids
        self._last_price: str | None = None
        self._stats = _DayStats(source)

    def take(self, step: MarketStep) -> None:
        """Remember a step of the source. Its book is published once the matching engine had its say."""
        if step.bids is not None:
            self.source_bids = step.bids
        if step.asks is not None:
            self.source_asks = step.asks
        self.ts_ms = step.ts_ms
        self.mark = step.mark
        self.index = step.index
        self.funding_rate = step.funding_rate
        for trade in step.trades:
            row = TradeRow(
                str(trade.ts_ms),
                self.price_text[trade.price_ticks],
                self.size_text[trade.qty_lots],
                trade.side,
                self._ids.next(step.ts_ms),
            )
            self.trades.appendleft(row)
            self.fresh_trades.append(row)
        if step.trades:
            self._last_price = self.fresh_trades[-1].price
        if step.candles:
            self.running = step.candles[-1]
            self._stats.take(step.candles)

    def publish_book(self, bids: Levels, asks: Levels, now_ms: int) -> bool:
        """Make a book the published one; False when nothing changed."""
        if (bids is self.bids and asks is self.asks) or (bids == self.bids and asks == self.asks):
            return False
        self.previous_bids, self.previous_asks = self.bids, self.asks
        self.bids, self.asks = bids, asks
        self.seq += 1
        self.ts_ms = self.book_ms = now_ms
        return True

    def settle(self) -> None:
        """Everything new has been published."""
        self.fresh_trades.clear()
        self.running = None

    def texts(self) -> tuple[TextLevels, TextLevels]:
        """The published book as it is written, bids and asks."""
        if self._texts_of != self.seq:
            if self._texts_of == self.seq - 1:
                self._previous_texts, self._previous_texts_of = self._texts, self._texts_of
            self._texts = self._written(self.bids, self.asks)
            self._texts_of = self.seq
        return self._texts

    def previous_texts(self) -> tuple[TextLevels, TextLevels]:
        """The book of the change before as it was written."""
        self.texts()
        if self._previous_texts_of != self.seq - 1:
            self._previous_texts = self._written(self.previous_bids, self.previous_asks)
            self._previous_texts_of = self.seq - 1
        return self._previous_texts

    def _written(self, bids: Levels, asks: Levels) -> tuple[TextLevels, TextLevels]:
        price, size = self.price_text, self.size_text
        return (
            [(price[ticks], size[lots]) for ticks, lots in bids],
            [(price[ticks], size[lots]) for ticks, lots in asks],
        )

    @property
    def last_price(self) -> str:
        """Price of the last trade; the mark before there is one."""
        return self._last_price if self._last_price is not None else plain(self.mark)

    def next_funding_ms(self, now_ms: int) -> int:
        """The next settlement strictly after ``now_ms`` (multiples of the funding interval since 00:00 UTC)."""
        length = self.instrument.funding_hours * HOUR_MS
        return interval_start(now_ms, length) + length

    def ticker(self, now_ms: int) -> dict[str, Any]:
        """The members that the REST ticker and the ``ticker`` channel share (protocol sections 6.3 and 10.4).

        The sources know no open interest: ``holdingAmount`` is the volume of 24 h, a stand-in.
        """
        best_bid = self.bids[0] if self.bids else None
        best_ask = self.asks[0] if self.asks else None
        last = self.last_price
        row: dict[str, Any] = {
            "symbol": self.symbol,
            "lastPr": last,
            "askPr": self.price_text[best_ask[0]] if best_ask else "",
            "bidPr": self.price_text[best_bid[0]] if best_bid else "",
            "bidSz": self.size_text[best_bid[1]] if best_bid else "",
            "askSz": self.size_text[best_ask[1]] if best_ask else "",
        }
        row.update(self._stats.fields(now_ms, float(last)))
        row["fundingRate"] = plain(self.funding_rate)
        row["indexPrice"] = plain(self.index)
        row["markPrice"] = plain(self.mark)
        row["ts"] = str(self.ts_ms)
        return row


class _DayStats:
    """Open, high, low and volume of the last 24 h, read once per 5 minutes and carried on by the running candles."""

    def __init__(self, source: MarketSource) -> None:
        self._source = source
        self._block = -1
        self._closed: tuple[float, float, float, float, float, float] | None = None
        self._running: dict[int, Candle] = {}

    def take(self, candles: tuple[Candle, ...]) -> None:
        for candle in candles:
            self._running[candle.open_time_ms] = candle

    def fields(self, now_ms: int, last: float) -> Mapping[str, str]:
        block = interval_start(now_ms, _STATS_MS)
        if block != self._block:
            self._refresh(block, now_ms)
        running = [row for start, row in self._running.items() if start >= block]
        open24, high, low, base, quote, open_utc = self._closed or (last, last, last, 0.0, 0.0, last)
        if running:
            high = max(high, max(row.high for row in running))
            low = min(low, min(row.low for row in running))
            base += sum(row.volume for row in running)
            quote += sum(row.quote_volume for row in running)
        volume = float_text(round(base, 6))
        turnover = float_text(round(quote, 4))
        return {
            "open24h": float_text(open24),
            "high24h": float_text(high),
            "low24h": float_text(low),
            "change24h": _change(last, open24),
            "baseVolume": volume,
            "quoteVolume": turnover,
            "usdtVolume": turnover,
            "openUtc": float_text(open_utc),
            "changeUtc24h": _change(last, open_utc),
            "holdingAmount": volume,
        }

    def _refresh(self, block: int, now_ms: int) -> None:
        self._block = block
        self._running = {start: row for start, row in self._running.items() if start >= block}
        day_start = interval_start(now_ms, DAY_MS)
        rows = [row for row in self._source.candles("5m", block - DAY_MS, block - 1, now_ms) if row.open > 0]
        if not rows:
            self._closed = None
            return
        today = next((row.open for row in rows if row.open_time_ms >= day_start), rows[-1].close)
        self._closed = (
            rows[0].open,
            max(row.high for row in rows),
            min(row.low for row in rows),
            sum(row.volume for row in rows),
            sum(row.quote_volume for row in rows),
            today,
        )


def _change(last: float, before: float) -> str:
    """Relative change, "0" where there is nothing to compare with."""
    return float_text(round(last / before - 1.0, 6)) if before else "0"
