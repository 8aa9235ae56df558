"""What the engine knows of one symbol's market and settings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tradebot.events import AccountVerified, BookSampled, BookTop, ModelRef, TickerUpdated
from tradebot.features.candles import CandleFeatures
from tradebot.market.buffer import RollingBuffer
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.instrument import Instrument
from tradebot.trading.correlation import Returns


class SymbolState:
    """Rolling market memory, feature state, served model and verified account settings of one symbol."""

    def __init__(self, name: str, interval: str) -> None:
        self.name = name
        self.interval_ms = INTERVAL_MS[interval]
        self.buffer = RollingBuffer(interval)
        """Nothing in it is kept: no model served today reads windows of candles or of the book."""
        self.features = CandleFeatures()
        self.instrument: Instrument | None = None
        self.account: AccountVerified | None = None
        self.model: ModelRef | None = None
        self.feed_ok = False
        self.feed_reason = "not started"
        self.top: BookTop | None = None
        self.top_ms = 0
        self.book: BookSampled | None = None
        """The newest row of the book grid."""
        self.returns = Returns()
        self.last_close_ms = 0
        self.pending: str | None = None
        """Id of the forecast being waited for, and the hash of the row it was asked with."""
        self.pending_row = ""
        self._mark = 0.0
        self.funding_rate = 0.0
        """What longs pay to shorts at ``next_funding_ms``, a fraction of notional; 0 while that is not told."""
        self.next_funding_ms = 0

    def on_candle(self, candle: Candle) -> NDArray[np.float32] | None:
        """Take a closed candle; return its feature row, or None while features warm up."""
        close_ms = candle.open_time_ms + self.interval_ms
        if close_ms <= self.last_close_ms:
            return None
        self.last_close_ms = close_ms
        row = self.features.update(candle)  # refuses a gap, so the buffer has none either
        self.buffer.append_candle(candle)
        self.returns.append(close_ms, candle.close)
        return row

    def on_book(self, event: BookSampled) -> None:
        self.buffer.append_book(event)
        self.book = event

    def on_top(self, event: BookTop, ts_ms: int) -> None:
        self.top, self.top_ms = event, ts_ms

    def on_ticker(self, event: TickerUpdated) -> bool:
        """Take mark price and funding schedule; True when a funding settlement has just passed."""
        self._mark = event.mark
        settled = 0 < self.next_funding_ms < event.next_funding_ms
        self.funding_rate = event.funding_rate
        self.next_funding_ms = event.next_funding_ms or self.next_funding_ms
        return settled

    def mark_price(self) -> float:
        """Mark price (USDT), or the mid while the exchange has not sent one."""
        if self._mark > 0:
            return self._mark
        return (self.top.bid + self.top.ask) / 2 if self.top is not None else 0.0
