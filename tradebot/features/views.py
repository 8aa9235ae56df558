"""Views: what a model is shown of the market, each a list of features with a kernel that computes them.

>>> view("candles-5m").interval, len(view("candles-5m").names)
('5m', 81)
>>> view("candles-5m").new().last_open_ms is None
True
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradebot.errors import DataError
from tradebot.features import layout
from tradebot.features.bars_catalogue import BARS, bars_hash
from tradebot.features.bars_kernel import BARS_MEMORY, BARS_STAMP, bars_kernel
from tradebot.features.catalogue import CATALOGUE, SCHEMA_HASH
from tradebot.features.epoch import INTERVAL
from tradebot.features.feature import Feature
from tradebot.features.kernel import KERNEL_STAMP, Run, kernel
from tradebot.features.side import checked, one
from tradebot.market.candle import INTERVAL_MS, MONDAY_MS, Candle

__all__ = ["VIEWS", "Feature", "State", "View", "row_hash", "view"]

Rows = NDArray[np.float32]
Flags = NDArray[np.bool_]
Column = NDArray[np.float64]
Columns = tuple[Column, Column, Column, Column, Column]

_HEADER = struct.Struct("<4s32sQI")
_MAGIC = b"TBF2"
_NOTHING = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One list of features over closed candles of one interval.

    ``schema_hash`` names the features, their formulas, the interval and the kernel's version: a model serves only rows
    of the schema that it was trained on.
    """

    name: str
    interval: str
    features: tuple[Feature, ...]
    schema_hash: str
    names: tuple[str, ...] = field(init=False)
    bar_ms: int = field(init=False)
    kernel: Callable[[], Run]
    """Gives the compiled kernel (compiles it when it is asked for first)."""
    stamp: int
    """Changes with any instruction of the kernel."""
    marks: int
    memory: int
    """Sizes of the state: int64 and float64."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(feature.name for feature in self.features))
        object.__setattr__(self, "bar_ms", INTERVAL_MS[self.interval])

    @property
    def beside(self) -> frozenset[str]:
        """Features that read what is known beside a candle, and are NaN where it is not."""
        return frozenset(feature.name for feature in self.features if feature.needs)

    def column(self, name: str) -> int:
        """Position of a feature in a row. Raises KeyError for a name that the view does not have."""
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(name) from None

    def new(self) -> State:
        """State before the first candle."""
        return State(self)

    def batch(
        self,
        open_ms: ArrayLike,
        o: ArrayLike,
        h: ArrayLike,
        low: ArrayLike,
        c: ArrayLike,
        v: ArrayLike,
        side: ArrayLike | None = None,
    ) -> tuple[Rows, Flags]:
        """Rows (N, F) float32 of N closed candles, oldest first, and which of them are usable (N,) bool.

        ``side`` (N, 6) float64 in the order of ``features.side``; None where nothing is known. The rows a fresh state
        would give one by one; see ``State.extend``.
        """
        return State(self).extend(open_ms, o, h, low, c, v, side)


class State:
    """Feature state of one symbol: takes closed candles in order, gives the row of each.

    About 70 KB; not safe for use by two threads at once.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self._marks = np.full(view.marks, -1, dtype=np.int64)
        self._memory = np.zeros(view.memory)
        self._candle = _NOTHING
        self._row: Rows | None = None
        self._time = np.zeros(1, dtype=np.int64)
        self._ohlcv: Columns = (np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1))
        self._usable = np.zeros(1, dtype=np.bool_)

    @property
    def last_open_ms(self) -> int | None:
        """Open time of the last candle taken, or None before the first."""
        last = int(self._marks[layout.LAST_OPEN])
        return None if last < 0 else last

    def update(self, candle: Candle, side: Sequence[float] | Column | None = None) -> Rows | None:
        """The row of a closed candle (float32, the view's order), or None while its epoch is not complete.

        ``side``: what was known beside it (``features.side.beside``). The last candle given once more with equal values
        gives its row again, whatever ``side`` says by then. Raises DataError, and changes nothing, for a gap, an older
        candle, other values for the last one, or a candle or side that cannot be.
        """
        t, bar_ms = candle.open_time_ms, self.view.bar_ms
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        last = int(self._marks[layout.LAST_OPEN])
        if last >= 0 and t != last + bar_ms:
            if t == last and values == self._candle:
                return None if self._row is None else self._row.copy()
            raise DataError(_out_of_order(t, last, bar_ms))
        o, h, low, c, v = values
        if t % bar_ms or t < MONDAY_MS or not _possible(o, h, low, c, v):
            raise DataError(f"candle {t} cannot be: o={o} h={h} l={low} c={c} v={v}; fetch it again")
        beside = one(side)
        for cell, value in zip(self._ohlcv, values, strict=True):
            cell[0] = value
        self._time[0] = t
        row = np.empty((1, len(self.view.names)), dtype=np.float32)
        self.view.kernel()(self._marks, self._memory, self._time, *self._ohlcv, beside, row, self._usable)
        self._candle, self._row = values, row[0] if self._usable[0] else None
        return None if self._row is None else self._row.copy()

    def extend(
        self,
        open_ms: ArrayLike,
        o: ArrayLike,
        h: ArrayLike,
        low: ArrayLike,
        c: ArrayLike,
        v: ArrayLike,
        side: ArrayLike | None = None,
    ) -> tuple[Rows, Flags]:
        """Take many closed candles, oldest first: rows (N, F) and which are usable (N,); the others are NaN.

        A gap, also one between the last candle taken and the first, makes rows unusable until an epoch is complete
        again. Raises DataError, and changes nothing, for candles out of order, twice, off the interval's grid or
        impossible, and for a side that cannot be.
        """
        times, columns = _checked(open_ms, o, h, low, c, v, self.view)
        beside = checked(side, len(times))
        last = int(self._marks[layout.LAST_OPEN])
        if len(times) and times[0] <= last:
            raise DataError(_out_of_order(int(times[0]), last, self.view.bar_ms))
        rows = np.empty((len(times), len(self.view.names)), dtype=np.float32)
        usable = np.empty(len(times), dtype=np.bool_)
        self.view.kernel()(self._marks, self._memory, times, *columns, beside, rows, usable)
        if len(times):
            p, q, r, s, u = columns
            self._candle = float(p[-1]), float(q[-1]), float(r[-1]), float(s[-1]), float(u[-1])
            self._row = rows[-1].copy() if usable[-1] else None
        return rows, usable

    def to_bytes(self) -> bytes:
        """The whole state, for a snapshot. Only the same kernel takes it up again."""
        row = b"" if self._row is None else self._row.astype("<f4").tobytes()
        numbers = np.concatenate((self._candle, self._memory)).astype("<f8")
        body = self._marks.astype("<i8").tobytes() + numbers.tobytes() + row
        return _HEADER.pack(_MAGIC, bytes.fromhex(self.view.schema_hash), self.view.stamp, zlib.crc32(body)) + body

    @staticmethod
    def from_bytes(data: bytes) -> State:
        """The state, of whichever view, that ``to_bytes`` gave. Raises DataError when it is damaged or another
        kernel's."""
        if len(data) < _HEADER.size:
            raise DataError("feature snapshot has the wrong length; rebuild the features from candles")
        magic, schema, stamp, crc = _HEADER.unpack_from(data)
        body = memoryview(data)[_HEADER.size :]
        own = next((v for v in VIEWS.values() if v.schema_hash == schema.hex() and v.stamp == stamp), None)
        if magic != _MAGIC or own is None:
            raise DataError("feature snapshot was written by another kernel; rebuild the features from candles")
        split = 8 * own.marks
        end = split + 8 * (len(_NOTHING) + own.memory)
        if len(body) not in (end, end + 4 * len(own.names)):
            raise DataError("feature snapshot has the wrong length; rebuild the features from candles")
        if zlib.crc32(body) != crc:
            raise DataError("feature snapshot is damaged; rebuild the features from candles")
        self = State(own)
        self._marks[:] = np.frombuffer(body[:split], dtype="<i8")
        numbers = np.frombuffer(body[split:end], dtype="<f8")
        o, h, low, c, v = numbers[: len(_NOTHING)].tolist()
        self._candle = o, h, low, c, v
        self._memory[:] = numbers[len(_NOTHING) :]
        if len(body) > end:
            self._row = np.frombuffer(body[end:], dtype="<f4").astype(np.float32)
        return self


