"""From what the bot sees to records: an observer of the sequenced events and a listener of the trades."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tradebot.data.recorder.raw import RawLog, RawStream
from tradebot.data.recorder.records import (
    NOT_RECORDING,
    BookRecord,
    CandleRecord,
    Edge,
    Hole,
    Holed,
    Recorded,
    TickerRecord,
    TradeRecord,
)
from tradebot.events import BookSampled, CandleClosed, FeedCause, FeedStatus, TickerUpdated, VenueBook
from tradebot.exchange.bitget.listener import Listener
from tradebot.market.book import OrderBook
from tradebot.market.candle import DAY_MS
from tradebot.market.grid import BOOK_GRID
from tradebot.market.trade import Trade

EXCHANGE = "bitget"
UNHEARD: frozenset[FeedCause] = frozenset({"line", "silence"})
"""Causes of a bad feed while nothing at all is heard of its symbol; other causes are about the book alone."""
UNREADABLE = "unreadable message"
HOLED: Mapping[str, Holed] = {"trade": "trade", "ticker": "ticker"}
"""Channels in which an unreadable message leaves a hole, and its name. Candles have none: they are read back."""


@dataclass(slots=True)
class _Heard:
    """One symbol: where its records go and what was last written about its feed."""

    stream: RawStream
    day_end_ms: int
    edge: Edge
    last_ms: int
    row: BookRecord | None = None
    """The last row since the feed came back."""


class Recorder(Listener):
    """Records sealed book rows, sealed candles, trades, ticker rows and feed edges of ``symbols``, as the engine gets
    them, and the books of other venues.

    Calls cost about 2 µs and never raise: what a disk does to it is the raw log's business. ``now_ms`` is the bot's
    clock. Events are given by calling the recorder as the sequencer calls its observers.
    """

    def __init__(self, log: RawLog, symbols: Iterable[str], now_ms: Callable[[], int]) -> None:
        self.log = log
        self._now_ms = now_ms
        self._symbols = frozenset(symbols)
        self._heard: dict[tuple[str, str], _Heard] = {}
        self._book_ms: dict[str, int] = {}
        """When a symbol's book was last heard, whether it changed or not."""

    def __call__(self, seq: int, ts_ms: int, record: object) -> None:
        """Take one sequenced event; anything that is not about the market is passed over."""
        match record:
            case BookSampled():
                self._on_row(ts_ms, record)
            case CandleClosed():
                self._on_candle(ts_ms, record)
            case TickerUpdated():
                self._on_ticker(ts_ms, record)
            case FeedStatus():
                self._on_status(ts_ms, record)
            case VenueBook():
                self._on_venue(ts_ms, record)

    def start(self) -> None:
        """Say that nothing was recorded until now."""
        now = self._now_ms()
        for symbol in self._symbols:
            self._of(EXCHANGE, symbol, now)

    def stop(self) -> None:
        """Say until when everything was heard and that nothing is recorded since, and close the raw files."""
        now = self._now_ms()
        for (exchange, symbol), heard in self._heard.items():
            if heard.edge.up:
                last_ms = max(heard.last_ms, self._book_ms.get(symbol, 0) if exchange == EXCHANGE else 0)
                self._write(heard, now, Edge(last_ms, up=True, whole=False, reason=""))
                self._turn(heard, now, Edge(last_ms, up=False, whole=True, reason=NOT_RECORDING))
        self.log.close()

    # --- what is recorded -------------------------------------------------------------------------------------------

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        self._book_ms[symbol] = self._now_ms()

    def on_trades(self, symbol: str, rows: Sequence[Trade]) -> None:
        now = self._now_ms()
        heard = self._of(EXCHANGE, symbol, now)
        for row in rows:
            self._write(heard, now, TradeRecord(row.ts_ms, row.price, row.qty, row.side == "sell", row.trade_id))

    def on_missed(self, channel: str, symbol: str, since_ms: int) -> None:
        part = HOLED.get(channel)
        if part is not None:
            now = self._now_ms()
            self._write(self._of(EXCHANGE, symbol, now), now, Hole(part, since_ms or now, now, UNREADABLE))

    def _on_row(self, ts_ms: int, event: BookSampled) -> None:
        heard = self._of(EXCHANGE, event.symbol, ts_ms)
        row = BookRecord(
            event.boundary_ms, event.age_ms, event.stale, event.bid_px, event.bid_sz, event.ask_px, event.ask_sz
        )
        late = event.boundary_ms < heard.day_end_ms  # a row of yesterday that was sealed today
        self._write(heard, min(ts_ms, heard.day_end_ms - 1) if late else ts_ms, row)
        heard.row = row

    def _on_candle(self, ts_ms: int, event: CandleClosed) -> None:
        if event.symbol not in self._symbols:
            return  # a reference: its candles alone are heard
        row = event.candle
        self._write(
            self._of(EXCHANGE, event.symbol, ts_ms),
            ts_ms,
            CandleRecord(
                event.interval,
                row.open_time_ms,
                row.open,
                row.high,
                row.low,
                row.close,
                row.volume,
                row.quote_volume,
            ),
        )

    def _on_ticker(self, ts_ms: int, event: TickerUpdated) -> None:
        self._write(
            self._of(EXCHANGE, event.symbol, ts_ms),
            ts_ms,
            TickerRecord(event.last, event.mark, event.index, event.funding_rate, event.open_interest),
        )

    def _on_status(self, ts_ms: int, event: FeedStatus) -> None:
        heard = self._of(EXCHANGE, event.symbol, ts_ms)
        at_ms = ts_ms if event.ok else min(event.since_ms or ts_ms, ts_ms)
        self._turn(heard, ts_ms, Edge(at_ms, event.ok, event.cause in UNHEARD, event.reason))

    def _on_venue(self, ts_ms: int, event: VenueBook) -> None:
        heard = self._of(event.venue, event.symbol, ts_ms)
        if not heard.edge.up:
            self._turn(heard, ts_ms, Edge(min(ts_ms, event.boundary_ms), up=True, whole=False, reason=""))
        self._write(
            heard,
            ts_ms,
            BookRecord(
                event.boundary_ms, event.age_ms, event.stale, event.bid_px, event.bid_sz, event.ask_px, event.ask_sz
            ),
        )

    # --- days and edges ---------------------------------------------------------------------------------------------

    def _of(self, exchange: str, symbol: str, ts_ms: int) -> _Heard:
        heard = self._heard.get((exchange, symbol))
        if heard is None:
            edge = Edge(ts_ms, up=False, whole=True, reason=NOT_RECORDING)
            heard = _Heard(self.log.stream(exchange, symbol), (ts_ms // DAY_MS + 1) * DAY_MS, edge, ts_ms)
            self._heard[exchange, symbol] = heard
            heard.stream.append(ts_ms, edge)
        return heard

    def _turn(self, heard: _Heard, ts_ms: int, edge: Edge) -> None:
        self._write(heard, ts_ms, edge)
        heard.edge = edge
        if not edge.up:
            heard.row = None

    def _write(self, heard: _Heard, ts_ms: int, record: Recorded) -> None:
        if ts_ms >= heard.day_end_ms:
            self._turn_day(heard, ts_ms)
        heard.last_ms = ts_ms
        heard.stream.append(ts_ms, record)

    def _turn_day(self, heard: _Heard, ts_ms: int) -> None:
        """The old day's file says how things stood at its end, the new one how they stand at its beginning: whether
        the feed is up, and the row that stands at midnight."""
        edge, end, begin = heard.edge, heard.day_end_ms, ts_ms // DAY_MS * DAY_MS
        heard.stream.append(end - 1, Edge(end, edge.up, edge.whole, edge.reason))
        heard.stream.append(ts_ms, Edge(begin, edge.up, edge.whole, edge.reason))
        if heard.row is not None and begin == end:
            last_ms = begin - BOOK_GRID.step_ms
            age_ms = heard.row.age_ms + last_ms - heard.row.boundary_ms
            heard.stream.append(ts_ms, msgspec.structs.replace(heard.row, boundary_ms=last_ms, age_ms=age_ms))
        heard.day_end_ms = begin + DAY_MS
