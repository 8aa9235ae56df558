"""Recorded order books as a market: source (a) of the embedded exchange.

The book at a step is the recorded row, level for level; steps fall on recorded rows only, so where rows are left out
the book simply stands still. Locked rows (best ask = best bid) are served as they are.

**Trades** come from the recording next to the book file (``…_1s_l10.parquet`` → ``…_trades.parquet``) by receive time,
the books' own clock: a row's step carries the trades received since the row before, each with the time it was executed
at (that of its receipt, where the venue's clock is ahead of it). Where the recording has no taker
side it is inferred (Lee & Ready 1991): above the mid of the latest row a purchase, below it a sale, at the mid the
direction of the last price change. Without a trade recording they are inferred from the book: when the best ask rises,
its former size was bought at its former price; when the best bid falls, likewise sold. Shrinking sizes count for
nothing, for they may be cancellations.

**Candles** (5 minutes) are made of these trades from the first full interval of the books on, as an exchange makes
them: a trade belongs to the interval in which it was executed, although it may be told in the next one. Earlier ones
come from a candle file of the same symbol, where one is given: it must reach the first full interval without a gap.
Volumes on either side of the join are those of their venues.

``mark`` is the mean of the mids of the last 5 s, ``index`` of the last 15 s: after a gap they begin anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradebot.data.columns import utc
from tradebot.data.files import BookTable, CandleTable, TradeTable
from tradebot.errors import DataError
from tradebot.market.candle import Candle
from tradebot.market.grid import BOOK_GRID
from tradebot.market.instrument import Instrument
from tradebot.sim.market.bars import TradeBars, TradeColumns
from tradebot.sim.market.candle_replay import columns_of
from tradebot.sim.market.contract import Grid, contract, price_grid, size_grid
from tradebot.sim.market.funding import FundingSchedule
from tradebot.sim.market.noise import stream_key
from tradebot.sim.market.path import RecordedPaths
from tradebot.sim.market.path_market import PathCandles
from tradebot.sim.market.series import EMPTY, CandleColumns, interval_ms_of, interval_starts
from tradebot.sim.source import MarketStep, MarketTrade

Ints = NDArray[np.int64]

BASE_MS = 300_000
BLOCK = 1024
MARK_MS, INDEX_MS = 5_000, 15_000


def recorded_trades(table: TradeTable, books: BookTable, ticks: Grid, lots: Grid) -> TradeColumns:
    """Trades in ticks and lots, with a taker side for each (recorded, or by Lee & Ready)."""
    price = ticks.to_int(table.price)
    if table.buyer_is_maker is not None:
        bought = ~table.buyer_is_maker
    else:
        row = np.maximum(np.searchsorted(books.ts_ms, table.recv_ms, side="right") - 1, 0)
        twice_mid = ticks.to_int(books.ask_px[:, 0]) + ticks.to_int(books.bid_px[:, 0])
        off_mid = 2 * price - twice_mid[row]
        change = np.diff(price, prepend=price[:1])
        latest = np.maximum.accumulate(np.where(change != 0, np.arange(change.size), 0))
        bought = np.where(off_mid != 0, off_mid > 0, change[latest] >= 0)
    executed = np.minimum(table.trade_ms, table.recv_ms)
    return TradeColumns(table.recv_ms, executed, price, np.maximum(lots.to_int(table.size), 1), bought)


def inferred_trades(books: BookTable, ticks: Grid, lots: Grid) -> TradeColumns:
    """Trades that the disappearance of best levels implies, 1 ms before the row that shows it."""
    ask, bid = ticks.to_int(books.ask_px[:, 0]), ticks.to_int(books.bid_px[:, 0])
    rows = np.arange(1, ask.size)
    bought, sold = rows[ask[1:] > ask[:-1]], rows[bid[1:] < bid[:-1]]
    at = np.concatenate((bought, sold))
    order = np.argsort(at, kind="stable")
    price = np.concatenate((ask[bought - 1], bid[sold - 1]))
    size = lots.to_int(np.concatenate((books.ask_sz[bought - 1, 0], books.bid_sz[sold - 1, 0])))
    side = np.concatenate((np.ones(bought.size, np.bool_), np.zeros(sold.size, np.bool_)))
    at_ms = books.ts_ms[at[order]] - 1
    return TradeColumns(at_ms, at_ms, price[order], np.maximum(size[order], 1), side[order])


def joins(candles: CandleTable, books: BookTable) -> bool:
    """Whether 5-minute candles begin before the first full interval of the books and reach it."""
    join_ms = _first_interval_ms(books)
    return candles.interval_ms == BASE_MS and int(candles.open_time[0]) < join_ms <= candles.end_ms


def _first_interval_ms(books: BookTable) -> int:
    return -(-int(books.ts_ms[0]) // BASE_MS) * BASE_MS


class BookRecording:
    """A book file with what belongs to it, ready to be opened as a market over a window.

    Raises DataError when ``history`` does not join the books (other interval, gap, or a later start).
    """

    def __init__(
        self,
        symbol: str,
        books: BookTable,
        trades: TradeTable | None,
        history: CandleTable | None,
        funding: FundingSchedule,
        seed: int,
    ) -> None:
        self.symbol, self.path = symbol, books.path
        self.interval_ms = BASE_MS
        self.join_ms = _first_interval_ms(books)
        self.first_ms = self.join_ms if history is None else int(history.open_time[0])
        self.last_ms = int(books.ts_ms[-1])
        self._books, self._trades, self._funding, self._seed = books, trades, funding, seed
        self._history = history
        self._before = EMPTY if history is None else self._joined(history)

    def _joined(self, history: CandleTable) -> CandleColumns:
        if history.interval_ms != BASE_MS:
            raise DataError(
                f"{history.path}: history for the books of {self.path.name} must be 5m candles, these are "
                f"{history.interval_ms // 60_000}m; give a 5m file"
            )
        if history.end_ms < self.join_ms:
            raise DataError(
                f"{history.path}: ends {utc(history.end_ms)}, before the first full interval of {self.path.name} "
                f"({utc(self.join_ms)}); give candles that reach it"
            )
        if int(history.open_time[0]) >= self.join_ms:
            raise DataError(
                f"{history.path}: starts {utc(int(history.open_time[0]))}, not before the first full interval of "
                f"{self.path.name} ({utc(self.join_ms)}); give candles of the time before"
            )
        return columns_of(history).between(0, self.join_ms - 1)

    def earliest_start_ms(self, history_days: int) -> int:
        """The join with the candle file; without one, where half of the books are history."""
        return self.join_ms if self._history is not None else self.half_ms()

    def half_ms(self) -> int:
        """Where trading starts when no length is asked for: at the join, or without a candle file at half the books."""
        if self._history is not None:
            return self.join_ms
        return self.join_ms + max(self.last_ms - self.join_ms, 0) // 2

    def market(self, start_ms: int, end_ms: int) -> BookMarket:
        """The market that trades the rows from ``start_ms`` to ``end_ms``."""
        books, trades = self._books, self._trades
        prices = [books.ask_px, books.bid_px] + ([trades.price] if trades is not None else [])
        sizes = [books.ask_sz, books.bid_sz] + ([trades.size] if trades is not None else [])
        ticks = price_grid(*prices)
        lots = size_grid(sizes, float(np.median(books.bid_px[:, 0])))
        columns = inferred_trades(books, ticks, lots) if trades is None else recorded_trades(trades, books, ticks, lots)
        instrument = contract(self.symbol, ticks, lots)
        mids = (ticks.to_int(books.ask_px[:, 0]) + ticks.to_int(books.bid_px[:, 0])) // 2
        source = "trades inferred from the books" if trades is None else f"trades from {Path(trades.path).name}"
        before = "no earlier candles" if self._history is None else f"earlier candles from {self._history.path.name}"
        return BookMarket(
            instrument,
            books,
            columns,
            TradeBars(columns, ticks, lots, int(mids[0]), BASE_MS),
            self._candles_before(),
            join_ms=self.join_ms,
            ticks=ticks,
            lots=lots,
            funding=self._funding,
            start_ms=start_ms,
            end_ms=end_ms,
            description=(
                f"recorded order books of {self.symbol} from {self.path.name}, {utc(start_ms)} to {utc(end_ms)}, "
                f"{source}, {before}"
            ),
        )

    def _candles_before(self) -> PathCandles | None:
        rows = self._before
        if not len(rows):
            return None
        ticks = price_grid(rows.open, rows.high, rows.low, rows.close)
        lots = size_grid([rows.volume], float(np.median(rows.close)))
        paths = RecordedPaths(rows, ticks, lots, stream_key(self._seed, self.symbol, "path"))
        return PathCandles(rows, BASE_MS, paths, ticks, lots)


class BookMarket:
    """One symbol's market of recorded books. See the module's docstring and ``MarketSource``."""

    def __init__(
        self,
        instrument: Instrument,
        books: BookTable,
        trades: TradeColumns,
        bars: TradeBars,
        before: PathCandles | None,
        *,
        join_ms: int,
        ticks: Grid,
        lots: Grid,
        funding: FundingSchedule,
        start_ms: int,
        end_ms: int,
        description: str,
    ) -> None:
        self.instrument = instrument
        self.interval_ms = BASE_MS
        self.start_ms, self.end_ms = start_ms, end_ms
        self.description = description
        self._books, self._trades, self._bars, self._before = books, trades, bars, before
        self._join_ms = join_ms
        self._ticks, self._lots, self._funding = ticks, lots, funding
        self._skipped = False
        self._row, self._last = (int(i) for i in np.searchsorted(books.ts_ms, (start_ms, end_ms + 1)))
        self._first = self._row
        self._times: list[int] = books.ts_ms.tolist()
        ask, bid = ticks.to_int(books.ask_px[:, 0]), ticks.to_int(books.bid_px[:, 0])
        self._mark = _rolling_mid(books.ts_ms, ask + bid, MARK_MS).tolist()
        self._index = _rolling_mid(books.ts_ms, ask + bid, INDEX_MS).tolist()
        self._trade_ends: list[int] = np.searchsorted(trades.recv_ms, books.ts_ms, side="left").tolist()
        self._executed: list[int] = bars.before(books.ts_ms).tolist()
        self._block_first = self._block_last = 0
        self._bid_px: list[list[int]] = []
        self._bid_sz: list[list[int]] = []
        self._ask_px: list[list[int]] = []
        self._ask_sz: list[list[int]] = []
        self._same: list[bool] = []
        self._trade_rows: list[MarketTrade] = []
        self._trade_first = 0
        self._running: list[Candle] = []

    def next_ms(self) -> int | None:
        """Time of the next recorded row, or None after the last one of the window."""
        return self._times[self._row] if self._row < self._last else None

    def step(self) -> MarketStep:
        """Advance to the next row. Raises RuntimeError after the last."""
        row = self._row
        if row >= self._last:
            raise RuntimeError("the market has ended: next_ms() is None")
        if not self._block_first <= row < self._block_last:
            self._load(row)
        i = row - self._block_first
        self._row = row + 1
        ts_ms = self._times[row]
        bids = asks = None
        if row == self._first or self._skipped or not self._same[i]:
            self._skipped = False
            bids = tuple(zip(self._bid_px[i], self._bid_sz[i], strict=True))
            asks = tuple(zip(self._ask_px[i], self._ask_sz[i], strict=True))
        since = self._trade_ends[row - 1] if row else 0
        trades = tuple(self._trade_rows[since - self._trade_first : self._trade_ends[row] - self._trade_first])
        tick = self.instrument.tick
        return MarketStep(
            self.instrument.symbol,
            ts_ms,
            bids,
            asks,
            trades,
            self._changed(row, self._running[i]),
            tick * self._mark[row],
            tick * self._index[row],
            self._funding.rate_at(ts_ms),
        )

    def needed_from(self, close_ms: int, bids: Sequence[int] = (), asks: Sequence[int] = ()) -> int:
        """Where the book last changed before the grid would tell it twice, and its best levels at all; see
        ``SparseSource``. Of rows that follow each other faster than the grid's none is left out."""
        if not self._regular:
            return 0
        at = min(bisect_left(self._times, close_ms), len(self._times) - 1)
        settled = min(bisect_left(self._times, close_ms - 2 * BOOK_GRID.repeat_ms), len(self._times) - 1)
        changed, top_changed = self._changes
        row = int(min(changed[settled], top_changed[at]))
        if (bids or asks) and self._row < row:
            cut = slice(self._row, row)
            shown = np.zeros(row - self._row, np.bool_)
            if bids:
                shown |= self._ticks.to_int(self._books.bid_px[cut, -1]) <= max(bids)
            if asks:
                shown |= self._ticks.to_int(self._books.ask_px[cut, -1]) >= min(asks)
            row = self._row + int(np.argmax(shown)) if shown.any() else row
        return self._times[max(row, self._first)]

    def skip(self, until_ms: int) -> bool:
        """Leave out the rows before ``until_ms``; see ``SparseSource``."""
        row = min(bisect_left(self._times, until_ms), self._last)
        if row <= self._row:
            return False
        self._row, self._skipped = row, True
        return True

    @cached_property
    def _regular(self) -> bool:
        """Whether no two rows lie closer together than those of the grid."""
        return bool((np.diff(self._books.ts_ms) >= BOOK_GRID.step_ms).all())

    @cached_property
    def _changes(self) -> tuple[Ints, Ints]:
        """By row: the latest one, itself included, at which the book changed; at which its best levels did."""
        books = self._books
        sides = (books.bid_px, books.bid_sz, books.ask_px, books.ask_sz)
        rows = np.arange(len(self._times))
        moved = np.zeros(rows.size, np.bool_)
        top_moved = np.zeros(rows.size, np.bool_)
        moved[:1] = top_moved[:1] = True
        for side in sides:
            differs = side[1:] != side[:-1]
            moved[1:] |= differs.any(axis=1)
            top_moved[1:] |= differs[:, 0]
        return (
            np.maximum.accumulate(np.where(moved, rows, 0)),
            np.maximum.accumulate(np.where(top_moved, rows, 0)),
        )

    def settlements(self, until_ms: int | None = None) -> Sequence[tuple[int, Decimal]]:
        """Funding settlements of the time before, or up to ``until_ms``, as far as the candles reach, oldest first."""
        first_ms = self._join_ms if self._before is None else int(self._before.closed.open_time[0])
        return self._funding.settlements(first_ms, self.start_ms if until_ms is None else until_ms)

    def candles(self, interval: str, start_ms: int, end_ms: int, now_ms: int) -> Sequence[Candle]:
        """Candles with ``start_ms <= open_time <= end_ms`` known at ``now_ms``, oldest first.

        What is known is what the rows up to ``now_ms`` have shown. Raises DataError for an interval that does not
        exist.
        """
        wanted_ms, join = interval_ms_of(interval), self._join_ms
        shown = int(np.searchsorted(self._books.ts_ms, min(now_ms, self.end_ms), side="right")) - 1
        known_ms = self._times[shown] if shown >= 0 else join - 1
        # made of rows that divide both the wanted candles and the five minutes at which the two parts join
        parts = interval if BASE_MS % wanted_ms == 0 else "5m" if wanted_ms % BASE_MS == 0 else "1m"
        first_ms = join if self._before is None else int(self._before.closed.open_time[0])
        begin, reach, oldest = (int(at) for at in interval_starts(np.array([start_ms, end_ms, first_ms]), wanted_ms))
        reach += wanted_ms - 1
        rows = EMPTY
        if self._before is not None and begin < join:
            rows = self._before.candles(parts, begin, min(reach, join - 1), now_ms)
        if min(reach, known_ms) >= join:
            newer = self._bars.between(max(begin, join), min(reach, known_ms), interval_ms_of(parts), known_ms)
            rows = rows.then(newer) if len(rows) else newer
        if parts != interval:
            rows = rows.aggregated(wanted_ms)
        # a first longer candle that the data only reach into is left out
        return rows.between(max(start_ms, oldest if oldest == first_ms else oldest + wanted_ms), end_ms).rows()

    def _load(self, row: int) -> None:
        last = min(row + BLOCK, self._last)
        books, cut = self._books, slice(row, last)
        sizes = (
            np.maximum(self._lots.to_int(books.bid_sz[cut]), 1),
            np.maximum(self._lots.to_int(books.ask_sz[cut]), 1),
        )
        self._bid_px, self._bid_sz = self._ticks.to_int(books.bid_px[cut]).tolist(), sizes[0].tolist()
        self._ask_px, self._ask_sz = self._ticks.to_int(books.ask_px[cut]).tolist(), sizes[1].tolist()
        same = np.zeros(last - row, np.bool_)
        now, then = slice(max(row, 1), last), slice(max(row, 1) - 1, last - 1)
        same[max(row, 1) - row :] = (
            (books.bid_px[now] == books.bid_px[then]).all(axis=1)
            & (books.ask_px[now] == books.ask_px[then]).all(axis=1)
            & (books.bid_sz[now] == books.bid_sz[then]).all(axis=1)
            & (books.ask_sz[now] == books.ask_sz[then]).all(axis=1)
        )
        self._same = same.tolist()
        since, until = self._trade_ends[row - 1] if row else 0, self._trade_ends[last - 1]
        part = slice(since, until)
        self._trade_rows = [
            MarketTrade(ts_ms, ticks, lots, "buy" if bought else "sell")
            for ts_ms, ticks, lots, bought in zip(
                self._trades.ts_ms[part].tolist(),
                self._trades.ticks[part].tolist(),
                self._trades.lots[part].tolist(),
                self._trades.bought[part].tolist(),
                strict=True,
            )
        ]
        self._trade_first = since
        self._running = self._bars.standing(books.ts_ms[cut]).rows()
        self._block_first, self._block_last = row, last

    def _changed(self, row: int, running: Candle) -> tuple[Candle, ...]:
        """Candles that changed at ``row``: those that ended since the row before, then the running one."""
        begins = running.open_time_ms
        since = begins - BASE_MS if row == self._first else self._times[row - 1] // BASE_MS * BASE_MS
        if since < begins:
            return (*self.candles("5m", since, begins - 1, self._times[row]), running)
        return (running,) if self._executed[row] > self._executed[row - 1] else ()


def _rolling_mid(ts_ms: Ints, twice_mid: Ints, window_ms: int) -> Ints:
    """Mean mid of the rows of the latest ``window_ms``, in whole ticks."""
    total = np.concatenate((np.zeros(1, np.int64), np.cumsum(twice_mid)))
    at = np.arange(1, total.size)
    since = np.searchsorted(ts_ms, ts_ms - window_ms, side="right")
    mids: Ints = np.rint((total[at] - total[since]) / (2.0 * (at - since))).astype(np.int64)
    return mids
