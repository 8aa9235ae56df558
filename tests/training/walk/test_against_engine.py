"""What is booked from open to open is what the engine earns: one window, traded both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backtest.market import BAR_MS, asked, random_walk
from tradebot.backtest.run import RunFolder
from tradebot.backtest.single import run_backtest
from tradebot.data.files import read_candles
from tradebot.evaluation.trade_curve import trade_curve
from tradebot.market.candle import HOUR_MS


def test_trades_of_the_engine_earn_what_the_curve_says(tmp_path: Path) -> None:
    path = random_walk(tmp_path / "market", days=11, reverting=0.3)
    spec = asked(path, fade=True, entry_bp=15.0, for_ms=24 * HOUR_MS)
    outcome = run_backtest(spec, out=tmp_path / "run")
    assert outcome is not None
    trades = RunFolder(tmp_path / "run").trades()
    closed = trades.closed_ms > 0
    table = read_candles(str(path))
    opened, left = (
        (times[closed] - table.open_time[0]) // BAR_MS - 1 for times in (trades.opened_ms, trades.closed_ms)
    )
    side = np.where(trades.side[closed] == "long", 1, -1)
    paid = -trades.fees[closed] / trades.entry_notional[closed] * 1e4
    curve = trade_curve(table.open_time, table.open, opened, left, side, 0.0)
    assert len(curve.trips) > 30
    engine = trades.net_bp[closed] + paid  # before fees, which both take off the same
    apart = engine - curve.trips.net_bp
    assert np.abs(apart).max() < 6.0  # what is crossed of the spread, at either end
    assert -4.0 < apart.mean() < 0.5
    assert np.corrcoef(engine, curve.trips.net_bp)[0, 1] > 0.99
    assert paid.mean() == pytest.approx(12.0, abs=0.1)
