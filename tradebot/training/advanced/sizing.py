"""How much to enter and how: a contextual bandit over {skip, maker, taker} × size, against the threshold rule.

Recorded markets tell what every action would have earned, so nothing has to be explored: each action's worth is a
ridge regression on the context, fitted on rows whose outcome was known at the time and fitted again every week; the
best is taken if it is worth anything. Worth is the return after costs less a price of risk, without which the largest
size always wins or always loses.

A taker pays the spread and both taker fees. A maker's order rests at the close for one candle: it is filled where the
candle trades *through* it, which it does above all when the price goes against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradebot.evaluation.bootstrap import Interval, mean_interval
from tradebot.evaluation.trades import TradeRule, best_entry_bp, threshold_trades
from tradebot.forecasters.base import CandleColumns, Floats
from tradebot.jobs import JobCosts
from tradebot.market.candle import DAY_MS, WEEK_MS

Ints = npt.NDArray[np.int64]

SIZES = (0.5, 1.0)
KINDS = ("maker", "taker")
ACTIONS = tuple((kind, size) for kind in KINDS for size in SIZES)
"""Beside skipping, which is worth 0."""
MAKER_FEE_BP = 2.0
RISK_PRICE = 1e-3
"""Worth lost per bp² of return, halved: a trade of 100 bp either way costs 5 bp."""
RIDGE = 10.0
LEAST_KNOWN = 500
"""Rows with a known outcome before the first decision."""
BETTER = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Sized:
    """Net bp per row of capital (booked on the row that entered) of bandit and threshold rule on the same rows, how
    much better the bandit is per row, and how often it took each action. ``beats``: P(better) ≥ 0.95, and it earned
    something: to lose less by staying out is no skill at sizing."""

    bandit_bp: Floats
    rule_bp: Floats
    gain: Interval
    taken: dict[str, int]
    beats: bool


def rewards(candles: CandleColumns, rows: Ints, side: Ints, hold: int, costs: JobCosts) -> Floats:
    """Net bp (N, len(ACTIONS)) of entering ``side`` at the close of candles ``rows`` and leaving ``hold`` candles
    later, of the capital; NaN where the outcome lies beyond the candles."""
    out = np.full((len(rows), len(ACTIONS)), np.nan)
    known = rows + hold + 1 < len(candles)
    at, sign = rows[known], side[known]
    left = candles.open[at + hold + 1]
    taker = sign * (left / candles.open[at + 1] - 1.0) * 1e4 - costs.round_trip_bp
    limit = candles.close[at]
    filled = np.where(sign > 0, candles.low[at + 1] < limit, candles.high[at + 1] > limit)
    maker_cost = MAKER_FEE_BP + costs.round_trip_bp / 2
    maker = np.where(filled, sign * (left / limit - 1.0) * 1e4 - maker_cost, 0.0)
    for j, (kind, size) in enumerate(ACTIONS):
        out[known, j] = size * (maker if kind == "maker" else taker)
    return out


def sized(
    candles: CandleColumns,
    rows: Ints,
    expected_bp: Floats,
    probabilities: Floats,
    *,
    rule: TradeRule,
    costs: JobCosts,
    bar_ms: int,
    seed: int = 7,
) -> Sized:
    """Let the bandit decide on forecasts of candles ``rows`` (consecutive) in order, and compare it with the threshold
    rule, whose level is chosen again each week on the same known rows."""
    side = np.where(expected_bp >= 0, 1, -1).astype(np.int64)
    worth = rewards(candles, rows, side, rule.hold_rows, costs)
    traded = np.nan_to_num(side * (worth[:, ACTIONS.index(("taker", 1.0))] + costs.round_trip_bp))
    context = _context(candles, rows, expected_bp, probabilities)
    bandit, by_rule = np.zeros(len(rows)), np.zeros(len(rows))
    taken = dict.fromkeys(("skip", *(f"{kind} {size:g}" for kind, size in ACTIONS)), 0)
    week = max(1, WEEK_MS // bar_ms)
    free = 0
    for start in range(LEAST_KNOWN + rule.hold_rows + 1, len(rows), week):
        known = np.arange(start - rule.hold_rows - 1)
        chosen = _policy(context, worth, known, np.arange(start, min(start + week, len(rows))))
        for t, action in enumerate(chosen.tolist(), start=start):
            if t < free or np.isnan(worth[t, 0]):
                continue
            if action < 0:
                taken["skip"] += 1
                continue
            kind, size = ACTIONS[action]
            taken[f"{kind} {size:g}"] += 1
            bandit[t] = worth[t, action]
            free = t + (rule.hold_rows + rule.rest_rows if kind == "taker" or worth[t, action] != 0.0 else 1)
        level = best_entry_bp(
            expected_bp[known], traded[known], costs.round_trip_bp, min_trades=10, rule=rule, must_earn=True
        )
        part = slice(start, min(start + week, len(rows)))
        level = np.inf if level is None else level
        trades = threshold_trades(expected_bp[part], traded[part], costs.round_trip_bp, entry_bp=level, rule=rule)
        by_rule[part] = trades.per_row_bp()
    judged = slice(min(LEAST_KNOWN + rule.hold_rows + 1, len(rows) - 2), None)
    apart = bandit[judged] - by_rule[judged]
    gain = mean_interval(apart, block=max(1.0, min(DAY_MS / bar_ms, len(apart) / 4)), seed=seed)
    beats = gain.p_positive >= BETTER and float(bandit[judged].sum()) > 0.0
    return Sized(bandit[judged], by_rule[judged], gain, taken, beats)


def _context(candles: CandleColumns, rows: Ints, expected_bp: Floats, probabilities: Floats) -> Floats:
    """(N, 6): a constant, the forecast's size, its share of the usual move, the chance of a move and of its side, and
    how lively the market is. All known at the close."""
    returns = np.diff(np.log(candles.close), prepend=np.log(candles.close[0]))
    lively = np.sqrt(np.convolve(returns**2, np.full(48, 1 / 48.0))[: len(returns)])[rows] * 1e4 + 1e-9
    size = np.abs(expected_bp)
    lean = np.abs(probabilities[:, 2] - probabilities[:, 0])
    columns = [np.ones(len(rows)), size, size / lively, 1.0 - probabilities[:, 1], lean, np.log(lively)]
    return np.stack(columns, axis=1)


def _policy(context: Floats, worth: Floats, known: Ints, now: Ints) -> Ints:
    """The action of each row in ``now``, −1 for none, by regressions fitted on the rows ``known``."""
    usable = known[~np.isnan(worth[known, 0])]
    mean, deviation = context[usable].mean(axis=0), context[usable].std(axis=0)
    mean[0], deviation = 0.0, np.where(deviation > 1e-12, deviation, 1.0)
    x, y = (context[usable] - mean) / deviation, worth[usable] - 0.5 * RISK_PRICE * worth[usable] ** 2
    penalty = np.diag([0.0, *([RIDGE] * (x.shape[1] - 1))])
    beta = np.linalg.solve(x.T @ x + penalty, x.T @ y)
    value = np.clip((context[now] - mean) / deviation, -5.0, 5.0) @ beta
    best = value.argmax(axis=1)
    return np.where(value[np.arange(len(now)), best] > 0.0, best, -1).astype(np.int64)
