"""Every column of every view against its plainest definition, in double precision, on recorded and made-up candles."""

from __future__ import annotations

import doctest
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numba import types
from numpy.typing import NDArray

from tests.features.series import WEEK, columns, longer, random_walk, recorded
from tradebot.features import definitions, side
from tradebot.features.bars_kernel import build_bars
from tradebot.features.definitions import DEFINITIONS, Bars, example
from tradebot.features.kernel import build
from tradebot.features.side import SIDE
from tradebot.features.views import VIEWS, View

Doubles = NDArray[np.float64]

candles_kernel = cache(lambda: build(types.float64))
bars_kernel = cache(lambda: build_bars(types.float64))


def double_rows(view: View, *arrays: NDArray) -> tuple[Doubles, NDArray[np.bool_]]:
    """The view's rows before they are rounded to float32."""
    count = len(arrays[0])
    rows, usable = np.empty((count, len(view.names))), np.empty(count, dtype=np.bool_)
    state = np.full(view.marks, -1), np.zeros(view.memory)
    if view.name == "candles-5m":
        candles_kernel()(*state, *arrays, rows, usable)
    else:
        bars_kernel()(view.bar_ms, *state, *arrays, rows, usable)
    return rows, usable


def bars_to(frame: pd.DataFrame, last: int, bar_ms: int) -> Bars:
    """Candles since the first one, as lists."""
    own = frame.iloc[: last + 1]
    plain = [own[name].tolist() for name in ("open_time", "open", "high", "low", "close", "volume")]
    return Bars(bar_ms, *plain, {name: own[name].tolist() for name in SIDE})


def arrays_of(bars: Bars) -> list[NDArray]:
    beside = np.array([bars.side[name] for name in SIDE]).T.copy()
    return [np.array(x) for x in (bars.t, bars.o, bars.h, bars.l, bars.c, bars.v)] + [beside]


def check(view: View, row: Doubles, bars: Bars) -> None:
    wrong = {}
    for name, value in zip(view.names, row.tolist(), strict=True):
        said = DEFINITIONS[name](bars)
        if not np.isclose(value, said, rtol=1e-9, atol=1e-11, equal_nan=True):
            wrong[name] = (value, said)
    assert wrong == {}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("source", ["random walk", "SOLUSDT", "AVAXUSDT"])
def test_every_column_is_what_its_definition_says(view: View, source: str) -> None:
    frame = random_walk(2 * WEEK) if source == "random walk" else recorded(source, weeks=2, skip=1)
    frame = longer(frame, view.bar_ms // 300_000)
    rows, usable = double_rows(view, *columns(frame))
    first = int(np.argmax(usable))
    assert first == len(frame) // 2
    for place in (first, first + len(frame) // 5, len(frame) - 1):
        check(view, rows[place], bars_to(frame, place, view.bar_ms))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_the_example_of_every_column_is_the_kernels(view: View) -> None:
    bars = example(view.interval)
    rows, usable = double_rows(view, *arrays_of(bars))
    assert usable[-1]
    assert np.isfinite(rows[-1]).all()
    check(view, rows[-1], bars)


FOREVER = ("rsi", "macd", "ema", "sma", "adx", "di_", "atr", "range_atr", "tr_atr", "wt", "obv_dist", "regime")


@pytest.mark.parametrize("name", ["bars-5m", "bars-1h"])
def test_warm_ups_of_bars_are_true(name: str) -> None:
    """What lies further back than a column's warm-up does not show in it (or, with infinite memory, hardly)."""
    shown = VIEWS[name]
    frame = longer(random_walk(2 * WEEK), shown.bar_ms // 300_000)
    rows, usable = double_rows(shown, *columns(frame))
    spread, at = np.nanstd(rows[usable], axis=0), len(frame) - 1
    for warmup in sorted({feature.warmup for feature in shown.features if feature.warmup < at}):
        other = frame.copy()
        noise = np.random.default_rng(warmup).uniform(0.999, 1.001, size=at - warmup)
        for column in ("open", "high", "low", "close", "btc_close", "eth_close"):
            other.loc[: at - warmup - 1, column] *= noise
        other.loc[: at - warmup - 1, "volume"] *= noise * 2
        changed = np.abs(double_rows(shown, *columns(other))[0][-1] - rows[-1])
        for i, feature in enumerate(shown.features):
            if feature.warmup == warmup:
                allowed = 0.05 * spread[i] if feature.name.startswith(FOREVER) else 1e-12
                assert not changed[i] > allowed, (feature.name, changed[i], spread[i])


def test_every_feature_has_a_definition_and_every_definition_a_feature() -> None:
    assert set(DEFINITIONS) == {name for view in VIEWS.values() for name in view.names}


@pytest.mark.parametrize("module", [definitions, side], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed
