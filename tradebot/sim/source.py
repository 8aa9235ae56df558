"""What the embedded exchange asks of a market: steps in time order, and candles of any interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from tradebot.market.candle import Candle
from tradebot.market.instrument import Instrument, Side

Levels = tuple[tuple[int, int], ...]
"""Price levels, best first: (price in ticks, size in lots)."""


@dataclass(frozen=True, slots=True)
class MarketTrade:
    """One public trade, executed at ``ts_ms``. ``side`` is the taker's."""

    ts_ms: int
    price_ticks: int
    qty_lots: int
    side: Side


@dataclass(frozen=True, slots=True)
class MarketStep:
    """Everything that happened to one symbol's market at one moment.

    ``bids``/``asks`` are the whole visible book after the moment (None: unchanged). ``mark`` and ``index`` in USDT.
    ``candles`` are the base-interval rows that changed, oldest first: a row of the interval that just ended with its
    final values, then the row of the running one.
    """

    symbol: str
    ts_ms: int
    bids: Levels | None
    asks: Levels | None
    trades: tuple[MarketTrade, ...]
    candles: tuple[Candle, ...]
    mark: Decimal
    index: Decimal
    funding_rate: Decimal


class MarketSource(Protocol):
    """One symbol's market. Reproducible: the same file and seed give the same steps.

    ``start_ms`` ≤ step times ≤ ``end_ms``; history before ``start_ms`` is served by :meth:`candles` only.
    ``interval_ms`` is the base interval: candles of it are what was recorded or generated, shorter ones are made up.
    """

    instrument: Instrument
    interval_ms: int
    start_ms: int
    end_ms: int
    description: str

    def next_ms(self) -> int | None:
        """Time of the next step, or None at the end of the market."""

    def step(self) -> MarketStep:
        """Advance to ``next_ms()`` and return what happened there."""

    def settlements(self, until_ms: int | None = None) -> Sequence[tuple[int, Decimal]]:
        """Funding settlements up to ``until_ms`` (None: ``start_ms``), oldest first: time (ms) and rate."""

    def candles(self, interval: str, start_ms: int, end_ms: int, now_ms: int) -> Sequence[Candle]:
        """Candles with ``start_ms <= open_time <= end_ms`` known at ``now_ms``, oldest first.

        The last may be the running one (as it stands at ``now_ms``). Base-interval candles equal the recorded ones.
        """


@runtime_checkable
class SparseSource(MarketSource, Protocol):
    """A market whose steps need not all be made: for a client that only looks when candles close."""

    def needed_from(self, close_ms: int, bids: Sequence[int] = (), asks: Sequence[int] = ()) -> int:
        """From when on steps must be made, so that at the first one at or after ``close_ms`` a client has seen all that
        counts then: the book and since when its best levels stand, the newest row of the grid, mark and funding.

        At these prices of ``bids`` and ``asks`` (ticks) liquidity was taken: a step that shows one of them, or a price
        beyond it, counts too."""

    def skip(self, until_ms: int) -> bool:
        """Leave out the steps before ``until_ms``: they are never made, the next one is as if they had been. False when
        there were none."""
