"""A market that walks price paths: candles served exactly, a modelled book and trades around every point.

At point ``k`` of a candle (time = its start + ``k`` · interval / points) the last trade is at the point's price. Up to
three trades lead there from the previous point, none outside the two prices: takers buy when it rose, sell when it
fell, and the first quarter goes the other way. A buying taker paid the ask, so the book then is ``bid = price -
spread, ask = price``; after a sale it is the other way round. All trades of a step carry its time.

``mark`` averages the mids of the last three points by 0.5, 0.3, 0.2; ``index`` by 0.7, 0.2, 0.1. ``quote_volume`` is
the sum of points' volume times price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tradebot.market.candle import Candle
from tradebot.market.instrument import Instrument, Side
from tradebot.sim.market.contract import Grid
from tradebot.sim.market.funding import FundingSchedule
from tradebot.sim.market.ladder import BookShape, books
from tradebot.sim.market.noise import uniforms
from tradebot.sim.market.path import Paths
from tradebot.sim.market.series import EMPTY, CandleColumns, interval_ms_of, interval_starts
from tradebot.sim.source import Levels, MarketStep, MarketTrade

BLOCK = 32
MARK_WEIGHTS = (0.5, 0.3, 0.2)
INDEX_WEIGHTS = (0.7, 0.2, 0.1)
QUOTE_BLOCK = 512

Ints = NDArray[np.int64]


class PathCandles:
    """Candles of a path: closed ones as given, the running one as far as its points, any interval."""

    def __init__(self, candles: CandleColumns, interval_ms: int, paths: Paths, ticks: Grid, lots: Grid) -> None:
        self.interval_ms = interval_ms
        self.step_ms = interval_ms // paths.points
        self._paths, self._ticks, self._lots = paths, ticks, lots
        self._standing: dict[int, CandleColumns] = {}
        self._recent = (0, 0, paths.block(0, 0))
        self.closed = CandleColumns(
            candles.open_time, candles.open, candles.high, candles.low, candles.close, candles.volume,
            np.full(len(candles), np.nan),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.closed)

    def _with_quotes(self, first: int, last: int) -> CandleColumns:
        """Closed candles with their quote volumes, which are computed once, when first asked for."""
        quotes = self.closed.quote_volume
        for start in range(first // QUOTE_BLOCK * QUOTE_BLOCK, last, QUOTE_BLOCK):
            if np.isnan(quotes[start]):  # a block is computed whole: later candles cost nothing when they are asked for
                stop = min(start + QUOTE_BLOCK, len(self))
                quotes[start:stop] = self.running(start, stop).quote_volume.reshape(stop - start, -1)[:, -1]
        return self.closed.part(first, last)

    def standing(self, row: int, point: int) -> CandleColumns:
        """The candle ``row`` as it stands at one of its points. The blocks asked for last are kept."""
        first = row // BLOCK * BLOCK
        block = self._standing.get(first)
        if block is None:
            block = self.running(first, min(first + BLOCK, len(self)))
            self._standing = {
                **{at: known for at, known in self._standing.items() if at == first - BLOCK},
                first: block,
            }
        at = (row - first) * self._paths.points + point
        return block.part(at, at + 1)

    def running(self, first: int, last: int) -> CandleColumns:
        """For every point of the candles ``first`` … ``last - 1``, their candle as it stands there."""
        block = self._paths.block(first, last)
        given = self.closed.part(first, last)
        shape = block.ticks.shape
        high = self._ticks.to_float(np.maximum.accumulate(block.ticks, axis=1))
        low = self._ticks.to_float(np.minimum.accumulate(block.ticks, axis=1))
        close = self._ticks.to_float(block.ticks)
        volume = self._lots.to_float(np.cumsum(block.lots, axis=1))
        quote = np.cumsum(block.lots.astype(np.float64) * block.ticks, axis=1)
        quote = np.round(quote * (float(self._ticks.step) * float(self._lots.step)), 8)
        # recorded values that lie off the grid are still served exactly
        high[:, -1], low[:, -1], close[:, -1], volume[:, -1] = given.high, given.low, given.close, given.volume
        return CandleColumns(
            np.repeat(given.open_time, shape[1]), np.repeat(given.open, shape[1]),
            high.ravel(), low.ravel(), close.ravel(), volume.ravel(), quote.ravel(),
        )  # fmt: skip

    def candles(self, interval: str, start_ms: int, end_ms: int, now_ms: int) -> CandleColumns:
        """See :meth:`tradebot.sim.source.MarketSource.candles`; a first incomplete longer candle is left out."""
        wanted_ms = interval_ms_of(interval)
        opens = self.closed.open_time
        end_ms = min(end_ms, now_ms)
        if not len(self) or end_ms < start_ms:
            return EMPTY
        bounds = interval_starts(np.array([start_ms, end_ms, int(opens[0])]), wanted_ms)
        longer = wanted_ms % self.interval_ms == 0
        lowest = int(bounds[2]) + (wanted_ms if bounds[2] != opens[0] and longer else 0)
        from_ms = max(int(bounds[0]), lowest)
        until_ms = min(int(bounds[1]) + wanted_ms, now_ms + 1)
        first, last = (int(i) for i in np.searchsorted(opens, (from_ms, until_ms)))
        if not longer:
            first = max(first - 1, 0)
            return self._from_points(first, last, wanted_ms, now_ms).between(max(start_ms, lowest), end_ms)
        rows = self._known(first, last, now_ms)
        if wanted_ms != self.interval_ms:
            rows = rows.aggregated(wanted_ms)
        return rows.between(start_ms, end_ms)

    def _known(self, first: int, last: int, now_ms: int) -> CandleColumns:
        if first >= last:
            return EMPTY
        if int(self.closed.open_time[last - 1]) + self.interval_ms <= now_ms:
            return self._with_quotes(first, last)
        point = min((now_ms - int(self.closed.open_time[last - 1])) // self.step_ms, self._paths.points - 1)
        return self._with_quotes(first, last - 1).then(self.standing(last - 1, point))

    def _from_points(self, first: int, last: int, wanted_ms: int, now_ms: int) -> CandleColumns:
        """Candles that are no multiple of the base interval, from the points; each opens at the point before it.

        The first point of a base candle starts afresh, so that shorter candles together make the base candle.
        """
        if first >= last:
            return EMPTY
        if self._recent[:2] != (first, last):
            self._recent = (first, last, self._paths.block(first, last))
        block, points = self._recent[2], self._paths.points
        at = (self.closed.open_time[first:last, None] + self.step_ms * np.arange(points)).ravel()
        at = at[: int(np.searchsorted(at, now_ms, side="right"))]
        ticks, lots = block.ticks.ravel()[: at.size], block.lots.ravel()[: at.size]
        starts = interval_starts(at, wanted_ms)
        heads = np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))
        afresh = heads % points == 0
        opened = np.where(afresh, ticks[heads], ticks[np.maximum(heads - 1, 0)])
        reached = min(now_ms, int(self.closed.open_time[last - 1]) + self.interval_ms - 1)
        every = np.arange(starts[0], reached + 1, wanted_ms)
        filled = np.searchsorted(starts[heads], every, side="right") - 1
        empty = starts[heads][filled] != every
        tails = np.append(heads[1:], at.size) - 1
        worth = np.add.reduceat(lots.astype(np.float64) * ticks, heads)
        flat = ticks[tails][filled]

        def column(values: Ints, flat_value: Ints) -> NDArray[np.float64]:
            return self._ticks.to_float(np.where(empty, flat_value, values[filled]))

        scale = float(self._ticks.step) * float(self._lots.step)
        return CandleColumns(
            every,
            column(opened, flat),
            column(np.maximum(np.maximum.reduceat(ticks, heads), opened), flat),
            column(np.minimum(np.minimum.reduceat(ticks, heads), opened), flat),
            column(ticks[tails], flat),
            self._lots.to_float(np.where(empty, 0, np.add.reduceat(lots, heads)[filled])),
            np.round(np.where(empty, 0.0, worth[filled]) * scale, 8),
        )


@dataclass(slots=True)
class _Block:
    """Steps of some candles, as lists: index = (candle - first) · points + point."""

    first: int
    ticks: list[int]
    before: list[int]
    lots: list[int]
    bought: list[bool]
    mark: list[int]
    index: list[int]
    bid_px: list[list[int]]
    bid_sz: list[list[int]]
    ask_px: list[list[int]]
    ask_sz: list[list[int]]
    rows: list[Candle]
    same_top: list[bool]
    same_book: list[bool]
    """Whether the best levels, and whether all levels, are those of the step before."""


class PathMarket:
    """One symbol's market along price paths. See the module's docstring and :class:`~tradebot.sim.source.MarketSource`.

    ``candles`` must hold the history and the traded part up to ``end_ms``; ``start_ms`` and ``end_ms`` are starts of
    its candles (``end_ms``: of the one after the last). The step at ``end_ms`` closes the last candle.
    """

    def __init__(
        self,
        instrument: Instrument,
        candles: CandleColumns,
        interval_ms: int,
        paths: Paths,
        *,
        ticks: Grid,
        lots: Grid,
        funding: FundingSchedule,
        key: int,
        start_ms: int,
        end_ms: int,
        description: str,
    ) -> None:
        self.instrument = instrument
        self.interval_ms = interval_ms
        self.start_ms, self.end_ms = start_ms, end_ms
        self.description = description
        self._funding, self._key = funding, key
        self._points, self._step_ms = paths.points, interval_ms // paths.points
        self._paths = paths
        last = int(np.searchsorted(candles.open_time, end_ms))
        self._candles = PathCandles(candles.part(0, last), interval_ms, paths, ticks, lots)
        self._shape = BookShape.of(candles.high, candles.low, candles.close, candles.volume, interval_ms, ticks, lots)
        self._tick = instrument.tick
        self._start_row = int(np.searchsorted(candles.open_time, start_ms))
        self._at = 0
        self._steps = (last - self._start_row) * self._points
        self._blocks: dict[int, _Block] = {}
        self._last_close: Candle | None = None
        self._mark = self._index = instrument.tick

    def next_ms(self) -> int | None:
        """Time of the next step, or None after the one at ``end_ms``."""
        if self._at > self._steps:
            return None
        return self.start_ms + self._at * self._step_ms

    def step(self) -> MarketStep:
        """Advance one point. Raises RuntimeError after the last."""
        ts_ms = self.next_ms()
        if ts_ms is None:
            raise RuntimeError("the market has ended: next_ms() is None")
        rate = self._funding.rate_at(ts_ms)
        candle, point = divmod(self._at, self._points)
        if self._at == self._steps:
            self._at += 1
            closing = () if self._last_close is None else (self._last_close,)
            symbol = self.instrument.symbol
            return MarketStep(symbol, ts_ms, None, None, (), closing, self._mark, self._index, rate)
        row = self._start_row + candle
        block = self._block_of(row)
        i = (row - block.first) * self._points + point
        self._at += 1

        bids: Levels = tuple(zip(block.bid_px[i], block.bid_sz[i], strict=True))
        asks: Levels = tuple(zip(block.ask_px[i], block.ask_sz[i], strict=True))
        if bids[-1][0] < 1:
            bids = tuple(level for level in bids if level[0] >= 1)
        self._mark, self._index = self._tick * block.mark[i], self._tick * block.index[i]
        running = block.rows[i]
        if point == 0:
            previous = self._last_close or self._closed(row - 1)
            rows = (running,) if previous is None else (previous, running)
        else:
            rows = (running,)
        if point == self._points - 1:
            self._last_close = running
        trades = _trades(ts_ms, block.before[i], block.ticks[i], block.lots[i], block.bought[i])
        return MarketStep(self.instrument.symbol, ts_ms, bids, asks, trades, rows, self._mark, self._index, rate)

    def needed_from(self, close_ms: int, bids: Sequence[int] = (), asks: Sequence[int] = ()) -> int:
        """The step before, or those at which the book and its best levels last changed; see ``SparseSource``."""
        close = min(-(-(close_ms - self.start_ms) // self._step_ms), self._steps)
        before = top = close - 1
        while before > self._at and self._stands(before, top=False):
            before -= 1
        if close < self._steps and self._stands(close, top=True):
            while top > self._at and self._stands(top, top=True):
                top -= 1
        at = min(before, top)
        if bids or asks:
            at = next((early for early in range(self._at, at) if self._shows(early, bids, asks)), at)
        return self.start_ms + at * self._step_ms

    def skip(self, until_ms: int) -> bool:
        """Leave out the steps before ``until_ms``; see ``SparseSource``."""
        at = min(-(-(until_ms - self.start_ms) // self._step_ms), self._steps)
        if at <= self._at:
            return False
        self._at = at
        self._last_close = None
        return True

    def settlements(self, until_ms: int | None = None) -> Sequence[tuple[int, Decimal]]:
        """Funding settlements of the history, or up to ``until_ms``, oldest first."""
        last_ms = self.start_ms if until_ms is None else until_ms
        return self._funding.settlements(int(self._candles.closed.open_time[0]), last_ms)

    def candles(self, interval: str, start_ms: int, end_ms: int, now_ms: int) -> Sequence[Candle]:
        """Candles with ``start_ms <= open_time <= end_ms`` known at ``now_ms``, oldest first.

        Raises DataError for an interval that does not exist.
        """
        return self._candles.candles(interval, start_ms, end_ms, min(now_ms, self.end_ms)).rows()

    def _closed(self, row: int) -> Candle | None:
        if row < 0:
            return None
        return self._candles.running(row, row + 1).rows()[-1]

    def _stands(self, at: int, *, top: bool) -> bool:
        """Whether a step shows the same book, or the same best levels, as the one before."""
        block, i = self._place(at)
        return block.same_top[i] if top else block.same_book[i]

    def _shows(self, at: int, bids: Sequence[int], asks: Sequence[int]) -> bool:
        """Whether the book of a step reaches one of these prices."""
        block, i = self._place(at)
        return any(ticks >= block.bid_px[i][-1] for ticks in bids) or any(
            ticks <= block.ask_px[i][-1] for ticks in asks
        )

    def _place(self, at: int) -> tuple[_Block, int]:
        candle, point = divmod(at, self._points)
        row = self._start_row + candle
        block = self._block_of(row)
        return block, (row - block.first) * self._points + point

    def _block_of(self, row: int) -> _Block:
        """The block that holds the candle ``row``: the latest two are kept."""
        first = row // BLOCK * BLOCK
        block = self._blocks.get(first)
        if block is None:
            block = self._load(first)
            self._blocks = {**{at: known for at, known in self._blocks.items() if at == first - BLOCK}, first: block}
        return block

    def _load(self, row: int) -> _Block:
        lead = 1 if row else 0
        last = min(row + BLOCK, len(self._candles))
        block = self._paths.block(row - lead, last)
        ticks, k = block.ticks, self._points
        first = ticks.copy()
        first[:, 1:] = ticks[:, :-1]  # a candle's first trade is its open: nothing leads there from the candle before
        at_ms = (self._candles.closed.open_time[row - lead : last, None] + self._step_ms * np.arange(k)).ravel()
        price, before, flow = ticks.ravel(), first.ravel(), block.flow.ravel()
        bought = (price > before) | ((price == before) & (uniforms(self._key, at_ms, 1)[:, 0] < 0.5))
        spread = np.repeat(self._shape.spread[row - lead : last], k)
        best_bid = np.where(bought, price - spread, price)
        best_ask = np.where(bought, price, price + spread)
        best_bid, best_ask = np.maximum(best_bid, 1), np.maximum(best_ask, 2)
        book = books(
            self._key, at_ms, best_bid, best_ask,
            np.repeat(self._shape.gap[row - lead : last], k),
            np.repeat(self._shape.best_lots[row - lead : last], k), flow,
        )  # fmt: skip
        mid = (best_bid + best_ask) / 2.0
        cut = lead * k
        levels = np.stack((book.bid_px, book.bid_sz, book.ask_px, book.ask_sz))
        same = (levels[:, 1:] == levels[:, :-1]).all(axis=0)
        first_step = np.zeros(1, np.bool_)
        return _Block(
            row,
            price[cut:].tolist(),
            before[cut:].tolist(),
            block.lots.ravel()[cut:].tolist(),
            bought[cut:].tolist(),
            _weighted(mid, MARK_WEIGHTS)[cut:].tolist(),
            _weighted(mid, INDEX_WEIGHTS)[cut:].tolist(),
            book.bid_px[cut:].tolist(),
            book.bid_sz[cut:].tolist(),
            book.ask_px[cut:].tolist(),
            book.ask_sz[cut:].tolist(),
            self._candles.running(row, last).rows(),
            np.concatenate((first_step, same[:, 0]))[cut:].tolist(),
            np.concatenate((first_step, same.all(axis=1)))[cut:].tolist(),
        )


def _weighted(mid: NDArray[np.float64], weights: tuple[float, float, float]) -> Ints:
    """Weighted mean of the latest three mids, in whole ticks; the first mid stands for those before it."""
    padded = np.concatenate((mid[:1], mid[:1], mid))
    blend = weights[0] * padded[2:] + weights[1] * padded[1:-1] + weights[2] * padded[:-2]
    return np.rint(blend).astype(np.int64)


def _trades(ts_ms: int, before: int, price: int, lots: int, bought: bool) -> tuple[MarketTrade, ...]:
    """Up to three trades from the previous point's price to this one's; their sizes sum to ``lots``."""
    if lots <= 0:
        return ()
    side: Side = "buy" if bought else "sell"
    if price == before or lots < 4:
        return (MarketTrade(ts_ms, price, lots, side),)
    early = lots // 4
    half = (lots - early) // 2
    return (
        MarketTrade(ts_ms, before, early, "sell" if bought else "buy"),
        MarketTrade(ts_ms, before + (price - before) // 2, half, side),
        MarketTrade(ts_ms, price, lots - early - half, side),
    )
