from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.training import market
from tradebot.errors import DataError
from tradebot.forecasters.base import CandleColumns, family
from tradebot.training.dataset import build_dataset

LIGHTGBM = family("lightgbm")


def changed(columns: CandleColumns, **arrays: np.ndarray) -> CandleColumns:
    return dataclasses.replace(columns, **arrays)


def test_rows_labels_and_traded_returns_belong_to_the_same_moment() -> None:
    columns = market.candles(5_000, momentum=0.3)
    columns = changed(columns, open=(columns.open + columns.low) / 2)  # so that an open is not the close before it
    data = build_dataset(LIGHTGBM, columns)
    sample = data.sample
    rows, _ = LIGHTGBM.rows(columns)
    for i in (0, len(sample) // 2, len(sample) - 1):
        t = int(np.flatnonzero(columns.open_ms + market.BAR_MS == sample.at_ms[i])[0])
        np.testing.assert_array_equal(sample.rows[i], rows[t])
        assert sample.realised_bp[i] == pytest.approx((columns.close[t + 2] / columns.close[t] - 1) * 1e4)
        # never at the price that formed the signal: in at the next open, out at the open after the horizon
        assert sample.traded_bp[i] == pytest.approx((columns.open[t + 3] / columns.open[t + 1] - 1) * 1e4)
        spans = [(columns.close[t] / columns.close[t - k] - 1) * 1e4 for k in (1, 2, 3, 6, 12)]
        assert sample.past_bp[i] == pytest.approx(spans)
        assert sample.label_end_ms[i] == sample.at_ms[i] + 2 * market.BAR_MS
    assert sample.weight.mean() == pytest.approx(1.0)
    assert sample.label_end_ms[-1] < data.data_to_ms
    assert data.candles == 5_000


def test_the_data_hash_changes_with_any_value() -> None:
    columns = market.candles(4_500)
    volume = columns.volume.copy()
    volume[17] += 1e-9
    assert build_dataset(LIGHTGBM, columns).sha256 == build_dataset(LIGHTGBM, market.candles(4_500)).sha256
    assert build_dataset(LIGHTGBM, columns).sha256 != build_dataset(LIGHTGBM, changed(columns, volume=volume)).sha256


def _cut(columns: CandleColumns, keep: np.ndarray) -> CandleColumns:
    return columns.where(keep)


def test_unusable_histories_are_named_in_one_line() -> None:
    good = market.candles(6_000)
    flat = np.full(6_000, 100.0)
    holed = good.high.copy()
    holed[3_000] = np.nan
    upside_down = good.high.copy()
    upside_down[10] = good.low[10] * 0.5
    repeated = np.concatenate([np.arange(100), [99], np.arange(100, 6_000)])
    quiet = market.candles(6_000, sigma=1e-5)
    cases = [
        (_cut(good, np.arange(900)), "900 candles, at least 1000"),
        (_cut(good, np.arange(2_000)), "warm-up"),
        (_cut(good, np.delete(np.arange(6_000), [50, 51, 2_000])), r"missing \(2\) after 20.*UTC, 2 such place"),
        (_cut(good, repeated), "out of order or twice"),
        (changed(good, high=holed), "impossible"),
        (changed(good, high=upside_down), "impossible"),
        (changed(good, open=flat, high=flat, low=flat, close=flat), "never moved"),
        (quiet, "livelier symbol"),
    ]
    for columns, reason in cases:
        with pytest.raises(DataError, match=reason) as caught:
            build_dataset(LIGHTGBM, columns)
        assert "\n" not in str(caught.value)


def test_a_feature_without_any_value_is_named() -> None:
    class Blind(type(LIGHTGBM)):  # type: ignore[misc]
        def rows(self, candles: CandleColumns) -> tuple[np.ndarray, np.ndarray]:
            rows, usable = LIGHTGBM.rows(candles)
            rows[:, 5] = np.nan
            return rows, usable

    with pytest.raises(DataError, match=f"feature {LIGHTGBM.features[5]} has no value"):
        build_dataset(Blind(), market.candles(5_000))
