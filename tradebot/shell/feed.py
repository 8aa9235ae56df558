"""From stream callbacks to engine events.

* **Top** – sent when the best level changed, at most every 100 ms a symbol; a newer one replaces an unsent one, and
  is sent before anything that could make the engine look at it.
* **Grid row** – see :mod:`tradebot.shell.rows`.
* **Candle** – see :mod:`tradebot.shell.candles`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from tradebot.events import BookTop, CandleClosed, Event, FeedStatus, TickerUpdated
from tradebot.exchange.bitget.listener import Listener
from tradebot.market.book import OrderBook
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.grid import BOOK_GRID
from tradebot.market.trade import Trade
from tradebot.shell.candles import Backfill, CandleSealer
from tradebot.shell.clock import Clock
from tradebot.shell.rows import Row, RowSealer

log = structlog.get_logger(__name__)

TOP_MS = 100
TICKER_MS = 1_000


@dataclass(slots=True)
class _Symbol:
    top: tuple[float, float, float, float] | None = None
    sent_top: tuple[float, float, float, float] | None = None
    top_exchange_ms: int = 0
    top_sent_ms: int = 0
    ticker_sent_ms: int = 0


class MarketFeed(Listener):
    """Listener of the public streams. ``put`` is the sequencer's; ``clock`` the bot's; ``row_grace_ms``: how long after
    its boundary the clock seals the row of a quiet symbol (None: never, its next message does)."""

    def __init__(
        self,
        symbols: Sequence[str],
        interval: str,
        clock: Clock,
        put: Callable[[Event], None],
        backfill: Backfill,
        *,
        row_grace_ms: int | None,
    ) -> None:
        self._interval = interval
        self._clock = clock
        self._put = put
        self._symbols = {name: _Symbol() for name in symbols}
        self.rows = RowSealer(symbols, clock, put, row_grace_ms)
        self.sealer = CandleSealer(symbols, INTERVAL_MS[interval], clock, self._on_sealed, backfill)
        self.book_updates = 0
        self.trades = 0
        self.stale_periods = 0
        """How often a symbol's data stopped being trustworthy."""
        self.last_message_ms: dict[str, int] = {}

    def start_after(self, symbol: str, last: Candle) -> None:
        """History up to and including ``last`` is already with the engine. A symbol that was not named is a reference:
        its candles are told, and nothing else of it."""
        self.sealer.start_after(symbol, last)

    # --- callbacks --------------------------------------------------------------------------------------------------

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        self.book(symbol, book.levels(BOOK_GRID.levels), ts_exchange_ms)

    def book(self, symbol: str, row: Row, ts_exchange_ms: int) -> None:
        """The best levels of the book, as many as the grid has."""
        state = self._symbols[symbol]
        now = self._clock.now_ms()
        self.book_updates += 1
        self.last_message_ms[symbol] = now
        bid_px, bid_sz, ask_px, ask_sz = row
        self.rows.changed(symbol, row, now)
        if not bid_px or not ask_px:
            return
        state.top = (bid_px[0], bid_sz[0], ask_px[0], ask_sz[0])
        state.top_exchange_ms = ts_exchange_ms
        if now - state.top_sent_ms >= TOP_MS:
            self.flush_top(symbol)

    def on_trades(self, symbol: str, rows: Sequence[Trade]) -> None:
        self.trades += len(rows)
        self.rows.traded(symbol, rows, self._clock.now_ms())

    def on_ticker(self, event: TickerUpdated) -> None:
        state = self._symbols[event.symbol]
        now = self._clock.now_ms()
        if now - state.ticker_sent_ms >= TICKER_MS:
            state.ticker_sent_ms = now
            self._put(event)

    def on_candles(self, symbol: str, interval: str, rows: Sequence[Candle]) -> None:
        if interval == self._interval:
            self.sealer.rows(symbol, rows)

    def on_feed(self, event: FeedStatus) -> None:
        log.info("feed", symbol=event.symbol, ok=event.ok, reason=event.reason)
        self.rows.feed(event.symbol, event.ok, self._clock.now_ms())
        if not event.ok:
            self.stale_periods += 1
            self._symbols[event.symbol].sent_top = None
        self._put(event)

    def on_missed(self, channel: str, symbol: str, since_ms: int) -> None:
        if channel == "trade":
            self.rows.missed_trades(symbol, self._clock.now_ms())
        elif channel.startswith("candle"):
            self.sealer.doubt(symbol)

    def row(self, symbol: str) -> Row | None:
        """The newest book row: bid prices, bid sizes, ask prices, ask sizes, best first; None while the feed is bad."""
        return self.rows.newest(symbol)

    def resume(self, symbol: str) -> None:
        """Books of this symbol were left out: what was told last is not what came before the next one."""
        self._symbols[symbol].sent_top = None

    def flush_top(self, symbol: str) -> None:
        """Send the newest top of book unless the engine has it."""
        state = self._symbols[symbol]
        if state.top is None or state.top == state.sent_top:
            return
        state.sent_top = state.top
        state.top_sent_ms = self._clock.now_ms()
        bid, bid_size, ask, ask_size = state.top
        self._put(
            BookTop(
                symbol=symbol,
                ts_exchange_ms=state.top_exchange_ms,
                bid=bid,
                bid_size=bid_size,
                ask=ask,
                ask_size=ask_size,
            )
        )

    def _on_sealed(self, symbol: str, candle: Candle) -> None:
        """What the engine decides on at the candle's end, it knows before."""
        if symbol in self._symbols:  # of a reference nothing but candles is heard
            self.rows.seal(symbol, self._clock.now_ms())
            self.flush_top(symbol)
        self._put(CandleClosed(symbol=symbol, interval=self._interval, candle=candle))

    # --- by the clock -----------------------------------------------------------------------------------------------

    def next_due_ms(self) -> int | None:
        row_ms, candle_ms = self.rows.next_due_ms(), self.sealer.next_due_ms()
        return min((ms for ms in (row_ms, candle_ms) if ms is not None), default=None)

    def on_time(self) -> None:
        self.rows.on_time()
        self.sealer.on_time()

    @property
    def failure(self) -> BaseException | None:
        """What ended a backfill, other than an exchange that is away."""
        return self.sealer.failure

    async def settled(self) -> None:
        """Wait for backfills under way. Raises what ended one."""
        await self.sealer.settled()

    async def close(self) -> None:
        """Stop backfills under way."""
        await self.sealer.close()
