"""Indicators of closed candles that strategies use and models do not: filters of models.md section 5.1.

What is a feature of a model stands in the catalogue of ``tradebot.features``; a strategy reads it with ``view.row``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import exp, hypot

from tradebot.market.buffer import CandleWindow
from tradebot.market.candle import Candle

WINDOW = 27
"""Closes that the kernel regression looks back on, the newest included."""


def candles_after(window: CandleWindow, open_ms: int) -> Iterator[Candle]:
    """The candles of a window that opened after ``open_ms``, oldest first: what an indicator has not seen yet."""
    start = int(window.open_time_ms.searchsorted(open_ms, side="right"))
    for i in range(start, len(window.open_time_ms)):
        yield Candle(*(column[i].item() for column in window))


class KernelRegression:
    """Nadaraya–Watson estimate of the close from the last 27 ones, and whether it rises.

    Weights are rational quadratic, ``(1 + i² / (2 r h²))^-r`` for the close ``i`` candles ago. With ``lag`` above 0 a
    second, quicker estimate with Gaussian weights ``exp(-i² / (2 (h - lag)²))`` says what rises by lying above the
    first, which turns later and less often.

    >>> rising = KernelRegression()
    >>> for k in range(30):
    ...     rising.update(100.0 + k)
    >>> rising.direction
    1
    """

    def __init__(self, h: float = 8.0, r: float = 8.0, lag: float = 0.0) -> None:
        if not (h > 0 and r > 0 and 0 <= lag < h):
            raise ValueError(f"h and r must be positive and lag in [0, h), got h {h}, r {r}, lag {lag}")
        self._slow = _normalised([(1 + i * i / (2 * r * h * h)) ** -r for i in range(WINDOW)])
        self._quick = _normalised([exp(-(i * i) / (2 * (h - lag) ** 2)) for i in range(WINDOW)]) if lag else None
        self._closes: deque[float] = deque(maxlen=WINDOW)
        self.estimate: float | None = None
        """The estimate (USDT), or None before 27 closes."""
        self.direction = 0
        """1 while it rises, -1 while it falls, 0 when neither or before 28 closes."""

    def update(self, close: float) -> None:
        """Take the next close."""
        self._closes.appendleft(close)
        if len(self._closes) < WINDOW:
            return
        before, self.estimate = self.estimate, _weighted(self._slow, self._closes)
        against = before if self._quick is None else self.estimate
        value = self.estimate if self._quick is None else _weighted(self._quick, self._closes)
        self.direction = 0 if against is None else (value > against) - (value < against)


class Regime:
    """Whether price moves enough for a trend: the slope of an adaptive average against its own long average.

    ``v1 = .2 Δp + .8 v1``, ``v2 = .1 (h - l) + .8 v2``, ``ω = |v1 / v2|``, ``a = (-ω² + √(ω⁴ + 16 ω²)) / 8``,
    ``k = a p + (1 - a) k`` with p = ohlc4; ``s = |Δk|``; ``strength = (s - E200(s)) / E200(s)``. All start with the
    first candle (k with its price, the others with 0); 200 candles later the start weighs 14 %, after 1 000 nothing.
    """

    PERIOD = 200

    def __init__(self) -> None:
        self._price: float | None = None
        self._moved = self._ranged = self._average = self._now = self._slope = 0.0
        self._seen = 0

    def update(self, candle: Candle) -> None:
        """Take the next closed candle."""
        price = (candle.open + candle.high + candle.low + candle.close) / 4
        if self._price is None:
            self._price = self._average = price
        self._moved = 0.2 * (price - self._price) + 0.8 * self._moved
        self._ranged = 0.1 * (candle.high - candle.low) + 0.8 * self._ranged
        # the formula for a, reduced by ω²: no candle makes it overflow
        weight = 2 / (1 + hypot(1.0, 4 * self._ranged / abs(self._moved))) if self._moved else 0.0
        before, self._average = self._average, weight * price + (1 - weight) * self._average
        self._now = abs(self._average - before)
        part = 2 / (self.PERIOD + 1)
        self._slope = part * self._now + (1 - part) * self._slope
        self._price = price
        self._seen += 1

    @property
    def strength(self) -> float | None:
        """How far today's slope lies above its long average, as a fraction; None before 200 candles or in a market
        that never moved."""
        if self._seen < self.PERIOD or self._slope <= 0:
            return None
        return (self._now - self._slope) / self._slope


class AverageRange:
    """Wilder's average true range over ``period`` candles (period 1: the true range itself).

    >>> ranged = AverageRange(1)
    >>> ranged.update(Candle(0, 10.0, 12.0, 9.0, 11.0, 1.0))
    >>> ranged.value
    3.0
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._close: float | None = None
        self.value: float | None = None
        """USDT; None before the first candle."""

    def update(self, candle: Candle) -> None:
        """Take the next closed candle."""
        close = candle.close if self._close is None else self._close
        true_range = max(candle.high, close) - min(candle.low, close)
        self.value = true_range if self.value is None else self.value + (true_range - self.value) / self._period
        self._close = candle.close


def _normalised(weights: list[float]) -> tuple[float, ...]:
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def _weighted(weights: tuple[float, ...], closes: deque[float]) -> float:
    return sum(weight * close for weight, close in zip(weights, closes, strict=True))
