"""Features of closed 5m candles.

>>> import numpy as np
>>> from tradebot.market.candle import Candle
>>> live = CandleFeatures()
>>> live.update(Candle(MONDAY_MS, 100.0, 101.0, 99.0, 100.5, 12.0)) is None   # the epoch is not complete yet
True
>>> len(NAMES), history_bars_needed(MONDAY_MS + WEEK_MS)
(74, 2017)

Every row depends on the candles from its epoch on and on nothing before or after (see ``epoch``). A ratio whose
denominator does not exceed 1e-12 (relative to the price where it is a price) is undefined and NaN; nothing is ever
infinite. Where the catalogue writes ``eps`` it is 1e-12. Abbreviations there: ``A`` Wilder's ATR14, ``E9`` exponential
average with weight 2/(9+1), ``W14`` Wilder's average with weight 1/14, both started with the epoch's first value;
``r`` = ret_1; ``tp`` = (h+l+c)/3; std and variance are those of the population.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradebot.errors import DataError
from tradebot.features import layout
from tradebot.features.catalogue import CATALOGUE, NAMES, SCHEMA_HASH, Feature, column
from tradebot.features.epoch import (
    BAR_MS,
    INTERVAL,
    MAX_HISTORY_BARS,
    MONDAY_MS,
    WEEK_MS,
    epoch_of,
    history_bars_needed,
)
from tradebot.features.kernel import KERNEL_STAMP, empty_state, kernel
from tradebot.market.candle import Candle

__all__ = [
    "BAR_MS",
    "CATALOGUE",
    "INTERVAL",
    "MAX_HISTORY_BARS",
    "MONDAY_MS",
    "NAMES",
    "SCHEMA_HASH",
    "WEEK_MS",
    "CandleFeatures",
    "Feature",
    "batch",
    "column",
    "epoch_of",
    "history_bars_needed",
    "row_hash",
]

Rows = NDArray[np.float32]
Flags = NDArray[np.bool_]
Column = NDArray[np.float64]
Columns = tuple[Column, Column, Column, Column, Column]

_HEADER = struct.Struct("<4s32sQI")
_MAGIC = b"TBF1"


class CandleFeatures:
    """Feature state of one symbol: takes closed 5m candles in order, gives the row of each.

    About 70 KB; not safe for use by two threads at once.
    """

    def __init__(self) -> None:
        self._marks, self._memory = empty_state()
        self._once = self._memory[layout.AT_ONCE : layout.AT_LANES]
        self._row: Rows | None = None
        self._time = np.zeros(1, dtype=np.int64)
        self._ohlcv: Columns = (np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1))
        self._usable = np.zeros(1, dtype=np.bool_)

    @property
    def last_open_ms(self) -> int | None:
        """Open time of the last candle taken, or None before the first."""
        last = int(self._marks[layout.LAST_OPEN])
        return None if last < 0 else last

    def update(self, candle: Candle) -> Rows | None:
        """The row of a closed candle (float32, catalogue order), or None while its epoch is not complete.

        The last candle given once more with equal values gives its row again. Raises DataError, and changes nothing,
        for a gap, an older candle, other values for the last one, or a candle that cannot be.
        """
        t = candle.open_time_ms
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        last = int(self._marks[layout.LAST_OPEN])
        if last >= 0 and t != last + BAR_MS:
            if t == last and values == tuple(self._once[layout.LAST_O : layout.LAST_V + 1]):
                return None if self._row is None else self._row.copy()
            raise DataError(_out_of_order(t, last))
        o, h, low, c, v = values
        if t % BAR_MS or t < MONDAY_MS or not _possible(o, h, low, c, v):
            raise DataError(f"candle {t} cannot be: o={o} h={h} l={low} c={c} v={v}; fetch it again")
        for cell, value in zip(self._ohlcv, values, strict=True):
            cell[0] = value
        self._time[0] = t
        row = np.empty((1, len(NAMES)), dtype=np.float32)
        kernel()(self._marks, self._memory, self._time, *self._ohlcv, row, self._usable)
        self._row = row[0] if self._usable[0] else None
        return None if self._row is None else self._row.copy()

    def extend(
        self, open_ms: ArrayLike, o: ArrayLike, h: ArrayLike, low: ArrayLike, c: ArrayLike, v: ArrayLike
    ) -> tuple[Rows, Flags]:
        """Take many closed candles, oldest first: rows (N, F) and which are usable (N,); the others are NaN.

        A gap, also one between the last candle taken and the first, makes rows unusable until an epoch is complete
        again. Raises DataError, and changes nothing, for candles out of order, twice, off the 5m grid or impossible.
        """
        times, columns = _checked(open_ms, o, h, low, c, v)
        last = int(self._marks[layout.LAST_OPEN])
        if len(times) and times[0] <= last:
            raise DataError(_out_of_order(int(times[0]), last))
        rows = np.empty((len(times), len(NAMES)), dtype=np.float32)
        usable = np.empty(len(times), dtype=np.bool_)
        kernel()(self._marks, self._memory, times, *columns, rows, usable)
        if len(times):
            self._row = rows[-1].copy() if usable[-1] else None
        return rows, usable

    def to_bytes(self) -> bytes:
        """The whole state, for a snapshot. Only the same kernel takes it up again."""
        row = b"" if self._row is None else self._row.astype("<f4").tobytes()
        body = self._marks.astype("<i8").tobytes() + self._memory.astype("<f8").tobytes() + row
        return _HEADER.pack(_MAGIC, bytes.fromhex(SCHEMA_HASH), KERNEL_STAMP, zlib.crc32(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> CandleFeatures:
        """The state that ``to_bytes`` gave. Raises DataError when it is damaged or another kernel's."""
        size = _HEADER.size + 8 * (layout.MARKS + layout.MEMORY)
        if len(data) not in (size, size + 4 * len(NAMES)):
            raise DataError("feature snapshot has the wrong length; rebuild the features from candles")
        magic, schema, stamp, crc = _HEADER.unpack_from(data)
        body = memoryview(data)[_HEADER.size :]
        if magic != _MAGIC or schema.hex() != SCHEMA_HASH or stamp != KERNEL_STAMP:
            raise DataError("feature snapshot was written by another kernel; rebuild the features from candles")
        if zlib.crc32(body) != crc:
            raise DataError("feature snapshot is damaged; rebuild the features from candles")
        self = cls()
        split = 8 * layout.MARKS
        self._marks[:] = np.frombuffer(body[:split], dtype="<i8")
        self._memory[:] = np.frombuffer(body[split : split + 8 * layout.MEMORY], dtype="<f8")
        if len(data) > size:
            self._row = np.frombuffer(body[split + 8 * layout.MEMORY :], dtype="<f4").astype(np.float32)
        return self


