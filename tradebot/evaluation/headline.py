"""The figures a run is judged by, each with its interval, from its equity curve and its closed trades.

Definitions (docs/models: metrics): with daily returns R of equity (what is open counted at its price), 365 days a year.
ROI ``E_T/E_0 - 1``; CAGR ``(E_T/E_0)^(365/days) - 1``; Sharpe ``mean/std * sqrt(365)``; Sortino
``mean/sqrt(mean(min(R,0)^2)) * sqrt(365)``; maximum drawdown over every point of the curve, not only days' ends; Calmar
CAGR over it; recovery: net profit over the largest fall in USDT; profitable days: share of days above 0. Of closed
trades: win rate, profit factor, expected value (mean net bp of what was entered), reward to risk, most losses in a row.

Of fewer than 30 days neither CAGR nor Calmar is told: a few days' luck to the power of hundreds is no figure.

Intervals come from one stationary bootstrap of whole days, each with its returns, its falls and the trades closed on
it, so that all figures are uncertain together, as they were earned together.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from tradebot.evaluation.bootstrap import (
    Floats,
    finite_vector,
    percentile_interval,
    resampled_sums,
    stationary_rows,
)
from tradebot.evaluation.performance import cagr, drawdowns, ratio, sharpe, sortino
from tradebot.evaluation.periods import Days, days_of, drawdown_of
from tradebot.evaluation.round_trips import (
    ENOUGH_TRADES,
    RoundTrips,
    independent_trades,
    longest_losing_run,
    profit_factor,
    reward_risk,
    win_rate,
)
from tradebot.market.candle import DAY_MS

MetricName = Literal[
    "roi",
    "cagr",
    "sharpe",
    "sortino",
    "max_drawdown",
    "calmar",
    "recovery",
    "profitable_days",
    "win_rate",
    "profit_factor",
    "expected_bp",
    "reward_risk",
    "losses_in_a_row",
]
METRICS: Final[tuple[MetricName, ...]] = get_args(MetricName)
"""In the order in which they are shown."""

OF_TRADES: Final = frozenset({"win_rate", "profit_factor", "expected_bp", "reward_risk", "losses_in_a_row"})
"""Figures of closed trades; the others are of the equity curve."""

ENOUGH_BLOCKS: Final = 10.0
"""Fewer independent stretches of days tell nothing about the spread between them (as in the gate)."""

FOR_INTERVALS: Final = 3.0
"""From fewer stretches not even an interval is told: resamples of two things are two things."""

FOR_A_YEAR: Final = 30.0
"""Days from which a growth is compounded to a year."""

YEAR_MS: Final = 365 * DAY_MS

_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "roi": (-1.0, np.inf),
    "cagr": (-1.0, np.inf),
    "max_drawdown": (0.0, 1.0),
    "profitable_days": (0.0, 1.0),
    "win_rate": (0.0, 1.0),
    "profit_factor": (0.0, np.inf),
    "reward_risk": (0.0, np.inf),
}


class Figure(msgspec.Struct, frozen=True):
    """A value and its central interval; None: undefined, or too little to say how sure it is."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Headline(msgspec.Struct, frozen=True):
    """Every figure of a run, and what it rests on.

    ``days`` are the periods returns were measured over; ``blocks`` how many of their stretches count as independent,
    ``independent_trades`` how many trades do. ``insufficient`` says, in words, what there is too little of to conclude
    anything; empty: nothing.
    """

    figures: dict[str, Figure]
    days: int
    span_days: float
    block_days: float
    blocks: float
    trades: int
    independent_trades: int
    level: float
    draws: int
    insufficient: tuple[str, ...]

    def value(self, name: MetricName) -> float | None:
        """One figure without its interval."""
        return self.figures[name].value


def block_days(days: int, mean_hold_days: float) -> float:
    """Mean length of the stretches of days that are drawn together: a day at least, twice as long as a trade lasts, and
    the cube root of the number of days, so that stretches grow with the sample (Politis & White 2004, their rate).
    """
    return float(max(1.0, 2.0 * mean_hold_days, days ** (1 / 3)))


