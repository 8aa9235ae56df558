"""What a run would have earned without skill: holding the market, and entering at random moments.

Random entries have the run's own turnover: as many trades in each symbol, as many of them long, each lasting as long
and paying as much in fees and slippage as one of the run's. All that is left to chance is *when*, which is what a
forecast claims to know. They neither pay funding nor are paid it: that, too, is a matter of when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, Ints

_AT_ONCE = 2_000_000
"""Entries that are drawn together: bounds memory."""


def buy_and_hold(prices: ArrayLike, *, capital: float, cost_bp: float) -> Floats:
    """Equity (T,) of buying the same amount of each symbol at the first row, without leverage, and selling at the last.

    ``prices`` (T, S), one column per symbol, NaN before a symbol has a price (its part stays cash till then); a gap
    later holds the last price. The first row is worth the ``capital``. ``cost_bp``: fee and slippage of one side.
    Funding is not counted.

    >>> buy_and_hold([[100.0], [110.0]], capital=1_000.0, cost_bp=0.0).round(6).tolist()
    [1000.0, 1100.0]
    """
    x = np.asarray(prices, dtype=np.float64)
    if x.ndim != 2 or not x.size:
        raise DataError(f"holding needs prices of one symbol or more, got shape {x.shape}")
    share, cost = capital / x.shape[1], cost_bp / 1e4
    total = np.zeros(len(x))
    for column in x.T:
        price = held_forward(column)
        known = np.isfinite(price)
        if not known.any():
            total += share
            continue
        first = int(known.argmax())
        way = np.full(len(price), share)
        way[first + 1 :] = share * (1 - cost) * price[first + 1 :] / price[first]
        way[-1] *= 1 - cost
        total += way
    return total


def held_forward(prices: Floats) -> Floats:
    """Gaps filled with the last price before them; NaN before the first.

    >>> held_forward(np.array([np.nan, 2.0, np.nan])).tolist()
    [nan, 2.0, 2.0]
    """
    at = np.where(np.isfinite(prices), np.arange(len(prices)), 0)
    filled: Floats = prices[np.maximum.accumulate(at)]
    return filled


@dataclass(frozen=True, slots=True, eq=False)
class Turnover:
    """A run's trades in one symbol, one row each, and the symbol's prices (T,) on an even grid.

    ``day`` (T,) is the number of the day, from 0, in which each row of the grid lies. ``side`` +1 or -1; ``steps`` how
    many rows a trade lasted (at least 1); ``notional`` USDT entered; ``cost`` USDT paid in fees and slippage.
    """

    prices: Floats
    day: Ints
    side: NDArray[np.int64]
    steps: Ints
    notional: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all draws: 5 %, 50 % and 95 % quantiles; None where most draws leave it undefined."""

    low: float | None
    median: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class RandomEntries:
    """What ``draws`` runs with random entries earned, and where the run's own result lies among them.

    ``percentile`` is the share of draws that earned less than ``own`` (USDT, closed trades; those that earned the same
    count half), in [0, 1]. ``figures`` are named as those of a run; their daily returns are of closed trades, booked on
    the day they end.
    """

    own: float
    percentile: float
    net: Spread
    figures: dict[str, Spread]
    draws: int
    trades: int


def random_entries(
    own_net: float, turnover: Sequence[Turnover], *, capital: float, draws: int = 1_000, seed: int = 0
) -> RandomEntries | None:
    """The run's ``own_net`` (USDT) beside runs that enter at random with the same ``capital`` (USDT).

    None without trades. Raises DataError for prices that are not finite and positive. Equal arguments give equal
    results.
    """
    trades = sum(len(t.side) for t in turnover)
    if not trades:
        return None
    sums = np.zeros((draws, 4))
    daily = np.zeros((draws, 1 + max(int(t.day.max()) for t in turnover)))
    for index, symbol in enumerate(turnover):
        if len(symbol.side):
            _add(symbol, sums, daily, np.random.default_rng([seed, index]))
    earned = daily.sum(axis=1)
    wins, won, lost, bp = sums.T
    before = capital + np.cumsum(daily, axis=1) - daily
    returns = np.divide(daily, before, out=np.zeros_like(daily), where=before > 0)
    downside = np.sqrt(np.square(np.minimum(returns, 0.0)).mean(axis=1))
    deviation = returns.std(axis=1, ddof=1) if daily.shape[1] > 1 else np.zeros(draws)
    return RandomEntries(
        own=own_net,
        percentile=float((earned < own_net).mean() + 0.5 * (earned == own_net).mean()),
        net=_spread(earned),
        figures={
            "roi": _spread(earned / capital),
            "sharpe": _spread(_over(returns.mean(axis=1), deviation) * _YEAR),
            "sortino": _spread(_over(returns.mean(axis=1), downside) * _YEAR),
            "profitable_days": _spread((returns > 0).mean(axis=1)),
            "win_rate": _spread(wins / trades),
            "profit_factor": _spread(_over(won, lost)),
            "expected_bp": _spread(bp / trades),
        },
        draws=draws,
        trades=trades,
    )


_YEAR = float(np.sqrt(365.0))


def _over(a: Floats, b: Floats) -> Floats:
    found: Floats = np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0)
    return found


def _spread(values: Floats) -> Spread:
    known = values[np.isfinite(values)]
    if len(known) < 0.95 * len(values):
        return Spread(None, None, None)
    low, median, high = np.quantile(known, [0.05, 0.5, 0.95])
    return Spread(float(low), float(median), float(high))


def _add(symbol: Turnover, sums: Floats, daily: Floats, rng: np.random.Generator) -> None:
    """Add a symbol's random trades to the draws' wins, what they won, what they lost, bp, and net by day."""
    prices = symbol.prices
    if len(prices) < 2 or not (np.isfinite(prices).all() and (prices > 0).all()):
        raise DataError("random entries need two prices or more, all finite and positive")
    steps = np.clip(symbol.steps, 1, len(prices) - 1)
    draws, days = daily.shape
    each = max(1, _AT_ONCE // len(steps))
    for begin in range(0, draws, each):
        here = slice(begin, min(draws, begin + each))
        count = here.stop - begin
        order = rng.permuted(np.broadcast_to(np.arange(len(steps)), (count, len(steps))), axis=1)
        lasting, notional = steps[order], symbol.notional[order]
        entry = _entries(lasting, len(prices) - 1, rng)
        moved = prices[entry + lasting] / prices[entry] - 1.0
        net = symbol.side[order] * moved * notional - symbol.cost[order]
        won, lost = np.maximum(net, 0.0), np.maximum(-net, 0.0)
        bp = net / notional * 1e4
        sums[here] += np.stack([(net > 0).sum(axis=1), won.sum(axis=1), lost.sum(axis=1), bp.sum(axis=1)], axis=1)
        cell = np.arange(count)[:, None] * days + symbol.day[entry + lasting]
        daily[here] += np.bincount(cell.ravel(), net.ravel(), minlength=count * days).reshape(count, days)


def _entries(lasting: Ints, last: int, rng: np.random.Generator) -> Ints:
    """First rows of trades (draws, n) that last ``lasting`` and end by row ``last``: no two of a draw overlap, unless
    they last longer together than there is time, as trades of several strategies may."""
    free = last - int(lasting[0].sum())
    if free < 0:
        return rng.integers(0, last + 1 - lasting, dtype=np.int64)
    before = np.sort(rng.integers(0, free + 1, size=lasting.shape, dtype=np.int64), axis=1)
    return before + np.cumsum(lasting, axis=1) - lasting
