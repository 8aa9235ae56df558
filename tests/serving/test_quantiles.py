"""Quantiles of a forecast, from the boosters to a decision that is made on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from strategies.expected_value import mean_of_quantiles
from tests.serving.quantile_model import made
from tests.serving.test_two_models import candle, swap
from tests.trading.driver import STRATEGIES, Driver
from tradebot.errors import ModelError
from tradebot.registry import Artefact, Output
from tradebot.serving import Serving
from tradebot.serving.forecaster import load_forecaster
from tradebot.trading.loading import load_strategy


def test_a_strategy_of_quantiles_decides_on_what_the_boosters_say() -> None:
    fitted, artefact = made()
    serving = Serving(allow_provisional=True)
    strategy, _ = load_strategy(STRATEGIES, "expected_value")
    d = Driver(strategy, params={"source": "quantiles", "margin_bp": 0.0}, models=("lightgbm",))
    d.engine.symbols["SOLUSDT"].models = {}  # the driver's own model has no graph
    swap(serving, d, artefact)
    forecasts, decision, _ = candle(serving, d)
    row = np.array(d.engine.symbols["SOLUSDT"].values(d.engine.leaders), dtype=np.float32)[None]
    said = fitted.quantiles(row)
    assert said is not None
    (levels, values) = zip(*forecasts[0].quantiles_bp, strict=True)
    assert levels == (0.1, 0.9)
    assert values == pytest.approx(said[0], abs=1e-4)
    assert values[0] < values[1]
    assert decision.reason.startswith(f"expected {mean_of_quantiles(forecasts[0].quantiles_bp):+.2f} bp at a cost of")
    assert mean_of_quantiles(forecasts[0].quantiles_bp) != pytest.approx(forecasts[0].expected_bp, abs=0.01)


def output(*columns: str) -> Output:
    return Output(tensor="quantiles", columns=columns, unit="bp")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: {"golden": msgspec.structs.replace(m.golden, quantiles_bp=())}, "golden quantiles have another"),
        (
            lambda m: {
                "golden": msgspec.structs.replace(
                    m.golden, quantiles_bp=tuple((low + 0.1, high) for low, high in m.golden.quantiles_bp)
                )
            },
            "does not reproduce its golden quantiles",
        ),
        (lambda m: {"outputs": (*m.outputs[:2], output("0.1", "0.5", "0.9"))}, "golden quantiles have another"),
        (lambda m: {"outputs": (*m.outputs[:2], output("0.9", "0.1"))}, "no rising levels between 0 and 1"),
        (lambda m: {"outputs": (*m.outputs[:2], output("low", "high"))}, "no rising levels between 0 and 1"),
    ],
)
def test_quantiles_that_are_not_those_of_the_graph_are_not_served(
    change: Callable[[Any], dict[str, Any]], why: str
) -> None:
    _, artefact = made()
    told = msgspec.structs.replace(artefact.manifest, **change(artefact.manifest))
    with pytest.raises(ModelError, match=why):
        load_forecaster(Artefact(key=artefact.key, version="v0001", manifest=told, model=artefact.model))
