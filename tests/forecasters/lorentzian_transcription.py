"""The indicator's definition, bar by bar, as a chart would compute it: lists, loops, nothing clever.

Written from the definition alone and sharing no line with the product, so that both can be held against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

NA = math.nan


class Ema:
    def __init__(self, n: int) -> None:
        self.alpha, self.value = 2.0 / (n + 1), NA

    def __call__(self, x: float) -> float:
        self.value = x if math.isnan(self.value) else self.alpha * x + (1 - self.alpha) * self.value
        return self.value


class Rma:
    def __init__(self, n: int) -> None:
        self.n, self.seen, self.value = n, [], NA

    def __call__(self, x: float) -> float:
        if math.isnan(self.value):
            self.seen.append(x)
            if len(self.seen) == self.n:
                self.value = sum(self.seen) / self.n
        else:
            self.value = (x + (self.n - 1) * self.value) / self.n
        return self.value


class Rescale:
    def __init__(self) -> None:
        self.lowest, self.highest = 10e10, -10e10

    def __call__(self, x: float) -> float:
        if math.isnan(x):
            return NA
        self.lowest, self.highest = min(x, self.lowest), max(x, self.highest)
        return (x - self.lowest) / max(self.highest - self.lowest, 10e-10)


def rsi(closes: Sequence[float], n: int) -> list[float]:
    up, down, out = Rma(n), Rma(n), [NA]
    for before, now in pairwise(closes):
        rise, fall = up(max(now - before, 0)), down(max(before - now, 0))
        out.append(NA if math.isnan(rise) else 100 if fall == 0 else 100 - 100 / (1 + rise / fall))
    return out


def wave_trend(prices: Sequence[float]) -> list[float]:
    """wt1 less the average of its last four."""
    slow, apart, wave = Ema(10), Ema(10), Ema(11)
    waves: list[float] = []
    out = []
    for price in prices:
        average = slow(price)
        distance = apart(abs(price - average))
        if distance == 0:
            out.append(NA)
            continue
        waves.append(wave((price - average) / (0.015 * distance)))
        out.append(waves[-1] - sum(waves[-4:]) / 4 if len(waves) >= 4 else NA)
    return out


def cci(closes: Sequence[float], n: int) -> list[float]:
    out = []
    for t in range(len(closes)):
        window = closes[max(0, t - n + 1) : t + 1]
        average = sum(window) / len(window)
        deviation = sum(abs(c - average) for c in window) / len(window)
        out.append((closes[t] - average) / (0.015 * deviation) if len(window) == n and deviation > 0 else NA)
    return out


def adx(highs: Sequence[float], lows: Sequence[float], closes: Sequence[float], n: int) -> list[float]:
    true_range = plus = minus = 0.0
    average, out = Rma(n), []
    for t in range(len(closes)):
        if t == 0:
            true_range = highs[0] - lows[0]
        else:
            up, down = highs[t] - highs[t - 1], lows[t - 1] - lows[t]
            largest = max(highs[t] - lows[t], abs(highs[t] - closes[t - 1]), abs(lows[t] - closes[t - 1]))
            true_range = true_range - true_range / n + largest
            plus = plus - plus / n + (max(up, 0) if up > down else 0)
            minus = minus - minus / n + (max(down, 0) if down > up else 0)
        if true_range == 0 or plus + minus == 0:
            out.append(NA)
            continue
        di_plus, di_minus = plus / true_range * 100, minus / true_range * 100
        out.append(average(abs(di_plus - di_minus) / (di_plus + di_minus) * 100))
    return out


def inputs(highs: Sequence[float], lows: Sequence[float], closes: Sequence[float]) -> list[list[float]]:
    """The five series, one list per bar."""
    typical = [(h + l + c) / 3 for h, l, c in zip(highs, lows, closes, strict=True)]
    wave, commodity = Rescale(), Rescale()
    columns = [
        [x / 100 for x in rsi(closes, 14)],
        [wave(x) for x in wave_trend(typical)],
        [commodity(x) for x in cci(closes, 20)],
        [x / 100 for x in adx(highs, lows, closes, 20)],
        [x / 100 for x in rsi(closes, 9)],
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def predictions(rows: Sequence[Sequence[float]], closes: Sequence[float], k: int, max_bars_back: int) -> list[int]:
    """What the indicator predicts at each bar."""
    train_labels: list[int] = []
    stored: list[Sequence[float]] = []
    distances: list[float] = []  # both lists live as long as the chart
    neighbours: list[int] = []
    said = []
    for t, row in enumerate(rows):
        stored.append(row)
        if t < 4:
            train_labels.append(0)
        else:
            train_labels.append(-1 if closes[t - 4] < closes[t] else 1 if closes[t - 4] > closes[t] else 0)
        last_distance = -1.0
        size = min(max_bars_back - 1, len(train_labels) - 1)
        for i in range(size + 1):
            d = sum(math.log(1 + abs(a - b)) for a, b in zip(row, stored[i], strict=True))
            if d >= last_distance and i % 4:
                last_distance = d
                distances.append(d)
                neighbours.append(train_labels[i])
                if len(neighbours) > k:
                    last_distance = distances[math.floor(k * 3 / 4 + 0.5)]
                    distances.pop(0)
                    neighbours.pop(0)
        said.append(sum(neighbours))
    return said
