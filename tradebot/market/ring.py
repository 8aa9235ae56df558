"""Preallocated columns that remember the latest rows and show them as contiguous views."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Ring:
    """The latest ``capacity`` rows of several numpy columns.

    Twice the capacity is allocated, and rows move to the front once per ``capacity`` appends, so any window is one
    contiguous slice. A view shows the ring's own memory: it is read-only and true until the next append.

    >>> ring = Ring(2, {"x": (np.int64, ())})
    >>> for value in (1, 2, 3):
    ...     ring.append(x=value)
    >>> ring.view("x", 2)
    array([2, 3])
    """

    def __init__(self, capacity: int, fields: dict[str, tuple[DTypeLike, tuple[int, ...]]]) -> None:
        if capacity < 1:
            raise ValueError(f"a ring needs room for at least one row, not {capacity}")
        self.capacity = capacity
        self.appended = 0
        self._end = 0
        self._columns: dict[str, NDArray[Any]] = {
            name: np.zeros((2 * capacity, *shape), dtype=dtype) for name, (dtype, shape) in fields.items()
        }

    def __len__(self) -> int:
        return min(self.appended, self.capacity)

    def append(self, **values: object) -> None:
        """Add one row; every column must be given."""
        if self._end == 2 * self.capacity:
            for column in self._columns.values():
                column[: self.capacity] = column[self.capacity :]
            self._end = self.capacity
        for name, column in self._columns.items():
            column[self._end] = values[name]
        self._end += 1
        self.appended += 1

    def view(self, name: str, n: int | None = None) -> NDArray[Any]:
        """The latest ``n`` rows (all when None, fewer when there are fewer) of a column, oldest first."""
        size = len(self) if n is None else min(n, len(self))
        view = self._columns[name][self._end - size : self._end]
        view.flags.writeable = False
        return view
