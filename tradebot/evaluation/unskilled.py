"""What a run would have earned without skill: holding the market, and entering at random moments.

Random entries have the run's own turnover: as many trades in each symbol, as many of them long, each lasting as long
and paying as much as one of the run's. All that is left to chance is *when*, which is what a forecast claims to know.
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
    later holds the last price. ``cost_bp``: fee and slippage of one side. Funding is not counted.

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
        way[first:] = share * (1 - cost) * price[first:] / price[first]
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

    ``side`` +1 or -1; ``steps`` how many rows of the grid it lasted (at least 1); ``notional`` USDT entered; ``cost``
    USDT it paid in fees, slippage and funding.
    """

    prices: Floats
    side: NDArray[np.int64]
    steps: Ints
    notional: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class RandomEntries:
    """What ``draws`` runs with random entries earned (USDT), and where the run's own result lies among them.

    ``percentile`` is the share of draws that earned less (those that earned the same count half), in [0, 1].
    """

    own: float
    percentile: float
    low: float
    median: float
    high: float
    mean: float
    draws: int
    trades: int


def random_entries(
    own_net: float, turnover: Sequence[Turnover], *, draws: int = 1_000, seed: int = 0
) -> RandomEntries | None:
    """The run's ``own_net`` (USDT) beside runs that enter at random. ``low`` and ``high`` are 5 % and 95 % quantiles.

    None without trades. Raises DataError for prices that are not finite and positive. Equal arguments give equal
    results.
    """
    trades = sum(len(t.side) for t in turnover)
    if not trades:
        return None
    earned = np.zeros(draws)
    for index, symbol in enumerate(turnover):
        if len(symbol.side):
            earned += _earned(symbol, draws, np.random.default_rng([seed, index]))
    low, median, high = np.quantile(earned, [0.05, 0.5, 0.95])
    return RandomEntries(
        own=own_net,
        percentile=float((earned < own_net).mean() + 0.5 * (earned == own_net).mean()),
        low=float(low),
        median=float(median),
        high=float(high),
        mean=float(earned.mean()),
        draws=draws,
        trades=trades,
    )


def _earned(symbol: Turnover, draws: int, rng: np.random.Generator) -> Floats:
    prices = symbol.prices
    if len(prices) < 2 or not (np.isfinite(prices).all() and (prices > 0).all()):
        raise DataError("random entries need two prices or more, all finite and positive")
    steps = np.clip(symbol.steps, 1, len(prices) - 1)
    out = np.empty(draws)
    each = max(1, _AT_ONCE // len(steps))
    for begin in range(0, draws, each):
        count = min(each, draws - begin)
        order = rng.permuted(np.broadcast_to(np.arange(len(steps)), (count, len(steps))), axis=1)
        lasting = steps[order]
        entry = _entries(lasting, len(prices) - 1, rng)
        moved = prices[entry + lasting] / prices[entry] - 1.0
        gross = symbol.side[order] * moved * symbol.notional[order]
        out[begin : begin + count] = gross.sum(axis=1) - symbol.cost.sum()
    return out


def _entries(lasting: Ints, last: int, rng: np.random.Generator) -> Ints:
    """First rows of trades (draws, n) that last ``lasting`` and end by row ``last``: no two of a draw overlap, unless
    they last longer together than there is time, as trades of several strategies may."""
    free = last - int(lasting[0].sum())
    if free < 0:
        return rng.integers(0, last + 1 - lasting, dtype=np.int64)
    before = np.sort(rng.integers(0, free + 1, size=lasting.shape, dtype=np.int64), axis=1)
    return before + np.cumsum(lasting, axis=1) - lasting