VIEWS: Final[dict[str, View]] = {
    made.name: made
    for made in (
        View(
            name="candles-5m",
            interval=INTERVAL,
            features=CATALOGUE,
            schema_hash=SCHEMA_HASH,
            kernel=kernel,
            stamp=KERNEL_STAMP,
            marks=layout.MARKS,
            memory=layout.MEMORY,
        ),
        *(
            View(
                name=f"bars-{interval}",
                interval=interval,
                features=BARS,
                schema_hash=bars_hash(interval),
                kernel=partial(bars_kernel, interval),
                stamp=BARS_STAMP,
                marks=layout.MARKS,
                memory=BARS_MEMORY,
            )
            for interval in ("5m", "15m", "1h")
        ),
    )
}
"""Every view by its name."""


def view(name: str) -> View:
    """The view called ``name``. Raises KeyError, naming those there are, for any other."""
    if name not in VIEWS:
        raise KeyError(f"there is no view {name!r}; known: {', '.join(VIEWS)}")
    return VIEWS[name]


def _possible(o: float, h: float, low: float, c: float, v: float) -> bool:
    return 0.0 < low <= o <= h < float("inf") and low <= c <= h and 0.0 <= v < float("inf")


def _out_of_order(open_ms: int, last_ms: int, bar_ms: int) -> str:
    if open_ms > last_ms + bar_ms:
        missing = (open_ms - last_ms) // bar_ms - 1
        return f"{missing} candles are missing between {last_ms} and {open_ms}; fetch them and start the features anew"
    if open_ms == last_ms:
        return f"candle {open_ms} came again with other values; its row has been given already"
    return f"candle {open_ms} is older than the last one, {last_ms}"


