"""From what was said at each bar to trades, their equity, and how good they were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradebot.evaluation.performance import drawdowns as falls_of
from tradebot.evaluation.performance import ratio, returns_of, sharpe, sortino
from tradebot.evaluation.round_trips import win_rate
from tradebot.evaluation.trade_curve import TradeCurve, trade_curve
from tradebot.evaluation.trades import TradeRule, threshold_trades
from tradebot.features.side import SIDE
from tradebot.forecasters.base import CandleColumns, Floats
from tradebot.forecasters.lorentzian_signals import held_trades
from tradebot.market.candle import HOUR_MS
from tradebot.training.walk.plan import Metric, Rule

Ints = npt.NDArray[np.int64]

LEAST_TRADES = 3
"""Fewer on the validation rows tell nothing: they choose neither a level nor a parameter set."""
LEVELS_TRIED = 30
LONG_ABOVE, SHORT_BELOW = 0.7, 0.3
SETTLED_EVERY_MS = 8 * HOUR_MS


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """The candles of a walk, and what holding costs: ``funding`` that longs pay at each open."""

    candles: CandleColumns
    bar_ms: int
    funding: Floats
    cost_bp: float
    rule: TradeRule

    def rows_of(self, at_ms: Ints) -> Ints:
        """The candles that closed at these moments."""
        found: Ints = (at_ms - self.candles.open_ms[0]) // self.bar_ms - 1
        return found

    def curve(self, rows: Ints, signal: Floats, rule: Rule) -> TradeCurve:
        """Equity from the close of the first of ``rows`` (candles, one after the other) to that of the last, trading
        ``signal`` (one per row) by ``rule``. What is open at the end is left out.

        Signals of ``threshold`` are expected returns over the level that is acted on; of ``levels`` 1, −1 or 0 as held;
        of ``indicator`` 1 or −1 where it is entered.
        """
        first, count = int(rows[0]), len(rows)
        span = slice(first, min(first + count + 1, len(self.candles)))
        if rule == "threshold":
            opens = self.candles.open[first : first + count + self.rule.hold_rows + 1]
            realised = np.zeros(count)
            known = np.arange(max(0, min(count, len(opens) - self.rule.hold_rows - 1)))
            realised[known] = (opens[known + self.rule.hold_rows + 1] / opens[known + 1] - 1.0) * 1e4
            trades = threshold_trades(signal, realised, self.cost_bp, entry_bp=1.0, rule=self.rule)
            entered, left, side = trades.row, trades.row + self.rule.hold_rows, trades.side
        elif rule == "levels":
            entered, left, side = runs_of(signal)
        else:
            entered, left, side = held_trades(np.sign(signal).astype(np.int64))
        inside = left + 1 < span.stop - span.start
        return trade_curve(
            self.candles.open_ms[span],
            self.candles.open[span],
            entered[inside],
            left[inside],
            side[inside],
            self.cost_bp,
            funding=self.funding[span],
        )


def market_of(candles: CandleColumns, bar_ms: int, cost_bp: float, rule: TradeRule) -> Market:
    """With the funding that is known beside the candles, settled every eight hours; none where it is not known."""
    funding = np.zeros(len(candles))
    if candles.side is not None:
        before = np.concatenate([[np.nan], candles.side[:-1, SIDE.index("funding")]])
        settled = (candles.open_ms % SETTLED_EVERY_MS == 0) & np.isfinite(before)
        funding[settled] = before[settled]
    return Market(candles, bar_ms, funding, cost_bp, rule)


def runs_of(position: Floats) -> tuple[Ints, Ints, Ints]:
    """Trades of holding ``position`` (1, −1 or 0 at each close): rows of entry and exit, sides. The last one is left
    out when it never ends.

    >>> [x.tolist() for x in runs_of(np.array([0.0, 1.0, 1.0, -1.0, 0.0, 1.0]))]
    [[1, 3], [3, 4], [1, -1]]
    """
    held = np.sign(position).astype(np.int64)
    turns = np.flatnonzero(np.diff(np.concatenate([[0], held])) != 0)
    trades = [(a, b, int(held[a])) for a, b in zip(turns[:-1].tolist(), turns[1:].tolist(), strict=True) if held[a]]
    columns = np.array(trades, dtype=np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


def levels_of(rise: Floats) -> Floats:
    """1 where the probability of a rise is above 0.7, −1 where it is below 0.3, else 0."""
    return np.where(rise > LONG_ABOVE, 1.0, np.where(rise < SHORT_BELOW, -1.0, 0.0))


def score(curve: TradeCurve, metric: Metric) -> float | None:
    """How good trades were by ``metric``, not annualised: for comparison on equal spans. None where undefined.

    Of a span of a few days a yearly growth is no figure, so ``calmar_ratio`` is the return over the largest fall.
    """
    growth = float(curve.equity[-1] / curve.equity[0]) - 1.0
    if metric == "total_return":
        return growth
    if metric == "win_rate":
        return win_rate(curve.trips.net)
    if metric == "sharpe_ratio":
        return sharpe(returns_of(curve.equity))
    if metric == "sortino_ratio":
        return sortino(returns_of(curve.equity))
    return ratio(growth, float(falls_of(curve.equity).max()))


def score_of_enough(curve: TradeCurve, metric: Metric) -> float | None:
    """``score``, None of fewer than three trades: what hardly trades would win any comparison among losers."""
    return score(curve, metric) if len(curve.trips) >= LEAST_TRADES else None


def best_level(market: Market, rows: Ints, expected_bp: Floats, metric: Metric) -> tuple[float, float | None]:
    """The level (bp) whose trades on these rows were best by ``metric``, and how good; of equals the higher.

    Tried are quantiles of the forecasts' size. The cost of a round trip is the level when none makes three trades.
    """
    size = np.abs(expected_bp)
    best, most = market.cost_bp, None
    tried = np.quantile(size, np.linspace(0.0, 1.0, LEVELS_TRIED, endpoint=False), method="lower")
    for level in np.unique(tried[tried > 0]).tolist():
        curve = market.curve(rows, expected_bp / level, "threshold")
        found = score_of_enough(curve, metric)
        if found is not None and (most is None or found >= most):
            best, most = level, found
    return best, most
