"""What was known beside a candle at its close: two leading coins, funding, mark and index price, open interest.

>>> beside(btc_close=60_000.0, funding=0.0001)
(60000.0, nan, 0.0001, nan, nan, nan)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradebot.errors import DataError

NAN = math.nan

SIDE: Final = ("btc_close", "eth_close", "funding", "mark", "index", "open_interest")
"""Order of the columns of a side array (N, 6) and of the values given with one candle; see ``beside``."""


def beside(
    *,
    btc_close: float = NAN,
    eth_close: float = NAN,
    funding: float = NAN,
    mark: float = NAN,
    index: float = NAN,
    open_interest: float = NAN,
) -> tuple[float, ...]:
    """What was known beside one candle at its close, in the order of ``SIDE``; NaN = not known.

    ``btc_close``, ``eth_close``: close of the BTCUSDT and ETHUSDT candle of the same open time and venue (USDT), never
    that of another candle. ``funding``: rate of the last settlement at or before the close, as a fraction per
    settlement. ``mark``, ``index``: last at or before the close (USDT). ``open_interest``: likewise (base coin).
    """
    return btc_close, eth_close, funding, mark, index, open_interest


UNKNOWN: Final[NDArray[np.float64]] = np.full((1, len(SIDE)), NAN)
"""One row, read for every candle where nothing is known beside any."""

_FUNDING = SIDE.index("funding")


def checked(side: ArrayLike | None, candles: int) -> NDArray[np.float64]:
    """Side columns (N, 6) float64 as the kernels read them. Raises DataError for another shape, a value that is
    infinite, or one other than funding that is negative. Zero counts as not known, except for funding."""
    if side is None:
        return UNKNOWN
    values = np.ascontiguousarray(side, dtype=np.float64)
    if values.shape != (candles, len(SIDE)):
        raise DataError(f"side columns have shape {values.shape}, not {(candles, len(SIDE))} ({', '.join(SIDE)})")
    lowest = values.min(axis=0, initial=0.0, where=~np.isnan(values))
    lowest[_FUNDING] = max(lowest[_FUNDING], 0.0)
    if (lowest < 0.0).any() or np.isinf(values).any():
        wrong = np.isinf(values) | ((values < 0.0) & (np.arange(len(SIDE)) != _FUNDING))
        row, place = np.argwhere(wrong)[0].tolist()
        raise DataError(f"side column {SIDE[place]} (row {row}) cannot be {values[row, place]}")
    return values if candles else UNKNOWN


def one(side: Sequence[float] | NDArray[np.float64] | None) -> NDArray[np.float64]:
    """What was known beside one candle as the kernels read it, (1, 6): ``checked``, in a microsecond. Raises
    DataError."""
    if side is None:
        return UNKNOWN
    values = side.tolist() if isinstance(side, np.ndarray) else side
    if len(values) == len(SIDE) and not any(value < 0.0 or value == math.inf for value in values):
        return np.array([values], dtype=np.float64)
    return checked(np.reshape(values, (1, -1)), 1)  # says what is wrong, or that a negative funding is not
