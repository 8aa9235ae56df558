"""A generated market: the same from the same seed, and with the signal that was planted, no more and no less."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from tests.sim.recordings import START, STEP, last_rows, walk
from tradebot.errors import ConfigError
from tradebot.market.candle import DAY_MS, HOUR_MS
from tradebot.sim.market import open_market
from tradebot.sim.market.generated import (
    BUSY_SIGMA,
    CROWDED,
    THIN,
    GeneratedMarket,
    GeneratedPath,
    generate,
)

FOREVER = 10**14
DAYS = 200
COUNT = DAYS * 288


def path_of(symbol: str = "SOLUSDT", *, seed: int = 3, kappa: float = 1.0) -> GeneratedPath:
    return generate(symbol, seed, START, COUNT, kappa=kappa)


def two_candles_ahead(path: GeneratedPath) -> np.ndarray:
    """Log return (bp) from each candle's close over the next two; the last two candles are left out."""
    close = np.log(path.candles.close)
    return (close[2:] - close[:-2]) * 1e4


def test_the_planted_expectation_is_what_happens_on_average() -> None:
    """Regressing what happened on what was planted gives slope 1; 57 600 candles leave an error of about 0.015."""
    path = path_of()
    planted, happened = path.planted_bps()[:-2], two_candles_ahead(path)
    slope = float(planted @ happened / (planted @ planted))
    assert slope == pytest.approx(1.0, abs=0.06)
    assert np.corrcoef(planted, happened)[0, 1] > 0.3
    for regime in (CROWDED, THIN):
        own = path.regime[:-2] == regime
        assert float(planted[own] @ happened[own] / (planted[own] @ planted[own])) == pytest.approx(1.0, abs=0.1)


