"""From book snapshots at any time to rows on an exact time grid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tradebot.data.columns import Floats, Ints


class BookGrid:
    """Samples snapshots on multiples of ``step_ms``: the row at B is the last snapshot received before B.

    Rows are left out while the last snapshot is older than ``max_age_ms``. Snapshots come in blocks ordered by receive
    time in µs, with values of shape (rows, columns). ``take`` returns what a block settles, ``close`` what stands at
    the end: (times in ms, ages in ms, values).

    >>> grid = BookGrid(1_000, 10_000)
    >>> times, ages, values = grid.take(np.array([500_000, 999_999, 2_400_000]), np.array([[1.0], [2.0], [3.0]]))
    >>> times.tolist(), ages.tolist(), values[:, 0].tolist()
    ([1000, 2000], [0, 1000], [2.0, 2.0])
    >>> grid.close(4_000)[0].tolist()
    [3000, 4000]
    """

    def __init__(self, step_ms: int, max_age_ms: int) -> None:
        self._step, self._max_age = step_ms, max_age_ms
        self._last_us: Ints = np.empty(0, np.int64)
        self._last: Floats | None = None

    def take(self, received_us: Ints, values: Floats) -> tuple[Ints, Ints, Floats]:
        """Rows up to the newest snapshot of the block."""
        if not received_us.size:
            return self._rows(received_us, values, np.empty(0, np.int64))
        if self._last is not None:
            received_us, values = np.concatenate((self._last_us, received_us)), np.concatenate((self._last, values))
        begin, end = (self._after(int(us)) for us in (received_us[0], received_us[-1]))
        rows = self._rows(received_us, values, np.arange(begin, end, self._step))
        self._last_us, self._last = received_us[-1:].copy(), values[-1:].copy()
        return rows

    def close(self, until_ms: int) -> tuple[Ints, Ints, Floats]:
        """Rows after the newest snapshot, up to ``until_ms`` inclusive."""
        if self._last is None:
            return self._rows(np.empty(0, np.int64), np.empty((0, 0)), np.empty(0, np.int64))
        times = np.arange(self._after(int(self._last_us[0])), until_ms + 1, self._step)
        return self._rows(self._last_us, self._last, times)

    def _after(self, received_us: int) -> int:
        """The first grid time at which a snapshot is known: strictly after it."""
        return (received_us // (self._step * 1000) + 1) * self._step

    def _rows(self, received_us: Ints, values: Floats, times: Ints) -> tuple[Ints, Ints, Floats]:
        at = np.searchsorted(received_us, times * 1000, side="left") - 1
        ages_us = times * 1000 - received_us[at] if times.size else times
        fresh = ages_us <= self._max_age * 1000
        return times[fresh], ages_us[fresh] // 1000, values[at[fresh]]


def blocks(rows: Iterator[tuple[Ints, Ints, Floats]]) -> tuple[Ints, Ints, Floats]:
    """Several blocks of rows as one."""
    parts = [part for part in rows if part[0].size]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0))
    times, ages, values = zip(*parts, strict=True)
    return np.concatenate(times), np.concatenate(ages), np.concatenate(values)
