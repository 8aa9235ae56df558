"""Every column against pandas, written independently, in double precision; and the warm-ups the catalogue states."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from numba import types
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tests.features.pandas_reference import reference_features
from tests.features.series import VIEW, WEEK, batch, columns, random_walk, recorded
from tradebot.features.catalogue import CATALOGUE, NAMES, column
from tradebot.features.kernel import build

Doubles = NDArray[np.float64]

BANDS = ["bb_pctb", "bb_width", "bb_width_rank"]
RECURSIVE = ("rsi", "stochrsi", "macd", "ema", "adx", "di_", "atr", "range_atr", "sma_dist", "vwap")


double_kernel = cache(lambda: build(types.float64))


def rows_of(frame: pd.DataFrame) -> tuple[Doubles, NDArray[np.bool_]]:
    rows, usable = np.empty((len(frame), len(NAMES))), np.empty(len(frame), dtype=np.bool_)
    marks, memory = np.full(VIEW.marks, -1), np.zeros(VIEW.memory)
    double_kernel()(marks, memory, *columns(frame), rows, usable)
    return rows, usable


def reference(frame: pd.DataFrame) -> Doubles:
    """The pandas columns, with the bands from exact windows: pandas' running variance is good to 1e-7 only."""
    table = reference_features(frame)
    close = frame.close.to_numpy()
    window = sliding_window_view(close, 20)
    mean, sd = window.mean(axis=1), window.std(axis=1)
    pad = np.full(19, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        table["bb_pctb"] = np.concatenate((pad, (close[19:] - (mean - 2 * sd)) / (4 * sd)))
    table["bb_width"] = np.concatenate((pad, 4 * sd / mean))
    table["bb_width_rank"] = table["bb_width"].rolling(288).rank(pct=True)
    assert tuple(table.columns) == NAMES
    return table.to_numpy()


def two_weeks(source: str) -> pd.DataFrame:
    return random_walk(2 * WEEK) if source == "random walk" else recorded(source, weeks=2, skip=2)


@pytest.mark.parametrize("source", ["random walk", "SOLUSDT", "BTCUSDT"])
def test_every_column_equals_its_pandas_formula(source: str) -> None:
    frame = two_weeks(source)
    rows, usable = rows_of(frame)
    expected, got = reference(frame)[usable], rows[usable]
    assert len(got) == WEEK
    assert (np.isnan(expected) == np.isnan(got)).all()
    scale = np.maximum(np.abs(expected), np.maximum(0.1 * np.nanstd(expected, axis=0), 1e-7))
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(np.abs(got - expected) / scale).max(axis=0)
    # rounding of equal-looking widths may swap two ranks
    limit = np.where(np.array(NAMES) == "bb_width_rank", 0.05, 1e-9)
    assert {name: e for name, e, most in zip(NAMES, error, limit, strict=True) if e > most} == {}
    rank = np.abs(got - expected)[:, column("bb_width_rank")]
    assert rank.max() <= 1.01 / 288
    assert (rank < 1e-9).mean() > 0.99


def test_rows_are_the_double_rows_rounded_once() -> None:
    frame = random_walk(WEEK + 300)
    rows, usable = rows_of(frame)
    single, _ = batch(*columns(frame))
    assert (single[usable].view("u4") == rows[usable].astype(np.float32).view("u4")).all()


def test_warm_ups_are_true() -> None:
    """What lies further back than a column's warm-up does not show in it (or, with infinite memory, hardly)."""
    frame = random_walk(WEEK + 200)
    at = len(frame) - 1
    rows, _ = rows_of(frame)
    spread = np.nanstd(rows[WEEK:], axis=0)
    for warmup in sorted({feature.warmup for feature in CATALOGUE}):
        other = frame.copy()
        noise = np.random.default_rng(warmup).uniform(0.999, 1.001, size=at - warmup)
        for name in ("open", "high", "low", "close"):
            other.loc[: at - warmup - 1, name] *= noise
        other.loc[: at - warmup - 1, "volume"] *= noise * 2
        changed = np.abs(rows_of(other)[0][-1] - rows[-1])
        for i, feature in enumerate(CATALOGUE):
            if feature.warmup != warmup or feature.name == "vwap_dist_day":  # counts from midnight
                continue
            allowed = 0.05 * spread[i] if feature.name.startswith(RECURSIVE) else 1e-12
            assert changed[i] <= allowed, (feature.name, changed[i], spread[i])