def _checked(
    open_ms: ArrayLike, o: ArrayLike, h: ArrayLike, low: ArrayLike, c: ArrayLike, v: ArrayLike, view: View
) -> tuple[NDArray[np.int64], Columns]:
    times = np.ascontiguousarray(open_ms, dtype=np.int64)
    columns = _vector(o), _vector(h), _vector(low), _vector(c), _vector(v)
    if times.ndim != 1 or any(x.shape != times.shape for x in columns):
        raise DataError("candle columns have different lengths")
    step = np.diff(times, prepend=times[:1] - view.bar_ms)
    bad = (step <= 0) | (times % view.bar_ms != 0) | (times < MONDAY_MS) | ~_all_possible(*columns)
    if bad.any():
        i = int(np.argmax(bad))
        why = "comes twice or out of order" if step[i] <= 0 else f"is off the {view.interval} grid or cannot be"
        values = " ".join(f"{name}={x[i]}" for name, x in zip("ohlcv", columns, strict=True))
        raise DataError(f"candle {times[i]} (row {i}) {why}: {values}")
    return times, columns


def _vector(values: ArrayLike) -> Column:
    return np.ascontiguousarray(values, dtype=np.float64)


def _all_possible(o: Column, h: Column, low: Column, c: Column, v: Column) -> NDArray[np.bool_]:
    ordered = (low > 0) & (low <= o) & (o <= h) & (low <= c) & (c <= h) & (v >= 0)
    return ordered & np.isfinite(h) & np.isfinite(v)


def row_hash(row: Rows) -> str:
    """Name of a row's content: the first 16 hex digits of the SHA-256 of its little-endian float32 bytes.

    >>> row_hash(np.zeros(2, dtype=np.float32))
    'af5570f5a1810b7a'
    """
    return hashlib.sha256(np.ascontiguousarray(row, dtype="<f4").tobytes()).hexdigest()[:16]
