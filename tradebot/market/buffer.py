"""A rolling memory of one symbol: closed candles in several intervals and 1 s book rows, as far back as is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.grid import BOOK_GRID, Grid
from tradebot.market.ring import Ring
from tradebot.market.series import Aggregator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


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


class RollingBuffer:
    """What the bot remembers of one symbol: as many rows as the windows that are read reach back, and no more.

    ``candles`` are the rows kept by interval, ``book_rows`` those of the book; nothing is allocated for the rest.
    Candles of the base ``interval`` are appended closed and in order; longer intervals are derived from them, UTC
    aligned, and show closed candles only. Book rows stand on the boundaries of ``grid``; a boundary for which no
    row came is the previous one grown older (rows equal to their predecessor are not sent) and is filled in when a
    later row or a window needs it. A row that is stale there is flagged.
    """

    def __init__(
        self,
        interval: str,
        *,
        candles: Mapping[str, int] | None = None,
        book_rows: int = 0,
        grid: Grid = BOOK_GRID,
    ) -> None:
        self.interval = interval
        self.interval_ms = INTERVAL_MS[interval]
        self.grid = grid
        columns = CandleWindow._fields
        self._candles = {
            name: Ring(rows, {column: (np.int64 if column == "open_time_ms" else np.float64, ()) for column in columns})
            for name, rows in (candles or {}).items()
        }
        self._aggregators = {
            name: Aggregator(self.interval_ms, INTERVAL_MS[name]) for name in self._candles if name != interval
        }
        self._next_candle_ms = 0
        self._books: Ring | None = None
        if book_rows:
            self._books = Ring(
                book_rows,
                {
                    "boundary_ms": (np.int64, ()),
                    "age_ms": (np.int64, ()),
                    "stale": (np.bool_, ()),
                    "bid_px": (np.float64, (grid.levels,)),
                    "bid_sz": (np.float64, (grid.levels,)),
                    "ask_px": (np.float64, (grid.levels,)),
                    "ask_sz": (np.float64, (grid.levels,)),
                    "buy_volume": (np.float64, ()),
                    "sell_volume": (np.float64, ()),
                },
            )

    # --- candles ------------------------------------------------------------------------------------------------

    def append_candle(self, candle: Candle) -> None:
        """Take the next closed candle. One already taken is ignored: what decisions were made on is not rewritten.

        Raises ValueError on a misaligned open time, and when candles are missing before it.
        """
        if not self._candles:
            return
        open_ms = candle.open_time_ms
        if open_ms % self.interval_ms:
            raise ValueError(f"a {self.interval} candle cannot open at {open_ms}")
        if open_ms < self._next_candle_ms:
            return
        if self._next_candle_ms and open_ms > self._next_candle_ms:
            raise ValueError(f"candles from {self._next_candle_ms} to {open_ms} are missing")
        self._next_candle_ms = open_ms + self.interval_ms
        if self.interval in self._candles:
            self._store(self.interval, candle)
        for name, aggregator in self._aggregators.items():
            whole = aggregator.push(candle)
            if whole is not None:
                self._store(name, whole)

    def candles(self, interval: str | None = None, n: int | None = None) -> CandleWindow:
        """The latest ``n`` closed candles of an interval that is kept (fewer when there are fewer)."""
        ring = self._candles[interval or self.interval]
        return CandleWindow(*(ring.view(column, n) for column in CandleWindow._fields))

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
        books = self._books
        if books is None:
            return
        boundary_ms = row.boundary_ms
        if boundary_ms % self.grid.step_ms:
            raise ValueError(f"{boundary_ms} is not on the {self.grid.step_ms} ms grid")
        if len(books):
            if boundary_ms <= int(books.view("boundary_ms", 1)[0]):
                return
            self._fill_books(books, boundary_ms - self.grid.step_ms)
        bid_px, bid_sz = self._padded(row.bid_px, row.bid_sz)
        ask_px, ask_sz = self._padded(row.ask_px, row.ask_sz)
        books.append(
            boundary_ms=boundary_ms,
            age_ms=row.age_ms,
            stale=row.age_ms > self.grid.stale_ms,
            bid_px=bid_px,
            bid_sz=bid_sz,
            ask_px=ask_px,
            ask_sz=ask_sz,
            buy_volume=row.buy_volume,
            sell_volume=row.sell_volume,
        )

    def books(self, n: int | None = None, until_ms: int | None = None) -> BookWindow:
        """The latest ``n`` rows. With ``until_ms``, boundaries up to it are filled first from the last row.

        Raises ValueError when no book rows are kept.
        """
        books = self._books
        if books is None:
            raise ValueError("no book rows are kept")
        if until_ms is not None:
            self._fill_books(books, until_ms // self.grid.step_ms * self.grid.step_ms)
        return BookWindow(*(books.view(column, n) for column in BookWindow._fields))

    def _fill_books(self, books: Ring, until_ms: int) -> None:
        if not len(books) or until_ms <= int(books.view("boundary_ms", 1)[0]):
            return
        last = {column: books.view(column, 1)[0].copy() for column in BookWindow._fields}
        boundary_ms, age_ms = int(last["boundary_ms"]), int(last["age_ms"])
        # a pause longer than the ring replaces every row anyway
        first = max(boundary_ms + self.grid.step_ms, until_ms - (books.capacity - 1) * self.grid.step_ms)
        last["buy_volume"] = last["sell_volume"] = np.float64(0.0)
        for boundary in range(first, until_ms + 1, self.grid.step_ms):
            age = age_ms + boundary - boundary_ms
            books.append(**{**last, "boundary_ms": boundary, "age_ms": age, "stale": age > self.grid.stale_ms})

    def _padded(
        self, prices: tuple[float, ...], sizes: tuple[float, ...]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        missing = self.grid.levels - len(prices)
        if missing <= 0:
            return prices[: self.grid.levels], sizes[: self.grid.levels]
        deepest = prices[-1] if prices else float("nan")
        return prices + (deepest,) * missing, sizes + (0.0,) * missing
