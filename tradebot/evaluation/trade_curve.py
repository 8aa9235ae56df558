"""The equity of trades decided at closes and filled at the next open, after costs.

The one arithmetic of returns for everything that is not traded through the engine: a trade earns
``side · (open at exit / open at entry − 1) − cost``, of the equity it was entered with. ``evaluation.trades`` books the
same number on the row of the decision; here it is followed open by open, so that what was lost on the way counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, Ints, finite_vector
from tradebot.evaluation.round_trips import RoundTrips

START = 1_000.0
"""Equity before the first trade, USDT. Every trade is entered with all of it and no leverage."""


@dataclass(frozen=True, slots=True, eq=False)
class TradeCurve:
    """Equity (USDT) at the opens ``ts_ms``, what is open counted, and the closed trades."""

    ts_ms: Ints
    equity: Floats
    trips: RoundTrips


def trade_curve(
    open_ms: ArrayLike,
    opens: ArrayLike,
    entered: ArrayLike,
    left: ArrayLike,
    side: ArrayLike,
    cost_bp: float,
    *,
    funding: ArrayLike | None = None,
) -> TradeCurve:
    """Trades decided on at the closes of rows ``entered`` and ``left`` (ascending, no two at a time) of candles that
    open at ``open_ms`` (ms) at ``opens`` (USDT). ``side`` 1 or −1; ``cost_bp`` of a round trip, half at either end.
    ``funding``: the rate (a fraction) that longs pay at each open, 0 where nothing is settled; who held before pays.

    Raises DataError for trades that overlap, or whose fills lie beyond the candles.

    >>> curve = trade_curve([0, 1, 2, 3], [100.0, 100.0, 110.0, 99.0], [0], [2], [-1], 100.0)
    >>> curve.equity.round(6).tolist(), curve.trips.net_bp.round(6).tolist()
    ([1000.0, 995.0, 895.0, 1000.0], [0.0])
    """
    times, price = np.asarray(open_ms, dtype=np.int64), finite_vector(opens, "opens")
    begins, ends = np.asarray(entered, dtype=np.int64) + 1, np.asarray(left, dtype=np.int64) + 1
    sides = np.asarray(side, dtype=np.int64)
    if len(times) != len(price) or not len(begins) == len(ends) == len(sides):
        raise DataError("candles need a time and an open each, trades an entry, an exit and a side")
    if len(begins) and ((ends <= begins).any() or (begins[1:] < ends[:-1]).any() or ends[-1] >= len(price)):
        raise DataError("trades overlap, or are filled where there is no candle")
    paid = np.cumsum(np.zeros(len(price)) if funding is None else finite_vector(funding, "funding"))
    equity = np.empty(len(price))
    held, filled = START, 0
    net = np.empty(len(begins))
    for i, (a, b, s) in enumerate(zip(begins.tolist(), ends.tolist(), sides.tolist(), strict=True)):
        equity[filled:a] = held
        way = 1.0 + s * (price[a : b + 1] / price[a] - 1.0 - (paid[a : b + 1] - paid[a])) - cost_bp / 2e4
        equity[a:b] = held * way[:-1]
        net[i] = held * (way[-1] - cost_bp / 2e4 - 1.0)
        held += net[i]
        equity[b] = held
        filled = b
    equity[filled:] = held
    before = np.concatenate([[START], START + np.cumsum(net)[:-1]]) if len(net) else net
    trips = RoundTrips.of(times[begins], times[ends], net, net / before * 1e4)
    return TradeCurve(times, equity, trips)
