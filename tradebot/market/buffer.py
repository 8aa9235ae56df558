"""A rolling memory of one symbol: closed candles in several intervals, 1 s book rows, recent trades."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.ring import Ring
from tradebot.market.series import Aggregator, Gap
from tradebot.market.trade import Trade

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

HIGHER_INTERVALS = ("15m", "1h", "4h")


class BookRow(Protocol):
    """A sealed grid row; ``events.BookSampled`` is one."""

    @property
    def boundary_ms(self) -> int: ...
    @property
    def age_ms(self) -> int: ...
    @property
    def bid_px(self) -> tuple[float, ...]: ...
    @property
    def bid_sz(self) -> tuple[float, ...]: ...
    @property
    def ask_px(self) -> tuple[float, ...]: ...
    @property
    def ask_sz(self) -> tuple[float, ...]: ...
    @property
    def buy_volume(self) -> float: ...
    @property
    def sell_volume(self) -> float: ...


class CandleWindow(NamedTuple):
    """Columns of consecutive closed candles, oldest first (views: copy what must outlive the next append)."""

    open_time_ms: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    quote_volume: Floats


class BookWindow(NamedTuple):
    """Consecutive grid rows, oldest first (views). Prices and sizes have shape (rows, levels), best level first.

    A side with fewer levels repeats its deepest price with size 0; an empty side is NaN with size 0.
    """

    boundary_ms: Ints
    age_ms: Ints
    stale: Flags
    bid_px: Floats
    bid_sz: Floats
    ask_px: Floats
    ask_sz: Floats
    buy_volume: Floats
    sell_volume: Floats


class TradeWindow(NamedTuple):
    """Recent trades, oldest first (views). ``buy`` is true where the taker bought."""

    ts_ms: Ints
    price: Floats
    qty: Floats
    buy: Flags


class RollingBuffer:
    """What the bot remembers of one symbol.

    Candles of the base ``interval`` are appended closed and in order; longer intervals are derived from them, UTC
    aligned, and show closed candles only. Book rows stand on exact multiples of ``grid_ms``; a boundary for which no
    row came is the previous one grown older (rows equal to their predecessor are not sent) and is filled in when a
    later row or a window needs it. A row older than ``stale_after_ms`` is flagged.
    """

    def __init__(
        self,
        interval: str = "5m",
        higher: Sequence[str] = HIGHER_INTERVALS,
        candles: int = 4_096,
        book_rows: int = 3_600,
        levels: int = 10,
        trades: int = 1_000,
        grid_ms: int = 1_000,
        stale_after_ms: int = 10_000,
    ) -> None:
        self.interval = interval
        self.interval_ms = INTERVAL_MS[interval]
        self.levels = levels
        self.grid_ms = grid_ms
        self.stale_after_ms = stale_after_ms
        self.duplicates = 0
        self.revisions = 0
        self._aggregators = {name: Aggregator(self.interval_ms, INTERVAL_MS[name]) for name in higher}
        columns = CandleWindow._fields
        self._candles = {
            name: Ring(
                candles, {column: (np.int64 if column == "open_time_ms" else np.float64, ()) for column in columns}
            )
            for name in (interval, *higher)
        }
        self._books = Ring(
            book_rows,
            {
                "boundary_ms": (np.int64, ()),
                "age_ms": (np.int64, ()),
                "stale": (np.bool_, ()),
                "bid_px": (np.float64, (levels,)),
                "bid_sz": (np.float64, (levels,)),
                "ask_px": (np.float64, (levels,)),
                "ask_sz": (np.float64, (levels,)),
                "buy_volume": (np.float64, ()),
                "sell_volume": (np.float64, ()),
            },
        )
        self._trades = Ring(
            trades,
            {"ts_ms": (np.int64, ()), "price": (np.float64, ()), "qty": (np.float64, ()), "buy": (np.bool_, ())},
        )

    # --- candles ------------------------------------------------------------------------------------------------

    def append_candle(self, candle: Candle) -> Gap | None:
        """Take the next closed candle.

        A candle already held is ignored: counted in ``duplicates`` when equal, in ``revisions`` when it differs (what
        decisions were made on is not rewritten). When candles are missing before it, it is *not* taken and the gap is
        returned: fetch those, append them, then append it again. Raises ValueError on a misaligned open time.
        """
        if candle.open_time_ms % self.interval_ms:
            raise ValueError(f"a {self.interval} candle cannot open at {candle.open_time_ms}")
        ring = self._candles[self.interval]
        if len(ring):
            due = self.next_candle_ms
            if candle.open_time_ms > due:
                return Gap(due, candle.open_time_ms)
            if candle.open_time_ms < due:
                if self._held(candle.open_time_ms) in (None, candle):
                    self.duplicates += 1
                else:
                    self.revisions += 1
                return None
        self._store(self.interval, candle)
        for name, aggregator in self._aggregators.items():
            whole = aggregator.push(candle)
            if whole is not None:
                self._store(name, whole)
        return None

    def prime(self, history: Iterable[Candle]) -> tuple[Gap, ...]:
        """Start again from ascending closed candles. After a gap in them, only what follows the last gap is kept."""
        for ring in self._candles.values():
            ring.clear()
        gaps = []
        for candle in history:
            gap = self.append_candle(candle)
            if gap is not None:
                gaps.append(gap)
                for ring in self._candles.values():
                    ring.clear()
                self.append_candle(candle)
        return tuple(gaps)

    @property
    def next_candle_ms(self) -> int:
        """Open time of the candle that must come next; 0 before the first one."""
        ring = self._candles[self.interval]
        return int(ring.view("open_time_ms", 1)[0]) + self.interval_ms if len(ring) else 0

    def candle_count(self, interval: str | None = None) -> int:
        """How many closed candles of an interval are held."""
        return len(self._candles[interval or self.interval])

    def candles(self, interval: str | None = None, n: int | None = None) -> CandleWindow:
        """The latest ``n`` closed candles of an interval (fewer when there are fewer)."""
        ring = self._candles[interval or self.interval]
        return CandleWindow(*(ring.view(column, n) for column in CandleWindow._fields))

    def _held(self, open_time_ms: int) -> Candle | None:
        ring = self._candles[self.interval]
        times = ring.view("open_time_ms")
        at = (open_time_ms - int(times[0])) // self.interval_ms
        if at < 0:
            return None
        return Candle(int(times[at]), *(float(ring.view(column)[at]) for column in CandleWindow._fields[1:]))

    def _store(self, interval: str, candle: Candle) -> None:
        self._candles[interval].append(
            open_time_ms=candle.open_time_ms,
            open=candle.open,
            high=candle.high,
            low=candle.low,
            close=candle.close,
            volume=candle.volume,
            quote_volume=candle.quote_volume,
        )

    # --- book rows ----------------------------------------------------------------------------------------------

    def append_book(self, row: BookRow) -> None:
        """Take the next sealed row. One for a boundary already passed is ignored; missing boundaries are filled."""
        boundary_ms = row.boundary_ms
        if boundary_ms % self.grid_ms:
            raise ValueError(f"{boundary_ms} is not on the {self.grid_ms} ms grid")
        books = self._books
        if len(books):
            if boundary_ms <= self.last_boundary_ms:
                return
            self._fill_books(boundary_ms - self.grid_ms)
        bid_px, bid_sz = self._padded(row.bid_px, row.bid_sz)
        ask_px, ask_sz = self._padded(row.ask_px, row.ask_sz)
        books.append(
            boundary_ms=boundary_ms,
            age_ms=row.age_ms,
            stale=row.age_ms > self.stale_after_ms,
            bid_px=bid_px,
            bid_sz=bid_sz,
            ask_px=ask_px,
            ask_sz=ask_sz,
            buy_volume=row.buy_volume,
            sell_volume=row.sell_volume,
        )

    @property
    def last_boundary_ms(self) -> int:
        """Boundary of the latest row held; 0 before the first one."""
        return int(self._books.view("boundary_ms", 1)[0]) if len(self._books) else 0

    def books(self, n: int | None = None, until_ms: int | None = None) -> BookWindow:
        """The latest ``n`` rows. With ``until_ms``, boundaries up to it are filled first from the last row."""
        if until_ms is not None:
            self._fill_books(until_ms // self.grid_ms * self.grid_ms)
        return BookWindow(*(self._books.view(column, n) for column in BookWindow._fields))

    def forget_books(self) -> None:
        """Drop all rows: after a gap the next row must not be joined to the ones before it."""
        self._books.clear()

    def _fill_books(self, until_ms: int) -> None:
        books = self._books
        if not len(books) or until_ms <= self.last_boundary_ms:
            return
        last = {column: books.view(column, 1)[0].copy() for column in BookWindow._fields}
        boundary_ms, age_ms = int(last["boundary_ms"]), int(last["age_ms"])
        # a pause longer than the ring replaces every row anyway
        first = max(boundary_ms + self.grid_ms, until_ms - (books.capacity - 1) * self.grid_ms)
        last["buy_volume"] = last["sell_volume"] = np.float64(0.0)
        for boundary in range(first, until_ms + 1, self.grid_ms):
            age = age_ms + boundary - boundary_ms
            books.append(**{**last, "boundary_ms": boundary, "age_ms": age, "stale": age > self.stale_after_ms})

    def _padded(
        self, prices: tuple[float, ...], sizes: tuple[float, ...]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        missing = self.levels - len(prices)
        if missing <= 0:
            return prices[: self.levels], sizes[: self.levels]
        deepest = prices[-1] if prices else float("nan")
        return prices + (deepest,) * missing, sizes + (0.0,) * missing

    # --- trades -------------------------------------------------------------------------------------------------

    def append_trades(self, trades: Iterable[Trade]) -> None:
        """Take trades in the order they happened."""
        for trade in trades:
            self._trades.append(ts_ms=trade.ts_ms, price=trade.price, qty=trade.qty, buy=trade.side == "buy")

    def trades(self, n: int | None = None) -> TradeWindow:
        """The latest ``n`` trades."""
        return TradeWindow(*(self._trades.view(column, n) for column in TradeWindow._fields))
