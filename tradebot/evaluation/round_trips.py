"""Figures of closed trades: positions from flat to flat, each counted once however many candles it lasted.

Wins are trades that earned something after fees and funding, losses those that lost something; one that came out at
exactly nothing is neither. Undefined figures are None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, Ints

ENOUGH_TRADES = 30
"""Fewer tell nothing about the next ones."""


@dataclass(frozen=True, slots=True, eq=False)
class RoundTrips:
    """Closed trades in the order in which they were closed.

    ``net`` USDT after fees and funding; ``net_bp`` the same in bp of the notional that was entered; times ms UTC.
    """

    opened_ms: Ints
    closed_ms: Ints
    net: Floats
    net_bp: Floats

    def __len__(self) -> int:
        return len(self.net)

    @classmethod
    def of(cls, opened_ms: ArrayLike, closed_ms: ArrayLike, net: ArrayLike, net_bp: ArrayLike) -> Self:
        """Trades in any order. Raises DataError for columns of different lengths or values that are not finite."""
        opened, closed = np.asarray(opened_ms, dtype=np.int64), np.asarray(closed_ms, dtype=np.int64)
        usdt, bp = np.asarray(net, dtype=np.float64), np.asarray(net_bp, dtype=np.float64)
        if not opened.shape == closed.shape == usdt.shape == bp.shape or usdt.ndim != 1:
            raise DataError("trades need one time of opening, of closing, and one result each")
        if not (np.isfinite(usdt).all() and np.isfinite(bp).all()):
            raise DataError("the result of a trade must be a finite number")
        order = np.lexsort((opened, closed))
        return cls(opened[order], closed[order], usdt[order], bp[order])

    @classmethod
    def none(cls) -> Self:
        """No trade at all."""
        return cls.of([], [], [], [])


def win_rate(net: Floats) -> float | None:
    """Trades that earned something over all closed trades.

    >>> win_rate(np.array([5.0, -1.0, 0.0, 2.0]))
    0.5
    """
    return float((net > 0).mean()) if len(net) else None


def profit_factor(net: Floats) -> float | None:
    """What wins earned over what losses lost; None without a loss.

    >>> profit_factor(np.array([5.0, -2.0, 1.0])), profit_factor(np.array([5.0]))
    (3.0, None)
    """
    lost = float(-net[net < 0].sum())
    return float(net[net > 0].sum()) / lost if lost > 0 else None


def reward_risk(net_bp: Floats) -> float | None:
    """The mean win over the mean loss, in bp of what was entered; None unless there are both.

    >>> reward_risk(np.array([30.0, 10.0, -10.0]))
    2.0
    """
    wins, losses = net_bp[net_bp > 0], net_bp[net_bp < 0]
    return float(wins.mean() / -losses.mean()) if len(wins) and len(losses) else None


def longest_losing_run(net: Floats) -> int:
    """The most losses one after the other, in the order of closing.

    >>> longest_losing_run(np.array([-1.0, -1.0, 0.0, -1.0, 2.0]))
    2
    """
    longest = run = 0
    for lost in (net < 0).tolist():
        run = run + 1 if lost else 0
        longest = max(longest, run)
    return longest


def independent_trades(trips: RoundTrips) -> int:
    """How many trades can be picked of which no two were open at the same time: the most that can be said to be
    independent of each other.

    >>> independent_trades(RoundTrips.of([0, 1, 5], [5, 3, 8], [1, 1, 1], [1, 1, 1]))
    2
    """
    count, free_from = 0, None
    for opened, closed in zip(trips.opened_ms.tolist(), trips.closed_ms.tolist(), strict=True):
        if free_from is None or opened >= free_from:
            count, free_from = count + 1, closed
    return count
