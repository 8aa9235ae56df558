"""The Lorentzian indicator against its definition, and what tells its two forms apart."""

from __future__ import annotations

import numpy as np
import pytest

from tests.forecasters import lorentzian_transcription as definition
from tests.shared import shared_path
from tests.training.market import candles as made_up
from tradebot.data.files import read_candles
from tradebot.forecasters.base import CandleColumns, Floats
from tradebot.forecasters.lorentzian_indicator import (
    compat_scores,
    contrarian_labels,
    forward_labels,
    indicator_inputs,
    proper_scores,
)
from tradebot.forecasters.lorentzian_signals import entries, filters_of, held_trades


def recorded(name: str, rows: int) -> CandleColumns:
    table = read_candles(str(shared_path(f"data/market/candles/{name}.parquet")))
    columns = CandleColumns(table.open_time, table.open, table.high, table.low, table.close, table.volume)
    return columns.where(slice(None, rows))


def both_forms(candles: CandleColumns, memory: int) -> tuple[list[int], list[int]]:
    """Predictions of the definition and of the product."""
    high, low, close = candles.high.tolist(), candles.low.tolist(), candles.close.tolist()
    naive = definition.predictions(definition.inputs(high, low, close), close, 8, memory)
    x = indicator_inputs(candles.high, candles.low, candles.close)
    return naive, compat_scores(x, contrarian_labels(candles.close), 8, memory).tolist()


@pytest.mark.parametrize("name", ["binance_SOLUSDT_perp_1h", "bybit_BTCUSDT_perp_5m"])
def test_compat_is_the_definition_on_recorded_candles(name: str) -> None:
    candles = recorded(name, 1_500)
    x = indicator_inputs(candles.high, candles.low, candles.close)
    naive = np.array(definition.inputs(candles.high.tolist(), candles.low.tolist(), candles.close.tolist()))
    assert (np.isnan(x) == np.isnan(naive)).all()
    np.testing.assert_allclose(x, naive, atol=1e-9)
    said, ours = both_forms(candles, 500)
    assert ours == said
    assert len(set(ours)) > 8  # the scores vary: nothing was compared with nothing


def test_compat_is_the_definition_on_made_up_candles_and_their_first_bars() -> None:
    said, ours = both_forms(made_up(700), 2_000)
    assert ours == said
    flat = CandleColumns(np.arange(60) * 300_000, *(np.full(60, 5.0) for _ in range(5)))
    said, ours = both_forms(flat, 2_000)
    assert ours == said == [0] * 60


def reference_neighbours(x: Floats, labels: np.ndarray, t: int, k: int, memory: int) -> int:
    candidates = [i for n in range(memory) if (i := t - 4 - 4 * n) >= 0 and np.isfinite(x[i]).all()]
    nearest = sorted(candidates, key=lambda i: (np.log1p(np.abs(x[t] - x[i])).sum(), -i))[:k]
    return int(labels[nearest].sum())


def test_proper_takes_the_nearest_of_the_known_and_spaced() -> None:
    candles = made_up(900, seed=3)
    x, labels = indicator_inputs(candles.high, candles.low, candles.close), forward_labels(candles.close)
    for memory in (40, 2_000):
        scores = proper_scores(x, labels, 8, memory)
        for t in range(60, 900, 37):
            assert scores[t] == reference_neighbours(x, labels, t, 8, memory)


def test_proper_knows_nothing_of_what_comes_after() -> None:
    candles = made_up(900)
    x = indicator_inputs(candles.high, candles.low, candles.close)
    whole = proper_scores(x, forward_labels(candles.close))
    for t in (300, 611):
        cut = candles.where(slice(None, t + 1))
        again = proper_scores(indicator_inputs(cut.high, cut.low, cut.close), forward_labels(cut.close))
        assert (again == whole[: t + 1]).all()


def test_a_long_history_is_searched_in_its_first_bars_by_compat_and_in_its_last_by_proper() -> None:
    rng = np.random.default_rng(5)
    x = rng.random((1_200, 5))
    labels = rng.integers(-1, 2, 1_200).astype(np.int8)
    later = labels.copy()
    later[800:] *= -1
    assert (compat_scores(x, labels, 8, 300) == compat_scores(x, later, 8, 300)).all()
    assert (proper_scores(x, labels, 8, 60)[1_100:] == -proper_scores(x, later, 8, 60)[1_100:]).all()
    assert (labels[::4] != 0).any()
    skipped = labels.copy()
    skipped[::4] = 0  # every fourth bar is the one that is left out
    assert (compat_scores(x, labels, 8, 300) == compat_scores(x, skipped, 8, 300)).all()


def test_signals_stand_until_they_are_reversed_and_enter_with_the_kernel() -> None:
    candles = made_up(1_500, seed=8)
    filters = filters_of(candles)
    scores = compat_scores(indicator_inputs(candles.high, candles.low, candles.close), contrarian_labels(candles.close))
    entering = entries(scores, filters)
    signal = 0
    for t in range(len(candles)):
        before = signal
        if filters.passes[t] and scores[t]:
            signal = int(np.sign(scores[t]))
        expected = signal if before not in (0, signal) and filters.kernel[t] == signal else 0
        assert entering[t] == expected
    begun, ended, sides = held_trades(entering)
    assert len(begun) > 10
    assert (ended - begun <= 4).all()
    assert (begun[1:] >= ended[:-1]).all()
    assert (entering[begun] == sides).all()
    assert ((ended - begun == 4) | (entering[ended] == -sides)).all()