def batch(
    open_ms: ArrayLike, o: ArrayLike, h: ArrayLike, low: ArrayLike, c: ArrayLike, v: ArrayLike
) -> tuple[Rows, Flags]:
    """Rows (N, F) float32 of N closed 5m candles, oldest first, and which of them are usable (N,) bool.

    The rows a fresh ``CandleFeatures`` would give one by one; see ``CandleFeatures.extend``.
    """
    return CandleFeatures().extend(open_ms, o, h, low, c, v)


def row_hash(row: Rows) -> str:
    """Name of a row's content: the first 16 hex digits of the SHA-256 of its little-endian float32 bytes.

    >>> row_hash(np.zeros(2, dtype=np.float32))
    'af5570f5a1810b7a'
    """
    return hashlib.sha256(np.ascontiguousarray(row, dtype="<f4").tobytes()).hexdigest()[:16]


def _possible(o: float, h: float, low: float, c: float, v: float) -> bool:
    return 0.0 < low <= o <= h < float("inf") and low <= c <= h and 0.0 <= v < float("inf")


def _out_of_order(open_ms: int, last_ms: int) -> str:
    if open_ms > last_ms + BAR_MS:
        missing = (open_ms - last_ms) // BAR_MS - 1
        return f"{missing} candles are missing between {last_ms} and {open_ms}; fetch them and start the features anew"
    if open_ms == last_ms:
        return f"candle {open_ms} came again with other values; its row has been given already"
    return f"candle {open_ms} is older than the last one, {last_ms}"


def _checked(
    open_ms: ArrayLike, o: ArrayLike, h: ArrayLike, low: ArrayLike, c: ArrayLike, v: ArrayLike
) -> tuple[NDArray[np.int64], Columns]:
    times = np.ascontiguousarray(open_ms, dtype=np.int64)
    columns = _vector(o), _vector(h), _vector(low), _vector(c), _vector(v)
    if times.ndim != 1 or any(x.shape != times.shape for x in columns):
        raise DataError("candle columns have different lengths")
    step = np.diff(times, prepend=times[:1] - BAR_MS)
    bad = (step <= 0) | (times % BAR_MS != 0) | (times < MONDAY_MS) | ~_all_possible(*columns)
    if bad.any():
        i = int(np.argmax(bad))
        why = "comes twice or out of order" if step[i] <= 0 else "is off the 5m grid or cannot be"
        values = " ".join(f"{name}={x[i]}" for name, x in zip("ohlcv", columns, strict=True))
        raise DataError(f"candle {times[i]} (row {i}) {why}: {values}")
    return times, columns


def _vector(values: ArrayLike) -> Column:
    return np.ascontiguousarray(values, dtype=np.float64)


def _all_possible(o: Column, h: Column, low: Column, c: Column, v: Column) -> NDArray[np.bool_]:
    ordered = (low > 0) & (low <= o) & (o <= h) & (low <= c) & (c <= h) & (v >= 0)
    return ordered & np.isfinite(h) & np.isfinite(v)
