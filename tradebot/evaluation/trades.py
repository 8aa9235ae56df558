"""What acting on forecasts would have earned, after costs.

Rows are consecutive candles. ``expected_bp`` is known at a row's close; ``realised_bp`` is the return a position opened
on it earns before costs if it is long, from a price the order can still get to the end of the horizon,
``TradeRule.hold_rows`` rows later. The rule is the one that the threshold strategy trades by, so that a level is chosen
and judged on what will be done with it. All in bp of notional (1 bp = 0.0001).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, Ints, finite_vector


@dataclass(frozen=True, slots=True)
class TradeRule:
    """When a position is left and when the next may be opened, counted in rows (decisions).

    A position decided on at row ``t`` is left by a decision at ``t + hold_rows``, whatever the forecast then says. No
    entry is decided on in the ``rest_rows`` rows from that one on, nor, after a trade that lost (after costs), in the
    ``cooldown_rows`` rows that follow.
    """

    hold_rows: int = 2
    rest_rows: int = 1
    cooldown_rows: int = 2

    def __post_init__(self) -> None:
        if self.hold_rows < 1 or self.rest_rows < 0 or self.cooldown_rows < 0:
            raise DataError(f"a position is held at least one row, and no pause is negative: {self}")

    def __str__(self) -> str:
        return (
            f"enter when flat and |expected| >= entry; leave {self.hold_rows} candles later; enter again at the "
            f"earliest {self.rest_rows} candle(s) after leaving, {self.rest_rows + self.cooldown_rows} after a loss"
        )


RULE: Final = TradeRule()


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

    @classmethod
    def none(cls, rows: int) -> Trades:
        """What staying out gives."""
        nothing = np.zeros(0)
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), nothing, nothing, rows)

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
    expected_bp: ArrayLike, realised_bp: ArrayLike, cost_bp: ArrayLike, *, entry_bp: float, rule: TradeRule = RULE
) -> Trades:
    """Trades of: go with the sign of the forecast when its size reaches ``entry_bp`` and the rule allows an entry.

    ``cost_bp`` is the cost of a round trip, one number or one per row. A forecast of 0 never trades.

    >>> t = threshold_trades([5.0, 9.0, 8.0, -8.0], [7.0, 3.0, 4.0, -20.0], 2.0, entry_bp=5.0)
    >>> t.row.tolist(), t.side.tolist(), t.net_bp.tolist()
    ([0, 3], [1, -1], [5.0, 18.0])
    """
    expected, realised, cost = _same_rows(expected_bp, realised_bp, cost_bp)
    if not entry_bp >= 0:
        raise DataError(f"the threshold must not be negative, is {entry_bp}")
    wanted = np.flatnonzero((np.abs(expected) >= entry_bp) & (expected != 0))
    side = np.sign(expected[wanted]).astype(np.int64)
    gross = side * realised[wanted]
    net = gross - cost[wanted]
    taken = _allowed(wanted, net, rule)
    return Trades(
        row=wanted[taken].astype(np.int64),
        side=side[taken],
        gross_bp=gross[taken],
        net_bp=net[taken],
        rows=len(expected),
    )


def best_entry_bp(
    expected_bp: ArrayLike,
    realised_bp: ArrayLike,
    cost_bp: ArrayLike,
    *,
    min_trades: int,
    rule: TradeRule = RULE,
    candidates: int = 50,
    must_earn: bool = True,
) -> float | None:
    """The threshold whose trades earned most in sum after costs, among those with at least ``min_trades`` trades.

    Choose it on validation rows and judge it on others. Thresholds tried: 0 and quantiles of the forecasts' size. Of
    equal sums the higher threshold wins (it trades less). None when no threshold earned anything (or, with
    ``must_earn=False``, when none made enough trades): acting on these forecasts did not pay.

    >>> best_entry_bp([1.0, 1.0, -9.0, 9.0], [-5.0, 3.0, -30.0, 40.0], 10.0, min_trades=1, rule=TradeRule(1, 0, 0))
    9.0
    """
    expected, realised, cost = _same_rows(expected_bp, realised_bp, cost_bp)
    levels = np.quantile(np.abs(expected), np.linspace(0.0, 1.0, candidates, endpoint=False), method="lower")
    best: float | None = None
    most = 0.0 if must_earn else -np.inf
    for level in np.unique(np.concatenate(([0.0], levels))).tolist():
        trades = threshold_trades(expected, realised, cost, entry_bp=level, rule=rule)
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


def _allowed(wanted: NDArray[np.intp], net_bp: Floats, rule: TradeRule) -> list[int]:
    """Which of the rows ``wanted`` (ascending) the rule enters at; ``net_bp`` is what a trade of each would earn."""
    pause = rule.hold_rows + rule.rest_rows
    after_gain = np.searchsorted(wanted, wanted + pause)
    after_loss = np.searchsorted(wanted, wanted + pause + rule.cooldown_rows)
    following = np.where(net_bp < 0, after_loss, after_gain).tolist()
    taken, i = [], 0
    while i < len(following):
        taken.append(i)
        i = following[i]
    return taken
