"""A market whose book is renewed between its own steps, as makers do: for load, not for research.

At every multiple of the interval (plus a phase of the symbol's own, so that many symbols do not move at once) either
side gets ``CHANGES`` new sizes, each ``exp(SPREAD·(u - 1/2))`` times the level's size at the market's last own step,
and one time in ``PULL_EVERY`` the best level of a side is pulled or comes back. Prices, trades, mark and candles are
those of the market underneath, so nothing is to be learnt from these changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from tradebot.errors import ConfigError
from tradebot.market.candle import Candle
from tradebot.sim.market.noise import stream_key, uniforms
from tradebot.sim.source import Levels, MarketSource, MarketStep

CHANGES = 3
SPREAD = 1.2
PULL_EVERY = 8
BLOCK = 512
SHORTEST_MS = 10
PHASES = 20
"""Symbols are spread over so many moments within one interval."""


class RequotedMarket:
    """``source`` with its book renewed every ``every_ms``. See the module's docstring and ``MarketSource``.

    ``number`` counts the symbols of a market: it chooses the phase. Raises ConfigError for too short an interval.
    """

    def __init__(self, source: MarketSource, every_ms: int, seed: int, number: int) -> None:
        if every_ms < SHORTEST_MS:
            raise ConfigError(f"books are renewed at most every {SHORTEST_MS} ms, not every {every_ms} ms")
        self.instrument = source.instrument
        self.interval_ms = source.interval_ms
        self.start_ms, self.end_ms = source.start_ms, source.end_ms
        self.description = f"{source.description}, its book renewed every {every_ms} ms"
        self._source = source
        self._every_ms = every_ms
        self._key = stream_key(seed, source.instrument.symbol, "requoted")
        phase_ms = number % PHASES * every_ms // PHASES
        self._at_ms = source.start_ms + every_ms + phase_ms
        self._state: MarketStep | None = None
        self._bids: list[tuple[int, int]] = []
        self._asks: list[tuple[int, int]] = []
        self._pulled = [False, False]
        self._draws: list[list[float]] = []
        self._draw = 0

    def next_ms(self) -> int | None:
        """Time of the next step, the market's own or a renewal; None at the end of the market."""
        own_ms = self._source.next_ms()
        if own_ms is None or self._state is None:
            return own_ms
        return min(own_ms, self._at_ms)

    def step(self) -> MarketStep:
        """Advance to :meth:`next_ms`. A renewal that falls on a step of the market's own is left out."""
        own_ms = self._source.next_ms()
        state = self._state
        if state is None or own_ms is None or own_ms <= self._at_ms:
            step = self._source.step()
            if step.ts_ms == self._at_ms:
                self._at_ms += self._every_ms
            self._remember(step)
            return step
        now_ms = self._at_ms
        self._at_ms += self._every_ms
        draws = self._next_draws()
        return MarketStep(
            state.symbol,
            now_ms,
            self._renewed(0, self._bids, state.bids or (), draws),
            self._renewed(1, self._asks, state.asks or (), draws),
            (),
            (),
            state.mark,
            state.index,
            state.funding_rate,
        )

    def settlements(self, until_ms: int | None = None) -> Sequence[tuple[int, Decimal]]:
        """Those of the market underneath."""
        return self._source.settlements(until_ms)

    def candles(self, interval: str, start_ms: int, end_ms: int, now_ms: int) -> Sequence[Candle]:
        """Those of the market underneath."""
        return self._source.candles(interval, start_ms, end_ms, now_ms)

    def _remember(self, step: MarketStep) -> None:
        before = self._state
        bids = step.bids if step.bids is not None or before is None else before.bids
        asks = step.asks if step.asks is not None or before is None else before.asks
        self._state = MarketStep(step.symbol, step.ts_ms, bids, asks, (), (), step.mark, step.index, step.funding_rate)
        self._bids, self._asks = list(bids or ()), list(asks or ())
        self._pulled = [False, False]

    def _renewed(self, side: int, levels: list[tuple[int, int]], base: Levels, draws: list[float]) -> Levels:
        if not base:
            return base
        at = side * (2 * CHANGES + 1)
        for i in range(at, at + 2 * CHANGES, 2):
            level = int(draws[i] * len(base))
            price, lots = base[level]
            levels[level] = (price, int(lots * draws[i + 1]) + 1)
        if draws[at + 2 * CHANGES] < 1 / PULL_EVERY and len(base) > 1:
            self._pulled[side] = not self._pulled[side]
        return tuple(levels[1:] if self._pulled[side] else levels)

    def _next_draws(self) -> list[float]:
        if self._draw == len(self._draws):
            at = np.arange(self._at_ms, self._at_ms + BLOCK, dtype=np.int64)
            draws = uniforms(self._key, at, 2 * (2 * CHANGES + 1))
            for side in (0, 2 * CHANGES + 1):
                sizes = draws[:, side + 1 : side + 2 * CHANGES : 2]
                draws[:, side + 1 : side + 2 * CHANGES : 2] = np.exp(SPREAD * (sizes - 0.5))
            self._draws = draws.tolist()
            self._draw = 0
        self._draw += 1
        return self._draws[self._draw - 1]
