"""Longer candles from columns are those that the live aggregator makes, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tradebot.market.candle import INTERVAL_MS, MONDAY_MS, Candle
from tradebot.market.resample import resampled
from tradebot.market.series import aggregate

FIVE = INTERVAL_MS["5m"]


@pytest.mark.parametrize("interval", ["5m", "15m", "1h", "1w"])
def test_columns_give_the_aggregators_candles(interval: str) -> None:
    rng = np.random.default_rng(3)
    n = 9_000
    at = MONDAY_MS + 7 * FIVE + np.arange(n) * FIVE
    keep = np.ones(n, dtype=bool)
    keep[[500, 501, 3_000]] = False  # an exchange that was down
    at = at[keep]
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))[keep]
    first = np.r_[100.0, close[:-1]]
    high, low = np.maximum(first, close) * 1.001, np.minimum(first, close) * 0.999
    volume = rng.lognormal(size=n)[keep]
    candles = [Candle(int(t), *row) for t, *row in zip(at, first, high, low, close, volume, strict=True)]

    found = resampled(at, first, high, low, close, volume, part_ms=FIVE, whole_ms=INTERVAL_MS[interval])

    expected = aggregate(candles, FIVE, INTERVAL_MS[interval]) if interval != "5m" else candles
    rows = list(zip(*(column.tolist() for column in found[:6]), strict=True))
    assert rows == [(c.open_time_ms, c.open, c.high, c.low, c.close, c.volume) for c in expected]
    assert len(rows) >= (2 if interval == "1w" else 500)
    closes = at[found.last] + FIVE
    assert (closes == found.open_ms + INTERVAL_MS[interval]).all()


def test_a_length_that_is_no_multiple_is_refused() -> None:
    empty = np.empty(0)
    with pytest.raises(ValueError, match="not a multiple"):
        resampled(empty, empty, empty, empty, empty, empty, part_ms=FIVE, whole_ms=2 * FIVE + 1)
