"""A small reproducible market for tests of the exchange: 10 moves per 5 minute candle, no file needed."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal

from tradebot.market.candle import DAY_MS, HOUR_MS, INTERVAL_MS, Candle, interval_start
from tradebot.market.instrument import Instrument, Side
from tradebot.sim.source import Levels, MarketStep, MarketTrade

START_MS = 1_760_054_400_000  # 2025-10-10 00:00 UTC
BASE_MS = INTERVAL_MS["5m"]
MOVE_MS = 30_000
HISTORY_MS = 3 * DAY_MS
LEVELS = 12


class WalkSource:
    """Implements :class:`tradebot.sim.source.MarketSource` with a hash-driven walk around 150 USDT."""

    def __init__(
        self,
        symbol: str = "SOLUSDT",
        *,
        steps: int = 400,
        seed: int = 1,
        start_ms: int = START_MS,
        spread: int = 2,
        funding_hours: int = 8,
    ) -> None:
        self.instrument = Instrument(
            symbol=symbol,
            tick=Decimal("0.001"),
            lot=Decimal("0.1"),
            min_qty=Decimal("0.1"),
            max_leverage=75,
            funding_hours=funding_hours,
        )
        self.interval_ms = BASE_MS
        self.start_ms = start_ms
        self.end_ms = start_ms + (steps - 1) * MOVE_MS
        self.description = f"walk {seed}"
        self._seed = seed
        self._spread = spread
        self._steps = steps
        self._next = 0
        self._mid = 150_000
        self._closed: list[Candle] = []
        self._running: list[Candle] = []
        self._past = self._history()

    def next_ms(self) -> int | None:
        return self.start_ms + self._next * MOVE_MS if self._next < self._steps else None

    def step(self) -> MarketStep:
        now_ms = self.start_ms + self._next * MOVE_MS
        self._next += 1
        draw = self._draw(now_ms)
        self._mid += draw[0] % 61 - 30
        trade = MarketTrade(now_ms, self._mid, 1 + draw[1] % 40, "buy" if draw[2] % 2 else "sell")
        candles = self._fold(now_ms, trade)
        mark = self._mid * self.instrument.tick
        return MarketStep(
            symbol=self.instrument.symbol,
            ts_ms=now_ms,
            bids=self._levels("buy", draw[3]),
            asks=self._levels("sell", draw[4]),
            trades=(trade,),
            candles=candles,
            mark=mark,
            index=mark + Decimal("0.01"),
            funding_rate=Decimal("0.0001"),
        )

    def settlements(self) -> Sequence[tuple[int, Decimal]]:
        period_ms = self.instrument.funding_hours * HOUR_MS
        first_ms = interval_start(self._past[0].open_time_ms, period_ms)
        return [(at, Decimal("0.0001")) for at in range(first_ms, self.start_ms + 1, period_ms)]

    def candles(self, interval: str, start_ms: int, end_ms: int, now_ms: int) -> Sequence[Candle]:
        length = INTERVAL_MS[interval]
        if length < BASE_MS:
            return ()
        rows = [*self._past, *self._closed, *self._running]
        if length == BASE_MS:
            first = bisect_left(rows, start_ms, key=lambda row: row.open_time_ms)
            last = bisect_left(rows, end_ms + 1, key=lambda row: row.open_time_ms)
            return rows[first:last]
        merged: dict[int, list[Candle]] = {}
        for row in rows:
            merged.setdefault(interval_start(row.open_time_ms, length), []).append(row)
        return [_merge(start, parts) for start, parts in merged.items() if start_ms <= start <= end_ms]

    def _fold(self, now_ms: int, trade: MarketTrade) -> tuple[Candle, ...]:
        price = trade.price_ticks / 1000
        volume = trade.qty_lots / 10
        start = interval_start(now_ms, BASE_MS)
        running = self._running[0] if self._running else None
        changed: list[Candle] = []
        if running is not None and running.open_time_ms != start:
            self._closed.append(running)
            changed.append(running)
            running = None
        if running is None:
            row = Candle(start, price, price, price, price, volume, round(volume * price, 6))
        else:
            row = Candle(
                start,
                running.open,
                max(running.high, price),
                min(running.low, price),
                price,
                round(running.volume + volume, 6),
                round(running.quote_volume + volume * price, 6),
            )
        self._running = [row]
        return (*changed, row)

    def _levels(self, side: Side, draw: int) -> Levels:
        sign = -1 if side == "buy" else 1
        best = self._mid + sign * self._spread // 2
        return tuple((best + sign * 3 * i, 20 + (draw >> i) % 50) for i in range(LEVELS))

    def _draw(self, now_ms: int) -> list[int]:
        digest = hashlib.sha256(f"{self._seed}/{self.instrument.symbol}/{now_ms}".encode()).digest()
        return [int.from_bytes(digest[i : i + 4], "big") for i in range(0, 20, 4)]

    def _history(self) -> list[Candle]:
        rows: list[Candle] = []
        price = 150.0
        for start in range(interval_start(self.start_ms, BASE_MS) - HISTORY_MS, self.start_ms, BASE_MS):
            draw = self._draw(start)
            close = round(price + (draw[0] % 201 - 100) / 1000, 3)
            high, low = round(max(price, close) + 0.02, 3), round(min(price, close) - 0.02, 3)
            rows.append(Candle(start, price, high, low, close, 100.0 + draw[1] % 50, round(15_000 + draw[2] % 999, 3)))
            price = close
        return rows


def _merge(start: int, parts: list[Candle]) -> Candle:
    return Candle(
        start,
        parts[0].open,
        max(row.high for row in parts),
        min(row.low for row in parts),
        parts[-1].close,
        sum(row.volume for row in parts),
        sum(row.quote_volume for row in parts),
    )
