"""The original recipe finds 60 % in random walks under its own split, and nothing under an honest one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training import market
from tradebot.errors import DataError
from tradebot.forecasters.lightgbm_compat import Scores, compare
from tradebot.forecasters.lightgbm_compat_features import NAMES, table
from tradebot.jobs import ParquetSource, RetrainJob
from tradebot.training.runner import run_job


def test_random_walks_score_far_above_chance_when_shuffled_and_not_in_time() -> None:
    shuffled, honest = [], []
    for seed in (1, 2):
        walk = market.candles(14_000, sigma=0.0013, seed=seed)
        found = compare(walk, horizon=2, threshold=0.002, trials=1, rounds=120, seed=seed, threads=1)
        shuffled.append(found.shuffled.accuracy)
        honest.append(found.chronological.accuracy)
    assert np.mean(shuffled) > 0.56
    assert abs(np.mean(honest) - 0.5) < 0.035
    assert min(shuffled) > max(honest)


def test_the_58_indicators_are_those_that_are_known_by_formula() -> None:
    candles = market.candles(400, seed=4)
    found = dict(zip(NAMES, table(candles).T, strict=True))
    assert len(found) == 58
    c, h, low, v = candles.close, candles.high, candles.low, candles.volume
    i = 333
    assert found["return_5"][i] == pytest.approx(c[i] / c[i - 5] - 1)
    assert found["sma_200"][i] == pytest.approx(c[i - 199 : i + 1].mean())
    assert found["std_20"][i] == pytest.approx(np.std(np.diff(c[i - 20 : i + 1]) / c[i - 20 : i], ddof=1))
    assert found["bb_upper"][i] == pytest.approx(c[i - 19 : i + 1].mean() + 2 * c[i - 19 : i + 1].std(ddof=1))
    top, bottom = h[i - 13 : i + 1].max(), low[i - 13 : i + 1].min()
    assert found["williams_r"][i] == pytest.approx(-100 * (top - c[i]) / (top - bottom))
    assert found["volume_ratio_10"][i] == pytest.approx(v[i] / v[i - 9 : i + 1].mean())
    ema = c[0]
    for price in c[1 : i + 1]:
        ema += 0.2 * (price - ema)
    assert found["ema_9"][i] == pytest.approx(ema)


def test_no_indicator_knows_what_comes_after_its_candle() -> None:
    candles = market.candles(600, seed=5)
    np.testing.assert_array_equal(table(candles)[:400], table(candles.where(slice(0, 400))))


def test_the_score_of_a_trial_is_the_original_s() -> None:
    assert Scores(100, accuracy=0.6, precision=0.5, recall=0.4, f1=0.0, auc=None).trial == pytest.approx(0.555)


def test_a_calm_market_is_refused_in_one_line() -> None:
    with pytest.raises(DataError, match=r"rows moved by 0.2%, at least 300"):
        compare(market.candles(2_000, sigma=0.0002), horizon=2, threshold=0.002, trials=1, rounds=5, seed=1, threads=1)


def test_a_retraining_with_compat_tells_both_scores_and_stores_nothing(tmp_path: Path) -> None:
    candles = market.candles(6_000, sigma=0.0018)
    path = market.write_parquet(tmp_path / "SOLUSDT.parquet", candles)
    result = run_job(
        RetrainJob(
            id="compat",
            symbol="SOLUSDT",
            model="lightgbm",
            as_of_ms=market.end_ms(candles),
            declared_ms=1_000,
            days=market.days(candles),
            source=ParquetSource(path=str(path)),
            store=str(tmp_path / "store"),
            trials=1,
            rounds=40,
            options={"compat": True},
            allow_provisional=True,
        )
    )
    assert (result.verdict, result.promoted, result.exit_code) == ("refused", False, 3)
    assert "the difference is the split, not skill; nothing is stored" in result.reason
    assert not list(tmp_path.glob("store/*/*/v*"))
