"""From stream callbacks to engine events: coalesced tops, 1 s grid rows, sealed candles.

* **Top** – sent when the best level changed, at most every 100 ms a symbol; a newer one replaces an unsent one, and
  is sent before anything that could make the engine look at it.
* **Grid row** – the state before boundary B of the 1 s grid, sealed by the symbol's first message at or after B.
  Boundaries without a change are not sent: their row is the last one, older.
* **Candle** – sealed by the first row of a later one, or by the clock 3 s after its end, then read back by REST.
  Corrections that arrive after the sealing change nothing. Candles the exchange does not have (it was down) are
  filled flat at the last close with no volume, and said so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from tradebot.daemon.clock import Clock
from tradebot.errors import ExchangeError
from tradebot.events import BookSampled, BookTop, CandleClosed, Event, FeedStatus, TickerUpdated
from tradebot.exchange.bitget.listener import Listener
from tradebot.market.book import OrderBook
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.series import flat
from tradebot.market.trade import Trade

log = structlog.get_logger(__name__)

GRID_MS = 1_000
TOP_MS = 100
TICKER_MS = 1_000
DEPTH = 10
SEAL_GRACE_MS = 3_000

Backfill = Callable[[str, int, int], Awaitable[Sequence[Candle]]]
"""(symbol, first open time, last open time) -> closed candles by REST."""

Row = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]


@dataclass(slots=True)
class _Symbol:
    boundary_ms: int = 0
    row: Row | None = None
    row_ms: int = 0
    sent_row: Row | None = None
    top: tuple[float, float, float, float] | None = None
    sent_top: tuple[float, float, float, float] | None = None
    top_exchange_ms: int = 0
    top_sent_ms: int = 0
    ticker_sent_ms: int = 0
    buys: float = 0.0
    sells: float = 0.0
    running: Candle | None = None
    last_sealed_ms: int = 0
    close: float = 0.0
    backfilling: bool = False
    late: deque[Candle] = field(default_factory=deque)


class MarketFeed(Listener):
    """Listener of the public streams. ``put`` is the sequencer's; ``clock`` the bot's."""

    def __init__(
        self, symbols: Sequence[str], interval: str, clock: Clock, put: Callable[[Event], None], backfill: Backfill
    ) -> None:
        self._interval = interval
        self._interval_ms = INTERVAL_MS[interval]
        self._clock = clock
        self._put = put
        self._backfill = backfill
        self._symbols = {name: _Symbol() for name in symbols}
        self._tasks: set[asyncio.Future[None]] = set()
        self.failure: BaseException | None = None
        """What ended a backfill, other than an exchange that is away."""
        self.book_updates = 0
        self.candles = 0
        self.trades = 0
        self.last_message_ms: dict[str, int] = {}

    def start_after(self, symbol: str, last: Candle) -> None:
        """History up to and including ``last`` is already with the engine."""
        state = self._symbols[symbol]
        state.last_sealed_ms, state.close = last.open_time_ms, last.close

    # --- callbacks --------------------------------------------------------------------------------------------------

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        state = self._symbols[symbol]
        now = self._clock.now_ms()
        self.book_updates += 1
        self.last_message_ms[symbol] = now
        self._seal_row(symbol, state, now)
        bid_px, bid_sz, ask_px, ask_sz = row = book.levels(DEPTH)
        state.row, state.row_ms = row, now
        if not bid_px or not ask_px:
            return
        state.top = (bid_px[0], bid_sz[0], ask_px[0], ask_sz[0])
        state.top_exchange_ms = ts_exchange_ms
        if now - state.top_sent_ms >= TOP_MS:
            self.flush_top(symbol)

    def on_trades(self, symbol: str, rows: Sequence[Trade]) -> None:
        state = self._symbols[symbol]
        self.trades += len(rows)
        self._seal_row(symbol, state, self._clock.now_ms())
        for trade in rows:
            if trade.side == "buy":
                state.buys += trade.qty
            else:
                state.sells += trade.qty

    def on_ticker(self, event: TickerUpdated) -> None:
        state = self._symbols[event.symbol]
        now = self._clock.now_ms()
        if now - state.ticker_sent_ms >= TICKER_MS:
            state.ticker_sent_ms = now
            self._put(event)

    def on_candles(self, symbol: str, interval: str, rows: Sequence[Candle]) -> None:
        if interval != self._interval:
            return
        state = self._symbols[symbol]
        for row in rows:
            running = state.running
            if running is not None and row.open_time_ms > running.open_time_ms:
                self._seal(symbol, state, running)
            if state.running is None or row.open_time_ms >= state.running.open_time_ms:
                state.running = row

    def on_feed(self, event: FeedStatus) -> None:
        log.info("feed", symbol=event.symbol, ok=event.ok, reason=event.reason)
        if not event.ok:
            self._symbols[event.symbol].sent_top = None
        self._put(event)

    def row(self, symbol: str) -> Row | None:
        """The newest book row: bid prices, bid sizes, ask prices, ask sizes, best first."""
        return self._symbols[symbol].row

    # --- sealing ----------------------------------------------------------------------------------------------------

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

    def _seal_row(self, symbol: str, state: _Symbol, now: int) -> None:
        boundary = now // GRID_MS * GRID_MS
        if boundary <= state.boundary_ms:
            return
        state.boundary_ms = boundary
        row = state.row
        if row is None or (row == state.sent_row and not state.buys and not state.sells):
            return
        state.sent_row = row
        self._put(
            BookSampled(
                symbol=symbol,
                boundary_ms=boundary,
                age_ms=boundary - state.row_ms,
                bid_px=row[0],
                bid_sz=row[1],
                ask_px=row[2],
                ask_sz=row[3],
                buy_volume=state.buys,
                sell_volume=state.sells,
            )
        )
        state.buys = state.sells = 0.0

    def _seal(self, symbol: str, state: _Symbol, candle: Candle) -> None:
        expected = state.last_sealed_ms + self._interval_ms
        if state.last_sealed_ms and candle.open_time_ms > expected:
            state.late.append(candle)
            if not state.backfilling:
                state.backfilling = True
                self._spawn(self._fill_gap(symbol, state))
            return
        if state.backfilling:
            state.late.append(candle)
            return
        self._send(symbol, state, candle)

    def _send(self, symbol: str, state: _Symbol, candle: Candle) -> None:
        if candle.open_time_ms <= state.last_sealed_ms:
            return
        state.last_sealed_ms, state.close = candle.open_time_ms, candle.close
        self.candles += 1
        self.flush_top(symbol)
        self._put(CandleClosed(symbol=symbol, interval=self._interval, candle=candle))

    async def _fill_gap(self, symbol: str, state: _Symbol) -> None:
        try:
            await self._send_late(symbol, state)
        finally:
            state.backfilling = False

    async def _seal_from_rest(self, symbol: str, state: _Symbol, last_ms: int) -> None:
        try:
            await self._send_missing(symbol, state, last_ms)
            await self._send_late(symbol, state)
        finally:
            state.backfilling = False

    async def _send_late(self, symbol: str, state: _Symbol) -> None:
        """Send the candles that were sealed meanwhile, each after what is missing before it."""
        while state.late:
            await self._send_missing(symbol, state, state.late[0].open_time_ms - self._interval_ms)
            self._send(symbol, state, state.late.popleft())

    async def _send_missing(self, symbol: str, state: _Symbol, last_ms: int) -> None:
        """Fetch and send every candle up to ``last_ms`` that was not sent, trying again while the exchange is away."""
        first_ms = state.last_sealed_ms + self._interval_ms
        if last_ms < first_ms:
            return
        wait_s = 1.0
        while True:
            try:
                found = {c.open_time_ms: c for c in await self._backfill(symbol, first_ms, last_ms)}
                break
            except ExchangeError as error:
                log.warning("candles_missing", symbol=symbol, reason=str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(30.0, 2 * wait_s)
        for at in range(first_ms, last_ms + 1, self._interval_ms):
            candle = found.get(at)
            if candle is None:
                log.warning("candle_absent", symbol=symbol, open_time_ms=at)
                candle = flat(at, state.close)
            self._send(symbol, state, candle)

    def next_due_ms(self) -> int:
        """When the clock must seal a candle whose successor has not come: the earliest over all symbols."""
        return min(s.last_sealed_ms for s in self._symbols.values()) + 2 * self._interval_ms + SEAL_GRACE_MS

    def on_time(self) -> None:
        """Begin to seal candles that ended more than 3 s ago, with their final values read back by REST.

        ``settled`` waits for it; while the exchange is away it goes on trying by itself.
        """
        now = self._clock.now_ms()
        for symbol, state in self._symbols.items():
            first = state.last_sealed_ms + self._interval_ms
            last = (now - SEAL_GRACE_MS) // self._interval_ms * self._interval_ms - self._interval_ms
            if state.last_sealed_ms and first <= last and not state.backfilling:
                state.backfilling = True
                self._spawn(self._seal_from_rest(symbol, state, last))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self.failure = self.failure or task.exception()

    async def close(self) -> None:
        """Stop backfills under way."""
        for task in (running := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def settled(self) -> None:
        """Wait for backfills under way. Raises what ended one."""
        while self._tasks:
            await asyncio.gather(*self._tasks)
