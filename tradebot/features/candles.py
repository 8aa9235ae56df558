"""Features of closed 5m candles.

>>> import numpy as np
>>> from tradebot.market.candle import Candle
>>> live = CandleFeatures()
>>> live.update(Candle(MONDAY_MS, 100.0, 101.0, 99.0, 100.5, 12.0)) is None   # the epoch is not complete yet
True
>>> len(NAMES), history_bars_needed(MONDAY_MS + WEEK_MS)
(81, 2017)
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tradebot.features.catalogue import CATALOGUE, NAMES, SCHEMA_HASH, column
from tradebot.features.epoch import (
    BAR_MS,
    INTERVAL,
    MAX_HISTORY_BARS,
    MONDAY_MS,
    WEEK_MS,
    epoch_of,
    history_bars_needed,
)
from tradebot.features.views import State, view
from tradebot.market.candle import Candle

__all__ = [
    "BAR_MS",
    "CATALOGUE",
    "INTERVAL",
    "MAX_HISTORY_BARS",
    "MONDAY_MS",
    "NAMES",
    "SCHEMA_HASH",
    "VIEW",
    "WEEK_MS",
    "Candle",
    "CandleFeatures",
    "batch",
    "column",
    "epoch_of",
    "history_bars_needed",
    "row_hash",
]

Rows = NDArray[np.float32]

VIEW = view("candles-5m")
batch = VIEW.batch


class CandleFeatures(State):
    """State of the view ``candles-5m``."""

    def __init__(self) -> None:
        super().__init__(VIEW)


def row_hash(row: Rows) -> str:
    """Name of a row's content: the first 16 hex digits of the SHA-256 of its little-endian float32 bytes.

    >>> row_hash(np.zeros(2, dtype=np.float32))
    'af5570f5a1810b7a'
    """
    return hashlib.sha256(np.ascontiguousarray(row, dtype="<f4").tobytes()).hexdigest()[:16]
