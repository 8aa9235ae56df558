"""One symbol's market as the exchange publishes it: book, trades, ticker, candles."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from tradebot.market.candle import HOUR_MS, Candle, interval_start
from tradebot.market.instrument import ZERO
from tradebot.sim.day_stats import DayStats
from tradebot.sim.source import Levels, MarketSource, MarketStep
from tradebot.sim.wire import Ids, Multiples, plain

KEPT_TRADES = 10_000
KEPT_TEXTS = 500_000
"""Prices and sizes whose text is kept, by all markets together: about 50 MB of each."""


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
    of the source's own interval when this step changed it. ``kept_texts`` bounds the memory for numbers as text.
    """

    def __init__(self, source: MarketSource, ids: Ids, kept_texts: int) -> None:
        self.source = source
        self.instrument = source.instrument
        self.symbol = source.instrument.symbol
        self.price_text = Multiples(source.instrument.tick, kept_texts)
        self.size_text = Multiples(source.instrument.lot, kept_texts)
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
        self.funding_history = list(source.settlements())
        self.trades: deque[TradeRow] = deque(maxlen=KEPT_TRADES)
        self.fresh_trades: list[TradeRow] = []
        self.running: Candle | None = None
        self._texts: tuple[TextLevels, TextLevels] = ([], [])
        self._previous_texts: tuple[TextLevels, TextLevels] = ([], [])
        self._texts_of = self._previous_texts_of = 1
        self._ids = ids
        self._last_price: str | None = None
        self._stats = DayStats(source)

    def take(self, step: MarketStep) -> None:
        """Remember a step of the source. Its book is published once the matching engine had its say."""
        self.look(step)
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

    def look(self, step: MarketStep) -> None:
        """As :meth:`take`, but its trades are told to nobody."""
        if step.bids is not None:
            self.source_bids = step.bids
        if step.asks is not None:
            self.source_asks = step.asks
        self.ts_ms = step.ts_ms
        self.mark = step.mark
        self.index = step.index
        self.funding_rate = step.funding_rate
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

    def open_interest(self, now_ms: int) -> str:
        """Base coin held in open positions (a model: see :class:`~tradebot.sim.day_stats.DayStats`)."""
        return self._stats.open_interest(now_ms)

    def ticker(self, now_ms: int) -> dict[str, Any]:
        """The members that the REST ticker and the ``ticker`` channel share (protocol sections 6.3 and 10.4)."""
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
        row["holdingAmount"] = self.open_interest(now_ms)
        row["fundingRate"] = plain(self.funding_rate)
        row["indexPrice"] = plain(self.index)
        row["markPrice"] = plain(self.mark)
        row["ts"] = str(self.ts_ms)
        return row