def observed(path: GeneratedPath) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What candles show at each close: return of three (bp), whether it is busy, whether volume is high."""
    close, volume = np.log(path.candles.close), path.candles.volume
    ret_3 = np.concatenate((np.zeros(3), close[3:] - close[:-3])) * 1e4
    spread = np.log(path.candles.high / path.candles.low)
    seen = np.convolve(spread, np.ones(12) / 12)[: spread.size]
    traded = np.convolve(volume, np.ones(6) / 6)[: volume.size]
    return ret_3[:-2], (seen > np.quantile(seen, 0.75))[:-2], (traded > 2.5 * np.median(volume))[:-2]


def test_a_regression_on_past_candles_alone_finds_the_signal_beyond_cost() -> None:
    """Reversal where busy and crowded, momentum where busy and thin: fitted on one half, earning on the other."""
    path = path_of()
    ret_3, busy, crowded = observed(path)
    happened = two_candles_ahead(path)
    first = np.arange(happened.size) < happened.size // 2
    expected = np.zeros(happened.size)
    for rows, sign in ((busy & crowded, -1), (busy & ~crowded, 1)):
        fit = rows & first
        slope = float(ret_3[fit] @ happened[fit] / (ret_3[fit] ** 2).sum())
        assert sign * slope > 0.1
        expected[rows] = slope * ret_3[rows]
    strong = ~first & (np.abs(expected) > 16)
    gained = np.sign(expected[strong]) * happened[strong]
    assert strong.sum() > 300
    assert 16.0 < gained.mean() < 40.0


@pytest.mark.parametrize("seed", [3, 7, 11])
def test_no_rule_of_the_past_return_alone_finds_it(seed: int) -> None:
    """The best of ten rules, its level picked with hindsight, against the planted expectation after a cost of 14 bp."""
    path = path_of(seed=seed)
    close, happened = np.log(path.candles.close), two_candles_ahead(path)

    def best_sum(score: np.ndarray) -> float:
        sizes = np.abs(score)
        levels = np.quantile(sizes, np.linspace(0, 0.99, 100))
        return max(
            float((np.sign(score) * happened - 14)[rows].sum()) for level in levels if (rows := sizes >= level).any()
        )

    by_rules = []
    for span in (1, 2, 3, 6, 12):
        past = np.concatenate((np.zeros(span), close[span:] - close[:-span]))[:-2]
        by_rules += [best_sum(past), best_sum(-past)]
    assert max(by_rules) < 0.25 * best_sum(path.planted_bps()[:-2])


def test_nothing_is_to_be_found_where_nothing_was_planted() -> None:
    path = path_of(kappa=0.0)
    assert not path.planted_bps().any()
    close = np.log(path.candles.close)
    happened = two_candles_ahead(path)
    busy = path.regime[:-2] >= CROWDED
    for lag in (1, 2, 3, 6, 12):
        past = np.concatenate((np.zeros(lag), close[lag:] - close[:-lag]))[:-2] * 1e4
        for rows in (busy, ~busy):
            correlation = np.corrcoef(past[rows], happened[rows])[0, 1]
            # overlapping returns: the error of a correlation is about sqrt(2 · lag / n)
            assert abs(correlation) < 4 * np.sqrt(2 * lag / rows.sum())


def test_planting_less_leaves_less() -> None:
    strengths = [np.abs(path_of(kappa=kappa).planted_bps()).max() for kappa in (0.0, 0.5, 1.0)]
    assert strengths[0] == 0.0
    assert 0 < strengths[1] < strengths[2] < 60


def test_the_signal_needs_a_busy_market_and_its_sign_depends_on_the_volume() -> None:
    path = path_of()
    planted, run = path.planted_bps(), np.concatenate(([0.0, 0.0], np.convolve(path.ret, np.ones(3), "valid")))
    crowded, thin = path.regime == CROWDED, path.regime == THIN
    busy = crowded | thin
    assert np.abs(planted[~busy]).max() < 1.0  # what is left is the chance that the next candle turns busy
    assert (planted[crowded] * run[crowded]).mean() < 0 < (planted[thin] * run[thin]).mean()
    assert np.abs(planted[crowded]).mean() > np.abs(planted[thin]).mean() > 12.0
    volume = path.candles.volume
    assert volume[crowded].mean() > 2.5 * volume[thin].mean()
    follows_calm = np.concatenate(([False], ~busy[:-1]))
    assert not path.drift[follows_calm].any()
    before = np.concatenate(([0.0], run[:-1]))[follows_calm]
    assert abs(np.corrcoef(before, path.ret[follows_calm])[0, 1]) < 4 / np.sqrt(follows_calm.sum())
    for own in (crowded, thin):
        assert np.std(path.ret[own] - path.drift[own]) == pytest.approx(BUSY_SIGMA, rel=0.05)


def test_a_structural_break_turns_the_signal_round_and_nothing_else() -> None:
    whole = path_of()
    at = COUNT // 2
    path = generate("SOLUSDT", 3, START, COUNT, break_ms=START + at * STEP)
    assert np.array_equal(path.regime, whole.regime)
    assert np.array_equal(path.candles.close[: at + 1], whole.candles.close[: at + 1])  # what was known acts once more
    assert not np.array_equal(path.candles.close[at + 300 :], whole.candles.close[at + 300 :])

    planted, happened = path.planted_bps()[:-2], two_candles_ahead(path)
    run = np.convolve(path.ret, np.ones(3))[: COUNT - 2]
    after = np.arange(COUNT - 2) >= at
    for regime, sign in ((CROWDED, -1), (THIN, 1)):
        own = path.regime[:-2] == regime
        assert sign * (planted[own & ~after] * run[own & ~after]).mean() > 0
        assert sign * (planted[own & after] * run[own & after]).mean() < 0
        for rows in (own & ~after, own & after):
            slope = float(planted[rows] @ happened[rows] / (planted[rows] @ planted[rows]))
            assert slope == pytest.approx(1.0, abs=0.15)
        moves = path.ret - path.drift
        assert np.std(moves[:-2][own & after]) == pytest.approx(BUSY_SIGMA, rel=0.05)
        volume = path.candles.volume[:-2]
        assert volume[own & after].mean() == pytest.approx(volume[own & ~after].mean(), rel=0.1)
    before = np.abs(planted[~after]).mean()
    assert np.abs(planted[after]).mean() == pytest.approx(before, rel=0.15)


def test_what_was_planted_before_the_break_loses_after_it() -> None:
    """A rule that acts on the old expectation: it earned before, and pays after, as much as the new one would earn."""
    at = COUNT // 2
    path = generate("SOLUSDT", 3, START, COUNT, break_ms=START + at * STEP)
    happened, after = two_candles_ahead(path), np.arange(COUNT - 2) >= at
    turned = dataclasses.replace(path, break_ms=None).planted_bps()[:-2]  # the candles of this market, read the old way
    strong = np.abs(turned) > 16
    gained = np.sign(turned) * happened
    assert gained[strong & ~after].mean() > 16
    assert gained[strong & after].mean() < -5


def test_a_break_lies_in_the_history_of_a_generated_market_or_is_refused() -> None:
    (market,) = open_market([], ["SOLUSDT"], 3, for_ms=HOUR_MS, history_days=10, break_days=4)
    assert isinstance(market, GeneratedMarket)
    assert market.plan.break_ms == START - 4 * DAY_MS
    assert "its two busy regimes changed places on 2026-01-01 00:00:00" in market.description
    for days in (-1, 10):
        with pytest.raises(ConfigError, match=f"structural break {days} days before the start does not lie in the 10"):
            open_market([], ["SOLUSDT"], 3, for_ms=HOUR_MS, history_days=10, break_days=days)
    with pytest.raises(ConfigError, match="planted in generated markets only"):
        open_market(["SOLUSDT.parquet"], [], 3, break_days=4)


def test_planted_bp_answers_for_closes_only() -> None:
    path = path_of()
    closes = path.planted_bps()
    assert path.planted_bp(START + STEP) == closes[0]
    assert path.planted_bp(START + 1000 * STEP) == closes[999]
    for wrong in (START, START + STEP + 1, START + (COUNT + 1) * STEP):
        with pytest.raises(IndexError):
            path.planted_bp(wrong)


def test_served_candles_equal_the_path_that_made_them() -> None:
    (market,) = open_market([], ["SOLUSDT"], 3, for_ms=6 * HOUR_MS, history_days=10)
    assert isinstance(market, GeneratedMarket)
    rows = market.candles("5m", 0, FOREVER, market.end_ms)
    assert len(rows) == 10 * 288 + 72
    assert rows[0].open_time_ms == START - 10 * DAY_MS
    assert market.start_ms == START
    steps = walk(market)
    served = {row.open_time_ms: row for row in rows}
    assert all(served[at] == row for at, row in last_rows(steps).items())
    for row in rows[-72:]:
        trades = [t for step in steps for t in step.trades if row.open_time_ms <= t.ts_ms < row.open_time_ms + STEP]
        prices = [t.price_ticks * float(market.instrument.tick) for t in trades]
        assert (prices[0], max(prices), min(prices), prices[-1]) == pytest.approx(
            (row.open, row.high, row.low, row.close)
        )
        assert sum(t.qty_lots for t in trades) * float(market.instrument.lot) == pytest.approx(row.volume)
    assert "GENERATED" in market.description


def test_book_imbalance_follows_the_order_flow() -> None:
    (market,) = open_market([], ["SOLUSDT"], 3, for_ms=DAY_MS, history_days=3)
    assert isinstance(market, GeneratedMarket)
    flow = market.plan.flow[3 * 288 :].ravel()
    tilt = []
    for step in walk(market)[:-1]:
        assert step.bids is not None
        assert step.asks is not None
        bid, ask = sum(size for _, size in step.bids), sum(size for _, size in step.asks)
        tilt.append(np.log(bid / ask))
    assert np.corrcoef(tilt, flow)[0, 1] > 0.7


def digest() -> str:
    markets = open_market([], ["SOLUSDT", "DOGEUSDT"], 11, for_ms=2 * HOUR_MS, history_days=30)
    text = "".join(repr(walk(market)) + repr(market.candles("5m", 0, FOREVER, FOREVER)) for market in markets)
    return hashlib.sha256(text.encode()).hexdigest()


def test_two_processes_generate_the_same_market() -> None:
    code = "from tests.sim.test_market_generated import digest; print(digest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert other.stdout.strip() == digest()


def test_a_symbol_is_the_same_whoever_else_is_generated_and_another_seed_is_another_market() -> None:
    def closes(symbols: list[str], seed: int) -> list[float]:
        market = open_market([], symbols, seed, for_ms=HOUR_MS, history_days=2)[-1]
        return [row.close for row in market.candles("5m", 0, FOREVER, FOREVER)]

    assert closes(["SOLUSDT"], 1) == closes(["BTCUSDT", "SOLUSDT"], 1)
    assert closes(["SOLUSDT"], 1) != closes(["SOLUSDT"], 2)
    assert closes(["SOLUSDT"], 1) != closes(["BTCUSDT"], 1)


def test_symbols_move_together_but_not_in_step() -> None:
    one, two = path_of("SOLUSDT", kappa=0.0).ret, path_of("BTCUSDT", kappa=0.0).ret
    assert 0.2 < np.corrcoef(one, two)[0, 1] < 0.6
