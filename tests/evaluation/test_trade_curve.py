"""The arithmetic of returns outside the engine, against the rule's own booking and against definitions."""

from __future__ import annotations

import numpy as np
import pytest

from tradebot.errors import DataError
from tradebot.evaluation.trade_curve import START, trade_curve
from tradebot.evaluation.trades import TradeRule, threshold_trades

HOUR = 3_600_000


def prices(count: int, seed: int = 1) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, count)))


def test_a_trade_earns_what_the_threshold_rule_books_for_it() -> None:
    opens, rule = prices(400), TradeRule(hold_rows=5)
    rows = np.arange(394)
    realised = (opens[rows + 6] / opens[rows + 1] - 1) * 1e4
    expected = np.random.default_rng(2).normal(0, 20, 394)
    trades = threshold_trades(expected, realised, 14.0, entry_bp=15.0, rule=rule)
    curve = trade_curve(np.arange(400) * HOUR, opens, trades.row, trades.row + 5, trades.side, 14.0)
    assert len(trades) > 20
    np.testing.assert_allclose(curve.trips.net_bp, trades.net_bp, atol=1e-9)
    growth = np.prod(1 + trades.net_bp / 1e4)
    assert curve.equity[-1] == pytest.approx(START * growth)
    assert curve.equity[-1] - START == pytest.approx(curve.trips.net.sum())


def test_what_is_open_counts_on_the_way() -> None:
    opens = np.array([100.0, 100.0, 80.0, 100.0, 100.0])
    curve = trade_curve(np.arange(5), opens, [0], [2], [1], 0.0)
    assert curve.equity.tolist() == [START, START, 0.8 * START, START, START]
    short = trade_curve(np.arange(5), opens, [0], [2], [-1], 0.0)
    assert short.equity[2] == pytest.approx(1.2 * START)


def test_who_held_before_a_settlement_pays_for_it() -> None:
    opens, funding = np.full(6, 100.0), np.array([0, 0.01, 0.01, 0.01, 0.01, 0])
    curve = trade_curve(np.arange(6), opens, [0], [2], [1], 0.0, funding=funding)
    assert curve.trips.net_bp == pytest.approx([-200.0])  # held through the opens 2 and 3, entered at 1
    short = trade_curve(np.arange(6), opens, [0], [2], [-1], 0.0, funding=funding)
    assert short.trips.net_bp == pytest.approx([200.0])


def test_nothing_traded_is_a_flat_line_and_impossible_trades_are_refused() -> None:
    flat = trade_curve(np.arange(3), np.full(3, 5.0), [], [], [], 14.0)
    assert flat.equity.tolist() == [START] * 3
    assert len(flat.trips) == 0
    for entered, left in (([0, 1], [2, 3]), ([2], [1]), ([2], [3])):
        with pytest.raises(DataError, match="trades overlap"):
            trade_curve(np.arange(4), np.full(4, 5.0), entered, left, [1] * len(entered), 1.0)
