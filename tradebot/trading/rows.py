"""Feature rows of one symbol, view by view: kept up with every closed candle, windows included."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tradebot.features.side import SIDE, UNKNOWN
from tradebot.features.views import State, View
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.resample import resampled
from tradebot.market.ring import Ring
from tradebot.market.series import Aggregator

Rows = NDArray[np.float32]
Side = tuple[float, ...]
"""What was known beside a candle at its close, in the order of ``features.side``."""
KEPT_HISTORY = 5_000
"""Candles that a tape keeps: two weeks of epoch behind the oldest row of a window of two and a half days."""


class Tape:
    """The latest candles and what was known beside each: what a view that nobody looked at so far is made of.

    What was known beside candles of before the run is asked for when a view is made of them (``before``: of an open
    time and a close): references may come later than they do.
    """

    def __init__(self) -> None:
        columns = {"open_ms": (np.int64, ()), "candle": (np.float64, (5,)), "side": (np.float64, (len(SIDE),))}
        self._ring = Ring(KEPT_HISTORY, {**columns, "known": (np.bool_, ())})

    def append(self, candle: Candle, side: Side | None) -> None:
        """The next closed candle; ``side`` None: it is of before the run."""
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        beside = UNKNOWN[0] if side is None else side
        self._ring.append(open_ms=candle.open_time_ms, candle=values, side=beside, known=side is not None)

    def load(self, rows: ViewRows, before: Callable[[int, float], Side]) -> None:
        """Give ``rows`` everything that is kept."""
        view = self._ring.view
        times, candles, sides = view("open_ms"), view("candle"), view("side").copy()
        for place in np.flatnonzero(~view("known")).tolist():
            sides[place] = before(int(times[place]), float(candles[place, 3]))
        rows.load(times, candles, sides)


class ViewRows:
    """The newest ``steps`` rows of a view, made of closed candles of ``base_ms``.

    Longer candles close with their last part, and what is known beside them is what was known beside that part.
    """

    def __init__(self, view: View, base_ms: int, steps: int) -> None:
        self.name = view.name
        self.steps = steps
        self.interval_ms = INTERVAL_MS[view.interval]
        self._base_ms = base_ms
        self._state: State = view.new()
        self._whole = Aggregator(base_ms, self.interval_ms) if self.interval_ms != base_ms else None
        self._rows: deque[Rows] = deque(maxlen=steps)
        """Consecutive usable rows."""

    def load(self, times: NDArray[np.int64], candles: NDArray[np.float64], sides: NDArray[np.float64]) -> None:
        """Take the candles of before, oldest first: open times (N,) ms, prices and volume (N, 5), sides (N, 6)."""
        bars = resampled(times, *candles.T, part_ms=self._base_ms, whole_ms=self.interval_ms)
        rows, usable = self._state.extend(*bars[:6], sides[bars.last])
        for row, counts in zip(rows[-self.steps :], usable[-self.steps :], strict=True):
            self._put(row.copy() if counts else None)
        if self._whole is not None:
            begun = int(bars.last[-1]) + 1 if len(bars.last) else 0
            for open_ms, values in zip(times[begun:].tolist(), candles[begun:].tolist(), strict=True):
                self._whole.push(Candle(open_ms, *values))

    def take(self, candle: Candle, side: Side) -> None:
        """Take the next closed candle. Raises DataError for a gap."""
        bar = candle if self._whole is None else self._whole.push(candle)
        if bar is not None:
            self._put(self._state.update(bar, side))

    def row(self) -> Rows | None:
        """The newest row, (F,) float32; None while the view warms up."""
        return self._rows[-1] if self._rows else None

    def window(self, steps: int) -> Rows | None:
        """The newest row, or for more than one step the last rows as (steps, F), oldest first; None while there are
        fewer."""
        if len(self._rows) < steps:
            return None
        if steps == 1:
            return self._rows[-1]
        return np.stack(list(self._rows)[-steps:])

    def _put(self, row: Rows | None) -> None:
        if row is None:
            self._rows.clear()
        else:
            self._rows.append(row)
