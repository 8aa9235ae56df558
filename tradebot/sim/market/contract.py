"""The contract that recorded numbers imply: its tick, its lot, and what the venue allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tradebot.market.instrument import Instrument

MOST_DECIMALS = 8
LOT_NOTIONAL = 20.0
"""A lot is worth at most this many USDT, so that sizes are a fine enough choice around the minimum notional of 5."""
FEWEST_TICKS = 500

_LEVERAGE = {"BTCUSDT": (125, "0.004"), "ETHUSDT": (100, "0.005"), "SOLUSDT": (75, "0.005")}
_OTHER_LEVERAGE = (50, "0.01")


@dataclass(frozen=True, slots=True)
class Grid:
    """Multiples of ``unit × 10^-decimals``: exact on integers, one division back to the recorded float.

    >>> Grid(2).to_float(np.array([13105])).item()
    131.05
    """

    decimals: int
    unit: int = 1

    @property
    def step(self) -> Decimal:
        return Decimal(self.unit).scaleb(-self.decimals)

    def to_int(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Nearest multiples."""
        multiples: NDArray[np.int64] = np.rint(values * (10**self.decimals / self.unit)).astype(np.int64)
        return multiples

    def to_float(self, multiples: NDArray[np.int64]) -> NDArray[np.float64]:
        """The floats a person would write: correctly rounded, so recorded values come back bit for bit."""
        floats: NDArray[np.float64] = (multiples * self.unit) / float(10**self.decimals)
        return floats

    def one_float(self, multiple: int) -> float:
        return (multiple * self.unit) / float(10**self.decimals)


def decimal_places(values: NDArray[np.float64], most: int = MOST_DECIMALS) -> int:
    """The fewest decimals, at most ``most``, that write every value.

    >>> decimal_places(np.array([1.5, 2.25]))
    2
    """
    left = values
    for decimals in range(most):
        scaled = left * 10.0**decimals
        off = np.abs(scaled - np.rint(scaled)) > 1e-9 * np.maximum(np.abs(scaled), 1.0)
        left = left[off]
        if left.size == 0:
            return decimals
    return most


def price_grid(*prices: NDArray[np.float64]) -> Grid:
    """The coarsest grid of 1 or 5 units of a decimal place that holds all recorded prices.

    It is made finer where a price would be less than ``FEWEST_TICKS`` ticks, so that a book of many levels fits
    below it. Prices with more than ``MOST_DECIMALS`` decimals are rounded to that many.
    """
    written = decimals = max(decimal_places(np.ravel(some)) for some in prices)
    lowest = min(float(some.min()) for some in prices)
    while lowest * 10**decimals < FEWEST_TICKS and decimals < MOST_DECIMALS:
        decimals += 1
    grid = Grid(decimals)
    if decimals > written or decimals == 0 or lowest / float(Grid(decimals, 5).step) < FEWEST_TICKS:
        return grid
    fives = all(bool(np.all(grid.to_int(np.ravel(some)) % 5 == 0)) for some in prices)
    return Grid(decimals, 5) if fives else grid


def size_grid(sizes: Sequence[NDArray[np.float64]], price: float) -> Grid:
    """A power of ten that divides all recorded sizes and is worth at most ``LOT_NOTIONAL`` at ``price``."""
    recorded = max(decimal_places(np.ravel(some)) for some in sizes)
    wanted = -math.floor(math.log10(LOT_NOTIONAL / price))
    return Grid(min(max(recorded, wanted, 0), MOST_DECIMALS))


def contract(symbol: str, prices: Grid, sizes: Grid, *, funding_hours: int = 8) -> Instrument:
    """A USDT perpetual with the base fee tier (maker 0.02 %, taker 0.06 %) and a leverage tier by symbol."""
    leverage, maintenance = _LEVERAGE.get(symbol, _OTHER_LEVERAGE)
    return Instrument(
        symbol=symbol,
        tick=prices.step,
        lot=sizes.step,
        min_qty=sizes.step,
        max_leverage=leverage,
        maintenance_rate=Decimal(maintenance),
        funding_hours=funding_hours,
    )
