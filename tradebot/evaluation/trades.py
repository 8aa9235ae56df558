"""What acting on forecasts would have earned, after costs.

Rows are consecutive candles. ``expected_bp`` is known at a row's close; ``realised_bp`` is the return a position opened
on it earns before costs if it is long, from a price the order can still get to the end of the horizon, ``hold_rows``
rows later. A position is held that long, and none is opened while one is open, so returns are never counted twice.
All in bp of notional (1 bp = 0.0001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, Ints, finite_vector


@dataclass(frozen=True, slots=True)
class Costs:
    """Fees per side as fractions of notional (0.0006 = 6 bp); half the spread, paid by takers, in bp."""

    taker_fee: float = 0.0006
    maker_fee: float = 0.0002
    half_spread_bp: float = 0.5

    def round_trip_bp(self, *, maker_entry: bool = False, maker_exit: bool = False) -> float:
        """Cost of opening and closing, bp of notional. A maker pays no spread (and may not be filled).

        >>> round(Costs(half_spread_bp=1.0).round_trip_bp(), 9)
        14.0
        >>> Costs(half_spread_bp=1.0).round_trip_bp(maker_entry=True, maker_exit=True)
        4.0
        """
        taker, maker = self.taker_fee * 1e4 + self.half_spread_bp, self.maker_fee * 1e4
        return (maker if maker_entry else taker) + (maker if maker_exit else taker)


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades of a rule: row of entry, side (+1 long, -1 short), bp before and after costs; ``rows`` rows were seen."""

    row: Ints
    side: NDArray[np.int64]
    gross_bp: Floats
    net_bp: Floats
    rows: int

    def __len__(self) -> int:
        return len(self.row)

    def per_row_bp(self) -> Floats:
        """Net bp per row (rows,), booked where the trade was opened, 0 elsewhere."""
        out = np.zeros(self.rows)
        out[self.row] = self.net_bp
        return out

    def win_rate(self) -> float | None:
        """Share of trades with a positive net; None without trades."""
        return float((self.net_bp > 0).mean()) if len(self) else None

    def mean_net_bp(self) -> float | None:
        """Mean net bp per trade; None without trades."""
        return float(self.net_bp.mean()) if len(self) else None


def threshold_trades(
    expected_bp: ArrayLike, realised_bp: ArrayLike, cost_bp: ArrayLike, *, entry_bp: float, hold_rows: int = 2
) -> Trades:
    """Trades of: go with the sign of the forecast when its size exceeds ``entry_bp`` and no position is open.

    ``cost_bp`` is the cost of a round trip, one number or one per row.

    >>> t = threshold_trades([5.0, 9.0, -8.0, 1.0], [7.0, 3.0, -20.0, 4.0], 2.0, entry_bp=4.0)
    >>> t.row.tolist(), t.side.tolist(), t.net_bp.tolist()
    ([0, 2], [1, -1], [5.0, 18.0])
    """
    expected, realised, cost = _same_rows(expected_bp, realised_bp, cost_bp)
    if hold_rows < 1 or entry_bp < 0:
        raise DataError(
            f"a position is held at least one row and the threshold is not negative: {hold_rows}, {entry_bp}"
        )
    row = _without_overlap(np.flatnonzero(np.abs(expected) > entry_bp), hold_rows)
    side = np.sign(expected[row]).astype(np.int64)
    gross = side * realised[row]
    return Trades(row=row, side=side, gross_bp=gross, net_bp=gross - cost[row], rows=len(expected))


def best_entry_bp(
    expected_bp: ArrayLike,
    realised_bp: ArrayLike,
    cost_bp: ArrayLike,
    *,
    min_trades: int,
    hold_rows: int = 2,
    candidates: int = 50,
    must_earn: bool = True,
) -> float | None:
    """The threshold whose trades earned most in sum after costs, among those with at least ``min_trades`` trades.

    Choose it on validation rows and judge it on others. Thresholds tried: 0 and quantiles of the forecasts' size. Of
    equal sums the higher threshold wins (it trades less). None when no threshold earned anything (or, with
    ``must_earn=False``, when none made enough trades): acting on these forecasts did not pay.

    >>> best_entry_bp([1.0, 1.0, -9.0, 9.0], [-5.0, 3.0, -30.0, 40.0], 10.0, min_trades=1, hold_rows=1)
    1.0
    """
    expected, realised, cost = _same_rows(expected_bp, realised_bp, cost_bp)
    levels = np.quantile(np.abs(expected), np.linspace(0.0, 1.0, candidates, endpoint=False), method="lower")
    best: float | None = None
    most = 0.0 if must_earn else -np.inf
    for level in np.unique(np.concatenate(([0.0], levels))).tolist():
        trades = threshold_trades(expected, realised, cost, entry_bp=level, hold_rows=hold_rows)
        total = float(trades.net_bp.sum())
        if len(trades) >= max(min_trades, 1) and (total > most or (total == most and best is not None)):
            best, most = level, total
    return best


def _same_rows(expected_bp: ArrayLike, realised_bp: ArrayLike, cost_bp: ArrayLike) -> tuple[Floats, Floats, Floats]:
    expected, realised = finite_vector(expected_bp, "expected_bp"), finite_vector(realised_bp, "realised_bp")
    if len(expected) != len(realised):
        raise DataError(f"{len(expected)} forecasts but {len(realised)} outcomes; they must be of the same rows")
    cost = np.asarray(cost_bp, dtype=np.float64)
    if cost.ndim and cost.shape != expected.shape:
        raise DataError(f"costs must be one number or one per row, got shape {cost.shape}")
    cost = np.broadcast_to(cost, expected.shape)
    if not np.isfinite(cost).all():
        raise DataError("costs must be finite")
    return expected, realised, cost


def _without_overlap(wanted: NDArray[np.intp], hold_rows: int) -> Ints:
    """The rows a rule enters at when it wants to at ``wanted`` (ascending) and holds ``hold_rows`` rows."""
    following = np.searchsorted(wanted, wanted + hold_rows).tolist()
    taken, i = [], 0
    while i < len(following):
        taken.append(i)
        i = following[i]
    return wanted[taken].astype(np.int64)