def measure(
    ts_ms: ArrayLike,
    equity: ArrayLike,
    trips: RoundTrips,
    *,
    period_ms: int = DAY_MS,
    draws: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Headline:
    """All figures of a curve (USDT, what is open counted; ``ts_ms`` ascending) and of the trades closed on it.

    ``period_ms``: length of the periods that returns are taken over and that "days" means here. Equal arguments give
    equal figures. Raises DataError for a curve that ``days_of`` refuses.
    """
    curve = np.maximum(finite_vector(equity, "equity"), 0.0)
    days = days_of(ts_ms, curve, period_ms=period_ms)
    span_days = float(days.edge_ms[-1] - days.edge_ms[0]) / DAY_MS
    values = _curve_figures(curve, days.returns, span_days, YEAR_MS / period_ms) | _trade_figures(trips)
    held = float((trips.closed_ms - trips.opened_ms).mean()) / period_ms if len(trips) else 0.0
    block = block_days(len(days), held)
    blocks = len(days) / block
    drawn = _resampled(days, trips, span_days, YEAR_MS / period_ms, block=block, draws=draws, seed=seed)
    return Headline(
        figures={name: _figure(name, values[name], drawn.get(name), blocks=blocks, level=level) for name in METRICS},
        days=len(days),
        span_days=span_days,
        block_days=block,
        blocks=blocks,
        trades=len(trips),
        independent_trades=independent_trades(trips),
        level=level,
        draws=draws,
        insufficient=_insufficient(len(trips), blocks),
    )


def _curve_figures(curve: Floats, returns: Floats, span_days: float, per_year: float) -> dict[str, float | None]:
    growth = float(curve[-1] / curve[0])
    yearly = cagr(growth, span_days) if span_days >= FOR_A_YEAR else None
    fall = float(drawdowns(curve).max())
    fall_usdt = float((np.maximum.accumulate(curve) - curve).max())
    return {
        "roi": growth - 1.0,
        "cagr": yearly,
        "sharpe": sharpe(returns, periods_per_year=per_year),
        "sortino": sortino(returns, periods_per_year=per_year),
        "max_drawdown": fall,
        "calmar": ratio(yearly, fall),
        "recovery": ratio(float(curve[-1] - curve[0]), fall_usdt),
        "profitable_days": float((returns > 0).mean()),
    }


def _trade_figures(trips: RoundTrips) -> dict[str, float | None]:
    return {
        "win_rate": win_rate(trips.net),
        "profit_factor": profit_factor(trips.net),
        "expected_bp": float(trips.net_bp.mean()) if len(trips) else None,
        "reward_risk": reward_risk(trips.net_bp),
        "losses_in_a_row": float(longest_losing_run(trips.net)) if len(trips) else None,
    }


def _resampled(
    days: Days, trips: RoundTrips, span_days: float, per_year: float, *, block: float, draws: int, seed: int
) -> dict[str, Floats]:
    """The figures of every resample of the days; NaN where a resample leaves one undefined."""
    rows = stationary_rows(len(days), block=block, draws=draws, seed=seed)
    returns = days.returns[rows]
    mean, growth = returns.mean(axis=1), np.prod(1.0 + returns, axis=1)
    deviation = returns.std(axis=1, ddof=1) if len(days) > 1 else np.zeros(draws)
    downside = np.sqrt(np.square(np.minimum(returns, 0.0)).mean(axis=1))
    fall = drawdown_of(days, rows)
    with np.errstate(over="ignore"):
        yearly = growth ** (365.0 / span_days) - 1.0
    net, bp = trips.net, trips.net_bp
    won, lost, up, down = net > 0, net < 0, bp > 0, bp < 0
    columns = [np.ones(len(net)), won, net * won, -net * lost, bp, up, bp * up, down, -bp * down]
    closed_on = days.day_of(trips.closed_ms)
    by_day = np.stack([np.bincount(closed_on, c, len(days)) for c in columns], axis=1).astype(np.float64)
    count, wins, earned, paid, sum_bp, ups, up_bp, downs, down_bp = resampled_sums(
        by_day, block=block, draws=draws, seed=seed
    ).T
    return {
        "roi": growth - 1.0,
        "cagr": yearly,
        "sharpe": _over(mean, deviation) * np.sqrt(per_year),
        "sortino": _over(mean, downside) * np.sqrt(per_year),
        "max_drawdown": fall,
        "calmar": _over(yearly, fall),
        "profitable_days": (returns > 0).mean(axis=1),
        "win_rate": _over(wins, count),
        "profit_factor": _over(earned, paid),
        "expected_bp": _over(sum_bp, count),
        "reward_risk": _over(_over(up_bp, ups), _over(down_bp, downs)),
    }


def _over(a: Floats, b: Floats) -> Floats:
    """``a / b``, NaN where ``b`` is nothing (or what rounding leaves of nothing)."""
    found: Floats = np.divide(a, b, out=np.full(len(a), np.nan), where=np.abs(b) > 1e-12)
    return found


def _figure(name: str, value: float | None, drawn: Floats | None, *, blocks: float, level: float) -> Figure:
    if value is None or drawn is None or blocks < FOR_INTERVALS:
        return Figure(value)
    known = drawn[np.isfinite(drawn)]
    if len(known) < 0.95 * len(drawn):  # too often undefined: what is left would be the lucky resamples
        return Figure(value)
    low, high = percentile_interval(known, value, blocks=blocks, level=level)
    least, most = _BOUNDS.get(name, (-np.inf, np.inf))
    return Figure(value, max(low, least), min(high, most))


def _insufficient(trades: int, blocks: float) -> tuple[str, ...]:
    found = []
    if trades < ENOUGH_TRADES:
        found.append(f"{trades} closed trades, {ENOUGH_TRADES} are the least")
    if blocks < ENOUGH_BLOCKS:
        found.append(f"{blocks:.1f} independent stretches of days, {ENOUGH_BLOCKS:.0f} are the least")
    return tuple(found)
