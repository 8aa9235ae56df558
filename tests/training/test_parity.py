from __future__ import annotations

import numpy as np
import pytest

from tests.serving.quantile_model import made
from tests.training import market
from tradebot.errors import ModelError
from tradebot.forecasters.base import Fitted, Floats, Rows, Sample, TellsQuantiles, family
from tradebot.market.candle import Candle
from tradebot.training.dataset import build_dataset
from tradebot.training.parity import GOLDEN_ROWS, check_parity, with_missing_values
from tradebot.training.source_rest import columns_of
from tradebot.training.splits import split_by_time

LIGHTGBM = family("lightgbm")


def fitted(rounds: int) -> tuple[Fitted, Sample]:
    data = build_dataset(LIGHTGBM, market.candles(8_000, momentum=0.8))
    splits = split_by_time(data.sample, validation_share=0.15, test_share=0.2, bar_ms=market.BAR_MS, embargo_bars=12)
    prepared = LIGHTGBM.prepare(splits.train, splits.validation, seed=1, threads=1)
    return LIGHTGBM.fit(prepared, LIGHTGBM.defaults(rounds), rounds=rounds), splits.test


def test_the_graph_of_another_model_is_found_out() -> None:
    model, test = fitted(20)
    other, _ = fitted(3)
    right = model.export(test.rows)
    parity = check_parity(model, right.onnx, right.input_name, test.rows, where="x")
    assert parity.max_probability_error <= 1e-6
    assert parity.rows >= 1_000
    assert parity.golden.count == GOLDEN_ROWS >= 8
    wrong = other.export(test.rows)
    with pytest.raises(ModelError, match="differs from the model it was made from"):
        check_parity(model, wrong.onnx, wrong.input_name, test.rows, where="x")


class Off:
    """A model whose probabilities are a little beside those of its graph, its expected return exact."""

    def __init__(self, model: Fitted) -> None:
        self.model = model

    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        probabilities, expected = self.model.predict(rows)
        return probabilities + np.array([3e-6, 0.0, -3e-6]), expected


def test_a_probability_off_by_three_millionths_is_too_much() -> None:
    model, test = fitted(5)
    made = model.export(test.rows)
    with pytest.raises(ModelError, match="probability 3"):
        check_parity(Off(model), made.onnx, made.input_name, test.rows, where="x")  # type: ignore[arg-type]


class OffInQuantiles(Off):
    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        return self.model.predict(rows)

    def quantiles(self, rows: Rows) -> Floats:
        assert isinstance(self.model, TellsQuantiles)
        said = self.model.quantiles(rows)
        assert said is not None
        return said + np.array([0.0, 0.01])


def test_quantiles_of_another_model_are_found_out() -> None:
    model, artefact = made()
    rows = np.random.default_rng(1).normal(size=(1_000, len(LIGHTGBM.features))).astype(np.float32)
    assert len(check_parity(model, artefact.model, "row", rows, where="x").golden.quantiles_bp) == GOLDEN_ROWS
    with pytest.raises(ModelError, match="quantiles of the ONNX graph differ"):
        check_parity(OffInQuantiles(model), artefact.model, "row", rows, where="x")  # type: ignore[arg-type]


def test_parity_is_tried_on_rows_with_missing_values_too() -> None:
    rows = np.ones((1_000, 16), dtype=np.float32)
    holed = with_missing_values(rows)
    assert np.isfinite(rows).all()
    assert np.isnan(holed).all(axis=1).sum() == 20
    partly = np.isnan(holed).any(axis=1) & ~np.isnan(holed).all(axis=1)
    assert partly.sum() == 80
    assert np.isnan(holed[partly]).any(axis=0).all()


def test_a_candle_still_open_at_the_job_s_moment_is_left_out() -> None:
    rows = [Candle(i * 300_000, 1.0, 2.0, 0.5, 1.5, 3.0) for i in range(4)]
    columns = columns_of(rows, 900_000, 300_000)
    assert columns.open_ms.tolist() == [0, 300_000, 600_000]
    assert columns.volume.tolist() == [3.0] * 3
