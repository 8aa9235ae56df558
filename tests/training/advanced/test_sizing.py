"""The sizing bandit: it enters where entering pays, stays out where it does not, and says when it is no better."""

from __future__ import annotations

import numpy as np

from tests.training.market import BAR_MS, candles
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import CandleColumns, Floats
from tradebot.jobs import JobCosts
from tradebot.training.advanced.sizing import ACTIONS, rewards, sized

RULE = TradeRule(hold_rows=2)
COSTS = JobCosts()


def world(edge_bp: float, seed: int = 3, count: int = 9_000) -> tuple[CandleColumns, Floats, Floats]:
    """Candles, and forecasts that know ``edge_bp`` of the next two, in a tenth of the rows; elsewhere they are noise
    of the same size with no chance of a move."""
    rng = np.random.default_rng(seed)
    market = candles(count, seed=seed)
    strong = rng.random(count) < 0.1
    side = rng.choice([-1.0, 1.0], count)
    moves = np.diff(np.log(market.close), prepend=np.log(market.close[0]))
    for t in np.flatnonzero(strong[:-3]):
        moves[t + 1 : t + 3] += side[t] * edge_bp / 2e4
    close = 100 * np.exp(np.cumsum(moves))
    opened = np.concatenate([[100.0], close[:-1]])
    reach = 1.0004
    shaped = CandleColumns(
        market.open_ms, opened, np.maximum(opened, close) * reach, np.minimum(opened, close) / reach, close,
        market.volume,
    )  # fmt: skip
    expected = side * 20.0 * rng.uniform(0.8, 1.2, count)
    move = np.where(strong, 0.7, 0.2)
    up = move * np.where(side > 0, 0.7, 0.3)
    return shaped, expected, np.stack([move - up, 1 - move, up], axis=1)


def decide(edge_bp: float) -> tuple[Floats, object]:
    market, expected, p = world(edge_bp)
    rows = np.arange(200, len(market) - 5)
    found = sized(market, rows, expected[rows], p[rows], rule=RULE, costs=COSTS, bar_ms=BAR_MS)
    return found.bandit_bp, found


def test_it_enters_where_the_context_says_it_pays_and_beats_a_rule_that_cannot_see_it() -> None:
    earned, found = decide(80.0)
    assert earned.sum() > 0
    assert found.beats  # type: ignore[attr-defined]
    entered = sum(n for name, n in found.taken.items() if name != "skip")  # type: ignore[attr-defined]
    assert 100 < entered < 0.25 * len(earned)


def test_without_an_edge_it_stays_out_and_does_not_claim_to_be_better() -> None:
    earned, found = decide(0.0)
    assert not found.beats  # type: ignore[attr-defined]
    assert np.count_nonzero(earned) < 0.02 * len(earned)


def test_a_maker_is_filled_only_where_the_price_comes_to_it() -> None:
    opens = np.array([100.0, 100.0, 101.0, 103.0, 104.0, 104.0])
    close = np.array([100.0, 101.0, 103.0, 104.0, 104.0, 104.0])
    low = np.array([99.0, 100.0, 101.0, 103.0, 104.0, 104.0])
    market = CandleColumns(np.arange(6) * BAR_MS, opens, close + 0.5, low, close, np.ones(6))
    worth = rewards(market, np.array([0, 1, 5]), np.array([1, 1, 1]), 2, COSTS)
    maker, taker = ACTIONS.index(("maker", 1.0)), ACTIONS.index(("taker", 1.0))
    assert worth[0, taker] == (103 / 100 - 1) * 1e4 - 14
    assert worth[0, maker] == 0.0  # the next candle's low is the limit itself: not through it
    assert worth[1, maker] == 0.0  # it ran away
    assert worth[0, ACTIONS.index(("taker", 0.5))] == worth[0, taker] / 2
    assert np.isnan(worth[2]).all()
    short = rewards(market, np.array([0]), np.array([-1]), 2, COSTS)
    assert short[0, maker] < short[0, taker] + 14  # filled, for it went against it
    assert short[0, maker] == -(103 / 100 - 1) * 1e4 - (2 + 7)
